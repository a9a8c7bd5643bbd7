//! A tool call and the states it may pass through.

use serde_json::Value;

use super::canonical::Digest;
use super::ids::ApprovalId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolCallState {
    Requested,
    /// A human has been asked.
    Awaiting,
    Approved,
    Executing,
    Succeeded,
    Failed,
    Denied,
    Expired,
    Cancelled,
    /// The hub went down while it ran: nobody knows whether it had its effect. Never run again.
    Unknown,
}

impl ToolCallState {
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::Awaiting,
        Self::Approved,
        Self::Executing,
        Self::Succeeded,
        Self::Failed,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Awaiting => "awaiting",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }

    /// Nothing more happens to it, and it has a result.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Denied | Self::Expired | Self::Cancelled | Self::Unknown)
    }

    /// Whether `self → next` is a step of the machine.
    pub fn may_become(self, next: Self) -> bool {
        use ToolCallState::*;
        match self {
            // Failed: no such tool, or arguments that its schema refuses.
            Requested => matches!(next, Awaiting | Approved | Denied | Failed | Cancelled),
            Awaiting => matches!(next, Approved | Denied | Expired | Cancelled),
            Approved => matches!(next, Executing | Cancelled),
            Executing => matches!(next, Succeeded | Failed | Cancelled | Unknown),
            Succeeded | Failed | Denied | Expired | Cancelled | Unknown => false,
        }
    }
}

/// What a model asked for, and how far that came.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub provider_id: String,
    pub tool: String,
    /// The exact arguments: what is approved is what runs.
    pub input: Value,
    pub state: ToolCallState,
    pub approval: Option<ApprovalId>,
    /// What the human was asked about: nothing else runs under that approval.
    pub bound: Option<Digest>,
}

impl ToolCall {
    /// Whether the arguments are still those that somebody was asked about; also where nobody was.
    pub fn is_as_asked(&self) -> bool {
        self.bound.is_none_or(|digest| digest == Digest::of(&self.tool, &self.input))
    }
}

/// What a tool is allowed to do without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolPolicy {
    Allow,
    Ask,
    Deny,
}

impl ToolPolicy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}
