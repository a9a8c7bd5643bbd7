//! Something a model can do in one answer: a prompt with a typed input, and where it says so a typed output.

use serde_json::{Value, json};

use super::action::{Entity, holds};
use super::generation::{Prompt, PromptMessage, ThinkingLevel, UserContent};
use super::principal::Principal;
use super::schema::Schema;
use super::usage::Usage;
use crate::error::Fault;

/// How the name of the tool begins by which an agent uses a skill.
pub const TOOL: &str = "skill_";

/// A skill as its folder describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Skill {
    /// The name, which is the folder's.
    pub id: String,
    pub name: String,
    pub description: String,
    pub scope: String,
    /// All of them are needed.
    pub permissions: Vec<String>,
    /// Whose provider and model it uses; absent: the default agent's.
    pub agent: Option<String>,
    pub input: Schema,
    pub output: Option<Schema>,
    /// What the model is told.
    pub instructions: String,
}

impl Skill {
    pub fn tool_name(&self) -> String {
        format!("{TOOL}{}", self.id)
    }

    pub fn is_for(&self, principal: &Principal) -> bool {
        holds(&principal.permissions, &self.permissions)
    }

    /// # Errors
    /// `forbidden`, with a permission that is missing.
    pub fn permitted(&self, principal: &Principal) -> Result<(), Fault> {
        match self.permissions.iter().find(|needed| !principal.permissions.contains(needed)) {
            None => Ok(()),
            Some(missing) => Err(Fault::forbidden(format!("this skill needs the permission {missing}"))),
        }
    }

    /// The one request to the model.
    pub fn prompt(&self, input: &Value, entity: Option<&Entity>, model: String, request_id: String) -> Prompt {
        let mut system = self.instructions.clone();
        if let Some(output) = &self.output {
            system.push_str(
                "\n\nAnswer with one JSON value and nothing else, no fence around it. It must fit this JSON Schema:\n",
            );
            system.push_str(&output.value().to_string());
        }
        let mut asked = format!("Input:\n{input}");
        if let Some(entity) = entity {
            let about = json!({ "type": entity.kind, "id": entity.id });
            asked.push_str(&format!("\n\nIt is about:\n{about}"));
        }
        Prompt {
            model,
            system: Some(system),
            messages: vec![PromptMessage::User(vec![UserContent::Text(asked)])],
            tools: Vec::new(),
            thinking: ThinkingLevel::Off,
            max_tokens: None,
            temperature: None,
            request_id,
        }
    }

    /// The answer as the skill promises it.
    ///
    /// # Errors
    /// A sentence: it does not fit the schema.
    pub fn output(&self, text: &str) -> Result<Value, String> {
        let Some(schema) = &self.output else { return Ok(Value::from(text)) };
        let value: Value = serde_json::from_str(bare(text)).map_err(|_| "the model's answer is not JSON".to_owned())?;
        schema.judge("output", &value).map_err(|why| format!("the model's answer does not fit: {why}"))?;
        Ok(value)
    }
}

/// The text without the fence that models like to put around JSON.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else { return text };
    inner.split_once('\n').map_or(inner, |(_, inner)| inner).trim()
}

/// What came of a skill.
#[derive(Debug, Clone, PartialEq)]
pub struct SkillResult {
    pub skill: String,
    /// A text, or what the skill's output schema says.
    pub output: Value,
    pub usage: Usage,
    pub provider: String,
    pub model: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skill(output: Option<Value>) -> Skill {
        Skill {
            id: "count".into(),
            name: "count".into(),
            description: "Counts.".into(),
            scope: "global".into(),
            permissions: vec!["notes:read".into()],
            agent: None,
            input: Schema::of_object(json!({"type": "object"})).expect("a schema"),
            output: output.map(|schema| Schema::new(schema).expect("a schema")),
            instructions: "Count the words.".into(),
        }
    }

    #[test]
    fn a_typed_answer_is_held_to_its_schema_and_freed_of_its_fence() {
        let typed = skill(Some(json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})));
        for text in ["{\"n\":3}", " {\"n\": 3}\n", "```json\n{\"n\":3}\n```", "```\n{\"n\":3}```", "```{\"n\":3}```"] {
            assert_eq!(typed.output(text), Ok(json!({"n": 3})), "{text}");
        }
        for text in ["", "three", "{\"n\":\"3\"}", "{}", "```{}```"] {
            assert!(typed.output(text).is_err(), "{text}");
        }
        assert_eq!(skill(None).output("```\nx\n```"), Ok(json!("```\nx\n```")));
    }

    #[test]
    fn the_prompt_holds_instructions_input_and_entity_apart() {
        let entity = Entity { kind: "note".into(), id: "7".into() };
        let prompt = skill(None).prompt(&json!({"text": "a b"}), Some(&entity), "m".into(), "r".into());
        assert_eq!(prompt.system.as_deref(), Some("Count the words."));
        let text = "Input:\n{\"text\":\"a b\"}\n\nIt is about:\n{\"id\":\"7\",\"type\":\"note\"}";
        assert_eq!(prompt.messages, [PromptMessage::User(vec![UserContent::Text(text.into())])]);
        assert!(skill(Some(json!(true))).prompt(&json!({}), None, "m".into(), "r".into()).system.is_some_and(
            |system| {
                system.starts_with("Count the words.\n\nAnswer with one JSON value") && system.ends_with("\ntrue")
            }
        ));
    }
}
