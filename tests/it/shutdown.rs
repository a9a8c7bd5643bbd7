//! SIGTERM: turns end or are marked, clients are told to come back, nothing is lost, and it never hangs.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{Client, Counter, Hub, HubOptions, Watcher, assert_converged, run, text_of};

async fn watched(hub: &Hub) -> Vec<Watcher> {
    let token = hub.token("alice", "acme", "member");
    let session = Client::connect(&hub.address, &token).await.session().await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(Watcher::join(&hub.address, &token, &session).await);
    }
    watchers
}

async fn say(watcher: &mut Watcher, content: &str) -> String {
    watcher.say(content).await["turnId"].as_str().expect("an id").to_owned()
}

async fn farewell(watchers: &mut [Watcher]) {
    for watcher in watchers {
        assert_eq!(watcher.until_closed().await, 1012);
    }
}

async fn return_to(hub: &mut Hub, watchers: &mut [Watcher]) {
    hub.revive();
    for watcher in watchers {
        assert_eq!(watcher.rejoin(&hub.address).await["recovered"], false);
    }
}

/// Asks `/ready` on a connection that was there before: the status and the body.
async fn ready(socket: &mut BufReader<TcpStream>) -> (u16, serde_json::Value) {
    socket.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("the request is sent");
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.expect("a line");
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().expect("a status");
        }
        if let Some(rest) = line.to_lowercase().strip_prefix("content-length:") {
            length = rest.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.expect("the body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[test]
fn a_turn_that_can_end_ends_and_what_waits_starts_after_the_restart() {
    run(async {
        let mut hub = Hub::start(HubOptions::default());
        let mut watchers = watched(&hub).await;
        let mut socket = BufReader::new(TcpStream::connect(&hub.address).await.expect("a connection"));
        assert_eq!(ready(&mut socket).await.0, 200);
        let first = say(&mut watchers[0], "long 300").await;
        let second = say(&mut watchers[0], "long 5").await;
        watchers[1].until(|f| !f["data"]["delta"].is_null()).await;
        hub.signal_term();
        hub.logged("stopping").await;
        let (status, body) = ready(&mut socket).await;
        assert_eq!((status, &body["ready"]), (503, &json!(false)), "{body}");
        // What comes in during the stop is kept for the next start.
        let third = say(&mut watchers[2], "long 6").await;
        farewell(&mut watchers).await;
        assert_eq!(hub.wait().code(), Some(0));
        for watcher in &watchers {
            assert_eq!(watcher.picture.turns[&first], "completed");
            assert_eq!((&*watcher.picture.turns[&second], &*watcher.picture.turns[&third]), ("queued", "queued"));
        }
        return_to(&mut hub, &mut watchers).await;
        for watcher in &mut watchers {
            for turn in [&first, &second, &third] {
                assert_eq!(watcher.until_ended(turn).await, "completed");
            }
        }
        let stored = assert_converged(&mut watchers).await;
        assert_eq!(stored.len(), 6);
    });
}

#[test]
fn a_turn_that_does_not_end_in_time_is_marked_with_all_that_was_said() {
    run(async {
        let options = HubOptions::default().config("[server]\ndrain_seconds = 1");
        let mut hub = Hub::start(options);
        let mut watchers = watched(&hub).await;
        let turn = say(&mut watchers[0], "slow long 20000").await;
        watchers[1].until(|f| !f["data"]["delta"].is_null()).await;
        hub.signal_term();
        farewell(&mut watchers).await;
        assert_eq!(hub.wait().code(), Some(0));
        let mut shown = Vec::new();
        for watcher in &watchers {
            assert_eq!(watcher.picture.turns[&turn], "interrupted");
            shown.push(text_of(watcher.picture.answer()));
        }
        return_to(&mut hub, &mut watchers).await;
        assert_converged(&mut watchers).await;
        // Nothing at all is lost of what was shown: this was no crash.
        let kept = text_of(watchers[0].picture.answer());
        assert!(shown.iter().all(|s| *s == kept) && !kept.is_empty(), "{kept:?} is kept of {shown:?}");
    });
}

#[test]
fn a_second_signal_does_not_wait_for_long_turns() {
    run(async {
        let mut hub = Hub::start(HubOptions::default().config("[server]\ndrain_seconds = 600"));
        let mut watchers = watched(&hub).await;
        let turn = say(&mut watchers[0], "slow long 20000").await;
        watchers[1].until(|f| !f["data"]["delta"].is_null()).await;
        hub.signal_term();
        hub.logged("stopping").await;
        hub.signal_term();
        farewell(&mut watchers).await;
        assert_eq!(hub.wait().code(), Some(0));
        assert_eq!(watchers[0].picture.turns[&turn], "interrupted");
    });
}

#[test]
fn what_waits_for_a_human_holds_nothing_up_and_waits_on() {
    run(async {
        let counter = Counter::start();
        let config = counter.config("ask") + "\n[server]\ndrain_seconds = 600";
        let mut hub = Hub::start(HubOptions::default().config(&config));
        let mut watchers = watched(&hub).await;
        let turn = say(&mut watchers[0], &format!("fetch {}", counter.url("/later"))).await;
        watchers[0].until_event("tool.approval_required").await;
        hub.signal_term();
        farewell(&mut watchers).await;
        assert_eq!(hub.wait().code(), Some(0));
        return_to(&mut hub, &mut watchers).await;
        assert_eq!(watchers[0].picture.turns[&turn], "awaiting_approval");
        let request = watchers[0].picture.approvals.keys().next().expect("an approval").clone();
        watchers[1].client.call("tools.approve", json!({"requestId": request})).await;
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&turn).await, "completed");
        }
        assert_eq!(counter.seen(), ["/later"]);
        assert_converged(&mut watchers).await;
    });
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_it_up() {
    run(async {
        let mut hub = Hub::start(HubOptions::default());
        let mut watchers = watched(&hub).await;
        let silent = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let turn = say(&mut watchers[0], "long 50").await;
        hub.signal_term();
        farewell(&mut watchers).await;
        assert_eq!(hub.wait().code(), Some(0));
        assert_eq!(watchers[0].picture.turns[&turn], "completed");
        drop(silent);
    });
}
