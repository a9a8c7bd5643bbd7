//! The gates: what Switchboard must reach and what it aims at, each measured in the run at hand.
use crate::bench::Results;
use crate::server::Server;
use crate::workload::Workload;

/// How a gate's value comes about.
enum Measure {
    /// Switchboard's figure over a peer's in the same round, median.
    Against(Server),
    /// Switchboard's own figure, median.
    Own,
    /// Switchboard's own figure, the largest of all rounds.
    Worst,
}

struct Gate {
    what: &'static str,
    workload: &'static str,
    figure: &'static str,
    measure: Measure,
    gate: f64,
    aim: f64,
    /// Larger is better.
    more: bool,
}

const fn gate(
    what: &'static str,
    workload: &'static str,
    figure: &'static str,
    measure: Measure,
    gate: f64,
    aim: f64,
) -> Gate {
    Gate { what, workload, figure, measure, gate, aim, more: false }
}

const COST: &str = "cpu_s_per_million";

/// Every gate in the order in which it is shown.
const GATES: [Gate; 19] = [
    gate("S2 20/s, CPU against Bun", "s2-20", COST, Measure::Against(Server::Bun), 1.15, 0.9),
    gate("S2 50/s, CPU against Bun", "s2-50", COST, Measure::Against(Server::Bun), 1.15, 0.9),
    gate("S2 20/s, CPU against nats-server", "s2-20", COST, Measure::Against(Server::Nats), 0.6, 0.45),
    gate("S2 20/s, CPU against Node ws", "s2-20", COST, Measure::Against(Server::Ws), 0.7, 0.5),
    gate("S2 20/s, CPU against Socket.IO", "s2-20", COST, Measure::Against(Server::SocketIo), 0.6, 0.4),
    gate("S2 20/s, p99 on an idle machine, ms", "s2-20", "p99_ms", Measure::Own, 2.0, 0.8),
    Gate {
        more: true,
        ..gate(
            "S1 one at a time, rate against Bun",
            "s1-one",
            "deliveries_per_s",
            Measure::Against(Server::Bun),
            0.85,
            1.0,
        )
    },
    gate("S1 bursts of 8, CPU s per million", "s1-burst", COST, Measure::Own, 0.8, 0.55),
    gate("dashboards, CPU s per million", "dashboards", COST, Measure::Own, 1.2, 0.85),
    gate("dashboards, CPU against Bun", "dashboards", COST, Measure::Against(Server::Bun), 1.2, 0.85),
    gate("idle, resident bytes a connection", "idle", "bytes_per_connection", Measure::Own, 3000.0, 2000.0),
    gate("idle, whole process at 10,000, MB", "idle", "resident_mb", Measure::Own, 50.0, 30.0),
    gate("handshake with token, CPU µs", "idle", "cpu_us_per_handshake", Measure::Own, 70.0, 45.0),
    gate("ten stalled of 1,000, growth, MB", "stalled", "growth_peak_mb", Measure::Own, 10.0, 5.0),
    gate("ten stalled, the others' p99 against before", "stalled", "p99_ratio", Measure::Own, 1.5, 1.1),
    gate("echo, CPU against Bun", "echo", "cpu_us_per_request", Measure::Against(Server::Bun), 1.2, 1.0),
    gate("faults of sequence, all workloads", "", "faults", Measure::Worst, 0.0, 0.0),
    gate("refusals, all workloads", "", "refusals", Measure::Worst, 0.0, 0.0),
    gate("readers cut off, all workloads", "", "closed", Measure::Worst, 0.0, 0.0),
];

/// A gate's value and whether it holds; `None` where something was not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub what: &'static str,
    pub value: Option<f64>,
    pub gate: f64,
    pub aim: f64,
    pub more: bool,
    pub passed: Option<bool>,
}

/// Every gate's verdict on these results. A run of Switchboard's that ended in an error misses its gates.
pub fn judge(results: &Results) -> Vec<Verdict> {
    GATES.iter().map(|g| verdict(g, results)).collect()
}

fn verdict(g: &Gate, r: &Results) -> Verdict {
    let ours = Server::Switchboard;
    let value = match g.measure {
        Measure::Against(peer) => r.ratio(g.workload, ours, peer, g.figure),
        Measure::Own => r.median(g.workload, ours, g.figure),
        Measure::Worst => {
            let all = Workload::all();
            all.iter().filter_map(|w| r.worst(w.name, ours, g.figure)).reduce(f64::max)
        }
    };
    let failed =
        r.0.iter()
            .any(|o| o.server == ours && o.figures.is_err() && (g.workload.is_empty() || o.workload == g.workload));
    let within = |v: f64| if g.more { v >= g.gate } else { v <= g.gate };
    let passed = if failed { Some(false) } else { value.map(within) };
    Verdict { what: g.what, value, gate: g.gate, aim: g.aim, more: g.more, passed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Outcome;
    use crate::figures::Figures;

    fn outcome(server: Server, workload: &'static str, figures: &[(&str, f64)]) -> Outcome {
        let mut f = Figures::default();
        figures.iter().for_each(|(name, v)| f.number(name, *v));
        Outcome { round: 0, workload, server, figures: Ok(f) }
    }

    fn passed(results: &Results, what: &str) -> Option<bool> {
        judge(results).into_iter().find(|v| v.what == what).and_then(|v| v.passed)
    }

    #[test]
    fn a_ratio_above_its_gate_misses_and_one_on_it_passes() {
        let bun = outcome(Server::Bun, "s2-20", &[(COST, 10.0)]);
        for (cost, wanted) in [(11.5, true), (11.6, false)] {
            let ours = outcome(Server::Switchboard, "s2-20", &[(COST, cost)]);
            let r = Results(vec![bun.clone(), ours]);
            assert_eq!(passed(&r, "S2 20/s, CPU against Bun"), Some(wanted));
            assert_eq!(passed(&r, "S2 20/s, CPU against nats-server"), None, "not measured");
        }
    }

    #[test]
    fn a_rate_must_not_be_below_its_gate() {
        let bun = outcome(Server::Bun, "s1-one", &[("deliveries_per_s", 100.0)]);
        for (rate, wanted) in [(85.0, true), (84.0, false)] {
            let ours = outcome(Server::Switchboard, "s1-one", &[("deliveries_per_s", rate)]);
            let r = Results(vec![bun.clone(), ours]);
            assert_eq!(passed(&r, "S1 one at a time, rate against Bun"), Some(wanted));
        }
    }

    #[test]
    fn one_fault_in_one_round_misses() {
        let clean = outcome(Server::Switchboard, "echo", &[("faults", 0.0)]);
        let bad = outcome(Server::Switchboard, "idle", &[("faults", 1.0)]);
        let what = "faults of sequence, all workloads";
        assert_eq!(passed(&Results(vec![clean.clone()]), what), Some(true));
        assert_eq!(passed(&Results(vec![clean, bad]), what), Some(false));
    }

    #[test]
    fn a_run_that_ended_in_an_error_misses() {
        let o = Outcome { round: 0, workload: "idle", server: Server::Switchboard, figures: Err("gone".into()) };
        assert_eq!(passed(&Results(vec![o]), "idle, resident bytes a connection"), Some(false));
    }
}
