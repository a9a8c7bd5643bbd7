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

pub mod acting;
pub mod agent;
pub mod connection;
pub mod conversation;
mod expiry;
pub mod hub;
mod persona;
pub mod registry;
pub mod socketio;
pub mod spending;
pub mod standing;
mod underway;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::config::Live;
use crate::domain::action::Action;
use crate::domain::admin::Reloaded;
use crate::domain::agent::AgentProfile;
use crate::domain::command::Caller;
use crate::domain::conversation::Rules;
use crate::domain::policy::Operation;
use crate::domain::routing::{self, Catalog, ContextRules, Routes, Routing};
use crate::domain::skill::Skill;
use crate::domain::slash::Template;
use crate::domain::tool_policy::ToolBook;
use crate::error::Fault;
use crate::fanout::{HomeRules, Workers};
use crate::providers::Providers;
use crate::store::Store;
use crate::tools::Tools;
use crate::tools::http_call::HttpCall;

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
    pub routing: Arc<Routing>,
    pub context: ContextRules,
    /// Slash commands from configuration.
    pub templates: Vec<Template>,
    /// In the order of their ids, as the next ones.
    pub actions: Vec<Arc<Action>>,
    pub skills: Vec<Arc<Skill>>,
    /// For one skill.
    pub skill_time: Duration,
    /// Tools of one turn that run at the same time.
    pub tools_at_once: usize,
    pub tool_book: Arc<ToolBook>,
}

impl HubSettings {
    pub fn agent(&self, name: &str) -> Option<&Arc<AgentProfile>> {
        self.agents.iter().find(|a| a.name == name)
    }

    pub fn action(&self, id: &str) -> Option<&Arc<Action>> {
        self.actions.iter().find(|action| action.id == id)
    }

    pub fn skill(&self, id: &str) -> Option<&Arc<Skill>> {
        self.skills.iter().find(|skill| skill.id == id)
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
            routes: Routes { routing: self.routing.clone(), catalog: catalog(), context: self.context },
            tools_at_once: self.tools_at_once,
        })
    }

    /// The agent of that name, else the one that serves that kind of entity, else the default one.
    ///
    /// # Errors
    /// `bad_request` where none has the name.
    pub fn agent_for(&self, name: Option<&str>, entity: Option<&str>) -> Result<&Arc<AgentProfile>, Fault> {
        if let Some(name) = name {
            return self.agent(name).ok_or_else(|| Fault::field("agent", "no such agent"));
        }
        let serves =
            |agent: &&Arc<AgentProfile>| entity.is_some_and(|kind| agent.entity_types.iter().any(|k| k == kind));
        let serving = self.agents.iter().find(serves).or_else(|| self.default_agent());
        serving.ok_or_else(|| Fault::unavailable("no agent is configured"))
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
    /// Of the actions that are somebody's endpoint, by their ids.
    pub calls: BTreeMap<String, Rc<ActionCalls>>,
    /// Where agents ask what is known of an entity, by their names.
    pub contexts: BTreeMap<String, HttpCall>,
}

/// The requests of an action.
pub struct ActionCalls {
    pub execute: HttpCall,
    pub preview: Option<HttpCall>,
    pub undo: Option<HttpCall>,
}

thread_local! {
    static KIT: RefCell<Option<WorkerKit>> = const { RefCell::new(None) };
    static CATALOG: RefCell<Arc<Catalog>> = RefCell::default();
}

/// Equips this worker's thread. Called once, before it accepts.
pub fn equip(kit: WorkerKit) {
    CATALOG.set(Arc::new(Catalog { providers: kit.providers.iter().map(|provider| known(&**provider)).collect() }));
    KIT.set(Some(kit));
}

/// What a provider tells of its models. A name that no model has shows what is assumed of all others.
fn known(provider: &dyn crate::providers::Provider) -> routing::Provider {
    routing::Provider {
        name: provider.name().to_owned(),
        default_model: provider.default_model().to_owned(),
        models: provider.models().to_vec(),
        others: provider.model(""),
    }
}

/// The models of this worker's providers; none on a thread that is no worker.
pub fn catalog() -> Arc<Catalog> {
    CATALOG.with_borrow(Arc::clone)
}

/// Uses this worker's kit. `None` on a thread that is no worker.
pub fn with_kit<R>(use_it: impl FnOnce(&WorkerKit) -> R) -> Option<R> {
    KIT.with_borrow(|kit| kit.as_ref().map(use_it))
}
