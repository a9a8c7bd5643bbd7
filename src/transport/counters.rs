//! What the transport counts: plain numbers that the hub's telemetry reads whenever it likes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Numbers of one server. Shared by its workers; every worker writes its own [`WorkerCounters`].
pub struct Counters {
    /// Connections open now, whatever they speak.
    pub(super) open: AtomicUsize,
    /// Of these, the ones that have become sockets.
    pub(super) upgraded: AtomicUsize,
    /// Connections turned away at accept: the process was full, or the address was.
    pub(super) turned_away: AtomicU64,
    /// Signalled whenever the last socket is gone.
    pub(super) none_left: tokio::sync::Notify,
    workers: Box<[Arc<WorkerCounters>]>,
}

/// Numbers of one worker. Written by its thread alone.
#[derive(Default)]
pub struct WorkerCounters {
    queued_bytes: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    closed_backpressure: AtomicU64,
    closed_protocol: AtomicU64,
    closed_silent: AtomicU64,
}

/// A reading of the counters. All but `queued_bytes` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Outgoing bytes that wait in queues now.
    pub queued_bytes: u64,
    /// Messages (not fragments) that came in.
    pub frames_in: u64,
    /// Frames that were queued, control frames included.
    pub frames_out: u64,
    /// Bytes read from sockets, before decoding.
    pub bytes_in: u64,
    /// Bytes taken by sockets, before encryption.
    pub bytes_out: u64,
    /// Sockets cut with 1013.
    pub closed_backpressure: u64,
    /// Sockets closed for breaking RFC 6455 or a limit: 1002, 1007, 1008, 1009.
    pub closed_protocol: u64,
    /// Sockets dropped because no pong came.
    pub closed_silent: u64,
}

/// Connections open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenConnections {
    /// Sockets: upgraded connections.
    pub upgraded: usize,
    /// All others.
    pub http: usize,
}

impl Counters {
    pub(super) fn new(workers: usize) -> Counters {
        Counters {
            open: AtomicUsize::new(0),
            upgraded: AtomicUsize::new(0),
            turned_away: AtomicU64::new(0),
            none_left: tokio::sync::Notify::new(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> Option<Arc<WorkerCounters>> {
        self.workers.get(index).cloned()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> OpenConnections {
        let upgraded = self.upgraded.load(Relaxed);
        OpenConnections { upgraded, http: self.open.load(Relaxed).saturating_sub(upgraded) }
    }

    /// Connections turned away at accept since the start.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    /// One reading per worker, by index.
    pub fn by_worker(&self) -> Vec<Reading> {
        self.workers.iter().map(|worker| worker.read()).collect()
    }

    /// The workers' readings added up.
    pub fn total(&self) -> Reading {
        let mut sum = Reading::default();
        for one in self.by_worker() {
            sum.queued_bytes += one.queued_bytes;
            sum.frames_in += one.frames_in;
            sum.frames_out += one.frames_out;
            sum.bytes_in += one.bytes_in;
            sum.bytes_out += one.bytes_out;
            sum.closed_backpressure += one.closed_backpressure;
            sum.closed_protocol += one.closed_protocol;
            sum.closed_silent += one.closed_silent;
        }
        sum
    }
}

/// Adds without a locked instruction: there is one writer, the worker's own thread.
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl WorkerCounters {
    pub(super) fn queued(&self, bytes: usize) {
        bump(&self.queued_bytes, bytes as u64);
        bump(&self.frames_out, 1);
    }

    pub(super) fn written(&self, bytes: usize) {
        self.dropped(bytes);
        bump(&self.bytes_out, bytes as u64);
    }

    pub(super) fn dropped(&self, bytes: usize) {
        bump(&self.queued_bytes, (bytes as u64).wrapping_neg());
    }

    pub(super) fn read_bytes(&self, bytes: usize) {
        bump(&self.bytes_in, bytes as u64);
    }

    pub(super) fn message_in(&self) {
        bump(&self.frames_in, 1);
    }

    pub(super) fn cut_for_backpressure(&self) {
        bump(&self.closed_backpressure, 1);
    }

    pub(super) fn broke_protocol(&self) {
        bump(&self.closed_protocol, 1);
    }

    pub(super) fn fell_silent(&self) {
        bump(&self.closed_silent, 1);
    }

    fn read(&self) -> Reading {
        Reading {
            queued_bytes: self.queued_bytes.load(Relaxed),
            frames_in: self.frames_in.load(Relaxed),
            frames_out: self.frames_out.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            closed_backpressure: self.closed_backpressure.load(Relaxed),
            closed_protocol: self.closed_protocol.load(Relaxed),
            closed_silent: self.closed_silent.load(Relaxed),
        }
    }
}
