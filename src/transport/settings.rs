//! The numbers of the transport: what a server is given, and what one socket may do.

use std::{borrow::Cow, fmt, net::TcpListener, sync::Arc, time::Duration};

/// Identity of an open socket in this process: the worker's index in the top 16 bits, a counter below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    pub(super) fn new(worker: usize, count: u64) -> ConnectionId {
        ConnectionId((worker as u64) << 48 | (count & ((1 << 48) - 1)))
    }

    /// Index of the worker on which the socket lives.
    pub fn worker(self) -> usize {
        (self.0 >> 48) as usize
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How a socket is closed: an RFC 6455 status code and a reason of at most 123 bytes (longer ones are cut).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl Close {
    pub const fn new(code: u16, reason: &'static str) -> Close {
        Close { code, reason: Cow::Borrowed(reason) }
    }
}

/// The slow-client cut: over the hard mark, or blocked for too long.
pub(super) const BACKPRESSURE: Close = Close::new(1013, "backpressure");

/// What one socket may do. Sockets of one kind share one value.
#[derive(Clone, Debug)]
pub struct SocketLimits {
    /// Largest incoming message in bytes, whole or in fragments; above it 1009. Default 8 MiB.
    pub frame_bytes: usize,
    /// Most fragments in one message; above it 1008. Default 16,384.
    pub fragments: u32,
    /// Queued outgoing bytes above which [`super::Pushed::OverSoft`] is answered. Default 64 KiB.
    pub soft_bytes: usize,
    /// Queued outgoing bytes above which the socket is closed with 1013. A single frame that finds
    /// the queue empty is always taken. Default 4 MiB.
    pub hard_bytes: usize,
    /// Time between two pings, rounded up to 250 ms; zero switches them off. Default 25 s.
    pub ping_interval: Duration,
    /// How long after a ping the client may stay silent. Default 20 s.
    pub pong_timeout: Duration,
    /// How long a socket may take nothing of what is queued; then 1013. Default 15 s.
    pub write_stall: Duration,
    /// After a Close frame was queued: how long the client may take nothing, and, once it is
    /// written, how long to wait for the client's end. Default 2 s.
    pub close_timeout: Duration,
    /// SO_SNDBUF in bytes. The kernel doubles it; left alone it would hide megabytes of a stalled
    /// client. Default 256 KiB.
    pub send_buffer: usize,
}

impl Default for SocketLimits {
    fn default() -> SocketLimits {
        SocketLimits {
            frame_bytes: 8 << 20,
            fragments: 16_384,
            soft_bytes: 64 << 10,
            hard_bytes: 4 << 20,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(20),
            write_stall: Duration::from_secs(15),
            close_timeout: Duration::from_secs(2),
            send_buffer: 256 << 10,
        }
    }
}

/// What a server is started with.
pub struct ServerSettings {
    /// Bound listeners; all serve the same App and the same upgrades.
    pub listeners: Vec<TcpListener>,
    /// Worker threads, 1 to 512.
    pub workers: usize,
    /// TLS for every listener. ALPN is set to http/1.1: HTTP/2 is never negotiated.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Most connections (sockets and HTTP) in the process; one more gets 503 and is closed.
    pub max_connections: usize,
    /// Most connections of one IPv4 address or one IPv6 /64; 0 is no limit. One more gets 429.
    pub max_per_address: usize,
    /// Time for the TLS handshake.
    pub tls_timeout: Duration,
    /// Time for a request's head, and for what still comes of a body that nobody reads.
    pub head_timeout: Duration,
    /// Time for a request's body, from the first look at it: then reading it fails with `TimedOut`.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an HTTP answer.
    pub stall_timeout: Duration,
    /// Time for the doorkeeper's decision; then 408.
    pub upgrade_timeout: Duration,
    /// How long an idle HTTP connection is kept.
    pub keep_alive: Duration,
    /// How long a graceful stop waits for HTTP requests. Whole seconds.
    pub stop_timeout: Duration,
}

impl ServerSettings {
    /// Defaults around the given listeners: one worker, no TLS, 100,000 connections.
    pub fn new(listeners: Vec<TcpListener>) -> ServerSettings {
        ServerSettings {
            listeners,
            workers: 1,
            tls: None,
            max_connections: 100_000,
            max_per_address: 0,
            tls_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            upgrade_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stop_timeout: Duration::from_secs(10),
        }
    }
}
