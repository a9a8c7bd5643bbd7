//! What one does to a conversation is right for everybody else on it, also when two come at the same moment.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

/// Two people of one organization, and a session of the first that both may see.
struct Two {
    hub: Hub,
    owner: Client,
    other: Client,
    session: String,
    channel: String,
}

impl Two {
    async fn meet() -> Self {
        let hub = Hub::start(HubOptions::default());
        let mut owner = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let other = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let made = owner.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = made["id"].as_str().expect("an id").to_owned();
        Self { channel: format!("session:{session}"), hub, owner, other, session }
    }
}

#[test]
fn a_session_that_becomes_private_is_heard_by_its_user_alone() {
    run(async {
        let Two { hub: _hub, mut owner, mut other, session, channel } = Two::meet().await;
        other.subscribe(&channel, None).await;
        owner.subscribe(&channel, None).await;
        owner.call("sessions.update", json!({"sessionId": session, "visibility": "private"})).await;
        let end = other.find(|f| f["type"] == "unsubscribed").await;
        assert_eq!((&end["channel"], &end["code"]), (&json!(channel), &json!("forbidden")));
        owner.say(&session, "a secret").await;
        owner.event("turn.ended").await;
        assert_eq!(other.refused("sessions.get", json!({"sessionId": session})).await, "forbidden");
        // What came before that answer has all been read.
        other.send(json!({"type": "ping"})).await;
        loop {
            let frame = other.next().await;
            assert!(!frame.to_string().contains("a secret"), "{frame}");
            if frame["type"] == "pong" {
                break;
            }
        }
    });
}

#[test]
fn one_that_subscribes_twice_is_there_once_and_gone_once() {
    run(async {
        let Two { hub: _hub, mut owner, mut other, channel, .. } = Two::meet().await;
        owner.subscribe(&channel, None).await;
        other.subscribe(&channel, None).await;
        other.subscribe(&channel, None).await;
        other.close().await;
        let left = owner.event("presence.left").await;
        assert_eq!((&left["userId"], &left["count"]), (&json!("bob"), &json!(1)));
    });
}

#[test]
fn two_first_messages_of_the_flat_form_go_to_one_session_in_their_order() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let mut two = Client::connect(&hub.address, &token).await;
        for client in [&mut one, &mut two] {
            client.send(json!({"type": "message", "content": "first"})).await;
            client.send(json!({"type": "message", "content": "second"})).await;
        }
        for client in [&mut one, &mut two] {
            for _ in 0..4 {
                client.find(|f| f["type"] == "message_complete").await;
            }
        }
        let sessions = one.call("sessions.list", json!({})).await;
        assert_eq!(sessions["items"].as_array().map(Vec::len), Some(1), "{sessions}");
        let session = &sessions["items"][0]["id"];
        let listed = one.call("messages.list", json!({"sessionId": session})).await;
        let said = |m: &Value| (m["role"] == "user").then(|| m["parts"][0]["text"].clone());
        let said: Vec<Value> = listed["items"].as_array().expect("a list").iter().filter_map(said).collect();
        // Each socket's own order holds; between the two there is none.
        assert_eq!(said.iter().filter(|text| **text == "first").count(), 2, "{said:?}");
        assert_eq!((&said[0], &said[3]), (&json!("first"), &json!("second")), "{said:?}");
    });
}

#[test]
fn two_who_delete_are_both_told_so() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.say(&session, "long 20000").await;
        for id in ["a", "b"] {
            let params = json!({"sessionId": session});
            client.send(json!({"type": "request", "id": id, "method": "sessions.delete", "params": params})).await;
        }
        for id in ["a", "b"] {
            let response = client.find(|f| f["type"] == "response" && f["id"] == id).await;
            assert!(response["error"].is_null() || response["error"]["code"] == "not_found", "{response}");
        }
        assert_eq!(client.refused("sessions.get", json!({"sessionId": session})).await, "not_found");
    });
}

#[test]
fn an_agent_that_is_changed_in_mid_turn_is_the_next_turns() {
    run(async {
        // Nobody listens there: a turn that asked it would fail.
        let other = "[agents.assistant]\nprovider = \"demo\"\n[agents.other]\nprovider = \"openai\"\n\
                     [tools.time]\npolicy = \"ask\"";
        let hub = Hub::start(HubOptions::default().config(other).set("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"));
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        client.say(&session, "time").await;
        let asked = client.event("tool.approval_required").await;
        client.call("sessions.update", json!({"sessionId": session, "agent": "other"})).await;
        client.call("tools.approve", json!({"requestId": asked["requestId"]})).await;
        assert_eq!(client.event("turn.ended").await["state"], "completed");
    });
}

#[test]
fn a_client_that_asks_for_much_at_once_is_not_taken_for_a_slow_one() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_LIMITS__HARD_QUEUE_BYTES", 1 << 20));
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let mut sessions = Vec::new();
        for _ in 0..6 {
            let session = client.session().await;
            client.call("sessions.pause", json!({"sessionId": session})).await;
            client.say(&session, &"x".repeat(700_000)).await;
            sessions.push(session);
        }
        let channels: Vec<String> = sessions.iter().map(|id| format!("session:{id}")).collect();
        client.send(json!({"type": "subscribe", "channels": channels, "id": "all"})).await;
        for (n, session) in sessions.iter().enumerate() {
            let params = json!({"sessionId": session});
            let id = format!("list {n}");
            client.send(json!({"type": "request", "id": id, "method": "messages.list", "params": params})).await;
        }
        client.send(json!({"type": "unsubscribe", "channels": channels, "id": "none"})).await;
        let subscribed = client.find(|f| f["id"] == "all").await;
        assert_eq!(subscribed["result"]["subscribed"], json!(channels));
        for n in 0..6 {
            let listed = client.find(|f| f["id"] == format!("list {n}")).await;
            assert_eq!(listed["result"]["items"].as_array().map(Vec::len), Some(1));
        }
        let unsubscribed = client.find(|f| f["id"] == "none").await;
        assert_eq!(unsubscribed["result"]["unsubscribed"], json!(channels), "in the order in which it was asked");
    });
}

#[test]
fn a_page_of_messages_is_bounded_in_bytes_and_goes_on() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = client.session().await;
        client.call("sessions.pause", json!({"sessionId": session})).await;
        for _ in 0..6 {
            client.say(&session, &"x".repeat(1_000_000)).await;
        }
        let page = client.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(4));
        let rest = client.call("messages.list", json!({"sessionId": session, "before": page["nextCursor"]})).await;
        assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
        assert!(rest["nextCursor"].is_null());
    });
}
