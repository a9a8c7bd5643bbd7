//! Another machine's HTTP server: it answers every request alike, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it says, and what it was asked.
pub struct Answers {
    pub address: SocketAddr,
    scheme: &'static str,
    said: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// The next request waits for this.
    held: Arc<Mutex<Option<Receiver<()>>>>,
}

/// Lets a held server answer, when dropped.
pub struct Hold(#[allow(dead_code)] Sender<()>);

impl Answers {
    pub fn start(body: &str) -> Self {
        Self::listen(body, None)
    }

    /// With TLS, for `127.0.0.1`, and the certificate that vouches for it.
    pub fn start_tls(body: &str) -> (Self, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        (Self::listen(body, Some(Arc::new(tls))), certificate)
    }

    fn listen(body: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            said: Arc::new(Mutex::new(ok(body))),
            asked: Arc::default(),
            held: Arc::default(),
        };
        let (said, asked, held) = (server.said.clone(), server.asked.clone(), server.held.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (said, asked, held, tls) = (said.clone(), asked.clone(), held.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(session, socket), &said, &asked, &held);
                    }
                    None => serve(socket, &said, &asked, &held),
                });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// From now on: 200 with this body.
    pub fn say(&self, body: &str) {
        self.say_raw(ok(body));
    }

    /// From now on: these bytes. None at all is a server that is down.
    pub fn say_raw(&self, answer: impl Into<String>) {
        *self.said.lock().unwrap() = answer.into();
    }

    /// The next request is kept waiting until the hold is dropped.
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

fn serve(
    socket: impl Read + Write,
    said: &Mutex<String>,
    asked: &Mutex<Vec<String>>,
    held: &Mutex<Option<Receiver<()>>>,
) {
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
