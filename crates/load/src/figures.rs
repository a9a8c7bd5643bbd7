//! What one run found: named numbers, one JSON object a line.
use crate::clock;
use crate::connection::Target;
use crate::fault::Result;
use crate::histogram::Histogram;
use crate::process;
use crate::receiver::Receiver;
use crate::sequence::Faults;
use serde_json::{Map, Value};

/// Named figures; units are in the names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(pub Map<String, Value>);

impl Figures {
    /// Notes a number, rounded to what can be told apart.
    pub fn number(&mut self, name: &str, value: f64) {
        let rounded = (value * 1000.0).round() / 1000.0;
        self.0.insert(name.to_owned(), Value::from(rounded));
    }

    pub fn text(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Value::String(value.into()));
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    pub fn get_text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub fn line(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    pub fn latencies(&mut self, prefix: &str, h: &Histogram) {
        let ms = |ns: u64| ns as f64 / clock::MS as f64;
        self.number(&format!("{prefix}p50_ms"), ms(h.quantile(0.5)));
        self.number(&format!("{prefix}p99_ms"), ms(h.quantile(0.99)));
        self.number(&format!("{prefix}p999_ms"), ms(h.quantile(0.999)));
        self.number(&format!("{prefix}max_ms"), ms(h.max()));
    }

    pub fn faults(&mut self, prefix: &str, f: Faults) {
        self.number(&format!("{prefix}faults"), f.total() as f64);
        for (name, n) in [
            ("gaps", f.gaps),
            ("missing", f.missing),
            ("backward", f.backward),
            ("foreign", f.foreign),
            ("numbering", f.numbering),
        ] {
            if n > 0 {
                self.number(&format!("{prefix}{name}"), n as f64);
            }
        }
    }

    /// What the receiver saw beside deliveries: connections that ended, refusals.
    pub fn trouble(&mut self, rx: &Receiver<'_>) {
        self.number("closed", rx.closed as f64);
        self.number("refusals", rx.refusals as f64);
        if let Some(text) = &rx.first_refusal {
            self.text("first_refusal", text.clone());
        }
    }
}

/// Processor time at the beginning of a measurement.
pub struct Meter {
    started: u64,
    server: f64,
    own: f64,
    machine: f64,
    pid: u32,
}

impl Meter {
    pub fn start(target: &Target) -> Result<Self> {
        Ok(Self {
            server: process::cpu_seconds(target.pid)?,
            own: process::own_cpu_seconds()?,
            machine: process::machine_seconds()?,
            started: clock::now(),
            pid: target.pid,
        })
    }

    pub fn seconds(&self) -> f64 {
        clock::since(self.started)
    }

    /// Notes who used how much; returns the server's processor seconds.
    pub fn stop(&self, out: &mut Figures) -> Result<f64> {
        let elapsed = self.seconds();
        let server = process::cpu_seconds(self.pid)? - self.server;
        let own = process::own_cpu_seconds()? - self.own;
        let machine = process::machine_seconds()? - self.machine;
        out.number("seconds", elapsed);
        out.number("server_cpu_s", server);
        out.number("server_cores", server / elapsed);
        out.number("generator_cores", own / elapsed);
        // what everybody else used meanwhile: the noise of this run
        out.number("other_cores", (machine - server - own) / elapsed);
        out.number("resident_mb", process::resident_bytes(self.pid)? as f64 / 1048576.0);
        Ok(server)
    }
}

/// Notes the figures of deliveries since [`Receiver::begin`].
pub fn deliveries(out: &mut Figures, meter: &Meter, rx: &Receiver<'_>) -> Result<()> {
    let elapsed = meter.seconds();
    let server = meter.stop(out)?;
    let n = rx.delivered as f64;
    out.number("deliveries_per_s", n / elapsed);
    if n > 0.0 {
        out.number("cpu_s_per_million", server / n * 1e6);
        out.number("messages_per_read", n / rx.reads.max(1) as f64);
        out.number("bytes_per_message", rx.bytes as f64 / n);
    }
    out.latencies("", &rx.latencies);
    Ok(())
}
