//! Actions and skills as tools of agents. An action's preview is shown to whoever is asked; what an agent says about
//! previews counts for nothing.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::hub::LocalHub;
use crate::domain::action::{Action, ActionWish, Backend, Entity, ExecutionState};
use crate::domain::command::Caller;
use crate::domain::generation::ToolSpec;
use crate::domain::principal::{Credential, Principal, Role};
use crate::domain::skill::Skill;
use crate::domain::tool_call::ToolPolicy;
use crate::tools::{Tool, ToolContext, ToolOutcome};

/// Characters of a preview that a human is shown; what is left out is said.
const SHOWN: usize = 16 << 10;

/// The tools that the hub's actions and skills are.
pub fn tools(hub: &LocalHub) -> Vec<Rc<dyn Tool>> {
    let settings = hub.shared().settings.get();
    let action =
        |action: &Arc<Action>| Rc::new(ActionTool { hub: hub.clone(), action: action.clone() }) as Rc<dyn Tool>;
    let skill = |skill: &Arc<Skill>| Rc::new(SkillTool { hub: hub.clone(), skill: skill.clone() }) as Rc<dyn Tool>;
    settings.actions.iter().map(action).chain(settings.skills.iter().map(skill)).collect()
}

/// An agent asks, on behalf of its conversation's user. It has no permissions of its own: where some are needed, they
/// are those of the human who approves.
fn caller(context: &ToolContext) -> Caller {
    let conversation = context.conversation.to_string();
    Caller {
        principal: Arc::new(Principal {
            organization: context.organization.clone(),
            user: context.user.clone(),
            role: Role::Member,
            hub_admin: false,
            permissions: Vec::new(),
            credential: Credential::Agent { id: conversation.clone() },
            expires_at: None,
        }),
        request_id: context.request_id.clone(),
        origin: format!("the agent of {conversation}").into(),
        address: None,
    }
}

struct ActionTool {
    hub: LocalHub,
    action: Arc<Action>,
}

impl ActionTool {
    /// The entity may be left out where it is the agent's own conversation.
    fn own_conversation(&self) -> bool {
        self.action.backend == Backend::RenameConversation
    }

    fn wish(&self, input: &Value, context: Option<&ToolContext>) -> Result<ActionWish, String> {
        let fields = input.as_object().ok_or("the input: an object is expected")?;
        // What an agent says about previews is not even wrong: it counts for nothing.
        const KNOWN: [&str; 4] = ["input", "entityType", "entityId", "skipPreview"];
        if let Some(stray) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            let stray: String = stray.chars().take(80).collect();
            return Err(format!("{stray}: no such field; there are: input, entityType, entityId"));
        }
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}: a text is expected")),
        };
        let mut entity = Entity::of(text("entityType")?, text("entityId")?).map_err(|fault| fault.message)?;
        if entity.is_none() && self.own_conversation() {
            // Looked at without a context only whether it is whole.
            let id = context.map(|context| context.conversation.to_string()).unwrap_or_default();
            entity = Some(Entity { kind: "conversation".to_owned(), id });
        }
        let input = fields.get("input").cloned().unwrap_or_else(|| json!({}));
        self.action.fits(&input, entity.as_ref()).map_err(|fault| fault.message)?;
        Ok(ActionWish { action: self.action.id.clone(), input, entity })
    }
}

impl Tool for ActionTool {
    fn spec(&self) -> ToolSpec {
        let mut properties = json!({ "input": self.action.input.value() });
        let mut required = vec!["input"];
        if !self.action.entity_types.is_empty() {
            properties["entityType"] = json!({ "type": "string", "enum": self.action.entity_types });
            properties["entityId"] = json!({ "type": "string", "minLength": 1, "maxLength": 200 });
            if !self.own_conversation() {
                required.extend(["entityType", "entityId"]);
            }
        }
        let mut description = format!("{}. {}", self.action.name, self.action.description);
        if self.own_conversation() {
            description.push_str(" Without an entity it is this conversation.");
        }
        ToolSpec {
            name: self.action.tool_name(),
            description: description.trim().to_owned(),
            input_schema: json!({
                "type": "object",
                "required": required,
                "properties": properties,
                "additionalProperties": false,
            }),
        }
    }

    fn default_policy(&self) -> ToolPolicy {
        self.action.policy
    }

    fn concurrent(&self) -> bool {
        false
    }

    fn asks_always(&self) -> bool {
        self.action.asks_always()
    }

    fn preview(&self, input: &Value, context: ToolContext) -> Option<LocalBoxFuture<'static, Result<String, String>>> {
        let wish = self.wish(input, Some(&context));
        let hub = self.hub.clone();
        let look = async move {
            let seen = hub.look_for_agent(&caller(&context), &wish?).await.map_err(|fault| fault.message)?;
            let told = seen.told();
            Ok(match told.char_indices().nth(SHOWN) {
                None => told,
                Some((end, _)) => format!("{}\n[the rest of the preview is left out]", &told[..end]),
            })
        };
        Some(look.boxed_local())
    }

    fn summary(&self, _input: &Value) -> String {
        self.action.name.clone()
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        self.action.risks()
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        self.wish(input, None).map(drop)
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        let (hub, wish) = (self.hub.clone(), self.wish(&input, Some(&context)));
        async move {
            let wish = match wish {
                Ok(wish) => wish,
                Err(why) => return ToolOutcome::failed(why),
            };
            match hub.execute_for_agent(caller(&context), context.conversation, wish).await {
                Ok(ended) => {
                    let told = json!({
                        "executionId": ended.id.to_string(),
                        "status": ended.state.name(),
                        "result": ended.result,
                        "error": ended.error,
                    });
                    match ended.state {
                        ExecutionState::Completed => ToolOutcome::done(told.to_string()),
                        _ => ToolOutcome::failed(told.to_string()),
                    }
                }
                Err(fault) => ToolOutcome::failed(fault.message),
            }
        }
        .boxed_local()
    }
}

struct SkillTool {
    hub: LocalHub,
    skill: Arc<Skill>,
}

impl Tool for SkillTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.skill.tool_name(),
            description: self.skill.description.clone(),
            input_schema: self.skill.input.value().clone(),
        }
    }

    /// It asks a model and changes nothing.
    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Allow
    }

    fn concurrent(&self) -> bool {
        true
    }

    fn asks_always(&self) -> bool {
        !self.skill.permissions.is_empty()
    }

    fn summary(&self, _input: &Value) -> String {
        format!("use the skill {}", self.skill.name)
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        vec!["it asks a model, which may cost something".to_owned()]
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        self.skill.input.judge("input", input)
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        let (hub, id) = (self.hub.clone(), self.skill.id.clone());
        async move {
            let cancel = context.cancel.clone();
            match hub.use_skill_for_agent(caller(&context), &id, input, cancel).await {
                Ok(result) => ToolOutcome::done(match result.output {
                    Value::String(text) => text,
                    typed => typed.to_string(),
                }),
                Err(fault) => ToolOutcome::failed(fault.message),
            }
        }
        .boxed_local()
    }
}
