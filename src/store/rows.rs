//! Rows as they lie in the tables, and the way between them and the domain.

use std::borrow::Cow;

use diesel::{AsChangeset, Insertable, Queryable, Selectable};
use serde_json::Value;

use super::fault::StoreFault;
use super::{budgets, routing, schema};
use crate::domain::approval::{Approval, ApprovalState, Decision};
use crate::domain::generation::ThinkingLevel;
use crate::domain::ids::{
    ApprovalId, ConversationId, MessageId, NotAnId, OrganizationId, PartId, ProjectId, Timestamp, TurnId, UserId,
};
use crate::domain::message::{Author, Message, MessageState};
use crate::domain::settings::{ContextStart, ConversationState, Entity, Settings, Todo, TodoState, Visibility};
use crate::domain::tool_policy::Remembers;
use crate::domain::turn::{Receipt, Turn, TurnState};
use crate::domain::usage::Usage;

/// PostgreSQL cannot keep U+0000 in a text; on both backends it becomes U+FFFD.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

pub(super) fn owned(text: &str) -> String {
    clean(text).into_owned()
}

pub(super) fn maybe(text: Option<&String>) -> Option<String> {
    text.map(|t| owned(t))
}

pub(super) fn corrupt(what: &str, value: &dyn std::fmt::Debug) -> StoreFault {
    StoreFault::Corrupt(format!("{what} is {value:?}"))
}

pub(super) fn id<T>(text: &str, parse: fn(&str) -> Result<T, NotAnId>) -> Result<T, StoreFault> {
    parse(text).map_err(|_| corrupt("an id", &text))
}

pub(super) fn maybe_id<T>(
    text: Option<&String>,
    parse: fn(&str) -> Result<T, NotAnId>,
) -> Result<Option<T>, StoreFault> {
    text.map(|t| id(t, parse)).transpose()
}

pub(super) fn word<T>(what: &str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreFault> {
    parse(text).ok_or_else(|| corrupt(what, &text))
}

pub(super) fn json(what: &str, text: &str) -> Result<Value, StoreFault> {
    serde_json::from_str(text).map_err(|_| corrupt(what, &text))
}

pub(super) fn number<T: TryFrom<i64>>(what: &str, value: impl Into<i64>) -> Result<T, StoreFault> {
    let value = value.into();
    T::try_from(value).map_err(|_| corrupt(what, &value))
}

pub(super) fn big(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A SHA-256, as it lies in a column.
pub(super) fn hash(bytes: Vec<u8>) -> Result<[u8; 32], StoreFault> {
    bytes.try_into().map_err(|bytes: Vec<u8>| corrupt("the length of a hash", &bytes.len()))
}

fn usage(columns: [i64; 4], cost: Option<i64>) -> Result<Usage, StoreFault> {
    let [input, output, cache_read, cache_write] = columns;
    Ok(Usage {
        input: number("a token count", input)?,
        output: number("a token count", output)?,
        cache_read: number("a token count", cache_read)?,
        cache_write: number("a token count", cache_write)?,
        cost: cost.map(|micros| number("a cost", micros)).transpose()?,
    })
}

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = schema::conversation, primary_key(organization_id, id), treat_none_as_null = true)]
pub(super) struct ConversationRow {
    pub organization_id: String,
    pub id: String,
    pub user_id: String,
    pub project_id: Option<String>,
    pub title: String,
    pub state: String,
    pub visibility: String,
    pub agent: String,
    pub model: Option<String>,
    pub thinking: String,
    pub tags: String,
    pub context_from: i64,
    pub context_summary: Option<String>,
    pub channel: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub next_turn_no: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    pub cost_micros: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl From<&Settings> for ConversationRow {
    fn from(s: &Settings) -> Self {
        Self {
            organization_id: s.organization.to_string(),
            id: s.id.to_string(),
            user_id: s.user.to_string(),
            project_id: s.project.map(|p| p.to_string()),
            title: owned(&s.title),
            state: s.state.name().into(),
            visibility: s.visibility.name().into(),
            agent: owned(&s.agent),
            model: maybe(s.model.as_ref()),
            thinking: s.thinking.name().into(),
            tags: Value::from(s.tags.iter().map(|tag| owned(tag)).collect::<Vec<_>>()).to_string(),
            context_from: s.context.turn_no.into(),
            context_summary: s.context.summary.as_deref().map(owned),
            channel: maybe(s.channel.as_ref()),
            entity_type: s.entity.as_ref().map(|entity| owned(&entity.kind)),
            entity_id: s.entity.as_ref().map(|entity| owned(&entity.id)),
            next_turn_no: s.next_turn_no.into(),
            input_tokens: big(s.usage.input),
            output_tokens: big(s.usage.output),
            cache_read_tokens: big(s.usage.cache_read),
            cache_write_tokens: big(s.usage.cache_write),
            cost_micros: s.usage.cost.map(big),
            created_at: s.created_at.0,
            updated_at: s.updated_at.0,
        }
    }
}

impl TryFrom<ConversationRow> for Settings {
    type Error = StoreFault;

    fn try_from(r: ConversationRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&r.id, ConversationId::parse)?,
            organization: id(&r.organization_id, OrganizationId::parse)?,
            user: id(&r.user_id, UserId::parse)?,
            project: maybe_id(r.project_id.as_ref(), ProjectId::parse)?,
            title: r.title,
            state: word("a conversation's state", &r.state, ConversationState::parse)?,
            visibility: word("a visibility", &r.visibility, Visibility::parse)?,
            agent: r.agent,
            model: r.model,
            thinking: word("a thinking level", &r.thinking, ThinkingLevel::parse)?,
            tags: serde_json::from_str(&r.tags).map_err(|_| corrupt("a list of tags", &r.tags))?,
            context: ContextStart {
                turn_no: number("a turn number", r.context_from)?,
                summary: r.context_summary.map(Into::into),
            },
            channel: r.channel,
            entity: r.entity_type.map(|kind| Entity { kind, id: r.entity_id.unwrap_or_default() }),
            next_turn_no: number("a turn number", r.next_turn_no)?,
            usage: usage([r.input_tokens, r.output_tokens, r.cache_read_tokens, r.cache_write_tokens], r.cost_micros)?,
            created_at: Timestamp(r.created_at),
            updated_at: Timestamp(r.updated_at),
        })
    }
}

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = schema::turn, primary_key(organization_id, id), treat_none_as_null = true)]
pub(super) struct TurnRow {
    pub organization_id: String,
    pub id: String,
    pub conversation_id: String,
    pub no: i64,
    pub state: String,
    pub live: bool,
    pub message_id: String,
    pub answer_id: Option<String>,
    pub user_id: String,
    pub model: Option<String>,
    pub steps: i32,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    pub cost_micros: Option<i64>,
    pub retry_of: Option<String>,
    pub receipt: Option<String>,
    pub error: Option<String>,
    pub refusal: Option<String>,
    pub routing: Option<String>,
    pub correlation_id: String,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub boot: String,
}

impl TurnRow {
    pub(super) fn new(organization: &OrganizationId, conversation: ConversationId, boot: &str, t: &Turn) -> Self {
        let receipt = t.receipt.map(
            |r| serde_json::json!({"closedAt": r.closed_at.0, "bytesAfter": r.bytes_after, "keptBytes": r.kept_bytes}),
        );
        Self {
            organization_id: organization.to_string(),
            id: t.id.to_string(),
            conversation_id: conversation.to_string(),
            no: t.no.into(),
            state: t.state.name().into(),
            live: !t.state.has_ended(),
            message_id: t.message.to_string(),
            answer_id: t.answer.map(|a| a.to_string()),
            user_id: t.user.to_string(),
            model: maybe(t.model.as_ref()),
            steps: t.steps.into(),
            input_tokens: big(t.usage.input),
            output_tokens: big(t.usage.output),
            cache_read_tokens: big(t.usage.cache_read),
            cache_write_tokens: big(t.usage.cache_write),
            cost_micros: t.usage.cost.map(big),
            retry_of: t.retry_of.map(|r| r.to_string()),
            receipt: receipt.map(|r| r.to_string()),
            error: maybe(t.error.as_ref()),
            refusal: t.refusal.as_deref().map(budgets::refusal_text),
            routing: t.routing.as_deref().map(routing::text),
            correlation_id: t.correlation_id.clone(),
            created_at: t.created_at.0,
            started_at: t.started_at.map(|at| at.0),
            ended_at: t.ended_at.map(|at| at.0),
            boot: boot.to_owned(),
        }
    }
}

fn receipt(text: &str) -> Result<Receipt, StoreFault> {
    let value = json("a receipt", text)?;
    let field = |name: &str| value.get(name).and_then(Value::as_u64).ok_or_else(|| corrupt("a receipt", &text));
    let closed_at = value.get("closedAt").and_then(Value::as_i64).ok_or_else(|| corrupt("a receipt", &text))?;
    Ok(Receipt { closed_at: Timestamp(closed_at), bytes_after: field("bytesAfter")?, kept_bytes: field("keptBytes")? })
}

impl TryFrom<TurnRow> for Turn {
    type Error = StoreFault;

    fn try_from(r: TurnRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&r.id, TurnId::parse)?,
            no: number("a turn number", r.no)?,
            state: word("a turn's state", &r.state, TurnState::parse)?,
            message: id(&r.message_id, MessageId::parse)?,
            answer: maybe_id(r.answer_id.as_ref(), MessageId::parse)?,
            user: id(&r.user_id, UserId::parse)?,
            model: r.model,
            routing: r.routing.as_deref().map(routing::decision).transpose()?.map(Box::new),
            steps: number("a step count", r.steps)?,
            usage: usage([r.input_tokens, r.output_tokens, r.cache_read_tokens, r.cache_write_tokens], r.cost_micros)?,
            retry_of: maybe_id(r.retry_of.as_ref(), TurnId::parse)?,
            receipt: r.receipt.as_deref().map(receipt).transpose()?,
            error: r.error,
            refusal: r.refusal.as_deref().map(budgets::refusal).transpose()?.map(Box::new),
            correlation_id: r.correlation_id,
            created_at: Timestamp(r.created_at),
            started_at: r.started_at.map(Timestamp),
            ended_at: r.ended_at.map(Timestamp),
        })
    }
}

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = schema::message, primary_key(organization_id, id), treat_none_as_null = true)]
pub(super) struct MessageRow {
    pub organization_id: String,
    pub id: String,
    pub conversation_id: String,
    pub turn_id: String,
    pub turn_no: i64,
    pub idx: i32,
    pub author: String,
    pub user_id: Option<String>,
    pub state: String,
    pub superseded: bool,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub cache_read_tokens: Option<i64>,
    pub cache_write_tokens: Option<i64>,
    pub cost_micros: Option<i64>,
    pub created_at: i64,
}

impl MessageRow {
    pub(super) fn new(organization: &OrganizationId, conversation: ConversationId, m: &Message) -> Self {
        Self {
            organization_id: organization.to_string(),
            id: m.id.to_string(),
            conversation_id: conversation.to_string(),
            turn_id: m.turn.to_string(),
            turn_no: m.turn_no.into(),
            idx: m.index.into(),
            author: m.author.name().into(),
            user_id: m.user.as_ref().map(ToString::to_string),
            state: m.state.name().into(),
            superseded: m.superseded,
            provider: maybe(m.provider.as_ref()),
            model: maybe(m.model.as_ref()),
            input_tokens: m.usage.map(|u| big(u.input)),
            output_tokens: m.usage.map(|u| big(u.output)),
            cache_read_tokens: m.usage.map(|u| big(u.cache_read)),
            cache_write_tokens: m.usage.map(|u| big(u.cache_write)),
            cost_micros: m.usage.and_then(|u| u.cost).map(big),
            created_at: m.created_at.0,
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreFault;

    /// Without its parts.
    fn try_from(r: MessageRow) -> Result<Self, StoreFault> {
        let usage = match (r.input_tokens, r.output_tokens, r.cache_read_tokens, r.cache_write_tokens) {
            (Some(a), Some(b), Some(c), Some(d)) => Some(usage([a, b, c, d], r.cost_micros)?),
            _ => None,
        };
        Ok(Self {
            id: id(&r.id, MessageId::parse)?,
            turn: id(&r.turn_id, TurnId::parse)?,
            turn_no: number("a turn number", r.turn_no)?,
            index: number("a message's position", r.idx)?,
            author: word("an author", &r.author, Author::parse)?,
            user: maybe_id(r.user_id.as_ref(), UserId::parse)?,
            state: word("a message's state", &r.state, MessageState::parse)?,
            superseded: r.superseded,
            provider: r.provider,
            model: r.model,
            usage,
            created_at: Timestamp(r.created_at),
            parts: Vec::new(),
        })
    }
}

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = schema::approval, primary_key(organization_id, id), treat_none_as_null = true)]
pub(super) struct ApprovalRow {
    pub organization_id: String,
    pub id: String,
    pub conversation_id: String,
    pub turn_id: String,
    pub call_id: String,
    pub tool: String,
    pub summary: String,
    pub risks: String,
    pub input: String,
    pub correlation_id: String,
    pub state: String,
    pub pending: bool,
    pub requested_at: i64,
    pub deadline: i64,
    pub decided_by: Option<String>,
    pub decided_at: Option<i64>,
    pub reason: Option<String>,
    pub origin: Option<String>,
    pub remembers: String,
}

impl ApprovalRow {
    pub(super) fn new(organization: &OrganizationId, conversation: ConversationId, a: &Approval) -> Self {
        let decision = a.decision.as_ref();
        Self {
            organization_id: organization.to_string(),
            id: a.id.to_string(),
            conversation_id: conversation.to_string(),
            turn_id: a.turn.to_string(),
            call_id: a.call.to_string(),
            tool: owned(&a.tool),
            summary: owned(&a.summary),
            risks: Value::from(a.risks.clone()).to_string(),
            input: a.input.to_string(),
            correlation_id: owned(&a.correlation_id),
            state: a.state.name().into(),
            pending: a.state == ApprovalState::Pending,
            requested_at: a.requested_at.0,
            deadline: a.deadline.0,
            decided_by: decision.and_then(|d| d.by.as_ref()).map(ToString::to_string),
            decided_at: decision.map(|d| d.at.0),
            reason: decision.and_then(|d| maybe(d.reason.as_ref())),
            origin: decision.map(|d| owned(&d.origin)),
            remembers: a.remembers.name().into(),
        }
    }
}

impl TryFrom<ApprovalRow> for Approval {
    type Error = StoreFault;

    fn try_from(r: ApprovalRow) -> Result<Self, StoreFault> {
        let decision = match (r.decided_at, r.origin) {
            (Some(at), Some(origin)) => Some(Decision {
                by: maybe_id(r.decided_by.as_ref(), UserId::parse)?,
                at: Timestamp(at),
                reason: r.reason,
                origin,
            }),
            _ => None,
        };
        Ok(Self {
            id: id(&r.id, ApprovalId::parse)?,
            turn: id(&r.turn_id, TurnId::parse)?,
            call: id(&r.call_id, PartId::parse)?,
            tool: r.tool,
            summary: r.summary,
            risks: serde_json::from_str(&r.risks).map_err(|_| corrupt("a list of risks", &r.risks))?,
            input: json("a tool's input", &r.input)?,
            remembers: word("what of a tool may be remembered", &r.remembers, Remembers::parse)?,
            correlation_id: r.correlation_id,
            state: word("an approval's state", &r.state, ApprovalState::parse)?,
            requested_at: Timestamp(r.requested_at),
            deadline: Timestamp(r.deadline),
            decision,
        })
    }
}

/// A list of todos as one JSON text: it is always read and written whole.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = schema::todo_list, primary_key(organization_id, conversation_id))]
pub(super) struct TodoRow {
    organization_id: String,
    conversation_id: String,
    items: String,
}

impl TodoRow {
    pub(super) fn new(organization: &OrganizationId, conversation: ConversationId, todos: &[Todo]) -> Self {
        let item = |t: &Todo| serde_json::json!({"id": t.id, "content": t.content, "state": t.state.name()});
        Self {
            organization_id: organization.to_string(),
            conversation_id: conversation.to_string(),
            items: Value::Array(todos.iter().map(item).collect()).to_string(),
        }
    }
}

pub(super) fn todos_from_text(text: &str) -> Result<Vec<Todo>, StoreFault> {
    let value = json("a list of todos", text)?;
    let items = value.as_array().ok_or_else(|| corrupt("a list of todos", &text))?;
    let todo = |item: &Value| {
        let field = |name: &str| item.get(name).and_then(Value::as_str).ok_or_else(|| corrupt("a todo", item));
        let state = word("a todo's state", field("state")?, TodoState::parse)?;
        Ok(Todo { id: field("id")?.to_owned(), content: field("content")?.to_owned(), state })
    };
    items.iter().map(todo).collect()
}
