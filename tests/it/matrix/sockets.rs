//! The matrix over `/ws`: methods and channels.

use serde_json::{Value, json};

use super::expected::{self, Expected, Outcome, RELATIONS, ROLES, Relation};
use super::subjects::{ELSEWHERE, Ground, HOME, KINDS, Subject, Target};
use crate::support::{Client, run_for};

fn asks_a_human(method: &str) -> bool {
    matches!(method, "tools.approve" | "tools.reject")
}

/// A call of the method that is whole: what is wrong with it can only be who asks.
fn params(method: &str, target: &Target, subject: &Subject) -> Value {
    let Target { session, message, request, call, .. } = target;
    match method {
        "projects.create" => json!({"name": "matrix"}),
        "sessions.create" => json!({"title": "matrix"}),
        "agents.get" => json!({"agent": "assistant"}),
        "usage.get" => json!({"period": "day"}),
        "projects.list" | "sessions.list" | "agents.list" | "tools.list" | "models.list" => json!({}),
        "sessions.update" => json!({"sessionId": session, "title": "seen"}),
        "messages.send" => json!({"sessionId": session, "content": "x"}),
        "messages.update" => json!({"sessionId": session, "messageId": message, "content": "y"}),
        "messages.list" | "approvals.list" | "todos.get" => json!({"sessionId": session}),
        "todos.update" => json!({"sessionId": session, "todos": [{"id": "1", "content": "x", "state": "pending"}]}),
        "tools.approve" => json!({"requestId": request}),
        "tools.reject" => json!({"toolCallId": call}),
        "channels.presence" | "channels.history" => json!({"channel": format!("user:{}", subject.user)}),
        "projects.get" => json!({"projectId": "prj_01930000000070008000000000000000"}),
        "approvals.revoke" => json!({"ruleId": "rule_01930000000070008000000000000000"}),
        _ => json!({"sessionId": session}),
    }
}

fn outcome(response: &Value) -> Outcome {
    let error = &response["error"];
    match (error["code"].as_str(), error["message"].as_str().unwrap_or_default()) {
        (Some("forbidden"), _) => Outcome::Forbidden,
        (Some("unauthorized"), _) => panic!("a signed-in caller is asked to sign in: {response}"),
        (Some("bad_request"), _) => panic!("the probe is malformed: {response}"),
        (Some("not_found"), "no such session" | "no such approval") => Outcome::NotFound,
        _ => Outcome::Allowed,
    }
}

/// Methods on conversations, and all others.
fn methods() -> (Vec<Expected>, Vec<Expected>) {
    let all = protocol::methods::METHODS.iter().map(|method| expected::of(method.name));
    all.partition(|row| row.whose.starts_with("session-") && row.operation != "sessions.list")
}

async fn try_methods(ground: &Ground, role: &'static str, kind: super::subjects::Kind, wrong: &mut Vec<String>) {
    let (on_sessions, others) = methods();
    let wanted: Vec<bool> = on_sessions.iter().map(|row| asks_a_human(row.operation)).collect();
    let (subject, mut owned) = ground.subject(role, kind, &wanted).await;
    let mut client = subject.connect(&ground.hub.address).await;
    let mut judge = |row: &Expected, relation: Option<Relation>, found: Outcome, wanted: Outcome, said: &Value| {
        if found != wanted {
            let (name, whose) = (row.operation, relation.map_or_else(String::new, |r| format!(" ({r:?})")));
            wrong.push(format!("{name}{whose} as {role} by {kind:?}: {found:?}, not {wanted:?}: {said}"));
        }
    };
    for row in &others {
        let response = client.ask(row.operation, params(row.operation, &Target::nobodys(), &subject)).await;
        let wanted = match row.lets_in(role, false, subject.is_device()) {
            true => Outcome::Allowed,
            false => Outcome::Forbidden,
        };
        judge(row, None, outcome(&response), wanted, &response);
    }
    for row in &on_sessions {
        let with_question = asks_a_human(row.operation);
        let mut elsewhere = None;
        for relation in RELATIONS {
            let target = match relation {
                Relation::Own => owned.pop_front().expect("one was made for each method"),
                _ => ground.others(relation, with_question).await,
            };
            let response = client.ask(row.operation, params(row.operation, &target, &subject)).await;
            let wanted = row.on_session(role, subject.is_device(), relation);
            judge(row, Some(relation), outcome(&response), wanted, &response);
            match relation {
                Relation::Foreign => elsewhere = Some(response["error"].clone()),
                Relation::Unknown => assert_eq!(elsewhere.take(), Some(response["error"].clone()), "{}", row.operation),
                _ => {}
            }
        }
    }
}

#[test]
fn case_24_and_25_methods_by_every_role_credential_and_relation() {
    run_for(300, async {
        let ground = Ground::new().await;
        let mut wrong = Vec::new();
        for role in ROLES {
            for kind in KINDS {
                try_methods(&ground, role, kind, &mut wrong).await;
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
}

/// What becomes of a subscription to a channel that no conversation owns.
fn channels(subject: &Subject, project: &str, foreign_project: &str) -> Vec<(String, Outcome)> {
    vec![
        (format!("user:{}", subject.user), Outcome::Allowed),
        ("user:neighbour".into(), Outcome::Forbidden),
        ("user:nobody".into(), Outcome::Forbidden),
        (format!("org:{HOME}"), Outcome::Allowed),
        (format!("org:{ELSEWHERE}"), Outcome::NotFound),
        ("org:nowhere".into(), Outcome::NotFound),
        (format!("project:{project}"), Outcome::Allowed),
        (format!("project:{foreign_project}"), Outcome::NotFound),
        ("project:prj_01930000000070008000000000000000".into(), Outcome::NotFound),
        ("app:matrix".into(), Outcome::Allowed),
    ]
}

async fn subscribe(client: &mut Client, channel: &str) -> Outcome {
    client.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
    let response = client.find(|f| f["type"] == "response" && f["id"] == "s").await;
    match response["result"]["refused"][channel].as_str() {
        None => Outcome::Allowed,
        Some("forbidden") => Outcome::Forbidden,
        Some("not_found") => Outcome::NotFound,
        Some(other) => panic!("{channel}: {other}"),
    }
}

#[test]
fn case_18_channels_by_every_role_credential_and_relation() {
    run_for(300, async {
        let ground = Ground::new().await;
        let mut wrong = Vec::new();
        let mut projects = Vec::new();
        for organization in [HOME, ELSEWHERE] {
            let token = ground.hub.token("founder", organization, "member");
            let mut founder = Client::connect(&ground.hub.address, &token).await;
            let project = founder.call("projects.create", json!({"name": "matrix"})).await;
            projects.push(project["id"].as_str().expect("an id").to_owned());
        }
        for (role, kind) in ROLES.into_iter().flat_map(|role| KINDS.map(|kind| (role, kind))) {
            let (subject, mut own) = ground.subject(role, kind, &[false]).await;
            let mut client = subject.connect(&ground.hub.address).await;
            let row = expected::of("channels.subscribe");
            assert!(row.lets_in(role, false, subject.is_device()));
            let mut wanted = channels(&subject, &projects[0], &projects[1]);
            for relation in RELATIONS {
                let target = if relation == Relation::Own {
                    own.pop_front().expect("it was made")
                } else {
                    ground.others(relation, false).await
                };
                let watch = expected::of("sessions.get").on_session(role, subject.is_device(), relation);
                wanted.push((format!("session:{}", target.session), watch));
            }
            for (channel, wanted) in wanted {
                let found = subscribe(&mut client, &channel).await;
                if found != wanted {
                    wrong.push(format!("subscribe {channel} as {role} by {kind:?}: {found:?}, not {wanted:?}"));
                }
                for method in ["channels.presence", "channels.history"] {
                    let response = client.ask(method, json!({"channel": channel})).await;
                    let code = response["error"]["code"].as_str();
                    let found = match code {
                        None => Outcome::Allowed,
                        Some("forbidden") => Outcome::Forbidden,
                        Some("not_found") => Outcome::NotFound,
                        Some(other) => panic!("{method} {channel}: {other}"),
                    };
                    if found != wanted {
                        wrong.push(format!("{method} {channel} as {role} by {kind:?}: {found:?}, not {wanted:?}"));
                    }
                }
            }
            let publish = json!({"type": "publish", "channel": "app:matrix", "event": "x", "data": 1, "id": "p"});
            client.send(publish).await;
            let answer = client.find(|f| f["id"] == "p").await;
            let allowed = answer["type"] == "response" && answer["error"].is_null();
            if allowed != expected::of("channels.publish").lets_in(role, false, subject.is_device()) {
                wrong.push(format!("publish as {role} by {kind:?}: {answer}"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
}
