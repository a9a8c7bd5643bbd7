//! A PostgreSQL of the test's own: a fresh cluster in a temporary folder, on a free loopback port, gone with the value.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

const BIN: &str = "/usr/lib/postgresql/15/bin";
/// A start takes a fraction of a second; a machine under load gets more.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    databases: std::cell::Cell<u32>,
}

/// As the user `postgres`, because the server refuses to run as root; it ends with the thread that started it.
fn as_postgres(program: &str) -> Command {
    let path = Path::new(BIN).join(program);
    assert!(path.exists(), "{} is missing: these tests need `apt-get install postgresql-15`", path.display());
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT", "--"]);
    command.arg(path);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn give_to_postgres(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder));
    }
}

/// An initialised cluster that tests copy: making one costs a second, copying it does not.
fn template() -> PathBuf {
    let home = std::env::temp_dir().join("switchboard-postgres-15-template");
    fs::create_dir_all(&home).expect("a folder for the template");
    let lock = fs::File::create(home.join("lock")).expect("a lock file");
    flock(&lock, FlockOperation::LockExclusive).expect("the lock");
    let cluster = home.join("cluster");
    if !cluster.exists() {
        let making = home.join("making");
        let _ = fs::remove_dir_all(&making);
        fs::create_dir(&making).expect("a folder for the cluster");
        give_to_postgres(&making);
        run(as_postgres("initdb")
            .args([
                "--no-sync",
                "--wal-segsize=1",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg(making.join("data"))
            .current_dir("/"));
        fs::rename(&making, &cluster).expect("the finished cluster in its place");
    }
    cluster.join("data")
}

impl Postgres {
    /// Starts a server with `options`, such as `synchronous_commit=off`, beside what tests always use.
    pub fn start(options: &[&str]) -> Self {
        let template = template();
        let folder = tempfile::Builder::new().prefix("switchboard-postgres-").tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(&template).arg(&data));
        give_to_postgres(folder.path());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let child = Self::spawn(folder.path(), port, options);
        let mut server = Self { child, folder, port, databases: std::cell::Cell::new(0) };
        server.wait();
        server
    }

    fn spawn(folder: &Path, port: u16, options: &[&str]) -> Child {
        let log = fs::File::create(folder.join("log")).expect("a log file");
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(folder.join("data"));
        let fixed = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=16MB",
            "max_connections=40",
            "autovacuum=off",
            "min_wal_size=2MB",
            "max_wal_size=64MB",
        ];
        for option in fixed.iter().chain(options) {
            command.args(["-c", option]);
        }
        command.args(["-c", &format!("port={port}")]).current_dir("/").stdin(Stdio::null());
        let errors = log.try_clone().expect("the log file twice");
        command.stdout(log).stderr(errors).spawn().expect("the server starts")
    }

    /// Until the server takes connections: it logs that it is ready after it has bound its port.
    fn wait(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let ready = log.contains("ready to accept connections");
            if ready && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("PostgreSQL ended with {status}: {log}");
            }
            assert!(Instant::now() < end, "PostgreSQL did not start: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let n = self.databases.get() + 1;
        self.databases.set(n);
        let name = format!("hub_{n}");
        self.sql("postgres", &format!("create database {name}"));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs `statement` and gives what `psql` prints, unaligned and without headers.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = Command::new(Path::new(BIN).join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-d", database, "-c", statement])
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Stops the server at once, as a crash would, and starts it again on the same data.
    #[allow(dead_code, reason = "not every test binary restarts the server")]
    pub fn restart(&mut self) {
        self.stop();
        self.child = Self::spawn(self.folder.path(), self.port, &[]);
        self.wait();
    }

    fn stop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: its children end with it.
        if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}
