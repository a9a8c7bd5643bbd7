//! Questions to humans: the first answer wins, silence and absence are denials, and everybody is told.

use serde_json::{Value, json};

use crate::support::{Client, Http, Hub, HubOptions, Mirror, run};

const FETCH: &str = "fetch http://example.org/";

/// A session of the client's own that it listens to, with a question that waits.
async fn asked(client: &mut Client) -> (String, String, Value) {
    let created = client.call("sessions.create", json!({"visibility": "organization"})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    client.subscribe(&format!("session:{session}"), None).await;
    let turn = client.say(&session, FETCH).await;
    let question = client.event("tool.approval_required").await;
    (session, turn, question)
}

#[test]
fn an_approval_runs_the_tool_and_a_denial_does_not() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, turn, question) = asked(&mut client).await;
        assert_eq!(question["sessionId"], session.as_str());
        assert_eq!(question["turnId"], turn.as_str());
        assert_eq!((&question["toolName"], &question["state"]), (&json!("http_fetch"), &json!("pending")));
        assert_eq!(question["request"]["input"], json!({"url": "http://example.org/"}));
        assert!(question["correlationId"].as_str().is_some_and(|id| !id.is_empty()), "{question}");
        let decided = client.call("tools.approve", json!({"requestId": question["requestId"], "reason": "fine"})).await;
        assert_eq!(
            decided,
            json!({"requestId": question["requestId"], "applied": true, "approved": true, "state": "approved", "by": "alice"})
        );
        let told = client.event("tool.approval_resolved").await;
        assert_eq!((&told["approved"], &told["by"], &told["reason"]), (&json!(true), &json!("alice"), &json!("fine")));
        // The allow-list is empty: the tool ran, and says so itself.
        let states = ["approved", "executing", "failed"];
        for state in states {
            client.find(|f| f["data"]["part"]["state"] == state).await;
        }
        assert_eq!(client.event("turn.ended").await["state"], "completed");
        client.say(&session, FETCH).await;
        let question = client.event("tool.approval_required").await;
        let denied = client.call("tools.reject", json!({"toolCallId": question["toolCallId"], "reason": "no"})).await;
        assert_eq!(
            (&denied["applied"], &denied["approved"], &denied["state"]),
            (&json!(true), &json!(false), &json!("denied"))
        );
        client.find(|f| f["data"]["part"]["state"] == "denied").await;
        assert_eq!(client.event("turn.ended").await["state"], "completed");
        let seen = client.until_pong().await;
        assert!(!seen.iter().any(|f| f["data"]["part"]["state"] == "executing"), "{seen:?}");
        let stored = client.call("messages.list", json!({"sessionId": session})).await;
        let parts = stored["items"][3]["parts"].as_array().expect("parts");
        let result = parts.iter().find(|p| p["type"] == "tool_result").expect("a result");
        assert_eq!((&result["output"], &result["isError"]), (&json!("denied by the user: no"), &json!(true)));
    });
}

#[test]
fn the_first_answer_wins_and_all_are_told() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let mut phone = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let mut admin = Client::connect(&hub.address, &hub.token("ann", "acme", "admin")).await;
        phone.subscribe("user:alice", None).await;
        let (_, _, question) = asked(&mut alice).await;
        let request = &question["requestId"];
        assert_eq!(phone.event("tool.approval_required").await, question);
        // Two at the same time, neither knowing of the other.
        let (method_a, method_b) = ("tools.approve", "tools.reject");
        let one = async { admin.call(method_a, json!({"requestId": request})).await };
        let two = async { alice.call(method_b, json!({"requestId": request})).await };
        let (one, two) = futures_util::future::join(one, two).await;
        assert_ne!(one["applied"], two["applied"], "{one} {two}");
        assert_eq!((&one["state"], &one["by"], &one["approved"]), (&two["state"], &two["by"], &two["approved"]));
        let told = phone.event("tool.approval_resolved").await;
        assert_eq!((&told["requestId"], &told["state"], &told["by"]), (request, &one["state"], &one["by"]));
        assert_eq!(alice.event("tool.approval_resolved").await, told);
        // Much later the answer is still the same.
        let again = phone.call("tools.reject", json!({"requestId": request})).await;
        assert_eq!((&again["applied"], &again["state"], &again["by"]), (&json!(false), &one["state"], &one["by"]));
        let seen = phone.until_pong().await;
        assert!(!seen.iter().any(|f| f["event"] == "tool.approval_resolved"), "{seen:?}");
    });
}

#[test]
fn silence_is_a_denial() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_APPROVALS__TIMEOUT_SECONDS", 1));
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, turn, question) = asked(&mut client).await;
        let told = client.event("tool.approval_resolved").await;
        assert_eq!(told["requestId"], question["requestId"]);
        assert_eq!((&told["state"], &told["approved"]), (&json!("expired"), &json!(false)));
        assert!(told["by"].is_null() && told["reason"] == "nobody answered in time", "{told}");
        client.find(|f| f["data"]["part"]["state"] == "expired").await;
        let ended = client.event("turn.ended").await;
        assert_eq!((&ended["turnId"], &ended["state"]), (&json!(turn), &json!("completed")));
        let late = client.call("tools.approve", json!({"requestId": question["requestId"]})).await;
        assert_eq!((&late["applied"], &late["state"]), (&json!(false), &json!("expired")));
        assert_eq!(client.call("approvals.list", json!({"sessionId": session})).await["items"], json!([]));
    });
}

#[test]
fn when_the_last_who_could_answer_has_left_it_is_a_denial() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_APPROVALS__GRACE_SECONDS", 1));
        let alice = hub.token("alice", "acme", "member");
        let mut owner = Client::connect(&hub.address, &alice).await;
        let mut desk = Client::connect(&hub.address, &alice).await;
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let (session, _, question) = asked(&mut owner).await;
        let channel = format!("session:{session}");
        desk.subscribe(&channel, None).await;
        // Who watches and may not answer does not count.
        bob.subscribe(&channel, None).await;
        owner.close().await;
        desk.send(json!({"type": "unsubscribe", "channels": [channel]})).await;
        let told = bob.event("tool.approval_resolved").await;
        assert_eq!((&told["requestId"], &told["state"]), (&question["requestId"], &json!("expired")));
        assert_eq!(told["reason"], "nobody is left to answer");
    });
}

#[test]
fn who_comes_back_within_the_grace_finds_it_still_waiting() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let (session, turn, question) = asked(&mut client).await;
        drop(client);
        let mut client = Client::connect(&hub.address, &token).await;
        let mut mirror = Mirror::default();
        let told = client.subscribe(&format!("session:{session}"), None).await;
        assert_eq!(told["snapshot"]["approvals"], json!([question]));
        assert_eq!(told["snapshot"]["status"], "awaiting_approval");
        assert_eq!(told["snapshot"]["turn"]["state"], "awaiting_approval");
        mirror.apply(&told);
        let user = client.subscribe("user:alice", None).await;
        assert_eq!(user["snapshot"]["approvals"], json!([question]));
        assert_eq!(client.call("approvals.list", json!({})).await["items"], json!([question]));
        client.call("tools.approve", json!({"sessionId": session, "requestId": question["requestId"]})).await;
        mirror.follow(&mut client, &turn).await;
        assert_eq!(mirror.approvals, Vec::<Value>::new());
        mirror.must_equal_the_store(&mut client, &session).await;
    });
}

#[test]
fn a_stop_takes_the_question_back() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, turn, question) = asked(&mut client).await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(turn), &json!("stopped")));
        assert_eq!(client.event("tool.approval_resolved").await["state"], "cancelled");
        let late = client.call("tools.approve", json!({"requestId": question["requestId"]})).await;
        assert_eq!((&late["applied"], &late["state"]), (&json!(false), &json!("cancelled")));
    });
}

/// What the audit log says of a question, as an administrator reads it: exactly one row, without its number and time.
async fn record(hub: &Hub, question: &Value) -> Value {
    let ann = Http::new(&hub.address, &hub.token("ann", "acme", "admin"));
    let path = format!("/api/v1/admin/audit?target={}", question["requestId"].as_str().expect("an id"));
    let mut items = ann.ok("GET", &path, Value::Null).await["items"].take();
    let rows = items.as_array_mut().expect("rows");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let mut row = rows[0].take();
    let row_of = row.as_object_mut().expect("a row");
    assert!(row_of.remove("n").is_some() && row_of.remove("at").is_some_and(|at| at.is_string()), "{row_of:?}");
    assert!(row_of["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{row_of:?}");
    row
}

#[test]
fn every_decision_is_on_record_whichever_way_it_came() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let wanted = |row: &Value, question: &Value, action: &str, origin: &str, state: &str, reason: Value| {
            let details = json!({
                "session": question["sessionId"], "tool": "http_fetch", "state": state, "reason": reason,
                "digest": question["request"]["digest"],
            });
            let wanted = json!({
                "organization": "acme", "actor": "alice", "credential": row["credential"], "action": action,
                "target": question["requestId"], "details": details, "origin": origin, "requestId": row["requestId"],
            });
            assert_eq!(row, &wanted);
            assert_eq!(row["credential"]["kind"], "jwt");
        };

        let (session, _, question) = asked(&mut client).await;
        let yes = json!({"requestId": question["requestId"], "reason": "fine"});
        client.call("tools.approve", yes.clone()).await;
        // An answer that came too late decided nothing.
        client.call("tools.reject", yes).await;
        let first = record(&hub, &question).await;
        wanted(&first, &question, "tools.approve", "/ws from 127.0.0.1", "approved", json!("fine"));

        let (_, _, by_rest) = asked(&mut client).await;
        let path = format!("/api/v1/approvals/{}", by_rest["requestId"].as_str().expect("an id"));
        let alice = Http::new(&hub.address, &token);
        let no = b"{\"approved\":false,\"reason\":\"no\"}";
        let answer = alice.send("POST", &path, &[("X-Request-Id", "from-rest")], no).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let row = record(&hub, &by_rest).await;
        let origin = "POST /api/v1/approvals/{requestId} from 127.0.0.1";
        wanted(&row, &by_rest, "tools.reject", origin, "denied", json!("no"));
        assert_eq!(row["requestId"], "from-rest");

        let mut flat = Client::connect(&hub.address, &token).await;
        flat.send(json!({"type": "message", "content": FETCH})).await;
        let by_flat = flat.find(|f| f["type"] == "approval_request").await;
        let no = json!({"type": "approval_response", "requestId": by_flat["requestId"], "approved": false});
        flat.send(no).await;
        flat.find(|f| f["type"] == "message_complete").await;
        let row = record(&hub, &by_flat).await;
        wanted(&row, &by_flat, "tools.reject", "/ws from 127.0.0.1", "denied", Value::Null);

        // The record outlives what it is about.
        client.call("sessions.delete", json!({"sessionId": session})).await;
        assert_eq!(record(&hub, &question).await, first);
    });
}

#[test]
fn what_the_hub_decides_itself_is_on_record_too() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_APPROVALS__TIMEOUT_SECONDS", 1));
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        for (state, reason) in [("expired", "nobody answered in time"), ("cancelled", "the turn was stopped")] {
            let (session, _, question) = asked(&mut client).await;
            if state == "cancelled" {
                client.call("messages.stop", json!({"sessionId": session})).await;
            }
            client.event("tool.approval_resolved").await;
            let digest = &question["request"]["digest"];
            let details = json!({
                "session": session, "tool": "http_fetch", "state": state, "reason": reason, "digest": digest,
            });
            let wanted = json!({
                "organization": "acme", "action": "tools.reject", "target": question["requestId"],
                "details": details, "origin": "hub", "requestId": question["correlationId"],
            });
            assert_eq!(record(&hub, &question).await, wanted);
        }
    });
}
