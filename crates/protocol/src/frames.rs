//! The frames of the native WebSocket door, `/ws`: one JSON text each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::{SessionSnapshot, SessionsSnapshot, UserSnapshot};
use crate::model::{ApprovalDetails, Attachment, Usage};

/// Client to hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ClientFrame {
    /// Answered by one `response` with the same id.
    Request(Request),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// To `app:` channels.
    Publish(Publish),
    Ping,
    /// The flat form: talk without subscribing.
    Message(FlatMessage),
    /// The flat form: answer an approval.
    ApprovalResponse(ApprovalResponse),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Chosen by the client, 1 to 128 characters.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 128)))]
    pub id: String,
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub params: Option<Value>,
}

/// Where a client stopped hearing a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Position {
    pub epoch: String,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Subscribe {
    pub channels: Vec<String>,
    /// With it, each channel is answered by `subscribed` and by what was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub since: Option<BTreeMap<String, Position>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Unsubscribe {
    pub channels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Publish {
    pub channel: String,
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct FlatMessage {
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub attachments: Option<Vec<Attachment>>,
    /// Without it: the caller's own `websocket` session, made if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub session_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalResponse {
    pub request_id: String,
    pub approved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub reason: Option<String>,
    /// Keep the answer as a rule, for the very same arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub remember: Option<bool>,
}

/// Hub to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerFrame {
    Response(Response),
    Event(Event),
    Subscribed(Subscribed),
    Unsubscribed(Unsubscribed),
    Pong,
    TextDelta(TextDelta),
    ToolCallStart(ToolCallStart),
    ToolCallResult(ToolCallResult),
    ApprovalRequest(FlatApprovalRequest),
    MessageComplete(MessageComplete),
    Error(ErrorFrame),
}

/// Exactly one of `result` and `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("oneOf" = [{ "required": ["result"] }, { "required": ["error"] }])))]
pub struct Response {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub error: Option<ErrorBody>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub details: Option<Value>,
}

/// `seq` rises by one per channel; a merged event stands for all from `fromSeq` to `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub channel: String,
    pub seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub from_seq: Option<u64>,
    pub epoch: String,
    pub event: String,
    pub data: Value,
    /// Milliseconds since 1970-01-01 UTC.
    pub ts: i64,
}

/// The answer to `subscribe` with `since` or `id`. With `recovered` the missed events follow; otherwise `snapshot`,
/// where the channel has one, replaces all that the client holds. The next event is `seq` + 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    pub channel: String,
    pub epoch: String,
    pub seq: u64,
    pub recovered: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub snapshot: Option<Snapshot>,
}

/// By the kind of the channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(untagged)]
pub enum Snapshot {
    Session(Box<SessionSnapshot>),
    User(UserSnapshot),
    Sessions(SessionsSnapshot),
}

/// The hub ended a subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Unsubscribed {
    pub channel: String,
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ErrorFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub code: Option<String>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub details: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub turn_id: Option<String>,
}

/// Flat form: more of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct TextDelta {
    pub delta: String,
    pub session_id: String,
    pub turn_id: String,
}

/// Flat form: a tool call begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ToolCallStart {
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub summary: Option<String>,
    pub session_id: String,
    pub turn_id: String,
}

/// Flat form: a tool call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ToolCallResult {
    pub id: String,
    pub name: String,
    pub success: bool,
    pub session_id: String,
    pub turn_id: String,
}

/// Flat form: a question to a human.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct FlatApprovalRequest {
    pub request_id: String,
    pub correlation_id: String,
    pub tool_call_id: String,
    pub tool_name: String,
    pub request: ApprovalDetails,
    pub session_id: String,
    pub turn_id: String,
}

/// Flat form: the turn ended well, or was stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct MessageComplete {
    pub usage: Usage,
    pub session_id: String,
    pub turn_id: String,
}
