//! Who may come in, administered from outside: over HTTP and by the command line.

mod administration;
mod audit;
mod operator;
mod own_password;
mod pairing;
mod tickets;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::hub::{Answer, Data, Hub};
use crate::ledger::Ledger;

/// A hub with an owner who runs it, and a few people in the organizations `default` and `acme`.
pub struct House {
    pub hub: Hub,
    pub data: Data,
}

impl House {
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let data = Data::new();
        let hub = Hub::start(&data.path(), environment);
        Self { hub, data }
    }

    /// A JWT of a user, with this stored role.
    pub fn jwt(&self, org: &str, user: &str, role: &str) -> String {
        self.data.token(&["--org", org, "--user", user, "--role", role])
    }

    pub fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(token, method, path, &[], body)
    }

    pub fn ask_with(&self, token: &str, method: &str, path: &str, more: &[(&str, &str)], body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", &bearer));
        }
        headers.extend(more);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.hub.send(method, path, &headers, &body)
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(token, "GET", path, Value::Null)
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open(&self.data.path())
    }

    /// Ends the hub. Who was refused what since the ledger was opened; neither log holds any of the secrets.
    pub fn aftermath(self, ledger: &Ledger, secrets: &[&str]) -> Vec<String> {
        let Self { hub, data: _data } = self;
        let (status, log) = hub.stop();
        assert!(status.success());
        for secret in secrets {
            assert!(!log.contains(secret) && !ledger.tells(secret), "{secret} is written down");
        }
        ledger.refused()
    }

    /// Who the hub thinks it is, or the refusal's status.
    pub fn whoami(&self, token: &str) -> Result<Value, u16> {
        let answer = self.get(token, "/api/v1/session");
        if answer.status() == 200 { Ok(answer.json()) } else { Err(answer.status()) }
    }

    /// Pairs a device with the token's user; its token.
    pub fn device(&self, token: &str, name: &str) -> String {
        let made = self.ask(token, "POST", "/pairing/codes", json!({ "deviceName": name }));
        assert_eq!(made.status(), 201, "{}", made.0);
        let paired = self.ask("", "POST", "/pairing/verify", json!({ "code": made.json()["code"] }));
        assert_eq!(paired.status(), 200, "{}", paired.0);
        paired.json()["token"].as_str().unwrap().to_owned()
    }

    pub fn ticket(&self, token: &str, route: &str) -> String {
        let made = self.ask(token, "POST", "/api/v1/tickets", json!({ "route": route }));
        assert_eq!(made.status(), 201, "{}", made.0);
        made.json()["ticket"].as_str().unwrap().to_owned()
    }

    /// The status of the answer to a WebSocket handshake: 101 where the door opened.
    pub fn knock(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut socket = TcpStream::connect(self.hub.address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n", self.hub.address);
        head.push_str(
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(socket, "{head}\r\n").unwrap();
        let mut first = [0u8; 12];
        socket.read_exact(&mut first).unwrap();
        std::str::from_utf8(&first[9..]).unwrap().parse().unwrap()
    }
}

/// The body without what differs in every answer.
pub fn same(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        error.remove("requestId");
    }
    if let Some(body) = body.as_object_mut() {
        body.remove("requestId");
    }
    (answer.status(), body)
}
