//! How what runs looks over HTTP.

use protocol::model as w;
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::admin::{ChannelCount, Connected, LiveTurn, Reloaded, Subscription, Told};
use crate::domain::channel::Position;
use crate::domain::settings::Visibility;
use crate::doors::words;

/// What the parameters of the queries hold, for the description.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "its fields are read by the description alone")]
pub(super) struct LooksLike {
    /// For administrators of the hub: another organization than their own.
    organization: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 where it is left out.
    limit: Option<u32>,
    /// Only this user's.
    user: Option<String>,
    /// Only channels whose name begins so.
    prefix: Option<String>,
    /// Told to the client: at most 123 bytes.
    reason: Option<String>,
    /// `queued`, `running`, `awaiting_approval`, `stopping` or `paused`.
    state: Option<String>,
    /// `day` (where it is left out), `week` or `month`: so much time until now.
    period: Option<String>,
}

/// An open socket.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionView {
    id: String,
    organization: String,
    user_id: String,
    role: String,
    /// The path it came in by.
    door: String,
    address: String,
    /// The kind: `jwt`, `api_key`, `session`, `device` or `foreign`.
    credential: String,
    since: String,
    /// Channels that it listens to.
    subscriptions: usize,
    /// Bytes that the client has not taken yet.
    queued_bytes: usize,
}

impl From<&Connected> for ConnectionView {
    fn from(c: &Connected) -> Self {
        Self {
            id: c.id.clone(),
            organization: c.organization.to_string(),
            user_id: c.user.to_string(),
            role: c.role.name().into(),
            door: c.door.clone(),
            address: c.address.clone(),
            credential: c.credential.into(),
            since: c.since.to_rfc3339(),
            subscriptions: c.subscriptions,
            queued_bytes: c.queued_bytes,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChannelView {
    channel: String,
    subscribers: usize,
}

impl From<&ChannelCount> for ChannelView {
    fn from(c: &ChannelCount) -> Self {
        Self { channel: c.channel.clone(), subscribers: c.subscribers }
    }
}

/// Somebody who listens to a channel.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionView {
    /// As in the list of connections; that of a request which waits or streams is in no list.
    connection_id: String,
    user_id: String,
    role: String,
    /// The form it hears the channel in, such as `native` or `flat`.
    wire: String,
}

impl From<&Subscription> for SubscriptionView {
    fn from(s: &Subscription) -> Self {
        Self {
            connection_id: s.connection.clone(),
            user_id: s.user.to_string(),
            role: s.role.name().into(),
            wire: s.wire.into(),
        }
    }
}

/// The place that an event got: it is ordered, not stored.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishedView {
    epoch: String,
    seq: u64,
}

impl From<&Position> for PublishedView {
    fn from(p: &Position) -> Self {
        Self { epoch: p.epoch.to_string(), seq: p.seq }
    }
}

/// Whom it reached.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToldView {
    /// Organizations of which somebody listens.
    organizations: usize,
    /// Connections that listen.
    subscribers: usize,
}

impl From<&Told> for ToldView {
    fn from(told: &Told) -> Self {
        Self { organizations: told.organizations, subscribers: told.subscribers }
    }
}

/// A turn that runs or waits. What a private session is called is its user's alone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LiveTurnView {
    session_id: String,
    /// Whose session it is.
    user_id: String,
    visibility: w::Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// `paused`: its queue waits.
    session_state: w::SessionState,
    agent: String,
    thinking_level: w::ThinkingLevel,
    turn: w::Turn,
}

impl From<&LiveTurn> for LiveTurnView {
    fn from(live: &LiveTurn) -> Self {
        let settings = &live.settings;
        let shown = settings.visibility == Visibility::Organization;
        Self {
            session_id: settings.id.to_string(),
            user_id: settings.user.to_string(),
            visibility: words::visibility(settings.visibility),
            title: shown.then(|| settings.title.clone()),
            session_state: words::session_state(settings.state),
            agent: settings.agent.clone(),
            thinking_level: words::thinking(settings.thinking),
            turn: words::turn(&live.turn),
        }
    }
}

/// Settings by name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReloadedView {
    /// Hold from now on.
    applied: Vec<String>,
    /// Differ from what the hub runs with and hold from its next start.
    restart: Vec<String>,
}

impl From<&Reloaded> for ReloadedView {
    fn from(r: &Reloaded) -> Self {
        Self { applied: r.applied.clone(), restart: r.restart.clone() }
    }
}
