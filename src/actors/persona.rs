//! An agent's system prompt with its variables, and what is known of the entity that a conversation is about.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::with_kit;
use crate::domain::agent::Variables;
use crate::domain::generation::Prompt;
use crate::domain::ids::{OrganizationId, Source, SystemSource, TurnId, UserId};
use crate::domain::settings::Entity;

/// What was asked about an entity for a turn: all its steps are told the same, and nobody is asked twice.
pub type Known = Rc<RefCell<Option<(TurnId, String)>>>;

/// Who speaks in a turn, and to whom.
pub struct Persona {
    pub agent: String,
    /// The agent's own system prompt, with which the prompt's begins.
    pub template: String,
    pub organization: OrganizationId,
    pub user: UserId,
    pub entity: Option<Entity>,
    pub turn: TurnId,
    pub request_id: String,
}

impl Persona {
    /// The system prompt, filled in.
    pub async fn fill(&self, prompt: &Prompt, known: &Known) -> Option<String> {
        let context = self.context(known).await;
        let variables = Variables {
            organization: self.organization.as_str(),
            user: self.user.as_str(),
            entity: self.entity.as_ref(),
            now: SystemSource.now(),
            context: &context,
        };
        let whole = prompt.system.as_deref().unwrap_or_default();
        // What stands behind the agent's own words is no template.
        let behind = whole.strip_prefix(self.template.as_str()).unwrap_or_default();
        Some(variables.system(&self.template) + behind).filter(|system| !system.is_empty())
    }

    /// What is known of the entity; nothing where nobody says it in time.
    async fn context(&self, known: &Known) -> String {
        let Some(entity) = &self.entity else { return String::new() };
        if let Some((turn, context)) = &*known.borrow()
            && *turn == self.turn
        {
            return context.clone();
        }
        let Some(call) = with_kit(|kit| kit.contexts.get(&self.agent).cloned()).flatten() else { return String::new() };
        let scope = json!({
            "organization": self.organization.as_str(),
            "user": self.user.as_str(),
            "entity": { "type": entity.kind, "id": entity.id },
        });
        let asked = async {
            let request = call.request(&scope)?;
            let answer = call.send(request, &[("x-request-id", self.request_id.clone())]).await;
            let answer = answer.map_err(|fault| fault.into_text())?;
            if !answer.is_success() {
                return Err(format!("HTTP {}", answer.status));
            }
            Ok(match answer.body {
                serde_json::Value::String(text) => text,
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            })
        };
        let context = asked.await.unwrap_or_else(|why: String| {
            tracing::warn!(agent = self.agent, request_id = self.request_id, why, "nothing is known of an entity");
            String::new()
        });
        *known.borrow_mut() = Some((self.turn, context.clone()));
        context
    }
}
