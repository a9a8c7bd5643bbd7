//! The official client, unchanged: each transport, acknowledgements, two namespaces, a cut in mid-answer.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{Client, Hub, HubOptions, run};

/// Only keeps a broken test from hanging.
const GUARD: Duration = Duration::from_secs(60);

/// The ways a client may come in.
const TRANSPORTS: [(&str, &[&str]); 3] =
    [("default", &["polling", "websocket"]), ("polling", &["polling"]), ("websocket", &["websocket"])];

/// The client as a program of its own, with as many sockets as it is told to open.
struct Stock {
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    waiting: Vec<Value>,
    _child: Child,
}

impl Stock {
    async fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/socketio");
        assert!(folder.join("node_modules").exists(), "run tests/socketio/install.sh first");
        let mut child = Command::new("node")
            .arg(folder.join("client.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let input = child.stdin.take().expect("its input");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut stock = Self { input, lines, waiting: Vec::new(), _child: child };
        stock.find(|told| told["what"] == "ready").await;
        stock
    }

    async fn order(&mut self, order: Value) {
        self.input.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
    }

    /// The first that fits; what came before it waits.
    async fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at);
        }
        loop {
            let line = tokio::time::timeout(GUARD, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("not told in time; told instead: {:#?}", self.waiting));
            let line = line.expect("its output is text").expect("it runs");
            let told: Value = serde_json::from_str(&line).expect("JSON");
            if fits(&told) {
                return told;
            }
            self.waiting.push(told);
        }
    }

    async fn open(&mut self, name: &str, url: &str, token: &str, transports: &[&str]) -> Value {
        let options = json!({"transports": transports, "auth": {"token": token}, "reconnectionDelay": 10});
        self.order(json!({"order": "open", "name": name, "url": url, "options": options})).await;
        self.told(name, "connect").await
    }

    async fn told(&mut self, name: &str, what: &str) -> Value {
        self.find(|told| told["name"] == name && told["what"] == what).await
    }

    async fn event(&mut self, name: &str, event: &str) -> Value {
        self.find(|told| told["name"] == name && told["event"] == event).await["data"].take()
    }

    /// Emits with an acknowledgement, and gives it.
    async fn ask(&mut self, name: &str, event: &str, data: Value) -> Value {
        self.order(json!({"order": "ask", "name": name, "event": event, "data": data})).await;
        self.told(name, "ack").await["answer"].take()
    }

    /// The text of all such events up to now.
    fn said(&mut self, name: &str, event: &str) -> String {
        let is_it = |told: &Value| told["name"] == name && told["event"] == event;
        let all: Vec<Value> = self.waiting.extract_if(.., |told| is_it(told)).collect();
        all.iter().map(|told| told["data"]["text"].as_str().expect("a text")).collect()
    }
}

fn hub() -> (Hub, String) {
    let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
    let token = hub.token("ann", "acme", "member");
    (hub, token)
}

#[test]
fn the_official_client_chats_over_every_transport() {
    run(async {
        let (hub, token) = hub();
        let mut stock = Stock::start().await;
        let url = format!("http://{}/ai", hub.address);
        for (name, transports) in TRANSPORTS {
            let told = stock.open(name, &url, &token, transports).await;
            assert_eq!(told["recovered"], false, "{told}");
            assert_eq!(stock.told(name, "engine").await["transport"], transports[0]);
            if name == "default" {
                assert_eq!(stock.told(name, "upgrade").await["transport"], "websocket");
            }
            let ack = stock.ask(name, "chat", json!({"message": format!("hello by {name}")})).await;
            assert_eq!(ack["ok"], true, "{ack}");
            assert_eq!(stock.event(name, "message_start").await["conversationId"], ack["conversationId"]);
            stock.event(name, "message_complete").await;
            assert!(stock.said(name, "text_delta").contains(&format!("hello by {name}")));
            // Binary attachments are refused in words, and the connection lives on.
            stock.order(json!({"order": "blob", "name": name, "event": "chat"})).await;
            let answer = stock.told(name, "ack").await["answer"].take();
            assert_eq!((&answer["ok"], &answer["error"]["code"]), (&json!(false), &json!("bad_request")), "{answer}");
            assert!(stock.event(name, "error").await["message"].as_str().is_some_and(|text| text.contains("binary")));
            assert_eq!(stock.ask(name, "chat", json!({"message": "again"})).await["ok"], true);
            stock.event(name, "message_complete").await;
            stock.said(name, "text_delta");
            stock.order(json!({"order": "disconnect", "name": name})).await;
            assert_eq!(stock.told(name, "disconnect").await["reason"], "io client disconnect");
        }
    });
}

#[test]
fn the_official_client_has_both_namespaces_on_one_connection() {
    run(async {
        let (hub, token) = hub();
        for (_, transports) in TRANSPORTS {
            // A client that has been used for a namespace opens another connection for it.
            let mut stock = Stock::start().await;
            let names = [format!("ai {transports:?}"), format!("chat {transports:?}")];
            let url = |namespace: &str| format!("http://{}{namespace}", hub.address);
            stock.open(&names[0], &url("/ai"), &token, transports).await;
            let engine = stock.told(&names[0], "engine").await;
            stock.open(&names[1], &url("/chat"), &token, transports).await;
            assert!(stock.ask(&names[0], "chat", json!({"message": "one"})).await["ok"] == true);
            assert!(stock.ask(&names[1], "message", json!({"content": "two"})).await["ok"] == true);
            stock.event(&names[0], "message_complete").await;
            stock.event(&names[1], "agent:end").await;
            assert!(stock.said(&names[0], "text_delta").contains("one"));
            assert!(stock.said(&names[1], "agent:text").contains("two"));
            let others = stock.waiting.iter().filter(|told| told["what"] == "engine" && told["id"] != engine["id"]);
            assert_eq!(others.count(), 0, "one engine: {:#?}", stock.waiting);
            for name in names {
                stock.order(json!({"order": "disconnect", "name": name})).await;
                stock.told(&name, "disconnect").await;
            }
        }
    });
}

#[test]
fn the_official_client_is_refused_in_words_it_knows() {
    run(async {
        let (hub, token) = hub();
        let mut stock = Stock::start().await;
        let open = async |stock: &mut Stock, name: &str, path: &str, token: &str| {
            let url = format!("http://{}{path}", hub.address);
            let options = json!({"auth": {"token": token}, "forceNew": true});
            stock.order(json!({"order": "open", "name": name, "url": url, "options": options})).await;
            stock.told(name, "connect_error").await
        };
        let told = open(&mut stock, "wrong", "/ai", "wrong").await;
        assert_eq!((&told["message"], &told["data"]["code"]), (&json!("unauthorized"), &json!("unauthorized")));
        let told = open(&mut stock, "nowhere", "/nowhere", &token).await;
        assert_eq!(told["message"], "Invalid namespace");
    });
}

#[test]
fn the_official_client_recovers_from_a_cut_in_mid_answer() {
    run(async {
        let (hub, token) = hub();
        let mut stock = Stock::start().await;
        let mut watcher = Client::connect(&hub.address, &token).await;
        for (name, transports) in TRANSPORTS {
            let conversation = watcher.session().await;
            watcher.subscribe(&format!("session:{conversation}"), None).await;
            let first = stock.open(name, &format!("http://{}/ai", hub.address), &token, transports).await;
            if name == "default" {
                stock.told(name, "upgrade").await;
            }
            for n in 0..3 {
                stock.order(json!({"order": "cut_at", "name": name, "event": "text_delta", "count": 3})).await;
                if n == 0 {
                    let said = json!({"message": "slow long 300", "conversationId": conversation});
                    stock.order(json!({"order": "emit", "name": name, "event": "chat", "data": said})).await;
                }
                assert_eq!(stock.told(name, "disconnect").await["active"], true);
                let again = stock.told(name, "connect").await;
                assert_eq!((&again["recovered"], &again["id"]), (&json!(true), &first["id"]), "{again}");
            }
            stock.event(name, "message_complete").await;
            let mut whole = String::new();
            loop {
                let frame = watcher.next().await;
                match frame["event"].as_str() {
                    Some("part.updated") => whole.push_str(frame["data"]["delta"].as_str().unwrap_or_default()),
                    Some("turn.ended") => break,
                    _ => {}
                }
            }
            assert_eq!(stock.said(name, "text_delta"), whole, "{name}");
            stock.order(json!({"order": "disconnect", "name": name})).await;
            stock.told(name, "disconnect").await;
        }
    });
}

/// After a kill nothing is left of it: the client comes back by itself and begins anew.
#[test]
fn the_official_client_comes_back_after_a_restart_by_itself() {
    run(async {
        let (mut hub, token) = hub();
        let mut stock = Stock::start().await;
        let first = stock.open("one", &format!("http://{}/ai", hub.address), &token, &["websocket"]).await;
        let address = hub.address.clone();
        hub.signal_term();
        let told = stock.told("one", "disconnect").await;
        assert_eq!((&told["reason"], &told["active"]), (&json!("transport close"), &json!(true)), "{told}");
        hub.wait();
        let _again = Hub::start_in(hub.data.clone(), HubOptions::default().listen(&address));
        let again = stock.told("one", "connect").await;
        assert!(again["recovered"] == false && again["id"] != first["id"], "{again}");
        assert_eq!(stock.ask("one", "chat", json!({"message": "hello"})).await["ok"], true);
    });
}
