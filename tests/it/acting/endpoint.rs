//! Somebody's endpoint: a real server that counts what is done to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Such as `POST /tickets/7/close`.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

type Seen = Arc<Mutex<Vec<Asked>>>;

pub struct Endpoint {
    address: SocketAddr,
    seen: Seen,
}

impl Endpoint {
    /// Answers by the end of the path: `close` with a receipt, `broken` and its preview with 500, `hang` never.
    pub fn start() -> Self {
        let seen: Seen = Arc::default();
        let (sender, address) = std::sync::mpsc::channel();
        let count = seen.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(web::Data::new(count.clone())).default_service(web::to(answer));
                let server = HttpServer::new(app).workers(1).bind("127.0.0.1:0").expect("a port of the loopback");
                sender.send(server.addrs()[0]).expect("the test waits");
                server.run().await.expect("the server runs");
            });
        });
        Self { address: address.recv().expect("the server starts"), seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<Asked> {
        self.seen.lock().expect("the list").clone()
    }

    /// How many requests there were of that line.
    pub fn count(&self, line: &str) -> usize {
        self.all().iter().filter(|asked| asked.line == line).count()
    }

    /// Requests that change something.
    pub fn effects(&self) -> Vec<String> {
        self.all().into_iter().map(|asked| asked.line).filter(|line| !line.starts_with("GET ")).collect()
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, seen: web::Data<Seen>) -> HttpResponse {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let asked = Asked {
        line: format!("{} {}", request.method(), request.path()),
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let receipt = {
        let mut list = seen.lock().expect("the list");
        list.push(asked.clone());
        list.len()
    };
    match request.path().rsplit('/').next().unwrap_or_default() {
        "hang" => {
            std::future::pending::<()>().await;
            HttpResponse::Ok().finish()
        }
        _ if request.path().contains("broken") => HttpResponse::InternalServerError().body("it broke"),
        "close" => HttpResponse::Ok().json(json!({"receipt": receipt, "key": asked.header("authorization")})),
        "reopen" => HttpResponse::Ok().json(json!({"reopened": asked.body["receipt"]})),
        name if request.method() == "GET" => HttpResponse::Ok().json(json!({"ticket": name, "open": true})),
        _ => HttpResponse::NoContent().finish(),
    }
}
