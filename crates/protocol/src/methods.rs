//! The methods of `request` frames: what each takes and gives.

use serde::{Deserialize, Serialize};

#[cfg(feature = "describe")]
use crate::acting::*;
use crate::frames::{Event, Position};
use crate::model::*;

/// Tells an absent field (leave it) from `null` (clear it).
pub mod clearable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
        Option::<T>::deserialize(from).map(Some)
    }

    pub fn serialize<S: Serializer, T: Serialize>(value: &Option<Option<T>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(to)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Empty {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub cursor: Option<String>,
    /// 1 to 200; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ProjectCreate {
    /// Unique within the organization; an existing project of that name is returned.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ProjectGet {
    pub project_id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionCreate {
    /// An id of the caller's own, 1 to 128 printable characters: the session that the caller calls so and that is not
    /// archived, or a new one. From then on it may stand wherever the caller sends a session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub session_id: Option<String>,
    /// A project's id or name; one that does not exist is created in the caller's organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub project_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub thinking_level: Option<ThinkingLevel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub visibility: Option<Visibility>,
    /// Words that routing rules may look for, at most 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub project_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub state: Option<SessionState>,
    /// Full-text search in the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub q: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionGet {
    pub session_id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SessionUpdate {
    pub session_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub agent: Option<String>,
    /// `null` clears the override.
    #[serde(default, with = "clearable", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    #[cfg_attr(feature = "describe", ts(optional, type = "string | null"))]
    pub model: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub thinking_level: Option<ThinkingLevel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub visibility: Option<Visibility>,
    /// The whole list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub tags: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    pub deleted: bool,
}

/// What to do when a turn is already running; the agent's own rule where absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum IfRunning {
    Queue,
    Interrupt,
    Reject,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageSend {
    pub session_id: String,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub attachments: Option<Vec<Attachment>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub if_running: Option<IfRunning>,
    /// The same key with the same message sends it once, and every try gets the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageSent {
    pub message_id: String,
    pub turn_id: String,
    pub state: TurnState,
}

/// A turn as it is stored, and its answer where one was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnDetails {
    pub turn: Turn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub answer: Option<Message>,
}

/// Edits a message whose turn still waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageUpdate {
    pub session_id: String,
    pub message_id: String,
    pub content: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnTarget {
    pub session_id: String,
    /// Without it: the turn at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub turn_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TurnOutcome {
    pub turn_id: String,
    pub state: TurnState,
    /// Present where an upstream request was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub receipt: Option<Receipt>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageRetry {
    pub session_id: String,
    /// Without it: the newest turn that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub turn_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageList {
    pub session_id: String,
    /// A message id; older ones are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct AgentGet {
    pub agent: String,
}

/// Names the approval by `requestId`, or by `toolCallId`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ToolDecision {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub remember: Option<bool>,
    /// How far that rule reaches: `arguments` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub scope: Option<RuleScope>,
    /// Of the question as it was seen: refused with `conflict` where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct RuleRevoke {
    pub rule_id: String,
}

/// `applied` is false where somebody was first; the rest tells what holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ToolDecided {
    pub request_id: String,
    pub applied: bool,
    pub approved: bool,
    pub state: ApprovalState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub by: Option<String>,
    /// The rule that this answer was kept as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub rule_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalList {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TodoList {
    pub todos: Vec<Todo>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TodoUpdate {
    pub session_id: String,
    /// The whole list.
    pub todos: Vec<TodoInput>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TodoInput {
    /// Made where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub id: Option<String>,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub state: Option<TodoState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ChannelGet {
    pub channel: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ChannelHistory {
    pub channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub since: Option<Position>,
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ChannelEvents {
    pub epoch: String,
    pub seq: u64,
    /// False where `since` was given and events after it are gone.
    pub recovered: bool,
    pub events: Vec<Event>,
}

/// What a `publish` with `id` gives: the event is ordered, not stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Published {
    pub epoch: String,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SubscribeOutcome {
    pub subscribed: Vec<String>,
    /// Error code by channel.
    pub refused: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct UnsubscribeOutcome {
    pub unsubscribed: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct UsageGet {
    /// `day` by default: the last 24 hours, 7 days or 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub period: Option<Period>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    pub period: Period,
    pub from: String,
    pub to: String,
    pub turns: u64,
    pub usage: Usage,
    pub by_model: Vec<ModelUsage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ModelUsage {
    pub provider: String,
    pub model: String,
    pub turns: u64,
    pub usage: Usage,
}

/// A slash command: `/model gpt-5`, or `model` with its arguments apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct CommandExecute {
    pub session_id: String,
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub args: Option<String>,
}

/// A method's name and the names of the types it takes and gives.
pub struct Method {
    pub name: &'static str,
    pub params: &'static str,
    pub result: &'static str,
}

macro_rules! methods {
    ($($name:literal: $params:ty => $result:ty;)*) => {
        /// Every method, in the order of the documentation.
        pub const METHODS: &[Method] =
            &[$(Method { name: $name, params: stringify!($params), result: stringify!($result) }),*];

        /// Hands each method and its two types to `visit`.
        #[cfg(feature = "describe")]
        pub fn describe(visit: &mut impl crate::describe::Visit) {
            $(visit.method::<$params, $result>($name);)*
        }
    };
}

methods! {
    "projects.create": ProjectCreate => Project;
    "projects.list": ListParams => Page<Project>;
    "projects.get": ProjectGet => Project;
    "sessions.create": SessionCreate => Session;
    "sessions.list": SessionList => Page<Session>;
    "sessions.get": SessionGet => Session;
    "sessions.update": SessionUpdate => Session;
    "sessions.archive": SessionGet => Session;
    "sessions.pause": SessionGet => Session;
    "sessions.resume": SessionGet => Session;
    "sessions.delete": SessionGet => Deleted;
    "messages.send": MessageSend => MessageSent;
    "messages.update": MessageUpdate => Message;
    "messages.cancel": TurnTarget => TurnOutcome;
    "messages.stop": TurnTarget => TurnOutcome;
    "messages.abort": TurnTarget => TurnOutcome;
    "messages.retry": MessageRetry => MessageSent;
    "messages.list": MessageList => Page<Message>;
    "agents.list": Empty => Page<Agent>;
    "agents.get": AgentGet => Agent;
    "tools.list": Empty => Page<Tool>;
    "tools.approve": ToolDecision => ToolDecided;
    "tools.reject": ToolDecision => ToolDecided;
    "approvals.list": ApprovalList => Page<ApprovalRequest>;
    "approvals.rules": ListParams => Page<ApprovalRule>;
    "approvals.revoke": RuleRevoke => Deleted;
    "todos.get": SessionGet => TodoList;
    "todos.update": TodoUpdate => TodoList;
    "models.list": Empty => Page<Model>;
    "commands.list": Empty => CommandManifest;
    "commands.execute": CommandExecute => CommandResult;
    "channels.presence": ChannelGet => Presence;
    "channels.history": ChannelHistory => ChannelEvents;
    "usage.get": UsageGet => UsageReport;
    "skills.list": Empty => Page<Skill>;
    "skills.execute": SkillExecute => SkillResult;
    "actions.list": ActionList => Page<Action>;
    "actions.preview": ActionTarget => ActionPreview;
    "actions.execute": ActionExecute => ActionOutcome;
    "actions.undo": ActionUndo => ActionUndone;
}
