//! What crosses threads: each worker has one inbox, and takes all that waits in it at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use super::Published;
use super::home::HomeLink;
use super::homes::HomeMail;
use crate::domain::channel::ChannelKey;
use crate::domain::event::Greeting;
use crate::domain::hub::{ConnectionNumber, DialectId};
use crate::error::Fault;
use crate::framing::Frame;
use crate::transport::{Close, current_worker};

/// A letter to a worker.
pub enum Mail {
    /// To all on this worker who listen to the channel and are not behind.
    Event(Arc<Published>),
    /// A subscriber is let in: these frames first, then what follows in this inbox.
    Attach {
        connection: ConnectionNumber,
        channel: ChannelKey,
        dialect: DialectId,
        greeted: bool,
        link: Arc<dyn HomeLink>,
        frames: Vec<Frame>,
    },
    /// To a subscriber that was behind and pulled what follows `from`: all up to `next`. `live`: it has caught up.
    CatchUp {
        connection: ConnectionNumber,
        channel: ChannelKey,
        dialect: DialectId,
        frames: Vec<Frame>,
        from: u64,
        next: u64,
        live: bool,
    },
    /// The hub ends a subscription.
    Detach {
        connection: ConnectionNumber,
        channel: ChannelKey,
        dialect: DialectId,
        fault: Fault,
    },
    /// The channel's numbering restarts: those who can hear it are told, the others' transport is cut.
    Reset {
        channel: ChannelKey,
        greeting: Arc<Greeting>,
        link: Arc<dyn HomeLink>,
    },
    Close {
        connection: ConnectionNumber,
        close: Close,
    },
    /// All who listen to this channel: its home is gone.
    CloseChannel {
        channel: ChannelKey,
        close: Close,
    },
    /// Something to be done on that thread, in its turn.
    Run(Box<dyn FnOnce() + Send>),
    /// To a home that lives on this worker.
    Home(HomeMail),
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<(Vec<Mail>, Option<Waker>)>,
}

/// All workers' inboxes.
#[derive(Clone)]
pub struct Workers(Arc<[Inbox]>);

impl Workers {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Inbox::default()).collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Delivers at once on the same worker, else through the inbox. Either way letters from one home stay in order.
    pub fn send(&self, worker: usize, mail: Mail) {
        if current_worker() == Some(worker) {
            return super::table::receive(self, mail);
        }
        let Some(inbox) = self.0.get(worker) else { return };
        let mut waiting = inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0.push(mail);
        // A worker is woken once for all that waits: waking a sleeping thread is what costs.
        if let Some(waker) = waiting.1.take() {
            waker.wake();
        }
    }

    /// Asks something on a worker's own thread. `None` where there is no such worker.
    pub async fn ask<T: Send + 'static>(&self, worker: usize, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(worker, Mail::Run(Box::new(move || drop(answer.send(ask())))));
        answered.await.ok()
    }

    /// Asks every worker; the answers in the workers' order.
    pub async fn ask_all<T: Send + 'static>(&self, ask: impl Fn() -> T + Clone + Send + 'static) -> Vec<T> {
        let all = (0..self.count()).map(|worker| self.ask(worker, ask.clone()));
        futures_util::future::join_all(all).await.into_iter().flatten().collect()
    }

    pub fn send_to_all(&self, mut mail: impl FnMut() -> Mail) {
        for worker in 0..self.count() {
            self.send(worker, mail());
        }
    }

    /// Takes all that waits for this worker now. What a home told before it answered is delivered before the answer.
    pub fn read_now(&self) {
        let Some(inbox) = current_worker().and_then(|worker| self.0.get(worker)) else { return };
        let taken = std::mem::take(&mut inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner).0);
        for mail in taken {
            super::table::receive(self, mail);
        }
    }

    /// Takes letters for this worker until the end of the process.
    pub(super) async fn read(self, worker: usize) {
        let mut taken = Vec::new();
        std::future::poll_fn(|context| {
            if let Some(inbox) = self.0.get(worker) {
                let mut waiting = inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut taken, &mut waiting.0);
                waiting.1 = Some(context.waker().clone());
            }
            for mail in taken.drain(..) {
                super::table::receive(&self, mail);
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
