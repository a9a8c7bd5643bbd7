//! Numbers that the parts keep for themselves, as `/metrics` shows them. Read when somebody asks, and only then.

use std::sync::Arc;

use metrics::{counter, gauge};

use crate::actors::registry::Directory;
use crate::store::Store;
use crate::telemetry::*;
use crate::transport::Counters;

/// Connections, frames, bytes, and what was cut.
pub fn connections(metrics: &Metrics, counters: Arc<Counters>) {
    let workers: Vec<String> = (0..counters.by_worker().len()).map(|worker| worker.to_string()).collect();
    metrics.sample(move || {
        let open = counters.open_connections();
        gauge!(CONNECTIONS, "kind" => "socket").set(open.upgraded as f64);
        gauge!(CONNECTIONS, "kind" => "http").set(open.http as f64);
        counter!(TURNED_AWAY).absolute(counters.turned_away());
        let total = counters.total();
        counter!(FRAMES_IN).absolute(total.frames_in);
        counter!(FRAMES_OUT).absolute(total.frames_out);
        counter!(BYTES_IN).absolute(total.bytes_in);
        counter!(BYTES_OUT).absolute(total.bytes_out);
        counter!(CUT, "reason" => "backpressure").absolute(total.closed_backpressure);
        counter!(CUT, "reason" => "protocol").absolute(total.closed_protocol);
        counter!(CUT, "reason" => "silence").absolute(total.closed_silent);
        for (worker, reading) in workers.iter().zip(counters.by_worker()) {
            gauge!(QUEUED_BYTES, "worker" => worker.clone()).set(reading.queued_bytes as f64);
        }
    });
}

/// Conversations in memory.
pub fn conversations(metrics: &Metrics, directory: Directory) {
    metrics.sample(move || gauge!(CONVERSATIONS).set(directory.len() as f64));
}

/// What waits for the store's writer.
pub fn store(metrics: &Metrics, store: &Store) {
    let store = store.clone();
    metrics.sample(move || {
        let depth = store.queue();
        gauge!(STORE_QUEUE).set(depth.jobs as f64);
        gauge!(STORE_QUEUE_BYTES).set(depth.bytes as f64);
    });
}
