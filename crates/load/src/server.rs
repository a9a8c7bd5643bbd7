//! The servers: where each program is, how it is started on a free port, when it is ready, and its end.
use crate::clock;
use crate::connection::Target;
use crate::dialect::Wire;
use crate::fault::{Result, While, fault};
use crate::probe;
use crate::token;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Good for a day: longer than any benchmark.
const TTL: u64 = 86_400;
const ORGANIZATIONS: [&str; 2] = ["north", "south"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Switchboard,
    Bun,
    Ws,
    SocketIo,
    Nats,
    Stock,
}

/// Where programs are found and results go.
pub struct Places {
    pub switchboard: Option<PathBuf>,
    pub switchboard_env: Vec<String>,
    pub peers: PathBuf,
    pub nats: Option<PathBuf>,
    pub stock: Option<PathBuf>,
    pub out: PathBuf,
}

/// A server process; dropping this ends it.
pub struct Running {
    pub target: Target,
    child: Child,
    data: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may be gone already, and then there is nothing to end
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Server {
    pub const ALL: [Server; 6] =
        [Server::Switchboard, Server::Bun, Server::Ws, Server::SocketIo, Server::Nats, Server::Stock];

    pub fn name(self) -> &'static str {
        match self {
            Server::Switchboard => "switchboard",
            Server::Bun => "bun",
            Server::Ws => "ws",
            Server::SocketIo => "socketio",
            Server::Nats => "nats",
            Server::Stock => "stock",
        }
    }

    /// Whether this workload is for this server: `frozen` looks into the actors of the stock peer, beside Switchboard.
    pub fn takes(self, workload: &str) -> bool {
        workload != "frozen" || matches!(self, Server::Switchboard | Server::Stock)
    }

    /// What the tables call it.
    pub fn title(self) -> &'static str {
        match self {
            Server::Switchboard => "Switchboard",
            Server::Bun => "Bun",
            Server::Ws => "Node ws",
            Server::SocketIo => "Socket.IO",
            Server::Nats => "nats-server",
            Server::Stock => "actix-web-actors",
        }
    }

    fn wire(self) -> Wire {
        match self {
            Server::Switchboard => Wire::Sb,
            Server::Bun | Server::Ws | Server::Stock => Wire::Hub,
            Server::SocketIo => Wire::Sio,
            Server::Nats => Wire::Nats,
        }
    }

    /// The program to run. Errors: it is not there, and what would bring it.
    pub fn program(self, places: &Places) -> Result<PathBuf> {
        let installed = |path: PathBuf| {
            if path.exists() {
                return Ok(path);
            }
            fault(format!(
                "{} is not there ({}): run {}/install.sh",
                self.title(),
                path.display(),
                places.peers.display()
            ))
        };
        match self {
            Server::Switchboard => match &places.switchboard {
                Some(path) if path.exists() => path.canonicalize().doing("Switchboard's binary"),
                Some(path) => fault(format!("no Switchboard at {}", path.display())),
                None => fault("Switchboard is not given: name its binary with --switchboard"),
            },
            Server::Bun => {
                // the package `bun` only links this one, and does that in an install script, which is not run
                let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x64" };
                installed(places.peers.join(format!("node_modules/@oven/bun-linux-{arch}/bin/bun")))
            }
            Server::Ws => installed(places.peers.join("node_modules/ws")).and_then(|_| on_path("node")),
            Server::SocketIo => installed(places.peers.join("node_modules/socket.io")).and_then(|_| on_path("node")),
            Server::Nats => match &places.nats {
                Some(path) => installed(path.clone()),
                None => on_path("nats-server")
                    .or_else(|_| installed(places.peers.join("../../../target/peers/nats/bin/nats-server"))),
            },
            Server::Stock => {
                let beside = || std::env::current_exe().map(|p| p.with_file_name("stock-hub")).unwrap_or_default();
                let path = places.stock.clone().unwrap_or_else(beside);
                if path.exists() {
                    return Ok(path);
                }
                fault(format!(
                    "the stock peer is not built ({}): build this crate with --features stock",
                    path.display()
                ))
            }
        }
    }

    /// Starts it and waits until it is ready. Errors: not installed, not ready in twenty seconds (the log's end is told).
    pub fn start(self, places: &Places) -> Result<Running> {
        let program = self.program(places)?;
        fs::create_dir_all(&places.out).doing("the output folder")?;
        let data = places.out.join(format!("data-{}-{}", self.name(), clock::now()));
        fs::create_dir_all(&data).doing("a data folder")?;
        let address = free_address()?;
        let secret = format!("bench-{}-{}", std::process::id(), clock::now());
        let (mut command, tokens) = match self {
            Server::Switchboard => switchboard(&program, places, &data, address)?,
            Server::Nats => nats(&program, &data, address, &secret)?,
            _ => (self.peer(&program, places, address, &secret), vec![token::mint(&secret, "load", "load", TTL)]),
        };
        let log_path = places.out.join(format!("{}.log", self.name()));
        let log = File::create(&log_path).doing("a log file")?;
        let errors = log.try_clone().doing("a log file")?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().doing(self.title())?;
        let stats = (self == Server::Stock).then(|| "/stats".to_owned());
        let target = Target { address, pid: child.id(), wire: self.wire(), tokens, stats };
        let mut running = Running { target, child, data };
        self.wait_ready(&mut running, &log_path)?;
        Ok(running)
    }

    /// One of the programs written here: port and secret by the environment.
    fn peer(self, program: &Path, places: &Places, address: SocketAddr, secret: &str) -> Command {
        let mut c = Command::new(program);
        match self {
            Server::Bun => drop(c.arg(places.peers.join("bun-hub.ts"))),
            Server::Ws => drop(c.arg(places.peers.join("ws-hub.mjs"))),
            Server::SocketIo => drop(c.arg(places.peers.join("socketio-hub.mjs"))),
            _ => {}
        }
        c.env("PEER_PORT", address.port().to_string()).env("PEER_SECRET", secret).env("NODE_ENV", "production");
        c
    }

    fn wait_ready(self, running: &mut Running, log: &Path) -> Result<()> {
        let start = clock::now();
        let address = running.target.address;
        loop {
            let ready = match self {
                Server::Nats => TcpStream::connect(address).is_ok(),
                _ => matches!(probe::get(address, "/ready"), Ok((200, _))),
            };
            if ready {
                return Ok(());
            }
            let ended = running.child.try_wait().doing(self.title())?;
            if ended.is_some() || clock::since(start) > 20.0 {
                let text = fs::read_to_string(log).unwrap_or_default();
                let end: Vec<&str> = text.lines().rev().take(5).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                return fault(format!("{} did not become ready: {}", self.title(), end.join(" | ")));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn switchboard(program: &Path, places: &Places, data: &Path, address: SocketAddr) -> Result<(Command, Vec<String>)> {
    let environment = places.switchboard_env.iter().filter_map(|e| e.split_once('='));
    let mut tokens = Vec::new();
    for organization in ORGANIZATIONS {
        let mut c = Command::new(program);
        // a user of its own in each: one person in two organizations is another question
        let user = format!("load-{organization}");
        c.args(["token", "--user", &user, "--org", organization]);
        c.args(["--ttl", "24h", "--data"]).arg(data);
        let made = c.envs(environment.clone()).output().doing("switchboard token")?;
        let text = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        if !made.status.success() || text.split('.').count() != 3 {
            return fault(format!("switchboard token gave no token: {text} {}", String::from_utf8_lossy(&made.stderr)));
        }
        tokens.push(text);
    }
    let mut c = Command::new(program);
    c.args(["serve", "--listen", &address.to_string(), "--data"]).arg(data);
    // one user holds all connections of its organization here, and that is a thousand by default
    c.env("SWITCHBOARD_LIMITS__CONNECTIONS_PER_USER", "0").envs(environment);
    Ok((c, tokens))
}

fn nats(program: &Path, data: &Path, address: SocketAddr, secret: &str) -> Result<(Command, Vec<String>)> {
    let client = free_address()?.port();
    let port = address.port();
    let config = format!(
        "listen: \"127.0.0.1:{client}\"\nwebsocket {{ listen: \"127.0.0.1:{port}\", no_tls: true }}\n\
         authorization {{ token: \"{secret}\" }}\n"
    );
    let file = data.join("nats.conf");
    fs::write(&file, config).doing("nats.conf")?;
    let mut c = Command::new(program);
    c.arg("-c").arg(file);
    Ok((c, vec![secret.to_owned()]))
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("a free port")?;
    listener.local_addr().doing("a free port")
}

fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file()) {
        Some(p) => Ok(p),
        None => fault(format!("{name} is not on PATH")),
    }
}
