//! MCP servers for tests: the reference servers of `tests/mcp`, and one that misbehaves.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::mock_http::{MockHttp, Step};
use super::upstream::{answers, asks, calls};
use super::{Client, Hub, HubOptions};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp")
}

/// The configuration of a server that is `node SCRIPT ARGUMENTS`.
pub fn node(name: &str, script: &Path, arguments: &[&Path]) -> String {
    let needed = folder().join("node_modules");
    assert!(needed.exists() && script.exists(), "{} is missing: run tests/mcp/install.sh first", needed.display());
    let command: Vec<String> = [Path::new("node"), script]
        .iter()
        .chain(arguments)
        .map(|word| Value::from(word.display().to_string()).to_string())
        .collect();
    format!("[mcp.{name}]\ncommand = [{}]\n", command.join(", "))
}

/// One of the reference servers.
pub fn reference(name: &str, arguments: &[&Path]) -> String {
    let script = folder().join(format!("node_modules/@modelcontextprotocol/server-{name}/dist/index.js"));
    node(name, &script, arguments)
}

/// The one that misbehaves; it writes down what it did in that folder.
pub fn rogue(notes: &Path) -> String {
    node("rogue", &folder().join("rogue.mjs"), &[notes])
}

/// The lines that it wrote down under that name.
pub fn noted(notes: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(notes.join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until so many lines stand there.
pub async fn until_noted(notes: &Path, name: &str, count: usize) -> Vec<String> {
    loop {
        let lines = noted(notes, name);
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// An agent that may call these, with that policy for all of them.
pub fn agent(tools: &str, policy: &str) -> String {
    format!(
        "[agents.assistant]\ntools = [\"{tools}\", \"http_fetch\"]\n\
         [policies.all]\ntools = [\"{tools}\"]\npolicy = \"{policy}\"\n"
    )
}

/// A model that calls these tools one after the other, a turn for each.
pub async fn model(turns: &[(&str, Value)]) -> MockHttp {
    let script = |(tool, input): &(&str, Value)| [asks(&calls(0, "c", tool, &input.to_string())), answers("I see.")];
    let scripts: Vec<Vec<Step>> = turns.iter().flat_map(script).collect();
    MockHttp::start(scripts).await
}

/// A hub that talks to that model, once it knows the tools of all its servers; a client of alice and her session.
pub async fn ready(options: HubOptions) -> (Hub, Client, String) {
    let servers = options.config.matches("[mcp.").count();
    let (hub, client, session) = super::upstream::conversation(options).await;
    knows(&hub, servers).await;
    (hub, client, session)
}

/// Waits until the tools of so many servers, or of the same ones again, are known.
pub async fn knows(hub: &Hub, times: usize) {
    let known = |line: &&String| line.contains("the tools of an MCP server are known");
    while hub.log().iter().filter(known).count() < times {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Says something, answers the question yes where there is one, and gives the tool's output and whether it is an error.
pub async fn tool_turn(client: &mut Client, session: &str) -> (String, bool) {
    // Of turns before this one nothing is heard any more.
    client.until_pong().await;
    client.take_waiting();
    client.say(session, "do it").await;
    loop {
        let frame = client.find(|f| f["type"] == "event").await;
        let data = &frame["data"];
        if frame["event"] == "tool.approval_required" {
            client.call("tools.approve", json!({"requestId": data["requestId"]})).await;
        }
        let part = &data["part"];
        if part["type"] == "tool_result" {
            let output = part["output"].as_str().expect("an output").to_owned();
            let failed = part["isError"] == true;
            client.event("turn.ended").await;
            return (output, failed);
        }
    }
}

/// The reference server over HTTP, as a child that lives no longer than its test.
pub struct OverHttp {
    pub port: u16,
    _stdin: ChildStdin,
    child: Child,
}

impl OverHttp {
    /// On that port; 0 is any.
    pub async fn start(port: u16) -> Self {
        let mut child = Command::new("node")
            .arg(folder().join("http.mjs"))
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let stdin = child.stdin.take().expect("its input");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = loop {
            let line = lines.next_line().await.expect("a text").expect("it says that it is ready");
            if let Some(port) = line.strip_prefix("ready ") {
                break port.trim().parse().expect("a port");
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { port, _stdin: stdin, child }
    }

    pub async fn kill(mut self) {
        self.child.kill().await.expect("it is killed");
    }

    pub fn config(&self) -> String {
        format!("[mcp.web]\nurl = \"http://127.0.0.1:{}/mcp\"\n", self.port)
    }
}

/// Whether a process is there, and no zombie.
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !stat.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits until none of them is there any more.
pub async fn until_dead(pids: &[String]) {
    while pids.iter().any(|pid| lives(pid)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
