//! The report: one Markdown table a workload and one for the gates.
use crate::bench::{Plan, Results};
use crate::gates::Verdict;
use crate::server::Server;
use std::fmt::Write;

/// A column: heading, figure, decimals.
type Column = (&'static str, &'static str, usize);

const DELIVERIES: &[Column] = &[
    ("CPU s per million", "cpu_s_per_million", 2),
    ("deliveries/s", "deliveries_per_s", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 2),
    ("server cores", "server_cores", 2),
    ("RSS MB", "resident_mb", 1),
    ("faults", "faults", 0),
    ("other cores", "other_cores", 2),
];

const STALLED: &[Column] = &[
    ("CPU s per million", "cpu_s_per_million", 2),
    ("RSS growth MB", "growth_mb", 1),
    ("peak MB", "growth_peak_mb", 1),
    ("others' p99 ms", "p99_ms", 2),
    ("against before", "p99_ratio", 2),
    ("stalled closed", "stalled_closed", 0),
    ("close code", "stalled_close_code", 0),
    ("caught up whole", "stalled_caught_up", 0),
    ("frozen actors", "actors_frozen", 0),
    ("longest timer silence s", "longest_silence_s", 1),
    ("mailbox", "mailbox_max", 0),
    ("faults", "faults", 0),
];

/// What is shown of a workload: its heading, the figure whose ratio counts, the columns.
fn layout(workload: &str) -> (&'static str, &'static str, &'static [Column]) {
    match workload {
        "s1-one" => ("S1: 1,000 subscribers, one broadcast at a time", "deliveries_per_s", DELIVERIES),
        "s1-burst" => ("S1: 1,000 subscribers, bursts of 8", "cpu_s_per_million", DELIVERIES),
        "s2-20" => ("S2: 1,000 conversations x 3 subscribers x 20 deltas/s", "cpu_s_per_million", DELIVERIES),
        "s2-50" => ("S2: 1,000 conversations x 3 subscribers x 50 deltas/s", "cpu_s_per_million", DELIVERIES),
        "dashboards" => ("Dashboards: 60 connections x 50 rooms x 50 deltas/s", "cpu_s_per_million", DELIVERIES),
        "idle" => (
            "Idle: 10,000 connections, authenticated and subscribed",
            "bytes_per_connection",
            &[
                ("bytes a connection", "bytes_per_connection", 0),
                ("process MB", "resident_mb", 1),
                ("empty MB", "empty_mb", 1),
                ("CPU µs a handshake", "cpu_us_per_handshake", 1),
                ("handshakes/s", "handshakes_per_s", 0),
                ("idle CPU %", "idle_cpu_percent", 2),
                ("closed", "closed", 0),
            ],
        ),
        "stalled" => {
            ("Stalled: 10 of 1,000 subscribers stop reading, 4 KiB payloads, 110/s", "cpu_s_per_million", STALLED)
        }
        "frozen" => (
            "What a stalled reader does to its actor: 10 of 100 stop reading, 16 KiB payloads, 110/s",
            "cpu_s_per_million",
            STALLED,
        ),
        _ => (
            "Echo: 200 connections, 150 requests/s each",
            "cpu_us_per_request",
            &[
                ("CPU µs a request", "cpu_us_per_request", 2),
                ("requests/s", "requests_per_s", 0),
                ("p50 ms", "p50_ms", 2),
                ("p99 ms", "p99_ms", 2),
                ("late", "late", 0),
                ("faults", "faults", 0),
                ("other cores", "other_cores", 2),
            ],
        ),
    }
}

/// The whole report.
pub fn markdown(plan: &Plan, servers: &[Server], r: &Results, verdicts: &[Verdict], notes: &[String]) -> String {
    let mut t = String::from("# Benchmark\n\n");
    let rounds = if plan.rounds == 1 { "one round".to_owned() } else { format!("medians of {} rounds", plan.rounds) };
    let _ = writeln!(
        t,
        "{rounds}; every run on a fresh process; ratios are Switchboard's figure divided by the row's, in the same round.\n"
    );
    for note in notes {
        let _ = writeln!(t, "{note}\n");
    }
    for w in &plan.workloads {
        workload(&mut t, w.name, servers, r);
    }
    errors(&mut t, r);
    gates(&mut t, verdicts);
    t
}

fn workload(t: &mut String, name: &str, servers: &[Server], r: &Results) {
    let (heading, primary, columns) = layout(name);
    // a column that no server fills says nothing
    let filled = |c: &&Column| servers.iter().any(|s| r.median(name, *s, c.1).is_some());
    let columns: Vec<&Column> = columns.iter().filter(filled).collect();
    let _ = write!(t, "## {heading}\n\n| server | Switchboard ÷ it |");
    for c in &columns {
        let _ = write!(t, " {} |", c.0);
    }
    let _ = write!(t, "\n|---|---|{}\n", "---|".repeat(columns.len()));
    for &s in servers.iter().filter(|s| s.takes(name)) {
        let ratio = r.ratio(name, Server::Switchboard, s, primary);
        let _ = write!(t, "| {} | {} |", s.title(), shown(ratio, 2));
        for c in &columns {
            // faults are never averaged away
            let value = if c.1 == "faults" || c.1 == "closed" { r.worst(name, s, c.1) } else { r.median(name, s, c.1) };
            let _ = write!(t, " {} |", shown(value, c.2));
        }
        t.push('\n');
    }
    t.push('\n');
}

fn errors(t: &mut String, r: &Results) {
    let failed: Vec<_> = r.0.iter().filter_map(|o| Some((o, o.figures.as_ref().err()?))).collect();
    if failed.is_empty() {
        return;
    }
    t.push_str("## Runs that ended in an error\n\n");
    for (o, e) in failed {
        let _ = writeln!(t, "- {}, {}, round {}: {e}", o.server.title(), o.workload, o.round + 1);
    }
    t.push('\n');
}

fn gates(t: &mut String, verdicts: &[Verdict]) {
    t.push_str("## Gates\n\n| gate | measured | gate | aim | verdict |\n|---|---|---|---|---|\n");
    for v in verdicts {
        let sign = if v.more { "≥" } else { "≤" };
        let word = match v.passed {
            Some(true) => "PASS",
            Some(false) => "MISS",
            None => "not measured",
        };
        let _ = writeln!(t, "| {} | {} | {sign} {} | {sign} {} | {word} |", v.what, shown(v.value, 2), v.gate, v.aim);
    }
}

fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.decimals$}"))
}
