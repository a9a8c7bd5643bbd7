//! Something that can be done by its name: looked at before, done, recorded, and taken back for a while.

use serde_json::{Value, json};

use super::ids::{ConversationId, ExecutionId, OrganizationId, Timestamp, UserId};
use super::principal::Principal;
use super::schema::Schema;
use super::tool_call::ToolPolicy;
use crate::error::{Code, Fault};

/// How the name of the tool begins by which an agent calls an action.
pub const TOOL: &str = "action_";

/// The longest kind or id of an entity, in bytes.
const ENTITY: usize = 200;

pub use super::settings::Entity;

impl Entity {
    /// The entity of these two fields; none where both are absent.
    ///
    /// # Errors
    /// `bad_request` with the field that is missing, empty or too long.
    pub fn of(kind: Option<String>, id: Option<String>) -> Result<Option<Self>, Fault> {
        let fits = |field: &str, text: Option<String>| match text {
            None => Err(Fault::field(field, "must be there: an entity has a type and an id")),
            Some(text) if text.is_empty() || text.len() > ENTITY || text.chars().any(char::is_control) => {
                Err(Fault::field(field, format!("1 to {ENTITY} bytes without control characters")))
            }
            Some(text) => Ok(text),
        };
        match (kind, id) {
            (None, None) => Ok(None),
            (kind, id) => Ok(Some(Self { kind: fits("entityType", kind)?, id: fits("entityId", id)? })),
        }
    }
}

/// Where an action is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A request to somebody's endpoint.
    Http,
    /// The hub's own: the conversation gets another title.
    RenameConversation,
}

impl Backend {
    /// The hub's own actions, by their ids.
    pub const BUILT_IN: [(&str, Self); 1] = [("rename_conversation", Self::RenameConversation)];
}

/// An action as configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub id: String,
    pub name: String,
    pub description: String,
    pub category: String,
    pub input: Schema,
    /// All of them are needed.
    pub permissions: Vec<String>,
    /// What it can be done to; empty: to nothing in particular, or to anything.
    pub entity_types: Vec<String>,
    /// Whether it is shown first, unless a user says otherwise.
    pub requires_preview: bool,
    /// For agents. Never `Allow` where it is shown first or needs permissions.
    pub policy: ToolPolicy,
    /// Milliseconds after its end in which it can be undone; absent: it cannot.
    pub undo_for: Option<i64>,
    pub backend: Backend,
}

/// Whether all that is needed was given.
pub fn holds(given: &[String], needed: &[String]) -> bool {
    needed.iter().all(|permission| given.contains(permission))
}

impl Action {
    pub fn tool_name(&self) -> String {
        format!("{TOOL}{}", self.id)
    }

    /// Whether somebody has to look at it each time before an agent does it.
    pub fn asks_always(&self) -> bool {
        self.requires_preview || !self.permissions.is_empty()
    }

    /// # Errors
    /// `forbidden` without naming more than what is missing.
    pub fn permitted(&self, principal: &Principal) -> Result<(), Fault> {
        match self.permissions.iter().find(|needed| !principal.permissions.contains(needed)) {
            None => Ok(()),
            Some(missing) => Err(Fault::forbidden(format!("this action needs the permission {missing}"))),
        }
    }

    /// # Errors
    /// `bad_request`: it is not done to such a thing, or its input is not as its schema wants it.
    pub fn fits(&self, input: &Value, entity: Option<&Entity>) -> Result<(), Fault> {
        if !self.entity_types.is_empty() {
            let known = self.entity_types.join(", ");
            match entity {
                None => return Err(Fault::field("entityType", format!("must be one of {known}"))),
                Some(entity) if !self.entity_types.contains(&entity.kind) => {
                    return Err(Fault::field("entityType", format!("must be one of {known}")));
                }
                Some(_) => {}
            }
        }
        self.input.check("input", input)
    }

    /// Whether it is offered for things of that kind.
    pub fn is_for(&self, kind: &str) -> bool {
        self.entity_types.is_empty() || self.entity_types.iter().any(|known| known == kind)
    }

    /// What a human is told who is asked.
    pub fn risks(&self) -> Vec<String> {
        let mut risks = Vec::new();
        match self.backend {
            Backend::Http => risks.push("it changes something outside the hub".to_owned()),
            Backend::RenameConversation => {}
        }
        match self.undo_for {
            None => risks.push("it cannot be undone".to_owned()),
            Some(time) => risks.push(format!("it can be undone for {} s", time / 1000)),
        }
        risks
    }
}

/// What would be done.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionPreview {
    pub action: String,
    pub name: String,
    /// One line for a human.
    pub summary: String,
    pub risks: Vec<String>,
    pub input: Value,
    pub entity: Option<Entity>,
    /// The request as it would be sent, without secrets.
    pub request: Option<Value>,
    /// What the action itself says about it.
    pub details: Option<Value>,
}

impl ActionPreview {
    /// As a text, for the question to a human.
    pub fn told(&self) -> String {
        let mut text = self.summary.clone();
        if let Some(request) = &self.request {
            text.push_str(&format!("\nrequest: {request}"));
        }
        if let Some(details) = &self.details {
            text.push_str(&format!("\npreview: {details}"));
        }
        text
    }
}

/// How far an execution came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionState {
    /// Written down, not begun.
    Pending,
    Executing,
    Completed,
    /// It had no effect as far as is known.
    Failed,
    Undone,
    /// It was begun, or its undoing was, and nobody knows what came of it. Never done again.
    Unknown,
}

impl ExecutionState {
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Executing, Self::Completed, Self::Failed, Self::Undone, Self::Unknown];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == word)
    }
}

/// One execution of an action, as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub id: ExecutionId,
    pub organization: OrganizationId,
    pub action: String,
    pub entity: Option<Entity>,
    pub input: Value,
    /// On whose behalf.
    pub user: UserId,
    /// The conversation whose agent did it; absent: the user did.
    pub agent_of: Option<ConversationId>,
    pub state: ExecutionState,
    pub result: Option<Value>,
    /// Fit for the user: no secret in it.
    pub error: Option<String>,
    pub request_id: String,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Until when it can be undone.
    pub undo_until: Option<Timestamp>,
    pub undone_at: Option<Timestamp>,
    pub undone_by: Option<UserId>,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Done(Value),
    /// It is known that nothing was changed, or the other side said that it failed.
    Failed(String),
    /// Begun, and no answer came.
    Unknown(String),
}

impl Execution {
    /// The record with what came of it.
    pub fn ended(mut self, effect: Effect, undo_for: Option<i64>, at: Timestamp) -> Self {
        self.ended_at = Some(at);
        match effect {
            Effect::Done(result) => {
                self.state = ExecutionState::Completed;
                self.result = Some(result);
                self.undo_until = undo_for.map(|time| at.plus_millis(time));
            }
            Effect::Failed(why) => (self.state, self.error) = (ExecutionState::Failed, Some(why)),
            Effect::Unknown(why) => (self.state, self.error) = (ExecutionState::Unknown, Some(why)),
        }
        self
    }

    /// What the audit log says of it beside who did it.
    pub fn details(&self) -> Value {
        let entity = self.entity.as_ref().map(|entity| json!({ "type": entity.kind, "id": entity.id }));
        json!({
            "action": self.action,
            "entity": entity,
            "state": self.state.name(),
            "agentOf": self.agent_of.map(|id| id.to_string()),
        })
    }
}

/// What somebody asks to have done.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionWish {
    pub action: String,
    pub input: Value,
    pub entity: Option<Entity>,
}

/// Which execution is to be undone: the one named, else the latest of that action on that entity that can be.
#[derive(Debug, Clone, PartialEq)]
pub struct UndoWish {
    pub action: String,
    pub entity: Option<Entity>,
    pub execution: Option<ExecutionId>,
}

/// What executing an action was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionAnswer {
    /// Nothing was done: it has to be looked at first.
    PreviewRequired(Box<ActionPreview>),
    Done(Box<Execution>),
}

/// Why an execution cannot be undone.
pub fn not_undone(execution: &Execution, at: Timestamp) -> Option<Fault> {
    let conflict = |why: &str| Some(Fault::new(Code::Conflict, why));
    match (execution.state, execution.undo_until) {
        (ExecutionState::Undone, _) => conflict("it was undone before"),
        (ExecutionState::Completed, None) => conflict("it cannot be undone"),
        (ExecutionState::Completed, Some(until)) if until < at => conflict("the time to undo it is over"),
        (ExecutionState::Completed, Some(_)) => None,
        _ => conflict("only what was completed can be undone"),
    }
}
