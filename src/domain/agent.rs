//! A configured persona, and what it may do without asking.

use super::generation::{ThinkingLevel, ToolSpec};
use super::ids::Timestamp;
use super::settings::Entity;
use super::tool_call::ToolPolicy;
use super::tool_policy::Glob;

/// What happens to a message that comes while a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusyPolicy {
    #[default]
    Queue,
    /// Stop the running turn; the new one is next in the queue's order.
    Interrupt,
    Reject,
}

/// An agent as configuration describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentProfile {
    pub name: String,
    pub description: String,
    pub provider: String,
    pub model: String,
    pub system: Option<String>,
    /// Tools it is offered, by name or by a pattern such as `files__*`, with the policy that is set for it.
    pub tools: Vec<(String, ToolPolicy)>,
    pub busy: BusyPolicy,
    /// Kinds of entities that it serves: who names one of these and no agent gets this one.
    pub entity_types: Vec<String>,
    pub suggested_prompts: Vec<String>,
    /// Whether rules may choose another provider and model for it.
    pub routing: bool,
    pub default: bool,
}

/// What a system prompt and a suggestion may name.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    pub organization: &'a str,
    pub user: &'a str,
    pub entity: Option<&'a Entity>,
    pub now: Timestamp,
    /// What is known of the entity.
    pub context: &'a str,
}

impl Variables<'_> {
    /// The text with its variables filled in: once, so that none within a value is one. What is none stays as it is.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            filled.push_str(before);
            match behind.split_once("}}").and_then(|(name, after)| Some((self.value(name.trim())?, after))) {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                None => {
                    filled.push_str("{{");
                    rest = behind;
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        let of_entity = |field: fn(&Entity) -> &String| self.entity.map(field).cloned().unwrap_or_default();
        Some(match name {
            "organization" => self.organization.to_owned(),
            "user" => self.user.to_owned(),
            "entityType" => of_entity(|entity| &entity.kind),
            "entityId" => of_entity(|entity| &entity.id),
            "context" => self.context.to_owned(),
            "now" => self.now.to_rfc3339(),
            _ => return None,
        })
    }

    /// A system prompt. What is known of the entity stands at its end where the text has no place for it.
    pub fn system(&self, text: &str) -> String {
        let mut filled = self.fill(text);
        let has_place = text.split("{{").skip(1).any(|piece| piece.trim_start().starts_with("context"));
        if let Some(entity) = self.entity.filter(|_| !has_place && !self.context.is_empty()) {
            filled.push_str(&format!("\n\nWhat is known of {} {}:\n{}", entity.kind, entity.id, self.context));
        }
        filled
    }
}

impl AgentProfile {
    /// Whether the agent may call it at all.
    pub fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|(name, _)| stands_for(name, tool))
    }

    /// Of all tools those that it is offered, in the order of its own list, those of one pattern in theirs.
    pub fn offered(&self, all: Vec<ToolSpec>) -> Vec<ToolSpec> {
        let mut found: Vec<ToolSpec> = Vec::new();
        for (name, _) in &self.tools {
            for spec in all.iter().filter(|spec| stands_for(name, &spec.name)) {
                if !found.iter().any(|other| other.name == spec.name) {
                    found.push(spec.clone());
                }
            }
        }
        found
    }
}

fn stands_for(name: &str, tool: &str) -> bool {
    name == tool || (name.contains('*') && Glob::new(name).fits(tool))
}

/// A model one may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    pub id: String,
    pub provider: String,
    pub thinking_levels: Vec<ThinkingLevel>,
}

/// What the hub shows of an agent at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    Idle,
    Thinking,
    Responding,
    CallingTool,
    AwaitingApproval,
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, context: &str) -> (String, String) {
        let entity = Entity { kind: "policy".into(), id: "7 {{user}}".into() };
        let variables =
            Variables { organization: "acme", user: "ann", entity: Some(&entity), now: Timestamp(0), context };
        (variables.fill(text), variables.system(text))
    }

    #[test]
    fn variables_are_filled_in_once() {
        let text = "{{organization}}/{{ user }}: {{entityType}} {{entityId}} at {{now}}; {{else}} {{user";
        let filled = "acme/ann: policy 7 {{user}} at 1970-01-01T00:00:00.000Z; {{else}} {{user";
        assert_eq!(fill(text, "").0, filled);
    }

    #[test]
    fn what_is_known_has_its_place_or_stands_at_the_end() {
        assert_eq!(fill("Know: {{ context }}!", "a {{now}}").1, "Know: a {{now}}!");
        assert_eq!(fill("Be kind.", "it is new").1, "Be kind.\n\nWhat is known of policy 7 {{user}}:\nit is new");
        assert_eq!(fill("Be kind.", "").1, "Be kind.");
    }

    #[test]
    fn without_an_entity_its_variables_are_empty() {
        let none = Variables { organization: "o", user: "u", entity: None, now: Timestamp(0), context: "" };
        assert_eq!(none.system("[{{entityType}}{{entityId}}{{context}}]"), "[]");
    }
}
