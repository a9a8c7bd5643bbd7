//! Sessions of Engine.IO: an actor for each, on the worker of its first request; reached from all of them by its sid.
//!
//! A session owns a queue for every namespace that its client is connected to. The fan-out pushes into those as it
//! does into a socket's; the session takes from them only while its transport takes more from it. So a slow poller
//! falls behind, catches up and is cut off like everybody else.

mod errand;
mod line;
mod packets;
mod probe;
mod recovery;
mod session;
mod space;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::oneshot;

use super::connection::ConnectionKit;
use super::standing::Confirm;
use crate::domain::hub::LocalFuture;
use crate::domain::principal::Principal;
use crate::doors::engine::{Engine, Misuse, Polled, Visitor};
use crate::error::Fault;
use crate::framing::socketio as wire;
use crate::transport::{Opener, Socket, SocketLimits, current_worker};
use line::Line;
pub use recovery::Parking;
use session::{Letter, SessionActor};

/// Sessions in the process at most.
const SESSIONS: usize = 100_000;

/// What a session may be sent before it is connected to a namespace, in bytes.
const STRANGERS_BYTES: usize = 64 << 10;

/// Whose token it is that a visitor shows when connecting to a namespace.
pub type Vouch = Rc<dyn Fn(Visitor, String) -> LocalFuture<Result<Principal, Fault>>>;

/// What all workers share.
#[derive(Clone, Default)]
pub struct Sessions {
    directory: Arc<DashMap<Arc<str>, Entry>>,
    parking: Arc<Parking>,
}

/// A session as all workers see it.
#[derive(Clone)]
struct Entry {
    address: Addr<SessionActor>,
    worker: usize,
    state: Arc<State>,
}

/// What is asked of a session before it is written to.
struct State {
    /// Bytes that it takes in one message.
    room: AtomicUsize,
    /// A socket carries it.
    has_socket: AtomicBool,
}

/// What sessions of one worker share.
pub struct EngineKit {
    pub connection: Rc<ConnectionKit>,
    pub sessions: Sessions,
    pub vouch: Vouch,
    pub confirm: Confirm,
    /// Of sockets and of queues alike. The session pings by itself.
    pub limits: Rc<SocketLimits>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    parking: Arc<Parking>,
}

impl EngineKit {
    /// `limits` as for any other socket.
    pub fn new(
        connection: Rc<ConnectionKit>,
        sessions: Sessions,
        (vouch, confirm): (Vouch, Confirm),
        limits: SocketLimits,
    ) -> Rc<Self> {
        let (ping_interval, ping_timeout) = (limits.ping_interval, limits.pong_timeout);
        let limits = Rc::new(SocketLimits { ping_interval: Duration::ZERO, ..limits });
        let parking = sessions.parking.clone();
        Rc::new(Self { connection, sessions, vouch, confirm, limits, ping_interval, ping_timeout, parking })
    }

    /// The first packet of a session.
    fn open_packet(&self, sid: &str, upgrade: bool) -> Vec<u8> {
        // A client waits that long for a ping: without pings it waits for ever.
        let interval = if self.ping_interval.is_zero() { Duration::from_secs(86_400) } else { self.ping_interval };
        let times = (interval.as_millis(), self.ping_timeout.as_millis());
        wire::open(sid, upgrade, times, self.limits.frame_bytes)
    }

    /// Begins a session on this worker; its sid.
    fn begin(self: &Rc<Self>, visitor: Visitor, line: Line) -> Result<Arc<str>, Fault> {
        if self.sessions.directory.len() >= SESSIONS {
            return Err(Fault::unavailable("there are too many sessions"));
        }
        let worker = current_worker().ok_or_else(|| Fault::internal("a session begins outside of a worker"))?;
        let sid = new_sid(worker)?;
        let state = Arc::new(State {
            room: AtomicUsize::new(STRANGERS_BYTES.min(self.limits.frame_bytes)),
            has_socket: AtomicBool::new(!line.is_polled()),
        });
        let (kit, name, known) = (self.clone(), sid.clone(), state.clone());
        let address = SessionActor::create(move |_| SessionActor::new(kit, name, visitor, line, known));
        self.sessions.directory.insert(sid.clone(), Entry { address, worker, state });
        Ok(sid)
    }

    /// A socket that begins a session of its own, or takes a polled one over.
    ///
    /// # Errors
    /// There is no such session, or it has a socket.
    pub fn opener(self: &Rc<Self>, visitor: Visitor, sid: Option<&str>) -> Result<Opener, Misuse> {
        let Some(sid) = sid else {
            let kit = self.clone();
            return Ok(Opener::here(move |socket: Socket| {
                socket.outbound.set_frame_bytes(STRANGERS_BYTES.min(kit.limits.frame_bytes));
                let outbound = socket.outbound.clone();
                match kit.begin(visitor, Line::Socket(socket)) {
                    Ok(sid) => {
                        let open = crate::framing::Frame::text(&kit.open_packet(&sid, false));
                        outbound.push(&open);
                    }
                    Err(fault) => {
                        tracing::warn!(%fault, "a session cannot begin");
                        outbound.close(session::RESTART);
                    }
                }
            }));
        };
        let entry = self.sessions.entry(sid).ok_or(Misuse::UnknownSession)?;
        if entry.state.has_socket.load(Ordering::Relaxed) {
            return Err(Misuse::BadRequest);
        }
        let room = entry.state.clone();
        Ok(Opener::on(entry.worker, move |socket: Socket| {
            socket.outbound.set_frame_bytes(room.room.load(Ordering::Relaxed));
            probe::hand_over(&entry.address, socket);
        }))
    }
}

impl Sessions {
    fn entry(&self, sid: &str) -> Option<Entry> {
        self.directory.get(sid).map(|entry| entry.clone())
    }

    async fn ask(self, sid: String, letter: impl FnOnce(oneshot::Sender<Polled>) -> Letter) -> Polled {
        let Some(entry) = self.entry(&sid) else { return Polled::Misused(Misuse::UnknownSession) };
        let (answer, answered) = oneshot::channel();
        entry.address.do_send(letter(answer));
        answered.await.unwrap_or(Polled::Misused(Misuse::UnknownSession))
    }
}

/// What a session is called: where it lives, and 128 random bits.
fn new_sid(worker: usize) -> Result<Arc<str>, Fault> {
    let mut bytes = [0; 18];
    let worker = u16::try_from(worker).unwrap_or(u16::MAX);
    bytes[..2].copy_from_slice(&worker.to_be_bytes());
    random(&mut bytes[2..])?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// What a namespace is called, in public or in private: 128 random bits.
fn new_id() -> Result<Arc<str>, Fault> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

fn random(bytes: &mut [u8]) -> Result<(), Fault> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Fault::internal("the system gives no random bytes"))
}

/// The sessions as routes of one worker see them.
pub struct LocalEngine(pub Rc<EngineKit>);

impl Engine for LocalEngine {
    fn begin(&self, visitor: Visitor) -> Result<Vec<u8>, Fault> {
        let sid = self.0.begin(visitor, Line::Polled(line::Polling::default()))?;
        Ok(self.0.open_packet(&sid, true))
    }

    fn room(&self, sid: &str) -> Option<usize> {
        self.0.sessions.entry(sid).map(|entry| entry.state.room.load(Ordering::Relaxed))
    }

    fn poll(&self, sid: &str) -> LocalFuture<Polled> {
        Box::pin(self.0.sessions.clone().ask(sid.to_owned(), |answer| Letter::Poll { answer }))
    }

    fn post(&self, sid: &str, payload: Bytes) -> LocalFuture<Polled> {
        Box::pin(self.0.sessions.clone().ask(sid.to_owned(), |answer| Letter::Post { payload, answer }))
    }
}
