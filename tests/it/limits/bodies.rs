//! Requests that come slowly, packed, or with two lengths.

use switchboard::domain::policy::Least;
use switchboard::http::table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

use super::raw::{answer, send};
use crate::support::{Client, Http, Hub, HubOptions, run};

async fn connect(hub: &Hub) -> TcpStream {
    TcpStream::connect(&hub.address).await.expect("a connection")
}

/// Writes a byte now and then until the hub has had enough; what it said then. A limit of the test's own ends it.
async fn drip(mut socket: TcpStream, byte: &'static [u8]) -> String {
    let (mut reader, mut writer) = socket.split();
    let mut said = Vec::new();
    let read = async { drop(reader.read_to_end(&mut said).await) };
    let write = async {
        while writer.write_all(byte).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    // Reading ends when the hub closes, though this side never stops to write.
    tokio::select! { () = read => {}, () = write => {} }
    String::from_utf8(said).expect("text")
}

#[test]
fn case_56_a_body_of_a_byte_now_and_then_is_cut() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nbody_seconds = 1\nhead_seconds = 1"));
        let ledger = hub.ledger();
        let mut socket = connect(&hub).await;
        let head = format!("POST /sign-in HTTP/1.1\r\nhost: {}\r\ncontent-length: 10000\r\n\r\n", hub.address);
        socket.write_all(head.as_bytes()).await.expect("it is sent");
        let said = drip(socket, b"x").await;
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("\"the request came too slowly\""), "{said}");
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &[]), [""; 0], "who is slow was refused no right");
    });
}

/// Nobody reads the body of a request that is refused by its head; it does not hold the connection either.
#[test]
fn case_56_a_body_that_nobody_reads_is_cut_too() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nbody_seconds = 1\nhead_seconds = 1"));
        let ledger = hub.ledger();
        for length in ["content-length: 1000000", "transfer-encoding: chunked"] {
            let mut socket = connect(&hub).await;
            let head = format!("POST /sessions HTTP/1.1\r\nhost: {}\r\n{length}\r\n\r\n", hub.address);
            socket.write_all(head.as_bytes()).await.expect("it is sent");
            let said = drip(socket, b"1\r\nx\r\n").await;
            assert!(said.starts_with("HTTP/1.1 401 "), "{length}: {said}");
        }
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &[]), ["nobody sessions.create unauthorized 2"]);
    });
}

#[test]
fn case_56_a_second_head_may_not_take_for_ever_either() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nhead_seconds = 1"));
        let health = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", hub.address);
        for second in ["", "GET /health HT"] {
            let mut socket = connect(&hub).await;
            socket.write_all(format!("{health}{second}").as_bytes()).await.expect("it is sent");
            let said = drip(socket, b"x").await;
            assert_eq!(said.matches("HTTP/1.1 200 ").count(), 1, "{said}");
        }
        // A client that keeps its connection and asks now and then is no such case.
        let mut socket = connect(&hub).await;
        for _ in 0..3 {
            socket.write_all(health.as_bytes()).await.expect("it is sent");
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
            let mut rest = vec![0; 4096];
            let _ = socket.read(&mut rest).await.expect("the rest");
            sleep(Duration::from_millis(1200)).await;
        }
    });
}

/// Takes nothing of its answers: what the hub owes it stays bounded, and it is cut.
#[test]
fn case_56_a_stalled_reader_of_http_is_cut() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nstall_seconds = 1"));
        let token = hub.token("alice", "acme", "member");
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("the buffer is set");
        let mut socket = socket.connect(hub.address.parse().expect("an address")).await.expect("a connection");
        let before = hub.resident();
        let request = format!("GET /page/app.js HTTP/1.1\r\nhost: {}\r\n\r\n", hub.address);
        // Asks on for as long as the hub takes it, and never reads.
        while tokio::time::timeout(Duration::from_secs(10), socket.write_all(request.as_bytes()))
            .await
            .is_ok_and(|written| written.is_ok())
        {}
        let grown = hub.resident().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes for one who does not read");
        let text = super::requests::plain(&hub, "/metrics").await;
        assert!(text.contains("switchboard_connections{kind=\"http\"} 1"), "only the one that asks: {text}");
        Client::connect(&hub.address, &token).await.session().await;
    });
}

/// Its length nobody told, and it has no end: once it is too long that is answered, and the rest is read for a while only.
#[test]
fn case_66_a_body_without_an_end_ends_its_connection() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nframe_bytes = 4096\nmessage_bytes = 1024"));
        let token = hub.token("alice", "acme", "member");
        let ledger = hub.ledger();
        // Refused by its head, for what it is made of, and for its length; by who is known and who is not.
        for (path, authorization, status) in [
            ("/api/v1/sessions", "", "401"),
            ("/sign-in", "", "413"),
            ("/api/v1/sessions", &*format!("authorization: Bearer {token}\r\n"), "413"),
        ] {
            let mut socket = connect(&hub).await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}");
            let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
            socket.write_all(head.as_bytes()).await.expect("it is sent");
            let (mut reader, mut writer) = socket.split();
            let (mut said, mut sent) = (Vec::new(), 0);
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
            let read = async { drop(reader.read_to_end(&mut said).await) };
            let write = async {
                while writer.write_all(chunk.as_bytes()).await.is_ok() {
                    sent += chunk.len();
                    assert!(sent < 64 << 20, "{path}: it would read for ever");
                }
            };
            // What was said can be read though more was sent than was taken.
            futures_util::join!(read, write);
            let said = String::from_utf8(said).expect("text");
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {said}");
        }
        assert_eq!(Http::new(&hub.address, &token).get("/health").await.status, 200);
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &[&token]), ["nobody sessions.create unauthorized 1"]);
    });
}

#[test]
fn case_66_two_lengths_are_none() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let ledger = hub.ledger();
        let smuggled = "GET /api/v1/session HTTP/1.1\r\nhost: localhost\r\n\r\n";
        for lengths in [
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            "content-length: 4\r\ncontent-length: 5\r\n",
            "content-length: 4\r\ncontent-length: 4\r\n",
            "content-length: +4\r\n",
            "content-length: -1\r\n",
            "content-length: 4, 4\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding : chunked\r\n",
        ] {
            let mut socket = connect(&hub).await;
            let text = format!("POST /sign-in HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n0\r\n\r\n{smuggled}");
            socket.write_all(text.as_bytes()).await.expect("it is sent");
            let mut said = Vec::new();
            let _ = socket.read_to_end(&mut said).await;
            let said = String::from_utf8(said).expect("text");
            assert!(said.starts_with("HTTP/1.1 400 "), "{lengths:?}: {said}");
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "a second request was seen: {lengths:?}: {said}");
        }
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &[]), [""; 0], "what was smuggled was never asked");
    });
}

#[test]
fn case_66_a_packed_body_is_refused_and_never_unpacked() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let (before, ledger) = (hub.resident(), hub.ledger());
        for packing in ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "GZIP"] {
            let headers = [("content-encoding", packing), ("content-type", "application/json")];
            let refused = send(&hub.address, "POST", "/sign-in", &headers, &"\u{1f}".repeat(1000)).await;
            assert_eq!((refused.status, refused.code()), (415, "bad_request"), "{packing}: {}", refused.head);
            assert_eq!(refused.body["error"]["details"]["field"], "content-encoding");
        }
        assert!(hub.resident().saturating_sub(before) < 16 << 20);
        let plain = [("content-encoding", "identity")];
        assert_eq!(send(&hub.address, "POST", "/sign-in", &plain, r#"{"code":"x"}"#).await.status, 401);
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &[]), ["nobody sign_in unauthorized 1"], "the one that could be read");
    });
}

/// Who vouches for nobody sends a code, a token or a password, and nothing that would have to be held in memory.
#[test]
fn case_66_a_strangers_body_is_16_kib_at_most() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nhead_seconds = 1"));
        let open: Vec<_> = table()
            .into_iter()
            .filter(|row| row.operation.rule().least == Least::Anyone && !row.method.is_safe())
            // Socket.IO has a bound and words of its own for those it does not know yet: case 72.
            .filter(|row| row.path != "/socket.io/")
            .map(|row| (row.method.to_string(), row.path))
            .collect();
        for known in ["/sign-in", "/sign-out", "/pairing/verify", "/api/v1/pairing/verify"] {
            assert!(open.contains(&("POST".to_owned(), known)), "{known}: {open:?}");
        }
        // A header does not make a stranger somebody.
        let headers = [("content-type", "application/json"), ("authorization", "Bearer x")];
        for (method, path) in &open {
            let body = |bytes: usize| format!(r#"{{"code":"{}"}}"#, "x".repeat(bytes - 11));
            let fits = send(&hub.address, method, path, &headers, &body(16 << 10)).await;
            assert_ne!(fits.status, 413, "{path}: {}", fits.head);
            let refused = send(&hub.address, method, path, &headers, &body((16 << 10) + 1)).await;
            assert_eq!((refused.status, refused.code()), (413, "too_large"), "{path}: {}", refused.head);
            assert!(refused.text.contains("the body is longer than 16384 bytes"), "{path}: {}", refused.text);
            // By what its head says, before any of it is there; and without a word of the head, once it is too long.
            let head = |length: &str| format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\n");
            let mut socket = connect(&hub).await;
            socket.write_all(head("content-length: 16385").as_bytes()).await.expect("it is sent");
            assert_eq!(answer(&mut socket).await.status, 413, "{path}");
            let mut socket = connect(&hub).await;
            let chunk = format!("4001\r\n{}\r\n", "x".repeat(0x4001));
            let text = format!("{}{chunk}0\r\n\r\n", head("transfer-encoding: chunked\r\nconnection: close"));
            socket.write_all(text.as_bytes()).await.expect("it is sent");
            assert_eq!(answer(&mut socket).await.status, 413, "{path}");
        }
        // Who is known may say more.
        let http = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let title = "x".repeat(100);
        let long = format!(r#"{{"title":"{title}","more":"{}"}}"#, "x".repeat(32 << 10));
        assert_eq!(http.send("POST", "/api/v1/sessions", &[], long.as_bytes()).await.status, 201);
    });
}

#[test]
fn case_66_a_body_is_as_long_as_a_frame_at_most() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[limits]\nframe_bytes = 4096\nmessage_bytes = 1024"));
        let ledger = hub.ledger();
        let fits = format!(r#"{{"code":"{}"}}"#, "x".repeat(3000));
        assert_eq!(send(&hub.address, "POST", "/sign-in", &[], &fits).await.status, 401);
        let long = format!(r#"{{"code":"{}"}}"#, "x".repeat(5000));
        let refused = send(&hub.address, "POST", "/sign-in", &[], &long).await;
        assert_eq!((refused.status, refused.code()), (413, "too_large"), "{}", refused.head);
        // Said by its head alone, and, where the head does not say it, as soon as it is too long.
        let mut socket = connect(&hub).await;
        let head = "POST /sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("it is sent");
        assert_eq!(answer(&mut socket).await.status, 413);
        let mut socket = connect(&hub).await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        let head =
            "POST /sign-in HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        socket.write_all(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await.expect("it is sent");
        assert_eq!(answer(&mut socket).await.status, 413);
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &["xxxxxxxx"]), ["nobody sign_in unauthorized 1"], "the one that fits");
    });
}
