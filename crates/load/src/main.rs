//! The command line: `run` puts one workload on a server that is up, `bench` starts the servers itself.
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use switchboard_load::bench::{self, Plan};
use switchboard_load::connection::Target;
use switchboard_load::dialect::Wire;
use switchboard_load::fault::Result;
use switchboard_load::server::{Places, Server};
use switchboard_load::token;
use switchboard_load::workload::Workload;

/// Load generator and benchmark for Switchboard and its peers; loopback only.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one workload against a server that is up; prints one JSON line.
    Run(Run),
    /// Start every server in turn, run the workloads interleaved, print the table and the gates.
    Bench(Bench),
    /// Print a token that the peers accept (secret in PEER_SECRET).
    Token,
}

#[derive(Args)]
struct Run {
    /// s1-one, s1-burst, s2-20, s2-50, dashboards, idle, stalled, frozen or echo
    workload: String,
    /// Where the server listens, in 127.0.0.0/8
    #[arg(long)]
    addr: std::net::SocketAddr,
    /// Process id of the server, for its processor time and memory
    #[arg(long)]
    pid: u32,
    /// sb, hub, sio or nats
    #[arg(long, value_parser = wire)]
    dialect: Wire,
    /// A token; given twice, the load is spread over two organizations
    #[arg(long = "token", required = true)]
    tokens: Vec<String>,
    /// A path of the server that says what its actors see
    #[arg(long)]
    stats: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
}

/// Other sizes than the workload's own.
#[derive(Args)]
struct Sizes {
    /// Connections of s1, idle, stalled, echo
    #[arg(long)]
    connections: Option<usize>,
    /// Publishes under way at once (s1)
    #[arg(long)]
    window: Option<u64>,
    /// Channels (s2, dashboards)
    #[arg(long)]
    rooms: Option<u32>,
    /// Subscribers of a channel (s2, dashboards)
    #[arg(long)]
    subscribers: Option<usize>,
    /// Publishes a second on a channel (s2, dashboards, stalled), requests a second on a connection (echo; 0 = closed loop)
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of a payload
    #[arg(long)]
    payload: Option<usize>,
    /// Connections that stop reading (stalled)
    #[arg(long)]
    stalled: Option<usize>,
    /// Measured seconds
    #[arg(long)]
    seconds: Option<f64>,
}

#[derive(Args)]
struct Bench {
    /// Switchboard's binary; without it only the peers run
    #[arg(long)]
    switchboard: Option<PathBuf>,
    /// NAME=VALUE for Switchboard's environment; none for the gates, which are about the default configuration
    #[arg(long = "switchboard-env")]
    switchboard_env: Vec<String>,
    /// Rounds; each runs every workload against every server
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// One short round: a look, no verdict to rely on
    #[arg(long)]
    quick: bool,
    /// Only these servers, with commas: switchboard, bun, ws, socketio, nats, stock
    #[arg(long, value_delimiter = ',', value_parser = server)]
    only: Vec<Server>,
    /// Only these workloads, with commas
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Measured seconds of each run, instead of each workload's own
    #[arg(long)]
    seconds: Option<f64>,
    /// Go on without a server that is not installed
    #[arg(long)]
    allow_missing: bool,
    /// Exit with 1 when a gate is missed
    #[arg(long)]
    strict: bool,
    /// Folder of the peers' programs
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers"))]
    peers: PathBuf,
    /// nats-server's binary [default: where install.sh puts it, then PATH]
    #[arg(long)]
    nats: Option<PathBuf>,
    /// The stock peer's binary [default: beside this one]
    #[arg(long)]
    stock: Option<PathBuf>,
    /// Folder for one JSON line a run, the table, the servers' data and logs
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

fn wire(name: &str) -> std::result::Result<Wire, String> {
    let found = Wire::NAMES.iter().find(|(n, _)| *n == name);
    found.map(|(_, w)| *w).ok_or_else(|| "one of sb, hub, sio, nats".to_owned())
}

fn server(name: &str) -> std::result::Result<Server, String> {
    let found = Server::ALL.iter().find(|s| s.name() == name);
    found.copied().ok_or_else(|| format!("one of {}", Server::ALL.map(|s| s.name()).join(", ")))
}

fn run(r: Run) -> Result<()> {
    let mut w = Workload::named(&r.workload)?;
    let s = r.sizes;
    w.connections = s.connections.unwrap_or(w.connections);
    w.window = s.window.unwrap_or(w.window);
    w.rooms = s.rooms.unwrap_or(w.rooms);
    w.subscribers = s.subscribers.unwrap_or(w.subscribers);
    w.rate = s.rate.unwrap_or(w.rate);
    w.payload = s.payload.unwrap_or(w.payload);
    w.stalled = s.stalled.unwrap_or(w.stalled);
    w.seconds = s.seconds.unwrap_or(w.seconds);
    let target = Target { address: r.addr, pid: r.pid, wire: r.dialect, tokens: r.tokens, stats: r.stats };
    println!("{}", w.run(&target)?.line());
    Ok(())
}

fn bench(b: Bench) -> Result<bool> {
    let places = Places {
        switchboard: b.switchboard,
        switchboard_env: b.switchboard_env,
        peers: b.peers,
        nats: b.nats,
        stock: b.stock,
        out: b.out,
    };
    let mut workloads = Workload::all();
    if !b.workloads.is_empty() {
        workloads = b.workloads.iter().map(|n| Workload::named(n)).collect::<Result<_>>()?;
    }
    for w in &mut workloads {
        if b.quick {
            w.seconds *= 0.6;
            w.warm = 1.0;
        }
        w.seconds = b.seconds.unwrap_or(w.seconds);
    }
    let servers = if b.only.is_empty() { Server::ALL.to_vec() } else { b.only };
    let plan =
        Plan { workloads, servers, rounds: if b.quick { 1 } else { b.pairs.max(1) }, allow_missing: b.allow_missing };
    let passed = bench::run(&plan, &places)?;
    Ok(passed || !b.strict)
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(r) => run(r).map(|()| true),
        Command::Bench(b) => bench(b),
        Command::Token => {
            let secret = std::env::var("PEER_SECRET").unwrap_or_default();
            println!("{}", token::mint(&secret, "load", "load", 86_400));
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("switchboard-load: {e}");
            ExitCode::from(2)
        }
    }
}
