//! What happened, as channels carry it. Doors turn it into their own words.

use std::sync::Arc;

use super::admin::Notice;
use super::agent::AgentStatus;
use super::approval::Approval;
use super::channel::ChannelKey;
use super::conversation::Snapshot;
use super::ids::{ConversationId, MessageId, PartId, Timestamp, TurnId, UserId};
use super::message::{Message, Part};
use super::session_info::{SessionInfo, Tally};
use super::settings::{Settings, Todo};
use super::turn::Turn;

/// What kind of part grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growing {
    Text,
    Thinking,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    MessageCreated {
        conversation: ConversationId,
        message: Arc<Message>,
    },
    MessageUpdated {
        conversation: ConversationId,
        message: Arc<Message>,
    },
    PartCreated {
        conversation: ConversationId,
        turn: TurnId,
        message: MessageId,
        part: Arc<Part>,
    },
    /// A part grew by `text`; `offset` bytes stood there before.
    Delta {
        conversation: ConversationId,
        turn: TurnId,
        message: MessageId,
        part: PartId,
        kind: Growing,
        offset: usize,
        text: Arc<str>,
    },
    /// A part took a new state.
    PartChanged {
        conversation: ConversationId,
        turn: TurnId,
        message: MessageId,
        part: Arc<Part>,
    },
    SessionUpdated {
        settings: Arc<Settings>,
        deleted: bool,
        /// Where model, agent or thinking is another one now.
        info: Option<Arc<SessionInfo>>,
        /// Where it was paused (true) or resumed (false) just now.
        paused: Option<bool>,
    },
    ApprovalRequired {
        conversation: ConversationId,
        approval: Arc<Approval>,
    },
    ApprovalResolved {
        conversation: ConversationId,
        approval: Arc<Approval>,
    },
    AgentStatusChanged {
        conversation: ConversationId,
        agent: String,
        status: AgentStatus,
        turn: Option<TurnId>,
    },
    /// `position` counts from 1.
    TurnQueued {
        conversation: ConversationId,
        turn: Arc<Turn>,
        position: u32,
    },
    TurnStarted {
        conversation: ConversationId,
        turn: Arc<Turn>,
        provider: String,
        model: String,
    },
    TurnEnded {
        conversation: ConversationId,
        turn: Arc<Turn>,
        tally: Arc<Tally>,
    },
    TodosUpdated {
        todos: Arc<[Todo]>,
    },
    PresenceJoined {
        user: Option<UserId>,
        count: u32,
    },
    PresenceLeft {
        user: Option<UserId>,
        count: u32,
    },
    /// Published by a client on an application channel. `data` is JSON text.
    Application {
        name: Arc<str>,
        data: Arc<str>,
    },
    /// An administrator says something to all who listen to an organization's channel.
    Broadcast {
        notice: Arc<Notice>,
        /// Which administrator of the organization.
        by: Option<UserId>,
        /// Every organization is told.
        everyone: bool,
    },
    /// The hub has read its configuration once more.
    SystemReload,
}

impl Event {
    /// A conversation's row is another one, and nothing more is to be said of it.
    pub fn updated(settings: Arc<Settings>) -> Self {
        Self::SessionUpdated { settings, deleted: false, info: None, paused: None }
    }

    /// The event's name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::MessageCreated { .. } => "message.created",
            Self::MessageUpdated { .. } => "message.updated",
            Self::PartCreated { .. } => "part.created",
            Self::Delta { .. } | Self::PartChanged { .. } => "part.updated",
            Self::SessionUpdated { .. } => "session.updated",
            Self::ApprovalRequired { .. } => "tool.approval_required",
            Self::ApprovalResolved { .. } => "tool.approval_resolved",
            Self::AgentStatusChanged { .. } => "agent.status_changed",
            Self::TurnQueued { .. } => "turn.queued",
            Self::TurnStarted { .. } => "turn.started",
            Self::TurnEnded { .. } => "turn.ended",
            Self::TodosUpdated { .. } => "todos.updated",
            Self::PresenceJoined { .. } => "presence.joined",
            Self::PresenceLeft { .. } => "presence.left",
            Self::Application { name, .. } => name,
            Self::Broadcast { .. } => "broadcast",
            Self::SystemReload => "system.reload",
        }
    }
}

/// An event with its place on its channel. A merged one stands for all from `from_seq` to `seq`.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    pub channel: ChannelKey,
    pub epoch: Arc<str>,
    pub seq: u64,
    pub from_seq: u64,
    pub at: Timestamp,
    pub event: Event,
}

/// What a new subscriber is told first: where the channel stands, and where that helps, what it looks like.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub channel: ChannelKey,
    pub epoch: Arc<str>,
    pub seq: u64,
    pub recovered: bool,
    pub snapshot: Option<Arc<ChannelSnapshot>>,
}

/// Who is on a channel; names only up to a hundred of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PresenceList {
    pub count: u32,
    pub users: Option<Vec<UserId>>,
}

/// The state behind a channel, as of one seq.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelSnapshot {
    Session { snapshot: Box<Snapshot>, presence: PresenceList },
    User { sessions: Vec<Settings>, approvals: Vec<(ConversationId, Approval)> },
    Sessions(Vec<Settings>),
}
