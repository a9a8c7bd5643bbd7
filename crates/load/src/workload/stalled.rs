//! Stalled readers: some subscribers of a busy channel stop reading; what that costs the server and the others.
use super::{Workload, bystander};
use crate::clock;
use crate::connection::{Connection, Target, Want, connect};
use crate::dialect::Dialect;
use crate::fault::{Result, While, fault};
use crate::figures::{Figures, Meter, deliveries};
use crate::probe;
use crate::process;
use crate::publisher::{Plan, Publisher};
use crate::receiver::Receiver;
use crate::sequence::Faults;

/// Receive buffer of those who will stall, bytes: else the kernel takes some megabytes for each before the
/// server sees anything.
const SMALL_BUFFER: usize = 32 * 1024;
/// How long all read, before some stop, seconds.
const BEFORE: f64 = 5.0;
const MB: f64 = 1048576.0;

pub fn run(w: &Workload, target: &Target, dialect: &Dialect, out: &mut Figures) -> Result<()> {
    let n = w.connections;
    if w.stalled >= n || w.rate > super::FRAMES_PER_CONNECTION {
        return fault("more must read than stall, and one publisher sends at most 150 frames a second");
    }
    let readers = n - w.stalled;
    let (mut rx, plan) = set_up(w, target, dialect)?;
    let publisher = Publisher::start(Dialect::new(target.wire), plan);
    rx.run_for(w.warm)?;

    // all read: what the others' latency is compared with
    rx.begin();
    rx.run_for(w.seconds.min(BEFORE))?;
    out.latencies("before_", &rx.latencies);

    for key in readers..n {
        rx.stall(key)?;
    }
    rx.begin();
    let meter = Meter::start(target)?;
    let grown = watch(w, target, &mut rx)?;
    deliveries(out, &meter, &rx)?;
    rx.recording = false;
    let (before, during) = (out.get("before_p99_ms"), out.get("p99_ms"));
    if let (Some(before), Some(during)) = (before, during) {
        out.number("p99_ratio", during / before.max(0.001));
    }
    out.number("stalled", w.stalled as f64);
    out.number("growth_mb", grown.last);
    out.number("growth_peak_mb", grown.peak);

    let last = publisher.finish()?;
    super::settle(&mut rx, 0..readers, &|_, _| last[0])?;
    // only now: while it is asked nobody reads here, and a busy server's other actors would stand still too
    if let Some(path) = &target.stats {
        actors(target, path, out)?;
    }
    let closed_readers = rx.closed;
    let mut faults = rx.faults(0..readers);
    faults.add(rx.faults(n..rx.connections.len()));
    out.faults("", faults);
    out.trouble(&rx);
    out.number("closed", closed_readers as f64);
    fates(&mut rx, readers..n, last[0], out)
}

/// The subscribers, of whom the last may stall, then those who are there beside them, then the publisher.
fn set_up<'d>(w: &Workload, target: &Target, dialect: &'d Dialect) -> Result<(Receiver<'d>, Plan)> {
    let (n, readers) = (w.connections, w.connections - w.stalled);
    let wants = (0..n)
        .map(|i| {
            let receive_buffer = (i >= readers).then_some(SMALL_BUFFER);
            Want { receive_buffer, ..Want::subscriber(0, 0..1, 1) }
        })
        .collect();
    let mut all = connect(target, dialect, wants)?;
    all.extend(bystander(target, dialect)?);
    let publishers = connect(target, dialect, vec![Want::publisher(0)])?;
    let streams = publishers.iter().map(|p| p.stream.try_clone()).collect::<std::io::Result<_>>().doing("publisher")?;
    let first = all.len();
    all.extend(publishers);
    let mut rx = Receiver::new(dialect, all)?;
    let outbox = rx.publishers_from(first);
    rx.run_for(0.3)?;
    let plan = Plan { streams, publisher_of: vec![0], rate: w.rate, payload: w.payload, outbox };
    Ok((rx, plan))
}

struct Growth {
    last: f64,
    peak: f64,
}

/// Runs on while some stall; how far the server's memory grew, MB.
fn watch(w: &Workload, target: &Target, rx: &mut Receiver<'_>) -> Result<Growth> {
    let start = clock::now();
    let memory = process::resident_bytes(target.pid)? as f64;
    let mut grown = Growth { last: 0.0, peak: 0.0 };
    while clock::since(start) < w.seconds {
        rx.run_for(0.25)?;
        grown.last = (process::resident_bytes(target.pid)? as f64 - memory) / MB;
        grown.peak = grown.peak.max(grown.last);
    }
    Ok(grown)
}

/// What the server's own actors say: how many have stood still, for how long, and what waits for them.
fn actors(target: &Target, path: &str, out: &mut Figures) -> Result<()> {
    let stats = probe::get_json(target.address, path)?;
    for name in ["actors_frozen", "longest_silence_s", "mailbox_max"] {
        out.number(name, stats[name].as_f64().unwrap_or(f64::NAN));
    }
    Ok(())
}

/// Reads again from those who stalled: who was closed, with which code, and whether what they got is whole.
fn fates(rx: &mut Receiver<'_>, keys: std::ops::Range<usize>, last: u32, out: &mut Figures) -> Result<()> {
    for key in keys.clone() {
        rx.resume(key)?;
    }
    let start = clock::now();
    let sent = |_: u32, _: u32| last;
    let over = |c: &Connection| !c.open || c.checker.complete(&sent);
    while clock::since(start) < 5.0 && !rx.connections[keys.clone()].iter().all(over) {
        rx.run_for(0.05)?;
    }
    let stalled = &rx.connections[keys];
    let closed = stalled.iter().filter(|c| !c.open).count();
    out.number("stalled_closed", closed as f64);
    if let Some(code) = stalled.iter().find_map(|c| c.close_code) {
        out.number("stalled_close_code", code.into());
    }
    let whole = stalled.iter().filter(|c| c.checker.complete(&sent) && c.checker.faults().total() == 0).count();
    out.number("stalled_caught_up", whole as f64);
    let mut faults = Faults::default();
    stalled.iter().for_each(|c| faults.add(c.checker.faults()));
    out.faults("stalled_", faults);
    Ok(())
}
