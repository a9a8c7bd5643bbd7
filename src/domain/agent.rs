//! A configured persona, and what it may do without asking.

use super::generation::{ThinkingLevel, ToolSpec};
use super::tool_call::ToolPolicy;
use super::tool_policy::Glob;

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
    /// Tools it is offered, by name or by a pattern such as `files__*`, with the policy that is set for it.
    pub tools: Vec<(String, ToolPolicy)>,
    pub busy: BusyPolicy,
    pub default: bool,
}

impl AgentProfile {
    /// Whether the agent may call it at all.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|(name, _)| stands_for(name, tool))
    }

    /// Of all tools those that it is offered, in the order of its own list, those of one pattern in theirs.
    pub fn offered(&self, all: Vec<ToolSpec>) -> Vec<ToolSpec> {
        let mut found: Vec<ToolSpec> = Vec::new();
        for (name, _) in &self.tools {
            for spec in all.iter().filter(|spec| stands_for(name, &spec.name)) {
                if !found.iter().any(|other| other.name == spec.name) {
                    found.push(spec.clone());
                }
            }
        }
        found
    }
}

fn stands_for(name: &str, tool: &str) -> bool {
    name == tool || (name.contains('*') && Glob::new(name).fits(tool))
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
