//! Skills and actions: what one may ask a model or the world to do by name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::Usage;

/// Something a model can do in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Skill {
    pub id: String,
    pub name: String,
    pub description: String,
    pub scope: String,
    /// JSON Schema of the input.
    pub input_schema: Value,
    /// JSON Schema of the output; without it the output is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub output_schema: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SkillExecute {
    pub skill_id: String,
    /// As the skill's schema wants it; `{}` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub input: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

/// A skill's one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct SkillResult {
    pub skill_id: String,
    /// A text, or what the skill's output schema says.
    pub output: Value,
    pub usage: Usage,
    pub provider: String,
    pub model: String,
}

/// Something that can be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Action {
    pub id: String,
    pub name: String,
    pub description: String,
    pub category: String,
    /// Whether it is only shown, unless `skipPreview` says that the caller has seen it.
    pub requires_preview: bool,
    /// JSON Schema of the input.
    pub input_schema: Value,
    /// Kinds of things it is done to; empty: nothing in particular.
    pub entity_types: Vec<String>,
    /// Seconds in which it can be undone; absent: it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub undo_seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionList {
    /// Only those for things of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionTarget {
    pub action_id: String,
    /// As the action's schema wants it; `{}` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub input: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionExecute {
    pub action_id: String,
    /// As the action's schema wants it; `{}` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub input: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_id: Option<String>,
    /// The caller has seen what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub skip_preview: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionUndo {
    pub action_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_id: Option<String>,
    /// The execution meant; without it the latest on that entity that can still be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub execution_id: Option<String>,
}

/// What an action would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionPreview {
    pub action_id: String,
    pub name: String,
    /// One line for a human.
    pub summary: String,
    pub risks: Vec<String>,
    pub input: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub entity_id: Option<String>,
    /// The request as it would be sent: method, address and body, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub request: Option<Value>,
    /// What the action itself says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub details: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ActionStatus {
    /// Nothing was done: look at `preview`, then ask with `skipPreview`.
    PreviewRequired,
    Pending,
    Executing,
    Completed,
    Failed,
    Undone,
    /// Nobody knows what came of it, and it is not done again.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionOutcome {
    pub status: ActionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub preview: Option<ActionPreview>,
    /// The record of what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub execution_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub error: Option<String>,
    /// Until when it can be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", ts(optional))]
    pub undo_until: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "describe", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ActionUndone {
    pub success: bool,
    /// Which execution was undone.
    pub execution_id: String,
}
