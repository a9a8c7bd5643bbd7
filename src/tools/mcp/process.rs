//! A program with a process group and an environment of its own, ended whole.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Of standard error: lines that are logged, and bytes of one.
const LOGGED_LINES: usize = 200;
const LINE_BYTES: u64 = 2048;

/// A running program. Dropping it ends its whole process group.
pub(super) struct Group {
    /// Of the group, and of its first process; gone once it was ended.
    leader: Mutex<Option<Pid>>,
    _child: Mutex<Child>,
}

impl Group {
    /// Starts the program without a shell, with nothing in its environment but `environment`.
    ///
    /// # Errors
    /// A sentence: there is no such program or folder.
    pub fn start(
        name: &str,
        (program, arguments): (&str, &[String]),
        directory: &Path,
        environment: &[(String, SecretString)],
    ) -> Result<(Self, ChildStdout, ChildStdin), String> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(environment.iter().map(|(key, value)| (key, value.expose_secret())))
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (stdout, stdin, stderr) = (child.stdout.take(), child.stdin.take(), child.stderr.take());
        let group = Self { leader: Mutex::new(leader), _child: Mutex::new(child) };
        let (Some(stdout), Some(stdin), Some(stderr)) = (stdout, stdin, stderr) else {
            return Err(format!("{program} has no standard input and output"));
        };
        tokio::spawn(drain(name.to_owned(), stderr));
        Ok((group, stdout, stdin))
    }

    /// Kills all processes of the group, once. The group's number cannot be another's: its first process is reaped after
    /// this only, with the child's own handle.
    pub fn end(&self) {
        if let Some(leader) = self.leader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads all of standard error, however much it is, and logs its beginning.
async fn drain(name: String, stderr: ChildStderr) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    for _ in 0..LOGGED_LINES {
        line.clear();
        match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        tracing::debug!(server = name, line = crate::domain::canonical::shown(text.trim_end()), "an MCP server says");
    }
    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
}
