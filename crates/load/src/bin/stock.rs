//! The stock way: a small hub on actix and actix-web-actors as their documentation shows it. It is evidence for
//! Switchboard's transport decision, and no part of Switchboard. Each connection is a `WebsocketContext` actor with
//! the documented heartbeat; a registry actor sends every subscriber a `String` with `do_send`.
//!
//! One line differs from the documentation: `tcp_nodelay(true)`, without which every delivery waits 40 ms for an ACK.
//! `GET /stats` tells what a reader that stops does to its actor: how long its own timer has been silent and how
//! many messages wait in its mailbox.
use actix::prelude::*;
use actix_web::web::{Data, Payload, Query};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use switchboard_load::clock;
use switchboard_load::token;

/// Heartbeat and its deadline, as in the documentation's examples.
const HEARTBEAT: Duration = Duration::from_secs(5);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timer by which an actor shows that it lives.
const TICK: Duration = Duration::from_millis(100);
/// A timer silent for so long stands still.
const FROZEN: u64 = clock::SECOND;

/// What can be seen of one connection's actor from outside.
#[derive(Default)]
struct Pulse {
    last_tick: AtomicU64,
    sent: AtomicU64,
    handled: AtomicU64,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Outgoing(String);

#[derive(Message)]
#[rtype(result = "usize")]
struct Connect(Recipient<Outgoing>, Arc<Pulse>);

#[derive(Message)]
#[rtype(result = "()")]
struct Disconnect(usize);

#[derive(Message)]
#[rtype(result = "()")]
struct Subscribe(usize, Vec<String>);

#[derive(Message)]
#[rtype(result = "()")]
struct Publish {
    channel: String,
    text: String,
}

#[derive(Message)]
#[rtype(result = "String")]
struct Stats;

/// The registry: who is there, and who hears which channel.
#[derive(Default)]
struct Hub {
    next: usize,
    sessions: HashMap<usize, (Recipient<Outgoing>, Arc<Pulse>)>,
    channels: HashMap<String, HashSet<usize>>,
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // the default mailbox of 16 holds senders back; do_send ignores the bound, send does not
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<Connect> for Hub {
    type Result = usize;
    fn handle(&mut self, m: Connect, _: &mut Self::Context) -> usize {
        self.next += 1;
        self.sessions.insert(self.next, (m.0, m.1));
        self.next
    }
}

impl Handler<Disconnect> for Hub {
    type Result = ();
    fn handle(&mut self, m: Disconnect, _: &mut Self::Context) {
        self.sessions.remove(&m.0);
        for members in self.channels.values_mut() {
            members.remove(&m.0);
        }
    }
}

impl Handler<Subscribe> for Hub {
    type Result = ();
    fn handle(&mut self, m: Subscribe, _: &mut Self::Context) {
        for channel in m.1 {
            self.channels.entry(channel).or_default().insert(m.0);
        }
    }
}

impl Handler<Publish> for Hub {
    type Result = ();
    fn handle(&mut self, m: Publish, _: &mut Self::Context) {
        let Some(members) = self.channels.get(&m.channel) else {
            return;
        };
        for id in members {
            if let Some((session, pulse)) = self.sessions.get(id) {
                pulse.sent.fetch_add(1, Relaxed);
                session.do_send(Outgoing(m.text.clone()));
            }
        }
    }
}

impl Handler<Stats> for Hub {
    type Result = String;
    fn handle(&mut self, _: Stats, _: &mut Self::Context) -> String {
        let now = clock::now();
        let silences: Vec<u64> =
            self.sessions.values().map(|(_, p)| now.saturating_sub(p.last_tick.load(Relaxed))).collect();
        let waiting = |p: &Pulse| p.sent.load(Relaxed).saturating_sub(p.handled.load(Relaxed));
        json!({
            "actors": silences.len(),
            "actors_frozen": silences.iter().filter(|s| **s > FROZEN).count(),
            "longest_silence_s": silences.iter().max().map_or(0.0, |s| *s as f64 / clock::SECOND as f64),
            "mailbox_max": self.sessions.values().map(|(_, p)| waiting(p)).max(),
        })
        .to_string()
    }
}

/// One connection.
struct Session {
    id: usize,
    hub: Addr<Hub>,
    heard: Instant,
    pulse: Arc<Pulse>,
}

impl Actor for Session {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(HEARTBEAT, |me, ctx| {
            if me.heard.elapsed() > CLIENT_TIMEOUT {
                ctx.stop();
                return;
            }
            ctx.ping(b"");
        });
        self.pulse.last_tick.store(clock::now(), Relaxed);
        ctx.run_interval(TICK, |me, _| me.pulse.last_tick.store(clock::now(), Relaxed));
        let connect = Connect(ctx.address().recipient(), self.pulse.clone());
        self.hub
            .send(connect)
            .into_actor(self)
            .then(|id, me, ctx| {
                match id {
                    Ok(id) => me.id = id,
                    Err(_) => ctx.stop(),
                }
                fut::ready(())
            })
            .wait(ctx);
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.hub.do_send(Disconnect(self.id));
        Running::Stop
    }
}

impl Handler<Outgoing> for Session {
    type Result = ();
    fn handle(&mut self, m: Outgoing, ctx: &mut Self::Context) {
        self.pulse.handled.fetch_add(1, Relaxed);
        ctx.text(m.0);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Ping(bytes)) => {
                self.heard = Instant::now();
                ctx.pong(&bytes);
            }
            Ok(ws::Message::Pong(_)) => self.heard = Instant::now(),
            Ok(ws::Message::Text(text)) => {
                self.heard = Instant::now();
                self.frame(&text, ctx);
            }
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(ws::Message::Binary(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Continuation(_)) | Err(_) => ctx.stop(),
        }
    }
}

impl Session {
    fn frame(&mut self, text: &str, ctx: &mut ws::WebsocketContext<Self>) {
        let Ok(mut frame) = serde_json::from_str::<Value>(text) else {
            ctx.text(json!({"type": "error", "code": "bad_request", "message": "no JSON"}).to_string());
            return;
        };
        match frame["type"].as_str() {
            Some("publish") => {
                let channel = frame["channel"].as_str().unwrap_or_default().to_owned();
                let event = frame["event"].take();
                let data = frame["data"].take();
                let text = json!({"type": "event", "channel": channel, "event": event, "data": data}).to_string();
                self.hub.do_send(Publish { channel, text });
            }
            Some("subscribe") => self.subscribe(&frame, ctx),
            Some("ping") => ctx.text(json!({"type": "pong"}).to_string()),
            _ => ctx.text(json!({"type": "error", "code": "bad_request", "message": "unknown type"}).to_string()),
        }
    }

    fn subscribe(&mut self, frame: &Value, ctx: &mut ws::WebsocketContext<Self>) {
        let named = frame["channels"].as_array().into_iter().flatten();
        let names: Vec<String> = named.filter_map(|c| c.as_str().map(str::to_owned)).collect();
        let id = frame["id"].clone();
        // answered when the registry has it, so that nothing published afterwards is missed
        self.hub
            .send(Subscribe(self.id, names.clone()))
            .into_actor(self)
            .then(move |_, _, ctx| {
                for channel in &names {
                    ctx.text(json!({"type": "subscribed", "channel": channel}).to_string());
                }
                ctx.text(json!({"type": "response", "id": id, "result": {"subscribed": names}}).to_string());
                fut::ready(())
            })
            .wait(ctx);
    }
}

struct Settings {
    secret: String,
    hub: Addr<Hub>,
}

async fn upgrade(
    request: HttpRequest,
    stream: Payload,
    query: Query<HashMap<String, String>>,
    settings: Data<Settings>,
) -> Result<HttpResponse, Error> {
    let given = query.get("token").map(String::as_str).unwrap_or_default();
    if token::verify(&settings.secret, given).is_err() {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let session =
        Session { id: 0, hub: settings.hub.clone(), heard: Instant::now(), pulse: Arc::new(Pulse::default()) };
    ws::start(session, &request, stream)
}

async fn stats(settings: Data<Settings>) -> HttpResponse {
    match settings.hub.send(Stats).await {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let wanted = |name: &str| std::env::var(name).map_err(|_| std::io::Error::other(format!("{name} is not set")));
    let port: u16 = wanted("PEER_PORT")?.parse().map_err(std::io::Error::other)?;
    let settings = Data::new(Settings { secret: wanted("PEER_SECRET")?, hub: Hub::default().start() });
    let app = move || {
        App::new()
            .app_data(settings.clone())
            .route("/ws", web::get().to(upgrade))
            .route("/stats", web::get().to(stats))
            .route("/ready", web::get().to(HttpResponse::Ok))
    };
    HttpServer::new(app).tcp_nodelay(true).bind(("127.0.0.1", port))?.run().await
}
