//! What `/metrics` says after a turn: text that a scraper takes, names of the table, numbers that fit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use switchboard::telemetry::{Kind, METRICS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::mock_http::{MockHttp, answer};
use crate::support::upstream::*;
use crate::support::{Client, Hub, HubOptions, run};

/// A series' name with its labels in order.
type Series = (String, Vec<(String, String)>);
type Samples = BTreeMap<Series, f64>;

async fn scrape(hub: &Hub) -> Samples {
    let mut socket = TcpStream::connect(&hub.address).await.expect("a connection");
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", hub.address);
    socket.write_all(request.as_bytes()).await.expect("it is sent");
    let mut whole = String::new();
    socket.read_to_string(&mut whole).await.expect("an answer");
    let (head, body) = whole.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    parse(body)
}

/// Reads the text format without forgiveness: families stand together, with help and type in front.
fn parse(body: &str) -> Samples {
    assert!(body.ends_with('\n'), "the last line ends too");
    let (mut samples, mut finished, mut family) = (Samples::new(), BTreeSet::new(), (String::new(), ""));
    let mut helped = String::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("a name and a text");
            assert!(!text.trim().is_empty(), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(helped, name, "help stands before type");
            let row = METRICS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} has no row"));
            let expected = match row.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            assert_eq!(kind, expected, "{name}");
            assert!(finished.insert(name.to_owned()), "{name} stands in two places");
            family = (name.to_owned(), expected);
        } else {
            let (key, value) = sample(line);
            let of_family = match family.1 {
                "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| key.0 == format!("{}{end}", family.0)),
                _ => key.0 == family.0,
            };
            assert!(of_family, "{line} stands under {}", family.0);
            assert!(samples.insert(key, value).is_none(), "twice: {line}");
        }
    }
    check_histograms(&samples);
    samples
}

fn sample(line: &str) -> (Series, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(value.is_finite() && value >= 0.0, "{line}");
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closed list of labels")),
        None => (series, ""),
    };
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    assert!(is_name(name), "{line}");
    let mut pairs = Vec::new();
    for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').expect("a label and its value");
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect("a quoted value");
        assert!(is_name(key) && !value.contains(['"', '\\', '\n']), "{line}");
        assert!(!value.contains("_01") && !value.contains("alice"), "an id is no label: {line}");
        pairs.push((key.to_owned(), value.to_owned()));
    }
    ((name.to_owned(), pairs), value)
}

/// Buckets rise, and the last one holds all.
fn check_histograms(samples: &Samples) {
    let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), count) in samples {
        let Some(base) = name.strip_suffix("_bucket") else { continue };
        let (bound, rest): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(key, _)| key == "le");
        let bound = match bound[0].1.as_str() {
            "+Inf" => f64::INFINITY,
            text => text.parse().expect("a bound"),
        };
        buckets.entry((base.to_owned(), rest)).or_default().push((bound, *count));
    }
    assert!(!buckets.is_empty());
    for ((base, labels), mut list) in buckets {
        list.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(list.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{base}: {list:?}");
        let last = list.last().expect("a bucket");
        assert_eq!((last.0, last.1), (f64::INFINITY, samples[&(format!("{base}_count"), labels)]), "{base}");
    }
}

fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: Vec<_> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let found = samples.get(&(name.to_owned(), labels));
    *found.unwrap_or_else(|| panic!("{name} is not there: {:#?}", samples.keys().collect::<Vec<_>>()))
}

#[test]
fn a_turn_is_counted_from_its_socket_to_its_commit() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let before = scrape(&hub).await;
        assert_eq!(value(&before, "switchboard_connections", &[("kind", "socket")]), 0.0);
        assert_eq!(value(&before, "switchboard_turns_running", &[]), 0.0);
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        let turn = client.say(&session, "hello").await;
        assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
        // What follows the turn's end has left the queues.
        let after = loop {
            let now = scrape(&hub).await;
            let waits = |name: &str| now.iter().filter(|((n, _), _)| n == name).map(|(_, v)| v).sum::<f64>();
            if waits("switchboard_queued_bytes") + waits("switchboard_store_queue_bytes") == 0.0 {
                break now;
            }
        };
        for (name, labels, expected) in [
            ("switchboard_connections", vec![("kind", "socket")], 1.0),
            ("switchboard_connections", vec![("kind", "http")], 1.0),
            ("switchboard_conversations", vec![], 1.0),
            ("switchboard_turns_running", vec![], 0.0),
            ("switchboard_approvals_pending", vec![], 0.0),
            ("switchboard_turns_ended_total", vec![("state", "completed")], 1.0),
            ("switchboard_provider_requests_total", vec![("provider", "demo"), ("outcome", "completed")], 1.0),
            ("switchboard_first_token_seconds_count", vec![("provider", "demo")], 1.0),
            ("switchboard_subscribers_lagged_total", vec![], 0.0),
            ("switchboard_connections_turned_away_total", vec![], 0.0),
            ("switchboard_connections_cut_total", vec![("reason", "backpressure")], 0.0),
            ("switchboard_store_commit_failures_total", vec![], 0.0),
            ("switchboard_store_queue_jobs", vec![], 0.0),
            ("switchboard_store_queue_bytes", vec![], 0.0),
            ("switchboard_queued_bytes", vec![("worker", "0")], 0.0),
            ("switchboard_queued_bytes", vec![("worker", "1")], 0.0),
        ] {
            assert_eq!(value(&after, name, &labels), expected, "{name} {labels:?}");
        }
        // Create, subscribe, send: three messages came in, and more frames than that went out.
        assert_eq!(value(&after, "switchboard_frames_in_total", &[]), 3.0);
        assert!(value(&after, "switchboard_frames_out_total", &[]) > 6.0);
        assert!(value(&after, "switchboard_socket_bytes_in_total", &[]) > 200.0);
        assert!(value(&after, "switchboard_socket_bytes_out_total", &[]) > 1000.0);
        assert!(value(&after, "switchboard_store_commit_seconds_count", &[]) >= 3.0);
        // Counters only grow.
        for (key, old) in before.iter().filter(|((name, _), _)| name.ends_with("_total")) {
            assert!(after[key] >= *old, "{key:?}");
        }
        client.close().await;
    });
}

#[test]
fn what_is_under_way_is_a_gauge() {
    run(async {
        let scripts = [asks(&calls(0, "a", "time", "{}")), begins(&says("So")), answers("Well.")];
        let model = MockHttp::start(scripts).await;
        let config = "[tools.time]\npolicy = \"ask\"";
        let (hub, mut client, session) = conversation(openai(&model).config(config)).await;
        let turn = client.say(&session, "what time is it").await;
        let asked = client.event("tool.approval_required").await;
        let waiting = scrape(&hub).await;
        assert_eq!(value(&waiting, "switchboard_turns_running", &[]), 1.0);
        assert_eq!(value(&waiting, "switchboard_approvals_pending", &[]), 1.0);
        client.call("tools.approve", json!({"requestId": asked["requestId"]})).await;
        client.find(|f| f["data"]["delta"] == "So").await;
        let running = scrape(&hub).await;
        assert_eq!(value(&running, "switchboard_turns_running", &[]), 1.0);
        assert_eq!(value(&running, "switchboard_approvals_pending", &[]), 0.0);
        client.call("messages.stop", json!({"sessionId": session, "turnId": turn})).await;
        let stopped = scrape(&hub).await;
        assert_eq!(value(&stopped, "switchboard_turns_running", &[]), 0.0);
        assert_eq!(value(&stopped, "switchboard_turns_ended_total", &[("state", "stopped")]), 1.0);
        let requests = "switchboard_provider_requests_total";
        assert_eq!(value(&stopped, requests, &[("provider", "openai"), ("outcome", "completed")]), 1.0);
        assert_eq!(value(&stopped, requests, &[("provider", "openai"), ("outcome", "cancelled")]), 1.0);
        assert_eq!(value(&stopped, "switchboard_first_token_seconds_count", &[("provider", "openai")]), 2.0);
    });
}

#[test]
fn a_turn_that_a_kill_cut_off_is_counted_after_it() {
    run(async {
        let mut model = MockHttp::start([begins(&says("So"))]).await;
        let (hub, mut client, session) = conversation(openai(&model)).await;
        client.say(&session, "hello").await;
        model.request().await;
        let hub = hub.kill_and_restart();
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        client.subscribe(&format!("session:{session}"), None).await;
        let after = scrape(&hub).await;
        assert_eq!(value(&after, "switchboard_turns_ended_total", &[("state", "interrupted")]), 1.0);
        assert_eq!(value(&after, "switchboard_turns_running", &[]), 0.0);
    });
}

#[test]
fn failures_are_counted_by_their_kind() {
    run(async {
        let busy = answer("529 Overloaded", "retry-after: 0\r\n", "{}");
        let denied = answer("401 Unauthorized", "", "{}");
        let model = MockHttp::start([busy.clone(), busy.clone(), busy, denied]).await;
        let (hub, mut client, session) = conversation(openai(&model)).await;
        for _ in 0..2 {
            let turn = client.say(&session, "hello").await;
            assert_eq!(until_end(&mut client, &turn).await.0["state"], "failed");
        }
        let after = scrape(&hub).await;
        let requests = "switchboard_provider_requests_total";
        assert_eq!(value(&after, requests, &[("provider", "openai"), ("outcome", "overloaded")]), 1.0);
        assert_eq!(value(&after, requests, &[("provider", "openai"), ("outcome", "credentials")]), 1.0);
        assert_eq!(value(&after, "switchboard_provider_retries_total", &[("provider", "openai")]), 2.0);
        assert_eq!(value(&after, "switchboard_turns_ended_total", &[("state", "failed")]), 2.0);
    });
}

#[test]
fn every_metric_stands_in_the_manual() {
    let manual =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).expect("it is there");
    let missing: Vec<&str> =
        METRICS.iter().map(|row| row.name).filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
