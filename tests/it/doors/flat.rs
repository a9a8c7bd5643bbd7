//! The flat form on `/ws`: talk, and hear all of the conversation, without subscribing.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

/// All frames up to the end of a turn.
async fn turn(client: &mut Client) -> Vec<Value> {
    let mut frames = Vec::new();
    loop {
        let frame = client.next().await;
        let ended = frame["type"] == "message_complete" || frame["type"] == "error";
        frames.push(frame);
        if ended {
            return frames;
        }
    }
}

fn text(frames: &[Value]) -> String {
    frames.iter().filter_map(|f| f["delta"].as_str()).collect()
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = frames.iter().map(|f| f["type"].as_str().expect("a type")).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_message_without_a_session_is_answered_in_the_users_own() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        client.send_text(r#"{"type":"message","content":"hello there"}"#).await;
        let frames = turn(&mut client).await;
        assert_eq!(kinds(&frames), ["text_delta", "message_complete"]);
        let (session, id) = (&frames[0]["sessionId"], &frames[0]["turnId"]);
        assert!(session.as_str().is_some_and(|s| s.starts_with("sess_")), "{frames:?}");
        assert!(frames.iter().all(|f| f["sessionId"] == *session && f["turnId"] == *id), "{frames:?}");
        assert!(text(&frames).contains("You said: \u{201c}hello there\u{201d}"), "{}", text(&frames));
        let usage = &frames.last().expect("an end")["usage"];
        assert!(usage["output"].as_u64().is_some_and(|n| n > 0), "{usage}");
        let stored = client.call("sessions.get", json!({"sessionId": session})).await;
        assert_eq!((&stored["channel"], &stored["visibility"]), (&json!("websocket"), &json!("private")));
        // The next one goes to the same, from another socket too; after its archive to a new one.
        let mut other = Client::connect(&hub.address, &token).await;
        other.send(json!({"type": "message", "content": "again"})).await;
        assert_eq!(turn(&mut other).await[0]["sessionId"], *session);
        client.call("sessions.archive", json!({"sessionId": session})).await;
        other.send(json!({"type": "message", "content": "again", "sessionId": session})).await;
        let refused = other.find(|f| f["type"] == "error").await;
        assert_eq!((&refused["code"], &refused["sessionId"]), (&json!("archived"), session));
        other.send(json!({"type": "message", "content": "again"})).await;
        let frames = turn(&mut other).await;
        assert_ne!(frames[0]["sessionId"], *session);
        // Somebody else's is another.
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        bob.send(json!({"type": "message", "content": "hi"})).await;
        assert_ne!(turn(&mut bob).await[0]["sessionId"], frames[0]["sessionId"]);
    });
}

#[test]
fn first_messages_at_the_same_moment_go_to_one_session() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(Client::connect(&hub.address, &token).await);
        }
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(json!({"type": "message", "content": format!("first {n}")})).await;
            client.send(json!({"type": "message", "content": format!("second {n}")})).await;
        }
        let mut sessions = std::collections::BTreeSet::new();
        for client in &mut clients {
            sessions.insert(turn(client).await[0]["sessionId"].to_string());
        }
        assert_eq!(sessions.len(), 1);
        let listed = clients[0].call("sessions.list", json!({})).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        // Each socket's own messages stand in the order in which it sent them.
        let session = &listed["items"][0]["id"];
        let list = clients[0].call("messages.list", json!({"sessionId": session, "limit": 200})).await;
        let said: Vec<&str> =
            list["items"].as_array().expect("items").iter().filter_map(|m| m["parts"][0]["text"].as_str()).collect();
        for n in 0..6 {
            let place = |text: String| said.iter().position(|s| *s == text).expect("it is stored");
            assert!(place(format!("first {n}")) < place(format!("second {n}")), "{said:?}");
        }
    });
}

#[test]
fn tools_are_shown_and_questions_answered() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        client.send(json!({"type": "message", "content": "time"})).await;
        let frames = turn(&mut client).await;
        assert_eq!(
            kinds(&frames),
            ["text_delta", "tool_call_start", "tool_call_result", "text_delta", "message_complete"]
        );
        let find = |kind: &str| frames.iter().find(|f| f["type"] == kind).expect("it is there");
        assert_eq!(find("tool_call_start")["name"], "time");
        assert_eq!(find("tool_call_start")["id"], find("tool_call_result")["id"]);
        assert_eq!(find("tool_call_result")["success"], true);
        for approved in [true, false] {
            client.send(json!({"type": "message", "content": "fetch http://example.org/"})).await;
            let question = client.find(|f| f["type"] == "approval_request").await;
            assert_eq!(question["request"]["input"], json!({"url": "http://example.org/"}));
            for field in ["requestId", "correlationId", "toolCallId", "toolName", "sessionId", "turnId"] {
                assert!(question[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {question}");
            }
            let answer = json!({"type": "approval_response", "requestId": question["requestId"], "approved": approved});
            client.send(answer.clone()).await;
            let result = client.find(|f| f["type"] == "tool_call_result").await;
            // Nothing is on the allow-list: what was approved fails by itself.
            assert_eq!((&result["id"], &result["success"]), (&question["toolCallId"], &json!(false)));
            client.find(|f| f["type"] == "message_complete").await;
            client.send(answer).await;
            let late = client.find(|f| f["type"] == "error").await;
            assert_eq!(late["code"], "conflict", "{late}");
        }
        client.send(json!({"type": "approval_response", "requestId": "appr_x", "approved": true})).await;
        assert_eq!(client.find(|f| f["type"] == "error").await["code"], "not_found");
    });
}

#[test]
fn a_turn_that_fails_ends_with_an_error_and_nothing_else() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        for content in ["fail", "fail first"] {
            client.send(json!({"type": "message", "content": content})).await;
            let frames = turn(&mut client).await;
            let end = frames.last().expect("an end");
            assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("failed")), "{frames:?}");
            assert!(end["message"].as_str().is_some_and(|m| m.contains("demo provider fails")), "{end}");
            assert!(end["sessionId"].is_string() && end["turnId"].is_string(), "{end}");
            assert_eq!(client.until_pong().await, Vec::<Value>::new());
        }
    });
}

#[test]
fn a_flat_socket_hears_all_turns_and_others_hear_no_flat_frame() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let token = hub.token("alice", "acme", "member");
        let mut flat = Client::connect(&hub.address, &token).await;
        let mut native = Client::connect(&hub.address, &token).await;
        let session = native.session().await;
        let channel = format!("session:{session}");
        native.subscribe(&channel, None).await;
        flat.send(json!({"type": "message", "content": "one", "sessionId": session})).await;
        let own = turn(&mut flat).await;
        // A turn that somebody else began.
        let begun = native.say(&session, "long 30").await;
        let others = turn(&mut flat).await;
        assert!(others.iter().all(|f| f["turnId"] == begun.as_str()), "{others:?}");
        assert!(text(&others).ends_with("word30"));
        assert_ne!(own[0]["turnId"], others[0]["turnId"]);
        native.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == begun.as_str()).await;
        let seen = native.until_pong().await;
        assert!(seen.iter().all(|f| f["type"] == "event"), "{seen:?}");
        // A stopped turn is complete too, one that never began is nothing.
        let begun = native.say(&session, "slow long 5000").await;
        native.say(&session, "never").await;
        flat.find(|f| f["type"] == "text_delta" && f["turnId"] == begun.as_str()).await;
        native.call("messages.cancel", json!({"sessionId": session, "turnId": null})).await;
        let end = flat.find(|f| f["type"] == "message_complete").await;
        assert_eq!(end["turnId"], begun.as_str());
        // Who sent nothing on a socket hears nothing on it.
        let mut silent = Client::connect(&hub.address, &token).await;
        native.say(&session, "two").await;
        turn(&mut flat).await;
        assert_eq!(silent.until_pong().await, Vec::<Value>::new());
    });
}

#[test]
fn one_socket_may_speak_both_forms() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        let channel = format!("session:{session}");
        client.subscribe(&channel, None).await;
        client.send(json!({"type": "message", "content": "long 20", "sessionId": session})).await;
        client.find(|f| f["type"] == "message_complete").await;
        client.find(|f| f["event"] == "turn.ended").await;
        // It is one user who listens, and leaving the events does not end the talk.
        let presence = client.call("channels.presence", json!({"channel": channel})).await;
        assert_eq!(presence, json!({"count": 1, "users": ["alice"]}));
        client.send(json!({"type": "unsubscribe", "channels": [channel], "id": "u"})).await;
        client.find(|f| f["id"] == "u").await;
        client.until_pong().await;
        client.send(json!({"type": "message", "content": "long 20", "sessionId": session})).await;
        let frames = turn(&mut client).await;
        assert_eq!(kinds(&frames), ["text_delta", "message_complete"]);
        let whole: Vec<String> = (1..=20).map(|n| format!("word{n}")).collect();
        assert_eq!(text(&frames), whole.join(" "));
    });
}

#[test]
fn a_new_flat_socket_is_asked_first_what_waits() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        one.send(json!({"type": "message", "content": "fetch http://example.org/"})).await;
        let question = one.find(|f| f["type"] == "approval_request").await;
        let mut two = Client::connect(&hub.address, &token).await;
        two.send(json!({"type": "message", "content": "and then"})).await;
        assert_eq!(two.next().await, question);
        two.send(json!({"type": "approval_response", "requestId": question["requestId"], "approved": false})).await;
        let rest = turn(&mut two).await;
        assert!(rest.iter().all(|f| f["turnId"] == question["turnId"]), "{rest:?}");
        let next = turn(&mut two).await;
        assert!(text(&next).contains("and then"), "{next:?}");
    });
}

#[test]
fn bad_flat_frames_get_a_flat_error() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        for (frame, field) in [
            (json!({"type": "message"}), json!("content")),
            (json!({"type": "message", "content": ""}), json!("content")),
            (json!({"type": "message", "content": 5}), json!("content")),
            (json!({"type": "message", "content": "x", "attachments": "x"}), json!("attachments")),
            (
                json!({"type": "message", "content": "x", "attachments": [{"type": "image", "name": "n"}]}),
                json!("attachments[0]"),
            ),
            (json!({"type": "approval_response", "requestId": "appr_x", "approved": "yes"}), json!("approved")),
        ] {
            client.send(frame.clone()).await;
            let error = client.find(|f| f["type"] == "error").await;
            assert_eq!(error["code"], "bad_request", "{frame}: {error}");
            assert_eq!(error["details"]["field"], field, "{frame}: {error}");
            assert!(
                error["message"].as_str().is_some_and(|m| m.contains(field.as_str().unwrap_or("content"))),
                "{error}"
            );
        }
        for session in ["sess_x", "", "sess_01930000000070008000000000000000"] {
            client.send(json!({"type": "message", "content": "x", "sessionId": session})).await;
            assert_eq!(client.find(|f| f["type"] == "error").await["code"], "not_found", "{session}");
        }
        assert_eq!(client.until_pong().await, Vec::<Value>::new());
    });
}
