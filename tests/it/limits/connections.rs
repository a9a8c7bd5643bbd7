//! Sockets of one user.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw::knock;
use crate::support::{Client, Hub, HubOptions, run};

#[test]
fn case_55_a_user_has_so_many_sockets_and_not_one_more() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__CONNECTIONS_PER_USER", 5)
                .set("SWITCHBOARD_SERVER__WORKERS", 2),
        );
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let path = format!("/ws?token={alice}");
        let mut open = Vec::new();
        for _ in 0..5 {
            open.push(Client::connect(&hub.address, &alice).await);
        }
        let ledger = hub.ledger();
        for source in ["127.0.0.1", "127.0.0.2"] {
            let refused = knock(source, &hub.address, &path, &[]).await.expect_err("one too many");
            refused.assert_limited();
            assert_eq!(refused.body["error"]["details"]["limit"], 5);
        }
        // Another way in is no other user.
        let bearer = format!("Bearer {alice}");
        let refused = knock("127.0.0.1", &hub.address, "/ws/client", &[("authorization", &bearer)]).await;
        refused.expect_err("one too many").assert_limited();
        assert_eq!(ledger.changed(), [""; 0]);
        let mut other = Client::connect(&hub.address, &bob).await;
        let mut elsewhere = Client::connect(&hub.address, &hub.token("alice", "other", "member")).await;
        other.session().await;
        elsewhere.session().await;
        for client in &mut open {
            client.until_pong().await;
        }
        // A place that is given back can be taken again.
        open.pop().expect("one").close().await;
        let mut again = loop {
            match knock("127.0.0.1", &hub.address, &path, &[]).await {
                Ok(socket) => break socket,
                Err(refused) => refused.assert_limited(),
            }
        };
        drop(again.shutdown().await);
        drop((other, elsewhere, open));
        let refused = hub.aftermath(&ledger, &[&alice]);
        // How often it was not yet seen that the place is free nobody knows.
        assert!(refused[0].starts_with("alice@acme /ws rate_limited "), "{refused:?}");
        assert_eq!(refused[1..], ["alice@acme /ws/client rate_limited 1"]);
    });
}

/// A thousand knocks at a door with room for ten: ten are in, each place is counted once, and it all comes back.
#[test]
fn case_55_a_thousand_at_once_get_the_places_that_there_are() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__CONNECTIONS_PER_USER", 10)
                .set("SWITCHBOARD_SERVER__WORKERS", 3),
        );
        let path = format!("/ws?token={}", hub.token("alice", "acme", "member"));
        for _ in 0..2 {
            let knocks = (0..500).map(|_| knock("127.0.0.1", &hub.address, &path, &[]));
            let answers = futures_util::future::join_all(knocks).await;
            let (open, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
            assert_eq!((open.len(), refused.len()), (10, 490));
            for answer in refused {
                answer.expect_err("a refusal").assert_limited();
            }
            drop(open);
            // All are gone when one may come in again and again.
            let mut back = Vec::new();
            while back.len() < 10 {
                back.extend(knock("127.0.0.1", &hub.address, &path, &[]).await.ok());
            }
            drop(back);
            while knock("127.0.0.1", &hub.address, &path, &[]).await.is_err() {}
        }
    });
}

#[test]
fn case_55_sockets_that_come_and_go_are_slowed_down() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__CONNECTIONS_PER_USER", 4)
                .set("SWITCHBOARD_LIMITS__REQUESTS_PER_MINUTE", 20),
        );
        let path = format!("/ws?token={}", hub.token("alice", "acme", "member"));
        let mut opened = 0;
        let slow = loop {
            match knock("127.0.0.1", &hub.address, &path, &[]).await {
                Ok(_) => opened += 1,
                // The hub has not seen yet that the last one is gone.
                Err(refused) if refused.body["error"]["details"]["limit"] == 4 => {}
                Err(refused) => break refused,
            }
            assert!(opened < 100, "nothing slows it down");
        };
        assert!((20..30).contains(&opened), "{opened}");
        slow.assert_limited();
    });
}

#[test]
fn case_13_a_handshake_that_never_says_who_it_is_is_no_socket() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nhead_seconds = 1"));
        let refused = knock("127.0.0.1", &hub.address, "/ws", &[]).await.expect_err("no credential");
        assert_eq!((refused.status, refused.code()), (401, "unauthorized"));
        let nothing = String::new();
        let half = "GET /ws HTTP/1.1\r\nupgrade: websocket\r\n".to_owned();
        // As much of a head as the hub takes, almost.
        let long = format!("GET /ws HTTP/1.1\r\nx-long: {}", "x".repeat(127 << 10));
        for said in [nothing, half, long] {
            let before = hub.resident();
            let gone = futures_util::future::join_all((0..100).map(|_| until_gone(&hub.address, &said)));
            let mut most = 0;
            let watch = async {
                loop {
                    most = most.max(hub.resident());
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            tokio::select! { _ = gone => {}, () = watch => {} }
            let each = most.saturating_sub(before) / 100;
            assert!(each <= 256 << 10, "{each} bytes for a connection that nobody vouches for");
        }
        assert_eq!(super::raw::send(&hub.address, "GET", "/health", &[], "").await.status, 200);
    });
}

/// Says that much and waits. The end comes although this side neither sends on nor closes; a reset is an end too.
async fn until_gone(address: &str, said: &str) {
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("a connection");
    socket.write_all(said.as_bytes()).await.expect("it is sent");
    let _ = socket.read_to_end(&mut Vec::new()).await;
}
