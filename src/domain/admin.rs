//! What administrators ask of the running hub: who is connected, what channels carry, what agents do, and to end it.

use std::sync::Arc;

use serde_json::Value;

use super::channel::{Channel, Position};
use super::command::{Page, PageRequest, Period};
use super::conversation::StopKind;
use super::ids::{ApprovalId, ConversationId, MessageId, OrganizationId, Timestamp, TurnId, UserId};
use super::policy::Operation;
use super::principal::Role;
use super::settings::Settings;
use super::turn::Turn;
use super::usage::Usage;

/// An order or a question; the organization it concerns stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminCommand {
    Connections {
        user: Option<UserId>,
        page: PageRequest,
    },
    /// `connection`: the id that the list gave.
    Disconnect {
        connection: String,
        reason: Option<String>,
    },
    /// Channels whose name begins with `prefix`.
    Channels {
        prefix: String,
        page: PageRequest,
    },
    Subscribers {
        channel: Channel,
        page: PageRequest,
    },
    History {
        channel: Channel,
        limit: usize,
    },
    /// To an application channel. `data` is JSON text.
    Publish {
        channel: String,
        event: String,
        data: Arc<str>,
    },
    Broadcast(Notice),
    /// To every organization.
    BroadcastAll(Notice),
    Turns {
        which: Option<LiveState>,
        user: Option<UserId>,
        page: PageRequest,
    },
    /// Reads a conversation, whosever it is.
    Messages {
        session: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    },
    Stop {
        session: ConversationId,
        turn: Option<TurnId>,
        kind: StopKind,
    },
    Approvals(PageRequest),
    Decide {
        request: ApprovalId,
        approved: bool,
        reason: Option<String>,
    },
    Usage(Period),
    /// Reads the configuration once more.
    Reload,
}

impl AdminCommand {
    /// Its row in the table of rules.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Connections { .. } => Operation::AdminConnectionList,
            Self::Disconnect { .. } => Operation::AdminConnectionClose,
            Self::Channels { .. } => Operation::AdminChannelList,
            Self::Subscribers { .. } => Operation::AdminChannelGet,
            // What a conversation's channel carries is the conversation.
            Self::History { channel: Channel::Session(_), .. } | Self::Messages { .. } => Operation::AdminSessionRead,
            Self::History { .. } => Operation::AdminChannelHistory,
            Self::Publish { .. } => Operation::AdminPublish,
            Self::Broadcast(_) => Operation::AdminBroadcast,
            Self::BroadcastAll(_) => Operation::AdminBroadcastAll,
            Self::Turns { .. } => Operation::AdminSessionList,
            Self::Stop { kind: StopKind::Stop, .. } => Operation::AdminSessionStop,
            Self::Stop { kind: StopKind::Abort, .. } => Operation::AdminSessionAbort,
            Self::Approvals(_) => Operation::AdminApprovalList,
            Self::Decide { .. } => Operation::AdminApprovalDecide,
            Self::Usage(_) => Operation::AdminUsage,
            Self::Reload => Operation::AdminReload,
        }
    }
}

/// What is told to everybody who listens to an organization's channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub message: String,
    /// For programs.
    pub data: Option<Value>,
}

impl Notice {
    /// How long it is, about.
    pub fn bytes(&self) -> usize {
        self.message.len() + self.data.as_ref().map_or(0, |data| data.to_string().len())
    }
}

/// Which of the turns that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveState {
    Queued,
    Running,
    AwaitingApproval,
    Stopping,
    /// Those of paused conversations, whatever their own state.
    Paused,
}

impl LiveState {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::AwaitingApproval, Self::Stopping, Self::Paused];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == word)
    }
}

/// An open socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    /// Names it in this process's life, and never another one.
    pub id: String,
    pub organization: OrganizationId,
    pub user: UserId,
    pub role: Role,
    /// The credential's kind.
    pub credential: &'static str,
    /// The path it came in by.
    pub door: String,
    pub address: String,
    pub since: Timestamp,
    pub subscriptions: usize,
    /// Bytes that wait to be taken by the client.
    pub queued_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelCount {
    pub channel: String,
    pub subscribers: usize,
}

/// Somebody who listens to a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The connection's id; that of a request which waits or streams is in no list of connections.
    pub connection: String,
    pub user: UserId,
    pub role: Role,
    /// The form in which it hears the channel.
    pub wire: &'static str,
}

/// A turn that has not ended, and its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveTurn {
    pub settings: Settings,
    pub turn: Turn,
}

/// What one user used of one model through one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageCell {
    pub user: UserId,
    pub agent: String,
    pub provider: String,
    pub model: String,
    pub turns: u64,
    pub usage: Usage,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationUsage {
    pub period: Period,
    pub from: Timestamp,
    pub to: Timestamp,
    pub cells: Vec<UsageCell>,
}

/// Whom a notice reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    pub organizations: usize,
    /// Connections that listen.
    pub subscribers: usize,
}

/// What reading the configuration once more came to: keys by name, never their values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Hold from now on.
    pub applied: Vec<String>,
    /// Are other than what the hub runs with, and hold from its next start.
    pub restart: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AdminReply {
    Connections(Page<Connected>),
    Disconnected,
    Channels(Page<ChannelCount>),
    Subscribers(Page<Subscription>),
    Published(Position),
    Told(Told),
    Turns(Page<LiveTurn>),
    Usage(OrganizationUsage),
    Reloaded(Reloaded),
}
