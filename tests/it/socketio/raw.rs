//! Engine.IO by literal packets: polls and posts, and a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::limits::raw::{Answer, send};

/// Where a session begins.
pub const BEGIN: &str = "/socket.io/?EIO=4&transport=polling";

/// A session that is polled.
pub struct Polled {
    pub address: String,
    pub sid: String,
    pub open: Value,
    /// Packets that came while another was waited for.
    waiting: Vec<String>,
}

impl Polled {
    pub async fn open(address: &str, headers: &[(&str, &str)]) -> Self {
        let answer = send(address, "GET", BEGIN, headers, "").await;
        assert_eq!(answer.status, 200, "{} {}", answer.head, answer.text);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        let open: Value = serde_json::from_str(answer.text.strip_prefix('0').expect("an open packet")).expect("JSON");
        let sid = open["sid"].as_str().expect("a sid").to_owned();
        Self { address: address.to_owned(), sid, open, waiting: Vec::new() }
    }

    /// Connects to a namespace with a token; the answer to it.
    pub async fn connect(&mut self, namespace: &str, token: &str) -> Value {
        self.post(&format!("40{namespace},{{\"token\":\"{token}\"}}")).await;
        let told = connected(&self.find(&format!("40{namespace},")).await);
        if namespace == "/chat" {
            self.find(MANIFEST).await;
        }
        told
    }

    pub fn path(&self) -> String {
        format!("{BEGIN}&t=abc&sid={}", self.sid)
    }

    pub async fn raw_poll(&self) -> Answer {
        send(&self.address, "GET", &self.path(), &[], "").await
    }

    pub async fn raw_post(&self, payload: &str) -> Answer {
        let kind = ("content-type", "text/plain;charset=UTF-8");
        send(&self.address, "POST", &self.path(), &[kind], payload).await
    }

    /// Packets of one payload, taken as they must be.
    pub async fn post(&self, payload: &str) {
        let answer = self.raw_post(payload).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"), "{payload}: {}", answer.head);
    }

    /// One poll's packets.
    pub async fn poll(&self) -> Vec<String> {
        let answer = self.raw_poll().await;
        assert_eq!(answer.status, 200, "{} {}", answer.head, answer.text);
        answer.text.split('\u{1e}').map(str::to_owned).collect()
    }

    pub async fn next(&mut self) -> String {
        while self.waiting.is_empty() {
            self.waiting = self.poll().await;
        }
        self.waiting.remove(0)
    }

    /// The next packet that begins so; pings on the way are answered, others are passed over.
    pub async fn find(&mut self, beginning: &str) -> String {
        loop {
            let packet = self.next().await;
            if packet.starts_with(beginning) {
                return packet;
            }
            if packet == "2" {
                self.post("3").await;
            }
        }
    }
}

/// What whoever connects to `/chat` is told first.
pub const MANIFEST: &str = "42/chat,[\"commands:manifest\",{\"manifest\":{\"commands\":[";

/// A session over a WebSocket.
pub struct Wired {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wired {
    /// Without the open packet, which is read.
    pub async fn open(address: &str) -> Self {
        let (mut wired, open) = (Self::at(address, "").await, "0{");
        let packet = wired.next().await;
        assert!(packet.starts_with(open), "{packet}");
        wired
    }

    /// With something more in the query.
    pub async fn at(address: &str, more: &str) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{more}");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the socket opens");
        Self { socket }
    }

    /// Connects to a namespace; the answer to it.
    pub async fn connect(&mut self, namespace: &str, auth: Value) -> Value {
        self.send(&format!("40{namespace},{auth}")).await;
        let told = connected(&self.find(&format!("40{namespace},")).await);
        if namespace == "/chat" {
            self.find(MANIFEST).await;
        }
        told
    }

    pub async fn send(&mut self, packet: &str) {
        self.socket.send(Message::text(packet)).await.expect("it is sent");
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.expect("it is sent");
    }

    /// The next packet; nothing once closed, with the code.
    pub async fn read(&mut self) -> Result<String, u16> {
        let mut code = 1006;
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => code = frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(code),
            }
        }
    }

    pub async fn next(&mut self) -> String {
        self.read().await.unwrap_or_else(|code| panic!("closed with {code}"))
    }

    pub async fn find(&mut self, beginning: &str) -> String {
        loop {
            let packet = self.next().await;
            if packet.starts_with(beginning) {
                return packet;
            }
        }
    }

    /// Everything up to the end; its code.
    pub async fn until_closed(&mut self) -> (Vec<String>, u16) {
        let mut all = Vec::new();
        loop {
            match self.read().await {
                Ok(packet) => all.push(packet),
                Err(code) => return (all, code),
            }
        }
    }

    /// Pulls the cable.
    pub fn drop_it(self) {}
}

/// What stands in a packet behind its namespace.
pub fn body(packet: &str) -> Value {
    let at = packet.find(['{', '[']).expect("JSON");
    serde_json::from_str(&packet[at..]).unwrap_or_else(|error| panic!("{error}: {packet}"))
}

fn connected(packet: &str) -> Value {
    let told = body(packet);
    for id in ["sid", "pid"] {
        assert_eq!(told[id].as_str().expect("an id").len(), 22, "{packet}");
    }
    told
}

/// An event's packet on `/ai`.
pub fn chat(message: &str, conversation: &str) -> String {
    format!("42/ai,{}", json!(["chat", {"message": message, "conversationId": conversation}]))
}

/// The text and the place of every delta on `/ai`.
pub fn deltas(packets: &[String]) -> Vec<(String, String)> {
    let delta = |packet: &String| {
        let body = packet.starts_with("42/ai,[\"text_delta\"").then(|| body(packet))?;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Some((text(&body[1]["text"]), text(&body[2])))
    };
    packets.iter().filter_map(delta).collect()
}

/// What those said, joined.
pub fn said(packets: &[String]) -> String {
    deltas(packets).into_iter().map(|(text, _)| text).collect()
}

impl Wired {
    /// Sends it, if that is possible still.
    pub async fn throw(&mut self, packet: &str) -> bool {
        self.socket.send(Message::text(packet)).await.is_ok()
    }
}
