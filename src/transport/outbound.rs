//! The outgoing half of a socket: a bounded queue of shared frames, written once per tick.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::ErrorKind,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    decoder::{Caps, close_frame, control_frame},
    settings::{BACKPRESSURE, Close, ConnectionId, SocketLimits},
    stream::RawStream,
    worker::{self, Worker},
};
use crate::framing::Frame;

/// Most bytes gathered into one write.
const GATHER: usize = 64 << 10;
/// Frames of this size are written from where they are.
const LARGE: usize = 16 << 10;
/// A queue that once held more frames than this gives its memory back when it is empty.
const KEPT_SLOTS: usize = 8;

/// What became of a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    /// Queued, and the queue is over its soft mark: push no more, pull when it has drained
    /// (see [`Outbound::set_lagging`]).
    OverSoft,
    /// Not queued: the socket is closed or closing, perhaps because of this very frame.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A Close frame is queued or written; nothing is read as messages any more.
    Closing,
    /// The socket is dropped.
    Gone,
}

/// On the worker's dirty list.
const DIRTY: u8 = 1;
/// The kernel took no more; a task of [`super::blocked`] drives the socket now.
const DRIVEN: u8 = 2;
/// Wants the drained callback.
const LAGGING: u8 = 4;
/// Bytes came in since the last ping.
const HEARD: u8 = 8;
/// A ping is out.
const PINGED: u8 = 16;
/// Its reader waits for bytes (and would see a pong).
const READING: u8 = 32;

/// One socket's outgoing half. Lives on one worker, shared there as `Rc<Outbound>`; never waits.
pub struct Outbound {
    id: ConnectionId,
    peer: SocketAddr,
    limits: Rc<SocketLimits>,
    pub(super) worker: Rc<Worker>,
    stream: RefCell<Option<RawStream>>,
    queue: RefCell<VecDeque<Arc<[u8]>>>,
    /// Bytes of the first queued frame that are written.
    written: Cell<usize>,
    queued: Cell<usize>,
    message_bytes: Cell<usize>,
    reader: RefCell<Option<Waker>>,
    phase: Cell<Phase>,
    flags: Cell<u8>,
}

/// How a round of writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Everything,
    Blocked,
    Failed,
}

impl Outbound {
    pub(super) fn new(
        id: ConnectionId,
        peer: SocketAddr,
        stream: RawStream,
        limits: Rc<SocketLimits>,
        worker: Rc<Worker>,
    ) -> Outbound {
        Outbound {
            id,
            peer,
            message_bytes: Cell::new(limits.frame_bytes),
            limits,
            worker,
            stream: RefCell::new(Some(stream)),
            queue: RefCell::default(),
            written: Cell::new(0),
            queued: Cell::new(0),
            reader: RefCell::default(),
            phase: Cell::new(Phase::Open),
            flags: Cell::new(0),
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other end, as the kernel knows it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn limits(&self) -> &Rc<SocketLimits> {
        &self.limits
    }

    /// Bytes that wait here; what the kernel has taken is not counted.
    pub fn queued_bytes(&self) -> usize {
        self.queued.get()
    }

    /// Whether frames are still taken.
    pub fn is_open(&self) -> bool {
        self.phase.get() == Phase::Open
    }

    /// Sets the largest incoming message, in bytes, from the next frame on.
    pub fn set_frame_bytes(&self, bytes: usize) {
        self.message_bytes.set(bytes);
    }

    pub(super) fn caps(&self) -> Caps {
        Caps { message_bytes: self.message_bytes.get(), fragments: self.limits.fragments }
    }

    /// Queues a frame; it is written at the end of this tick, with all others of the tick.
    ///
    /// Over the hard mark the socket is closed with 1013 `backpressure`: the rest of a partly
    /// written frame is kept, all else dropped.
    pub fn push(self: &Rc<Self>, frame: &Frame) -> Pushed {
        self.push_bytes(frame.wire())
    }

    pub(super) fn push_bytes(self: &Rc<Self>, bytes: &Arc<[u8]>) -> Pushed {
        if !self.is_open() {
            return Pushed::Closed;
        }
        let queued = self.queued.get();
        let after = queued + bytes.len();
        if after > self.limits.hard_bytes && queued > 0 {
            self.cut();
            return Pushed::Closed;
        }
        self.enqueue(bytes.clone());
        match after > self.limits.soft_bytes {
            true => Pushed::OverSoft,
            false => Pushed::Queued,
        }
    }

    fn enqueue(self: &Rc<Self>, bytes: Arc<[u8]>) {
        self.queued.set(self.queued.get() + bytes.len());
        self.worker.counters.queued(bytes.len());
        self.queue.borrow_mut().push_back(bytes);
        self.mark_dirty();
    }

    /// When the queue has drained to empty (the kernel took everything), the worker's drained
    /// callback is called once and the mark is taken off. An empty queue counts as drained.
    pub fn set_lagging(self: &Rc<Self>, lagging: bool) {
        self.set(LAGGING, lagging);
        if lagging {
            self.mark_dirty();
        }
    }

    /// Queues a Close frame behind what is queued (1013: see [`Outbound::push`]); once it is
    /// written, the write side is shut, the peer's end awaited for `close_timeout`, the socket dropped.
    pub fn close(self: &Rc<Self>, close: Close) {
        if !self.is_open() {
            return;
        }
        self.phase.set(Phase::Closing);
        if close.code == BACKPRESSURE.code {
            self.keep_begun_frame();
        }
        self.enqueue(close_frame(&close));
        self.wake_reader();
    }

    /// Answers the peer's Close frame with its own code.
    pub(super) fn answer_close(self: &Rc<Self>, code: Option<u16>) {
        match code {
            Some(code) => self.close(Close::new(code, "")),
            None if self.is_open() => {
                self.phase.set(Phase::Closing);
                self.enqueue(control_frame(0x8, &[]));
            }
            None => {}
        }
    }

    /// Cuts a slow client.
    pub(super) fn cut(self: &Rc<Self>) {
        if self.is_open() {
            self.worker.counters.cut_for_backpressure();
            self.close(BACKPRESSURE);
        }
    }

    /// Drops the socket now, with all that is queued.
    pub fn abort(&self) {
        if self.phase.replace(Phase::Gone) == Phase::Gone {
            return;
        }
        let stream = self.stream.borrow_mut().take();
        self.forget(self.queued.get());
        *self.queue.borrow_mut() = VecDeque::new();
        self.written.set(0);
        self.wake_reader();
        worker::remove(self.id);
        drop(stream);
    }

    /// Queues a Pong, unless the peer reads so little that the newest of its pings must do.
    pub(super) fn pong(self: &Rc<Self>, payload: &[u8]) {
        if self.queued.get() <= self.limits.soft_bytes {
            self.push_bytes(&control_frame(0xa, payload));
        }
    }

    /// Drops all of the queue but the frame of which a part is written.
    fn keep_begun_frame(&self) {
        let mut queue = self.queue.borrow_mut();
        let keep = queue.len().min(usize::from(self.written.get() > 0));
        let dropped = queue.drain(keep..).map(|frame| frame.len()).sum();
        drop(queue);
        self.forget(dropped);
    }

    fn forget(&self, bytes: usize) {
        self.queued.set(self.queued.get() - bytes);
        self.worker.counters.dropped(bytes);
    }

    fn mark_dirty(self: &Rc<Self>) {
        if self.flags.get() & (DIRTY | DRIVEN) == 0 {
            self.set(DIRTY, true);
            self.worker.mark_dirty(self.clone());
        }
    }

    fn set(&self, flag: u8, on: bool) {
        let flags = self.flags.get();
        self.flags.set(if on { flags | flag } else { flags & !flag });
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }
}

/// The side of the worker: writing.
impl Outbound {
    /// Takes the socket off the dirty list. `false` if somebody else drives it.
    pub(super) fn take_dirty(&self) -> bool {
        self.set(DIRTY, false);
        !self.has(DRIVEN)
    }

    pub(super) fn set_driven(&self, driven: bool) {
        self.set(DRIVEN, driven);
        if !driven {
            // The peer took what had been stuck: as good as a pong to a ping that was behind it.
            self.set(HEARD, true);
        }
    }

    /// Takes the lagging mark off; whether it was on.
    pub(super) fn take_lagging(&self) -> bool {
        let was = self.has(LAGGING);
        self.set(LAGGING, false);
        was
    }

    pub(super) fn is_closing(&self) -> bool {
        self.phase.get() == Phase::Closing
    }

    pub(super) fn is_gone(&self) -> bool {
        self.phase.get() == Phase::Gone
    }

    /// Bytes the kernel has taken so far.
    pub(super) fn progress(&self) -> u64 {
        self.stream.borrow().as_ref().map_or(0, RawStream::progress)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.stream.borrow() {
            Some(stream) => stream.poll_writable(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    pub(super) fn shutdown_write(&self) {
        if let Some(stream) = &mut *self.stream.borrow_mut() {
            stream.shutdown_write();
        }
    }

    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = self.worker.scratch.borrow_mut();
        scratch.resize(GATHER, 0);
        match &mut *self.stream.borrow_mut() {
            Some(stream) => stream.poll_drain(cx, &mut scratch),
            None => Poll::Ready(()),
        }
    }

    /// Writes what is queued: one write for all of it where it is small.
    pub(super) fn write_queue(&self) -> Wrote {
        let mut stream = self.stream.borrow_mut();
        let Some(stream) = &mut *stream else {
            return Wrote::Failed;
        };
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut queue = self.queue.borrow_mut();
        while let Some(first) = queue.front() {
            let first = &first[self.written.get()..];
            let result = if queue.len() == 1 || first.len() >= LARGE {
                stream.try_write(first)
            } else {
                scratch.clear();
                scratch.extend_from_slice(first);
                for frame in queue.iter().skip(1) {
                    if scratch.len() + frame.len() > GATHER {
                        break;
                    }
                    scratch.extend_from_slice(frame);
                }
                stream.try_write(&scratch)
            };
            match result {
                Ok(taken) => self.advance(&mut queue, taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Wrote::Blocked,
                Err(_) => return Wrote::Failed,
            }
        }
        if queue.capacity() > KEPT_SLOTS {
            *queue = VecDeque::new();
        }
        match stream.try_flush() {
            Ok(()) => Wrote::Everything,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Wrote::Blocked,
            Err(_) => Wrote::Failed,
        }
    }

    fn advance(&self, queue: &mut VecDeque<Arc<[u8]>>, taken: usize) {
        self.queued.set(self.queued.get() - taken);
        self.worker.counters.written(taken);
        let mut at = self.written.get() + taken;
        while let Some(frame) = queue.front() {
            if at < frame.len() {
                break;
            }
            at -= frame.len();
            queue.pop_front();
        }
        self.written.set(at);
    }
}

/// The side of the reader and of the timer.
impl Outbound {
    /// Reads into `buf`; 0 is the peer's end. Remembers who waits.
    pub(super) fn poll_read(self: &Rc<Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let mut slot = self.stream.borrow_mut();
        let Some(stream) = &mut *slot else {
            return Poll::Ready(Ok(0));
        };
        let result = stream.poll_read(cx, buf);
        let owes = stream.owes();
        drop(slot);
        if owes {
            self.mark_dirty();
        }
        self.set(READING, result.is_pending());
        match &result {
            Poll::Ready(Ok(n)) => {
                self.set(HEARD, true);
                self.worker.counters.read_bytes(*n);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let mut reader = self.reader.borrow_mut();
                if !reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *reader = Some(cx.waker().clone());
                }
            }
        }
        result
    }

    fn wake_reader(&self) {
        let reader = self.reader.borrow_mut().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The heartbeat: pings, and drops a peer that answered nothing since the last ping. Gives the
    /// time until it wants to be called again; `None` when there is nothing left to watch.
    pub(super) fn pulse(self: &Rc<Self>) -> Option<std::time::Duration> {
        if !self.is_open() {
            return None;
        }
        let limits = &self.limits;
        if !self.has(PINGED) {
            if self.has(DRIVEN) {
                return Some(limits.ping_interval);
            }
            self.push_bytes(&control_frame(0x9, &[]));
            self.set(PINGED, true);
            self.set(HEARD, false);
            return Some(limits.pong_timeout);
        }
        self.set(PINGED, false);
        // One that is not being read from cannot be heard; one that takes nothing is the blocked
        // driver's affair.
        if !self.has(HEARD) && self.has(READING) && !self.has(DRIVEN) {
            self.worker.counters.fell_silent();
            self.abort();
            return None;
        }
        Some(limits.ping_interval.saturating_sub(limits.pong_timeout))
    }
}
