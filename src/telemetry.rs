//! What the hub tells about itself: log lines on standard error, and metrics under the names in one table.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

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
pub const LIMITED: &str = "switchboard_limited_total";
pub const SIGN_INS: &str = "switchboard_sign_ins_total";
pub const CONNECTIONS: &str = "switchboard_connections";
pub const TURNED_AWAY: &str = "switchboard_connections_turned_away_total";
pub const CUT: &str = "switchboard_connections_cut_total";
pub const FRAMES_IN: &str = "switchboard_frames_in_total";
pub const FRAMES_OUT: &str = "switchboard_frames_out_total";
pub const BYTES_IN: &str = "switchboard_socket_bytes_in_total";
pub const BYTES_OUT: &str = "switchboard_socket_bytes_out_total";
pub const QUEUED_BYTES: &str = "switchboard_queued_bytes";
pub const LAGGED: &str = "switchboard_subscribers_lagged_total";
pub const CONVERSATIONS: &str = "switchboard_conversations";
pub const TURNS_RUNNING: &str = "switchboard_turns_running";
pub const TURNS_ENDED: &str = "switchboard_turns_ended_total";
pub const APPROVALS_PENDING: &str = "switchboard_approvals_pending";
pub const PROVIDER_REQUESTS: &str = "switchboard_provider_requests_total";
pub const PROVIDER_RETRIES: &str = "switchboard_provider_retries_total";
pub const FIRST_TOKEN_SECONDS: &str = "switchboard_first_token_seconds";
pub const STORE_QUEUE: &str = "switchboard_store_queue_jobs";
pub const STORE_QUEUE_BYTES: &str = "switchboard_store_queue_bytes";
pub const STORE_COMMIT_SECONDS: &str = "switchboard_store_commit_seconds";
pub const STORE_FAILURES: &str = "switchboard_store_commit_failures_total";
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
    metric(LIMITED, Kind::Counter, "what was refused because there was too much of it, by budget"),
    metric(SIGN_INS, Kind::Counter, "sign-in links used"),
    metric(CONNECTIONS, Kind::Gauge, "connections open now, by kind: socket or http"),
    metric(TURNED_AWAY, Kind::Counter, "connections turned away at accept: too many in all or from one address"),
    metric(CUT, Kind::Counter, "sockets the hub closed, by reason: backpressure, protocol or silence"),
    metric(FRAMES_IN, Kind::Counter, "messages that came in over sockets"),
    metric(FRAMES_OUT, Kind::Counter, "frames queued for sockets"),
    metric(BYTES_IN, Kind::Counter, "bytes read from sockets"),
    metric(BYTES_OUT, Kind::Counter, "bytes taken by sockets"),
    metric(QUEUED_BYTES, Kind::Gauge, "bytes that wait for sockets to take them, by worker"),
    metric(LAGGED, Kind::Counter, "times a subscriber fell behind and had to catch up"),
    metric(CONVERSATIONS, Kind::Gauge, "conversations in memory"),
    metric(TURNS_RUNNING, Kind::Gauge, "turns at work, those that wait for an approval included"),
    metric(TURNS_ENDED, Kind::Counter, "turns that ended, by state"),
    metric(APPROVALS_PENDING, Kind::Gauge, "approvals that nobody has answered yet"),
    metric(PROVIDER_REQUESTS, Kind::Counter, "answers asked of models, by provider and outcome"),
    metric(PROVIDER_RETRIES, Kind::Counter, "tries repeated before the first token, by provider"),
    metric(FIRST_TOKEN_SECONDS, Kind::Histogram, "seconds from asking a model to its first token, by provider"),
    metric(STORE_QUEUE, Kind::Gauge, "batches that wait for the store's writer"),
    metric(STORE_QUEUE_BYTES, Kind::Gauge, "bytes of rows that wait for the store's writer"),
    metric(STORE_COMMIT_SECONDS, Kind::Histogram, "seconds a transaction of the store's writer took"),
    metric(STORE_FAILURES, Kind::Counter, "transactions of the store's writer that failed"),
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
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if is_json(log) {
        registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init()
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let said = panic.payload_as_str().unwrap_or("no text");
            tracing::error!(place, said, "panic");
        }));
    }
}

/// What decides which lines are written.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Writes an error where somebody sends bytes that are no HTTP: anybody could fill the log with that.
const STRANGERS_NOISE: &str = "actix_http::h1::dispatcher";

fn filter(level: Level) -> EnvFilter {
    let libraries = if level == Level::Error { "error" } else { "warn" };
    EnvFilter::new(format!("{libraries},{STRANGERS_NOISE}=off,switchboard={}", level.name()))
}

/// Another level from the next line on.
pub fn set_level(level: Level) {
    if let Some(Err(error)) = FILTER.get().map(|handle| handle.reload(filter(level))) {
        tracing::warn!(%error, "the level of the log stays as it is");
    }
}

/// Upper bounds of buckets, in seconds.
const FAST: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];
const SLOW: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Hands numbers that somebody else keeps to the recorder.
type Sampler = Box<dyn Fn() + Send + Sync>;

/// What `/metrics` tells. Clones share everything.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    samplers: Arc<Mutex<Vec<Sampler>>>,
}

impl Metrics {
    /// Makes the process's recorder. Called once.
    pub fn start() -> Result<Self, BuildError> {
        let buckets = |name: &str| Matcher::Full(name.to_owned());
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(buckets(HTTP_SECONDS), &FAST)?
            .set_buckets_for_metric(buckets(STORE_COMMIT_SECONDS), &FAST)?
            .set_buckets_for_metric(buckets(FIRST_TOKEN_SECONDS), &SLOW)?
            .install_recorder()?;
        for row in METRICS {
            match row.kind {
                Kind::Counter => metrics::describe_counter!(row.name, row.help),
                Kind::Gauge => metrics::describe_gauge!(row.name, row.help),
                Kind::Histogram => metrics::describe_histogram!(row.name, row.help),
            }
        }
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        // What has not happened yet is zero, not absent.
        for name in [SIGN_INS, LAGGED, STORE_FAILURES] {
            metrics::counter!(name).absolute(0);
        }
        for name in [TURNS_RUNNING, APPROVALS_PENDING] {
            metrics::gauge!(name).set(0.0);
        }
        Ok(Self { handle, samplers: Arc::default() })
    }

    /// Has `sampler` called before each rendering: for numbers that are kept elsewhere and cheap to read.
    pub fn sample(&self, sampler: impl Fn() + Send + Sync + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// Folds what histograms gathered, every five seconds and without end: unread metrics must not grow.
    pub async fn upkeep(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// Prometheus text, with all numbers as they are now.
    pub fn render(&self) -> String {
        for sampler in self.samplers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sampler();
        }
        sample_process();
        self.handle.render()
    }
}

fn sample_process() {
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
