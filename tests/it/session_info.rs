//! Who answers is told to all who watch, where it changes.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

/// Whether an event tells who answers now.
fn tells(frame: &Value) -> bool {
    frame["event"] == "session.updated" && frame["data"]["info"].is_object()
}

#[test]
fn a_switch_is_told_to_every_watcher_and_no_switch_to_nobody() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut asker = Client::connect(&hub.address, &token).await;
        let session = asker.call("sessions.create", json!({})).await["id"].as_str().expect("an id").to_owned();
        let mut watcher = Client::connect(&hub.address, &token).await;
        let channel = format!("session:{session}");
        watcher.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
        watcher.find(|f| f["type"] == "response").await;
        let change = |change: Value| {
            let mut params = change;
            params["sessionId"] = json!(session);
            params
        };
        asker.call("sessions.update", change(json!({"model": "demo-x", "thinkingLevel": "low"}))).await;
        let info = watcher.find(tells).await["data"]["info"].clone();
        assert_eq!(info["provider"], "demo");
        assert_eq!((&info["model"], &info["thinkingLevel"]), (&json!("demo-x"), &json!("low")), "{info}");
        assert!(info["availableThinkingLevels"].as_array().is_some_and(|l| l.contains(&json!("off"))), "{info}");
        assert_eq!(info["agent"], "assistant");
        // What is so already, and a title, switch nothing.
        asker.call("sessions.update", change(json!({"model": "demo-x"}))).await;
        asker.call("sessions.update", change(json!({"title": "other"}))).await;
        let seen = watcher.until_pong().await;
        let updates: Vec<&Value> = seen.iter().filter(|f| f["event"] == "session.updated").collect();
        assert_eq!(updates.len(), 1, "{updates:?}");
        assert!(updates[0]["data"]["info"].is_null() && updates[0]["data"]["session"]["title"] == "other");
    });
}
