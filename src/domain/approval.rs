//! A question to a human about one tool call.

use serde_json::{Value, json};

use super::canonical::Digest;
use super::ids::{ApprovalId, ConversationId, PartId, Timestamp, TurnId, UserId};
use super::tool_policy::Remembers;
use crate::error::{Code, Fault};

/// The longest reason of a decision, in bytes: it is kept, written down and told to all.
const REASON: usize = 4096;

/// Whether a reason may be given, whoever gives it and by whatever door.
///
/// # Errors
/// `too_large`, with the field.
pub fn check_reason(reason: Option<&str>) -> Result<(), Fault> {
    match reason.map_or(0, str::len) {
        0..=REASON => Ok(()),
        bytes => {
            let fault = Fault::new(Code::TooLarge, format!("reason: {bytes} bytes; at most {REASON} are allowed"));
            Err(fault.with_details(json!({ "field": "reason" })))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    Pending,
    Approved,
    Denied,
    /// Nobody answered in time, or nobody was left to answer.
    Expired,
    /// Its turn was stopped or aborted.
    Cancelled,
}

impl ApprovalState {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::Expired, Self::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    pub id: ApprovalId,
    pub turn: TurnId,
    /// The part that holds the call.
    pub call: PartId,
    pub tool: String,
    /// One sentence for a human.
    pub summary: String,
    pub risks: Vec<String>,
    /// The exact arguments, whole.
    pub input: Value,
    /// Which answers may be kept.
    pub remembers: Remembers,
    /// The request id of the message that began the turn.
    pub correlation_id: String,
    pub state: ApprovalState,
    pub requested_at: Timestamp,
    /// Absolute: a restart does not move it but to leave at least ten seconds.
    pub deadline: Timestamp,
    pub decision: Option<Decision>,
}

impl Approval {
    /// What the answer is bound to: the tool and exactly these arguments.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.tool, &self.input)
    }

    /// What the audit log says of it, beside who decided.
    pub fn details(&self, conversation: ConversationId) -> Value {
        let reason = self.decision.as_ref().and_then(|decision| decision.reason.as_deref());
        json!({
            "session": conversation.to_string(),
            "tool": self.tool,
            "state": self.state.name(),
            "reason": reason,
            "digest": self.digest().to_string(),
        })
    }
}

/// Who decided, when, from where. `by` is absent where the clock or a stop decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub by: Option<UserId>,
    pub at: Timestamp,
    pub reason: Option<String>,
    /// Door and address.
    pub origin: String,
}
