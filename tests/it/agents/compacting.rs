//! What leaves a model's context stays stored; a summary is paid for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{member, plain, said, turn};
use crate::support::mock_http::MockHttp;
use crate::support::upstream::{answers, begins, conversation, next_request, says};
use crate::support::{Client, Hub, run};

#[test]
fn clear_begins_a_new_context_and_keeps_every_message() {
    run(async {
        let mut model = MockHttp::start((0..3).map(|_| answers("noted"))).await;
        let (hub, mut alice, session) = conversation(plain(&model, "")).await;
        turn(&mut alice, &session, "the word is mango").await;
        next_request(&mut model).await;
        let cleared = json!({"sessionId": session, "command": "/clear"});
        assert_eq!(alice.call("commands.execute", cleared).await["success"], true);
        turn(&mut alice, &session, "what was it").await;
        assert!(!said(&next_request(&mut model).await).contains("mango"));
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(4));
        // Also for another life of the hub.
        let hub = hub.kill_and_restart();
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        alice.subscribe(&format!("session:{session}"), None).await;
        turn(&mut alice, &session, "and now").await;
        let prompt = said(&next_request(&mut model).await);
        assert!(!prompt.contains("mango") && prompt.contains("what was it"), "{prompt}");
    });
}

#[test]
fn a_summary_that_is_asked_for_stands_in_the_place_of_what_was_said() {
    run(async {
        let mut model = MockHttp::start([answers("noted"), answers("The user said mango."), answers("mango")]).await;
        let (hub, mut alice, session) = conversation(plain(&model, "")).await;
        turn(&mut alice, &session, "the word is mango").await;
        next_request(&mut model).await;
        let compact = json!({"sessionId": session, "command": "/compact"});
        let done = alice.call("commands.execute", compact).await;
        assert_eq!(done["success"], true, "{done}");
        let asked = next_request(&mut model).await.json();
        assert_eq!(asked["max_tokens"], 1024);
        assert!(asked["messages"][1]["content"].as_str().is_some_and(|text| text.contains("User: the word is mango")));
        turn(&mut alice, &session, "what was it").await;
        let prompt = said(&next_request(&mut model).await);
        assert!(prompt.contains("The user said mango.") && !prompt.contains("the word is mango"), "{prompt}");
        // Three calls of ten tokens each: what the summary used counts.
        let usage = member(&hub, "alice").ok("GET", "/api/v1/ai/usage?period=day", Value::Null).await;
        assert_eq!(usage["usage"]["total"], 30, "{usage}");
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(4), "nothing is gone");
    });
}

#[test]
fn a_context_that_grows_too_large_is_summarized_before_the_model_is_asked() {
    run(async {
        let mut model =
            MockHttp::start([answers(&"b".repeat(2000)), answers("They wrote letters."), answers("yes")]).await;
        let data = Arc::new(tempfile::tempdir().expect("a folder"));
        let prices = data.path().join("prices.toml");
        std::fs::write(&prices, "[openai.model-1]\ninput = 1\noutput = 10\ncontext_window = 1200\n").expect("written");
        let options = plain(&model, "").set("SWITCHBOARD_SPENDING__PRICES", prices.display());
        let hub = Hub::start_in(data, options);
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        turn(&mut alice, &session, &"a".repeat(1000)).await;
        next_request(&mut model).await;
        let (_, ended) = turn(&mut alice, &session, &"c".repeat(1000)).await;
        assert!(said(&next_request(&mut model).await).contains("You summarize a conversation"));
        let prompt = said(&next_request(&mut model).await);
        assert!(
            prompt.contains("They wrote letters.") && prompt.contains("ccc") && !prompt.contains("bbb"),
            "{prompt}"
        );
        assert_eq!(ended["usage"]["total"], 20, "the summary's call and the answer's: {ended}");
        // Seven tokens in for a millionth of a dollar each, three out for ten: both calls are paid for.
        assert_eq!(ended["usage"]["cost"], json!(74.0 / 1e6));
    });
}

#[test]
fn a_stop_closes_the_summarys_request_too() {
    run(async {
        let mut model = MockHttp::start([answers("noted"), begins(&says("so"))]).await;
        let (_hub, mut alice, session) = conversation(plain(&model, "")).await;
        turn(&mut alice, &session, "hello").await;
        next_request(&mut model).await;
        let compact = json!({"type": "request", "id": "c", "method": "commands.execute",
            "params": {"sessionId": session, "command": "/compact"}});
        alice.send(compact).await;
        next_request(&mut model).await;
        let waits = alice.say(&session, "later").await;
        alice.find(|f| f["event"] == "turn.queued" && f["data"]["turnId"] == waits.as_str()).await;
        alice.call("sessions.archive", json!({"sessionId": session})).await;
        loop {
            if let crate::support::mock_http::Seen::HungUp(_) = model.next().await {
                break;
            }
        }
    });
}
