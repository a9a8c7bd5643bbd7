//! The workloads: what each one does, its usual sizes, and one function that runs any of them.
mod echo;
mod fanout;
mod idle;
mod rooms;
mod stalled;

use crate::clock;
use crate::connection::{Connection, Target, Want, connect};
use crate::dialect::Dialect;
use crate::fault::{Result, fault};
use crate::figures::Figures;
use crate::receiver::Receiver;

/// Frames a second that one publishing or asking connection sends at most: hubs limit this, Switchboard to 200 by default.
pub const FRAMES_PER_CONNECTION: f64 = 150.0;
/// Publishers of the closed loop, taking turns: together they may publish some 6,000 times a second.
const TURN_TAKERS: u32 = 40;
/// A run that has ended waits for what is still under way: so long at most, and so long without a delivery, seconds.
const LAST_DELIVERIES: (f64, f64) = (60.0, 4.0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fanout,
    Rooms,
    Idle,
    Stalled,
    Echo,
}

/// A workload with its sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    pub name: &'static str,
    pub kind: Kind,
    /// Connections: subscribers of the one channel, idle ones, or those that ask.
    pub connections: usize,
    /// Publishes under way at once (fan-out, a closed loop).
    pub window: u64,
    /// Channels (rooms).
    pub rooms: u32,
    /// Subscribers of each channel (rooms).
    pub subscribers: usize,
    /// Channels of one connection (rooms).
    pub rooms_each: u32,
    /// A second: publishes on each channel, or requests on each connection; 0 asks again as soon as the answer is there.
    pub rate: f64,
    /// Bytes of one payload.
    pub payload: usize,
    /// Connections that stop reading.
    pub stalled: usize,
    /// Measured, seconds.
    pub seconds: f64,
    /// Run before measuring, seconds.
    pub warm: f64,
}

impl Workload {
    const BASE: Workload = Workload {
        name: "",
        kind: Kind::Fanout,
        connections: 1000,
        window: 1,
        rooms: 1000,
        subscribers: 3,
        rooms_each: 1,
        rate: 20.0,
        payload: 128,
        stalled: 0,
        seconds: 5.0,
        warm: 1.5,
    };

    /// All workloads in the order in which they are run and shown.
    pub fn all() -> Vec<Workload> {
        let base = Workload::BASE;
        let rooms = Workload { kind: Kind::Rooms, ..base.clone() };
        vec![
            Workload { name: "s1-one", ..base.clone() },
            Workload { name: "s1-burst", window: 8, ..base.clone() },
            Workload { name: "s2-20", ..rooms.clone() },
            Workload { name: "s2-50", rate: 50.0, ..rooms.clone() },
            Workload { name: "dashboards", rate: 50.0, rooms_each: 50, ..rooms },
            Workload { name: "idle", kind: Kind::Idle, connections: 10_000, seconds: 3.0, ..base.clone() },
            Workload {
                name: "stalled",
                kind: Kind::Stalled,
                rate: 110.0,
                payload: 4096,
                stalled: 10,
                // the kernel alone takes some 4 MB for each of them, ten seconds' worth, before the server notices
                seconds: 25.0,
                ..base.clone()
            },
            Workload {
                // the kernel's buffers are full in two or three seconds, before any heartbeat runs out
                name: "frozen",
                kind: Kind::Stalled,
                connections: 100,
                rate: 110.0,
                payload: 16_384,
                stalled: 10,
                seconds: 20.0,
                ..base.clone()
            },
            Workload { name: "echo", kind: Kind::Echo, connections: 200, rate: 150.0, ..base },
        ]
    }

    /// Errors: no workload has this name.
    pub fn named(name: &str) -> Result<Workload> {
        match Self::all().into_iter().find(|w| w.name == name) {
            Some(w) => Ok(w),
            None => {
                let names: Vec<&str> = Self::all().iter().map(|w| w.name).collect();
                fault(format!("no workload {name}: there are {}", names.join(", ")))
            }
        }
    }

    /// Runs against a server that is up. Errors: it refused, closed, or did not keep going; faults of
    /// what it delivered are no errors but figures.
    pub fn run(&self, target: &Target) -> Result<Figures> {
        target.check()?;
        let dialect = Dialect::new(target.wire);
        let mut out = Figures::default();
        out.text("workload", self.name);
        match self.kind {
            Kind::Fanout => fanout::run(self, target, &dialect, &mut out),
            Kind::Rooms => rooms::run(self, target, &dialect, &mut out),
            Kind::Idle => idle::run(self, target, &dialect, &mut out),
            Kind::Stalled => stalled::run(self, target, &dialect, &mut out),
            Kind::Echo => echo::run(self, target, &dialect, &mut out),
        }?;
        Ok(out)
    }
}

/// With two organizations: a listener of the other one on the same channel name, which must hear nothing.
fn bystander(target: &Target, dialect: &Dialect) -> Result<Vec<Connection>> {
    if target.organizations() < 2 {
        return Ok(Vec::new());
    }
    let mut want = Want::subscriber(1, 0..1, 1);
    want.checker = crate::sequence::Checker::silent();
    connect(target, dialect, vec![want])
}

/// Reads until every connection in `keys` has all that `sent(channel, writer)` says, or too long has passed;
/// then counts what is missing.
fn settle(rx: &mut Receiver<'_>, keys: std::ops::Range<usize>, sent: &dyn Fn(u32, u32) -> u32) -> Result<()> {
    let (start, mut moved, mut seen) = (clock::now(), clock::now(), rx.delivered);
    while clock::since(start) < LAST_DELIVERIES.0 && clock::since(moved) < LAST_DELIVERIES.1 {
        let done = |c: &Connection| !c.open || c.checker.complete(sent);
        if rx.connections[keys.clone()].iter().all(done) {
            break;
        }
        rx.run_for(0.05)?;
        if rx.delivered != seen {
            (moved, seen) = (clock::now(), rx.delivered);
        }
    }
    for c in &mut rx.connections[keys] {
        c.checker.end(sent);
    }
    Ok(())
}
