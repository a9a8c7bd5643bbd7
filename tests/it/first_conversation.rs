//! A conversation streams to everybody who watches, in one order, and is stored.

use serde_json::json;

use crate::support::{Client, Hub, HubOptions, run};

#[test]
fn an_answer_streams_to_two_watchers_and_is_stored() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let mut two = Client::connect(&hub.address, &token).await;
        let session = one.session().await;
        let channel = format!("session:{session}");
        one.subscribe(&channel, None).await;
        two.subscribe(&channel, None).await;
        one.say(&session, "long 40").await;
        let mut texts = Vec::new();
        for client in [&mut one, &mut two] {
            let mut text = String::new();
            loop {
                let frame = client.find(|f| f["type"] == "event").await;
                text += frame["data"]["delta"].as_str().unwrap_or_default();
                if frame["event"] == "turn.ended" {
                    assert_eq!(frame["data"]["state"], "completed");
                    break;
                }
            }
            texts.push(text);
        }
        assert_eq!(texts[0], texts[1]);
        let stored = one.call("messages.list", json!({"sessionId": session})).await;
        let answer = &stored["items"][1];
        assert_eq!((&answer["role"], &answer["state"]), (&json!("assistant"), &json!("complete")));
        let text: String =
            answer["parts"].as_array().expect("parts").iter().filter_map(|p| p["text"].as_str()).collect();
        assert_eq!(text, texts[0]);
    });
}
