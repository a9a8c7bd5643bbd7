//! A scripted HTTP server: which bytes go out, and that the client hung up, exactly.

#![allow(dead_code)] // each test binary uses its own half

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Nothing a test waits for takes this long; it only keeps a broken one from hanging.
const GUARD: Duration = Duration::from_secs(20);

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Such as `POST /v1/messages HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request's body is JSON")
    }
}

/// What the server does, in order, with one request.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// A write for each piece of this many bytes, with a turn of the event loop in between.
    SendInPieces(Vec<u8>, usize),
    /// The same bytes again and again, until the client hangs up.
    SendForever(Vec<u8>),
    /// Nothing more, until the client hangs up.
    Hang,
    /// Until the test says so.
    Wait(Rc<tokio::sync::Notify>),
    Close,
    /// RST instead of FIN.
    Reset,
}

/// What the server saw, in order. Connections are numbered from 0.
#[derive(Debug)]
pub enum Seen {
    Request(usize, Request),
    /// The client closed this connection.
    HungUp(usize),
}

type Scripts = Rc<RefCell<VecDeque<Vec<Step>>>>;

pub struct MockHttp {
    pub address: std::net::SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    connections: Rc<std::cell::Cell<usize>>,
    scripts: Scripts,
}

impl MockHttp {
    /// Answers the requests with `scripts`, one each, in the order in which they come. One too many is reset.
    pub async fn start(scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::start_with(scripts, |socket| async { Some(socket) }).await
    }

    /// `wrap` makes of each socket what is spoken on; nothing where that fails.
    pub async fn start_with<S, F>(
        scripts: impl IntoIterator<Item = Vec<Step>>,
        wrap: impl Fn(TcpStream) -> F + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        F: Future<Output = Option<S>> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback");
        let address = listener.local_addr().expect("its address");
        let scripts: Scripts = Rc::new(RefCell::new(scripts.into_iter().collect()));
        let (report, seen) = mpsc::unbounded_channel();
        let connections = Rc::new(std::cell::Cell::new(0));
        let (count, mine) = (connections.clone(), scripts.clone());
        actix_rt::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = count.replace(count.get() + 1);
                let _ = socket.set_nodelay(true);
                // Dropping it is a reset; a good end is a shutdown first.
                let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                let socket = wrap(socket);
                let (report, scripts) = (report.clone(), mine.clone());
                actix_rt::spawn(async move {
                    if let Some(socket) = socket.await {
                        let _ = serve(number, socket, &report, &scripts).await;
                    }
                });
            }
        });
        Self { address, seen, connections, scripts }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Scripts that no request has used yet.
    pub fn unused(&self) -> usize {
        self.scripts.borrow().len()
    }

    pub async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(GUARD, self.seen.recv()).await;
        next.expect("the server sees something in time").expect("the server runs")
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<Seen> {
        self.seen.recv().now_or_never().flatten()
    }

    pub async fn request(&mut self) -> Request {
        match self.next().await {
            Seen::Request(_, request) => request,
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    pub async fn hung_up(&mut self) -> usize {
        match self.next().await {
            Seen::HungUp(number) => number,
            other => panic!("the end of a connection was expected, not {other:?}"),
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    number: usize,
    socket: S,
    report: &mpsc::UnboundedSender<Seen>,
    scripts: &Scripts,
) -> std::io::Result<()> {
    let mut socket = tokio::io::BufStream::new(socket);
    loop {
        let Ok(request) = read_request(&mut socket).await else {
            let _ = report.send(Seen::HungUp(number));
            return Ok(());
        };
        let _ = report.send(Seen::Request(number, request));
        let script = scripts.borrow_mut().pop_front().unwrap_or_else(|| vec![Step::Reset]);
        for step in script {
            let went_on = perform(step, &mut socket).await;
            match went_on {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(_) => {
                    let _ = report.send(Seen::HungUp(number));
                    return Ok(());
                }
            }
        }
    }
}

/// Whether the connection goes on; an error where the client hung up.
async fn perform<S: AsyncRead + AsyncWrite + Unpin>(step: Step, socket: &mut S) -> std::io::Result<bool> {
    match step {
        Step::Send(bytes) => {
            socket.write_all(&bytes).await?;
            socket.flush().await?;
        }
        Step::SendInPieces(bytes, size) => {
            for piece in bytes.chunks(size) {
                socket.write_all(piece).await?;
                socket.flush().await?;
                tokio::task::yield_now().await;
            }
        }
        Step::SendForever(bytes) => loop {
            socket.write_all(&bytes).await?;
            socket.flush().await?;
            tokio::task::yield_now().await;
        },
        Step::Hang => {
            // Only the end of the connection ends this.
            let mut byte = [0];
            while socket.read(&mut byte).await? > 0 {}
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Step::Wait(signal) => signal.notified().await,
        Step::Close => {
            socket.shutdown().await?;
            let mut byte = [0];
            while socket.read(&mut byte).await? > 0 {}
            return Ok(false);
        }
        Step::Reset => return Ok(false),
    }
    Ok(true)
}

async fn read_request<S: AsyncRead + Unpin>(socket: &mut S) -> std::io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap_or(0));
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(Request { line, headers, body })
}

/// The head of an event stream, chunked.
pub fn stream_head() -> Step {
    Step::Send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec(),
    )
}

/// One chunk of a chunked body.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A whole event stream, in good order; the connection stays.
pub fn stream(body: impl AsRef<[u8]>) -> Vec<Step> {
    vec![stream_head(), Step::Send(chunk(body)), Step::Send(b"0\r\n\r\n".to_vec())]
}

/// An answer with a length.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    vec![Step::Send([head.as_bytes(), body.as_bytes()].concat())]
}
