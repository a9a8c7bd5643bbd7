//! S1: one channel, many subscribers, as fast as the server delivers (a closed loop of `window` publishes under way).
use super::{TURN_TAKERS, Workload, bystander, settle};
use crate::clock;
use crate::connection::{Target, Want, connect, write_all};
use crate::dialect::Dialect;
use crate::fault::{Result, While, fault};
use crate::figures::{Figures, Meter, deliveries};
use crate::payload::{Payload, Stamp};
use crate::receiver::Receiver;
use std::net::TcpStream;

/// Publishers that take turns, one at each refill of the window.
struct Loop<'a> {
    dialect: &'a Dialect,
    streams: Vec<TcpStream>,
    last: Vec<u32>,
    turn: usize,
    published: u64,
    payload: Payload,
    scratch: Vec<u8>,
    frames: Vec<u8>,
}

impl Loop<'_> {
    /// Publishes `n` times at once through the next publisher.
    fn publish(&mut self, n: u64) -> Result<()> {
        self.turn = (self.turn + 1) % self.streams.len();
        self.frames.clear();
        for _ in 0..n {
            self.last[self.turn] += 1;
            let stamp = Stamp { at: clock::now(), publisher: self.turn as u32, channel: 0, seq: self.last[self.turn] };
            self.dialect.publish(0, self.payload.stamped(stamp), &mut self.scratch, &mut self.frames);
        }
        self.published += n;
        write_all(&self.streams[self.turn], &self.frames)
    }
}

pub fn run(w: &Workload, target: &Target, dialect: &Dialect, out: &mut Figures) -> Result<()> {
    let n = w.connections;
    let wants = (0..n).map(|_| Want::subscriber(0, 0..1, TURN_TAKERS)).collect();
    let mut all = connect(target, dialect, wants)?;
    all.extend(bystander(target, dialect)?);
    let publishers = connect(target, dialect, (0..TURN_TAKERS).map(|_| Want::publisher(0)).collect())?;
    let streams: Vec<TcpStream> =
        publishers.iter().map(|p| p.stream.try_clone()).collect::<std::io::Result<_>>().doing("publishers")?;
    all.extend(publishers);
    let mut rx = Receiver::new(dialect, all)?;
    rx.run_for(0.3)?;
    let mut publishing = Loop {
        dialect,
        last: vec![0; streams.len()],
        streams,
        turn: 0,
        published: 0,
        payload: Payload::new(w.payload),
        scratch: Vec::new(),
        frames: Vec::new(),
    };
    out.number("connections", n as f64);
    out.number("window", w.window as f64);
    let mut before = 0;
    turn_over(w, &mut rx, &mut publishing, &mut before, w.warm)?;
    before += rx.delivered;
    rx.begin();
    let meter = Meter::start(target)?;
    turn_over(w, &mut rx, &mut publishing, &mut before, w.seconds)?;
    deliveries(out, &meter, &rx)?;
    rx.recording = false;
    let last = publishing.last;
    settle(&mut rx, 0..n, &|_, writer| last[writer as usize])?;
    let everyone = 0..rx.connections.len();
    out.faults("", rx.faults(everyone));
    out.trouble(&rx);
    Ok(())
}

/// Keeps the window full for `seconds`; `before` deliveries came before the receiver's own count.
fn turn_over(w: &Workload, rx: &mut Receiver<'_>, p: &mut Loop<'_>, before: &mut u64, seconds: f64) -> Result<()> {
    let start = clock::now();
    let (mut moved, mut seen) = (start, rx.delivered);
    while clock::since(start) < seconds {
        let subscribers = w.connections as u64;
        let complete = (*before + rx.delivered) / subscribers;
        let room = (complete + w.window).saturating_sub(p.published);
        if room > 0 {
            p.publish(room)?;
        }
        rx.turn(50)?;
        if rx.delivered != seen {
            (moved, seen) = (clock::now(), rx.delivered);
        } else if clock::since(moved) > 5.0 {
            let why = rx.first_refusal.clone().unwrap_or_else(|| "deliveries were lost".into());
            return fault(format!("nothing was delivered for five seconds: {why}"));
        }
    }
    Ok(())
}
