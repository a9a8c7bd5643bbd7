//! Another machine's HTTP server: it answers every request alike, and keeps what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// Its answers, in the order of this list: the last one is given again and again.
pub struct Answers {
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Connections end unanswered while it is down.
    held: Arc<Mutex<Option<Receiver<()>>>>,
}

/// Lets a held server answer, when dropped.
pub struct Hold(#[allow(dead_code)] Sender<()>);

impl Answers {
    pub fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            said: Arc::new(Mutex::new(ok(body))),
            asked: Arc::default(),
            held: Arc::default(),
        };
        let (said, asked, held) = (server.said.clone(), server.asked.clone(), server.held.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (said, asked, held) = (said.clone(), asked.clone(), held.clone());
                std::thread::spawn(move || serve(socket, &said, &asked, &held));
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on: 200 with this body.
    pub fn say(&self, body: &str) {
        self.say_raw(ok(body));
    }

    /// From now on: these bytes. None at all is a server that is down.
    pub fn say_raw(&self, answer: impl Into<String>) {
        *self.said.lock().unwrap() = answer.into();
    }

    /// From now on requests are kept waiting, until the hold is dropped.
    pub fn hold(&self) -> Hold {
        let (open, gate) = channel();
        *self.held.lock().unwrap() = Some(gate);
        Hold(open)
    }

    /// The heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// 200 with a JSON body.
pub fn ok(body: &str) -> String {
    with("200 OK", body)
}

pub fn with(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn serve(socket: TcpStream, said: &Mutex<String>, asked: &Mutex<Vec<String>>, held: &Mutex<Option<Receiver<()>>>) {
    let mut reader = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(1..) => {}
            _ => return,
        }
    }
    asked.lock().unwrap().push(head);
    let gate = held.lock().unwrap().take();
    if let Some(gate) = gate {
        // Ends with the hold.
        let _ = gate.recv();
    }
    let answer = said.lock().unwrap().clone();
    let _ = reader.get_mut().write_all(answer.as_bytes());
}
