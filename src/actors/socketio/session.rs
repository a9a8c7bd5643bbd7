//! The actor of one session: what comes in is read packet by packet, what goes out is taken from the queues while the
//! transport takes it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::line::{Incoming, Line, has_too_many};
use super::probe::Probe;
use super::space::{Next, Space};
use super::{EngineKit, STRANGERS_BYTES, State};
use crate::domain::ids::{OrganizationId, UserId};
use crate::doors::engine::{Misuse, Polled, Visitor};
use crate::error::close;
use crate::framing::{Frame, socketio as wire};
use crate::limits::{FrameBucket, Limits, Pace};
use crate::transport::Close;

/// How long a session may be without a namespace, and a new transport without being used.
pub(super) const ALONE: Duration = Duration::from_secs(10);

/// How often a session whose socket takes no more looks.
const LOOK: Duration = Duration::from_millis(5);

/// Packets that are read before others have their turn.
const AT_ONCE: usize = 64;

/// To come again in a moment. No DISCONNECT: the stock client would stay away after one.
pub const RESTART: Close = Close::new(close::RESTARTING, "come back in a moment");
const SILENT: Close = Close::new(close::RESTARTING, "no answer to a ping");
pub(super) const ENDED: Close = Close::new(1000, "");

/// A letter to a session, from whichever worker.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Letter {
    Poll {
        answer: oneshot::Sender<Polled>,
    },
    Post {
        payload: Bytes,
        answer: oneshot::Sender<Polled>,
    },
    /// A socket has come to this worker.
    Socket(u64),
    /// The client of this namespace has come back elsewhere: it is parked, and then answered.
    Release {
        pid: Arc<str>,
        owner: (OrganizationId, UserId),
        answer: oneshot::Sender<()>,
    },
}

pub struct SessionActor {
    pub(super) kit: Rc<EngineKit>,
    sid: Arc<str>,
    pub(super) visitor: Visitor,
    pub(super) line: Line,
    pub(super) probe: Option<Probe>,
    pub(super) state: Arc<State>,
    /// What goes out before anything of a namespace's queue.
    direct: VecDeque<Frame>,
    direct_bytes: usize,
    pub(super) spaces: Vec<Space>,
    /// The namespace whose turn it is.
    turn: usize,
    /// Somebody connects to a namespace: what comes after it waits.
    pub(super) connecting: bool,
    /// Events under way.
    pub(super) underway: usize,
    /// Attachments of an event that was refused, which still come.
    pub(super) attachments: usize,
    frames: FrameBucket,
    clock: Clock,
    waker: Option<Waker>,
    pub(super) over: bool,
}

/// What the session waits for.
struct Clock {
    sleep: Pin<Box<Sleep>>,
    alone: Option<Instant>,
    ping: Option<Instant>,
    pong: Option<Instant>,
    /// When it reads on.
    resume: Option<Instant>,
    look: Option<Instant>,
}

impl SessionActor {
    pub(super) fn new(kit: Rc<EngineKit>, sid: Arc<str>, visitor: Visitor, line: Line, state: Arc<State>) -> Self {
        let now = Instant::now();
        let ping = (!kit.ping_interval.is_zero()).then(|| now + kit.ping_interval);
        let sleep = Box::pin(tokio::time::sleep_until(now + ALONE));
        let clock = Clock { sleep, alone: Some(now + ALONE), ping, pong: None, resume: None, look: None };
        Self {
            kit,
            sid,
            visitor,
            line,
            probe: None,
            state,
            direct: VecDeque::new(),
            direct_bytes: 0,
            spaces: Vec::new(),
            turn: 0,
            connecting: false,
            underway: 0,
            attachments: 0,
            frames: FrameBucket::default(),
            clock,
            waker: None,
            over: false,
        }
    }

    /// Something has changed: it is looked at in its turn.
    pub(super) fn nudge(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Sends a packet before anything that waits in the namespaces' queues.
    pub(super) fn say(&mut self, frame: Frame) {
        self.direct_bytes += frame.len();
        self.direct.push_back(frame);
        self.nudge();
    }

    /// The session is connected to a namespace, or to none any more.
    pub(super) fn connected(&mut self) {
        let room = if self.spaces.is_empty() { STRANGERS_BYTES } else { self.kit.limits.frame_bytes };
        let room = room.min(self.kit.limits.frame_bytes);
        self.state.room.store(room, Ordering::Relaxed);
        let sockets = [&self.line].into_iter().filter_map(|line| match line {
            Line::Socket(socket) => Some(socket),
            Line::Polled(_) => None,
        });
        for socket in sockets.chain(self.probe.as_ref().map(|probe| &probe.socket)) {
            socket.outbound.set_frame_bytes(room);
        }
        self.clock.alone = self.spaces.is_empty().then(|| Instant::now() + ALONE);
        self.nudge();
    }

    /// Takes a namespace out. `parked`: its client may take it up again.
    pub(super) fn leave(&mut self, index: usize, parked: bool) {
        let mut space = self.spaces.remove(index);
        let kept = parked.then(|| space.parked());
        self.kit.parking.ends(&space.pid, kept);
        self.turn = 0;
        self.connected();
    }

    /// Ends the session and its transport. `parked`: its client may take the namespaces up again.
    pub(super) fn end(&mut self, close: Close, parked: bool) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.kit.sessions.directory.remove(&self.sid);
        for mut space in std::mem::take(&mut self.spaces) {
            let kept = parked.then(|| space.parked());
            self.kit.parking.ends(&space.pid, kept);
        }
        self.line.close(close, self.direct.drain(..));
        if let Some(probe) = self.probe.take() {
            probe.socket.outbound.close(ENDED);
        }
        self.nudge();
    }

    /// The transport was lost, or is given up, so that the client comes again.
    fn lost(&mut self) {
        self.end(RESTART, true);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.clock.resume) {
            self.clock.resume = None;
        }
        if due(self.clock.look) {
            self.clock.look = None;
        }
        if self.probe.as_ref().is_some_and(|probe| probe.until <= now)
            && let Some(probe) = self.probe.take()
        {
            probe.socket.outbound.close(ENDED);
        }
        if due(self.clock.alone) && !self.connecting {
            return self.end(ENDED, false);
        }
        if due(self.clock.pong) {
            return self.end(SILENT, true);
        }
        if due(self.clock.ping) {
            self.clock.ping = Some(now + self.kit.ping_interval);
            self.clock.pong.get_or_insert(now + self.kit.ping_timeout);
            self.say(Frame::text(wire::PING));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let alone = self.clock.alone.filter(|_| !self.connecting);
        let probe = self.probe.as_ref().map(|probe| probe.until);
        let Clock { ping, pong, resume, look, .. } = self.clock;
        [alone, ping, pong, resume, look, probe].into_iter().flatten().min()
    }

    /// Whether nothing more is read for now.
    fn is_busy(&self) -> bool {
        self.connecting
            || self.clock.resume.is_some()
            || self.underway >= self.kit.connection.settings.requests_in_flight
            || self.direct_bytes > self.kit.limits.soft_bytes
    }

    fn read(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) {
        self.read_probe(task);
        for _ in 0..AT_ONCE {
            if self.over || self.is_busy() {
                return;
            }
            let Poll::Ready(incoming) = self.line.poll_incoming(task) else { return };
            match incoming {
                Incoming::Closed => return self.lost(),
                _ if !self.in_time() => return,
                Incoming::Text(text) => {
                    self.clock.pong = None;
                    self.packet(text, context);
                }
                Incoming::Binary => self.attachment(),
                Incoming::Control => {}
            }
        }
        task.waker().wake_by_ref();
    }

    /// Counts a packet. Above the limit of its session the next one is read later; false where it is the last.
    fn in_time(&mut self) -> bool {
        let limits = self.kit.connection.limits.clone();
        if !limits.frames.is_on() {
            return true;
        }
        match limits.frames.count(&mut self.frames, std::time::Instant::now()) {
            Pace::Fine => {}
            Pace::Pause { wait, tell } => {
                self.clock.resume = Some(Instant::now() + wait);
                if tell {
                    self.complain(&Limits::too_many_frames(wait));
                }
            }
            Pace::Enough => {
                self.end(Close::new(close::ABUSE, "too many packets"), false);
                return false;
            }
        }
        true
    }

    fn write(&mut self, task: &mut Task<'_>) {
        while !self.over && self.takes_more(task) {
            let Some(frame) = self.next_frame(task) else { break };
            match &mut self.line {
                Line::Socket(socket) => {
                    socket.outbound.push(&frame);
                }
                Line::Polled(polling) => polling.add(frame.payload_bytes()),
            }
        }
        if self.over {
            return;
        }
        let probed = self.probe.as_ref().is_some_and(|probe| probe.asked);
        if let Line::Polled(polling) = &mut self.line {
            // The client turns to its socket when this poll is answered.
            if probed && polling.is_waited_for() && polling.batched() == 0 {
                polling.add(wire::NOOP);
            }
            if !polling.flush() {
                self.lost();
            }
        }
    }

    fn takes_more(&mut self, task: &mut Task<'_>) -> bool {
        let soft = self.kit.limits.soft_bytes;
        match &mut self.line {
            Line::Socket(socket) if !socket.outbound.is_open() => {
                self.lost();
                false
            }
            Line::Socket(socket) => {
                let full = socket.outbound.queued_bytes() > soft;
                if full {
                    self.clock.look = Some(Instant::now() + LOOK);
                }
                !full
            }
            Line::Polled(polling) => {
                let deserted = polling.is_deserted(task);
                let more = polling.is_waited_for() && polling.batched() <= soft;
                if deserted {
                    self.lost();
                }
                more && !deserted
            }
        }
    }

    /// The next packet to go out, of each namespace in its turn.
    fn next_frame(&mut self, task: &mut Task<'_>) -> Option<Frame> {
        if let Some(frame) = self.direct.pop_front() {
            self.direct_bytes -= frame.len();
            return Some(frame);
        }
        for step in 0..self.spaces.len() {
            let index = (self.turn + step) % self.spaces.len();
            let space = &mut self.spaces[index];
            if space.held > 0 {
                continue;
            }
            match space.poll_next(task) {
                Poll::Ready(Next::Frame(frame)) => {
                    self.turn = index + 1;
                    return Some(frame);
                }
                Poll::Ready(Next::Closed(code)) => {
                    self.dismissed(index, code);
                    return self.next_frame(task);
                }
                Poll::Pending => {}
            }
        }
        None
    }

    /// A namespace's queue was closed: who may not be here any more is told so, everybody else comes again.
    fn dismissed(&mut self, index: usize, code: u16) {
        match code {
            close::EXPIRED | close::REVOKED => {
                let path = self.spaces[index].namespace.path();
                self.leave(index, false);
                self.say(wire::disconnected(path));
                if self.spaces.is_empty() {
                    self.end(Close { code, reason: "".into() }, false);
                }
            }
            code => self.end(Close { code, reason: "".into() }, true),
        }
    }

    fn polled(&mut self, answer: oneshot::Sender<Polled>) {
        let misused = match &mut self.line {
            Line::Polled(polling) => match polling.wait(answer) {
                Ok(()) => return,
                // The stock server too takes two polls at a time as the end.
                Err(answer) => {
                    self.end(Close::new(close::PROTOCOL, "two polls at a time"), true);
                    answer
                }
            },
            Line::Socket(_) => answer,
        };
        let _ = misused.send(Polled::Misused(Misuse::BadRequest));
    }

    fn posted(&mut self, payload: Bytes, answer: oneshot::Sender<Polled>) {
        if has_too_many(&payload) {
            let _ = answer.send(Polled::TooMany);
            return self.end(Close::new(close::ABUSE, "too many packets"), false);
        }
        let misused = match &mut self.line {
            Line::Polled(polling) => match polling.post(payload, answer) {
                Ok(()) => return,
                Err(answer) => {
                    self.end(Close::new(close::PROTOCOL, "two posts at a time"), true);
                    answer
                }
            },
            Line::Socket(_) => answer,
        };
        let _ = misused.send(Polled::Misused(Misuse::BadRequest));
    }

    fn released(&mut self, pid: &str, owner: &(OrganizationId, UserId)) {
        let is_it = |space: &Space| {
            let principal = &space.caller.principal;
            *space.pid == *pid && principal.organization == owner.0 && principal.user == owner.1
        };
        // What was closed for good is not to be had by coming back.
        if let Some(index) = self.spaces.iter().position(|space| is_it(space) && space.queue.reader.is_open()) {
            self.leave(index, true);
            if self.spaces.is_empty() {
                self.lost();
            }
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(Drive);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // Already done, but for a worker's end.
        self.end(RESTART, false);
    }
}

impl Handler<Letter> for SessionActor {
    type Result = ();

    fn handle(&mut self, letter: Letter, _: &mut Self::Context) {
        match letter {
            Letter::Poll { answer } if !self.over => self.polled(answer),
            Letter::Post { payload, answer } if !self.over => self.posted(payload, answer),
            // Their senders are told by the loss of the answer.
            Letter::Poll { .. } | Letter::Post { .. } => {}
            Letter::Socket(id) => self.arrived(id),
            Letter::Release { pid, owner, answer } => {
                self.released(&pid, &owner);
                let _ = answer.send(());
            }
        }
        self.nudge();
    }
}

/// What the session does whenever it is woken, until it is over.
struct Drive;

impl ActorFuture<SessionActor> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut SessionActor,
        context: &mut Context<SessionActor>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        actor.waker = Some(task.waker().clone());
        actor.tick();
        actor.read(context, task);
        actor.write(task);
        if actor.over {
            context.stop();
            return Poll::Ready(());
        }
        if let Some(deadline) = actor.next_deadline() {
            actor.clock.sleep.as_mut().reset(deadline);
            if actor.clock.sleep.as_mut().poll(task).is_ready() {
                task.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}
