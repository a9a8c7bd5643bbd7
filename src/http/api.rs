//! `/api/v1` in the native wire's own words: each route is one method of that wire, its fields gathered from address,
//! query and body. Sending a message may also wait for the answer, or stream it.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Route, web};
use protocol::{methods as m, model as w, rest as r};

use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::{Fields, Kind, Parameter, parameter};
use super::waiting::{Answered, Waiter, wants_stream};
use super::{Edge, Refusal};
use crate::domain::command::{Command, Reply, SessionCommand};
use crate::domain::hub::session_named;
use crate::domain::ids::{ConversationId, TurnId};
use crate::domain::policy::Operation;
use crate::doors::{rpc, words};
use crate::error::{Code, Fault};
use crate::framing::sse;
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
const PERIOD: &[Parameter] = &[parameter("period", Kind::Text)];
const WAIT: &[Parameter] = &[parameter("wait", Kind::Flag)];

macro_rules! natives {
    ($($http:ident $path:literal $operation:ident $name:ident: $method:literal
        $params:ty => $status:literal $result:ty, $query:expr, $body:literal, $summary:literal $($more:ident)*;)*) => {
        $(static $name: Native = Native { method: $method, query: $query, body: $body, status: $status };)*

        const NATIVES: &[Endpoint] = &[$(
            row(Method::$http, $path, Operation::$operation, || native(&$name)).described(|| {
                let described = Described::new($summary).query::<$params>($query).gives::<$result>($status);
                let described = if $body { described.body::<$params>() } else { described };
                described$(.$more())*
            })
        ),*];
    };
}

natives! {
    GET "/api/v1/projects" ProjectList PROJECT_LIST: "projects.list"
        m::ListParams => 200 w::Page<w::Project>, PAGE, false, "Projects, newest first" paged;
    POST "/api/v1/projects" ProjectCreate PROJECT_CREATE: "projects.create"
        m::ProjectCreate => 201 w::Project, &[], true, "Make a project, or find the one of that name" keyed;
    GET "/api/v1/projects/{projectId}" ProjectGet PROJECT_GET: "projects.get"
        m::ProjectGet => 200 w::Project, &[], false, "A project";
    GET "/api/v1/sessions" SessionList SESSION_LIST: "sessions.list"
        m::SessionList => 200 w::Page<w::Session>, SESSIONS, false, "Sessions, newest first, or found by their text" paged;
    POST "/api/v1/sessions" SessionCreate SESSION_CREATE: "sessions.create"
        m::SessionCreate => 201 w::Session, &[], true, "Begin a session" keyed;
    GET "/api/v1/sessions/{sessionId}" SessionGet SESSION_GET: "sessions.get"
        m::SessionGet => 200 w::Session, &[], false, "A session";
    PATCH "/api/v1/sessions/{sessionId}" SessionUpdate SESSION_UPDATE: "sessions.update"
        m::SessionUpdate => 200 w::Session, &[], true, "Change a session's settings";
    DELETE "/api/v1/sessions/{sessionId}" SessionDelete SESSION_DELETE: "sessions.delete"
        m::SessionGet => 200 m::Deleted, &[], false, "Delete a session";
    POST "/api/v1/sessions/{sessionId}/archive" SessionArchive SESSION_ARCHIVE: "sessions.archive"
        m::SessionGet => 200 w::Session, &[], false, "Make a session read-only; what runs is aborted" kept;
    POST "/api/v1/sessions/{sessionId}/pause" SessionPause SESSION_PAUSE: "sessions.pause"
        m::SessionGet => 200 w::Session, &[], false, "Start no turn from now on" kept;
    POST "/api/v1/sessions/{sessionId}/resume" SessionResume SESSION_RESUME: "sessions.resume"
        m::SessionGet => 200 w::Session, &[], false, "Start the turns that wait" kept;
    GET "/api/v1/sessions/{sessionId}/messages" MessageList MESSAGE_LIST: "messages.list"
        m::MessageList => 200 w::Page<w::Message>, MESSAGES, false, "The newest messages, oldest first" paged;
    PATCH "/api/v1/sessions/{sessionId}/messages/{messageId}" MessageUpdate MESSAGE_UPDATE: "messages.update"
        m::MessageUpdate => 200 w::Message, &[], true, "Edit a message whose turn still waits";
    POST "/api/v1/sessions/{sessionId}/stop" MessageStop STOP: "messages.stop"
        m::TurnTarget => 200 m::TurnOutcome, &[], true, "Stop a turn; what was said is kept" kept;
    POST "/api/v1/sessions/{sessionId}/abort" MessageAbort ABORT: "messages.abort"
        m::TurnTarget => 200 m::TurnOutcome, &[], true, "Stop a turn and its tools" kept;
    POST "/api/v1/sessions/{sessionId}/cancel" MessageCancel CANCEL: "messages.cancel"
        m::TurnTarget => 200 m::TurnOutcome, &[], true, "Take a turn out of the queue, or stop it" kept;
    POST "/api/v1/sessions/{sessionId}/retry" MessageRetry RETRY: "messages.retry"
        m::MessageRetry => 202 m::MessageSent, &[], true, "Answer the newest prompt once more" keyed;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/stop" MessageStop TURN_STOP: "messages.stop"
        m::TurnTarget => 200 m::TurnOutcome, &[], false, "Stop that turn; what was said is kept" kept;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/abort" MessageAbort TURN_ABORT: "messages.abort"
        m::TurnTarget => 200 m::TurnOutcome, &[], false, "Stop that turn and its tools" kept;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/cancel" MessageCancel TURN_CANCEL: "messages.cancel"
        m::TurnTarget => 200 m::TurnOutcome, &[], false, "Take that turn out of the queue, or stop it" kept;
    POST "/api/v1/sessions/{sessionId}/turns/{turnId}/retry" MessageRetry TURN_RETRY: "messages.retry"
        m::MessageRetry => 202 m::MessageSent, &[], true, "Answer the prompt of that turn, the newest one, once more" keyed;
    GET "/api/v1/sessions/{sessionId}/todos" TodoGet TODO_GET: "todos.get"
        m::SessionGet => 200 m::TodoList, &[], false, "What is to be done";
    PUT "/api/v1/sessions/{sessionId}/todos" TodoUpdate TODO_UPDATE: "todos.update"
        m::TodoUpdate => 200 m::TodoList, &[], true, "Replace the whole list of what is to be done";
    GET "/api/v1/sessions/{sessionId}/approvals" ApprovalList SESSION_APPROVALS: "approvals.list"
        m::ApprovalList => 200 w::Page<w::ApprovalRequest>, &[], false, "Questions of this session that wait";
    GET "/api/v1/approvals" ApprovalList APPROVAL_LIST: "approvals.list"
        m::ApprovalList => 200 w::Page<w::ApprovalRequest>, PAGE, false, "Questions that wait for the caller";
    GET "/api/v1/approvals/rules" RuleList RULE_LIST: "approvals.rules"
        m::ListParams => 200 w::Page<w::ApprovalRule>, PAGE, false, "The caller's answers that are kept, oldest first" paged;
    DELETE "/api/v1/approvals/rules/{ruleId}" RuleRevoke RULE_REVOKE: "approvals.revoke"
        m::RuleRevoke => 200 m::Deleted, &[], false, "Take an answer back that is kept";
    GET "/api/v1/agents" AgentList AGENT_LIST: "agents.list"
        m::Empty => 200 w::Page<w::Agent>, &[], false, "Agents";
    GET "/api/v1/agents/{agent}" AgentGet AGENT_GET: "agents.get"
        m::AgentGet => 200 w::Agent, &[], false, "An agent";
    GET "/api/v1/models" ModelList MODEL_LIST: "models.list"
        m::Empty => 200 w::Page<w::Model>, &[], false, "Models";
    GET "/api/v1/tools" ToolList TOOL_LIST: "tools.list"
        m::Empty => 200 w::Page<w::Tool>, &[], false, "The tools of the default agent";
    GET "/api/v1/commands" CommandList COMMAND_LIST: "commands.list"
        m::Empty => 200 w::CommandManifest, &[], false, "The slash commands that one may use";
    POST "/api/v1/sessions/{sessionId}/commands" CommandExecute COMMAND_EXECUTE: "commands.execute"
        m::CommandExecute => 200 w::CommandResult, &[], true, "Carry out a slash command" kept;
    GET "/api/v1/usage" UsageGet USAGE: "usage.get"
        m::UsageGet => 200 m::UsageReport, PERIOD, false, "What the caller has used";
}

const ENDPOINTS: [Endpoint; 3] = [
    row(Method::POST, "/api/v1/sessions/{sessionId}/messages", Operation::MessageSend, || web::to(send)).described(
        || {
            Described::new("Send a message: answered at once, when its turn has ended, or as an event stream")
                .query::<m::MessageSend>(WAIT)
                .body::<m::MessageSend>()
                .gives::<m::MessageSent>(202)
                .gives::<r::MessageAnswered>(200)
                .gives::<r::MessageAnswered>(202)
                .gives_text(200, sse::MEDIA_TYPE)
                .keyed()
        },
    ),
    row(Method::GET, "/api/v1/sessions/{sessionId}/turns/{turnId}", Operation::TurnGet, || web::to(turn))
        .described(|| Described::new("A turn and its answer").gives::<m::TurnDetails>(200)),
    row(Method::POST, "/api/v1/approvals/{requestId}", Operation::ToolApprove, || web::to(decide)).described(|| {
        Described::new("Answer a question: the first answer counts")
            .body::<r::ApprovalDecision>()
            .gives::<m::ToolDecided>(200)
            .kept()
    }),
];

/// All of them.
pub(super) fn endpoints() -> impl Iterator<Item = Endpoint> {
    NATIVES.iter().cloned().chain(ENDPOINTS)
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
        true => Fields::of_body(&request, payload).await?,
        false => Fields::of_query(&request, what.query).map_err(Refusal)?,
    };
    let command = command(what.method, fields, &path, (&request, &edge)).map_err(Refusal)?;
    if matches!(&command, Command::Session(_, command) if command.asks_model()) {
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
    rpc::decode(method, Some(&fields.text()), rpc::Limits { message_bytes: edge.config.get().limits.message_bytes })
}

pub(super) fn written(status: u16, request: &HttpRequest, reply: &Reply) -> HttpResponse {
    let mut body = Vec::new();
    rpc::result(&mut body, reply);
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    let mut answer = HttpResponse::build(status);
    with_next(&mut answer, request, next_cursor(reply));
    answer.content_type(header::ContentType::json()).body(body)
}

/// Says where the next page begins, if there is one.
pub(super) fn with_next(answer: &mut HttpResponseBuilder, request: &HttpRequest, cursor: Option<&str>) {
    if let Some(cursor) = cursor {
        answer.insert_header((header::LINK, format!("<{}>; rel=\"next\"", next_address(request, cursor))));
        answer.insert_header(("x-next-cursor", cursor));
    }
}

fn next_cursor(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Projects(page) => page.next.as_deref(),
        Reply::Sessions(page, _) => page.next.as_deref(),
        Reply::Messages(_, page) => page.next.as_deref(),
        Reply::Approvals(page) => page.next.as_deref(),
        Reply::Rules(page) => page.next.as_deref(),
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
    let fields = Fields::of_body(&request, payload).await?;
    let sent = async {
        let asked = Fields::of_query(&request, WAIT)?.take::<bool>("wait")?;
        let waits = asked.unwrap_or_else(|| prefers_waiting(&request));
        let command = command("messages.send", fields, &path, (&request, &edge))?;
        let Command::Session(name, SessionCommand::Send(new)) = command else {
            return Err(Fault::plain(Code::Internal));
        };
        edge.limits.message(&caller.principal, Via::Rest)?;
        let id = session_named(&*hub.0, &caller, name).await?;
        if wants_stream(&request) {
            return Waiter::new(caller, hub, &edge, &request)?.stream(id, new).await;
        }
        if waits {
            let answered = Waiter::new(caller, hub, &edge, &request)?.answer(id, new).await?;
            return Ok(HttpResponse::build(answered.status()).json(shown(id, &answered)));
        }
        let reply = hub.0.call(caller, Command::Session(id.into(), SessionCommand::Send(new))).await?;
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

fn shown(id: ConversationId, answered: &Answered) -> r::MessageAnswered {
    r::MessageAnswered {
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
    let id = rpc::session(session)?;
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
    let fields = Fields::of_body(&request, payload).await?;
    let decided = async {
        let wish: r::ApprovalDecision = fields.parse()?;
        let method = if wish.approved { "tools.approve" } else { "tools.reject" };
        let command = command(method, fields, &path, (&request, &edge))?;
        let reply = hub.0.call(caller, command).await?;
        Ok(written(200, &request, &reply))
    };
    Ok(decided.await.map_err(Refusal)?)
}
