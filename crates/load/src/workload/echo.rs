//! Echo: the cheapest question on many connections, at a steady rate or again as soon as the answer is there.
use super::Workload;
use crate::clock;
use crate::connection::{Target, Want, connect, write_all};
use crate::dialect::Dialect;
use crate::fault::{Result, fault};
use crate::figures::{Figures, Meter};
use crate::receiver::Receiver;

struct Asking {
    frame: Vec<u8>,
    asked: u64,
    answered: u64,
    /// Requests that were due while that connection's last one was still unanswered.
    late: u64,
}

pub fn run(w: &Workload, target: &Target, dialect: &Dialect, out: &mut Figures) -> Result<()> {
    let n = w.connections;
    let organizations = target.organizations();
    let connections = connect(target, dialect, (0..n).map(|i| Want::publisher(i % organizations)).collect())?;
    let mut rx = Receiver::new(dialect, connections)?;
    rx.run_for(0.2)?;
    let mut a = Asking { frame: dialect.echo(), asked: 0, answered: 0, late: 0 };
    ask_for(w, w.warm, &mut rx, &mut a)?;
    let before = a.answered;
    a.late = 0;
    rx.begin();
    let meter = Meter::start(target)?;
    ask_for(w, w.seconds, &mut rx, &mut a)?;
    let (elapsed, answered) = (meter.seconds(), (a.answered - before) as f64);
    let server = meter.stop(out)?;
    rx.recording = false;
    out.number("connections", n as f64);
    out.number("requests_per_s", answered / elapsed);
    out.number("cpu_us_per_request", server / answered.max(1.0) * 1e6);
    out.number("late", a.late as f64);
    out.latencies("", &rx.latencies);
    // one answer to each question, and nothing else
    let start = clock::now();
    while a.answered < a.asked && clock::since(start) < 5.0 {
        rx.run_for(0.02)?;
        a.answered += rx.echoes.drain(..).count() as u64;
    }
    let mut faults = rx.faults(0..n);
    faults.missing += a.asked.saturating_sub(a.answered);
    faults.backward += a.answered.saturating_sub(a.asked);
    out.faults("", faults);
    out.trouble(&rx);
    Ok(())
}

fn ask(rx: &mut Receiver<'_>, key: usize, a: &mut Asking) -> Result<()> {
    let c = &mut rx.connections[key];
    if !c.open {
        return fault("the server closed a connection that only asked");
    }
    c.asked = clock::now();
    a.asked += 1;
    write_all(&c.stream, &a.frame)
}

fn ask_for(w: &Workload, seconds: f64, rx: &mut Receiver<'_>, a: &mut Asking) -> Result<()> {
    let start = clock::now();
    let per_second = w.rate * w.connections as f64;
    let mut due = 0u64;
    while clock::since(start) < seconds {
        if w.rate > 0.0 {
            let now_due = (clock::since(start) * per_second) as u64;
            for i in due..now_due {
                let key = (i % w.connections as u64) as usize;
                if rx.connections[key].asked > 0 {
                    a.late += 1;
                } else {
                    ask(rx, key, a)?;
                }
            }
            due = now_due;
        } else {
            for key in 0..w.connections {
                if rx.connections[key].asked == 0 {
                    ask(rx, key, a)?;
                }
            }
        }
        rx.turn(1)?;
        a.answered += rx.echoes.drain(..).count() as u64;
    }
    Ok(())
}
