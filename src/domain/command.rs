//! What doors ask of the hub, and what it answers: one vocabulary for all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::action::{Action, ActionAnswer, ActionPreview, ActionWish, Execution, UndoWish};
use super::admin::{AdminCommand, AdminReply};
use super::agent::{AgentProfile, BusyPolicy, ModelInfo};
use super::alias::{Alias, ChannelName, SessionName};
use super::approval::Approval;
use super::approval_rule::{ApprovalRule, RuleScope};
use super::canonical::Digest;
use super::channel::Position;
use super::conversation::{SettingsChange, StopKind};
use super::event::Numbered;
use super::generation::{ThinkingLevel, ToolSpec};
use super::ids::{
    ApprovalId, ConversationId, MessageId, OrganizationId, PartId, ProjectId, RuleId, Timestamp, TurnId, UserId,
};
use super::message::{Attachment, Message};
use super::policy::{Access, Operation, Resource};
use super::principal::Principal;
use super::routing::{Choice, Judged, Target};
use super::session_info::{ContextUse, SessionInfo};
use super::settings::{ConversationState, Entity, Project, Settings, Todo, Visibility};
use super::skill::{Skill, SkillResult};
use super::slash::{CommandManifest, CommandResult};
use super::tool_call::ToolPolicy;
use super::turn::{Receipt, Turn, TurnState};
use super::usage::Usage;
use crate::error::Fault;

/// Who calls, and as which request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Arc<Principal>,
    /// The correlation id: in logs, audit rows, approvals and provider calls.
    pub request_id: String,
    /// Door and address, for the record of decisions.
    pub origin: Arc<str>,
    /// The address alone; none for who works on the hub's own machine.
    pub address: Option<IpAddr>,
}

/// A page of a list: where it begins, and how long it may be (1 to 200).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    pub cursor: Option<String>,
    pub limit: usize,
}

impl PageRequest {
    /// The cursor as a place in a list.
    ///
    /// # Errors
    /// `read` cannot make one of it.
    pub fn after<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Fault> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        read(cursor).map(Some).ok_or_else(|| Fault::field("cursor", "not one that this list gave"))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Names from elsewhere may hold anything: as a cursor they travel in base64url.
pub fn name_cursor(name: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(name)
}

/// What `name_cursor` wrote.
pub fn name_of_cursor(cursor: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()
}

/// A request that may be repeated without a second effect: its key, and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    pub key: String,
    /// SHA-256 of method and parameters.
    pub request: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewSession {
    /// A project's id or name.
    pub project: Option<String>,
    pub title: Option<String>,
    pub agent: Option<String>,
    pub model: Option<String>,
    pub thinking: Option<ThinkingLevel>,
    pub visibility: Option<Visibility>,
    pub tags: Vec<String>,
    /// What kind of door began it.
    pub channel: Option<String>,
    pub entity: Option<Entity>,
    /// The session that the caller calls so, if there is one that is not archived; else a new one, called so.
    pub alias: Option<Alias>,
    pub once: Option<Once>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    pub content: String,
    pub attachments: Vec<Attachment>,
    pub model: Option<String>,
    /// The model is a wish: one that was set for the conversation beats it.
    pub yields: bool,
    pub busy: Option<BusyPolicy>,
    pub once: Option<Once>,
}

/// Which approval is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalRef {
    Request(ApprovalId),
    Call(PartId),
}

/// What else comes with an answer to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The answer is to be kept, and how far it reaches.
    pub remember: Option<RuleScope>,
    /// What whoever answers has seen: an answer to something else does not count.
    pub seen: Option<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    ProjectCreate {
        name: String,
        once: Option<Once>,
    },
    ProjectList(PageRequest),
    ProjectGet(ProjectId),
    SessionCreate(NewSession),
    SessionList {
        project: Option<ProjectId>,
        state: Option<ConversationState>,
        /// Those about such an entity.
        entity_type: Option<String>,
        entity_id: Option<String>,
        search: Option<String>,
        page: PageRequest,
    },
    /// The caller's own session of that channel, begun if there is none.
    SessionOfChannel(&'static str),
    /// The caller's own session about that entity, or about none, with that agent; begun if there is none that is not
    /// archived. Without a name it is the agent that serves the entity's kind, else the default one.
    SessionOfEntity {
        entity: Option<Entity>,
        agent: Option<String>,
    },
    AgentList,
    AgentGet(String),
    ToolList,
    ModelList,
    /// The slash commands that the caller may use.
    CommandList,
    RoutingExplain(RoutingQuestion),
    ApprovalList(PageRequest),
    ApprovalDecide {
        which: ApprovalRef,
        approved: bool,
        reason: Option<String>,
        keep: Keep,
    },
    /// The caller's own answers that are kept.
    RuleList(PageRequest),
    RuleRevoke(RuleId),
    Presence(ChannelName),
    History {
        channel: ChannelName,
        since: Option<Position>,
        limit: usize,
    },
    Usage(Period),
    Session(SessionName, SessionCommand),
    /// What an administrator asks about that organization.
    Admin(OrganizationId, Box<AdminCommand>),
    SkillList,
    SkillExecute {
        skill: String,
        input: Value,
        entity: Option<Entity>,
        once: Option<Once>,
    },
    /// Those for things of that kind; of all kinds where none is named.
    ActionList(Option<String>),
    ActionPreview(ActionWish),
    ActionExecute {
        wish: ActionWish,
        /// The caller has seen what it does.
        skip_preview: bool,
        once: Option<Once>,
    },
    ActionUndo(UndoWish),
}

/// What concerns one conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionCommand {
    Get,
    Change(SettingsChange),
    Archive,
    Pause,
    Resume,
    Delete,
    Send(NewMessage),
    Edit {
        message: MessageId,
        content: String,
    },
    Cancel(Option<TurnId>),
    Stop(Option<TurnId>, StopKind),
    /// Stops what runs and takes out what the caller has waiting. Never refused because there is nothing.
    Halt,
    /// Who would answer now.
    Info,
    /// Sets how hard the model thinks, by the word of one of its levels.
    Think(String),
    Retry {
        turn: Option<TurnId>,
        model: Option<String>,
        once: Option<Once>,
    },
    Messages {
        before: Option<MessageId>,
        limit: usize,
    },
    /// How many messages there are.
    CountMessages,
    /// A turn and its answer, as they are stored.
    Turn(TurnId),
    /// Carries out a slash command.
    Execute {
        command: String,
        args: Option<String>,
    },
    /// The model forgets what was said so far.
    Clear,
    /// A summary takes the place of what was said so far.
    Compact,
    /// Who answers, how full the context is, and what runs.
    Status,
    Todos,
    TodosReplace(Vec<Todo>),
    Approvals,
    Decide {
        which: ApprovalRef,
        approved: bool,
        reason: Option<String>,
        keep: Keep,
    },
}

impl Command {
    /// Its row in the table of rules.
    pub fn operation(&self) -> Operation {
        match self {
            Self::ProjectCreate { .. } => Operation::ProjectCreate,
            Self::ProjectList(_) => Operation::ProjectList,
            Self::ProjectGet(_) => Operation::ProjectGet,
            Self::SessionCreate(_) | Self::SessionOfChannel(_) | Self::SessionOfEntity { .. } => {
                Operation::SessionCreate
            }
            Self::SessionList { .. } => Operation::SessionList,
            Self::AgentList => Operation::AgentList,
            Self::AgentGet(_) => Operation::AgentGet,
            Self::ToolList => Operation::ToolList,
            Self::ModelList => Operation::ModelList,
            Self::CommandList => Operation::CommandList,
            Self::RoutingExplain(_) => Operation::RoutingExplain,
            Self::ApprovalList(_) => Operation::ApprovalList,
            Self::ApprovalDecide { approved: true, .. } => Operation::ToolApprove,
            Self::ApprovalDecide { approved: false, .. } => Operation::ToolReject,
            Self::RuleList(_) => Operation::RuleList,
            Self::RuleRevoke(_) => Operation::RuleRevoke,
            Self::Presence(_) => Operation::Presence,
            Self::History { .. } => Operation::History,
            Self::Usage(_) => Operation::UsageGet,
            Self::Session(_, command) => command.operation(),
            Self::Admin(_, command) => command.operation(),
            Self::SkillList => Operation::SkillList,
            Self::SkillExecute { .. } => Operation::SkillExecute,
            Self::ActionList(_) => Operation::ActionList,
            Self::ActionPreview(_) => Operation::ActionPreview,
            Self::ActionExecute { .. } => Operation::ActionExecute,
            Self::ActionUndo(_) => Operation::ActionUndo,
        }
    }
}

impl SessionCommand {
    /// Its row in the table of rules.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Get | Self::Info => Operation::SessionGet,
            Self::Change(change) if change.visibility.is_some() => Operation::SessionShare,
            Self::Change(_) | Self::Think(_) => Operation::SessionUpdate,
            Self::Archive => Operation::SessionArchive,
            Self::Pause => Operation::SessionPause,
            Self::Resume => Operation::SessionResume,
            Self::Delete => Operation::SessionDelete,
            Self::Send(_) => Operation::MessageSend,
            Self::Edit { .. } => Operation::MessageUpdate,
            Self::Cancel(_) => Operation::MessageCancel,
            Self::Stop(_, StopKind::Stop) | Self::Halt => Operation::MessageStop,
            Self::Stop(_, StopKind::Abort) => Operation::MessageAbort,
            Self::Retry { .. } => Operation::MessageRetry,
            Self::Messages { .. } | Self::CountMessages => Operation::MessageList,
            Self::Turn(_) => Operation::TurnGet,
            Self::Execute { .. } => Operation::CommandExecute,
            Self::Clear | Self::Compact => Operation::SessionUpdate,
            Self::Status => Operation::SessionGet,
            Self::Todos => Operation::TodoGet,
            Self::TodosReplace(_) => Operation::TodoUpdate,
            Self::Approvals => Operation::ApprovalList,
            Self::Decide { approved: true, .. } => Operation::ToolApprove,
            Self::Decide { approved: false, .. } => Operation::ToolReject,
        }
    }

    /// Whether it makes the hub ask a model: then it counts like a message.
    pub fn asks_model(&self) -> bool {
        match self {
            Self::Send(_) | Self::Retry { .. } | Self::Compact => true,
            Self::Execute { command, args } => super::slash::asks_model(command, args.as_deref()),
            _ => false,
        }
    }

    /// What it does to the conversation.
    pub fn access(&self) -> Access {
        match self.operation().rule().resource {
            Resource::Session(access) => access,
            // A command on a conversation has a row of that kind; were it not so, the fewest may.
            _ => Access::Govern,
        }
    }
}

/// A message that somebody wants to know the model of, as the caller would send it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoutingQuestion {
    pub content: String,
    pub attachments: usize,
    pub model: Option<String>,
    /// Its agent, tags and own model count, where it is given.
    pub session: Option<SessionName>,
    pub agent: Option<String>,
    pub tags: Option<Vec<String>>,
}

/// Who would answer, and what each rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub agent: String,
    pub choice: Choice,
    pub rules: Vec<Judged>,
    pub fallback: Vec<Target>,
}

/// How a conversation stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub info: SessionInfo,
    pub context: ContextUse,
    /// The model was chosen for this conversation.
    pub chosen: bool,
    pub settings: Settings,
    pub turn: Option<TurnState>,
    pub queued: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct UsageReport {
    pub period: Period,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows: Vec<UsageRow>,
}

/// What one model was used for.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    pub provider: String,
    pub model: String,
    pub turns: u64,
    pub usage: Usage,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Project(Project),
    Projects(Page<Project>),
    /// And what the caller calls it, where the call tells.
    Session(Box<Settings>, Option<Alias>),
    /// And what the caller calls those that it has a name for.
    Sessions(Page<Settings>, BTreeMap<ConversationId, Alias>),
    Deleted,
    Sent {
        message: MessageId,
        turn: TurnId,
        state: TurnState,
        /// Who answers it. None where an earlier request's answer is given once more.
        info: Option<Arc<SessionInfo>>,
    },
    Info(ConversationId, Arc<SessionInfo>),
    Message(ConversationId, Arc<Message>),
    Ended {
        turn: TurnId,
        state: TurnState,
        receipt: Option<Receipt>,
        usage: Usage,
    },
    /// There was no turn to stop.
    NothingRan,
    Messages(ConversationId, Page<Message>),
    Count(u64),
    /// The answer is absent where none was begun.
    Turn(ConversationId, Box<Turn>, Option<Box<Message>>),
    Agents(Vec<Arc<AgentProfile>>),
    Agent(Arc<AgentProfile>),
    Tools(Vec<(ToolSpec, ToolPolicy)>),
    Models(Vec<ModelInfo>),
    Commands(Arc<CommandManifest>),
    Executed(CommandResult),
    Explained(Box<Explanation>),
    Status(Box<Status>),
    /// `applied` is false where somebody was first.
    Decided {
        applied: bool,
        approval: Arc<Approval>,
        /// What the answer was kept as.
        rule: Option<RuleId>,
    },
    Rules(Page<ApprovalRule>),
    Approvals(Page<(ConversationId, Approval)>),
    Todos(Vec<Todo>),
    Presence {
        count: u32,
        users: Option<Vec<UserId>>,
    },
    History {
        epoch: Arc<str>,
        seq: u64,
        recovered: bool,
        events: Vec<Arc<Numbered>>,
    },
    Usage(UsageReport),
    Admin(AdminReply),
    Skills(Vec<Arc<Skill>>),
    SkillDone(Box<SkillResult>),
    Actions(Vec<Arc<Action>>),
    ActionPreview(Box<ActionPreview>),
    Action(ActionAnswer),
    ActionUndone(Box<Execution>),
}
