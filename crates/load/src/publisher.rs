//! The sending side: a thread that publishes at a steady rate, whether or not the server keeps up (open loop).
use crate::clock;
use crate::connection::write_all;
use crate::dialect::Dialect;
use crate::fault::{Result, While, fault};
use crate::payload::{Payload, Stamp};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

const TICK: u64 = clock::MS;

/// A frame and the number of the publisher that is to send it.
type Addressed = (usize, Vec<u8>);

/// Frames that the receiving thread wants sent on publishers' connections (answers to pings): only the publishing
/// thread writes there, or a pong would fall into the middle of a frame that the socket took half of.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Vec<Addressed>>>);

impl Outbox {
    /// Has `frame` sent by publisher number `publisher`, within a millisecond or so.
    pub fn put(&self, publisher: usize, frame: Vec<u8>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((publisher, frame));
    }

    fn take(&self) -> Vec<Addressed> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is published, and by whom.
pub struct Plan {
    pub streams: Vec<TcpStream>,
    /// For each channel the index of its publisher in `streams`.
    pub publisher_of: Vec<u32>,
    /// Publishes a second, over all channels.
    pub rate: f64,
    /// Bytes of one payload.
    pub payload: usize,
    /// What else is to be sent on `streams`.
    pub outbox: Outbox,
}

/// A running publisher.
pub struct Publisher {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    last: Arc<Vec<AtomicU32>>,
    thread: JoinHandle<Result<()>>,
}

impl Publisher {
    /// Starts a thread that publishes to the channels in turn, a millisecond's worth at a time.
    pub fn start(dialect: Dialect, plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let last: Arc<Vec<AtomicU32>> = Arc::new(plan.publisher_of.iter().map(|_| AtomicU32::new(0)).collect());
        let (stopped, counted, lasts) = (stop.clone(), sent.clone(), last.clone());
        let thread = std::thread::spawn(move || publish(&dialect, plan, &stopped, &counted, &lasts));
        Self { stop, sent, last, thread }
    }

    /// Publishes so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Stops and gives the last number sent on each channel. Errors: the server closed or did not read.
    pub fn finish(self) -> Result<Vec<u32>> {
        self.stop.store(true, Relaxed);
        match self.thread.join() {
            Ok(result) => result.doing("publishing")?,
            Err(_) => return fault("the publishing thread ended early"),
        }
        Ok(self.last.iter().map(|n| n.load(Relaxed)).collect())
    }
}

fn publish(d: &Dialect, plan: Plan, stop: &AtomicBool, sent: &AtomicU64, last: &[AtomicU32]) -> Result<()> {
    let channels = plan.publisher_of.len() as u64;
    let mut buffers: Vec<Vec<u8>> = plan.streams.iter().map(|_| Vec::new()).collect();
    let mut touched: Vec<usize> = Vec::new();
    let (mut payload, mut scratch) = (Payload::new(plan.payload), Vec::new());
    let start = clock::now() + 20 * clock::MS;
    let (mut i, mut tick) = (0u64, 0u64);
    while !stop.load(Relaxed) {
        let due_at = start + tick * TICK;
        clock::sleep_until(due_at);
        let now = clock::now();
        // when this thread itself is late, the delay counts as the server's: it is what a reader would see
        let at = if now.saturating_sub(due_at) < TICK { now } else { due_at };
        let due = ((due_at - start) as f64 * plan.rate / clock::SECOND as f64) as u64 + 1;
        while i < due {
            let channel = (i % channels) as u32;
            let publisher = plan.publisher_of[channel as usize];
            let seq = last[channel as usize].load(Relaxed) + 1;
            last[channel as usize].store(seq, Relaxed);
            let buffer = &mut buffers[publisher as usize];
            if buffer.is_empty() {
                touched.push(publisher as usize);
            }
            d.publish(channel, payload.stamped(Stamp { at, publisher, channel, seq }), &mut scratch, buffer);
            i += 1;
        }
        for (p, frame) in plan.outbox.take() {
            if buffers[p].is_empty() {
                touched.push(p);
            }
            buffers[p].extend_from_slice(&frame);
        }
        for p in touched.drain(..) {
            write_all(&plan.streams[p], &buffers[p])?;
            buffers[p].clear();
        }
        sent.store(i, Relaxed);
        tick += 1;
    }
    Ok(())
}
