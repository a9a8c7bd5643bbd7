//! One key, one effect, one answer for all: also for many at once, and after a kill.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

/// Sends the same request fifty times over ten sockets, all before the first answer is read.
async fn fifty(hub: &Hub, token: &str, method: &str, params: &Value) -> Vec<Value> {
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(&hub.address, token).await);
    }
    for n in 0..5 {
        for client in &mut clients {
            let id = format!("same_{n}");
            client.send(json!({"type": "request", "id": id, "method": method, "params": params})).await;
        }
    }
    let mut answers = Vec::new();
    for client in &mut clients {
        for _ in 0..5 {
            let frame = client.find(|f| f["type"] == "response").await;
            assert!(frame["error"].is_null(), "{frame}");
            answers.push(frame["result"].clone());
        }
    }
    answers
}

#[test]
fn fifty_sends_with_one_key_are_one_message() {
    run(async {
        let mut hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        let params = json!({"sessionId": session, "content": "long 5", "idempotencyKey": "k1"});
        let answers = fifty(&hub, &token, "messages.send", &params).await;
        assert_eq!(answers.len(), 50);
        assert!(answers.iter().all(|a| *a == answers[0]), "{answers:#?}");
        for other in [
            json!({"sessionId": session, "content": "long 6", "idempotencyKey": "k1"}),
            json!({"sessionId": session, "content": "long 5", "model": "other", "idempotencyKey": "k1"}),
        ] {
            assert_eq!(client.refused("messages.send", other).await, "conflict");
        }
        // A key is a user's own: another one's is another.
        let bob = hub.token("bob", "acme", "member");
        let mut stranger = Client::connect(&hub.address, &bob).await;
        let his = stranger.session().await;
        let own = json!({"sessionId": his, "content": "mine", "idempotencyKey": "k1"});
        let sent = stranger.call("messages.send", own).await;
        assert_ne!(sent["messageId"], answers[0]["messageId"]);
        hub.kill();
        hub.revive();
        let after = fifty(&hub, &token, "messages.send", &params).await;
        assert!(after.iter().all(|a| *a == answers[0]), "{after:#?}");
        let mut client = Client::connect(&hub.address, &token).await;
        let stored = client.call("messages.list", json!({"sessionId": session})).await;
        let users = stored["items"].as_array().expect("a list").iter().filter(|m| m["role"] == "user").count();
        assert_eq!(users, 1, "{stored}");
        let other = json!({"sessionId": session, "content": "long 6", "idempotencyKey": "k1"});
        assert_eq!(client.refused("messages.send", other).await, "conflict");
    });
}

/// The same key for two conversations at once: one of them gets it, the other hears of a conflict and goes on.
#[test]
fn one_key_for_two_conversations_is_a_conflict_for_one() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut clients = Vec::new();
        let mut sessions = Vec::new();
        for _ in 0..8 {
            let mut client = Client::connect(&hub.address, &token).await;
            sessions.push(client.session().await);
            clients.push(client);
        }
        for (client, session) in clients.iter_mut().zip(&sessions) {
            let params = json!({"sessionId": session, "content": "long 3", "idempotencyKey": "shared"});
            client.send(json!({"type": "request", "id": "x", "method": "messages.send", "params": params})).await;
        }
        let mut won = 0;
        for (client, session) in clients.iter_mut().zip(&sessions) {
            let frame = client.find(|f| f["id"] == "x").await;
            let kept = usize::from(frame["error"].is_null());
            won += kept;
            assert!(kept == 1 || frame["error"]["code"] == "conflict", "{frame}");
            let stored = client.call("messages.list", json!({"sessionId": session})).await;
            let users = stored["items"].as_array().expect("a list").iter().filter(|m| m["role"] == "user").count();
            assert_eq!(users, kept, "{stored}");
            client.say(session, "long 2").await;
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn fifty_creations_with_one_key_are_one_session() {
    run(async {
        let mut hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let params = json!({"title": "once", "idempotencyKey": "s1"});
        let answers = fifty(&hub, &token, "sessions.create", &params).await;
        let id = answers[0]["id"].clone();
        assert!(id.is_string() && answers.iter().all(|a| a["id"] == id), "{answers:#?}");
        hub.kill();
        hub.revive();
        let after = fifty(&hub, &token, "sessions.create", &params).await;
        assert!(after.iter().all(|a| a["id"] == id), "{after:#?}");
        let mut client = Client::connect(&hub.address, &token).await;
        let listed = client.call("sessions.list", json!({})).await;
        assert_eq!(listed["items"].as_array().expect("a list").len(), 1, "{listed}");
        let other = json!({"title": "twice", "idempotencyKey": "s1"});
        assert_eq!(client.refused("sessions.create", other).await, "conflict");
    });
}
