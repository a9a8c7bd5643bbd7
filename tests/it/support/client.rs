//! A client of the native door: literal frames out, frames in, each channel's numbering checked on the way.

use std::collections::{HashMap, VecDeque};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Frames that came while another was waited for.
    waiting: VecDeque<Value>,
    /// Where each channel stands, by its own word: epoch and seq.
    pub positions: HashMap<String, (String, u64)>,
    /// The newest frame from the socket as it was written.
    pub newest: Utf8Bytes,
    /// The close code, once closed.
    pub closed: Option<u16>,
}

impl Client {
    pub async fn connect(address: &str, token: &str) -> Self {
        Self::connect_at(address, &format!("/ws?token={token}")).await
    }

    /// At that path, with its query.
    pub async fn connect_at(address: &str, path: &str) -> Self {
        let url = format!("ws://{address}{path}");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the socket opens");
        Self::over(socket)
    }

    /// A client over a socket that is open already.
    pub fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self {
            socket,
            next_id: 0,
            waiting: VecDeque::new(),
            positions: HashMap::new(),
            newest: Utf8Bytes::default(),
            closed: None,
        }
    }

    /// A client whose kernel takes few bytes before the other side has to wait.
    pub async fn connect_narrow(address: &str, token: &str, receive_buffer: u32) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(receive_buffer).expect("the buffer is set");
        let stream = socket.connect(address.parse().expect("an address")).await.expect("it connects");
        let url = format!("ws://{address}/ws?token={token}");
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("the socket opens");
        Self::over(socket)
    }

    /// Sends a literal frame.
    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends frames that arrive together.
    pub async fn send_together(&mut self, frames: &[Value]) {
        for frame in frames {
            self.socket.feed(Message::text(frame.to_string())).await.expect("the frame is taken");
        }
        self.socket.flush().await.expect("the frames are sent");
    }

    pub async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("the frame is sent");
    }

    /// Sends a frame whatever becomes of it: the socket may be closed by then.
    pub async fn throw(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The next frame from the socket, not from what waits; `None` once closed. Gaps and repeats panic.
    async fn read(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("a JSON frame");
                    self.check(&frame);
                    self.newest = text;
                    return Some(frame);
                }
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(frame.map_or(1005, |f| f.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.closed.get_or_insert(1006);
                    return None;
                }
            }
        }
    }

    fn check(&mut self, frame: &Value) {
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        let seq = frame["seq"].as_u64().unwrap_or_default();
        match frame["type"].as_str() {
            Some("subscribed") => {
                self.positions.insert(text("channel"), (text("epoch"), seq));
            }
            Some("event") => {
                let from = frame["fromSeq"].as_u64().unwrap_or(seq);
                if let Some((epoch, last)) = self.positions.get(&text("channel")) {
                    assert_eq!((*epoch).clone(), text("epoch"), "the epoch changed without notice: {frame}");
                    assert_eq!(last + 1, from, "a gap or a repeat: {frame}");
                }
                assert!(from <= seq, "{frame}");
                self.positions.insert(text("channel"), (text("epoch"), seq));
            }
            _ => {}
        }
    }

    /// All frames up to the answer to a ping that is sent now. What the hub had told before is among them.
    pub async fn until_pong(&mut self) -> Vec<Value> {
        self.send(json!({"type": "ping"})).await;
        let mut seen = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["type"] == "pong" {
                return seen;
            }
            seen.push(frame);
        }
    }

    /// The next frame, what waits first; panics where the socket is closed.
    pub async fn next(&mut self) -> Value {
        match self.waiting.pop_front() {
            Some(frame) => frame,
            None => self.read().await.unwrap_or_else(|| panic!("closed with {:?}", self.closed)),
        }
    }

    /// The same; `None` where the socket is closed.
    pub async fn read_on(&mut self) -> Option<Value> {
        match self.waiting.pop_front() {
            Some(frame) => Some(frame),
            None => self.read().await,
        }
    }

    /// The first frame that fits; others keep their order and wait.
    pub async fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at).expect("it is there");
        }
        loop {
            let frame = self.read().await.unwrap_or_else(|| panic!("closed with {:?}", self.closed));
            if fits(&frame) {
                return frame;
            }
            self.waiting.push_back(frame);
        }
    }

    /// Takes all frames that wait: what came before now.
    pub fn take_waiting(&mut self) -> Vec<Value> {
        self.waiting.drain(..).collect()
    }

    /// The next event of that name; its `data`.
    pub async fn event(&mut self, name: &str) -> Value {
        self.find(|f| f["type"] == "event" && f["event"] == name).await["data"].take()
    }

    /// A request and its whole response frame.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = format!("req_{}", self.next_id);
        self.send(json!({"type": "request", "id": id, "method": method, "params": params})).await;
        self.find(|f| f["type"] == "response" && f["id"] == id.as_str()).await
    }

    /// A request to a hub that may be gone: `None` where the socket closed before the answer.
    pub async fn try_ask(&mut self, method: &str, params: Value) -> Option<Value> {
        self.next_id += 1;
        let id = format!("req_{}", self.next_id);
        let frame = json!({"type": "request", "id": id, "method": method, "params": params}).to_string();
        // A write that fails is a hub that is gone; what it sent before can still be read.
        let _ = self.socket.send(Message::text(frame)).await;
        loop {
            let frame = self.read().await?;
            if frame["type"] == "response" && frame["id"] == id.as_str() {
                return Some(frame);
            }
            self.waiting.push_back(frame);
        }
    }

    /// A request that must succeed; its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let mut response = self.ask(method, params.clone()).await;
        assert!(response["error"].is_null(), "{method} {params}: {response}");
        response["result"].take()
    }

    /// A request that must be refused; the error's code.
    pub async fn refused(&mut self, method: &str, params: Value) -> String {
        let response = self.ask(method, params.clone()).await;
        assert!(response["result"].is_null(), "{method} {params}: {response}");
        response["error"]["code"].as_str().expect("a code").to_owned()
    }

    /// Subscribes and gives the `subscribed` frame.
    pub async fn subscribe(&mut self, channel: &str, since: Option<(&str, u64)>) -> Value {
        let since = since.map(|(epoch, seq)| json!({channel: {"epoch": epoch, "seq": seq}}));
        self.next_id += 1;
        let id = format!("sub_{}", self.next_id);
        // What this client knew of the channel is replaced by what it is told now.
        self.positions.remove(channel);
        self.send(json!({"type": "subscribe", "channels": [channel], "since": since, "id": id})).await;
        let subscribed = self.find(|f| f["type"] == "subscribed" && f["channel"] == channel).await;
        self.find(|f| f["type"] == "response" && f["id"] == id.as_str()).await;
        subscribed
    }

    /// Subscribes without being told where the channels stand.
    pub async fn subscribe_bare(&mut self, channels: &[&str]) {
        self.send(json!({"type": "subscribe", "channels": channels})).await;
        // What changes subscriptions is done in order: once this is answered, so is that.
        self.send(json!({"type": "unsubscribe", "channels": ["app:never"], "id": "bare"})).await;
        self.find(|f| f["id"] == "bare").await;
    }

    /// A new session's id.
    pub async fn session(&mut self) -> String {
        let session = self.call("sessions.create", json!({})).await;
        session["id"].as_str().expect("an id").to_owned()
    }

    /// Sends a message; the turn's id.
    pub async fn say(&mut self, session: &str, content: &str) -> String {
        let sent = self.call("messages.send", json!({"sessionId": session, "content": content})).await;
        sent["turnId"].as_str().expect("an id").to_owned()
    }

    /// Reads until the socket is closed; the close code.
    pub async fn until_closed(&mut self) -> u16 {
        while self.read().await.is_some() {}
        self.closed.unwrap_or(1006)
    }

    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}
