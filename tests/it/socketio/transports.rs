//! Long polling, WebSocket, and from one to the other.

use serde_json::json;

use super::raw::{BEGIN, Polled, Wired, body, chat, deltas, said};
use crate::limits::raw::{knock, send};
use crate::support::{Client, Hub, HubOptions, run};

fn hub() -> (Hub, String) {
    let hub = Hub::start(HubOptions::default());
    let token = hub.token("ann", "acme", "member");
    (hub, token)
}

#[test]
fn a_chat_over_polling_packet_by_packet() {
    run(async {
        let (hub, token) = hub();
        let mut session = Polled::open(&hub.address, &[]).await;
        let open = json!({"sid": session.sid, "upgrades": ["websocket"], "pingInterval": 25_000, "pingTimeout": 20_000,
            "maxPayload": 8 << 20});
        assert_eq!((&session.open, session.sid.len()), (&open, 24));
        session.connect("/ai", &token).await;
        session.post("42/ai,7[\"chat\",{\"message\":\"hello\"}]").await;
        let ack = body(&session.next_of("43/ai,7").await);
        assert_eq!(ack[0]["ok"], true, "{ack}");
        let conversation = ack[0]["conversationId"].as_str().expect("an id").to_owned();
        assert!(conversation.starts_with("sess_"), "{ack}");
        let start = session.next().await;
        let wanted = format!("42/ai,[\"message_start\",{{\"conversationId\":\"{conversation}\"}},\"");
        assert!(start.starts_with(&wanted), "{start}");
        let mut packets = Vec::new();
        loop {
            let packet = session.next().await;
            packets.push(packet.clone());
            if packet.starts_with("42/ai,[\"message_complete\"") {
                break;
            }
        }
        assert!(said(&packets).contains("hello"), "{packets:?}");
        let mut last = 0;
        for (_, place) in deltas(&packets) {
            let seq: u64 = place.split_once(':').expect("epoch and seq").1.parse().expect("a number");
            assert!(seq > last, "{packets:?}");
            last = seq;
        }
    });
}

impl Polled {
    /// The next packet, which begins so.
    async fn next_of(&mut self, beginning: &str) -> String {
        let packet = self.next().await;
        assert!(packet.starts_with(beginning), "{packet}");
        packet
    }
}

#[test]
fn an_upgrade_answers_the_waiting_poll_and_ends_polling() {
    for workers in [1, 3] {
        run(async {
            let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", workers));
            let token = hub.token("ann", "acme", "member");
            let mut session = Polled::open(&hub.address, &[]).await;
            session.connect("/ai", &token).await;
            let mut wired = Wired::at(&hub.address, &format!("&sid={}", session.sid)).await;
            let (poll, ()) = tokio::join!(session.poll(), async {
                wired.send("2probe").await;
                assert_eq!(wired.next().await, "3probe");
            });
            assert_eq!(poll, ["6"]);
            // Another poll meanwhile waits for nothing either.
            assert_eq!(session.poll().await, ["6"]);
            wired.send("5").await;
            wired.send("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
            wired.find("43/ai,1[").await;
            wired.find("42/ai,[\"message_complete\"").await;
            let answer = session.raw_poll().await;
            assert_eq!((answer.status, answer.text.as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
            assert_eq!(session.raw_post("3").await.status, 400);
        });
    }
}

/// A probe that fails leaves the polls as they were.
#[test]
fn a_probe_that_comes_to_nothing_costs_nothing() {
    run(async {
        let (hub, token) = hub();
        let mut session = Polled::open(&hub.address, &[]).await;
        session.connect("/ai", &token).await;
        let more = format!("&sid={}", session.sid);
        for wrong in ["5", "40/ai,", "nonsense"] {
            let mut wired = Wired::at(&hub.address, &more).await;
            wired.send(wrong).await;
            assert_eq!(wired.until_closed().await, (vec![], 1000), "{wrong}");
        }
        Wired::at(&hub.address, &more).await.drop_it();
        session.post("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
        session.find("43/ai,1[").await;
        session.find("42/ai,[\"message_complete\"").await;
    });
}

#[test]
fn requests_that_are_none_are_answered_as_the_stock_server_does() {
    run(async {
        let (hub, _) = hub();
        let session = Polled::open(&hub.address, &[]).await;
        let unknown = format!("{BEGIN}&sid={}", "A".repeat(24));
        let told = |code: u8, message: &str| json!({"code": code, "message": message});
        for (method, path, body) in [
            ("GET", "/socket.io/?EIO=3&transport=polling", told(5, "Unsupported protocol version")),
            ("GET", "/socket.io/?EIO=4&transport=pigeon", told(0, "Transport unknown")),
            ("GET", "/socket.io/", told(0, "Transport unknown")),
            ("GET", "/socket.io/?EIO=4&transport=websocket", told(3, "Bad request")),
            ("POST", BEGIN, told(2, "Bad handshake method")),
            ("GET", &unknown, told(1, "Session ID unknown")),
            ("POST", &unknown, told(1, "Session ID unknown")),
        ] {
            let answer = send(&hub.address, method, path, &[], "").await;
            assert_eq!((answer.status, &answer.body), (400, &body), "{method} {path}: {}", answer.head);
        }
        let answer = send(&hub.address, "DELETE", &session.path(), &[], "").await;
        assert_eq!(answer.status, 405);
        for (path, code) in [
            ("/socket.io/?EIO=4&transport=polling", 3),
            ("/socket.io/?EIO=3&transport=websocket", 5),
            (&*format!("/socket.io/?EIO=4&transport=websocket&sid={}", "A".repeat(24)), 1),
        ] {
            let answer = knock("127.0.0.1", &hub.address, path, &[]).await.expect_err("refused");
            assert_eq!((answer.status, answer.body["code"].as_u64()), (400, Some(code)), "{path}");
        }
    });
}

#[test]
fn two_polls_at_a_time_are_the_end_of_a_session() {
    run(async {
        let (hub, token) = hub();
        let mut session = Polled::open(&hub.address, &[]).await;
        session.connect("/ai", &token).await;
        // Whichever came first ends with the session; the other one is told what it did.
        let (one, other) = tokio::join!(session.raw_poll(), session.raw_poll());
        let mut answers = [(one.status, one.text), (other.status, other.text)];
        answers.sort();
        assert_eq!(answers[0], (200, "1".to_owned()));
        assert_eq!(answers[1], (400, r#"{"code":3,"message":"Bad request"}"#.to_owned()));
        assert_eq!(session.raw_poll().await.body["code"], 1);
    });
}

#[test]
fn the_hub_pings_and_whoever_does_not_answer_is_gone() {
    run(async {
        let options = HubOptions::default();
        let options = options.set("SWITCHBOARD_LIMITS__PING_SECONDS", 2).set("SWITCHBOARD_LIMITS__PONG_SECONDS", 1);
        let hub = Hub::start(options);
        let token = hub.token("ann", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/ai", json!({"token": token})).await;
        let mut session = Polled::open(&hub.address, &[]).await;
        assert_eq!((&session.open["pingInterval"], &session.open["pingTimeout"]), (&json!(2000), &json!(1000)));
        session.connect("/ai", &token).await;
        for _ in 0..2 {
            wired.find("2").await;
            wired.send("3").await;
            assert_eq!(session.next().await, "2");
            session.post("3").await;
        }
        let silent = tokio::join!(wired.until_closed(), async { (session.next().await, session.next().await) });
        let ping = "2".to_owned();
        assert_eq!(silent, ((vec![ping.clone()], 1012), (ping, "1".to_owned())));
        assert_eq!(session.raw_poll().await.body["code"], 1);
    });
}

#[test]
fn a_session_without_a_namespace_is_gone_after_a_while() {
    run(async {
        let (hub, token) = hub();
        let mut bare = Wired::open(&hub.address).await;
        let polled = Polled::open(&hub.address, &[]).await;
        let mut left = Wired::open(&hub.address).await;
        left.connect("/ai", json!({"token": token})).await;
        left.send("41/ai,").await;
        let mut stays = Wired::open(&hub.address).await;
        stays.connect("/chat", json!({"token": token})).await;
        let (bare, left, polled) = tokio::join!(bare.until_closed(), left.until_closed(), polled.poll());
        assert_eq!((bare, left, polled), ((vec![], 1000), (vec![], 1000), vec!["1".to_owned()]));
        stays.send("42/chat,1[\"message\",{\"content\":\"still here\"}]").await;
        stays.find("43/chat,1[").await;
    });
}

/// Nothing is kept for a poller that does not poll but what fits; the rest is caught up with, joined.
#[test]
fn a_slow_poller_hears_all_of_it_in_fewer_packets() {
    run(async {
        let options = HubOptions::default().set("SWITCHBOARD_LIMITS__SOFT_QUEUE_BYTES", 4096);
        let hub = Hub::start(options);
        let token = hub.token("ann", "acme", "member");
        let mut watcher = Client::connect(&hub.address, &token).await;
        let conversation = watcher.session().await;
        watcher.subscribe(&format!("session:{conversation}"), None).await;
        let mut session = Polled::open(&hub.address, &[]).await;
        session.connect("/ai", &token).await;
        session.post(&chat("long 1500", &conversation)).await;
        let mut whole = String::new();
        loop {
            let frame = watcher.next().await;
            match frame["event"].as_str() {
                Some("part.updated") => whole.push_str(frame["data"]["delta"].as_str().unwrap_or_default()),
                Some("turn.ended") => break,
                _ => {}
            }
        }
        let mut packets = Vec::new();
        while !packets.last().is_some_and(|packet: &String| packet.starts_with("42/ai,[\"message_complete\"")) {
            packets.push(session.next().await);
        }
        assert_eq!(said(&packets), whole);
        assert!(deltas(&packets).len() < 500, "{} packets", packets.len());
    });
}

#[test]
fn pages_of_other_origins_are_told_whether_they_may() {
    run(async {
        let list = HubOptions::default().set("GATEWAY_CORS_ORIGIN", "https://app.example, https://other.example");
        let hub = Hub::start(list);
        let friend = ("origin", "https://app.example");
        let answer = send(&hub.address, "GET", BEGIN, &[friend], "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(friend.1)));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let ask = [friend, ("access-control-request-method", "POST")];
        let answer = send(&hub.address, "OPTIONS", BEGIN, &ask, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(friend.1)));
        assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
        let stranger = ("origin", "https://evil.example");
        let answer = send(&hub.address, "GET", BEGIN, &[stranger], "").await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(send(&hub.address, "POST", BEGIN, &[stranger], "3").await.status, 403);

        let hub = Hub::start(HubOptions::default().set("GATEWAY_CORS_ORIGIN", "*"));
        let answer = send(&hub.address, "GET", BEGIN, &[stranger], "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(stranger.1)));
        assert_eq!(answer.header("access-control-allow-credentials"), None, "no cookie counts");
    });
}
