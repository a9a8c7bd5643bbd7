//! A conversation as it stands, to be shown.

use super::*;
use crate::domain::message::Author;

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
            turn: self.current().cloned().map(|turn| self.as_it_stops(turn)),
            turns: self.ended.clone(),
            queue: self.live.iter().filter(|t| t.state == TurnState::Queued).cloned().collect(),
            approvals: self.approvals.clone(),
            todos: self.todos.clone(),
            status: self.status,
        }
    }

    /// While the upstream is being closed the row still says `running`: only the end of it is worth a commit.
    fn as_it_stops(&self, mut turn: Turn) -> Turn {
        if self.work.as_ref().is_some_and(|w| w.stopping.is_some()) {
            turn.state = TurnState::Stopping;
        }
        turn
    }

    /// Forgets the oldest messages of a rested conversation once they weigh more than `bytes`; the store has them. Never
    /// those of turns that wait or of the one that may be repeated, and never a question without its answer.
    pub fn trim(&mut self, bytes: usize) {
        if self.work.is_some() {
            return;
        }
        let mut kept = 0;
        let mut from = self.messages.len();
        while from > 0 && kept <= bytes {
            from -= 1;
            kept += weight(&self.messages[from]);
        }
        let needed = |m: &Message| self.live.iter().chain(self.newest_ended()).any(|t| t.message == m.id);
        from = self.messages.iter().position(needed).map_or(from, |first| from.min(first));
        while from > 0 && self.messages[from].author != Author::User {
            from -= 1;
        }
        if from > 0 {
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
