//! Frames and messages over sockets.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Hub, HubOptions, run};

#[test]
fn the_message_above_the_burst_is_refused_and_the_connection_lives_on() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 60)
                .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_BURST", 60)
                .set("SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS", 0),
        );
        let token = hub.token("alice", "acme", "member");
        let (mut one, mut two) =
            (Client::connect(&hub.address, &token).await, Client::connect(&hub.address, &token).await);
        let session = one.session().await;
        let send = json!({"sessionId": session, "content": "hello"});
        // The budget is the user's, over all sockets and in both forms. It is told from what comes back meanwhile by
        // counting what was taken: 60, and one for each second that this took.
        let mut taken = 0;
        let refused = loop {
            let client = if taken % 2 == 0 { &mut one } else { &mut two };
            let response = client.ask("messages.send", send.clone()).await;
            if !response["error"].is_null() {
                break response["error"].clone();
            }
            taken += 1;
            assert!(taken < 600, "nothing is refused");
        };
        assert!(taken >= 60, "{taken}");
        assert_eq!(refused["code"], "rate_limited");
        assert!(refused["details"]["retryAfter"].as_u64().is_some_and(|seconds| seconds == 1), "{refused}");
        // Everything else goes on, on the same socket.
        one.call("sessions.get", json!({"sessionId": session})).await;
        one.until_pong().await;
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let own = bob.session().await;
        bob.say(&own, "hello").await;
    });
}

#[test]
fn a_budget_that_is_spent_refuses_retries_and_the_flat_form_too() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 1)
                .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_BURST", 2),
        );
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        let turn = client.say(&session, "hello").await;
        client.event("turn.ended").await;
        // What is malformed costs nothing.
        for _ in 0..5 {
            let bad = client.ask("messages.send", json!({"sessionId": session, "content": ""})).await;
            assert_eq!(bad["error"]["code"], "bad_request", "{bad}");
            client.send(json!({"type": "message", "content": 7})).await;
            assert_eq!(client.find(|f| f["type"] == "error").await["code"], "bad_request");
        }
        client.say(&session, "again").await;
        let retry = client.ask("messages.retry", json!({"sessionId": session, "turnId": turn})).await;
        assert_eq!(retry["error"]["code"], "rate_limited", "{retry}");
        client.send(json!({"type": "message", "content": "and again"})).await;
        let flat = client.find(|f| f["type"] == "error").await;
        assert_eq!(flat["code"], "rate_limited", "{flat}");
        let wait = |error: &Value| error["details"]["retryAfter"].as_u64().expect("seconds");
        for error in [&retry["error"], &flat] {
            assert!((1..=60).contains(&wait(error)), "{error}");
        }
        client.until_pong().await;
    });
}

#[test]
fn a_flood_of_frames_is_told_once_read_later_and_lost_to_nobody() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__FRAMES_PER_SECOND", 100)
                .set("SWITCHBOARD_LIMITS__FRAMES_BURST", 50),
        );
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        client.send_together(&vec![json!({"type": "ping"}); 120]).await;
        let (mut pongs, mut errors) = (0, Vec::new());
        while pongs < 120 {
            let frame = client.next().await;
            match frame["type"].as_str() {
                Some("pong") => pongs += 1,
                _ => errors.push(frame),
            }
        }
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!((&errors[0]["type"], &errors[0]["code"]), (&json!("error"), &json!("rate_limited")));
        assert!(errors[0]["details"]["retryAfter"].as_u64().is_some_and(|seconds| seconds >= 1), "{errors:?}");
        client.session().await;
    });
}

#[test]
fn case_55_who_floods_on_is_shown_out_and_a_neighbour_notices_nothing() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__FRAMES_PER_SECOND", 200)
                .set("SWITCHBOARD_LIMITS__FRAMES_BURST", 20)
                .set("SWITCHBOARD_SERVER__WORKERS", 1),
        );
        let mut flooder = Client::connect(&hub.address, &hub.token("mallory", "acme", "member")).await;
        let mut neighbour = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let session = neighbour.session().await;
        let ledger = hub.ledger();
        for _ in 0..2000 {
            flooder.throw(Message::text(r#"{"type":"ping"}"#)).await;
        }
        // Ten pauses of a tenth of a second; meanwhile the neighbour, on the same worker, is answered as ever.
        let talk = async {
            for _ in 0..10 {
                neighbour.call("sessions.get", json!({"sessionId": session})).await;
            }
        };
        let (code, ()) = tokio::join!(flooder.until_closed(), talk);
        assert_eq!(code, 1008);
        neighbour.until_pong().await;
        assert_eq!(ledger.changed(), [""; 0]);
        // It may come back: it was the socket that was shown out.
        let mut again = Client::connect(&hub.address, &hub.token("mallory", "acme", "member")).await;
        again.session().await;
    });
}

#[test]
fn case_55_frames_and_requests_do_not_share_a_budget() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__REQUESTS_PER_MINUTE", 5)
                .set("SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE", 1)
                .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 60),
        );
        let token = hub.token("alice", "acme", "member");
        let bearer = format!("Bearer {token}");
        let ask = async || {
            super::raw::send(&hub.address, "GET", "/api/v1/session", &[("authorization", &bearer)], "").await.status
        };
        while ask().await == 200 {}
        let mut client = Client::connect(&hub.address, &token).await;
        for _ in 0..50 {
            client.until_pong().await;
        }
        let session = client.session().await;
        for _ in 0..5 {
            client.say(&session, "hello").await;
        }
        assert_eq!(ask().await, 429);
    });
}

/// Pings of the WebSocket protocol are frames like others, though no door sees them.
#[test]
fn case_55_a_flood_of_control_frames_is_a_flood() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__FRAMES_PER_SECOND", 200)
                .set("SWITCHBOARD_LIMITS__FRAMES_BURST", 20),
        );
        for message in [Message::Ping(vec![1, 2, 3].into()), Message::Pong(Vec::new().into())] {
            let mut flooder = Client::connect(&hub.address, &hub.token("mallory", "acme", "member")).await;
            for _ in 0..2000 {
                flooder.throw(message.clone()).await;
            }
            assert_eq!(flooder.find(|f| f["type"] == "error").await["code"], "rate_limited");
            assert_eq!(flooder.until_closed().await, 1008);
        }
    });
}
