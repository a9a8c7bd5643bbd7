//! `todo_write`: replaces the conversation's list of todos.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::input::Input;
use super::{Tool, ToolContext, ToolOutcome};
use crate::domain::generation::ToolSpec;
use crate::domain::settings::{Todo, TodoState};
use crate::domain::tool_call::ToolPolicy;
use crate::domain::tool_policy::Remembers;

/// Entries of a list.
const MOST: usize = 100;
/// Characters of one entry, and of an id.
const LONGEST: usize = 500;
const LONGEST_ID: usize = 64;

pub struct TodoWrite;

fn states() -> [&'static str; 4] {
    TodoState::ALL.map(TodoState::name)
}

/// Entries without an id get their position, from 1.
fn todos(input: &Value) -> Result<Vec<Todo>, String> {
    let input = Input::of(input, "", &["todos"])?;
    let items = input.list("todos")?;
    if items.len() > MOST {
        return Err(input.fault("todos", format_args!("at most {MOST} entries, not {}", items.len())));
    }
    let mut list: Vec<Todo> = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let entry = todo(item, position)?;
        if list.iter().any(|other| other.id == entry.id) {
            return Err(format!("todos[{position}].id: {} is there twice", entry.id));
        }
        list.push(entry);
    }
    Ok(list)
}

fn todo(item: &Value, position: usize) -> Result<Todo, String> {
    let item = Input::of(item, &format!("todos[{position}]."), &["id", "content", "status"])?;
    let bounded = |name: &str, text: &str, most: usize| match text.chars().count() {
        0 => Err(item.fault(name, "must not be empty")),
        length if length > most => Err(item.fault(name, format_args!("at most {most} characters, not {length}"))),
        _ => Ok(text.to_owned()),
    };
    let content = bounded("content", item.text("content")?.trim(), LONGEST)?;
    let id = match item.optional_text("id")? {
        Some(id) => bounded("id", id, LONGEST_ID)?,
        None => (position + 1).to_string(),
    };
    let state = TodoState::parse(item.text("status")?)
        .ok_or_else(|| item.fault("status", format_args!("expected is one of {}", states().join(", "))))?;
    Ok(Todo { id, content, state })
}

impl Tool for TodoWrite {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "todo_write".to_owned(),
            description:
                "Replaces the conversation's list of todos, which the user sees. Send the whole list each time."
                    .to_owned(),
            input_schema: json!({
                "type": "object",
                "required": ["todos"],
                "properties": {
                    "todos": {
                        "type": "array",
                        "maxItems": MOST,
                        "items": {
                            "type": "object",
                            "required": ["content", "status"],
                            "properties": {
                                "id": { "type": "string", "minLength": 1, "maxLength": LONGEST_ID },
                                "content": { "type": "string", "minLength": 1, "maxLength": LONGEST },
                                "status": { "type": "string", "enum": states() },
                            },
                            "additionalProperties": false,
                        },
                    },
                },
                "additionalProperties": false,
            }),
        }
    }

    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Allow
    }

    /// Two lists at once would leave open which one stays.
    fn concurrent(&self) -> bool {
        false
    }

    fn remembers(&self) -> Remembers {
        Remembers::Tool
    }

    fn summary(&self, input: &Value) -> String {
        let count = input.get("todos").and_then(Value::as_array).map_or(0, Vec::len);
        format!("write a list of {count} todos")
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        Vec::new()
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        todos(input).map(|_| ())
    }

    fn run(&self, input: Value, _context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        async move {
            let todos = match todos(&input) {
                Ok(todos) => todos,
                Err(why) => return ToolOutcome::failed(why),
            };
            let count = |state: TodoState| todos.iter().filter(|t| t.state == state).count();
            let counts: Vec<String> =
                TodoState::ALL.into_iter().map(|state| format!("{} {}", count(state), state.name())).collect();
            let output = format!("the list has {} todos: {}", todos.len(), counts.join(", "));
            ToolOutcome { output, is_error: false, todos: Some(todos) }
        }
        .boxed_local()
    }
}
