//! The row of a part: its text in a column of its own, all else as JSON beside it.

use diesel::{AsChangeset, Insertable, Queryable, Selectable};
use serde_json::{Value, json};

use super::fault::StoreFault;
use super::rows::{corrupt, id, owned, word};
use super::schema;
use crate::domain::canonical::Digest;
use crate::domain::generation::ToolOutput;
use crate::domain::ids::{ApprovalId, MessageId, OrganizationId, PartId};
use crate::domain::message::{Attachment, AttachmentKind, Part, PartBody};
use crate::domain::tool_call::{ToolCall, ToolCallState};

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = schema::part, primary_key(organization_id, id), treat_none_as_null = true)]
pub(super) struct PartRow {
    pub organization_id: String,
    pub id: String,
    pub message_id: String,
    pub idx: i32,
    pub kind: String,
    pub text: String,
    pub data: Option<String>,
    pub size: i64,
}

impl PartRow {
    pub(super) fn new(organization: &OrganizationId, message: MessageId, part: &Part) -> Self {
        let (text, data) = match &part.body {
            PartBody::Text { text } => (owned(text), None),
            PartBody::Thinking { text, signature } => {
                (owned(text), signature.as_ref().map(|s| json!({ "signature": s })))
            }
            PartBody::ToolCall(call) => (String::new(), Some(call_to_json(call))),
            PartBody::ToolResult { call, result } => (
                owned(&result.output),
                Some(json!({"call": call.to_string(), "callId": result.call_id, "isError": result.is_error})),
            ),
            PartBody::Attachment(attachment) => (String::new(), Some(attachment_to_json(attachment))),
        };
        let data = data.map(|d| d.to_string());
        let size = text.len() + data.as_ref().map_or(0, String::len);
        Self {
            organization_id: organization.to_string(),
            id: part.id.to_string(),
            message_id: message.to_string(),
            idx: part.index.into(),
            kind: part.body.kind().into(),
            text,
            data,
            size: i64::try_from(size).unwrap_or(i64::MAX),
        }
    }
}

impl TryFrom<PartRow> for Part {
    type Error = StoreFault;

    fn try_from(row: PartRow) -> Result<Self, StoreFault> {
        let data = match &row.data {
            Some(text) => super::rows::json("a part's data", text)?,
            None => Value::Null,
        };
        let body = match row.kind.as_str() {
            "text" => PartBody::Text { text: row.text },
            "thinking" => PartBody::Thinking { text: row.text, signature: text(&data, "signature") },
            "tool_call" => PartBody::ToolCall(call_from_json(data)?),
            "tool_result" => PartBody::ToolResult {
                call: id(needed(&data, "call")?, PartId::parse)?,
                result: ToolOutput {
                    call_id: needed(&data, "callId")?.to_owned(),
                    output: row.text,
                    is_error: data.get("isError").and_then(Value::as_bool).unwrap_or_default(),
                },
            },
            "attachment" => PartBody::Attachment(attachment_from_json(&data)?),
            _ => return Err(corrupt("a part's kind", &row.kind)),
        };
        let index = u16::try_from(row.idx).map_err(|_| corrupt("a part's position", &row.idx))?;
        Ok(Self { id: id(&row.id, PartId::parse)?, index, body })
    }
}

/// Puts `tail` at the end of what grows in this part. A part that cannot grow has none.
pub(super) fn extend(part: &mut Part, tail: &str) {
    match &mut part.body {
        PartBody::Text { text } | PartBody::Thinking { text, .. } => text.push_str(tail),
        PartBody::ToolResult { result, .. } => result.output.push_str(tail),
        PartBody::ToolCall(_) | PartBody::Attachment(_) => {}
    }
}

fn text(data: &Value, name: &str) -> Option<String> {
    data.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn needed<'a>(data: &'a Value, name: &str) -> Result<&'a str, StoreFault> {
    data.get(name).and_then(Value::as_str).ok_or_else(|| corrupt("a part's data", data))
}

fn call_to_json(call: &ToolCall) -> Value {
    json!({
        "providerId": call.provider_id,
        "tool": call.tool,
        "input": call.input,
        "state": call.state.name(),
        "approval": call.approval.map(|a| a.to_string()),
        "bound": call.bound.map(|digest| digest.to_string()),
    })
}

fn call_from_json(mut data: Value) -> Result<ToolCall, StoreFault> {
    let input = data.get_mut("input").map(Value::take).unwrap_or_default();
    Ok(ToolCall {
        provider_id: needed(&data, "providerId")?.to_owned(),
        tool: needed(&data, "tool")?.to_owned(),
        input,
        state: word("a tool call's state", needed(&data, "state")?, ToolCallState::parse)?,
        approval: text(&data, "approval").map(|a| id(&a, ApprovalId::parse)).transpose()?,
        bound: text(&data, "bound").map(|d| word("a digest", &d, Digest::parse)).transpose()?,
    })
}

fn attachment_to_json(a: &Attachment) -> Value {
    json!({"kind": a.kind.name(), "name": a.name, "mediaType": a.media_type, "url": a.url, "data": a.data})
}

fn attachment_from_json(data: &Value) -> Result<Attachment, StoreFault> {
    let kind = match needed(data, "kind")? {
        "file" => AttachmentKind::File,
        "image" => AttachmentKind::Image,
        other => return Err(corrupt("an attachment's kind", &other)),
    };
    Ok(Attachment {
        kind,
        name: needed(data, "name")?.to_owned(),
        media_type: text(data, "mediaType"),
        url: text(data, "url"),
        data: text(data, "data"),
    })
}
