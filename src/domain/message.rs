//! Messages and their parts.

use super::generation::ToolOutput;
use super::ids::{MessageId, PartId, Timestamp, TurnId, UserId};
use super::tool_call::ToolCall;
use super::usage::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    User,
    Assistant,
}

impl Author {
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Assistant].into_iter().find(|a| a.name() == word)
    }
}

/// How far a message has come. A user's message is `Complete` from the start, `Queued` while it may still be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    Queued,
    Streaming,
    Complete,
    Stopped,
    Interrupted,
    Failed,
    /// Its turn was taken out of the queue.
    Cancelled,
}

impl MessageState {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Streaming,
        Self::Complete,
        Self::Stopped,
        Self::Interrupted,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Streaming => "streaming",
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }
}

/// A message. Ordered within its conversation by (`turn_no`, `index`): the user's is 0, the answer 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub turn: TurnId,
    pub turn_no: u32,
    pub index: u16,
    pub author: Author,
    /// Whose words a user's message is.
    pub user: Option<UserId>,
    pub state: MessageState,
    /// An answer that a retry replaced: shown, but out of the model's context.
    pub superseded: bool,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    pub created_at: Timestamp,
    pub parts: Vec<Part>,
}

impl Message {
    /// The text parts joined.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|p| if let PartBody::Text { text } = &p.body { Some(text.as_str()) } else { None })
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub id: PartId,
    /// Position within the message, from 0.
    pub index: u16,
    pub body: PartBody,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PartBody {
    Text {
        text: String,
    },
    Thinking {
        text: String,
        signature: Option<String>,
    },
    ToolCall(ToolCall),
    /// `call` is the part of the tool call that this answers.
    ToolResult {
        call: PartId,
        result: ToolOutput,
    },
    Attachment(Attachment),
}

impl PartBody {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Thinking { .. } => "thinking",
            Self::ToolCall(_) => "tool_call",
            Self::ToolResult { .. } => "tool_result",
            Self::Attachment(_) => "attachment",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentKind {
    File,
    Image,
}

impl AttachmentKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Image => "image",
        }
    }
}

/// A file or picture that came with a message: by address, or its bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub kind: AttachmentKind,
    pub name: String,
    /// Such as `image/png`, where it is known.
    pub media_type: Option<String>,
    pub url: Option<String>,
    pub data: Option<String>,
}
