//! HTTP as its bytes.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What came back.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no {name}: {}", self.head));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}"))
    }

    pub fn code(&self) -> &str {
        // The gateway's errors have theirs beside the words.
        self.body["error"]["code"].as_str().or(self.body["code"].as_str()).unwrap_or_default()
    }

    /// A refusal of the limiter, whole: status, shape, headers.
    pub fn assert_limited(&self) {
        assert_eq!((self.status, self.code()), (429, "rate_limited"), "{} {}", self.head, self.body);
        assert!(self.body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(self.body["error"]["details"]["retryAfter"].as_u64(), Some(self.number("retry-after")));
        assert!(self.number("retry-after") >= 1, "{}", self.head);
        assert_eq!(self.header("x-request-id"), self.body["error"]["requestId"].as_str());
    }
}

/// A connection from that address of this machine, such as 127.0.0.2.
pub async fn from(source: &str, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{source}:0").parse().expect("an address")).expect("it is this machine's");
    socket.connect(address.parse().expect("an address")).await.expect("a connection")
}

/// The line that names the server, unless the headers do.
fn host_line(address: &str, headers: &[(&str, &str)]) -> String {
    match headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        true => String::new(),
        false => format!("host: {address}\r\n"),
    }
}

/// One request on a connection of its own.
pub async fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_from("127.0.0.1", address, method, path, headers, body).await
}

pub async fn send_from(
    source: &str,
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let host = host_line(address, headers);
    let mut text = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\n");
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = from(source, address).await;
    socket.write_all(format!("{text}\r\n{body}").as_bytes()).await.expect("it is sent");
    answer(&mut socket).await
}

/// Reads until the hub closes.
pub async fn answer(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A close with unread bytes is a reset; what came before counts.
    let _ = socket.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Answer {
        status,
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
        text: body.to_owned(),
    }
}

/// A handshake as a browser or a program sends it: the refusal, or the open socket.
pub async fn knock(source: &str, address: &str, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream, Answer> {
    let host = host_line(address, headers);
    let mut text = format!(
        "GET {path} HTTP/1.1\r\n{host}connection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = from(source, address).await;
    socket.write_all(format!("{text}\r\n").as_bytes()).await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("a head is text");
    if head.starts_with("HTTP/1.1 101 ") {
        assert!(!head.to_lowercase().contains("sec-websocket-extensions"), "frames come as they are: {head}");
        return Ok(socket);
    }
    let mut rest = answer(&mut socket).await;
    rest.text = std::mem::take(&mut rest.head);
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Err(Answer { status, head, body: serde_json::from_str(&rest.text).unwrap_or_default(), text: rest.text })
}
