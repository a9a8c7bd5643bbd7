//! A conversation that panics is loaded anew under a new epoch; its watchers converge, and no other notices.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, Watcher, assert_converged, run, text_of};

async fn three(hub: &Hub, token: &str) -> (String, Vec<Watcher>) {
    let session = Client::connect(&hub.address, token).await.session().await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(Watcher::join(&hub.address, token, &session).await);
    }
    (session, watchers)
}

fn epoch(watcher: &Watcher) -> String {
    watcher.client.positions.values().next().expect("a position").0.clone()
}

fn hub_with(points: &str) -> Hub {
    let options = HubOptions::default().set("SWITCHBOARD_FAILPOINTS", points).set("SWITCHBOARD_SERVER__WORKERS", 3);
    Hub::start(options)
}

/// Two conversations stream on one worker or on two; a panic hits one of them in mid-answer.
#[test]
fn a_panic_in_mid_answer_costs_one_conversation_a_reload() {
    run(async {
        let hub = hub_with("conversation.report=panic@60");
        let token = hub.token("alice", "acme", "member");
        let (_, mut one) = three(&hub, &token).await;
        let (_, mut other) = three(&hub, &token).await;
        let epochs = [epoch(&one[0]), epoch(&other[0])];
        let turns = [
            one[0].say("long 400").await["turnId"].as_str().expect("an id").to_owned(),
            other[0].say("long 400").await["turnId"].as_str().expect("an id").to_owned(),
        ];
        let mut states = Vec::new();
        for (watchers, (turn, before)) in [&mut one, &mut other].into_iter().zip(turns.iter().zip(&epochs)) {
            for watcher in watchers.iter_mut() {
                let state = watcher.until_ended(turn).await;
                // Nobody was cut off: the new epoch came over the same socket, before its first event.
                assert_eq!(watcher.client.closed, None);
                assert_eq!(epoch(watcher) == *before, state == "completed", "{state}");
                states.push(state);
            }
            let stored = assert_converged(watchers).await;
            let answer = stored.values().find(|m| m["role"] == "assistant").expect("an answer");
            let whole: Vec<_> = (1..=400).map(|n| format!("word{n}")).collect();
            let (text, whole) = (text_of(answer), whole.join(" "));
            let complete = answer["state"] == "complete";
            assert!(if complete { text == whole } else { whole.starts_with(&text) }, "{answer}");
        }
        states.sort();
        assert_eq!(states, ["completed", "completed", "completed", "interrupted", "interrupted", "interrupted"]);
        // Both go on.
        for watchers in [&mut one, &mut other] {
            let turn = watchers[1].say("long 5").await["turnId"].as_str().expect("an id").to_owned();
            for watcher in watchers.iter_mut() {
                assert_eq!(watcher.until_ended(&turn).await, "completed");
            }
            assert_converged(watchers).await;
        }
    });
}

/// The batch is on disk and the actor panics before it has told anybody: asking again gives what was stored.
#[test]
fn a_panic_between_commit_and_answer_loses_nothing() {
    run(async {
        for point in ["conversation.committed", "conversation.told", "send.answer", "tool.executing"] {
            let hub = hub_with(&format!("{point}=panic@1"));
            let token = hub.token("alice", "acme", "member");
            let (session, mut watchers) = three(&hub, &token).await;
            let before = epoch(&watchers[0]);
            let params = json!({"sessionId": session, "content": "time", "idempotencyKey": "once"});
            let first = watchers[0].client.ask("messages.send", params.clone()).await;
            if point != "tool.executing" {
                assert_eq!(first["error"]["code"], "unavailable", "{point}: {first}");
            }
            let again = watchers[0].client.call("messages.send", params).await;
            let turn = again["turnId"].as_str().expect("an id");
            for watcher in &mut watchers {
                assert_eq!(watcher.until_ended(turn).await, "interrupted", "{point}");
                assert_ne!(epoch(watcher), before, "{point}");
            }
            let stored = assert_converged(&mut watchers).await;
            let sent: Vec<&Value> = stored.values().filter(|m| m["role"] == "user").collect();
            assert_eq!(sent.len(), 1, "{point}: {sent:?}");
        }
    });
}
