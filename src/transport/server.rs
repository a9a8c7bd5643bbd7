//! One actix-server on all listeners: HTTP/1 for the App, and beside it the upgrades to raw sockets.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use actix_codec::Framed;
use actix_http::{HttpService, Request, Response, body::MessageBody, error::DispatchError, h1};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    accept::{Entrance, HttpIo},
    counters::{Counters, OpenConnections},
    guard::Gate,
    settings::{Close, ServerSettings},
    upgrade::{self, Doorkeeper},
    worker::{self, Order},
};

/// How long dropped sockets may take to leave the count.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What the workers take from the thread that starts them.
struct Start {
    counters: Arc<Counters>,
    next: AtomicUsize,
    orders: Mutex<Vec<Option<UnboundedReceiver<Order>>>>,
}

impl Start {
    /// Makes the calling thread the next worker; its index, or `None` if it is one already.
    fn worker(&self) -> Option<usize> {
        if worker::is_started() {
            return None;
        }
        let index = self.next.fetch_add(1, Relaxed);
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = orders.get_mut(index).and_then(Option::take);
        let (Some(receiver), Some(counters)) = (receiver, self.counters.worker(index)) else {
            // actix-server replaces a worker that died: its sockets and actors are lost already.
            tracing::error!("a worker died; ending the process");
            std::process::abort();
        };
        worker::start(index, counters, receiver);
        Some(index)
    }
}

/// A server that accepts connections. Dropping it does not stop it.
pub struct RunningServer {
    handle: Handle,
    addresses: Vec<SocketAddr>,
    task: actix_rt::task::JoinHandle<io::Result<()>>,
}

/// Orders to a running server, from any thread.
#[derive(Clone)]
pub struct Handle {
    server: ServerHandle,
    counters: Arc<Counters>,
    workers: Arc<[UnboundedSender<Order>]>,
}

/// Starts a server on the current actix system.
///
/// On each worker's thread, before it accepts: `on_worker` (with the worker's index; an arbiter is
/// current), then `doorkeeper` and `app` once per listener. They must not wait for the calling thread.
///
/// # Errors
/// A listener that cannot be used. What fails later is told by [`RunningServer::wait`].
pub fn serve<W, D, A, I, S, B>(
    settings: ServerSettings,
    on_worker: W,
    doorkeeper: D,
    app: A,
) -> io::Result<RunningServer>
where
    W: Fn(usize) + Clone + Send + 'static,
    D: Fn() -> Rc<dyn Doorkeeper> + Clone + Send + 'static,
    A: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Future: 'static,
    S::Error: Into<Response<actix_http::body::BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as actix_service::Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let counters = Arc::new(Counters::new(settings.workers));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..settings.workers).map(|_| unbounded_channel()).map(|(sender, receiver)| (sender, Some(receiver))).unzip();
    let start =
        Arc::new(Start { counters: counters.clone(), next: AtomicUsize::new(0), orders: Mutex::new(receivers) });
    let entrance = Entrance {
        gate: Arc::new(Gate::new(counters.clone(), settings.max_connections, settings.max_per_address)),
        tls: settings.tls.as_deref().map(acceptor),
        tls_timeout: settings.tls_timeout,
    };
    let mut builder = Server::build()
        .workers(settings.workers)
        .disable_signals()
        .max_concurrent_connections(usize::MAX / 2)
        .shutdown_timeout(settings.stop_timeout.as_secs());
    let mut addresses = Vec::new();
    for listener in settings.listeners {
        addresses.push(listener.local_addr()?);
        let stopping = builder.graceful_shutdown_signal();
        let (start, entrance) = (start.clone(), entrance.clone());
        let (on_worker, doorkeeper, app) = (on_worker.clone(), doorkeeper.clone(), app.clone());
        let (head_timeout, keep_alive, upgrade_timeout) =
            (settings.head_timeout, settings.keep_alive, settings.upgrade_timeout);
        builder = builder.listen("switchboard", listener, move || {
            if let Some(index) = start.worker() {
                on_worker(index);
            }
            let entrance = entrance.clone();
            let doorkeeper = doorkeeper();
            let stopping = stopping.clone();
            let upgrades = fn_service(move |(request, framed): (Request, Framed<HttpIo, h1::Codec>)| {
                let doorkeeper = doorkeeper.clone();
                async move {
                    upgrade::upgrade(request, framed, doorkeeper, upgrade_timeout).await;
                    Ok::<_, Infallible>(())
                }
            });
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(keep_alive)
                .client_request_timeout(head_timeout)
                .client_disconnect_timeout(Duration::ZERO)
                .h1_allow_half_closed(false)
                .upgrade(upgrades)
                .h1(map_config(app(), |()| AppConfig::default()));
            fn_service(move |tcp: TcpStream| {
                let entrance = entrance.clone();
                async move {
                    let io = entrance.accept(tcp).await.map_err(DispatchError::Io)?;
                    let peer = io.peer();
                    Ok::<_, DispatchError>((io, Some(peer)))
                }
            })
            .and_then(http)
        })?;
    }
    let server = builder.run();
    Ok(RunningServer {
        handle: Handle { server: server.handle(), counters, workers: senders.into() },
        addresses,
        task: actix_rt::spawn(server),
    })
}

/// HTTP/1.1 alone is offered: an upgrade cannot be had from HTTP/2.
fn acceptor(config: &rustls::ServerConfig) -> TlsAcceptor {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

impl RunningServer {
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Addresses of the listeners, in their order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// A worker could not be started.
    pub async fn wait(self) -> io::Result<()> {
        self.task.await.map_err(io::Error::other)?
    }
}

impl Handle {
    /// Stops accepting. What is open goes on.
    pub async fn pause(&self) {
        self.server.pause().await;
    }

    /// Closes every socket on all workers, and every one that still comes, and waits until all are
    /// gone. Those that are not after `patience` are dropped; gives how many that were.
    pub async fn close_all(&self, close: Close, patience: Duration) -> usize {
        self.order(|| Order::CloseAll(close.clone()));
        if self.none_left(Instant::now() + patience).await {
            return 0;
        }
        let cut = self.open_connections().upgraded;
        self.order(|| Order::AbortAll);
        self.none_left(Instant::now() + AFTERMATH).await;
        cut
    }

    fn order(&self, order: impl Fn() -> Order) {
        for worker in self.workers.iter() {
            // A worker that no longer listens has no sockets.
            let _ = worker.send(order());
        }
    }

    async fn none_left(&self, deadline: Instant) -> bool {
        loop {
            let gone = self.counters.none_left.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.open_connections().upgraded == 0 {
                return true;
            }
            if timeout_at(deadline, gone).await.is_err() {
                return self.open_connections().upgraded == 0;
            }
        }
    }

    /// Stops the server once its HTTP requests are answered, or `stop_timeout` is over. Sockets are
    /// not waited for: [`Handle::close_all`] comes first.
    pub async fn stop(&self) {
        self.server.stop(true).await;
    }

    /// Connections open now.
    pub fn open_connections(&self) -> OpenConnections {
        self.counters.open_connections()
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}
