//! What only HTTP has: bodies of errors, and the gateway's own words at the root.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Attachment, Message, RoutingDecision, RuleScope, ToolCallState, ToolPolicy, TurnState, Usage};

/// An error of `/api`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiError {
    pub error: ApiFault,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiFault {
    /// A word of the table of errors.
    pub code: String,
    pub message: String,
    /// What helps a program to react: the field at fault, the turn that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    pub request_id: String,
}

/// An error of the gateway's routes at the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayError {
    pub error: String,
    /// A word of the table of errors.
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    pub request_id: String,
}

/// `POST /sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewaySessionCreate {
    /// What kind of client this is, such as `telegram`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 128)))]
    pub channel: String,
    /// Checked and not used: the hub keeps conversations off the file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewaySession {
    pub id: String,
    pub channel: String,
    pub created_at: String,
    /// Not in the answer to `POST /sessions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_count: Option<u64>,
}

/// `POST /sessions/{id}/messages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewaySend {
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<Attachment>>,
}

/// The agent's answer; with status 202 what there is of it: the time to wait is up, and the turn goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayAnswer {
    /// The answer's; the prompt's where nothing was answered before a stop.
    pub id: String,
    /// The text parts joined.
    pub content: String,
    pub tool_calls: Vec<GatewayToolCall>,
    pub timestamp: String,
    pub turn_id: String,
    pub state: TurnState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayToolCall {
    pub id: String,
    pub name: String,
    pub input: Value,
    pub state: ToolCallState,
    /// What the tool gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
}

/// A conversation's messages as metadata, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayHistory {
    pub messages: Vec<GatewayMessage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayMessage {
    pub id: String,
    pub role: crate::model::Role,
    pub timestamp: String,
    /// The first tool that it called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    pub has_tool_calls: bool,
    /// The first 16 hexadecimal digits of the SHA-256 over the text parts joined.
    #[cfg_attr(feature = "schema", schemars(length(min = 16, max = 16)))]
    pub content_hash: String,
    /// For owners who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayTools {
    pub tools: Vec<GatewayTool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GatewayTool {
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    pub policy: ToolPolicy,
}

/// `GET /health/detailed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthDetails {
    pub status: String,
    pub timestamp: String,
    pub version: String,
    /// Seconds.
    pub uptime: f64,
    pub memory: Memory,
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// The most that was ever resident.
    pub peak_rss: u64,
    /// Of the address space.
    #[serde(rename = "virtual")]
    pub address_space: u64,
}

/// A message whose sender waited: how its turn ended, and the answer where one was begun. With status 202 its turn goes
/// on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MessageAnswered {
    pub message_id: String,
    pub turn_id: String,
    pub state: TurnState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Message>,
    pub usage: Usage,
}

/// `POST /api/v1/approvals/{requestId}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalDecision {
    pub approved: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Keep the answer as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<bool>,
    /// How far that rule reaches: `arguments` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<RuleScope>,
    /// Of the question as it was seen: refused with `conflict` where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `GET /api/v1/session`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    pub organization: String,
    pub user: String,
    pub role: String,
    pub hub_admin: bool,
    /// They count for skills and actions only.
    pub permissions: Vec<String>,
    /// What kind of credential this was.
    pub credential: String,
    /// `null` where it does not end.
    pub expires_at: Option<String>,
}

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub status: String,
    pub timestamp: String,
}

/// `GET /ready`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    pub ready: bool,
    /// What does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Vec<String>>,
    /// Providers that cannot be reached. The hub can work all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Vec<String>>,
}

/// `POST /api/v1/routing/explain`: a message as the caller would send it. Nothing is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoutingQuestion {
    pub content: String,
    /// How many things are attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<u32>,
    /// As the message would name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A session whose agent, tags and model count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// Who would answer, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RoutingExplanation {
    pub agent: String,
    pub provider: String,
    pub model: String,
    /// `message`, `conversation`, `rule` or `agent`: what chose it, the strongest first.
    pub chosen_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_decision: Option<RoutingDecision>,
    /// Every rule, in order.
    pub rules: Vec<RuleExplanation>,
    /// Who is asked, in order, when a provider fails before its first token.
    pub fallback: Vec<String>,
}

/// What a rule says of the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuleExplanation {
    pub name: String,
    pub provider: String,
    pub model: String,
    pub matched: bool,
    /// What held, or the first thing that did not.
    pub why: String,
}
