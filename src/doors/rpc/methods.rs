//! Client to hub: a method and its parameters become a command. Every field that is wrong is named.

use protocol::{methods as m, model as w};
use serde::de::DeserializeOwned;

use crate::domain::agent::BusyPolicy;
use crate::domain::alias::{Alias, ChannelName, SessionName};
use crate::domain::approval_rule::RuleScope;
use crate::domain::canonical::Digest;
use crate::domain::channel::Position;
use crate::domain::command::{
    ApprovalRef, Command, Keep, NewMessage, NewSession, Once, PageRequest, Period, SessionCommand,
};
use crate::domain::conversation::{SettingsChange, StopKind};
use crate::domain::ids::{ApprovalId, MessageId, NotAnId, PartId, ProjectId, RuleId, TurnId};
use crate::domain::message::Attachment;
use crate::domain::settings::Todo;
use crate::doors::{acting, words};
use crate::error::{Code, Fault};

/// What one may ask at most, in bytes, of texts that are no message.
const NAME_BYTES: usize = 512;
const KEY_BYTES: usize = 128;
const TODOS: usize = 500;
const ATTACHMENTS: usize = 32;
const TAGS: usize = 32;
const TAG_BYTES: usize = 64;

/// Limits of configuration that decoding holds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a message's text.
    pub message_bytes: usize,
}

/// Turns `serde`'s complaint into one that names the field.
pub fn field_error(error: serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let path = error.path().to_string();
    // A text that ends too early ends in a field without a name.
    let path = path.trim_end_matches('?').trim_end_matches('.');
    let inner = error.into_inner().to_string();
    // The position within the text helps nobody who sent one line.
    let text = inner.split(" at line ").next().unwrap_or(&inner).to_owned();
    // What is missing, or stands there twice, is a field of what the path leads to.
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let quoted = |start: &str| text.strip_prefix(start)?.strip_prefix(" field `")?.strip_suffix('`').map(within);
    if let Some(field) = quoted("missing") {
        return Fault::field(&field, "must be there");
    }
    if let Some(field) = quoted("duplicate") {
        return Fault::field(&field, text);
    }
    if path.is_empty() { Fault::new(Code::BadRequest, text) } else { Fault::field(path, text) }
}

fn params<T: DeserializeOwned>(raw: Option<&str>) -> Result<T, Fault> {
    let text = raw.unwrap_or("{}");
    // A struct can be read from an array too, by position: that is no form of this protocol.
    if !text.starts_with('{') {
        return Err(Fault::field("params", "not an object"));
    }
    let mut from = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut from).map_err(field_error)
}

fn id<T>(field: &str, text: &str, parse: fn(&str) -> Result<T, NotAnId>) -> Result<T, Fault> {
    parse(text).map_err(|e| Fault::field(field, e))
}

fn maybe_id<T>(field: &str, text: &Option<String>, parse: fn(&str) -> Result<T, NotAnId>) -> Result<Option<T>, Fault> {
    text.as_deref().map(|text| id(field, text, parse)).transpose()
}

/// A session as the caller names it. What is no name of one says so like an unknown one.
pub fn session(text: &str) -> Result<SessionName, Fault> {
    SessionName::parse(text).map_err(|_| Fault::not_found("session"))
}

/// The id of its own that a caller gives a session.
fn own_id(text: Option<&str>) -> Result<Option<Alias>, Fault> {
    let wrong = "1 to 128 printable characters of ASCII, no * or >, no two dots in a row, not beginning with sess_";
    text.map(Alias::parse).transpose().map_err(|_| Fault::field("sessionId", wrong))
}

pub(in crate::doors) fn bounded(field: &str, text: &str, bytes: usize) -> Result<(), Fault> {
    match text.len() <= bytes {
        true => Ok(()),
        false => Err(Fault::new(Code::TooLarge, format!("{field}: {} bytes; at most {bytes} are allowed", text.len()))),
    }
}

pub(in crate::doors) fn named(field: &str, text: &Option<String>) -> Result<(), Fault> {
    text.as_deref().map_or(Ok(()), |text| bounded(field, text, NAME_BYTES))
}

fn page(cursor: Option<String>, limit: Option<u32>) -> Result<PageRequest, Fault> {
    named("cursor", &cursor)?;
    Ok(PageRequest { cursor, limit: checked_limit(limit)? })
}

fn checked_limit(limit: Option<u32>) -> Result<usize, Fault> {
    match limit.unwrap_or(50) {
        limit @ 1..=200 => Ok(limit as usize),
        _ => Err(Fault::field("limit", "1 to 200")),
    }
}

/// The key of a request that may be repeated, with what was asked for.
pub fn once(key: Option<String>, method: &str, raw: Option<&str>) -> Result<Option<Once>, Fault> {
    let Some(key) = key else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES {
        return Err(Fault::field("idempotencyKey", "1 to 128 bytes"));
    }
    // The same request may be spelled with other spaces or another order: it is compared by its values.
    let value: serde_json::Value = serde_json::from_str(raw.unwrap_or("{}")).unwrap_or_default();
    let text = format!("{method}\n{value}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut request = [0; 32];
    request.copy_from_slice(digest.as_ref());
    Ok(Some(Once { key, request }))
}

/// The attachments of a message: each has bytes or an address.
pub fn attachments(list: Option<Vec<w::Attachment>>) -> Result<Vec<Attachment>, Fault> {
    let list = list.unwrap_or_default();
    if list.len() > ATTACHMENTS {
        return Err(Fault::field("attachments", format!("at most {ATTACHMENTS}")));
    }
    for (index, attachment) in list.iter().enumerate() {
        let field = format!("attachments[{index}]");
        bounded(&format!("{field}.name"), &attachment.name, NAME_BYTES)?;
        if attachment.url.is_some() == attachment.data.is_some() {
            return Err(Fault::field(&field, "give either url or data"));
        }
        if let Some(url) = &attachment.url {
            let known = url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
            if !known || url.len() > 8192 {
                return Err(Fault::field(&format!("{field}.url"), "not an http address"));
            }
        }
        if let Some(data) = &attachment.data {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(data)
                .map_err(|_| Fault::field(&format!("{field}.data"), "not base64"))?;
        }
    }
    Ok(list.into_iter().map(words::attachment_in).collect())
}

/// The text of a message.
pub fn content(text: &str, attachments: &[Attachment], limits: Limits) -> Result<(), Fault> {
    bounded("content", text, limits.message_bytes)?;
    if text.trim().is_empty() && attachments.is_empty() {
        return Err(Fault::field("content", "is empty"));
    }
    Ok(())
}

fn channel(text: &str) -> Result<ChannelName, Fault> {
    ChannelName::parse(text).map_err(|e| Fault::field("channel", e))
}

fn target(p: m::TurnTarget) -> Result<(SessionName, Option<TurnId>), Fault> {
    Ok((session(&p.session_id)?, maybe_id("turnId", &p.turn_id, TurnId::parse)?))
}

/// The command that a request asks for.
pub fn decode(method: &str, raw: Option<&str>, limits: Limits) -> Result<Command, Fault> {
    let (family, _) = method.split_once('.').unwrap_or((method, ""));
    match family {
        "projects" => projects(method, raw),
        "sessions" => sessions(method, raw),
        "messages" => messages(method, raw, limits),
        "tools" | "approvals" | "todos" | "commands" => work(method, raw),
        "skills" | "actions" => acts(method, raw),
        _ => catalog(method, raw),
    }
}

fn unknown(method: &str) -> Fault {
    let shown: String = method.chars().take(64).collect();
    Fault::new(Code::UnknownMethod, format!("no such method: {shown}"))
}

fn projects(method: &str, raw: Option<&str>) -> Result<Command, Fault> {
    Ok(match method {
        "projects.create" => {
            let p: m::ProjectCreate = params(raw)?;
            if p.name.trim().is_empty() {
                return Err(Fault::field("name", "is empty"));
            }
            bounded("name", &p.name, NAME_BYTES)?;
            Command::ProjectCreate { once: once(p.idempotency_key, method, raw)?, name: p.name }
        }
        "projects.list" => {
            let p: m::ListParams = params(raw)?;
            Command::ProjectList(page(p.cursor, p.limit)?)
        }
        "projects.get" => {
            let p: m::ProjectGet = params(raw)?;
            let id = ProjectId::parse(&p.project_id).map_err(|_| Fault::not_found("project"))?;
            Command::ProjectGet(id)
        }
        _ => return Err(unknown(method)),
    })
}

fn sessions(method: &str, raw: Option<&str>) -> Result<Command, Fault> {
    let of = |command: SessionCommand| -> Result<Command, Fault> {
        let p: m::SessionGet = params(raw)?;
        Ok(Command::Session(session(&p.session_id)?, command))
    };
    match method {
        "sessions.create" => {
            let p: m::SessionCreate = params(raw)?;
            for (field, text) in
                [("projectId", &p.project_id), ("title", &p.title), ("agent", &p.agent), ("model", &p.model)]
            {
                named(field, text)?;
            }
            Ok(Command::SessionCreate(NewSession {
                once: once(p.idempotency_key, method, raw)?,
                project: p.project_id,
                title: p.title,
                agent: p.agent,
                model: p.model,
                thinking: p.thinking_level.map(words::thinking_in),
                visibility: p.visibility.map(words::visibility_in),
                tags: tags(p.tags)?.unwrap_or_default(),
                channel: None,
                entity: None,
                alias: own_id(p.session_id.as_deref())?,
            }))
        }
        "sessions.list" => {
            let p: m::SessionList = params(raw)?;
            named("q", &p.q)?;
            let project = maybe_id("projectId", &p.project_id, ProjectId::parse)?;
            let state = p.state.map(words::session_state_in);
            // An empty form field looks for nothing in particular.
            let search = p.q.filter(|text| !text.trim().is_empty());
            Ok(Command::SessionList {
                project,
                state,
                entity_type: None,
                entity_id: None,
                search,
                page: page(p.cursor, p.limit)?,
            })
        }
        "sessions.get" => of(SessionCommand::Get),
        "sessions.update" => {
            let p: m::SessionUpdate = params(raw)?;
            for (field, text) in [("title", &p.title), ("agent", &p.agent), ("model", &p.model.clone().flatten())] {
                named(field, text)?;
            }
            let change = SettingsChange {
                title: p.title,
                agent: p.agent,
                model: p.model,
                thinking: p.thinking_level.map(words::thinking_in),
                visibility: p.visibility.map(words::visibility_in),
                tags: tags(p.tags)?,
            };
            Ok(Command::Session(session(&p.session_id)?, SessionCommand::Change(change)))
        }
        "sessions.archive" => of(SessionCommand::Archive),
        "sessions.pause" => of(SessionCommand::Pause),
        "sessions.resume" => of(SessionCommand::Resume),
        "sessions.delete" => of(SessionCommand::Delete),
        _ => Err(unknown(method)),
    }
}

fn messages(method: &str, raw: Option<&str>, limits: Limits) -> Result<Command, Fault> {
    let (id_of, command) = match method {
        "messages.send" => {
            let p: m::MessageSend = params(raw)?;
            named("model", &p.model)?;
            let attachments = attachments(p.attachments)?;
            content(&p.content, &attachments, limits)?;
            let busy = p.if_running.map(|b| match b {
                m::IfRunning::Queue => BusyPolicy::Queue,
                m::IfRunning::Interrupt => BusyPolicy::Interrupt,
                m::IfRunning::Reject => BusyPolicy::Reject,
            });
            let once = once(p.idempotency_key, method, raw)?;
            let new = NewMessage { content: p.content, attachments, model: p.model, yields: false, busy, once };
            (session(&p.session_id)?, SessionCommand::Send(new))
        }
        "messages.update" => {
            let p: m::MessageUpdate = params(raw)?;
            content(&p.content, &[], limits)?;
            let message = MessageId::parse(&p.message_id).map_err(|_| Fault::not_found("message"))?;
            (session(&p.session_id)?, SessionCommand::Edit { message, content: p.content })
        }
        "messages.cancel" => {
            let (id, turn) = target(params(raw)?)?;
            (id, SessionCommand::Cancel(turn))
        }
        "messages.stop" => {
            let (id, turn) = target(params(raw)?)?;
            (id, SessionCommand::Stop(turn, StopKind::Stop))
        }
        "messages.abort" => {
            let (id, turn) = target(params(raw)?)?;
            (id, SessionCommand::Stop(turn, StopKind::Abort))
        }
        "messages.retry" => {
            let p: m::MessageRetry = params(raw)?;
            named("model", &p.model)?;
            let turn = maybe_id("turnId", &p.turn_id, TurnId::parse)?;
            let once = once(p.idempotency_key, method, raw)?;
            (session(&p.session_id)?, SessionCommand::Retry { turn, model: p.model, once })
        }
        "messages.list" => {
            let p: m::MessageList = params(raw)?;
            let before = maybe_id("before", &p.before, MessageId::parse)?;
            (session(&p.session_id)?, SessionCommand::Messages { before, limit: checked_limit(p.limit)? })
        }
        _ => return Err(unknown(method)),
    };
    Ok(Command::Session(id_of, command))
}

fn work(method: &str, raw: Option<&str>) -> Result<Command, Fault> {
    match method {
        "tools.list" => {
            let _: m::Empty = params(raw)?;
            Ok(Command::ToolList)
        }
        "tools.approve" | "tools.reject" => decision(params(raw)?, method == "tools.approve"),
        "approvals.list" => {
            let p: m::ApprovalList = params(raw)?;
            match &p.session_id {
                Some(id) => Ok(Command::Session(session(id)?, SessionCommand::Approvals)),
                None => Ok(Command::ApprovalList(page(p.cursor, p.limit)?)),
            }
        }
        "commands.list" => {
            let _: m::Empty = params(raw)?;
            Ok(Command::CommandList)
        }
        "commands.execute" => {
            let p: m::CommandExecute = params(raw)?;
            let id = session(&p.session_id)?;
            Ok(Command::Session(id, SessionCommand::Execute { command: p.command, args: p.args }))
        }
        "approvals.rules" => {
            let p: m::ListParams = params(raw)?;
            Ok(Command::RuleList(page(p.cursor, p.limit)?))
        }
        "approvals.revoke" => {
            let p: m::RuleRevoke = params(raw)?;
            let rule = RuleId::parse(&p.rule_id).map_err(|_| Fault::not_found("rule"))?;
            Ok(Command::RuleRevoke(rule))
        }
        "todos.get" => {
            let p: m::SessionGet = params(raw)?;
            Ok(Command::Session(session(&p.session_id)?, SessionCommand::Todos))
        }
        "todos.update" => {
            let p: m::TodoUpdate = params(raw)?;
            let id = session(&p.session_id)?;
            Ok(Command::Session(id, SessionCommand::TodosReplace(todos(p.todos)?)))
        }
        _ => Err(unknown(method)),
    }
}

fn acts(method: &str, raw: Option<&str>) -> Result<Command, Fault> {
    match method {
        "skills.list" => {
            let _: m::Empty = params(raw)?;
            Ok(Command::SkillList)
        }
        "skills.execute" => {
            let p: protocol::acting::SkillExecute = params(raw)?;
            let once = once(p.idempotency_key.clone(), method, raw)?;
            acting::skill_execute(p, once)
        }
        "actions.list" => {
            let p: protocol::acting::ActionList = params(raw)?;
            named("entityType", &p.entity_type)?;
            Ok(Command::ActionList(p.entity_type))
        }
        "actions.preview" => acting::action_preview(params(raw)?),
        "actions.execute" => {
            let p: protocol::acting::ActionExecute = params(raw)?;
            let once = once(p.idempotency_key.clone(), method, raw)?;
            acting::action_execute(p, once)
        }
        "actions.undo" => acting::action_undo(params(raw)?),
        _ => Err(unknown(method)),
    }
}

fn todos(list: Vec<m::TodoInput>) -> Result<Vec<Todo>, Fault> {
    if list.len() > TODOS {
        return Err(Fault::field("todos", format!("at most {TODOS}")));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut todos = Vec::with_capacity(list.len());
    for (index, todo) in list.into_iter().enumerate() {
        let field = |name: &str| format!("todos[{index}].{name}");
        if todo.content.trim().is_empty() {
            return Err(Fault::field(&field("content"), "is empty"));
        }
        bounded(&field("content"), &todo.content, 4096)?;
        named(&field("id"), &todo.id)?;
        let id = todo.id.unwrap_or_else(|| (index + 1).to_string());
        if !seen.insert(id.clone()) {
            return Err(Fault::field(&field("id"), "stands there twice"));
        }
        let state = todo.state.map_or(crate::domain::settings::TodoState::Pending, words::todo_state_in);
        todos.push(Todo { id, content: todo.content, state });
    }
    Ok(todos)
}

/// The tags of a session: each once, in their order.
pub fn tags(list: Option<Vec<String>>) -> Result<Option<Vec<String>>, Fault> {
    let Some(list) = list else { return Ok(None) };
    let fits = |tag: &String| (1..=TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control);
    if list.len() > TAGS || !list.iter().all(fits) {
        let wrong = format!("at most {TAGS}, each of 1 to {TAG_BYTES} bytes without control characters");
        return Err(Fault::field("tags", wrong));
    }
    let mut tags: Vec<String> = Vec::with_capacity(list.len());
    for tag in list {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(Some(tags))
}

fn decision(p: m::ToolDecision, approved: bool) -> Result<Command, Fault> {
    let which = match (&p.request_id, &p.tool_call_id) {
        (Some(request), _) => ApprovalId::parse(request).map(ApprovalRef::Request),
        (None, Some(call)) => PartId::parse(call).map(ApprovalRef::Call),
        (None, None) => return Err(Fault::field("requestId", "give requestId or toolCallId")),
    };
    let which = which.map_err(|_| Fault::not_found("approval"))?;
    let (reason, keep) = (p.reason, keep(p.remember, p.scope, p.digest.as_deref())?);
    match &p.session_id {
        Some(id) => Ok(Command::Session(session(id)?, SessionCommand::Decide { which, approved, reason, keep })),
        None => Ok(Command::ApprovalDecide { which, approved, reason, keep }),
    }
}

fn keep(remember: Option<bool>, scope: Option<w::RuleScope>, digest: Option<&str>) -> Result<Keep, Fault> {
    let remember = match (remember.unwrap_or_default(), scope) {
        (true, scope) => Some(scope.map_or(RuleScope::Arguments, words::rule_scope_in)),
        (false, Some(_)) => return Err(Fault::field("scope", "only with remember: true")),
        (false, None) => None,
    };
    let seen =
        digest.map(|text| Digest::parse(text).ok_or_else(|| Fault::field("digest", "not 64 hexadecimal digits")));
    Ok(Keep { remember, seen: seen.transpose()? })
}

fn catalog(method: &str, raw: Option<&str>) -> Result<Command, Fault> {
    Ok(match method {
        "agents.list" => {
            let _: m::Empty = params(raw)?;
            Command::AgentList
        }
        "agents.get" => {
            let p: m::AgentGet = params(raw)?;
            Command::AgentGet(p.agent)
        }
        "models.list" => {
            let _: m::Empty = params(raw)?;
            Command::ModelList
        }
        "channels.presence" => {
            let p: m::ChannelGet = params(raw)?;
            Command::Presence(channel(&p.channel)?)
        }
        "channels.history" => {
            let p: m::ChannelHistory = params(raw)?;
            let since = p.since.map(|s| Position { epoch: s.epoch.into(), seq: s.seq });
            Command::History { channel: channel(&p.channel)?, since, limit: checked_limit(p.limit)? }
        }
        "usage.get" => {
            let p: m::UsageGet = params(raw)?;
            Command::Usage(match p.period {
                None | Some(m::Period::Day) => Period::Day,
                Some(m::Period::Week) => Period::Week,
                Some(m::Period::Month) => Period::Month,
            })
        }
        _ => return Err(unknown(method)),
    })
}
