//! Who talks to whom:
//!
//! ```text
//!  connection ──(hub: call, listen)──► registry ──► conversation ──► agent session ──► provider, tools
//!      ▲                              (address,         │  ▲              │
//!      │                               once)            │  └── reports ───┘
//!      └───────── worker's table ◄── fan-out ◄──────────┘
//! ```
//!
//! An actor only performs what the pure machines in `domain` decided. A delivery is never an actor message.

pub mod agent;
pub mod connection;
pub mod conversation;
mod expiry;
pub mod hub;
pub mod registry;
pub mod socketio;
pub mod spending;
pub mod standing;
mod underway;

use std::cell::RefCell;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::Live;
use crate::domain::admin::Reloaded;
use crate::domain::agent::AgentProfile;
use crate::domain::command::Caller;
use crate::domain::conversation::Rules;
use crate::domain::policy::Operation;
use crate::error::Fault;
use crate::fanout::{HomeRules, Workers};
use crate::providers::Providers;
use crate::store::Store;
use crate::tools::Tools;

/// What configuration says about the hub's work.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// In the order of the configuration.
    pub agents: Vec<Arc<AgentProfile>>,
    /// Milliseconds.
    pub approval_timeout: i64,
    pub approval_grace: i64,
    pub queue_turns: usize,
    pub steps_per_turn: u16,
    pub session_home: HomeRules,
    /// Of all channels but conversations.
    pub channel_home: HomeRules,
    /// Milliseconds after which an idle, unwatched conversation leaves memory.
    pub rest_after: i64,
    pub subscriptions: usize,
    pub requests_in_flight: usize,
    pub message_bytes: usize,
    pub spending: Arc<spending::SpendingRules>,
}

impl HubSettings {
    pub fn agent(&self, name: &str) -> Option<&Arc<AgentProfile>> {
        self.agents.iter().find(|a| a.name == name)
    }

    pub fn default_agent(&self) -> Option<&Arc<AgentProfile>> {
        self.agents.iter().find(|a| a.default).or(self.agents.first())
    }

    /// What holds for a conversation with this agent; an agent that is gone is stood in for by the default one.
    pub fn rules(&self, agent: &str) -> Option<Rules> {
        Some(Rules {
            agent: self.agent(agent).or_else(|| self.default_agent())?.clone(),
            approval_timeout: self.approval_timeout,
            approval_grace: self.approval_grace,
            queue_turns: self.queue_turns,
            steps_per_turn: self.steps_per_turn,
        })
    }
}

/// What every actor shares.
#[derive(Clone)]
pub struct Shared {
    pub store: Store,
    pub workers: Workers,
    pub settings: Live<HubSettings>,
    pub reload: Reload,
    pub refused: Refused,
}

/// Reads the configuration once more and lets hold what can: names of keys, or what is wrong with it.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<Reloaded, Fault>> + Send + Sync>;

/// Hears who was refused what by the hub, and why.
pub type Refused = Arc<dyn Fn(&Caller, Operation, &Fault) + Send + Sync>;

/// What a worker builds for itself, because it cannot leave its thread.
pub struct WorkerKit {
    pub providers: Providers,
    pub tools: Tools,
}

thread_local! {
    static KIT: RefCell<Option<WorkerKit>> = const { RefCell::new(None) };
}

/// Equips this worker's thread. Called once, before it accepts.
pub fn equip(kit: WorkerKit) {
    KIT.set(Some(kit));
}

/// Uses this worker's kit. `None` on a thread that is no worker.
pub fn with_kit<R>(use_it: impl FnOnce(&WorkerKit) -> R) -> Option<R> {
    KIT.with_borrow(|kit| kit.as_ref().map(use_it))
}
