//! The gateway's wire at the root: sessions, messages and tools in its own words. Each is a command of the hub.

use std::fmt::Write as _;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{methods as m, rest as w};

use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::{Fields, Kind, Parameter, parameter};
use super::waiting::{Answered, Waiter, wants_stream};
use super::{Edge, Refusal};
use crate::domain::command::{Caller, Command, NewMessage, NewSession, Reply, SessionCommand};
use crate::domain::hub::session_named;
use crate::domain::ids::MessageId;
use crate::domain::message::{Author, Message, PartBody};
use crate::domain::policy::Operation;
use crate::domain::principal::Role;
use crate::domain::settings::Settings;
use crate::doors::{rpc, words};
use crate::error::{Code, Fault};
use crate::framing::sse;
use crate::limits::Via;

pub(super) const ENDPOINTS: [Endpoint; 6] = [
    row(Method::POST, "/sessions", Operation::SessionCreate, || web::to(create)).described(|| {
        Described::new("Begin a session").body::<w::GatewaySessionCreate>().gives::<w::GatewaySession>(201).keyed()
    }),
    row(Method::GET, "/sessions/{sessionId}", Operation::SessionGet, || web::to(get))
        .described(|| Described::new("A session").gives::<w::GatewaySession>(200)),
    row(Method::DELETE, "/sessions/{sessionId}", Operation::SessionDelete, || web::to(delete))
        .described(|| Described::new("Delete a session").gives_nothing(204)),
    row(Method::POST, "/sessions/{sessionId}/messages", Operation::MessageSend, || web::to(send)).described(|| {
        Described::new("Send a message; the answer comes when its turn has ended, or as an event stream")
            .body::<w::GatewaySend>()
            .gives::<w::GatewayAnswer>(200)
            .gives::<w::GatewayAnswer>(202)
            .gives_text(200, sse::MEDIA_TYPE)
            .keyed()
    }),
    row(Method::GET, "/sessions/{sessionId}/messages", Operation::MessageList, || web::to(history)).described(|| {
        Described::new("The messages of a session as metadata; their content for owners who ask for it")
            .query::<m::MessageList>(&HISTORY)
            .gives::<w::GatewayHistory>(200)
    }),
    row(Method::GET, "/tools", Operation::ToolList, || web::to(tools))
        .described(|| Described::new("The tools of the default agent").gives::<w::GatewayTools>(200)),
];

/// The longest `workDir`, in bytes.
const WORK_DIR_BYTES: usize = 1024;
/// The longest `channel`, in bytes.
const CHANNEL_BYTES: usize = 128;
/// The channel of a session that a door without channels began.
const NO_CHANNEL: &str = "native";

static HISTORY: [Parameter; 3] =
    [parameter("limit", Kind::Whole), parameter("before", Kind::Text), parameter("includeContent", Kind::Flag)];

async fn call(hub: &HubHandle, caller: &Caller, command: Command) -> Result<Reply, Fault> {
    hub.0.call(caller.clone(), command).await
}

fn unexpected() -> Refusal {
    Refusal(Fault::plain(Code::Internal))
}

async fn create(
    Asking(caller): Asking,
    hub: HubHandle,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload).await?;
    let command = new_session(fields, &request).map_err(Refusal)?;
    match call(&hub, &caller, command).await.map_err(Refusal)? {
        Reply::Session(settings, _) => Ok(HttpResponse::Created().json(shown(&settings, None))),
        _ => Err(unexpected().into()),
    }
}

fn new_session(fields: Fields, request: &HttpRequest) -> Result<Command, Fault> {
    let mut fields = fields.keyed(request)?;
    let text = fields.text();
    let key = fields.take("idempotencyKey")?;
    let wish: w::GatewaySessionCreate = fields.parse()?;
    if wish.channel.is_empty() || wish.channel.len() > CHANNEL_BYTES || wish.channel.chars().any(char::is_control) {
        return Err(Fault::field("channel", format!("1 to {CHANNEL_BYTES} bytes without control characters")));
    }
    if wish.work_dir.is_some_and(|folder| folder.len() > WORK_DIR_BYTES || folder.contains('\0')) {
        return Err(Fault::field("workDir", format!("at most {WORK_DIR_BYTES} bytes, none of them zero")));
    }
    let once = rpc::once(key, "POST /sessions", Some(&text))?;
    Ok(Command::SessionCreate(NewSession { channel: Some(wish.channel), once, ..NewSession::default() }))
}

fn shown(settings: &Settings, message_count: Option<u64>) -> w::GatewaySession {
    w::GatewaySession {
        id: settings.id.to_string(),
        channel: settings.channel.clone().unwrap_or_else(|| NO_CHANNEL.to_owned()),
        created_at: settings.created_at.to_rfc3339(),
        message_count,
    }
}

async fn get(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let id = rpc::session(&path)?;
    let settings = match call(&hub, &caller, Command::Session(id.clone(), SessionCommand::Get)).await? {
        Reply::Session(settings, _) => settings,
        _ => return Err(unexpected()),
    };
    match call(&hub, &caller, Command::Session(id, SessionCommand::CountMessages)).await? {
        Reply::Count(count) => Ok(HttpResponse::Ok().json(shown(&settings, Some(count)))),
        _ => Err(unexpected()),
    }
}

async fn delete(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let id = rpc::session(&path)?;
    call(&hub, &caller, Command::Session(id, SessionCommand::Delete)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn send(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload).await?;
    let sent = async {
        let name = rpc::session(&path)?;
        let new = new_message(fields, &request, edge.config.get().limits.message_bytes)?;
        edge.limits.message(&caller.principal, Via::Rest)?;
        let id = session_named(&*hub.0, &caller, name).await?;
        let waiter = Waiter::new(caller, hub, &edge, &request)?;
        match wants_stream(&request) {
            true => waiter.stream(id, new).await,
            false => {
                let answered = waiter.answer(id, new).await?;
                Ok(HttpResponse::build(answered.status()).json(answer(&answered)))
            }
        }
    };
    Ok(sent.await.map_err(Refusal)?)
}

fn new_message(fields: Fields, request: &HttpRequest, message_bytes: usize) -> Result<NewMessage, Fault> {
    let mut fields = fields.keyed(request)?;
    let text = fields.text();
    let key = fields.take("idempotencyKey")?;
    let wish: w::GatewaySend = fields.parse()?;
    let attachments = rpc::attachments(wish.attachments)?;
    rpc::content(&wish.content, &attachments, rpc::Limits { message_bytes })?;
    let once = rpc::once(key, &format!("POST {}", request.path()), Some(&text))?;
    Ok(NewMessage { content: wish.content, attachments, model: None, yields: false, busy: None, once })
}

fn answer(answered: &Answered) -> w::GatewayAnswer {
    let Answered { message, turn, answer } = answered;
    let at = answer.as_ref().map_or(turn.created_at, |answer| answer.created_at);
    w::GatewayAnswer {
        id: answer.as_ref().map_or(*message, |answer| answer.id).to_string(),
        content: answer.as_ref().map(Message::text).unwrap_or_default(),
        tool_calls: answer.as_ref().map(tool_calls).unwrap_or_default(),
        timestamp: turn.ended_at.unwrap_or(at).to_rfc3339(),
        turn_id: turn.id.to_string(),
        state: words::turn_state(turn.state),
    }
}

fn tool_calls(answer: &Message) -> Vec<w::GatewayToolCall> {
    let result_of = |id| {
        answer.parts.iter().find_map(|part| match &part.body {
            PartBody::ToolResult { call, result } if *call == id => Some(result),
            _ => None,
        })
    };
    let call_of = |part: &crate::domain::message::Part| match &part.body {
        PartBody::ToolCall(call) => {
            let result = result_of(part.id);
            Some(w::GatewayToolCall {
                id: part.id.to_string(),
                name: call.tool.clone(),
                input: call.input.clone(),
                state: words::call_state(call.state),
                output: result.map(|result| result.output.clone()),
                is_error: result.map(|result| result.is_error),
            })
        }
        _ => None,
    };
    answer.parts.iter().filter_map(call_of).collect()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryQuery {
    limit: Option<i64>,
    before: Option<String>,
    #[serde(default)]
    include_content: bool,
}

async fn history(
    Asking(caller): Asking,
    hub: HubHandle,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let id = rpc::session(&path)?;
    let query: HistoryQuery = Fields::of_query(&request, &HISTORY)?.parse()?;
    let limit = match query.limit.unwrap_or(50) {
        limit @ 1..=200 => limit as usize,
        _ => return Err(Fault::field("limit", "1 to 200").into()),
    };
    let before = query.before.as_deref().map(MessageId::parse).transpose();
    let before = before.map_err(|error| Fault::field("before", error))?;
    // Whose conversation it is was judged already; whose words may leave it is a matter of the role.
    let content = query.include_content && caller.principal.role == Role::Owner;
    match call(&hub, &caller, Command::Session(id, SessionCommand::Messages { before, limit })).await? {
        Reply::Messages(_, page) => {
            let messages = page.items.iter().map(|message| told(message, content)).collect();
            Ok(HttpResponse::Ok().json(w::GatewayHistory { messages }))
        }
        _ => Err(unexpected()),
    }
}

fn told(message: &Message, content: bool) -> w::GatewayMessage {
    let text = message.text();
    let called = message.parts.iter().find(|part| matches!(part.body, PartBody::ToolCall(_)));
    w::GatewayMessage {
        id: message.id.to_string(),
        role: match message.author {
            Author::User => protocol::model::Role::User,
            Author::Assistant => protocol::model::Role::Assistant,
        },
        timestamp: message.created_at.to_rfc3339(),
        tool_call_id: called.map(|part| part.id.to_string()),
        has_tool_calls: called.is_some(),
        content_hash: content_hash(&text),
        content: content.then_some(text),
    }
}

/// The first 16 hexadecimal digits of the text's SHA-256.
fn content_hash(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(String::with_capacity(16), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

async fn tools(Asking(caller): Asking, hub: HubHandle) -> Result<HttpResponse, Refusal> {
    let Reply::Tools(list) = call(&hub, &caller, Command::ToolList).await? else { return Err(unexpected()) };
    let tool = |(spec, policy): &(crate::domain::generation::ToolSpec, _)| {
        let tool = words::tool(spec, *policy);
        w::GatewayTool {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema,
            policy: tool.policy,
        }
    };
    Ok(HttpResponse::Ok().json(w::GatewayTools { tools: list.iter().map(tool).collect() }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_the_head_of_the_sha_256() {
        assert_eq!(super::content_hash("abc"), "ba7816bf8f01cfea");
        assert_eq!(super::content_hash(""), "e3b0c44298fc1c14");
    }
}
