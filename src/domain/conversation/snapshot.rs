//! A conversation as it stands, to be shown.

use super::*;

/// The newest messages go into a snapshot up to this many bytes of text; one always does.
const SNAPSHOT_BYTES: usize = 1 << 20;

/// A copy of what a subscriber has to know. Presence is the channel's business and is added there.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub settings: Settings,
    /// Oldest first.
    pub messages: Vec<Message>,
    pub more: bool,
    /// The turn at work.
    pub turn: Option<Turn>,
    /// The newest ended ones, oldest first.
    pub turns: Vec<Turn>,
    pub queue: Vec<Turn>,
    pub approvals: Vec<Approval>,
    pub todos: Vec<Todo>,
    pub status: AgentStatus,
}

impl Conversation {
    pub fn snapshot(&self) -> Snapshot {
        let mut bytes = 0;
        let mut from = self.messages.len();
        while from > 0 {
            bytes += weight(&self.messages[from - 1]);
            if bytes > SNAPSHOT_BYTES && from < self.messages.len() {
                break;
            }
            from -= 1;
        }
        Snapshot {
            settings: self.settings.clone(),
            messages: self.messages[from..].to_vec(),
            more: self.more || from > 0,
            turn: self.current().cloned(),
            turns: self.ended.clone(),
            queue: self.live.iter().filter(|t| t.state == TurnState::Queued).cloned().collect(),
            approvals: self.approvals.clone(),
            todos: self.todos.clone(),
            status: self.status,
        }
    }

    /// Forgets the oldest messages of a rested conversation once they weigh more than `bytes`; the store has them.
    pub fn trim(&mut self, bytes: usize) {
        let mut kept = 0;
        let mut from = self.messages.len();
        while from > 0 && kept <= bytes {
            from -= 1;
            kept += weight(&self.messages[from]);
        }
        if from > 0 && self.work.is_none() {
            self.messages.drain(..from);
            self.more = true;
        }
    }
}

/// Bytes that a message takes on a wire, roughly.
fn weight(message: &Message) -> usize {
    let parts = message.parts.iter().map(|part| match &part.body {
        PartBody::Text { text } | PartBody::Thinking { text, .. } => text.len(),
        PartBody::ToolCall(call) => call.input.to_string().len(),
        PartBody::ToolResult { result, .. } => result.output.len(),
        PartBody::Attachment(a) => a.data.as_ref().map_or(0, String::len) + a.url.as_ref().map_or(0, String::len),
    });
    parts.map(|bytes| bytes + 100).sum::<usize>() + 200
}
