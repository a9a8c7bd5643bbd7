//! Idle: what a connection that is authenticated and subscribed costs in memory, and its handshake in processor time.
use super::Workload;
use crate::clock;
use crate::connection::{Target, Want, connect};
use crate::dialect::Dialect;
use crate::fault::Result;
use crate::figures::Figures;
use crate::process;
use crate::receiver::Receiver;
use std::time::Duration;

/// Subscribers of one channel.
const EACH: u32 = 3;

pub fn run(w: &Workload, target: &Target, dialect: &Dialect, out: &mut Figures) -> Result<()> {
    let want = |i: usize| {
        let channel = i as u32 / EACH;
        Want::subscriber(channel as usize % target.organizations(), channel..channel + 1, 1)
    };
    // a first connection of each organization, thrown away: what is set up only once is no connection's cost
    drop(connect(target, dialect, (0..target.organizations()).map(|i| want(i * EACH as usize)).collect())?);
    std::thread::sleep(Duration::from_millis(500));
    let n = w.connections as f64;
    let (memory, cpu, start) = (process::resident_bytes(target.pid)?, process::cpu_seconds(target.pid)?, clock::now());
    let connections = connect(target, dialect, (0..w.connections).map(want).collect())?;
    let took = clock::since(start);
    out.number("connections", n);
    out.number("handshakes_per_s", n / took);
    out.number("cpu_us_per_handshake", (process::cpu_seconds(target.pid)? - cpu) * 1e6 / n);
    let mut rx = Receiver::new(dialect, connections)?;
    rx.run_for(2.0)?;
    let cpu = process::cpu_seconds(target.pid)?;
    rx.run_for(w.seconds)?;
    out.number("idle_cpu_percent", (process::cpu_seconds(target.pid)? - cpu) / w.seconds * 100.0);
    let resident = process::resident_bytes(target.pid)?;
    out.number("empty_mb", memory as f64 / 1048576.0);
    out.number("resident_mb", resident as f64 / 1048576.0);
    out.number("bytes_per_connection", (resident as f64 - memory as f64) / n);
    out.faults("", rx.faults(0..w.connections));
    out.trouble(&rx);
    Ok(())
}
