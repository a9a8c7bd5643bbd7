//! A configured persona, and what it may do without asking.

use super::generation::ThinkingLevel;
use super::tool_call::ToolPolicy;

/// What happens to a message that comes while a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusyPolicy {
    #[default]
    Queue,
    /// Stop the running turn; the new one is next in the queue's order.
    Interrupt,
    Reject,
}

/// An agent as configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentProfile {
    pub name: String,
    pub description: String,
    pub provider: String,
    pub model: String,
    pub system: Option<String>,
    /// Tools it is offered, by name, with the policy that holds for it.
    pub tools: Vec<(String, ToolPolicy)>,
    pub busy: BusyPolicy,
    /// Kinds of entities that it serves: who names one of these and no agent gets this one.
    pub entity_types: Vec<String>,
    pub suggested_prompts: Vec<String>,
    /// Where what is known of an entity is asked for; an address with variables.
    pub context_url: Option<String>,
    /// Milliseconds until the answer of that must be there.
    pub context_timeout: u64,
    /// Whether rules may choose another provider and model for it.
    pub routing: bool,
    pub default: bool,
}

/// A model one may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    pub id: String,
    pub provider: String,
    pub thinking_levels: Vec<ThinkingLevel>,
}

/// What the hub shows of an agent at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    Idle,
    Thinking,
    Responding,
    CallingTool,
    AwaitingApproval,
    Stopping,
}
