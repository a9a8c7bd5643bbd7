//! What one worker thread owns: its table of sockets, the dirty list and the task that flushes it at
//! the end of a tick, the read and write buffers all its sockets share, and orders from outside.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use ahash::AHashMap;
use tokio::sync::mpsc;

use super::{
    blocked,
    counters::WorkerCounters,
    heartbeat::Heartbeat,
    outbound::{Outbound, Wrote},
    settings::{Close, ConnectionId, SocketLimits},
    stream::RawStream,
};

/// Size of the read buffer that all sockets of a worker share, in bytes.
const READ_BUFFER: usize = 64 << 10;

/// What a worker's sockets share.
pub(super) struct Worker {
    index: usize,
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) heartbeat: Heartbeat,
    pub(super) scratch: RefCell<Vec<u8>>,
    read_buffer: RefCell<Vec<u8>>,
    dirty: RefCell<Vec<Rc<Outbound>>>,
    flusher: RefCell<Option<Waker>>,
    opened: Cell<u64>,
    closing: RefCell<Option<Close>>,
    all: Arc<[mpsc::UnboundedSender<Order>]>,
}

struct Local {
    worker: Rc<Worker>,
    /// Holds every socket until it is gone. Apart from [`Worker`], which every socket points to: the
    /// thread's end must drop the sockets.
    table: AHashMap<u64, Rc<Outbound>>,
    drained: Option<Drained>,
}

impl Drop for Local {
    /// The thread ends: whoever still shares a socket must not keep it open.
    fn drop(&mut self) {
        for (_, outbound) in self.table.drain() {
            outbound.abort();
        }
        self.worker.dirty.take();
    }
}

/// What is called with a lagging socket whose queue has drained.
pub type Drained = Rc<dyn Fn(&Rc<Outbound>)>;

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// An order to a worker from another thread.
pub(super) enum Order {
    /// Closes every socket and whatever still becomes one.
    CloseAll(Close),
    /// Drops every socket.
    AbortAll,
    /// Runs something on the worker's thread: a socket moves in.
    Run(Box<dyn FnOnce() + Send>),
}

/// Makes this thread a worker and starts its tasks. An actix arbiter must be current.
///
/// `all` reaches every worker by index, this one by `orders`.
pub(super) fn start(
    index: usize,
    counters: Arc<WorkerCounters>,
    orders: mpsc::UnboundedReceiver<Order>,
    all: Arc<[mpsc::UnboundedSender<Order>]>,
) {
    let worker = Rc::new(Worker {
        index,
        counters,
        heartbeat: Heartbeat::default(),
        scratch: RefCell::new(Vec::with_capacity(READ_BUFFER)),
        read_buffer: RefCell::new(vec![0; READ_BUFFER]),
        dirty: RefCell::default(),
        flusher: RefCell::default(),
        opened: Cell::new(0),
        closing: RefCell::default(),
        all,
    });
    LOCAL.with_borrow_mut(|local| {
        *local = Some(Local { worker: worker.clone(), table: AHashMap::new(), drained: None });
    });
    singleton("flusher", flusher(worker.clone()));
    singleton("heartbeat", super::heartbeat::beat(worker.clone()));
    singleton("orders", obey(worker, orders));
}

/// Whether this thread is a worker already (it serves several listeners).
pub(super) fn is_started() -> bool {
    LOCAL.with_borrow(|local| local.is_some())
}

/// Runs a task without which the worker is of no use: its panic ends the process.
pub(super) fn singleton(name: &'static str, task: impl Future<Output = ()> + 'static) {
    actix_rt::spawn(async move {
        let _end = EndOnPanic(name);
        task.await;
    });
}

struct EndOnPanic(&'static str);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a worker's task panicked; ending the process");
            std::process::abort();
        }
    }
}

/// Registers the callback that hears of lagging sockets that have drained. One per worker thread;
/// a later one replaces it. Its panic ends the process.
pub fn on_drained(callback: Drained) {
    LOCAL.with_borrow_mut(|local| {
        if let Some(local) = local {
            local.drained = Some(callback);
        }
    });
}

/// Calls `use_it` with this worker's socket of that id; `None` if it is gone or lives elsewhere.
pub fn with_connection<R>(id: ConnectionId, use_it: impl FnOnce(&Rc<Outbound>) -> R) -> Option<R> {
    let found = LOCAL.with_borrow(|local| local.as_ref()?.table.get(&id.0).cloned());
    found.map(|outbound| use_it(&outbound))
}

/// This thread's index, if it is a worker.
pub fn current_worker() -> Option<usize> {
    LOCAL.with_borrow(|local| local.as_ref().map(|local| local.worker.index))
}

/// Puts a new socket into this worker's table. `None` on a thread that is no worker.
/// Without a stream it is a connection whose queue an HTTP body takes.
pub(super) fn insert(
    peer: std::net::SocketAddr,
    stream: Option<RawStream>,
    limits: Rc<SocketLimits>,
) -> Option<Rc<Outbound>> {
    LOCAL.with_borrow_mut(|local| {
        let local = local.as_mut()?;
        let worker = &local.worker;
        let count = worker.opened.get() + 1;
        worker.opened.set(count);
        let id = ConnectionId::new(worker.index, count);
        let outbound = Rc::new(Outbound::new(id, peer, stream, limits, worker.clone()));
        local.table.insert(id.0, outbound.clone());
        Some(outbound)
    })
}

/// Takes a socket out of the table. Does nothing at the thread's end, when there is no table.
pub(super) fn remove(id: ConnectionId) {
    let removed = LOCAL.try_with(|local| {
        let mut local = local.try_borrow_mut().ok()?;
        local.as_mut()?.table.remove(&id.0)
    });
    drop(removed);
}

/// How sockets are closed here now, if the server is stopping.
pub(super) fn closing() -> Option<Close> {
    LOCAL.with_borrow(|local| local.as_ref()?.worker.closing.borrow().clone())
}

/// Runs `what` on the worker of that index. `false` if there is none.
pub(super) fn send_to(index: usize, what: impl FnOnce() + Send + 'static) -> bool {
    LOCAL.with_borrow(|local| {
        let worker = local.as_ref().and_then(|local| local.worker.all.get(index));
        worker.is_some_and(|worker| worker.send(Order::Run(Box::new(what))).is_ok())
    })
}

impl Worker {
    /// Schedules a flush. The task runs after everything that is ready now.
    pub(super) fn mark_dirty(&self, outbound: Rc<Outbound>) {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(outbound);
        if dirty.len() == 1
            && let Some(flusher) = &*self.flusher.borrow()
        {
            flusher.wake_by_ref();
        }
    }

    /// Lends the shared read buffer. Whoever comes while it is lent gets a new one.
    pub(super) fn with_read_buffer<R>(&self, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
        match self.read_buffer.try_borrow_mut() {
            Ok(mut buffer) => use_it(&mut buffer),
            Err(_) => use_it(&mut vec![0; READ_BUFFER]),
        }
    }
}

async fn flusher(worker: Rc<Worker>) {
    let mut list = Vec::new();
    poll_fn(|cx| {
        let mut waker = worker.flusher.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        std::mem::swap(&mut list, &mut *worker.dirty.borrow_mut());
        for outbound in list.drain(..) {
            if outbound.take_dirty() {
                flush(&outbound);
            }
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Writes one socket's queue and sees to what follows from it.
fn flush(outbound: &Rc<Outbound>) {
    match outbound.write_queue() {
        Wrote::Everything if outbound.is_closing() => blocked::drive(outbound.clone()),
        Wrote::Everything => drained(outbound),
        Wrote::Blocked => blocked::drive(outbound.clone()),
        Wrote::Failed => outbound.abort(),
    }
}

/// Calls the drained callback if the socket was lagging. Its queue is empty.
pub(super) fn drained(outbound: &Rc<Outbound>) {
    if outbound.take_lagging() {
        let callback = LOCAL.with_borrow(|local| local.as_ref()?.drained.clone());
        if let Some(callback) = callback {
            callback(outbound);
        }
    }
}

fn all() -> Vec<Rc<Outbound>> {
    LOCAL.with_borrow(|local| {
        let table = local.as_ref().map(|local| local.table.values().cloned().collect());
        table.unwrap_or_default()
    })
}

/// A worker's sockets by id, for the heartbeat.
pub(super) fn find(id: u64) -> Option<Rc<Outbound>> {
    LOCAL.with_borrow(|local| local.as_ref()?.table.get(&id).cloned())
}

async fn obey(worker: Rc<Worker>, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::CloseAll(close) => {
                *worker.closing.borrow_mut() = Some(close.clone());
                for outbound in all() {
                    outbound.close(close.clone());
                }
            }
            Order::AbortAll => all().iter().for_each(|outbound| outbound.abort()),
            // In a task of its own: whoever it belongs to, its panic is not the worker's.
            Order::Run(what) => drop(actix_rt::spawn(async move { what() })),
        }
    }
}
