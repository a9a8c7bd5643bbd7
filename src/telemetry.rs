//! What the hub tells about itself: log lines on standard error, and metrics under the names in one table.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Format, Level, Log};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One row of the table of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// What it counts, its unit, its labels. No label ever holds an id, a path with ids, or anything a client made up.
    pub help: &'static str,
}

pub const BUILD_INFO: &str = "switchboard_build_info";
pub const HTTP_REQUESTS: &str = "switchboard_http_requests_total";
pub const HTTP_SECONDS: &str = "switchboard_http_request_seconds";
pub const REFUSALS: &str = "switchboard_auth_refusals_total";
pub const SIGN_INS: &str = "switchboard_sign_ins_total";
pub const MEMORY: &str = "process_resident_memory_bytes";
pub const OPEN_FILES: &str = "process_open_fds";
pub const MAX_FILES: &str = "process_max_fds";

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// All metrics of the hub: a name that does not stand here does not exist.
pub const METRICS: &[Metric] = &[
    metric(BUILD_INFO, Kind::Gauge, "1, with the version as a label"),
    metric(HTTP_REQUESTS, Kind::Counter, "HTTP requests answered, by method and status"),
    metric(HTTP_SECONDS, Kind::Histogram, "seconds from a request's head to its answer's head"),
    metric(REFUSALS, Kind::Counter, "credentials refused, by code"),
    metric(SIGN_INS, Kind::Counter, "sign-in links used"),
    metric(MEMORY, Kind::Gauge, "resident memory of the process, in bytes"),
    metric(OPEN_FILES, Kind::Gauge, "open files of the process"),
    metric(MAX_FILES, Kind::Gauge, "files the process may open"),
];

/// Whether lines are written as JSON: as set, or because nobody sits in front of them.
pub fn is_json(log: &Log) -> bool {
    match log.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    }
}

/// Starts logging to standard error. Called once, first thing; a second call changes nothing.
///
/// The level is that of the hub's own lines. Libraries stay at `warn`: at `debug` some print whole request heads,
/// tokens included.
pub fn start_logging(log: &Log) {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let libraries = if log.level == Level::Error { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{libraries},switchboard={level}"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if is_json(log) {
        registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init()
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let said = panic.payload_as_str().unwrap_or("no text");
            tracing::error!(place, said, "panic");
        }));
    }
}

/// Makes the recorder that `/metrics` renders. Called once.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    const SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(HTTP_SECONDS.to_owned()), &SECONDS)?
        .install_recorder()?;
    for row in METRICS {
        match row.kind {
            Kind::Counter => metrics::describe_counter!(row.name, row.help),
            Kind::Gauge => metrics::describe_gauge!(row.name, row.help),
            Kind::Histogram => metrics::describe_histogram!(row.name, row.help),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Folds what histograms gathered, every five seconds and without end: unread metrics must not grow.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}

/// Prometheus text, with the process's own numbers as they are now.
pub fn render(handle: &PrometheusHandle) -> String {
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        if let Some(kibibytes) = kibibytes {
            metrics::gauge!(MEMORY).set(kibibytes * 1024.0);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!(OPEN_FILES).set(open.count() as f64);
    }
    metrics::gauge!(MAX_FILES).set(open_files_limit() as f64);
    handle.render()
}

/// Files the process may open now.
pub fn open_files_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Raises the limit on open files as far as it goes without asking anybody; returns it.
pub fn raise_open_files_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit on open files stays as it is");
        }
    }
    open_files_limit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_stands_once_and_says_what_it_is() {
        for (position, row) in METRICS.iter().enumerate() {
            assert!(METRICS[..position].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
            assert!(!row.help.is_empty());
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
        }
    }
}
