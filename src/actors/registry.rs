//! The registry: finds a conversation's home, or starts it. It never waits.

use std::sync::Arc;

use actix::prelude::*;
use dashmap::DashMap;

use super::Shared;
use super::conversation::ConversationActor;
use crate::domain::ids::{ConversationId, OrganizationId};

/// A conversation is looked for within an organization: an id alone finds nothing.
pub type Place = (OrganizationId, ConversationId);

/// Addresses of the conversations that are in memory. Read by everybody, written by the registry alone.
pub type Directory = Arc<DashMap<Place, Addr<ConversationActor>>>;

/// Find or start a conversation.
#[derive(Clone, Message)]
#[rtype(result = "Option<Addr<ConversationActor>>")]
pub struct Resolve {
    pub place: Place,
    /// Where to start it: on the worker that asks, which likely holds its first subscriber.
    pub worker: usize,
}

/// This conversation leaves memory: its address is forgotten before it stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget {
    pub place: Place,
    pub address: Addr<ConversationActor>,
}

/// A worker is there, and actors may be started on it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WorkerStarted {
    pub worker: usize,
    pub arbiter: ArbiterHandle,
}

/// The hub stops: no conversation is started any more. Gives all that are in memory.
#[derive(Message)]
#[rtype(result = "Vec<Addr<ConversationActor>>")]
pub struct LastCall;

pub struct Registry {
    shared: Shared,
    directory: Directory,
    arbiters: Vec<Option<ArbiterHandle>>,
    stopping: bool,
}

impl Registry {
    pub fn new(shared: Shared, directory: Directory) -> Self {
        let arbiters = (0..shared.workers.count()).map(|_| None).collect();
        Self { shared, directory, arbiters, stopping: false }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Everybody asks it; each question is answered at once.
        context.set_mailbox_capacity(65_536);
    }
}

impl Handler<Resolve> for Registry {
    type Result = Option<Addr<ConversationActor>>;

    fn handle(&mut self, ask: Resolve, context: &mut Self::Context) -> Self::Result {
        if let Some(known) = self.directory.get(&ask.place).map(|a| a.clone())
            && known.connected()
        {
            return Some(known);
        }
        if self.stopping {
            return None;
        }
        let arbiter = self.arbiters.get(ask.worker).or(self.arbiters.first())?.as_ref()?;
        let (shared, place, registry) = (self.shared.clone(), ask.place.clone(), context.address());
        let started =
            ConversationActor::start_in_arbiter(arbiter, move |_| ConversationActor::new(shared, place, registry));
        self.directory.insert(ask.place, started.clone());
        Some(started)
    }
}

impl Handler<Forget> for Registry {
    type Result = ();

    fn handle(&mut self, forget: Forget, _: &mut Self::Context) {
        self.directory.remove_if(&forget.place, |_, address| *address == forget.address);
    }
}

impl Handler<WorkerStarted> for Registry {
    type Result = ();

    fn handle(&mut self, started: WorkerStarted, _: &mut Self::Context) {
        if let Some(arbiter) = self.arbiters.get_mut(started.worker) {
            *arbiter = Some(started.arbiter);
        }
    }
}

impl Handler<LastCall> for Registry {
    type Result = MessageResult<LastCall>;

    fn handle(&mut self, _: LastCall, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        MessageResult(self.directory.iter().map(|entry| entry.value().clone()).collect())
    }
}
