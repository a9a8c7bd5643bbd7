//! A web server that counts what it was asked: a tool that runs twice is seen.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

pub struct Counter {
    address: SocketAddr,
    seen: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Counter {
    /// Answers every path with its name; `/hang` never.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let count = seen.clone();
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for socket in listener.incoming().map_while(Result::ok) {
                let Some(path) = read(&socket) else { continue };
                let hangs = path == "/hang";
                if !hangs {
                    answer(&socket, &path);
                }
                count.0.lock().expect("the list").push(path);
                count.1.notify_all();
                if hangs {
                    hanging.push(socket);
                }
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the tool says of that path.
    pub fn output(&self, path: &str) -> String {
        format!("HTTP 200, text/plain, {}\n\n{path}", self.url(path))
    }

    /// Paths that were asked for so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.0.lock().expect("the list").clone()
    }

    /// Waits for a request of that path.
    pub fn wait(&self, path: &str) {
        let list = self.seen.0.lock().expect("the list");
        let guard = std::time::Duration::from_secs(30);
        let missing = |list: &mut Vec<String>| !list.iter().any(|p| p == path);
        let (_list, out) = self.seen.1.wait_timeout_while(list, guard, missing).expect("the list");
        assert!(!out.timed_out(), "nobody asked for {path}");
    }

    /// Configuration that lets the tool ask here.
    pub fn config(&self, policy: &str) -> String {
        format!(
            "[tools.http_fetch]\npolicy = \"{policy}\"\nallow_hosts = [\"127.0.0.1\"]\nallow_private = [\"{}\"]",
            self.address
        )
    }
}

fn read(socket: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(socket).lines();
    let first = lines.next()?.ok()?;
    for line in lines.map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    first.split_whitespace().nth(1).map(str::to_owned)
}

fn answer(mut socket: &TcpStream, path: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n";
    let _ = write!(socket, "{head}content-length: {}\r\n\r\n{path}", path.len());
}
