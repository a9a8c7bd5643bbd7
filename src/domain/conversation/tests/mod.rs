//! The machine's tests: a small driver, rows in memory, a client that only hears events, and invariants after each step.

mod client;
mod driver;
mod invariants;
mod store;

mod approvals;
mod choosing;
mod compacting;
mod info;
mod interleavings;
mod machine;
mod prompt;
mod recovery;
mod stopping;
mod turns;

use super::*;
use crate::domain::agent::BusyPolicy;
use crate::domain::approval::Decision;
use crate::domain::generation::{Model, ProviderFault, ProviderFaultKind, StopReason, StreamEvent, ThinkingLevel};
use crate::domain::ids::{ConversationId, OrganizationId};
use crate::domain::message::{Author, MessageState};
use crate::domain::routing::{Catalog, Provider};
use crate::domain::settings::Visibility;
use crate::domain::tool_call::ToolCall;
use crate::error::{Code, Fault};

use driver::Driver;

/// A clock that stands still until told, and ids that count.
#[derive(Debug)]
pub struct Clock {
    pub now: i64,
    pub ids: u128,
}

impl Source for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }
}

pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn settings() -> Settings {
    Settings {
        id: ConversationId(1),
        organization: OrganizationId::parse("acme").expect("a name"),
        user: user("ann"),
        project: None,
        title: String::new(),
        state: ConversationState::Active,
        visibility: Visibility::Private,
        agent: "default".into(),
        model: None,
        thinking: Default::default(),
        tags: Vec::new(),
        context: Default::default(),
        channel: None,
        entity: None,
        next_turn_no: 1,
        usage: Usage::default(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub fn rules() -> Rules {
    let agent = AgentProfile {
        name: "default".into(),
        description: String::new(),
        provider: "demo".into(),
        model: "demo-1".into(),
        system: Some("be brief".into()),
        tools: Vec::new(),
        busy: BusyPolicy::Queue,
        entity_types: Vec::new(),
        suggested_prompts: Vec::new(),
        routing: true,
        default: true,
    };
    Rules {
        agent: Arc::new(agent),
        approval_timeout: 30_000,
        approval_grace: 10_000,
        queue_turns: 4,
        steps_per_turn: 5,
        tools_at_once: 2,
        routes: Routes { catalog: Arc::new(known()), ..Routes::default() },
    }
}

/// `demo-0` does not think; nobody knows anything of models of others.
fn known() -> Catalog {
    let model = |id: &str, levels: &[ThinkingLevel]| Model {
        id: id.to_owned(),
        context_window: 1_000,
        max_output: None,
        thinking: levels.to_vec(),
        price: None,
    };
    Catalog {
        providers: vec![Provider {
            name: "demo".into(),
            default_model: "demo-1".into(),
            models: vec![model("demo-0", &[ThinkingLevel::Off])],
            others: model("", &ThinkingLevel::ALL),
        }],
    }
}

/// The verdict of a tool's table row; concurrent.
pub fn verdict(policy: ToolPolicy) -> Verdict {
    Verdict {
        policy,
        summary: "does a thing".into(),
        risks: vec!["some".into()],
        concurrent: true,
        remembers: Remembers::Arguments,
        rule: None,
        error: None,
    }
}

/// A verdict of a tool that runs alone.
pub fn alone(policy: ToolPolicy) -> Verdict {
    Verdict { concurrent: false, ..verdict(policy) }
}

pub fn text(text: &str) -> StreamEvent {
    StreamEvent::Text(text.into())
}

pub fn call(id: &str) -> StreamEvent {
    StreamEvent::ToolCall { id: id.into(), name: "tool".into(), input: serde_json::json!({ "id": id }) }
}

pub fn usage(output: u64) -> StreamEvent {
    StreamEvent::Usage(Usage { input: 1, output, ..Usage::default() })
}

pub fn broken() -> ProviderFault {
    ProviderFault { kind: ProviderFaultKind::Network, message: "the connection broke".into(), status: None }
}

pub fn report(output: &str) -> ToolReport {
    ToolReport { output: output.into(), is_error: false, todos: None }
}
