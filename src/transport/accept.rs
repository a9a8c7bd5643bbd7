//! From an accepted TCP connection to something HTTP can be spoken on: the gate, the socket options, TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    guard::{AcceptGuard, Gate, TurnedAway},
    patience::{Busy, Patiences, Waiting},
    stream::RawStream,
};

/// How long someone who is turned away may take to get ready for the reason.
const TURN_AWAY: Duration = Duration::from_secs(1);

/// How every connection of a server comes in.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) gate: Arc<Gate>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tls_timeout: Duration,
    pub(super) patiences: Patiences,
}

/// The address that a connection came in on. Requests have it as connection data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress(pub SocketAddr);

/// A connection while it speaks HTTP.
pub(super) struct HttpIo {
    stream: HttpStream,
    guard: AcceptGuard,
    peer: SocketAddr,
    local: SocketAddr,
    waiting: Waiting,
}

enum HttpStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Entrance {
    /// Lets a connection in, or fails: turned away, gone, or no TLS in time.
    pub(super) async fn accept(self, tcp: TcpStream) -> io::Result<HttpIo> {
        let (peer, local) = (tcp.peer_addr()?, tcp.local_addr()?);
        let guard = match self.gate.enter(peer) {
            Ok(guard) => guard,
            Err(why) => {
                if self.tls.is_none() {
                    turn_away(&tcp, why).await;
                }
                return Err(io::Error::other("too many connections"));
            }
        };
        tcp.set_nodelay(true)?;
        let stream = match self.tls {
            None => HttpStream::Plain(tcp),
            Some(tls) => HttpStream::Tls(Box::new(timeout(self.tls_timeout, Box::pin(tls.accept(tcp))).await??)),
        };
        let waiting = Waiting::new(self.patiences);
        Ok(HttpIo { stream, guard, peer, local, waiting })
    }
}

/// Says why, without waiting for anything but a fresh socket's first readiness.
async fn turn_away(tcp: &TcpStream, why: TurnedAway) {
    let (status, code, message) = match why {
        TurnedAway::Full => ("503 Service Unavailable", "unavailable", "too many connections"),
        TurnedAway::AddressFull => ("429 Too Many Requests", "rate_limited", "too many connections from this address"),
    };
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 5\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    if timeout(TURN_AWAY, tcp.writable()).await.is_err() {
        return;
    }
    let _ = tcp.try_write(answer.as_bytes());
    // Unread bytes would make the close a reset, and that could overtake the answer.
    let _ = tcp.try_read(&mut [0; 4096]);
    let _ = socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Write);
}

impl HttpIo {
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This side's address: the one that was asked.
    pub(super) fn local(&self) -> LocalAddress {
        LocalAddress(self.local)
    }

    /// Where the requests that are being answered are counted.
    pub(super) fn busy(&self) -> Rc<Busy> {
        self.waiting.busy.clone()
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.stream, HttpStream::Tls(_))
    }

    /// Leaves HTTP behind. The place at the gate is kept and counted as a socket's.
    pub(super) fn into_raw(self) -> RawStream {
        let HttpIo { stream, mut guard, .. } = self;
        guard.upgraded();
        match stream {
            HttpStream::Plain(tcp) => RawStream::new(tcp, None, guard),
            HttpStream::Tls(tls) => {
                let (tcp, tls) = tls.into_inner();
                RawStream::new(tcp, Some(Box::new(tls)), guard)
            }
        }
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.waiting.has_enough() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = match &mut self.stream {
            HttpStream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            HttpStream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }?;
        self.waiting.after_read(cx, read.map(|()| buf.filled().len() - before))?;
        read.map(Ok)
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            HttpStream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            HttpStream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }?;
        self.waiting.after_write(cx, written.is_ready())?;
        written.map(Ok)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            HttpStream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            HttpStream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            HttpStream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            HttpStream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
