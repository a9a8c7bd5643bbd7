//! A client of the HTTP doors: literal requests out, answers in.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Somebody with a token, or nobody in particular.
#[derive(Clone)]
pub struct Http {
    address: String,
    token: Option<String>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error, in either form, with the request's id checked on the way.
    pub fn code(&self) -> String {
        let body = self.json();
        let error = if body["error"].is_object() { &body["error"] } else { &body };
        assert_eq!(error["requestId"].as_str(), self.header("x-request-id"), "{body}");
        error["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned()
    }

    /// The body without the one thing that differs between two answers to the same.
    pub fn without_id(&self) -> Value {
        let mut body = self.json();
        let error = if body["error"].is_object() { &mut body["error"] } else { &mut body };
        error["requestId"] = Value::Null;
        body
    }
}

impl Answer {
    /// All of it without what differs between two answers to the same: the request's id, the time, and whether the
    /// connection stays open, which it does where the body had come by then. Headers by name: they have no order.
    pub fn apart_from_id(&self) -> (u16, Vec<(String, String)>, String) {
        let differs = |name: &str| matches!(name, "x-request-id" | "date" | "connection");
        let mut headers: Vec<_> = self.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect();
        headers.sort();
        let id = self.header("x-request-id").unwrap_or_else(|| panic!("no id: {self:?}"));
        (self.status, headers, String::from_utf8_lossy(&self.body).replace(id, ""))
    }
}

impl Http {
    pub fn new(address: &str, token: &str) -> Self {
        Self { address: address.to_owned(), token: Some(token.to_owned()) }
    }

    pub fn anonymous(address: &str) -> Self {
        Self { address: address.to_owned(), token: None }
    }

    /// A connection for one request after the other.
    pub fn kept(&self) -> Kept {
        Kept { http: self.clone(), stream: None }
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> String {
        self.head_of(&format!("{method} {path} HTTP/1.1\r\nConnection: close"), headers, length)
    }

    fn head_of(&self, first: &str, headers: &[(&str, &str)], length: Option<usize>) -> String {
        let mut head = format!("{first}\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
            if length > 0 && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                head += "Content-Type: application/json\r\n";
            }
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends a request with exactly these bytes as its body.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = (!body.is_empty() || method != "GET").then_some(body.len());
        let mut stream = self.open(&self.head(method, path, headers, length), body).await;
        let mut answer = Vec::new();
        // A server that refuses a body may close before it was taken whole.
        let _ = stream.read_to_end(&mut answer).await;
        parse(&answer)
    }

    async fn open(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("it connects");
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let _ = stream.write_all(body).await;
        stream
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"").await
    }

    /// A request that must succeed; its body.
    pub async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, &[], text.as_bytes()).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.json()
    }

    /// A gateway session's id.
    pub async fn session(&self) -> String {
        let made = self.ok("POST", "/sessions", serde_json::json!({"channel": "test"})).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Opens an event stream.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Events {
        let body = body.to_string();
        let headers: Vec<_> = [("Accept", "text/event-stream")].into_iter().chain(headers.iter().copied()).collect();
        let stream = self.open(&self.head("POST", path, &headers, Some(body.len())), body.as_bytes()).await;
        Events::over(stream).await
    }
}

/// One connection that is asked again and again.
pub struct Kept {
    http: Http,
    stream: Option<TcpStream>,
}

impl Kept {
    /// Sends a request with exactly these bytes as its body.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = (!body.is_empty() || method != "GET").then_some(body.len());
        let head = self.http.head_of(&format!("{method} {path} HTTP/1.1"), headers, length);
        let request = [head.as_bytes(), body].concat();
        loop {
            let open = self.stream.take();
            let was_open = open.is_some();
            let mut stream = match open {
                Some(stream) => stream,
                None => TcpStream::connect(&self.http.address).await.expect("it connects"),
            };
            let _ = stream.write_all(&request).await;
            if let Some(answer) = whole(&mut stream, method).await {
                if answer.header("connection") != Some("close") {
                    self.stream = Some(stream);
                }
                return answer;
            }
            // Between two requests a server may hang up.
            assert!(was_open, "{method} {path}: no answer");
        }
    }
}

/// An answer on a connection that stays open; nothing where it was closed before.
async fn whole(stream: &mut TcpStream, method: &str) -> Option<Answer> {
    let mut bytes = Vec::new();
    loop {
        if let Some((status, headers, start)) = split(&bytes) {
            let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
            let length = match header("content-length") {
                _ if method == "HEAD" || matches!(status, 204 | 304) => Some(0),
                length => length.map(|length| length.parse().expect("a length")),
            };
            let ended = match length {
                Some(length) => bytes.len() >= start + length,
                None => bytes[start..].ends_with(b"0\r\n\r\n"),
            };
            if ended {
                return Some(parse(&bytes));
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (!bytes.is_empty()).then(|| parse(&bytes));
        }
    }
}

/// A status, the headers and where the body begins.
type Head = (u16, Vec<(String, String)>, usize);

fn split(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some((status, headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(), end + 4))
}

fn parse(bytes: &[u8]) -> Answer {
    let (status, headers, start) = split(bytes).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(&bytes[start..]).0 } else { bytes[start..].to_vec() };
    Answer { status, headers, body }
}

/// What the chunks hold, and how many bytes they took.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, whole) = (Vec::new(), bytes.len());
    while let Some(line) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..line]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("hexadecimal");
        if bytes.len() < line + 2 + length + 2 {
            break;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + length]);
        bytes = &bytes[line + 2 + length + 2..];
        if length == 0 {
            break;
        }
    }
    (body, whole - bytes.len())
}

/// An event stream that is being read.
pub struct Events {
    stream: TcpStream,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    raw: Vec<u8>,
    text: Vec<u8>,
}

impl Events {
    async fn over(mut stream: TcpStream) -> Self {
        let mut raw = Vec::new();
        loop {
            if let Some((status, headers, start)) = split(&raw) {
                raw.drain(..start);
                return Self { stream, status, headers, raw, text: Vec::new() };
            }
            assert!(stream.read_buf(&mut raw).await.expect("bytes") > 0, "closed before the head");
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The next event: its name and its data; `None` at the end. Comments are left out.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let (body, taken) = unchunked(&self.raw);
            self.raw.drain(..taken);
            self.text.extend(body);
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("a text");
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    return Some((name, serde_json::from_str(&data).expect("JSON")));
                }
            }
            if self.stream.read_buf(&mut self.raw).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// All that comes until the end.
    pub async fn all(mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// What `text_delta` events said, joined.
pub fn streamed_text(events: &[(String, Value)]) -> String {
    events.iter().filter(|(name, _)| name == "text_delta").filter_map(|(_, data)| data["delta"].as_str()).collect()
}
