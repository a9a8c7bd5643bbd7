//! Hears of every change of somebody's rights, whoever made it, and brings it to the sockets that are open; and of
//! every change of the hub's settings.
//!
//! Order matters: first what is remembered is forgotten, then the number rises, then the workers are told. A handshake
//! that asked before the first and opens after the last sees by the number that it was overtaken.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::task::JoinHandle;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::actors::standing::{self, Confirm};
use crate::auth::Authenticator;
use crate::domain::account::Change;
use crate::domain::principal::Principal;
use crate::store::Store;
use crate::transport::Handle;
use crate::tuning::Tuning;

/// How late a change made by another process is heard of.
const STEP: Duration = Duration::from_millis(250);

/// What was read of the old rights while the change was written may be remembered, or attached, a moment after it was
/// told: every change is told twice.
const ECHO: Duration = Duration::from_millis(500);

/// How many changes were told to the workers.
#[derive(Clone, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct Watch {
    pub store: Store,
    pub auth: Arc<Authenticator>,
    pub handle: Handle,
    pub told: Told,
    /// How often sessions of other applications are asked about: nobody tells when one ends.
    pub foreign: Option<Duration>,
    pub tuning: Arc<Tuning>,
}

/// How a worker asks about a credential.
pub fn confirm(auth: &Arc<Authenticator>) -> Confirm {
    let auth = auth.clone();
    Rc::new(move |principal: Arc<Principal>| {
        let auth = auth.clone();
        Box::pin(async move { auth.renew(&principal).await })
    })
}

impl Watch {
    /// Follows the changes after `last` until it is aborted. Without it a revocation would be heard by nobody: its panic
    /// ends the process.
    pub fn start(self, last: u64) -> JoinHandle<()> {
        actix_rt::spawn(async move {
            if AssertUnwindSafe(self.follow(last)).catch_unwind().await.is_err() {
                tracing::error!("the watch over changes of rights panicked; ending the process");
                std::process::abort();
            }
        })
    }

    async fn follow(self, mut last: u64) {
        let mut echoes: VecDeque<(Instant, Change)> = VecDeque::new();
        let mut failing = false;
        let mut asked = Instant::now();
        loop {
            let _ = timeout(STEP, self.store.changed()).await;
            if self.foreign.is_some_and(|pace| asked.elapsed() >= pace) {
                asked = Instant::now();
                let auth = self.auth.clone();
                self.handle.on_every_worker(move || standing::review_foreign(&confirm(&auth)));
            }
            while echoes.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                if let Some((_, change)) = echoes.pop_front() {
                    self.tell(&change);
                }
            }
            let changes = match self.store.changes_after(last).await {
                Ok(changes) => changes,
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%fault, "changes of rights cannot be read; open sockets keep theirs until they can");
                    }
                    continue;
                }
            };
            if let Err(fault) = self.tuning.hear().await {
                tracing::warn!(%fault, "changes of settings cannot be read");
            }
            if std::mem::take(&mut failing) {
                tracing::info!("changes of rights can be read again");
            }
            for change in changes {
                last = last.max(change.n);
                self.tell(&change);
                echoes.push_back((Instant::now() + ECHO, change));
            }
        }
    }

    fn tell(&self, change: &Change) {
        self.auth.forget(change);
        self.told.0.fetch_add(1, Ordering::SeqCst);
        let (auth, change) = (self.auth.clone(), change.clone());
        self.handle.on_every_worker(move || {
            standing::review(&change.organization, change.user.as_ref(), &confirm(&auth));
        });
    }
}
