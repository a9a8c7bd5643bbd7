//! A streamed answer: the same that a watcher on a socket sees; its client may leave.

use serde_json::{Value, json};

use super::{Talk, hub};
use crate::support::{Client, Http, Hub, HubOptions, run, streamed_text, text_of};

#[test]
fn a_stream_says_what_a_flat_socket_hears() {
    run(async {
        let hub = hub();
        let token = hub.token("alice", "acme", "member");
        let alice = Http::new(&hub.address, &token);
        let session = alice.session().await;
        // A socket that sent a message to the session hears all its turns.
        let mut socket = Client::connect(&hub.address, &token).await;
        socket.send(json!({"type": "message", "sessionId": session, "content": "first"})).await;
        socket.find(|f| f["type"] == "message_complete").await;
        socket.take_waiting();
        let path = format!("/sessions/{session}/messages");
        let events = alice.stream(&path, &[], json!({"content": "time"})).await;
        assert_eq!((events.status, events.header("content-type")), (200, Some("text/event-stream")));
        let events = events.all().await;
        let mut heard = Vec::new();
        loop {
            let frame = socket.next().await;
            heard.push(frame.clone());
            if frame["type"] == "message_complete" {
                break;
            }
        }
        let shape = |list: Vec<Value>| {
            let mut shape: Vec<(Value, String)> = Vec::new();
            for frame in list {
                let said = frame["delta"].as_str().unwrap_or_default().to_owned();
                match shape.last_mut() {
                    // Runs of deltas may come merged on either side.
                    Some((kind, text)) if *kind == "text_delta" && frame["type"] == "text_delta" => *text += &said,
                    _ => shape.push((frame["type"].clone(), said)),
                }
            }
            shape
        };
        for (name, data) in &events {
            assert_eq!(data["type"], name.as_str());
        }
        assert_eq!(shape(events.iter().map(|(_, data)| data.clone()).collect()), shape(heard));
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"tool_call_start") && names.contains(&"tool_call_result"), "{names:?}");
        let stored = socket.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(streamed_text(&events), text_of(&stored["items"][3]));
    });
}

#[test]
fn a_question_is_asked_in_the_stream_and_answered_beside_it() {
    run(async {
        let hub = hub();
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let session = alice.session().await;
        let body = json!({"content": "fetch http://example.org/"});
        let mut events = alice.stream(&format!("/api/v1/sessions/{session}/messages"), &[], body).await;
        let question = loop {
            let (name, data) = events.next().await.expect("an event");
            if name == "approval_request" {
                break data;
            }
        };
        assert_eq!((&question["toolName"], &question["sessionId"]), (&json!("http_fetch"), &json!(session)));
        let request = question["requestId"].as_str().expect("an id");
        alice.ok("POST", &format!("/api/v1/approvals/{request}"), json!({"approved": false, "reason": "no"})).await;
        let rest = events.all().await;
        let result = rest.iter().find(|(name, _)| name == "tool_call_result").expect("a result");
        assert_eq!(result.1["success"], false);
        assert_eq!(rest.last().expect("an end").0, "message_complete");
    });
}

#[test]
fn who_leaves_stops_nothing() {
    run(async {
        let Talk { hub: _hub, alice, session, path, mut watcher } = Talk::begin(hub()).await;
        let mut events = alice.stream(&path, &[], json!({"content": "long 400"})).await;
        events.next().await.expect("an event");
        drop(events);
        assert_eq!(watcher.event("turn.ended").await["state"], "completed");
        let stored = watcher.call("messages.list", json!({"sessionId": session})).await;
        assert!(text_of(&stored["items"][1]).split_whitespace().count() >= 400);
    });
}

#[test]
fn a_reader_that_does_not_read_is_bounded_and_slows_nobody() {
    run(async {
        let options = HubOptions::default().set("SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS", 0);
        let hub = Hub::start(options.set("SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE", 0));
        let Talk { hub, alice, session, path, mut watcher } = Talk::begin(hub).await;
        let before = hub.resident();
        let mut slow = Vec::new();
        let first = alice.stream(&path, &[], json!({"content": "long 20000"})).await;
        slow.push(first);
        assert_eq!(watcher.event("turn.ended").await["state"], "completed");
        assert!(hub.resident() < before + (64 << 20), "{} after {before}", hub.resident());
        // And then it reads, and gets all of it, or is told that it does not.
        let events = slow.remove(0).all().await;
        let (last, data) = events.last().expect("an end");
        let stored = watcher.call("messages.list", json!({"sessionId": session})).await;
        match last.as_str() {
            "message_complete" => assert_eq!(streamed_text(&events), text_of(&stored["items"][1])),
            _ => assert_eq!((last.as_str(), &data["code"]), ("error", &json!("unavailable"))),
        }
    });
}

#[test]
fn a_deleted_session_ends_its_streams() {
    run(async {
        let hub = hub();
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let session = alice.session().await;
        let path = format!("/sessions/{session}/messages");
        let mut events = alice.stream(&path, &[], json!({"content": "slow long 5000"})).await;
        events.next().await.expect("an event");
        assert_eq!(alice.delete(&format!("/sessions/{session}")).await.status, 204);
        let (name, _) = events.all().await.pop().expect("an end");
        // The deletion aborts the turn first: that is how the turn ended.
        assert!(["message_complete", "error"].contains(&name.as_str()), "{name}");
    });
}
