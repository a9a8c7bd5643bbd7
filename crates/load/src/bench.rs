//! The benchmark: rounds of every workload against every server in turn, a fresh process each time.
use crate::fault::{Result, While, fault};
use crate::figures::Figures;
use crate::server::{Places, Server};
use crate::workload::Workload;
use crate::{gates, table};
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

pub struct Plan {
    pub workloads: Vec<Workload>,
    pub servers: Vec<Server>,
    pub rounds: usize,
    pub allow_missing: bool,
}

/// One run's figures, or why there are none.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub round: usize,
    pub workload: &'static str,
    pub server: Server,
    pub figures: std::result::Result<Figures, String>,
}

/// All outcomes, asked by workload and server.
#[derive(Default)]
pub struct Results(pub Vec<Outcome>);

impl Results {
    /// One figure of a workload on a server, by round.
    pub fn by_round(&self, workload: &str, server: Server, figure: &str) -> Vec<(usize, f64)> {
        let of = |o: &&Outcome| o.workload == workload && o.server == server;
        let value = |o: &Outcome| Some((o.round, o.figures.as_ref().ok()?.get(figure)?));
        self.0.iter().filter(of).filter_map(value).collect()
    }

    /// The median of one figure over the rounds.
    pub fn median(&self, workload: &str, server: Server, figure: &str) -> Option<f64> {
        median(self.by_round(workload, server, figure).into_iter().map(|(_, v)| v).collect())
    }

    /// The median over the rounds of the ratio of two servers in the same round: machine noise falls out of it.
    pub fn ratio(&self, workload: &str, over: Server, under: Server, figure: &str) -> Option<f64> {
        let under = self.by_round(workload, under, figure);
        let pairs = self.by_round(workload, over, figure).into_iter().filter_map(|(round, a)| {
            let (_, b) = under.iter().find(|(r, _)| *r == round)?;
            (*b > 0.0).then_some(a / b)
        });
        median(pairs.collect())
    }

    /// The largest of one figure over the rounds.
    pub fn worst(&self, workload: &str, server: Server, figure: &str) -> Option<f64> {
        self.by_round(workload, server, figure).into_iter().map(|(_, v)| v).reduce(f64::max)
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(mut v: Vec<f64>) -> Option<f64> {
    v.sort_by(f64::total_cmp);
    let n = v.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(v[n / 2]),
        _ => Some((v[n / 2 - 1] + v[n / 2]) / 2.0),
    }
}

/// Runs the plan, writes `runs.jsonl` and `table.md` to the output folder and the table to standard output.
/// True when no gate was missed. Errors: a server is missing and may not be.
pub fn run(plan: &Plan, places: &Places) -> Result<bool> {
    let mut notes = Vec::new();
    let mut servers = Vec::new();
    for &s in &plan.servers {
        match s.program(places) {
            Ok(_) => servers.push(s),
            Err(e) if plan.allow_missing => notes.push(format!("{} was left out: {e}.", s.title())),
            Err(e) => return fault(format!("{e} (--allow-missing goes on without it)")),
        }
    }
    for note in &notes {
        eprintln!("{note}");
    }
    fs::create_dir_all(&places.out).doing("the output folder")?;
    let mut lines = File::create(places.out.join("runs.jsonl")).doing("runs.jsonl")?;
    let mut results = Results::default();
    for round in 0..plan.rounds {
        for w in &plan.workloads {
            for i in 0..servers.len() {
                // each round another one goes first, so that none always has the warm or the cold machine
                let server = servers[(i + round) % servers.len()];
                if !server.takes(w.name) {
                    continue;
                }
                let outcome = one(round, w, server, places);
                writeln!(lines, "{}", line(&outcome)).doing("runs.jsonl")?;
                eprintln!("{}", line(&outcome));
                results.0.push(outcome);
            }
        }
    }
    let verdicts = gates::judge(&results);
    let text = table::markdown(plan, &servers, &results, &verdicts, &notes);
    fs::write(places.out.join("table.md"), &text).doing("table.md")?;
    println!("{text}");
    Ok(verdicts.iter().all(|v| v.passed != Some(false)))
}

fn one(round: usize, w: &Workload, server: Server, places: &Places) -> Outcome {
    let figures = server.start(places).and_then(|running| {
        // lazy start-up work must not fall into the measurement
        std::thread::sleep(Duration::from_millis(300));
        w.run(&running.target)
    });
    Outcome { round, workload: w.name, server, figures: figures.map_err(|e| e.to_string()) }
}

fn line(o: &Outcome) -> String {
    let mut all = Figures::default();
    all.number("round", o.round as f64 + 1.0);
    all.text("server", o.server.name());
    all.text("workload", o.workload);
    match &o.figures {
        Ok(f) => all.0.extend(f.0.clone()),
        Err(e) => all.text("error", e.clone()),
    }
    all.line()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(round: usize, server: Server, cost: f64) -> Outcome {
        let mut f = Figures::default();
        f.number("cost", cost);
        Outcome { round, workload: "w", server, figures: Ok(f) }
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let mut r = Results::default();
        for (round, ours, theirs) in [(0, 1.0, 2.0), (1, 10.0, 10.0), (2, 4.0, 5.0)] {
            r.0.push(outcome(round, Server::Switchboard, ours));
            r.0.push(outcome(round, Server::Bun, theirs));
        }
        r.0.push(outcome(3, Server::Switchboard, 100.0));
        assert_eq!(r.ratio("w", Server::Switchboard, Server::Bun, "cost"), Some(0.8));
        assert_eq!(r.median("w", Server::Switchboard, "cost"), Some(7.0));
        assert_eq!(r.ratio("w", Server::Switchboard, Server::Nats, "cost"), None);
    }
}
