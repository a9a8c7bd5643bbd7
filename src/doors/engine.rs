//! Sessions of Engine.IO as a route sees them: begun, polled and posted to, wherever they live.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::hub::LocalFuture;
use crate::domain::principal::Principal;
use crate::error::Fault;

/// Where sessions are begun and polled.
pub const PATH: &str = "/socket.io/";

/// Who begins a session, by the head of that request.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Whoever the head vouches for, or why nobody: a namespace may be connected to with a credential of its own.
    pub principal: Result<Arc<Principal>, Fault>,
    /// One of several organizations, where the address names it.
    pub organization: Option<String>,
    pub address: std::net::IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    pub request_id: String,
}

/// What is wrong with a request for a session, as the stock server numbers and words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    BadVersion,
}

impl Misuse {
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadMethod => 2,
            Self::BadRequest => 3,
            Self::BadVersion => 5,
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::BadVersion => "Unsupported protocol version",
        }
    }

    /// The body of the answer, which has the status 400.
    pub fn json(self) -> String {
        format!("{{\"code\":{},\"message\":\"{}\"}}", self.code(), self.message())
    }
}

/// A request for a session, by its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of a session that is there; without it a new one is begun.
    pub sid: Option<String>,
    pub transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Polling,
    WebSocket,
}

/// Reads a query; what stands there twice counts as it stands there first.
///
/// # Errors
/// A version other than 4, a transport that is none.
pub fn wanted(query: &str) -> Result<Wanted, Misuse> {
    let value = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let transport = match value("transport").as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(Misuse::UnknownTransport),
    };
    match value("EIO").as_deref() {
        Some("4") => Ok(Wanted { sid: value("sid"), transport }),
        _ => Err(Misuse::BadVersion),
    }
}

/// What a poll or a post brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Packets, with the separator between them.
    Packets(Bytes),
    /// What was posted is taken.
    Taken,
    Misused(Misuse),
    /// More packets in one payload than one may send.
    TooMany,
}

/// The sessions of Engine.IO.
pub trait Engine {
    /// Begins a session on this worker; its open packet.
    ///
    /// # Errors
    /// `unavailable`: there are as many as there may be.
    fn begin(&self, visitor: Visitor) -> Result<Vec<u8>, Fault>;

    /// How many bytes that session takes in one payload now; nothing where there is no such session.
    fn room(&self, sid: &str) -> Option<usize>;

    /// Waits for packets.
    fn poll(&self, sid: &str) -> LocalFuture<Polled>;

    /// Hands packets over; answered when all of them are read.
    fn post(&self, sid: &str, payload: Bytes) -> LocalFuture<Polled>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_the_stock_server_reads_it() {
        let polling = |sid: Option<&str>| Ok(Wanted { sid: sid.map(str::to_owned), transport: Transport::Polling });
        assert_eq!(wanted("EIO=4&transport=polling&t=abc"), polling(None));
        assert_eq!(wanted("transport=polling&EIO=4&sid=a%2Db&sid=c"), polling(Some("a-b")));
        assert_eq!(wanted("EIO=3&transport=polling"), Err(Misuse::BadVersion));
        assert_eq!(wanted("EIO=4&transport=carrier-pigeon"), Err(Misuse::UnknownTransport));
        assert_eq!(wanted(""), Err(Misuse::UnknownTransport));
        assert_eq!(Misuse::UnknownSession.json(), r#"{"code":1,"message":"Session ID unknown"}"#);
    }
}
