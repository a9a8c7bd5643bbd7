//! One actix-server on all listeners, and the orders one can give it.

use std::{
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use actix_http::{
    Request, Response,
    body::{BoxBody, MessageBody},
};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::dev::AppConfig;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    accept::Entrance,
    counters::{Counters, OpenConnections},
    guard::Gate,
    patience::Patiences,
    service::{self, Plan},
    settings::{Close, ServerSettings},
    upgrade::Doorkeeper,
    worker::{self, Order},
};

/// How long dropped sockets may take to leave the count.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What the workers take from the thread that starts them.
struct Start {
    counters: Arc<Counters>,
    next: AtomicUsize,
    orders: Mutex<Vec<Option<UnboundedReceiver<Order>>>>,
    workers: Arc<[UnboundedSender<Order>]>,
}

impl Start {
    fn new(counters: Arc<Counters>, workers: usize) -> Start {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| unbounded_channel()).map(|(sender, receiver)| (sender, Some(receiver))).unzip();
        Start { counters, next: AtomicUsize::new(0), orders: Mutex::new(receivers), workers: senders.into() }
    }

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
        worker::start(index, counters, receiver, self.workers.clone());
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
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let counters = Arc::new(Counters::new(settings.workers));
    let start = Arc::new(Start::new(counters.clone(), settings.workers));
    let entrance = Entrance {
        gate: Arc::new(Gate::new(counters.clone(), settings.max_connections, settings.max_per_address)),
        tls: settings.tls.as_deref().map(acceptor),
        tls_timeout: settings.tls_timeout,
        patiences: Patiences {
            head: settings.head_timeout,
            keep_alive: settings.keep_alive,
            stall: settings.stall_timeout,
        },
    };
    let mut builder = Server::build()
        .workers(settings.workers)
        .disable_signals()
        .max_concurrent_connections(usize::MAX / 2) // the gate counts
        .shutdown_timeout(settings.stop_timeout.as_secs());
    let plan = Plan {
        entrance,
        stopping: builder.graceful_shutdown_signal(),
        head_timeout: settings.head_timeout,
        body_timeout: settings.body_timeout,
        upgrade_timeout: settings.upgrade_timeout,
        keep_alive: settings.keep_alive,
    };
    let mut addresses = Vec::new();
    for listener in settings.listeners {
        addresses.push(listener.local_addr()?);
        let (start, plan) = (start.clone(), plan.clone());
        let (on_worker, doorkeeper, app) = (on_worker.clone(), doorkeeper.clone(), app.clone());
        builder = builder.listen("switchboard", listener, move || {
            if let Some(index) = start.worker() {
                on_worker(index);
            }
            service::connections(plan.clone(), doorkeeper(), app())
        })?;
    }
    let server = builder.run();
    Ok(RunningServer {
        handle: Handle { server: server.handle(), counters, workers: start.workers.clone() },
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

    /// Runs something on every worker's thread, each in a task of its own.
    pub fn on_every_worker(&self, what: impl Fn() + Clone + Send + 'static) {
        self.order(|| Order::Run(Box::new(what.clone())));
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
