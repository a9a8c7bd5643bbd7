//! `/api/v1` in the native wire's own words: each route is one method of that wire, its fields gathered from address,
//! query and body. Sending a message may also wait for the answer, or stream it.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, Route, web};
use protocol::rest as w;

use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::{Fields, Kind, Parameter, parameter};
use super::waiting::{Answered, Waiter, wants_stream};
use super::{Edge, Refusal};
use crate::domain::command::{Command, Reply, SessionCommand};
use crate::domain::ids::{ConversationId, TurnId};
use crate::domain::policy::Operation;
use crate::doors::{rpc, words};
use crate::error::{Code, Fault};
use crate::limits::Via;

/// A route that is one method.
pub(super) struct Native {
    pub method: &'static str,
    pub query: &'static [Parameter],
    /// Whether a body is read.
    pub body: bool,
    /// Of the answer, where all went well.
    pub status: u16,
}

const LIMIT: Parameter = parameter("limit", Kind::Whole);
const CURSOR: Parameter = parameter("cursor", Kind::Text);
const PAGE: &[Parameter] = &[CURSOR, LIMIT];
const SESSIONS: &[Parameter] =
    &[parameter("projectId", Kind::Text), parameter("state", Kind::Text), parameter("q", Kind::Text), CURSOR, LIMIT];
/// A page of messages ends where the next one begins: the cursor is a message.
const MESSAGES: &[Parameter] = &[
    Parameter { name: "cursor", field: "before", kind: Kind::Text },
    Parameter { name: "before", field: "before", kind: Kind::Text },
    LIMIT,
];
const WAIT: &[Parameter] = &[parameter("wait", Kind::Flag)];

macro_rules! natives {
    ($($http:ident $path:literal $operation:ident $name:ident: $method:literal $query:expr, $body:literal, $status:literal;)*) => {
        $(static $name: Native = Native { method: $method, query: $query, body: $body, status: $status };)*

        const NATIVES: &[(Endpoint, &Native)] = &[
            $((row(Method::$http, $path, Operation::$operation, || native(&$name)), &$name)),*
        ];
    };
}

natives! {
    GET "/api/v1/projects" ProjectList PROJECT_LIST: "projects.list" PAGE, false, 200;
    POST "/api/v1/projects" ProjectCreate PROJECT_CREATE: "projects.create" &[], true, 201;
    GET "/api/v1/projects/{projectId}" ProjectGet PROJECT_GET: "projects.get" &[], false, 200;
    GET "/api/v1/sessions" SessionList SESSION_LIST: "sessions.list" SESSIONS, false, 200;
    POST "/api/v1/sessions" SessionCreate SESSION_CREATE: "sessions.create" &[], true, 201;
    GET "/api/v1/sessions/{sessionId}" SessionGet SESSION_GET: "sessions.get" &[], false, 200;
    PATCH "/api/v1/sessions/{sessionId}" SessionUpdate SESSION_UPDATE: "sessions.update" &[], true, 200;
    DELETE "/api/v1/sessions/{sessionId}" SessionDelete SESSION_DELETE: "sessions.delete" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/archive" SessionArchive SESSION_ARCHIVE: "sessions.archive" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/pause" SessionPause SESSION_PAUSE: "sessions.pause" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/resume" SessionResume SESSION_RESUME: "sessions.resume" &[], false, 200;
    GET "/api/v1/sessions/{sessionId}/messages" MessageList MESSAGE_LIST: "messages.list" MESSAGES, false, 200;
    PATCH "/api/v1/sessions/{sessionId}/messages/{messageId}" MessageUpdate MESSAGE_UPDATE:
        "messages.update" &[], true, 200;
    POST "/api/v1/sessions/{sessionId}/stop" MessageStop STOP: "messages.stop" &[], true, 200;
    POST "/api/v1/sessions/{sessionId}/abort" MessageAbort ABORT: "messages.abort" &[], true, 200;
    POST "/api/v1/sessions/{sessionId}/cancel" MessageCancel CANCEL: "messages.cancel" &[], true, 200;
    POST "/api/v1/sessions/{sessionId}/retry" MessageRetry RETRY: "messages.retry" &[], true, 202;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/stop" MessageStop TURN_STOP: "messages.stop" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/abort" MessageAbort TURN_ABORT: "messages.abort" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/cancel" MessageCancel TURN_CANCEL:
        "messages.cancel" &[], false, 200;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/retry" MessageRetry TURN_RETRY: "messages.retry" &[], true, 202;
    GET "/api/v1/sessions/{sessionId}/todos" TodoGet TODO_GET: "todos.get" &[], false, 200;
    PUT "/api/v1/sessions/{sessionId}/todos" TodoUpdate TODO_UPDATE: "todos.update" &[], true, 200;
    GET "/api/v1/sessions/{sessionId}/approvals" ApprovalList SESSION_APPROVALS: "approvals.list" &[], false, 200;
    GET "/api/v1/approvals" ApprovalList APPROVAL_LIST: "approvals.list" PAGE, false, 200;
    GET "/api/v1/agents" AgentList AGENT_LIST: "agents.list" &[], false, 200;
    GET "/api/v1/agents/{agent}" AgentGet AGENT_GET: "agents.get" &[], false, 200;
    GET "/api/v1/models" ModelList MODEL_LIST: "models.list" &[], false, 200;
    GET "/api/v1/tools" ToolList TOOL_LIST: "tools.list" &[], false, 200;
    GET "/api/v1/usage" UsageGet USAGE: "usage.get" &[parameter("period", Kind::Text)], false, 200;
}

const ENDPOINTS: [Endpoint; 3] = [
    row(Method::POST, "/api/v1/sessions/{sessionId}/messages", Operation::MessageSend, || web::to(send)),
    row(Method::GET, "/api/v1/sessions/{sessionId}/turns/{turnId}", Operation::TurnGet, || web::to(turn)),
    row(Method::POST, "/api/v1/approvals/{requestId}", Operation::ToolApprove, || web::to(decide)),
];

/// All of them.
pub(super) fn endpoints() -> impl Iterator<Item = Endpoint> {
    NATIVES.iter().map(|(endpoint, _)| endpoint.clone()).chain(ENDPOINTS)
}

fn native(what: &'static Native) -> Route {
    web::to(move |asking, hub, edge, path, request, payload| answer(what, asking, hub, edge, (path, request, payload)))
}

/// What stands in the address, in the order of its names.
type Path = web::Path<Vec<String>>;

async fn answer(
    what: &'static Native,
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (path, request, payload): (Path, HttpRequest, web::Payload),
) -> Result<HttpResponse, actix_web::Error> {
    let fields = match what.body {
        true => Fields::of_body(&request, payload, edge.config.limits.frame_bytes).await?,
        false => Fields::of_query(&request, what.query).map_err(Refusal)?,
    };
    let command = command(what.method, fields, &path, (&request, &edge)).map_err(Refusal)?;
    if matches!(command, Command::Session(_, SessionCommand::Retry { .. })) {
        // It asks the model once more, like a message.
        edge.limits.message(&caller.principal, Via::Rest).map_err(Refusal)?;
    }
    let reply = hub.0.call(caller, command).await.map_err(Refusal)?;
    Ok(written(what.status, &request, &reply))
}

/// The command of a native method. What the address says counts, whatever the body says.
fn command(
    method: &str,
    fields: Fields,
    path: &Path,
    (request, edge): (&HttpRequest, &Edge),
) -> Result<Command, Fault> {
    let mut fields = fields.keyed(request)?;
    for ((name, _), value) in request.match_info().iter().zip(path.iter()) {
        fields.set(name, value)?;
    }
    rpc::decode(method, Some(&fields.text()), rpc::Limits { message_bytes: edge.config.limits.message_bytes })
}

fn written(status: u16, request: &HttpRequest, reply: &Reply) -> HttpResponse {
    let mut body = Vec::new();
    rpc::result(&mut body, reply);
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    let mut answer = HttpResponse::build(status);
    if let Some(cursor) = next_cursor(reply) {
        answer.insert_header((header::LINK, format!("<{}>; rel=\"next\"", next_address(request, cursor))));
        answer.insert_header(("x-next-cursor", cursor));
    }
    answer.content_type(header::ContentType::json()).body(body)
}

fn next_cursor(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Projects(page) => page.next.as_deref(),
        Reply::Sessions(page) => page.next.as_deref(),
        Reply::Messages(_, page) => page.next.as_deref(),
        Reply::Approvals(page) => page.next.as_deref(),
        _ => None,
    }
}

/// The same request with that cursor.
fn next_address(request: &HttpRequest, cursor: &str) -> String {
    let asked = url::form_urlencoded::parse(request.query_string().as_bytes());
    // A credential has no business in a link.
    let kept = asked.filter(|(name, _)| !["cursor", "before", "token", "ticket"].contains(&&**name));
    let query =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair("cursor", cursor).finish();
    format!("{}?{query}", request.path())
}

/// Sends a message: answered at once with 202, or when its turn has ended (`?wait=true`, `Prefer: wait`), or streamed.
async fn send(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    path: Path,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload, edge.config.limits.frame_bytes).await?;
    let sent = async {
        let asked = Fields::of_query(&request, WAIT)?.take::<bool>("wait")?;
        let waits = asked.unwrap_or_else(|| prefers_waiting(&request));
        let command = command("messages.send", fields, &path, (&request, &edge))?;
        let Command::Session(id, SessionCommand::Send(new)) = command else { return Err(Fault::plain(Code::Internal)) };
        edge.limits.message(&caller.principal, Via::Rest)?;
        if wants_stream(&request) {
            return Waiter::new(caller, hub, &edge, &request)?.stream(id, new).await;
        }
        if waits {
            let answered = Waiter::new(caller, hub, &edge, &request)?.answer(id, new).await?;
            return Ok(HttpResponse::Ok().json(shown(id, &answered)));
        }
        let reply = hub.0.call(caller, Command::Session(id, SessionCommand::Send(new))).await?;
        Ok(written(202, &request, &reply))
    };
    Ok(sent.await.map_err(Refusal)?)
}

fn prefers_waiting(request: &HttpRequest) -> bool {
    let wait = |preference: &str| {
        let word = preference.split([';', '=']).next().unwrap_or_default();
        word.trim().eq_ignore_ascii_case("wait")
    };
    let named = |value: &header::HeaderValue| value.to_str().is_ok_and(|text| text.split(',').any(wait));
    request.headers().get_all(header::HeaderName::from_static("prefer")).any(named)
}

fn shown(id: ConversationId, answered: &Answered) -> w::MessageAnswered {
    w::MessageAnswered {
        message_id: answered.message.to_string(),
        turn_id: answered.turn.id.to_string(),
        state: words::turn_state(answered.turn.state),
        answer: answered.answer.as_ref().map(|message| words::message(id, message)),
        usage: words::usage(&answered.turn.usage),
    }
}

async fn turn(
    Asking(caller): Asking,
    hub: HubHandle,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let (session, turn) = &*path;
    let id = ConversationId::parse(session).map_err(|_| Fault::not_found("session"))?;
    // A session that is not the caller's must not be told from one whose turn is unknown.
    let turn = TurnId::parse(turn).unwrap_or(TurnId(0));
    let reply = hub.0.call(caller, Command::Session(id, SessionCommand::Turn(turn))).await?;
    Ok(written(200, &request, &reply))
}

async fn decide(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    path: Path,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload, edge.config.limits.frame_bytes).await?;
    let decided = async {
        let wish: w::ApprovalDecision = fields.parse()?;
        let method = if wish.approved { "tools.approve" } else { "tools.reject" };
        let command = command(method, fields, &path, (&request, &edge))?;
        let reply = hub.0.call(caller, command).await?;
        Ok(written(200, &request, &reply))
    };
    Ok(decided.await.map_err(Refusal)?)
}
