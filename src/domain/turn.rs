//! A turn: one prompt and all that the agent does until it ends.

use super::ids::{MessageId, Timestamp, TurnId, UserId};
use super::session_info::RoutingDecision;
use super::spending::Refusal;
use super::usage::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TurnState {
    Queued,
    Running,
    AwaitingApproval,
    Stopping,
    Completed,
    Stopped,
    Aborted,
    /// Never started.
    Cancelled,
    Failed,
    /// The hub went down under it.
    Interrupted,
}

impl TurnState {
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::AwaitingApproval,
        Self::Stopping,
        Self::Completed,
        Self::Stopped,
        Self::Aborted,
        Self::Cancelled,
        Self::Failed,
        Self::Interrupted,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Aborted => "aborted",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }

    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::AwaitingApproval | Self::Stopping)
    }

    /// Whether `self → next` is a step of the machine.
    pub fn may_become(self, next: Self) -> bool {
        use TurnState::*;
        match self {
            Queued => matches!(next, Running | Cancelled),
            Running | AwaitingApproval => {
                matches!(
                    next,
                    Running | AwaitingApproval | Stopping | Completed | Stopped | Aborted | Failed | Interrupted
                )
            }
            Stopping => matches!(next, Stopped | Aborted | Failed | Interrupted),
            Completed | Stopped | Aborted | Cancelled | Failed | Interrupted => false,
        }
    }
}

/// Proof that stopping meant stopping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Receipt {
    /// When the upstream request was closed.
    pub closed_at: Timestamp,
    /// Bytes of the upstream taken in after that. Always 0; said so that a client can check.
    pub bytes_after: u64,
    /// Bytes of the answer's text that were kept.
    pub kept_bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub id: TurnId,
    /// Given at send, rising by one within the conversation.
    pub no: u32,
    pub state: TurnState,
    /// The prompt. A retry shares the prompt of the turn it repeats.
    pub message: MessageId,
    pub answer: Option<MessageId>,
    /// Whose turn it is.
    pub user: UserId,
    /// Asked for with the message; beats the conversation's model.
    pub model: Option<String>,
    /// What a rule decided when it was sent; from its start on only where that counts, or a fallback took its place.
    pub routing: Option<Box<RoutingDecision>>,
    /// Requests made to the provider so far.
    pub steps: u16,
    pub usage: Usage,
    pub retry_of: Option<TurnId>,
    pub receipt: Option<Receipt>,
    /// Why it failed.
    pub error: Option<String>,
    /// The budget that refused it, where that is why.
    pub refusal: Option<Box<Refusal>>,
    /// The request id of the message that began it: the same in logs, audit rows, approvals and provider calls.
    pub correlation_id: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}
