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
    /// Kinds of entities that it serves.
    pub entity_types: Vec<String>,
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
