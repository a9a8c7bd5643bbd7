//! The receiving side: one epoll loop over all connections that reads, checks and times every delivery.
use crate::clock;
use crate::connection::{Connection, Poller, write_all};
use crate::dialect::{Dialect, Heard};
use crate::fault::Result;
use crate::frame::{self, Frame};
use crate::histogram::Histogram;
use crate::publisher::Outbox;
use crate::sequence::Faults;
use rustix::event::epoll::EventFlags;
use std::io::{ErrorKind, Read};

pub struct Receiver<'d> {
    dialect: &'d Dialect,
    poller: Poller,
    pub connections: Vec<Connection>,
    buffer: Vec<u8>,
    pub latencies: Histogram,
    /// Latencies count only while this is on.
    pub recording: bool,
    pub delivered: u64,
    pub bytes: u64,
    pub reads: u64,
    /// Connections that ended, other than by us.
    pub closed: u64,
    pub refusals: u64,
    pub first_refusal: Option<String>,
    /// Connections whose echo came since this was last emptied.
    pub echoes: Vec<usize>,
    /// From this connection on another thread does the writing.
    publishers: Option<(usize, Outbox)>,
}

/// What one read changed.
#[derive(Default)]
struct Tally {
    delivered: u64,
    echoes: u64,
    reply: Option<Vec<u8>>,
    refusal: Option<String>,
}

impl<'d> Receiver<'d> {
    pub fn new(dialect: &'d Dialect, connections: Vec<Connection>) -> Result<Self> {
        let poller = Poller::new()?;
        let mut leftovers = Vec::new();
        for (i, c) in connections.iter().enumerate() {
            poller.add(&c.stream, i, EventFlags::IN)?;
            if !c.left.is_empty() {
                leftovers.push(i);
            }
        }
        let mut receiver = Self {
            dialect,
            poller,
            connections,
            buffer: vec![0; 1 << 18],
            latencies: Histogram::default(),
            recording: false,
            delivered: 0,
            bytes: 0,
            reads: 0,
            closed: 0,
            refusals: 0,
            first_refusal: None,
            echoes: Vec::new(),
            publishers: None,
        };
        for i in leftovers {
            let left = std::mem::take(&mut receiver.connections[i].left);
            receiver.buffer[..left.len()].copy_from_slice(&left);
            receiver.consume(i, left.len())?;
        }
        Ok(receiver)
    }

    /// Connections from number `first` on are publishers, in order: what is to be answered on them goes to the outbox.
    pub fn publishers_from(&mut self, first: usize) -> Outbox {
        let outbox = Outbox::default();
        self.publishers = Some((first, outbox.clone()));
        outbox
    }

    fn answer(&self, key: usize, frame: Vec<u8>) -> Result<()> {
        match &self.publishers {
            Some((first, outbox)) if key >= *first => {
                outbox.put(key - first, frame);
                Ok(())
            }
            _ => write_all(&self.connections[key].stream, &frame),
        }
    }

    /// Waits at most `ms` milliseconds and reads what is there.
    pub fn turn(&mut self, ms: u64) -> Result<()> {
        let ready = self.poller.wait(ms)?;
        for i in 0..ready {
            let (key, _) = self.poller.ready(i);
            self.read(key)?;
        }
        Ok(())
    }

    /// Reads for `seconds`.
    pub fn run_for(&mut self, seconds: f64) -> Result<()> {
        let end = clock::now() + clock::from_seconds(seconds);
        while clock::now() < end {
            self.turn(5)?;
        }
        Ok(())
    }

    /// Begins a measurement: counters at zero, latencies recorded. What was received stays checked.
    pub fn begin(&mut self) {
        self.latencies = Histogram::default();
        self.delivered = 0;
        self.bytes = 0;
        self.reads = 0;
        self.recording = true;
    }

    /// Stops reading from connection `key`, which stays open.
    pub fn stall(&mut self, key: usize) -> Result<()> {
        self.poller.delete(&self.connections[key].stream)
    }

    /// Reads from connection `key` again.
    pub fn resume(&mut self, key: usize) -> Result<()> {
        self.poller.add(&self.connections[key].stream, key, EventFlags::IN)
    }

    /// What was wrong on the connections `keys`.
    pub fn faults(&self, keys: std::ops::Range<usize>) -> Faults {
        let mut sum = Faults::default();
        for c in &self.connections[keys] {
            sum.add(c.checker.faults());
        }
        sum
    }

    fn read(&mut self, key: usize) -> Result<()> {
        let c = &mut self.connections[key];
        if !c.open {
            return Ok(());
        }
        let have = c.left.len();
        if self.buffer.len() < have * 2 {
            self.buffer.resize(have * 2, 0);
        }
        let got = match c.stream.read(&mut self.buffer[have..]) {
            Ok(0) => return self.end(key),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::Interrupted => {
                return Ok(());
            }
            Err(_) => return self.end(key),
        };
        self.buffer[..have].copy_from_slice(&c.left);
        c.left.clear();
        self.reads += 1;
        self.bytes += got as u64;
        self.consume(key, have + got)
    }

    /// Handles the whole frames among the first `end` bytes of the buffer; keeps the rest.
    fn consume(&mut self, key: usize, end: usize) -> Result<()> {
        let now = clock::now();
        let mut at = 0;
        while let Some(f) = frame::at(&self.buffer[..end], at)? {
            at = f.end;
            match f.opcode {
                frame::CLOSE => {
                    if let [a, b, ..] = self.buffer[f.start..f.end] {
                        self.connections[key].close_code = Some(u16::from_be_bytes([a, b]));
                    }
                    return self.end(key);
                }
                frame::PING => {
                    let pong = frame::single(frame::PONG, &self.buffer[f.start..f.end]);
                    self.answer(key, pong)?;
                }
                frame::PONG => {}
                _ => self.message(key, &f, now)?,
            }
        }
        self.connections[key].left.extend_from_slice(&self.buffer[at..end]);
        Ok(())
    }

    fn message(&mut self, key: usize, f: &Frame, now: u64) -> Result<()> {
        let c = &mut self.connections[key];
        let numbers = self.dialect.wire == crate::dialect::Wire::Sb;
        let (checker, latencies, recording) = (&mut c.checker, &mut self.latencies, self.recording);
        let mut tally = Tally::default();
        self.dialect.read(&self.buffer[f.start..f.end], &mut |heard| match heard {
            Heard::Delivery(stamp, number) => {
                tally.delivered += 1;
                checker.delivery(&stamp);
                if numbers {
                    checker.numbered(stamp.channel, number);
                }
                if recording {
                    latencies.add(now.saturating_sub(stamp.at));
                }
            }
            Heard::Echo => tally.echoes += 1,
            Heard::Reply(bytes) => tally.reply = Some(bytes),
            Heard::Refusal(text) => tally.refusal = Some(text),
        });
        self.delivered += tally.delivered;
        if tally.echoes > 0 {
            if recording && c.asked > 0 {
                latencies.add(now.saturating_sub(c.asked));
            }
            c.asked = 0;
            self.echoes.push(key);
        }
        if let Some(text) = tally.refusal {
            self.refusals += 1;
            self.first_refusal.get_or_insert(text);
        }
        match tally.reply {
            Some(bytes) => self.answer(key, bytes),
            None => Ok(()),
        }
    }

    fn end(&mut self, key: usize) -> Result<()> {
        let c = &mut self.connections[key];
        c.open = false;
        self.closed += 1;
        self.poller.delete(&c.stream)
    }
}
