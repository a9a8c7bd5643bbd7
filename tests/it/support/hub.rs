//! Starts, kills and stops the built program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::Ledger;

/// How a hub is started.
#[derive(Clone, Default)]
pub struct HubOptions {
    /// Environment beside the clean one, such as `SWITCHBOARD_SERVER__WORKERS=3`.
    pub environment: Vec<(String, String)>,
    /// Text of the configuration file.
    pub config: String,
    /// Whether the limits are those of the configuration.
    limited: bool,
    /// Where it listens, if not on a port of the system's choice.
    listen: Option<String>,
}

impl HubOptions {
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The limits are those of the configuration: no variable switches them off.
    pub fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    /// At the address of one that is gone.
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }
}

/// A hub that runs as a process of its own. Dropping it kills it; the folder goes with the last handle.
pub struct Hub {
    child: Child,
    pub address: String,
    pub data: Arc<TempDir>,
    options: HubOptions,
    log: Arc<Mutex<Vec<String>>>,
}

/// Tests send as fast as they can: what limits that is off unless a test sets it (by [`HubOptions::set`], which beats
/// the configuration's text).
const UNLIMITED: [&str; 8] = [
    "CONNECTIONS_PER_USER",
    "FRAMES_PER_SECOND",
    "MESSAGES_PER_MINUTE",
    "REFUSED_PER_MINUTE",
    "REQUESTS_PER_MINUTE",
    "SIGN_INS_PER_MINUTE",
    "SOCKET_MESSAGES_PER_MINUTE",
    "STRANGERS_PER_MINUTE",
];

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_switchboard")
}

impl Hub {
    /// A hub in a new folder, with the demo provider answering as fast as it can.
    pub fn start(options: HubOptions) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::start_in(data, options)
    }

    /// A hub in a folder that may hold a former one's data.
    pub fn start_in(data: Arc<TempDir>, options: HubOptions) -> Self {
        let config = data.path().join("test.toml");
        std::fs::write(&config, &options.config).expect("the configuration is written");
        let unlimited = UNLIMITED.iter().filter(|_| !options.limited);
        let unlimited = unlimited.map(|limit| (format!("SWITCHBOARD_LIMITS__{limit}"), "0"));
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", options.listen.as_deref().unwrap_or("127.0.0.1:0"), "--config"])
            .arg(&config)
            .arg("--data")
            .arg(data.path().join("hub"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS", "1")
            .env("SWITCHBOARD_LOG__FORMAT", "json")
            .envs(unlimited)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the hub starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("standard error"));
        let (sender, address) = std::sync::mpsc::channel();
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                if value["message"] == "listening" {
                    let _ = sender.send(value["address"].as_str().unwrap_or_default().to_owned());
                }
                lines.lock().expect("the log").push(line);
            }
        });
        let address = address.recv_timeout(std::time::Duration::from_secs(30)).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the hub did not come up: {:#?}", log.lock().expect("the log"))
        });
        Self { child, address, data, options, log }
    }

    pub fn folder(&self) -> PathBuf {
        self.data.path().join("hub")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote on standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Waits for a log line that holds this text.
    pub async fn logged(&self, text: &str) -> String {
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// `kill -9`, and a new hub on the same folder.
    pub fn kill_and_restart(mut self) -> Self {
        self.kill();
        let (data, options) = (self.data.clone(), self.options.clone());
        drop(self);
        Self::start_in(data, options)
    }

    /// A new process in place of one that is gone, on the same folder.
    pub fn revive(&mut self) {
        self.revive_with(self.options.clone());
    }

    /// The same with other options.
    pub fn revive_with(&mut self, options: HubOptions) {
        self.kill();
        *self = Self::start_in(self.data.clone(), options);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the process has ended by itself, such as by a failpoint.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the hub can be waited for")
    }

    pub fn signal_term(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the signal is sent");
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal_term();
        self.wait()
    }

    /// What the store holds now, to be compared with what it holds later.
    pub fn ledger(&self) -> Ledger {
        Ledger::open(&self.folder())
    }

    /// Ends it. Who was refused what since the ledger was opened; neither log holds any of the secrets.
    pub fn aftermath(mut self, ledger: &Ledger, secrets: &[&str]) -> Vec<String> {
        assert!(self.terminate().success());
        let log = self.log();
        for secret in secrets {
            assert_eq!(log.iter().find(|line| line.contains(secret)), None, "{secret} is in the log");
            assert!(!ledger.tells(secret), "{secret} is in the audit log");
        }
        ledger.refused()
    }

    /// A token of the command line.
    pub fn token(&self, user: &str, organization: &str, role: &str) -> String {
        token(&self.folder(), user, organization, role)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
    }
}

/// A token for the hub of that folder.
pub fn token(folder: &Path, user: &str, organization: &str, role: &str) -> String {
    let output = Command::new(binary())
        .args(["token", "--user", user, "--org", organization, "--role", role, "--ttl", "1h", "--data"])
        .arg(folder)
        .env_clear()
        .output()
        .expect("the command line runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token").trim().to_owned()
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the hub's log\n{}", self.log().join("\n"));
        }
    }
}
