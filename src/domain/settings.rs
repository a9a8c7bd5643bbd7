//! What a conversation is apart from its messages: whose, where, how it is set.

use std::sync::Arc;

use super::generation::ThinkingLevel;
use super::ids::{ConversationId, OrganizationId, ProjectId, Timestamp, UserId};
use super::usage::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationState {
    Active,
    /// Takes messages into its queue and starts no turn.
    Paused,
    /// Read-only.
    Archived,
}

impl ConversationState {
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Archived];

    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Archived => "archived",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Its user; admins and owners by the administration only.
    Private,
    Organization,
}

impl Visibility {
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Organization => "organization",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Private, Self::Organization].into_iter().find(|v| v.name() == word)
    }
}

/// Where the context begins that a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextStart {
    /// Turns below that number are out of it; they stay stored.
    pub turn_no: u32,
    /// What stands in their place.
    pub summary: Option<Arc<str>>,
}

/// What a conversation is about, in the words of the application around the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Such as `policy`; at most 512 bytes.
    pub kind: String,
    /// Within its kind; empty where the kind as such is meant. At most 512 bytes.
    pub id: String,
}

/// The row of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub id: ConversationId,
    pub organization: OrganizationId,
    /// Its owner.
    pub user: UserId,
    pub project: Option<ProjectId>,
    pub title: String,
    pub state: ConversationState,
    pub visibility: Visibility,
    /// Name of the agent that serves it.
    pub agent: String,
    /// Overrides the agent's model.
    pub model: Option<String>,
    pub thinking: ThinkingLevel,
    /// Words that routing rules may look for.
    pub tags: Vec<String>,
    pub context: ContextStart,
    /// What kind of door began it, such as `websocket`; the gateway's get-or-create looks for it.
    pub channel: Option<String>,
    /// What it is about.
    pub entity: Option<Entity>,
    /// The number the next turn gets.
    pub next_turn_no: u32,
    /// All turns together.
    pub usage: Usage,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A named folder of conversations.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub id: ProjectId,
    pub organization: OrganizationId,
    /// The name a client may bring instead of an id; unique within the organization.
    pub name: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TodoState {
    Pending,
    InProgress,
    Completed,
    Cancelled,
}

impl TodoState {
    pub const ALL: [Self; 4] = [Self::Pending, Self::InProgress, Self::Completed, Self::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == word)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    pub id: String,
    pub content: String,
    pub state: TodoState,
}
