//! Answers that are kept as rules: for whom, for what, and until when.

use serde_json::{Value, json};

use crate::support::{Client, Http, Hub, HubOptions, Identity, run};

const FETCH: &str = "fetch http://example.org/";

/// A session of the client's own that it listens to.
async fn listening(client: &mut Client) -> String {
    let session = client.session().await;
    client.subscribe(&format!("session:{session}"), None).await;
    session
}

/// Sends it, and whether the tool was asked about before the turn ended; if so the question.
async fn asks(client: &mut Client, session: &str, content: &str) -> Option<Value> {
    client.say(session, content).await;
    let either = |f: &Value| f["event"] == "tool.approval_required" || f["event"] == "turn.ended";
    let mut frame = client.find(either).await;
    (frame["event"] == "tool.approval_required").then(|| frame["data"].take())
}

async fn rules(client: &mut Client) -> Vec<Value> {
    client.call("approvals.rules", json!({})).await["items"].as_array().expect("items").clone()
}

#[test]
fn an_answer_that_is_remembered_counts_for_the_same_arguments_alone() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut alice = Client::connect(&hub.address, &token).await;
        let session = listening(&mut alice).await;
        let question = asks(&mut alice, &session, FETCH).await.expect("the first time it is asked");
        let request = &question["request"];
        assert_eq!(request["remember"], json!(["arguments"]));
        assert_eq!(request["arguments"], r#"{"url":"http://example.org/"}"#);
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"http_fetch\n{\"url\":\"http://example.org/\"}");
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(request["digest"], hex);
        let answer = json!({"requestId": question["requestId"], "remember": true, "digest": hex});
        let decided = alice.call("tools.approve", answer).await;
        assert_eq!((&decided["applied"], &decided["approved"]), (&json!(true), &json!(true)));
        alice.event("turn.ended").await;

        let kept = rules(&mut alice).await;
        assert_eq!(
            kept,
            [json!({
                "id": decided["ruleId"], "agent": "assistant", "tool": "http_fetch", "scope": "arguments",
                "approved": true, "input": {"url": "http://example.org/"}, "arguments": request["arguments"],
                "digest": hex, "requestId": question["requestId"], "createdAt": kept[0]["createdAt"],
            })]
        );
        assert_eq!(asks(&mut alice, &session, FETCH).await, None, "the same is not asked again");
        // Not for anything that only looks like it, in another session either.
        let other = listening(&mut alice).await;
        assert_eq!(asks(&mut alice, &other, FETCH).await, None);
        for content in ["fetch http://example.org", "fetch http://example.org/#", "fetch http://example.org./"] {
            let question = asks(&mut alice, &other, content).await.expect("another address");
            alice.call("tools.reject", json!({"requestId": question["requestId"]})).await;
            alice.event("turn.ended").await;
        }
        // Nor for anybody else, of the same organization or of another.
        for (user, organization) in [("bob", "acme"), ("alice", "rival")] {
            let mut stranger = Client::connect(&hub.address, &hub.token(user, organization, "owner")).await;
            let session = listening(&mut stranger).await;
            assert!(asks(&mut stranger, &session, FETCH).await.is_some(), "{user} of {organization}");
            assert_eq!(rules(&mut stranger).await, Vec::<Value>::new());
            let code = stranger.refused("approvals.revoke", json!({"ruleId": decided["ruleId"]})).await;
            assert_eq!(code, "not_found");
        }

        // It survives a restart, and then is taken back.
        let hub = hub.kill_and_restart();
        let alice = Http::new(&hub.address, &token);
        let list = alice.ok("GET", "/api/v1/approvals/rules", Value::Null).await;
        assert_eq!(list["items"], json!(kept));
        let path = format!("/api/v1/approvals/rules/{}", decided["ruleId"].as_str().expect("an id"));
        assert_eq!(alice.ok("DELETE", &path, Value::Null).await, json!({"deleted": true}));
        assert_eq!(alice.delete(&path).await.status, 404);
        let mut alice = Client::connect(&hub.address, &token).await;
        let session = listening(&mut alice).await;
        assert!(asks(&mut alice, &session, FETCH).await.is_some(), "it is asked again");
        let ann = Http::new(&hub.address, &hub.token("ann", "acme", "admin"));
        let target = format!("/api/v1/admin/audit?target={}", decided["ruleId"].as_str().expect("an id"));
        let record = ann.ok("GET", &target, Value::Null).await;
        let mut rows: Vec<Value> = record["items"].as_array().expect("rows").clone();
        rows.retain(|row| row["outcome"].is_null());
        assert_eq!(
            (rows.len(), &rows[0]["action"], &rows[0]["actor"]),
            (1, &json!("approvals.revoke"), &json!("alice"))
        );
        let target = format!("/api/v1/admin/audit?target={}", question["requestId"].as_str().expect("an id"));
        let record = ann.ok("GET", &target, Value::Null).await;
        let remembered = &record["items"][0]["details"]["remembered"];
        assert_eq!(*remembered, json!({"rule": decided["ruleId"], "agent": "assistant", "scope": "arguments"}));
    });
}

#[test]
fn a_denial_is_remembered_too_from_the_flat_form() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut flat = Client::connect(&hub.address, &token).await;
        flat.send(json!({"type": "message", "content": FETCH})).await;
        let question = flat.find(|f| f["type"] == "approval_request").await;
        let id = &question["requestId"];
        flat.send(json!({"type": "approval_response", "requestId": id, "approved": false, "remember": true})).await;
        flat.find(|f| f["type"] == "message_complete").await;
        flat.send(json!({"type": "message", "content": FETCH})).await;
        let next = flat.find(|f| f["type"] == "approval_request" || f["type"] == "message_complete").await;
        assert_eq!(next["type"], "message_complete", "{next}");
        let mut alice = Client::connect(&hub.address, &token).await;
        assert_eq!(rules(&mut alice).await[0]["approved"], false);
        let session = listening(&mut alice).await;
        assert_eq!(asks(&mut alice, &session, FETCH).await, None);
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        let parts = list["items"][1]["parts"].as_array().expect("parts");
        let result = parts.iter().find(|p| p["type"] == "tool_result").expect("a result");
        assert_eq!(result["output"], "denied: the user said so before and had it remembered");
    });
}

#[test]
fn what_may_not_be_remembered_is_refused_before_anything_is_decided() {
    run(async {
        let options = HubOptions::default().config("[tools.http_fetch]\nremember = \"never\"");
        let hub = Hub::start(options);
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let created = alice.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id").to_owned();
        alice.subscribe(&format!("session:{session}"), None).await;
        let question = asks(&mut alice, &session, FETCH).await.expect("a question");
        assert_eq!(question["request"]["remember"], json!([]));
        let id = &question["requestId"];
        for (params, code) in [
            (json!({"requestId": id, "remember": true}), "bad_request"),
            (json!({"requestId": id, "remember": true, "scope": "tool"}), "bad_request"),
            (json!({"requestId": id, "scope": "tool"}), "bad_request"),
            (json!({"requestId": id, "digest": "beef"}), "bad_request"),
            (json!({"requestId": id, "digest": "0".repeat(64)}), "conflict"),
        ] {
            assert_eq!(alice.refused("tools.approve", params.clone()).await, code, "{params}");
        }
        // An administrator answers for another, but makes no rule for anybody.
        let ann = Http::new(&hub.address, &hub.token("ann", "acme", "admin"));
        let path = format!("/api/v1/approvals/{}", id.as_str().expect("an id"));
        assert_eq!(ann.post(&path, json!({"approved": true, "remember": true})).await.status, 403);
        // What outlives a device or a key is made by neither.
        let store = Identity::of(&hub.folder());
        let (key, _) = store.key("alice", "acme").await;
        let (device, _) = store.device("alice", "acme").await;
        for credential in [key, device] {
            let http = Http::new(&hub.address, &credential);
            assert_eq!(http.post(&path, json!({"approved": true, "remember": true})).await.status, 403);
        }
        let waiting = alice.call("approvals.list", json!({"sessionId": session})).await;
        assert_eq!(waiting["items"], json!([question]), "it waits as before");
        assert_eq!(rules(&mut alice).await, Vec::<Value>::new());
        assert_eq!(alice.call("tools.approve", json!({"requestId": id})).await["applied"], true);
    });
}

#[test]
fn a_whole_tool_is_remembered_only_where_that_is_declared() {
    run(async {
        let options = HubOptions::default().config("[tools.time]\npolicy = \"ask\"");
        let hub = Hub::start(options);
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = listening(&mut alice).await;
        let question = asks(&mut alice, &session, "what time is it").await.expect("a question");
        assert_eq!(question["request"]["remember"], json!(["arguments", "tool"]));
        let id = &question["requestId"];
        alice.call("tools.approve", json!({"requestId": id, "remember": true, "scope": "tool"})).await;
        alice.event("turn.ended").await;
        assert_eq!(rules(&mut alice).await[0]["scope"], "tool");
        assert_eq!(asks(&mut alice, &session, "and what time now").await, None);
        let question = asks(&mut alice, &session, FETCH).await.expect("a question");
        let id = &question["requestId"];
        let wide = json!({"requestId": id, "remember": true, "scope": "tool"});
        assert_eq!(alice.refused("tools.approve", wide).await, "bad_request");
    });
}

#[test]
fn policies_of_the_configuration_come_in_their_order() {
    run(async {
        let hub = Hub::start(HubOptions::default().config(
            "[policies.ours]\norder = 2\ntools = [\"http_fetch\"]\narguments = [\"url=http://*.example.org/**\"]\n\
             policy = \"allow\"\n\
             [policies.admin]\norder = 1\ntools = [\"http_fetch\"]\narguments = [\"url=http://*.example.org/admin**\"]\n\
             policy = \"deny\"\n\
             [policies.owners]\norder = 3\ntools = [\"*\"]\nroles = [\"owner\"]\npolicy = \"allow\"",
        ));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = listening(&mut alice).await;
        assert_eq!(asks(&mut alice, &session, "fetch http://www.example.org/a").await, None);
        let last = |list: Value| {
            let items = list["items"].as_array().expect("items").clone();
            let parts = items.last().expect("an answer")["parts"].as_array().expect("parts").clone();
            parts.iter().find(|p| p["type"] == "tool_call").expect("a call")["state"].clone()
        };
        // The allow-list of the tool itself is empty: it ran, and failed.
        assert_eq!(last(alice.call("messages.list", json!({"sessionId": session})).await), "failed");
        assert_eq!(asks(&mut alice, &session, "fetch http://www.example.org/admin/x").await, None);
        assert_eq!(last(alice.call("messages.list", json!({"sessionId": session})).await), "denied");
        assert!(asks(&mut alice, &session, "fetch http://evil.com?.example.org/a").await.is_some());
        let mut owner = Client::connect(&hub.address, &hub.token("olga", "acme", "owner")).await;
        let session = listening(&mut owner).await;
        assert_eq!(asks(&mut owner, &session, "fetch http://elsewhere.example/").await, None);
    });
}
