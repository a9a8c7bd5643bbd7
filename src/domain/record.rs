//! What is written down: one batch is one transaction of one conversation.

use super::account::AuditEntry;
use super::alias::Alias;
use super::approval::Approval;
use super::approval_rule::ApprovalRule;
use super::ids::{ConversationId, OrganizationId, PartId, Timestamp, TurnId, UserId};
use super::message::{Message, Part};
use super::settings::{Settings, Todo};
use super::turn::Turn;

/// Rows to write, all or none. Rows are whole and replace what has the same id.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub organization: OrganizationId,
    pub conversation: ConversationId,
    pub at: Timestamp,
    pub writes: Vec<Write>,
    /// Where a request brought a key: written first, so that a second one with the same key finds the answer.
    pub idempotency: Option<Idempotency>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Conversation(Settings),
    /// The user calls the conversation so from now on, unless another one that is not archived is called so.
    Alias {
        user: UserId,
        alias: Alias,
    },
    /// The conversation and all that belongs to it, gone.
    DeleteConversation,
    Turn(Turn),
    /// The message's own row; its parts are written by `Part`.
    Message(Message),
    /// A part whose content is final, or a part that begins (then its text so far is in it). Deletes its tail.
    Part {
        message: super::ids::MessageId,
        part: Part,
    },
    /// New text of a part that still grows: appended, never rewritten.
    Tail {
        part: PartId,
        text: String,
    },
    Approval(Approval),
    /// An answer that is kept for the next time.
    ApprovalRule(Box<ApprovalRule>),
    Todos(Vec<Todo>),
    /// Makes the text of a final message findable.
    Index(super::ids::MessageId),
    Fact(Fact),
    /// A row of the audit log, which outlives the conversation.
    Audit(Box<AuditEntry>),
}

/// A line of a conversation's history: what happened, without texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The event's name, such as `turn.ended`.
    pub kind: &'static str,
    pub turn: Option<TurnId>,
    /// The user who caused it.
    pub by: Option<UserId>,
    /// Ids and states only.
    pub refs: serde_json::Value,
}

/// The key of a request, what the request was, and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Idempotency {
    pub user: UserId,
    pub key: String,
    /// SHA-256 of method and body.
    pub request: [u8; 32],
    /// The answer, as it goes to the client.
    pub answer: String,
}

/// All rows of a conversation, tails folded into the parts' texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub settings: Settings,
    /// The newest messages up to the limit asked for, oldest first, with their parts.
    pub messages: Vec<Message>,
    /// Whether older messages exist.
    pub more: bool,
    /// Turns that have not ended, and the newest ended ones, oldest first.
    pub turns: Vec<Turn>,
    /// Approvals that wait.
    pub approvals: Vec<Approval>,
    pub todos: Vec<Todo>,
    /// Parts that still had a tail.
    pub open_parts: Vec<PartId>,
}

/// A fact as it is read back: `n` rises by exactly one within its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFact {
    pub n: u64,
    pub at: Timestamp,
    pub kind: String,
    pub turn: Option<TurnId>,
    pub by: Option<UserId>,
    pub refs: serde_json::Value,
}

/// A piece of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    /// Absent at the end of the list.
    pub next: Option<C>,
}
