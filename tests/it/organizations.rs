//! What belongs to another organization answers as what does not exist; within one's own, rights decide.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

const NOBODYS: &str = "01930000000070008000000000000000";

/// A session of alice in acme with an answer, a todo and a question that waits.
async fn filled(client: &mut Client, visibility: &str) -> (String, Value) {
    let created = client.call("sessions.create", json!({"visibility": visibility, "projectId": "releases"})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    client.subscribe(&format!("session:{session}"), None).await;
    client.say(&session, "walrus todo").await;
    client.event("turn.ended").await;
    client.say(&session, "fetch http://example.org/").await;
    let asked = client.event("tool.approval_required").await;
    (session, asked)
}

/// Every method that names something, once with what exists elsewhere and once with what exists nowhere.
fn probes(
    session: &str,
    message: &str,
    turn: &str,
    request: &str,
    call: &str,
    project: &str,
) -> Vec<(&'static str, Value)> {
    vec![
        ("projects.get", json!({"projectId": project})),
        ("sessions.get", json!({"sessionId": session})),
        ("sessions.update", json!({"sessionId": session, "title": "mine"})),
        ("sessions.archive", json!({"sessionId": session})),
        ("sessions.pause", json!({"sessionId": session})),
        ("sessions.resume", json!({"sessionId": session})),
        ("sessions.delete", json!({"sessionId": session})),
        ("messages.send", json!({"sessionId": session, "content": "x"})),
        ("messages.send", json!({"sessionId": session, "content": "x", "idempotencyKey": "k"})),
        ("messages.update", json!({"sessionId": session, "messageId": message, "content": "x"})),
        ("messages.cancel", json!({"sessionId": session, "turnId": turn})),
        ("messages.stop", json!({"sessionId": session})),
        ("messages.abort", json!({"sessionId": session, "turnId": turn})),
        ("messages.retry", json!({"sessionId": session})),
        ("messages.list", json!({"sessionId": session, "before": message})),
        ("tools.approve", json!({"requestId": request})),
        ("tools.approve", json!({"toolCallId": call})),
        ("tools.reject", json!({"sessionId": session, "requestId": request})),
        ("approvals.list", json!({"sessionId": session})),
        ("todos.get", json!({"sessionId": session})),
        ("todos.update", json!({"sessionId": session, "todos": []})),
        ("channels.presence", json!({"channel": format!("session:{session}")})),
        ("channels.history", json!({"channel": format!("session:{session}")})),
        ("channels.presence", json!({"channel": format!("project:{project}")})),
        ("channels.history", json!({"channel": format!("project:{project}")})),
    ]
}

async fn subscribed(client: &mut Client, channel: &str) -> Value {
    client.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
    let mut error = client.find(|f| f["type"] == "error" || f["type"] == "subscribed").await;
    client.find(|f| f["type"] == "response" && f["id"] == "s").await;
    error["channel"].take();
    error
}

#[test]
fn case_24_and_28_another_organizations_things_do_not_exist() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, asked) = filled(&mut alice, "organization").await;
        let project = alice.call("sessions.get", json!({"sessionId": session})).await["projectId"].take();
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        let message = list["items"][0]["id"].as_str().expect("an id").to_owned();
        // An owner elsewhere, even one of the same name.
        for user in ["alice", "mallory"] {
            let mut foreign = Client::connect(&hub.address, &hub.token(user, "rival", "owner")).await;
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let real = probes(
                &session,
                &message,
                &text(&asked["turnId"]),
                &text(&asked["requestId"]),
                &text(&asked["toolCallId"]),
                &text(&project),
            );
            let none = |prefix: &str| format!("{prefix}{NOBODYS}");
            let unreal =
                probes(&none("sess_"), &none("msg_"), &none("turn_"), &none("appr_"), &none("part_"), &none("prj_"));
            for ((method, real), (_, unreal)) in real.into_iter().zip(unreal) {
                let (one, two) = (foreign.ask(method, real.clone()).await, foreign.ask(method, unreal).await);
                assert_eq!(one["error"]["code"], "not_found", "{method} {real}: {one}");
                assert_eq!(one["error"], two["error"], "{method} {real}");
            }
            for (real, unreal) in [
                (format!("session:{session}"), none("session:sess_")),
                (format!("project:{}", text(&project)), none("project:prj_")),
                ("org:acme".to_owned(), "org:nobody".to_owned()),
            ] {
                let (one, two) = (subscribed(&mut foreign, &real).await, subscribed(&mut foreign, &unreal).await);
                assert_eq!((&one["code"], &one), (&json!("not_found"), &two), "{real}");
            }
            foreign.send(json!({"type": "message", "content": "x", "sessionId": session})).await;
            let error = foreign.find(|f| f["type"] == "error").await;
            assert_eq!((&error["code"], &error["message"]), (&json!("not_found"), &json!("no such session")));
            foreign.send(json!({"type": "approval_response", "requestId": asked["requestId"], "approved": true})).await;
            assert_eq!(foreign.find(|f| f["type"] == "error").await["code"], "not_found");
            // Lists, search and counts know nothing of it.
            for (method, params) in [
                ("sessions.list", json!({})),
                ("sessions.list", json!({"q": "walrus"})),
                ("projects.list", json!({})),
                ("approvals.list", json!({})),
            ] {
                assert_eq!(foreign.call(method, params).await["items"], json!([]), "{method}");
            }
            let listed = foreign.call("sessions.list", json!({"projectId": project})).await;
            assert_eq!(listed["items"], json!([]));
            assert_eq!(foreign.call("usage.get", json!({})).await["turns"], 0);
        }
        // Nothing has changed at home.
        let waiting = alice.call("approvals.list", json!({})).await;
        assert_eq!(waiting["items"][0]["requestId"], asked["requestId"]);
        assert_eq!(alice.call("sessions.list", json!({"q": "walrus"})).await["items"][0]["id"], session.as_str());
    });
}

#[test]
fn one_name_in_two_organizations_is_two_channels() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let mut clients = Vec::new();
        for organization in ["acme", "rival"] {
            let token = hub.token("alice", organization, "member");
            let mut client = Client::connect(&hub.address, &token).await;
            client.subscribe("app:deploys", None).await;
            client.subscribe("user:alice", None).await;
            clients.push(client);
        }
        for _ in 0..5 {
            clients[0]
                .send(json!({"type": "publish", "channel": "app:deploys", "event": "e", "data": 1, "id": "p"}))
                .await;
            clients[0].find(|f| f["id"] == "p").await;
        }
        clients[0].session().await;
        assert_eq!(clients[1].until_pong().await, Vec::<Value>::new());
        let history = clients[1].call("channels.history", json!({"channel": "app:deploys"})).await;
        assert_eq!((&history["events"], &history["seq"]), (&json!([]), &json!(0)));
        let presence = clients[1].call("channels.presence", json!({"channel": "app:deploys"})).await;
        assert_eq!(presence, json!({"count": 1, "users": ["alice"]}));
        assert_ne!(clients[0].positions["app:deploys"].0, history["epoch"]);
    });
}

#[test]
fn within_an_organization_a_private_session_is_forbidden() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, asked) = filled(&mut alice, "private").await;
        for (user, role) in [("bob", "member"), ("ann", "admin"), ("own", "owner")] {
            let mut other = Client::connect(&hub.address, &hub.token(user, "acme", role)).await;
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let request = text(&asked["requestId"]);
            let all = probes(
                &session,
                &format!("msg_{NOBODYS}"),
                &text(&asked["turnId"]),
                &request,
                &text(&asked["toolCallId"]),
                "prj_",
            );
            for (method, params) in all.into_iter().filter(|(_, p)| !p.to_string().contains("prj_")) {
                let answer = other.ask(method, params.clone()).await;
                assert_eq!(answer["error"]["code"], "forbidden", "{role} {method} {params}: {answer}");
            }
            assert_eq!(subscribed(&mut other, &format!("session:{session}")).await["code"], "forbidden");
            for params in [json!({}), json!({"q": "walrus"})] {
                assert_eq!(other.call("sessions.list", params).await["items"], json!([]));
            }
            assert_eq!(other.call("approvals.list", json!({})).await["items"], json!([]));
            // Nor does the project say anything of it.
            let project = other.call("projects.list", json!({})).await["items"][0]["id"].clone();
            let channel = format!("project:{}", project.as_str().expect("an id"));
            let told = other.subscribe(&channel, None).await;
            assert_eq!(told["snapshot"], json!({"sessions": []}));
            alice.call("sessions.update", json!({"sessionId": session, "title": role})).await;
            assert_eq!(other.until_pong().await, Vec::<Value>::new());
        }
    });
}

#[test]
fn a_shared_session_is_steered_by_members_and_approved_by_few() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, asked) = filled(&mut alice, "organization").await;
        let channel = format!("session:{session}");
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let mut vic = Client::connect(&hub.address, &hub.token("vic", "acme", "viewer")).await;
        let mut ann = Client::connect(&hub.address, &hub.token("ann", "acme", "admin")).await;
        for client in [&mut bob, &mut vic] {
            let told = client.subscribe(&channel, None).await;
            assert_eq!(told["snapshot"]["approvals"][0]["requestId"], asked["requestId"]);
            assert_eq!(client.call("sessions.list", json!({"q": "walrus"})).await["items"][0]["id"], session.as_str());
            for method in ["tools.approve", "tools.reject"] {
                let code = client.refused(method, json!({"requestId": asked["requestId"]})).await;
                assert_eq!(code, "forbidden", "{method}");
            }
        }
        for (method, params) in [
            ("messages.send", json!({"sessionId": session, "content": "x"})),
            ("messages.stop", json!({"sessionId": session})),
            ("messages.retry", json!({"sessionId": session})),
            ("sessions.update", json!({"sessionId": session, "title": "x"})),
            ("sessions.pause", json!({"sessionId": session})),
            ("sessions.archive", json!({"sessionId": session})),
            ("sessions.delete", json!({"sessionId": session})),
            ("todos.update", json!({"sessionId": session, "todos": []})),
            ("sessions.create", json!({})),
            ("projects.create", json!({"name": "x"})),
        ] {
            assert_eq!(vic.refused(method, params).await, "forbidden", "{method}");
        }
        vic.send(json!({"type": "message", "content": "x", "sessionId": session})).await;
        assert_eq!(vic.find(|f| f["type"] == "error").await["code"], "forbidden");
        vic.send(json!({"type": "message", "content": "x"})).await;
        assert_eq!(vic.find(|f| f["type"] == "error").await["code"], "forbidden");
        assert_eq!(vic.call("messages.list", json!({"sessionId": session})).await["items"][0]["role"], "user");
        // A member steers another's session, but does not take it away from anybody.
        for (method, params) in [
            ("sessions.update", json!({"sessionId": session, "visibility": "private"})),
            ("sessions.archive", json!({"sessionId": session})),
            ("sessions.delete", json!({"sessionId": session})),
        ] {
            assert_eq!(bob.refused(method, params).await, "forbidden", "{method}");
        }
        // Its message waits behind the question, which an admin answers.
        let turn = bob.say(&session, "from bob").await;
        let decided = ann.call("tools.approve", json!({"requestId": asked["requestId"]})).await;
        assert_eq!((&decided["applied"], &decided["by"]), (&json!(true), &json!("ann")));
        for client in [&mut alice, &mut bob, &mut vic] {
            client.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        }
    });
}
