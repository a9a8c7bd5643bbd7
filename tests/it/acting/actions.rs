//! Actions over REST and over `/ws`: seen before, done once, undone once.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CLOSE, Endpoint, KEY, client, closing, config, http, options, token};
use crate::support::{Http, Hub, HubOptions, run};

async fn posted(http: &Http, path: &str, body: Value) -> Value {
    let answer = http.post(path, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

#[test]
fn an_action_is_shown_first_done_with_a_record_and_undone() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let ann = http(&hub, "ann", &["tickets:write"]);
        let shown = posted(&ann, &format!("{CLOSE}/preview"), closing("7/8", json!({}))).await;
        let address = endpoint.address();
        assert_eq!(shown["actionId"], "close_ticket");
        assert_eq!(shown["summary"], "Close a ticket (ticket 7/8)");
        assert_eq!(shown["details"], json!({"ticket": "7%2F8", "open": true}));
        assert_eq!(
            shown["request"],
            json!({
                "method": "POST",
                "url": format!("http://{address}/tickets/7%2F8/close"),
                "body": {"reason": "done", "by": "ann"},
            })
        );
        // Without more it is only shown.
        let first = posted(&ann, &format!("{CLOSE}/execute"), closing("7", json!({}))).await;
        assert_eq!(first["status"], "preview_required");
        assert_eq!(first["preview"]["details"]["ticket"], "7");
        assert_eq!(first.as_object().map(|fields| fields.len()), Some(2), "{first}");
        assert_eq!(endpoint.effects(), Vec::<String>::new());
        let done = posted(&ann, &format!("{CLOSE}/execute"), closing("7", json!({"skipPreview": true}))).await;
        assert_eq!((&done["status"], &done["result"]["status"]), (&json!("completed"), &json!(200)));
        assert!(
            done["undoUntil"].is_string() && done["executionId"].as_str().is_some_and(|id| id.starts_with("exec_"))
        );
        assert!(!done.to_string().contains(KEY) && done["result"]["body"]["key"] == "Bearer ***", "{done}");
        let asked = endpoint.all().pop().expect("asked");
        assert_eq!(
            (asked.line.as_str(), &asked.body),
            ("POST /tickets/7/close", &json!({"reason": "done", "by": "ann"}))
        );
        assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {KEY}")));
        assert_eq!(asked.header("idempotency-key"), done["executionId"].as_str());
        assert!(asked.header("x-request-id").is_some_and(|id| !id.is_empty()));
        let entity = json!({"entityType": "ticket", "entityId": "7"});
        assert_eq!(posted(&ann, &format!("{CLOSE}/undo"), entity.clone()).await, json!({"success": true}));
        let asked = endpoint.all().pop().expect("asked");
        assert_eq!(asked.line, "POST /tickets/7/reopen");
        assert_eq!(asked.body["receipt"], done["result"]["body"]["receipt"]);
        for again in [entity, json!({"executionId": done["executionId"]})] {
            let refused = ann.post(&format!("{CLOSE}/undo"), again).await;
            assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
        }
        assert_eq!(endpoint.effects(), ["POST /tickets/7/close", "POST /tickets/7/reopen"]);
        assert!(!hub.log().iter().any(|line| line.contains(KEY)));
    });
}

#[test]
fn lists_are_bare_and_hold_what_the_caller_may_do() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let row = |id: &str, name: &str, description: &str, category: &str, requires: bool| json!({"id": id, "name": name, "description": description, "category": category, "requiresPreview": requires});
        let close = row("close_ticket", "Close a ticket", "Closes a ticket for good reason.", "tickets", true);
        let note = row("note", "note", "Leaves a note.", "notes", false);
        let rename = row(
            "rename_conversation",
            "Rename a conversation",
            "Gives a conversation another title.",
            "conversations",
            false,
        );
        let (ann, bob) = (http(&hub, "ann", &["tickets:write", "x"]), http(&hub, "bob", &["tickets:read"]));
        let list = "/api/v1/ai/actions";
        assert_eq!(ann.ok("GET", list, Value::Null).await, json!([close, note, rename]));
        assert_eq!(bob.ok("GET", list, Value::Null).await, json!([note, rename]));
        for (kind, wanted) in [("ticket", json!([close, note])), ("conversation", json!([note, rename]))] {
            assert_eq!(ann.ok("GET", &format!("{list}?entityType={kind}"), Value::Null).await, wanted);
        }
        let mut socket = client(&hub, "ann", &["tickets:write"]).await;
        let all = socket.call("actions.list", json!({"entityType": "ticket"})).await;
        let ids: Vec<&Value> = all["items"].as_array().expect("items").iter().map(|action| &action["id"]).collect();
        assert_eq!(ids, ["close_ticket", "note"]);
        assert_eq!((&all["items"][0]["undoSeconds"], &all["items"][1]["undoSeconds"]), (&json!(600), &Value::Null));
        assert_eq!(all["items"][0]["inputSchema"]["required"], json!(["reason"]));
    });
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_done() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let ann = http(&hub, "ann", &["tickets:write"]);
        let skip = json!({"skipPreview": true});
        for (body, field) in [
            (json!({"input": {"reason": "x"}, "skipPreview": true}), "entityType"),
            (json!({"input": {"reason": "x"}, "entityType": "ticket", "skipPreview": true}), "entityId"),
            (closing("7", json!({"entityType": "person", "skipPreview": true})), "entityType"),
            (closing("", skip.clone()), "entityId"),
            (closing("7", json!({"input": {"reason": ""}, "skipPreview": true})), "input.reason"),
            (closing("7", json!({"input": {}, "skipPreview": true})), "input"),
            (closing("7", json!({"input": 7, "skipPreview": true})), "input"),
            (closing("7", json!({"skipPreview": "yes"})), "skipPreview"),
        ] {
            for path in ["preview", "execute"] {
                if path == "preview" && field == "skipPreview" {
                    continue;
                }
                let refused = ann.post(&format!("{CLOSE}/{path}"), body.clone()).await;
                assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{body}");
                assert_eq!(refused.json()["error"]["details"]["field"], field, "{}", refused.text());
            }
        }
        for path in ["preview", "execute", "undo"] {
            let unknown = ann.post(&format!("/api/v1/ai/actions/nothing/{path}"), closing("7", json!({}))).await;
            assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
        }
        // A value that would lead to another address.
        let up = ann.post(&format!("{CLOSE}/execute"), closing("..", skip)).await;
        assert_eq!((up.status, &up.json()["status"]), (201, &json!("failed")), "{}", up.text());
        let nothing = ann.post(&format!("{CLOSE}/undo"), json!({"entityType": "ticket", "entityId": "7"})).await;
        assert_eq!((nothing.status, nothing.code().as_str()), (409, "conflict"));
        let never = json!({"executionId": "exec_01930000000070008000000000000000"});
        assert_eq!(ann.post(&format!("{CLOSE}/undo"), never).await.status, 404);
        assert_eq!(ann.post("/api/v1/ai/actions/note/undo", json!({})).await.status, 409);
        assert_eq!(endpoint.all().len(), 0);
    });
}

#[test]
fn one_key_is_one_effect_for_all_who_ask_and_after_a_kill() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let token = token("ann", "acme", "member", &["tickets:write"]);
        let body = closing("7", json!({"skipPreview": true}));
        let path = format!("{CLOSE}/execute");
        let ask = |hub: &Hub, body: &Value, key: &'static str| {
            let (http, body, path) = (Http::new(&hub.address, &token), body.to_string(), path.clone());
            async move { http.send("POST", &path, &[("idempotency-key", key)], body.as_bytes()).await }
        };
        let answers = join_all((0..20).map(|_| ask(&hub, &body, "k1"))).await;
        let ids: Vec<Value> = answers.iter().map(|answer| answer.json()["executionId"].clone()).collect();
        assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
        assert!(ids[0].is_string() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(endpoint.count("POST /tickets/7/close"), 1);
        // A preview that was answered takes no key.
        assert_eq!(ask(&hub, &closing("8", json!({})), "k2").await.json()["status"], "preview_required");
        let other = ask(&hub, &closing("8", json!({"skipPreview": true})), "k1").await;
        assert_eq!((other.status, other.code().as_str()), (409, "conflict"));
        let hub = hub.kill_and_restart();
        let again = ask(&hub, &body, "k1").await.json();
        assert_eq!((&again["executionId"], &again["status"]), (&ids[0], &json!("completed")));
        assert_eq!(endpoint.effects(), ["POST /tickets/7/close"]);
    });
}

#[test]
fn of_twenty_who_undo_one_does_and_the_latest_goes_first() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let (ann, bob) = (http(&hub, "ann", &["tickets:write"]), http(&hub, "bob", &["tickets:write"]));
        let mut receipts = Vec::new();
        for _ in 0..3 {
            let done = posted(&ann, &format!("{CLOSE}/execute"), closing("7", json!({"skipPreview": true}))).await;
            receipts.push((done["executionId"].clone(), done["result"]["body"]["receipt"].clone()));
        }
        let undo = format!("{CLOSE}/undo");
        let named = json!({"executionId": receipts[2].0});
        let tries = join_all((0..20).map(|n| if n % 2 == 0 { &ann } else { &bob }.post(&undo, named.clone()))).await;
        let (well, rest): (Vec<_>, Vec<_>) = tries.iter().partition(|answer| answer.status == 201);
        assert_eq!(well.len(), 1, "{tries:?}");
        assert!(rest.iter().all(|answer| answer.status == 409), "{rest:?}");
        let entity = json!({"entityType": "ticket", "entityId": "7"});
        for _ in 0..2 {
            assert_eq!(bob.post(&undo, entity.clone()).await.status, 201);
        }
        assert_eq!(bob.post(&undo, entity).await.status, 409);
        let reopened = endpoint.all().into_iter().filter(|asked| asked.line == "POST /tickets/7/reopen");
        let reopened: Vec<Value> = reopened.map(|asked| asked.body["receipt"].clone()).collect();
        let wanted: Vec<Value> = receipts.iter().rev().map(|(_, receipt)| receipt.clone()).collect();
        assert_eq!(reopened, wanted);
    });
}

#[test]
fn failures_are_told_from_what_nobody_knows() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let ann = http(&hub, "ann", &["tickets:write"]);
        let note = "/api/v1/ai/actions/note/execute";
        let fine = posted(&ann, note, json!({"input": {"to": "bob"}})).await;
        assert_eq!((&fine["status"], &fine["undoUntil"]), (&json!("completed"), &Value::Null));
        let broken = posted(&ann, note, json!({"input": {"to": "broken"}})).await;
        assert_eq!((&broken["status"], &broken["error"]), (&json!("failed"), &json!("HTTP 500\n\nit broke")));
        let key = [("idempotency-key", "k")];
        let hanging = json!({"input": {"to": "hang"}}).to_string();
        for _ in 0..2 {
            let lost = ann.send("POST", note, &key, hanging.as_bytes()).await;
            assert_eq!((lost.status, &lost.json()["status"]), (201, &json!("unknown")), "{}", lost.text());
        }
        assert_eq!(endpoint.count("POST /notes/hang"), 1);
        // A preview that cannot be had is no preview: nothing is shown or done.
        let blind = ann.post(&format!("{CLOSE}/execute"), closing("broken", json!({}))).await;
        assert_eq!((blind.status, blind.code().as_str()), (503, "unavailable"));
        // What cannot be undone now may be undone later.
        let done = posted(&ann, note, json!({"input": {"to": "x"}})).await;
        assert_eq!(
            ann.post("/api/v1/ai/actions/note/undo", json!({"executionId": done["executionId"]})).await.status,
            409
        );
        let audit = Http::new(&hub.address, &token("root", "acme", "admin", &[]));
        let rows = audit.ok("GET", "/api/v1/admin/audit?action=actions.execute", Value::Null).await;
        let outcomes: Vec<&Value> =
            rows["items"].as_array().expect("items").iter().map(|row| &row["outcome"]).collect();
        assert_eq!(outcomes.len(), 6, "{rows}");
        assert_eq!(outcomes.iter().filter(|outcome| ***outcome == "failed").count(), 2, "{rows}");
    });
}

#[test]
fn a_conversation_is_renamed_and_gets_its_title_back() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_JWT_SECRET", crate::handshake::SECRET));
        let mut ann = client(&hub, "ann", &[]).await;
        let made = ann.call("sessions.create", json!({"title": "old"})).await;
        let session = made["id"].as_str().expect("an id").to_owned();
        let wish = |title: &str| {
            json!({
                "actionId": "rename_conversation", "input": {"title": title},
                "entityType": "conversation", "entityId": session,
            })
        };
        let shown = ann.call("actions.preview", wish("new")).await;
        assert_eq!(shown["details"], json!({"from": "old", "to": "new"}));
        let done = ann.call("actions.execute", wish("new")).await;
        assert_eq!(done["status"], "completed", "{done}");
        let title = async |client: &mut crate::support::Client| {
            client.call("sessions.get", json!({"sessionId": session})).await["title"].clone()
        };
        assert_eq!(title(&mut ann).await, "new");
        // Another user's private conversation is none of bob's to rename, nor to name back.
        let mut bob = client(&hub, "bob", &[]).await;
        assert_eq!(bob.refused("actions.preview", wish("bob's")).await, "forbidden");
        assert_eq!(bob.call("actions.execute", wish("bob's")).await["status"], "failed");
        let undo = json!({"actionId": "rename_conversation", "executionId": done["executionId"]});
        assert_eq!(bob.refused("actions.undo", undo.clone()).await, "unavailable");
        assert_eq!(title(&mut ann).await, "new");
        let undone = ann.call("actions.undo", undo).await;
        assert_eq!(undone, json!({"success": true, "executionId": done["executionId"]}));
        assert_eq!(title(&mut ann).await, "old");
        // Renamed by hand since: nothing is taken back.
        ann.call("actions.execute", wish("third")).await;
        ann.call("sessions.update", json!({"sessionId": session, "title": "by hand"})).await;
        let entity = json!({"actionId": "rename_conversation", "entityType": "conversation", "entityId": session});
        assert_eq!(ann.refused("actions.undo", entity).await, "unavailable");
        assert_eq!(title(&mut ann).await, "by hand");
    });
}

#[test]
fn another_organization_has_no_part_in_it() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let ann = http(&hub, "ann", &["tickets:write"]);
        let eve = Http::new(&hub.address, &token("ann", "rival", "owner", &["tickets:write"]));
        let done = posted(&ann, &format!("{CLOSE}/execute"), closing("7", json!({"skipPreview": true}))).await;
        let undo = format!("{CLOSE}/undo");
        let theirs = eve.post(&undo, json!({"executionId": done["executionId"]})).await;
        let nobodys = eve.post(&undo, json!({"executionId": "exec_01930000000070008000000000000000"})).await;
        assert_eq!((theirs.status, theirs.without_id()), (404, nobodys.without_id()));
        let entity = json!({"entityType": "ticket", "entityId": "7"});
        assert_eq!(eve.post(&undo, entity.clone()).await.status, 409);
        assert_eq!(ann.post(&undo, entity).await.status, 201);
    });
}

#[test]
fn a_configuration_that_cannot_be_stops_the_start_with_its_name() {
    let endpoint = Endpoint::start();
    let whole = config(&endpoint);
    let cases = [
        (whole.replace("undo_seconds = 600", "undo_seconds = 0"), "actions.close_ticket.undo"),
        (whole.replace("category = \"tickets\"", "policy = \"allow\""), "actions.close_ticket.policy"),
        (whole.replace("http://127", "ftp://127"), "actions.close_ticket.execute.url"),
        (whole.replace("env.TICKET_KEY", "env.NOT_THERE"), "NOT_THERE"),
        (whole.replace("{{entity.id}}/close", "{{entity.id"), "actions.close_ticket.execute.url"),
        (whole.replace("\"type\":\"object\",\"required\"", "\"type\":\"list\",\"required\""), "input_schema"),
        ("[actions.mine]\nkind = \"builtin\"".to_owned(), "actions.mine.kind"),
        ("[tools.time]\nkind = \"http\"".to_owned(), "tools.time"),
        ("[tools.x]\nkind = \"http\"\ndescription = \"d\"".to_owned(), "tools.x.request.url"),
        ("[agents.assistant]\ntools = [\"action_none\"]".to_owned(), "action_none"),
    ];
    for (text, named) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("test.toml");
        std::fs::write(&file, &text).expect("written");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .arg("--data")
            .arg(folder.path().join("hub"))
            .env_clear()
            .env("TICKET_KEY", KEY)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{named}: {said}");
    }
}
