//! The composition root: what is started in which order, and stopped in which.

mod doorkeeper;
mod gauges;
mod prune;
mod settings;
mod socketio;
mod watch;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::{App, middleware, web};
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::actors::connection::ConnectionKit;
use crate::actors::conversation::{ConversationActor, Drain};
use crate::actors::hub::LocalHub;
use crate::actors::registry::{Directory, LastCall, Registry, Resolve, WorkerStarted};
use crate::actors::socketio::{EngineKit, LocalEngine, Sessions};
use crate::actors::{Shared, acting, equip};
use crate::auth::accounts::Accounts;
use crate::auth::{self, Authenticator, first_start};
use crate::config::{Config, Live, LlmApi, Loaded};
use crate::domain::hub::Hub;
use crate::domain::ids::{Source, SystemSource};
use crate::error::close;
use crate::fanout::{self, Workers};
use crate::http::socketio::EngineHandle;
use crate::http::{self, Edge, Readiness};
use crate::limits::Limits;
use crate::providers;
use crate::store::{Store, StoreSettings};
use crate::telemetry::{self, Metrics};
use crate::tools::mcp::Servers;
use crate::transport::{self, Close, Handle, RunningServer, ServerSettings};
use crate::tuning::Tuning;
use doorkeeper::HubDoorkeeper;
use watch::{Told, Watch};

/// Conversations that are brought back at the same time after a start.
const SCAN: usize = 16;

/// How long a conversation, or the store, gets to answer while the hub stops.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long clients get to take their Close frame.
const FAREWELL: Duration = Duration::from_secs(3);

/// A hub that runs.
pub struct Running {
    server: RunningServer,
    store: Store,
    registry: Addr<Registry>,
    /// MCP servers.
    servers: Arc<Servers>,
    edge: web::Data<Edge>,
    watch: actix_rt::task::JoinHandle<()>,
    refusals: actix_rt::task::JoinHandle<()>,
    pruning: actix_rt::task::JoinHandle<()>,
    /// Opens the door for the first owner, if nobody has signed in yet.
    pub invitation: Option<SecretString>,
    pub address: SocketAddr,
}

/// Starts the hub and waits until it is told to stop.
///
/// # Errors
/// A sentence for the operator.
pub async fn serve(loaded: Loaded, store: StoreSettings, ready: impl FnOnce(&Running)) -> Result<(), String> {
    let drain = Duration::from_secs(loaded.config.server.drain_seconds);
    let running = start(loaded, store).await?;
    let mut signals = Signals::listen()?;
    ready(&running);
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    stop(running, drain, &mut signals).await
}

async fn start(loaded: Loaded, settings: StoreSettings) -> Result<Running, String> {
    let secret = auth::secret(&loaded.config)?;
    let store = Store::open(settings).map_err(|fault| fault.to_string())?;
    crate::failpoint::hook(&store);
    let tuning = Tuning::open(loaded, store.clone()).await.map_err(|fault| fault.to_string())?;
    let (live, tuning) = (tuning.config(), Arc::new(tuning));
    let config = live.get();
    telemetry::set_level(config.log.level);
    let tls = providers::http::tls(&[]).map_err(|fault| fault.message)?;
    let auth = Arc::new(Authenticator::new(live.clone(), &secret, store.clone()).with_tls(tls));
    let record = auth.clone();
    let shared = Shared {
        store: store.clone(),
        workers: Workers::new(config.server.worker_count()),
        settings: Live::new(Arc::new(settings::hub(&config).map_err(|error| error.0)?)),
        reload: settings::reload(tuning.clone()),
        refused: Arc::new(move |caller, operation, fault| record.refused_caller(caller, operation, fault)),
    };
    // What cannot be built is said now, not by a worker.
    settings::kit(&config, &Servers::start(Vec::new())).map_err(|fault| fault.message)?;
    let servers = Servers::start(settings::mcp(&config));
    let directory = Directory::default();
    let registry = Registry::new(shared.clone(), directory.clone()).start();
    let metrics = Metrics::start().map_err(|error| error.to_string())?;
    actix_rt::spawn(metrics.clone().upkeep());
    gauges::conversations(&metrics, directory.clone());
    gauges::store(&metrics, &store);
    let (sampled, readiness) = (metrics.clone(), readiness(&store, &config));
    let limits = Arc::new(Limits::new(&config.limits));
    let accounts = Accounts::new(store.clone(), config.clone(), Some(auth.clone()));
    let edge = Edge {
        config: live,
        tuning: tuning.clone(),
        auth: auth.clone(),
        accounts,
        limits: limits.clone(),
        metrics,
        readiness,
    };
    let edge = web::Data::new(edge);
    tuning.tells(settings::apply(limits.clone(), shared.settings.clone()));
    let refusals = actix_rt::spawn(write_refusals(auth.clone()));
    let (shown, engines) = (servers.clone(), Sessions::default());
    let hubs = Hubs { shared: shared.clone(), registry: registry.clone(), directory, limits, servers: shown, engines };
    // Read before anybody is let in: what changes from here on is told to the sockets.
    let newest = store.newest_change().await.map_err(|fault| fault.to_string())?;
    let told = Told::default();
    let server = listen(&config, &edge, (auth.clone(), told.clone()), hubs)?;
    let foreign = settings::foreign_pace(&config);
    let watch = Watch { store: store.clone(), auth, handle: server.handle(), told, foreign, tuning };
    let watch = watch.start(newest);
    let pruning = actix_rt::spawn(prune::hourly(store.clone(), prune::kept(&config), prune::FIRST));
    gauges::connections(&sampled, server.handle().counters().clone());
    let address = server.addresses().first().copied().unwrap_or(config.server.listen);
    let mut here = Config::clone(&config);
    here.server.listen = address;
    let invited = first_start::invite(&store, &here, SystemSource.now()).await;
    let invitation = invited.map_err(|fault| fault.message)?;
    actix_rt::spawn(bring_back(store.clone(), registry.clone(), config.server.worker_count()));
    Ok(Running { server, store, registry, servers, edge, watch, refusals, pruning, invitation, address })
}

/// Refusals at the doors reach the audit log a moment later.
async fn write_refusals(auth: Arc<Authenticator>) {
    loop {
        actix_rt::time::sleep(Duration::from_secs(1)).await;
        auth.write_refusals(false).await;
    }
}

/// What a worker needs to make its own handle of the hub.
#[derive(Clone)]
struct Hubs {
    shared: Shared,
    registry: Addr<Registry>,
    directory: Directory,
    limits: Arc<Limits>,
    servers: Arc<Servers>,
    engines: Sessions,
}

impl Hubs {
    fn hub(&self, worker: usize) -> LocalHub {
        LocalHub::new(self.shared.clone(), self.registry.clone(), self.directory.clone(), worker)
    }

    fn kit(&self) -> Rc<ConnectionKit> {
        let worker = transport::current_worker().unwrap_or_default();
        let hub: Rc<dyn Hub> = Rc::new(self.hub(worker));
        let (workers, settings) = (self.shared.workers.clone(), self.shared.settings.get());
        Rc::new(ConnectionKit { hub, workers, settings, limits: self.limits.clone() })
    }

    fn engine(&self, kit: &Rc<ConnectionKit>, auth: &Arc<Authenticator>, config: &Config) -> Rc<EngineKit> {
        socketio::kit(kit.clone(), self.engines.clone(), auth, settings::sockets(config))
    }
}

fn readiness(store: &Store, config: &Config) -> Readiness {
    let asked = store.clone();
    let parts: Vec<(_, http::Check)> = vec![(
        "store",
        Box::new(move || {
            let store = asked.clone();
            Box::pin(async move { store.ping().await.is_ok() })
        }),
    )];
    let providers = [("openai", &config.providers.openai), ("anthropic", &config.providers.anthropic)];
    let provider = |(name, api): (&'static str, &LlmApi)| {
        let url = api.base_url.clone();
        let check: http::Check = Box::new(move || Box::pin(providers::http::is_reachable(url.clone())));
        (name, check)
    };
    Readiness::new(parts, providers.into_iter().filter(|(_, api)| api.configured).map(provider).collect())
}

fn listen(
    config: &Arc<Config>,
    edge: &web::Data<Edge>,
    (auth, told): (Arc<Authenticator>, Told),
    hubs: Hubs,
) -> Result<RunningServer, String> {
    let listen = config.server.listen;
    let listener = bind(listen)
        .map_err(|error| format!("{listen} cannot be listened on: {error}; choose another with --listen"))?;
    let mut settings = ServerSettings::new(vec![listener]);
    settings.workers = config.server.worker_count();
    settings.tls = tls(config)?;
    let (total, each) = config.server.connection_limits(telemetry::open_files_limit());
    (settings.max_connections, settings.max_per_address) = (total, each);
    settings.head_timeout = Duration::from_secs(config.limits.head_seconds);
    settings.stall_timeout = Duration::from_secs(config.limits.stall_seconds);
    settings.body_timeout = Duration::from_secs(config.limits.body_seconds);
    let on_worker = {
        let (config, hubs) = (config.clone(), hubs.clone());
        move |worker: usize| {
            match settings::kit(&config, &hubs.servers) {
                Ok(mut kit) => {
                    let hub = hubs.hub(worker);
                    for tool in acting::tools(&hub) {
                        if let Err(fault) = kit.tools.add(tool) {
                            tracing::error!(%fault, "a worker has no tool for an action or a skill");
                        }
                    }
                    equip(kit);
                }
                Err(fault) => tracing::error!(%fault, "a worker has no providers and tools"),
            }
            fanout::start(hubs.shared.workers.clone(), worker);
            hubs.registry.do_send(WorkerStarted { worker, arbiter: Arbiter::current() });
        }
    };
    let hubs_of_app = hubs.clone();
    let doorkeeper = {
        let config = config.clone();
        let auth = auth.clone();
        move || -> Rc<dyn transport::Doorkeeper> {
            let limits = Rc::new(settings::sockets(&config));
            let kit = hubs.kit();
            Rc::new(HubDoorkeeper {
                config: config.clone(),
                auth: auth.clone(),
                engine: hubs.engine(&kit, &auth, &config),
                kit,
                limits,
                told: told.clone(),
            })
        }
    };
    let (edge, limits) = (edge.clone(), settings::sockets(config));
    let body_bytes = config.limits.frame_bytes;
    let config_of_app = config.clone();
    let app = move || {
        let kit = hubs_of_app.kit();
        App::new()
            .app_data(edge.clone())
            .app_data(http::ReaderLimits(Rc::new(limits.clone())))
            .app_data(http::HubHandle(kit.hub.clone()))
            .app_data(EngineHandle(Rc::new(LocalEngine(hubs_of_app.engine(&kit, &auth, &config_of_app)))))
            .wrap(middleware::from_fn(http::limit::limited))
            .wrap(middleware::from_fn(http::browsers))
            .wrap(middleware::from_fn(http::around))
            .configure(http::routes)
            .configure(http::limit::bodies(body_bytes))
    };
    transport::serve(settings, on_worker, doorkeeper, app).map_err(|error| error.to_string())
}

/// A listener whose backlog holds a storm of reconnecting clients.
fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let domain = if address.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn tls(config: &Config) -> Result<Option<Arc<rustls::ServerConfig>>, String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    if !config.tls.is_on() {
        return Ok(None);
    }
    let (certificate, key) = (&config.tls.certificate, &config.tls.key);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|e| format!("tls.certificate: {certificate}: {e}"))?
        .collect();
    let chain = chain.map_err(|e| format!("tls.certificate: {certificate}: {e}"))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("tls.key: {key}: {e}"))?;
    let made = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key_der);
    made.map(|config| Some(Arc::new(config))).map_err(|e| format!("tls: {e}"))
}

/// Brings every conversation back that had a turn under way or waiting.
async fn bring_back(store: Store, registry: Addr<Registry>, workers: usize) {
    let waiting = loop {
        match store.unsettled().await {
            Ok(waiting) => break waiting,
            Err(fault) => tracing::error!(%fault, "the conversations under way could not be listed; trying again"),
        }
        actix_rt::time::sleep(Duration::from_secs(1)).await;
    };
    if !waiting.is_empty() {
        tracing::info!(count = waiting.len(), "bringing conversations back");
    }
    for (turn, chunk) in waiting.chunks(SCAN).enumerate() {
        for (place, worker) in chunk.iter().zip(0..) {
            // An actor starts by itself once it is resolved; the workers may not all be there yet.
            let ask = Resolve { place: place.clone(), worker: (turn + worker) % workers };
            while let Ok(None) = registry.send(ask.clone()).await {
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        }
        actix_rt::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What tells the hub to stop. Kept over the stop itself, so that no second signal is missed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|e| format!("signals cannot be listened to: {e}"));
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Stops in order: no new connections, turns end or are marked, everything is on disk, clients are told to come back.
async fn stop(running: Running, drain: Duration, signals: &mut Signals) -> Result<(), String> {
    let Running { server, store, registry, servers, edge, watch, refusals, pruning, .. } = running;
    let handle: Handle = server.handle();
    edge.readiness.stop();
    handle.pause().await;
    end_turns(&store, &registry, drain, signals).await;
    let close = Close::new(close::RESTARTING, "the hub restarts: come back in a moment");
    let left = handle.close_all(close, FAREWELL).await;
    if left > 0 {
        tracing::info!(left, "clients that did not take their farewell");
    }
    servers.stop().await;
    watch.abort();
    refusals.abort();
    pruning.abort();
    edge.auth.write_refusals(true).await;
    store.close().await;
    handle.stop().await;
    server.wait().await.map_err(|error| error.to_string())?;
    tracing::info!("stopped");
    Ok(())
}

/// Turns get until `drain`, or a second signal, to end by themselves, and none is started. What still runs then is
/// marked `interrupted`.
async fn end_turns(store: &Store, registry: &Addr<Registry>, drain: Duration, signals: &mut Signals) {
    let everybody = registry.send(LastCall).await.unwrap_or_default();
    let until = tokio::time::Instant::now() + drain;
    while tell_all(&everybody, false).await > 0 && tokio::time::Instant::now() < until {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping at once");
                break;
            }
            () = actix_rt::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    let left = tell_all(&everybody, true).await;
    if left > 0 {
        tracing::warn!(left, "conversations that could not mark their turn: the next start does");
    }
    if tokio::time::timeout(PATIENCE, store.flush()).await.is_err() {
        tracing::warn!("the store does not end what it has begun");
    }
}

/// Tells all conversations that the hub stops. Gives how many have a turn at work, or do not answer.
async fn tell_all(everybody: &[Addr<ConversationActor>], now: bool) -> usize {
    let tell = |conversation: &Addr<ConversationActor>| {
        let (answer, answered) = oneshot::channel();
        conversation.do_send(Drain { now, answer });
        // One that has left memory has nothing at work.
        async move { tokio::time::timeout(PATIENCE, answered).await.map(|answer| answer.unwrap_or(false)) }
    };
    let answers = futures_util::future::join_all(everybody.iter().map(tell)).await;
    answers.into_iter().filter(|at_work| *at_work != Ok(false)).count()
}
