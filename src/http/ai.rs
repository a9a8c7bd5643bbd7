//! `/api/v1/ai`: conversations, agents and usage, in the shapes that clients of that interface know: bare arrays, the next
//! page in the headers, 201 to every POST.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{methods as m, model as w};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::api::{with_next, written};
use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::{Fields, Kind, Parameter, parameter};
use crate::domain::agent::{AgentProfile, Variables};
use crate::domain::alias::SessionName;
use crate::domain::command::{Caller, Command, NewSession, PageRequest, Period, Reply, SessionCommand};
use crate::domain::conversation::{SettingsChange, StopKind};
use crate::domain::ids::{Source, SystemSource};
use crate::domain::message::{Author, Message, PartBody};
use crate::domain::policy::Operation;
use crate::domain::settings::{ConversationState, Settings};
use crate::doors::{ai, rpc, words};
use crate::error::{Code, Fault};

/// Conversations of a page, and messages of a conversation, where nobody says how many.
const USUAL: usize = 50;
const MOST: usize = 200;
const NAME: usize = 512;

const LIMIT: Parameter = parameter("limit", Kind::Whole);
const ENTITY_TYPE: Parameter = parameter("entityType", Kind::Text);
const ENTITY_ID: Parameter = parameter("entityId", Kind::Text);
const LIST: &[Parameter] =
    &[parameter("status", Kind::Text), ENTITY_TYPE, ENTITY_ID, LIMIT, parameter("cursor", Kind::Text)];
const SEARCH: &[Parameter] = &[parameter("q", Kind::Text), LIMIT];
const MESSAGES: &[Parameter] = &[parameter("messageLimit", Kind::Whole)];
const ENTITY: &[Parameter] = &[ENTITY_TYPE, ENTITY_ID];
const PERIOD: &[Parameter] = &[parameter("period", Kind::Text)];

/// A conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ConversationView {
    id: String,
    title: String,
    status: w::SessionState,
    agent_type: String,
    /// What it is about, where it is about something.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_id: Option<String>,
    user_id: String,
    visibility: w::Visibility,
    /// Overrides routing and the agent's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    thinking_level: w::ThinkingLevel,
    tags: Vec<String>,
    usage: w::Usage,
    created_at: String,
    updated_at: String,
}

/// A conversation with its newest messages, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ConversationDetails {
    #[serde(flatten)]
    conversation: ConversationView,
    messages: Vec<MessageView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageView {
    id: String,
    role: w::Role,
    /// The text parts joined.
    content: String,
    status: w::MessageState,
    tool_calls: Vec<ToolCallView>,
    created_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ToolCallView {
    id: String,
    name: String,
    input: serde_json::Value,
    status: w::ToolCallState,
}

/// An agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentView {
    /// What `agentType` is.
    id: String,
    description: String,
    entity_types: Vec<String>,
    default: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Suggestions {
    suggestions: Vec<String>,
}

/// It was done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Success {
    success: bool,
}

/// A conversation to begin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NewConversation {
    title: Option<String>,
    /// Without it: the one that serves the entity's type, else the default one.
    agent_type: Option<String>,
    entity_type: Option<String>,
    entity_id: Option<String>,
    tags: Option<Vec<String>>,
}

/// What is to be another. What is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ConversationChange {
    title: Option<String>,
    agent_type: Option<String>,
    /// `null` clears the override.
    #[serde(default, with = "m::clearable")]
    #[schemars(with = "Option<String>")]
    model: Option<Option<String>>,
    thinking_level: Option<w::ThinkingLevel>,
    visibility: Option<w::Visibility>,
    /// The whole list.
    tags: Option<Vec<String>>,
    /// Pauses, resumes or archives it.
    status: Option<w::SessionState>,
}

fn view(settings: &Settings) -> ConversationView {
    ConversationView {
        id: settings.id.to_string(),
        title: settings.title.clone(),
        status: words::session_state(settings.state),
        agent_type: settings.agent.clone(),
        entity_type: settings.entity.as_ref().map(|entity| entity.kind.clone()),
        entity_id: settings.entity.as_ref().map(|entity| entity.id.clone()).filter(|id| !id.is_empty()),
        user_id: settings.user.to_string(),
        visibility: words::visibility(settings.visibility),
        model: settings.model.clone(),
        thinking_level: words::thinking(settings.thinking),
        tags: settings.tags.clone(),
        usage: words::usage(&settings.usage),
        created_at: settings.created_at.to_rfc3339(),
        updated_at: settings.updated_at.to_rfc3339(),
    }
}

fn message_view(message: &Message) -> MessageView {
    let call = |part: &crate::domain::message::Part| match &part.body {
        PartBody::ToolCall(call) => Some(ToolCallView {
            id: part.id.to_string(),
            name: call.tool.clone(),
            input: call.input.clone(),
            status: words::call_state(call.state),
        }),
        _ => None,
    };
    MessageView {
        id: message.id.to_string(),
        role: match message.author {
            Author::User => w::Role::User,
            Author::Assistant => w::Role::Assistant,
        },
        content: message.text(),
        status: words::message_state(message.state),
        tool_calls: message.parts.iter().filter_map(call).collect(),
        created_at: message.created_at.to_rfc3339(),
    }
}

type Answer = Result<HttpResponse, Refusal>;

fn unexpected() -> Fault {
    Fault::plain(Code::Internal)
}

/// A number of the query within these bounds.
fn bounded(fields: &mut Fields, name: &str, least: usize) -> Result<usize, Fault> {
    match fields.take::<i64>(name)? {
        None => Ok(USUAL),
        Some(number) => usize::try_from(number)
            .ok()
            .filter(|number| (least..=MOST).contains(number))
            .ok_or_else(|| Fault::field(name, format!("{least} to {MOST}"))),
    }
}

/// A text of the query; an empty form field is none.
fn text(fields: &mut Fields, name: &str) -> Result<Option<String>, Fault> {
    let text: Option<String> = fields.take(name)?;
    match text.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > NAME => Err(Fault::field(name, format!("at most {NAME} bytes"))),
        text => Ok(text),
    }
}

/// Other clients write these words in capitals.
fn status(word: Option<String>) -> Result<Option<ConversationState>, Fault> {
    let Some(word) = word else { return Ok(None) };
    let known = ConversationState::parse(&word.to_lowercase());
    let names = ConversationState::ALL.map(ConversationState::name).join(", ");
    known.map(Some).ok_or_else(|| Fault::field("status", format!("must be one of {names}")))
}

async fn list(Asking(caller): Asking, hub: HubHandle, request: HttpRequest) -> Answer {
    let mut fields = Fields::of_query(&request, LIST)?;
    let command = Command::SessionList {
        project: None,
        state: status(text(&mut fields, "status")?)?,
        entity_type: text(&mut fields, "entityType")?,
        entity_id: text(&mut fields, "entityId")?,
        search: None,
        page: PageRequest { cursor: text(&mut fields, "cursor")?, limit: bounded(&mut fields, "limit", 1)? },
    };
    shown_list(&hub, caller, command, &request).await
}

async fn search(Asking(caller): Asking, hub: HubHandle, request: HttpRequest) -> Answer {
    let mut fields = Fields::of_query(&request, SEARCH)?;
    let asked = text(&mut fields, "q")?.filter(|text| !text.trim().is_empty());
    let command = Command::SessionList {
        project: None,
        state: None,
        entity_type: None,
        entity_id: None,
        search: Some(asked.ok_or_else(|| Fault::field("q", "must be there"))?),
        page: PageRequest { cursor: None, limit: bounded(&mut fields, "limit", 1)? },
    };
    shown_list(&hub, caller, command, &request).await
}

async fn shown_list(hub: &HubHandle, caller: Caller, command: Command, request: &HttpRequest) -> Answer {
    let Reply::Sessions(page, _) = hub.0.call(caller, command).await? else { return Err(unexpected().into()) };
    let views: Vec<ConversationView> = page.items.iter().map(view).collect();
    let mut answer = HttpResponse::Ok();
    with_next(&mut answer, request, page.next.as_deref());
    Ok(answer.json(views))
}

async fn create(
    Asking(caller): Asking,
    hub: HubHandle,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload).await?;
    let made = async {
        let mut fields = fields.keyed(&request)?;
        let text = fields.text();
        let key = fields.take("idempotencyKey")?;
        let wish: NewConversation = fields.parse()?;
        names(&[("title", &wish.title), ("agentType", &wish.agent_type)])?;
        let new = NewSession {
            title: wish.title,
            agent: wish.agent_type.filter(|agent| !agent.is_empty()),
            entity: ai::entity(wish.entity_type, wish.entity_id)?,
            tags: rpc::tags(wish.tags)?.unwrap_or_default(),
            channel: Some("ai".to_owned()),
            once: rpc::once(key, "POST /api/v1/ai/conversations", Some(&text))?,
            ..NewSession::default()
        };
        match hub.0.call(caller, Command::SessionCreate(new)).await? {
            Reply::Session(settings, _) => Ok(HttpResponse::Created().json(view(&settings))),
            _ => Err(unexpected()),
        }
    };
    Ok(made.await.map_err(Refusal)?)
}

fn names(fields: &[(&str, &Option<String>)]) -> Result<(), Fault> {
    let long = fields.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.len() > NAME));
    long.map_or(Ok(()), |(field, _)| Err(Fault::field(field, format!("at most {NAME} bytes"))))
}

async fn settings(
    hub: &HubHandle,
    caller: &Caller,
    name: &SessionName,
    command: SessionCommand,
) -> Result<Settings, Fault> {
    match hub.0.call(caller.clone(), Command::Session(name.clone(), command)).await? {
        Reply::Session(settings, _) => Ok(*settings),
        _ => Err(unexpected()),
    }
}

async fn get(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>, request: HttpRequest) -> Answer {
    let limit = bounded(&mut Fields::of_query(&request, MESSAGES)?, "messageLimit", 0)?;
    let name = rpc::session(&path)?;
    let conversation = settings(&hub, &caller, &name, SessionCommand::Get).await?;
    let messages = match limit {
        0 => Vec::new(),
        limit => {
            let asked = SessionCommand::Messages { before: None, limit };
            let Reply::Messages(_, page) = hub.0.call(caller, Command::Session(name, asked)).await? else {
                return Err(unexpected().into());
            };
            page.items.iter().map(message_view).collect()
        }
    };
    Ok(HttpResponse::Ok().json(ConversationDetails { conversation: view(&conversation), messages }))
}

async fn update(
    Asking(caller): Asking,
    hub: HubHandle,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload).await?;
    let changed = async {
        let wish: ConversationChange = fields.parse()?;
        names(&[("title", &wish.title), ("agentType", &wish.agent_type), ("model", &wish.model.clone().flatten())])?;
        let name = rpc::session(&path)?;
        let change = SettingsChange {
            title: wish.title,
            agent: wish.agent_type,
            model: wish.model,
            thinking: wish.thinking_level.map(words::thinking_in),
            visibility: wish.visibility.map(words::visibility_in),
            tags: rpc::tags(wish.tags)?,
        };
        let mut row = match change == SettingsChange::default() {
            true => settings(&hub, &caller, &name, SessionCommand::Get).await?,
            false => settings(&hub, &caller, &name, SessionCommand::Change(change)).await?,
        };
        let command = wish.status.map(words::session_state_in).map(|status| match status {
            ConversationState::Active => SessionCommand::Resume,
            ConversationState::Paused => SessionCommand::Pause,
            ConversationState::Archived => SessionCommand::Archive,
        });
        if let Some(command) = command {
            row = settings(&hub, &caller, &name, command).await?;
        }
        Ok(HttpResponse::Ok().json(view(&row)))
    };
    Ok(changed.await.map_err(|fault: Fault| Refusal(fault))?)
}

async fn delete(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>) -> Answer {
    hub.0.call(caller, Command::Session(rpc::session(&path)?, SessionCommand::Delete)).await?;
    Ok(HttpResponse::Ok().json(Success { success: true }))
}

/// Does it, and says so. That nothing runs is no reason to refuse.
async fn done(caller: Caller, hub: HubHandle, path: &str, command: SessionCommand) -> Answer {
    let stops = matches!(command, SessionCommand::Stop(..));
    match hub.0.call(caller, Command::Session(rpc::session(path)?, command)).await {
        Err(fault) if stops && fault.code == Code::Conflict => {}
        other => drop(other?),
    }
    Ok(HttpResponse::Created().json(Success { success: true }))
}

macro_rules! conversation_handlers {
    ($($name:ident $command:expr;)*) => {
        $(async fn $name(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>) -> Answer {
            done(caller, hub, &path, $command).await
        })*
    };
}

conversation_handlers! {
    archive SessionCommand::Archive;
    pause SessionCommand::Pause;
    resume SessionCommand::Resume;
    stop SessionCommand::Halt;
    abort SessionCommand::Stop(None, StopKind::Abort);
}

async fn agents(Asking(caller): Asking, hub: HubHandle) -> Answer {
    let Reply::Agents(list) = hub.0.call(caller, Command::AgentList).await? else { return Err(unexpected().into()) };
    let view = |agent: &std::sync::Arc<AgentProfile>| AgentView {
        id: agent.name.clone(),
        description: agent.description.clone(),
        entity_types: agent.entity_types.clone(),
        default: agent.default,
    };
    Ok(HttpResponse::Ok().json(list.iter().map(view).collect::<Vec<_>>()))
}

async fn suggestions(Asking(caller): Asking, hub: HubHandle, path: web::Path<String>, request: HttpRequest) -> Answer {
    let mut fields = Fields::of_query(&request, ENTITY)?;
    let entity = ai::entity(text(&mut fields, "entityType")?, text(&mut fields, "entityId")?)?;
    let principal = caller.principal.clone();
    let Reply::Agent(agent) = hub.0.call(caller, Command::AgentGet(path.into_inner())).await? else {
        return Err(unexpected().into());
    };
    let variables = Variables {
        organization: principal.organization.as_str(),
        user: principal.user.as_str(),
        entity: entity.as_ref(),
        now: SystemSource.now(),
        context: "",
    };
    let suggestions = agent.suggested_prompts.iter().map(|prompt| variables.fill(prompt)).collect();
    Ok(HttpResponse::Ok().json(Suggestions { suggestions }))
}

async fn usage(Asking(caller): Asking, hub: HubHandle, request: HttpRequest) -> Answer {
    let period = match text(&mut Fields::of_query(&request, PERIOD)?, "period")?.as_deref() {
        None | Some("day") => Period::Day,
        Some("week") => Period::Week,
        Some("month") => Period::Month,
        Some(_) => return Err(Fault::field("period", "must be one of day, week, month").into()),
    };
    Ok(written(200, &request, &hub.0.call(caller, Command::Usage(period)).await?))
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;

pub(super) const ENDPOINTS: [Endpoint; 14] = [
    row(GET, "/api/v1/ai/conversations", Operation::SessionList, || web::to(list)).described(|| {
        Described::new("Conversations, newest first")
            .query::<NewConversation>(LIST)
            .gives::<Vec<ConversationView>>(200)
            .paged()
    }),
    row(POST, "/api/v1/ai/conversations", Operation::SessionCreate, || web::to(create)).described(|| {
        Described::new("Begin a conversation").body::<NewConversation>().gives::<ConversationView>(201).keyed()
    }),
    // Before the address of one conversation: `search` is the id of none.
    row(GET, "/api/v1/ai/conversations/search", Operation::SessionList, || web::to(search)).described(|| {
        Described::new("Conversations whose messages hold all these words, newest first")
            .query::<NewConversation>(SEARCH)
            .gives::<Vec<ConversationView>>(200)
    }),
    row(GET, "/api/v1/ai/conversations/{sessionId}", Operation::SessionGet, || web::to(get)).described(|| {
        Described::new("A conversation with its newest messages")
            .query::<NewConversation>(MESSAGES)
            .gives::<ConversationDetails>(200)
    }),
    row(Method::PATCH, "/api/v1/ai/conversations/{sessionId}", Operation::SessionUpdate, || web::to(update)).described(
        || Described::new("Change a conversation").body::<ConversationChange>().gives::<ConversationView>(200),
    ),
    row(Method::DELETE, "/api/v1/ai/conversations/{sessionId}", Operation::SessionDelete, || web::to(delete))
        .described(|| Described::new("Delete a conversation").gives::<Success>(200)),
    row(POST, "/api/v1/ai/conversations/{sessionId}/archive", Operation::SessionArchive, || web::to(archive))
        .described(|| {
            Described::new("Make a conversation read-only; what runs is aborted").gives::<Success>(201).kept()
        }),
    row(POST, "/api/v1/ai/conversations/{sessionId}/pause", Operation::SessionPause, || web::to(pause))
        .described(|| Described::new("Start no turn from now on").gives::<Success>(201).kept()),
    row(POST, "/api/v1/ai/conversations/{sessionId}/resume", Operation::SessionResume, || web::to(resume))
        .described(|| Described::new("Start the turns that wait").gives::<Success>(201).kept()),
    row(POST, "/api/v1/ai/conversations/{sessionId}/stop", Operation::MessageStop, || web::to(stop)).described(|| {
        Described::new("Stop what runs, and take out what the caller has waiting").gives::<Success>(201).kept()
    }),
    row(POST, "/api/v1/ai/conversations/{sessionId}/abort", Operation::MessageAbort, || web::to(abort))
        .described(|| Described::new("Stop what runs and its tools").gives::<Success>(201).kept()),
    row(GET, "/api/v1/ai/agents", Operation::AgentList, || web::to(agents))
        .described(|| Described::new("The agents").gives::<Vec<AgentView>>(200)),
    row(GET, "/api/v1/ai/agents/{agent}/suggestions", Operation::AgentGet, || web::to(suggestions)).described(|| {
        Described::new("What one may ask an agent for a beginning")
            .query::<NewConversation>(ENTITY)
            .gives::<Suggestions>(200)
    }),
    row(GET, "/api/v1/ai/usage", Operation::UsageGet, || web::to(usage)).described(|| {
        Described::new("What the caller has used in the last day, week or month")
            .query::<m::UsageGet>(PERIOD)
            .gives::<m::UsageReport>(200)
    }),
];
