//! Sockets to one server on loopback: the poller, blocking-style writes, and setting up thousands at once.
use crate::clock;
use crate::dialect::{Dialect, Setup, Step};
use crate::fault::{Result, While, fault};
use crate::frame;
use crate::sequence::Checker;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections of one run: a process has 20,000 file descriptors here, and publishers count twice.
pub const MOST: usize = 19_000;
/// Handshakes under way at the same time.
const IN_FLIGHT: usize = 64;
/// Addresses that clients come from, as real ones do: limits for one address are not what is measured.
const SOURCES: usize = 250;
const IN_PROGRESS: i32 = 115;

/// The server under test.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub pid: u32,
    pub wire: crate::dialect::Wire,
    /// One token an organization; channels are spread over them.
    pub tokens: Vec<String>,
    /// A path that answers what the server's own actors see (the stock peer has one).
    pub stats: Option<String>,
}

impl Target {
    /// Errors: an address outside 127.0.0.0/8, no token.
    pub fn check(&self) -> Result<()> {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {}
            other => {
                return fault(format!("{other} is not in 127.0.0.0/8: load is for loopback only"));
            }
        }
        if self.tokens.is_empty() {
            return fault("a token is needed");
        }
        Ok(())
    }

    pub fn organizations(&self) -> usize {
        self.tokens.len()
    }
}

/// A connection that is set up.
pub struct Connection {
    pub stream: TcpStream,
    /// Bytes of a frame that is not whole yet.
    pub left: Vec<u8>,
    pub checker: Checker,
    /// When its echo request was sent; 0 when none is under way.
    pub asked: u64,
    pub open: bool,
    pub close_code: Option<u16>,
}

/// What a connection is wanted for.
pub struct Want {
    pub organization: usize,
    pub channels: Range<u32>,
    pub checker: Checker,
    /// A small receive buffer, bytes: so that the kernel does not hide a reader that stops.
    pub receive_buffer: Option<usize>,
}

impl Want {
    /// A connection that subscribes to nothing and must hear nothing.
    pub fn publisher(organization: usize) -> Self {
        Self { organization, channels: 0..0, checker: Checker::silent(), receive_buffer: None }
    }

    /// A connection that hears `channels`, each written to by `writers` publishers.
    pub fn subscriber(organization: usize, channels: Range<u32>, writers: u32) -> Self {
        let checker = Checker::new(channels.clone(), writers);
        Self { organization, channels, checker, receive_buffer: None }
    }
}

/// Readiness of many sockets.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).doing("epoll")?;
        Ok(Self { epoll, events: Vec::with_capacity(1024) })
    }

    pub fn add(&self, stream: &TcpStream, key: usize, flags: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, stream, epoll::EventData::new_u64(key as u64), flags).doing("epoll")
    }

    pub fn modify(&self, stream: &TcpStream, key: usize, flags: epoll::EventFlags) -> Result<()> {
        epoll::modify(&self.epoll, stream, epoll::EventData::new_u64(key as u64), flags).doing("epoll")
    }

    pub fn delete(&self, stream: &TcpStream) -> Result<()> {
        epoll::delete(&self.epoll, stream).doing("epoll")
    }

    /// Waits at most `ms` milliseconds; how many are ready.
    pub fn wait(&mut self, ms: u64) -> Result<usize> {
        let time = Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * clock::MS) as i64 };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&time)) {
            Ok(n) => Ok(n),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(e) => Err(e).doing("epoll"),
        }
    }

    /// Key and flags of the `i`th that was ready.
    pub fn ready(&self, i: usize) -> (usize, epoll::EventFlags) {
        let e = &self.events[i];
        ({ e.data }.u64() as usize, { e.flags })
    }
}

/// Writes everything, waiting while the socket is full. Errors: closed, or full for thirty seconds.
pub fn write_all(mut stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(stream, PollFlags::OUT)];
                let wait = Timespec { tv_sec: 30, tv_nsec: 0 };
                if rustix::event::poll(&mut fds, Some(&wait)).doing("poll")? == 0 {
                    return fault("the server has not read for thirty seconds");
                }
            }
            Err(e) => return Err(e).doing("writing to the server"),
        }
    }
    Ok(())
}

struct Pending {
    stream: TcpStream,
    want: Want,
    setup: Setup,
    left: Vec<u8>,
    upgraded: bool,
}

fn open(target: &Target, n: usize, want: &Want) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).doing("socket")?;
    if let Some(bytes) = want.receive_buffer {
        socket.set_recv_buffer_size(bytes).doing("receive buffer")?;
    }
    socket.set_nonblocking(true).doing("socket")?;
    socket.set_tcp_nodelay(true).doing("socket")?;
    // closing resets: thousands of ports must not wait a minute each
    socket.set_linger(Some(Duration::ZERO)).doing("socket")?;
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, (2 + n % SOURCES) as u8), 0));
    socket.bind(&source.into()).doing("bind")?;
    match socket.connect(&target.address.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(e) => return Err(e).doing("connecting"),
    }
    Ok(socket.into())
}

/// Sets up all `wants`, some dozens at a time, in their order.
/// Errors: too many, refused, closed, or no progress for fifteen seconds.
pub fn connect(target: &Target, dialect: &Dialect, wants: Vec<Want>) -> Result<Vec<Connection>> {
    target.check()?;
    if wants.len() > MOST {
        return fault(format!("{} connections are more than {MOST}", wants.len()));
    }
    let requests: Vec<String> = target.tokens.iter().map(|t| upgrade_request(target, &dialect.path(t))).collect();
    let mut poller = Poller::new()?;
    let total = wants.len();
    let mut wants = wants.into_iter();
    let mut pending: Vec<Option<Pending>> = Vec::with_capacity(total);
    let mut done: Vec<Option<Connection>> = (0..total).map(|_| None).collect();
    let (mut finished, mut moved) = (0, clock::now());
    while finished < total {
        while pending.len() - finished < IN_FLIGHT {
            let Some(want) = wants.next() else { break };
            let stream = open(target, pending.len(), &want)?;
            poller.add(&stream, pending.len(), epoll::EventFlags::OUT)?;
            let setup = Setup::new(&target.tokens[want.organization], want.channels.clone());
            pending.push(Some(Pending { stream, want, setup, left: Vec::new(), upgraded: false }));
        }
        let ready = poller.wait(1000)?;
        if ready == 0 && clock::since(moved) > 15.0 {
            return fault(format!("setting up connections stalled at {finished} of {total}"));
        }
        for i in 0..ready {
            moved = clock::now();
            let (key, flags) = poller.ready(i);
            let Some(p) = pending[key].as_mut() else {
                continue;
            };
            if flags.contains(epoll::EventFlags::OUT) {
                write_all(&p.stream, requests[p.want.organization].as_bytes())?;
                poller.modify(&p.stream, key, epoll::EventFlags::IN)?;
                continue;
            }
            if advance(p, dialect)? {
                poller.delete(&p.stream)?;
                done[key] = pending[key].take().map(finish);
                finished += 1;
            }
        }
    }
    Ok(done.into_iter().flatten().collect())
}

fn upgrade_request(target: &Target, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        target.address
    )
}

/// Reads what came and goes on; true when the connection is ready.
fn advance(p: &mut Pending, dialect: &Dialect) -> Result<bool> {
    let mut buffer = [0u8; 16_384];
    match p.stream.read(&mut buffer) {
        Ok(0) => {
            return fault(format!("closed while connecting: {}", String::from_utf8_lossy(&p.left)));
        }
        Ok(n) => p.left.extend_from_slice(&buffer[..n]),
        Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(e) => return Err(e).doing("connecting"),
    }
    if !p.upgraded {
        let Some(end) = memchr::memmem::find(&p.left, b"\r\n\r\n") else {
            return Ok(false);
        };
        if !p.left.starts_with(b"HTTP/1.1 101") {
            return fault(format!("not upgraded: {}", String::from_utf8_lossy(&p.left)));
        }
        p.left.drain(..end + 4);
        p.upgraded = true;
        let step = dialect.set_up(&mut p.setup, None)?;
        if act(&p.stream, step)? {
            return Ok(true);
        }
    }
    while let Some(f) = frame::at(&p.left, 0)? {
        let message = p.left[f.start..f.end].to_vec();
        p.left.drain(..f.end);
        match f.opcode {
            frame::CLOSE => {
                return fault(format!("closed while connecting: {}", String::from_utf8_lossy(&message)));
            }
            frame::PING => write_all(&p.stream, &frame::single(frame::PONG, &message))?,
            frame::PONG => {}
            _ => {
                let step = dialect.set_up(&mut p.setup, Some(&message))?;
                if act(&p.stream, step)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn act(stream: &TcpStream, step: Step) -> Result<bool> {
    match step {
        Step::Wait => Ok(false),
        Step::Say(bytes) => write_all(stream, &bytes).map(|()| false),
        Step::Ready => Ok(true),
    }
}

fn finish(p: Pending) -> Connection {
    let mut checker = p.want.checker;
    for (channel, epoch, seq) in &p.setup.begins {
        checker.subscribed(*channel, epoch, *seq);
    }
    let left = p.left;
    Connection { stream: p.stream, left, checker, asked: 0, open: true, close_code: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_loopback_is_refused() {
        let mut t = Target {
            address: SocketAddr::from(([192, 0, 2, 1], 80)),
            pid: 0,
            wire: crate::dialect::Wire::Sb,
            tokens: vec!["t".into()],
            stats: None,
        };
        assert!(t.check().unwrap_err().to_string().contains("127.0.0.0/8"));
        t.address = SocketAddr::from(([127, 9, 9, 9], 80));
        assert!(t.check().is_ok());
    }
}
