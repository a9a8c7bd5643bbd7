//! A server on its own thread and a client that speaks bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{FutureExt, LocalBoxFuture, pending},
};
use switchboard::{
    framing::Frame,
    transport::{
        Admitted, Doorkeeper, Handle, Inbound, Opener, Refusal, RunningServer, ServerSettings, Socket, SocketLimits,
        UpgradeRequest, serve,
    },
};

/// Longer than anything here should take; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub struct Server {
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    pub handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// How a test server differs from the plain one.
pub struct Setup {
    pub limits: SocketLimits,
    pub workers: usize,
    pub listeners: usize,
    pub max_per_address: usize,
    pub max_connections: usize,
    pub upgrade_timeout: Duration,
    pub body_timeout: Duration,
    pub head_timeout: Duration,
    pub keep_alive: Duration,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub on_worker: fn(usize),
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            limits: SocketLimits::default(),
            workers: 1,
            listeners: 1,
            max_per_address: 0,
            max_connections: 1000,
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            tls: None,
            on_worker: |_| {},
        }
    }
}

struct Keeper<F> {
    open: F,
    limits: Rc<SocketLimits>,
}

impl<F: Fn(Socket) + Clone + Send + 'static> Doorkeeper for Keeper<F> {
    fn admit(&self, request: UpgradeRequest) -> LocalBoxFuture<'static, Result<Admitted, Refusal>> {
        let (open, limits) = (self.open.clone(), self.limits.clone());
        async move {
            match (request.uri.path(), request.uri.query()) {
                ("/ws", Some("token=wrong")) => {
                    let mut refusal = Refusal::json(401, "unauthorized", "the token is not valid");
                    refusal.body = Bytes::from_static(br#"{"error":{"code":"unauthorized"}}"#);
                    Err(refusal)
                }
                ("/ws", Some(query)) if query.starts_with("worker=") => {
                    Ok(Admitted { open: Opener::on(query[7..].parse().unwrap(), open), limits, headers: Vec::new() })
                }
                ("/ws", _) => Ok(Admitted {
                    open: Opener::here(open),
                    limits,
                    headers: vec![(header::SERVER, header::HeaderValue::from_static("test"))],
                }),
                ("/never", _) => pending().await,
                _ => Err(Refusal::json(404, "not_found", "no such path")),
            }
        }
        .boxed_local()
    }
}

impl Server {
    /// Starts a server whose sockets are handed to `open`.
    pub fn start(setup: Setup, open: impl Fn(Socket) + Clone + Send + 'static) -> Server {
        let (told, tell) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let server = run(setup, open);
                told.send((server.addresses().to_vec(), server.handle())).unwrap();
                server.wait().await.unwrap();
            });
        });
        let (addresses, handle): (Vec<_>, _) = tell.recv_timeout(PATIENCE).unwrap();
        Server { address: addresses[0], addresses, handle, thread: Some(thread) }
    }

    /// A server that echoes.
    pub fn echo(setup: Setup) -> Server {
        Server::start(setup, echo)
    }

    pub fn connect(&self) -> Client<TcpStream> {
        Client::upgrade(self.tcp(), "/ws")
    }

    /// Waits for the server's thread to end, which it must do well.
    pub fn ended(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn tcp(&self) -> TcpStream {
        tcp(self.address)
    }

    /// Sends literal bytes and reads the whole answer until the server closes.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = self.tcp();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.take().is_some() {
            // What is still open is of no interest any more; the process ends soon.
            drop(self.handle.stop());
        }
    }
}

fn run(setup: Setup, open: impl Fn(Socket) + Clone + Send + 'static) -> RunningServer {
    let listeners = (0..setup.listeners).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut settings = ServerSettings::new(listeners.collect());
    settings.workers = setup.workers;
    settings.max_per_address = setup.max_per_address;
    settings.max_connections = setup.max_connections;
    settings.body_timeout = setup.body_timeout;
    settings.head_timeout = setup.head_timeout;
    settings.keep_alive = setup.keep_alive;
    settings.upgrade_timeout = setup.upgrade_timeout;
    settings.stop_timeout = Duration::from_secs(1);
    settings.tls = setup.tls;
    let limits = setup.limits;
    let keeper = move || {
        let keeper: Rc<dyn Doorkeeper> = Rc::new(Keeper { open: open.clone(), limits: Rc::new(limits.clone()) });
        keeper
    };
    let app = || {
        App::new()
            .route("/health", web::get().to(|| async { HttpResponse::Ok().body("fine") }))
            .route("/drops", web::get().to(|| async { HttpResponse::Ok().streaming(drops()) }))
            .route("/length", web::post().to(|body: web::Bytes| async move { body.len().to_string() }))
    };
    serve(settings, setup.on_worker, keeper, app).unwrap()
}

/// A body that takes its time: four drops, 300 ms before each.
fn drops() -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    futures_util::stream::iter(0..4).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(Bytes::from(format!("drop {n}\n")))
    })
}

/// Echoes every message.
pub fn echo(socket: Socket) {
    actix_rt::spawn(async move {
        let Socket { outbound, mut inbound } = socket;
        while let Some(item) = inbound.next().await {
            match item {
                Inbound::Text(text) => drop(outbound.push(&Frame::text(text.as_bytes()))),
                Inbound::Binary(bytes) => drop(outbound.push(&Frame::binary(&bytes))),
                Inbound::Control => {}
                Inbound::Closed { .. } => break,
            };
        }
    });
}

pub fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Waits for another thread to make `true` of it.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A client's frame: first byte as given, masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A server's Close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, 2 + reason.len() as u8];
    frame.extend(code.to_be_bytes());
    frame.extend(reason.as_bytes());
    frame
}

pub struct Client<S> {
    pub stream: S,
}

impl<S: Read + Write> Client<S> {
    pub fn upgrade(mut stream: S, path: &str) -> Client<S> {
        stream.write_all(request(path).as_bytes()).unwrap();
        let mut client = Client { stream };
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains(&format!("sec-websocket-accept: {ACCEPT}\r\n")), "{head}");
        client
    }

    /// Reads up to the empty line, byte by byte: what follows belongs to the socket.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        String::from_utf8(head).unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn expect(&mut self, bytes: &[u8]) {
        let got = self.read(bytes.len());
        assert_eq!(got, bytes, "got {:?}", String::from_utf8_lossy(&got));
    }

    /// Reads one frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let len = match head[1] {
            126 => self.read(2).iter().fold(0, |n, b| n << 8 | usize::from(*b)),
            127 => self.read(8).iter().fold(0, |n, b| n << 8 | usize::from(*b)),
            short => usize::from(short),
        };
        (head[0], self.read(len))
    }

    /// Expects the server's end of the stream.
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "got {:?}", String::from_utf8_lossy(&rest));
    }
}
