//! The way from an HTTP request to a socket: the handshake's form, the doorkeeper's word, the 101.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_codec::Framed;
use actix_http::{
    Method, Request, RequestHead, StatusCode, Uri, Version, h1,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    ws::hash_key,
};
use base64::Engine;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    accept::HttpIo, inbound::InboundStream, outbound::Outbound, settings::SocketLimits, stream::RawStream, worker,
};

/// How long a refused client may take to read its answer and go.
const LINGER: Duration = Duration::from_secs(2);

/// An open socket: the two halves that its actor owns.
pub struct Socket {
    pub outbound: Rc<Outbound>,
    pub inbound: InboundStream,
}

/// What the doorkeeper decides on. The handshake's form is checked already: it is a GET.
pub struct UpgradeRequest {
    pub method: Method,
    /// As it came, not decoded. It may name a server of its own, before the path.
    pub uri: Uri,
    pub headers: HeaderMap,
    pub peer: SocketAddr,
    /// The address that the connection came in on.
    pub local: SocketAddr,
    /// Whether it came over TLS to this process.
    pub secure: bool,
}

/// Yes: called with the socket once the 101 is queued. What it pushes goes out with the 101.
pub struct Admitted {
    pub open: Opener,
    pub limits: Rc<SocketLimits>,
    /// For the 101, `sec-websocket-protocol` for example.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Starts whatever owns the socket. Runs on the worker of the socket.
pub enum Opener {
    /// On the worker that accepted the connection.
    Here(Box<dyn FnOnce(Socket)>),
    /// The socket moves to another worker first: an Engine.IO session lives where it began.
    On { worker: usize, open: Box<dyn FnOnce(Socket) + Send> },
}

impl Opener {
    /// Opens on the worker that accepted the connection.
    pub fn here(open: impl FnOnce(Socket) + 'static) -> Opener {
        Opener::Here(Box::new(open))
    }

    /// Opens on the worker with that index. If there is none, the connection is dropped.
    pub fn on(worker: usize, open: impl FnOnce(Socket) + Send + 'static) -> Opener {
        Opener::On { worker, open: Box::new(open) }
    }
}

/// No: an HTTP answer, after which the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// A JSON document.
    pub body: Bytes,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Decides who may open a socket, whatever the path. Asked once per upgrade, before the 101; the
/// answer must come within [`super::ServerSettings::upgrade_timeout`], else the client gets 408.
pub trait Doorkeeper {
    fn admit(&self, request: UpgradeRequest) -> LocalBoxFuture<'static, Result<Admitted, Refusal>>;
}

impl Refusal {
    /// A refusal with the body `{"error":{"code":..,"message":..}}`.
    pub fn json(status: u16, code: &str, message: &str) -> Refusal {
        Refusal {
            status,
            body: Bytes::from(serde_json::json!({"error": {"code": code, "message": message}}).to_string()),
            headers: Vec::new(),
        }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Refusal {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut out = head_line(status);
        put(&mut out, header::CONTENT_TYPE.as_str(), b"application/json");
        put(&mut out, header::CONTENT_LENGTH.as_str(), self.body.len().to_string().as_bytes());
        put(&mut out, header::CONNECTION.as_str(), b"close");
        for (name, value) in &self.headers {
            put(&mut out, name.as_str(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

fn head_line(status: StatusCode) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Error");
    format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes()
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Checks the form of the handshake; gives the answer to its key.
fn check_form(head: &RequestHead) -> Result<[u8; 28], Refusal> {
    let bad = |message| Err(Refusal::json(400, "bad_request", message));
    if head.method != Method::GET {
        return Err(Refusal::json(405, "bad_request", "a websocket is opened with GET").with(header::ALLOW, "GET"));
    }
    if head.version < Version::HTTP_11 {
        return bad("a websocket needs HTTP/1.1");
    }
    if !head.upgrade() {
        return bad("the connection header does not say upgrade");
    }
    if head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return bad("an upgrade request has no body");
    }
    let version = head.headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes().trim_ascii() != b"13") {
        return Err(Refusal::json(426, "bad_request", "sec-websocket-version must be 13")
            .with(header::UPGRADE, "websocket")
            .with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let mut keys = head.headers.get_all(header::SEC_WEBSOCKET_KEY);
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return bad("exactly one sec-websocket-key is needed");
    };
    let key = key.as_bytes().trim_ascii();
    let nonce = base64::engine::general_purpose::STANDARD.decode(key);
    if !nonce.is_ok_and(|nonce| nonce.len() == 16) {
        return bad("sec-websocket-key is not the base64 of 16 bytes");
    }
    Ok(hash_key(key))
}

/// Takes a request that HTTP has let go. `earlier` answers on the connection are written first.
pub(super) async fn upgrade(
    request: Request,
    framed: Framed<HttpIo, h1::Codec>,
    doorkeeper: Rc<dyn Doorkeeper>,
    deadline: Duration,
) {
    let parts = framed.into_parts();
    let (mut io, earlier) = (parts.io, parts.write_buf);
    let decision = match timeout(deadline, decide(request, &io, &*doorkeeper)).await {
        Ok(decision) => decision,
        Err(_) => Err(Refusal::json(408, "unavailable", "the upgrade took too long")),
    };
    match decision {
        Ok((admitted, accept)) => open(io, admitted, accept, &earlier, &parts.read_buf),
        Err(refusal) => {
            let answer = [&earlier[..], &refusal.to_bytes()].concat();
            let farewell = async {
                io.write_all(&answer).await?;
                io.shutdown().await?;
                // Closing with unread bytes would reset the connection and may lose the answer.
                let mut unread = [0; 1024];
                while io.read(&mut unread).await? > 0 {}
                io::Result::Ok(())
            };
            // Whether the client waited for it is its own affair.
            let _ = timeout(LINGER, Box::pin(farewell)).await;
        }
    }
}

async fn decide(
    mut request: Request,
    io: &HttpIo,
    doorkeeper: &dyn Doorkeeper,
) -> Result<(Admitted, [u8; 28]), Refusal> {
    let accept = check_form(request.head())?;
    if worker::closing().is_some() {
        return Err(restarting());
    }
    let head = request.head_mut();
    let request = UpgradeRequest {
        method: head.method.clone(),
        uri: head.uri.clone(),
        headers: std::mem::replace(&mut head.headers, HeaderMap::new()),
        peer: io.peer(),
        local: io.local().0,
        secure: io.is_secure(),
    };
    let admitted = doorkeeper.admit(request).await?;
    if worker::closing().is_some() {
        return Err(restarting());
    }
    Ok((admitted, accept))
}

fn restarting() -> Refusal {
    Refusal::json(503, "unavailable", "the server is restarting").with(header::RETRY_AFTER, "1")
}

/// Makes a raw socket of the connection, on the worker that is to have it.
fn open(io: HttpIo, admitted: Admitted, accept: [u8; 28], earlier: &[u8], leftover: &[u8]) {
    let mut answer = earlier.to_vec();
    answer.extend(head_line(StatusCode::SWITCHING_PROTOCOLS));
    put(&mut answer, header::UPGRADE.as_str(), b"websocket");
    put(&mut answer, header::CONNECTION.as_str(), b"Upgrade");
    put(&mut answer, header::SEC_WEBSOCKET_ACCEPT.as_str(), &accept);
    for (name, value) in &admitted.headers {
        put(&mut answer, name.as_str(), value.as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
    let peer = io.peer();
    let stream = io.into_raw();
    let limits = admitted.limits;
    let (worker, open) = match admitted.open {
        Opener::Here(open) => return settle(peer, stream, limits, answer, leftover, open),
        Opener::On { worker, open } => (worker, open),
    };
    if worker::current_worker() == Some(worker) {
        return settle(peer, stream, limits, answer, leftover, open);
    }
    let parcel = match stream.detach() {
        Ok(parcel) => parcel,
        Err(error) => return tracing::warn!(%error, %peer, "cannot move a socket"),
    };
    let (limits, leftover) = (SocketLimits::clone(&limits), leftover.to_vec());
    let arrived = move || match parcel.attach() {
        Ok(stream) => settle(peer, stream, Rc::new(limits), answer, &leftover, open),
        Err(error) => tracing::warn!(%error, %peer, "cannot move a socket"),
    };
    if !worker::send_to(worker, arrived) {
        tracing::warn!(%peer, worker, "no such worker to move a socket to");
    }
}

/// Puts the socket into this worker's table, queues the 101 as its first bytes and hands it over.
fn settle(
    peer: SocketAddr,
    stream: RawStream,
    limits: Rc<SocketLimits>,
    answer: Vec<u8>,
    leftover: &[u8],
    open: impl FnOnce(Socket),
) {
    if let Err(error) = stream.set_send_buffer(limits.send_buffer) {
        tracing::debug!(%error, %peer, "cannot set the send buffer");
    }
    let Some(outbound) = worker::insert(peer, Some(stream), limits) else {
        tracing::error!(%peer, "an upgrade ran outside of a worker");
        return;
    };
    outbound.push_bytes(&Arc::from(answer));
    if let Some(close) = worker::closing() {
        outbound.close(close);
    }
    let interval = outbound.limits().ping_interval;
    if !interval.is_zero() {
        outbound.worker.heartbeat.schedule(outbound.id(), interval);
    }
    let inbound = InboundStream::new(outbound.clone(), leftover);
    open(Socket { outbound, inbound });
}
