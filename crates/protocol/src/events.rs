//! What channels carry: the data of each event, by its name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::*;

macro_rules! events {
    ($($name:literal => $data:ty;)* reserved: $($later:literal)*) => {
        /// The hub's own event names: nobody else may publish them. The last ones are reserved; their data is not
        /// defined yet.
        pub const EVENTS: &[&str] = &[$($name,)* $($later,)*];

        /// Hands each event that has a defined shape to `visit`.
        #[cfg(feature = "describe")]
        pub fn describe(visit: &mut impl crate::describe::Visit) {
            $(visit.event::<$data>($name);)*
        }
    };
}

events! {
    "message.created" => MessageChanged;
    "message.updated" => MessageChanged;
    "part.created" => PartCreated;
    "part.updated" => PartUpdated;
    "session.updated" => SessionUpdated;
    "tool.approval_required" => ApprovalRequest;
    "tool.approval_resolved" => ApprovalResolved;
    "agent.status_changed" => AgentStatusChanged;
    "turn.queued" => TurnQueued;
    "turn.started" => TurnStarted;
    "turn.ended" => TurnEnded;
    "todos.updated" => TodosUpdated;
    "presence.joined" => PresenceChanged;
    "presence.left" => PresenceChanged;
    "broadcast" => Broadcast;
    "system.reload" => SystemReload;
    reserved:
    "host.connected"
    "host.disconnected"
    "host.metrics"
    "host.log"
    "host.action_started"
    "host.action_output"
    "host.action_ended"
    "alert.firing"
    "alert.resolved"
}

/// `message.created` and `message.updated`: the whole message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageChanged {
    pub message: Message,
}

/// `part.created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PartCreated {
    pub part: Part,
}

/// `part.updated`: exactly one of `delta` (append it), `text` (replace the text) and `part` (replace the part).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [
    { "required": ["delta"] }, { "required": ["text"] }, { "required": ["part"] }
])))]
pub struct PartUpdated {
    pub message_id: String,
    pub part_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub delta: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub part: Option<Part>,
}

/// `session.updated`. `deleted` says that the conversation is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionUpdated {
    pub session: Session,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "describe", ts(as = "Option<bool>", optional))]
    pub deleted: bool,
    /// Where model, agent or thinking level are others than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub info: Option<SessionInfo>,
}

/// `tool.approval_resolved`. `by` is absent where the clock, a stop or a disconnect decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalResolved {
    pub request_id: String,
    pub session_id: String,
    pub tool_call_id: String,
    pub approved: bool,
    pub state: ApprovalState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub by: Option<String>,
    pub at: String,
}

/// `agent.status_changed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct AgentStatusChanged {
    pub session_id: String,
    pub agent: String,
    pub status: AgentState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub turn_id: Option<String>,
}

/// `turn.queued`: `position` counts from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnQueued {
    pub turn_id: String,
    pub message_id: String,
    pub position: u32,
}

/// `turn.started`: `messageId` is the prompt, `answerId` the message that will hold the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnStarted {
    pub turn_id: String,
    pub message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub answer_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub provider: Option<String>,
    /// Why that model answers, where a rule chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub routing_decision: Option<RoutingDecision>,
}

/// `turn.ended`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnEnded {
    pub turn_id: String,
    pub state: TurnState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub usage: Option<Usage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub receipt: Option<Receipt>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub error: Option<String>,
    /// Where it failed because of a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub refusal: Option<BudgetRefusal>,
}

/// `todos.updated`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TodosUpdated {
    pub todos: Vec<Todo>,
}

/// `presence.joined` and `presence.left`. `userId` is absent above
/// `channels.presence_members` users (100 unless configured).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct PresenceChanged {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub user_id: Option<String>,
    pub count: u32,
}

/// `broadcast`: an administrator says something to everybody on an `org:` channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Broadcast {
    /// For people.
    pub message: String,
    /// For programs: whatever the sender put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub data: Option<Value>,
    pub scope: BroadcastScope,
    /// Which administrator of the organization; absent where it comes from the hub's administration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub by: Option<String>,
}

/// Who hears a broadcast: one organization, or all of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum BroadcastScope {
    Organization,
    Hub,
}

/// `system.reload`: the hub has read its configuration once more. What a client remembers of agents, models, tools and
/// commands may be old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SystemReload {
    pub at: String,
}

/// The state of a `session:` channel as of one `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionSnapshot {
    pub session: Session,
    /// The newest ones, oldest first, up to 1 MiB; the half-written answer is among them.
    pub messages: Vec<Message>,
    /// Whether older messages exist: ask `messages.list` with `before`.
    pub more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub before: Option<String>,
    /// The turn at work, or `null`.
    pub turn: Option<Turn>,
    /// The newest turns that ended, oldest first.
    pub turns: Vec<Turn>,
    /// Turns that wait, in order.
    pub queue: Vec<Turn>,
    pub approvals: Vec<ApprovalRequest>,
    pub todos: Vec<Todo>,
    pub presence: Presence,
    pub status: AgentState,
}

/// The state of a `user:` channel: a bounded document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct UserSnapshot {
    /// The newest fifty.
    pub sessions: Vec<Session>,
    /// All that wait for this user, up to a hundred.
    pub approvals: Vec<ApprovalRequest>,
}

/// The state of a `project:` or `org:` channel: the newest fifty sessions that the whole organization may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionsSnapshot {
    pub sessions: Vec<Session>,
}
