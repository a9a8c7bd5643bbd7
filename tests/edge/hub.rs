//! Starts the built program and talks to it in plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A hub that has not answered in this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with nothing in its environment but `environment`.
pub fn switchboard(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(std::env::temp_dir());
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    switchboard(arguments, environment).output().unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A data folder that is not there yet, in a folder that goes away.
pub struct Data(TempDir);

impl Data {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn arg(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// A token by the command line.
    pub fn token(&self, more: &[&str]) -> String {
        let data = self.arg();
        let mut arguments = vec!["token", "--data", &data];
        arguments.extend(more);
        let done = run(&arguments, &[]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stdout).trim_end().to_owned()
    }
}

/// A running hub.
pub struct Hub {
    child: Child,
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Hub {
    /// Starts on a free port and waits until it says that it listens.
    pub fn start(data: &Path, environment: &[(&str, &str)]) -> Self {
        let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        // Tests ask as fast as they can: what limits that is off unless a test sets it.
        let unlimited = ["REFUSED", "REQUESTS", "SIGN_INS", "STRANGERS"]
            .map(|limit| (format!("SWITCHBOARD_LIMITS__{limit}_PER_MINUTE"), "0"));
        let mut command = switchboard(&arguments, &[]);
        let command = command.envs(unlimited).envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (listening, listens) = channel();
        let (stderr, seen) = (BufReader::new(child.stderr.take().unwrap()), lines.clone());
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
                seen.lock().unwrap().push(line);
                // What follows `listening` is whether there is a link: the start is over then.
                if parsed["link"].is_string() || parsed["message"].as_str().is_some_and(|m| m.contains("makes a token"))
                {
                    let _ = listening.send(());
                }
            }
        });
        if listens.recv_timeout(PATIENCE).is_err() {
            let _ = child.kill();
            panic!("the hub did not start: {:#?}", lines.lock().unwrap());
        }
        let address = lines.lock().unwrap().iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["address"].as_str()?.parse().ok()
        });
        Self { child, address: address.unwrap(), lines, reader: Some(reader) }
    }

    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The sign-in code it printed, if it did.
    pub fn code(&self) -> Option<String> {
        let lines = self.lines.lock().unwrap();
        let link = lines.iter().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["link"].as_str().map(str::to_owned)
        })?;
        assert!(link.starts_with(&format!("http://{}/sign-in?code=", self.address)), "{link}");
        link.split_once("code=").map(|(_, code)| code.to_owned())
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "")
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        write!(socket, "{head}\r\n{body}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        Answer(answer)
    }

    /// Asks it to end, waits, and gives all that it logged.
    pub fn stop(mut self) -> (ExitStatus, String) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        // It ends with the last line.
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back, as it came.
pub struct Answer(pub String);

impl Answer {
    pub fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|h| h.1)
    }

    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap_or_else(|_| panic!("no JSON: {}", self.0))
    }

    /// The error's code and message; panics where the answer is no error.
    pub fn error(&self) -> (String, String) {
        let json = self.json();
        let word = |key: &str| json["error"][key].as_str().unwrap_or_else(|| panic!("no error: {}", self.0)).to_owned();
        assert_eq!(self.header("x-request-id"), json["error"]["requestId"].as_str());
        (word("code"), word("message"))
    }
}
