//! Before the upgrade completes it is known who calls; whoever may not come in is told why, in HTTP.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Hub, HubOptions, run};

pub const SECRET: &str = "a secret for tests that has 32 bytes and more";

pub fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

fn hub(options: HubOptions) -> Hub {
    Hub::start(options.set("SWITCHBOARD_JWT_SECRET", SECRET).config("[log]\nlevel = \"debug\""))
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A handshake as its bytes, and what is answered: all of it where the hub refuses, the head where it agrees.
async fn knock(address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(format!("{request}\r\n").as_bytes()).await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let mut body = Vec::new();
    if status != 101 {
        // The hub ends the connection by itself, though nothing more is asked and nobody hangs up.
        socket.read_to_end(&mut body).await.expect("a body");
    }
    Answer { status, head, body: serde_json::from_slice(&body).unwrap_or_default() }
}

async fn refused(hub: &Hub, path: &str, headers: &[(&str, &str)], status: u16, code: &str) -> Answer {
    let answer = knock(&hub.address, path, headers).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &json!(code)), "{path}: {}", answer.head);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(answer.header("x-request-id"), answer.body["error"]["requestId"].as_str(), "{}", answer.head);
    answer
}

#[test]
fn a_refusal_is_a_json_answer_before_the_upgrade() {
    run(async {
        let hub = hub(HubOptions::default());
        let bare = refused(&hub, "/ws", &[("x-request-id", "mine-1")], 401, "unauthorized").await;
        assert_eq!(bare.header("x-request-id"), Some("mine-1"));
        assert_eq!(bare.header("www-authenticate"), Some("Bearer"));
        let made = refused(&hub, "/ws/client", &[], 401, "unauthorized").await;
        assert!(made.header("x-request-id").is_some_and(|id| id.len() >= 16), "{}", made.head);
        let soon = now() + 3600;
        for (claims, words) in [
            (json!({"sub": "u", "org": "o", "exp": now() - 60}), "expired"),
            (json!({"sub": "u", "org": "o"}), "no exp"),
            (json!({"sub": "u", "exp": soon}), "no organization"),
            (json!({"org": "o", "exp": soon}), "no user"),
        ] {
            let path = format!("/ws?token={}", signed(&claims));
            let answer = refused(&hub, &path, &[], 401, "unauthorized").await;
            let message = answer.body["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(words), "{claims}: {message}");
        }
        refused(&hub, "/ws?token=nonsense", &[], 401, "unauthorized").await;
        refused(&hub, "/ws?token=", &[], 401, "unauthorized").await;
        let good = signed(&json!({"sub": "u", "org": "o", "exp": soon}));
        let elsewhere = format!("/ws?token={good}&organizationId=other");
        let answer = knock(&hub.address, &elsewhere, &[]).await;
        assert!([401, 403].contains(&answer.status), "{}", answer.head);
        for path in ["/nowhere", "/ws/", "/", "/WS", "/ws/client/x"] {
            refused(&hub, &format!("{path}?token={good}"), &[], 404, "not_found").await;
        }
        let welcome = knock(&hub.address, &format!("/ws?token={good}"), &[("x-request-id", "mine-2")]).await;
        assert_eq!((welcome.status, welcome.header("x-request-id")), (101, Some("mine-2")));
        assert_eq!(welcome.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    });
}

#[test]
fn an_expired_credential_ends_the_connection() {
    run(async {
        let hub = hub(HubOptions::default());
        let token = signed(&json!({"sub": "u", "org": "o", "exp": now() + 2}));
        let mut client = Client::connect(&hub.address, &token).await;
        // It is good until then ...
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        // ... and the close says what to do.
        assert_eq!(client.until_closed().await, 4401);
    });
}

#[test]
fn who_says_nothing_is_shown_out() {
    run(async {
        let hub = hub(HubOptions::default().config("[limits]\nhead_seconds = 1"));
        let half =
            format!("GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n", hub.address);
        for said in ["", half.as_str()] {
            let mut socket = TcpStream::connect(&hub.address).await.expect("a connection");
            socket.write_all(said.as_bytes()).await.expect("it is sent");
            let mut answer = Vec::new();
            // Ends although this side neither sends nor closes.
            socket.read_to_end(&mut answer).await.expect("the end");
            let answer = String::from_utf8(answer).expect("text");
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
        // Somebody who was let in may be silent for as long as he likes.
        let mut client =
            Client::connect(&hub.address, &signed(&json!({"sub": "u", "org": "o", "exp": now() + 3600}))).await;
        let mut late = TcpStream::connect(&hub.address).await.expect("a connection");
        late.read_to_end(&mut Vec::new()).await.expect("the end");
        client.session().await;
    });
}
