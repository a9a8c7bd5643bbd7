//! Tools and actions that are somebody's endpoint, and the folder of skills, as they are written down.

use std::time::Duration;

use serde::Deserialize;

use super::checks::{is_name, refuse};
use super::policies::policy;
use super::{Config, ConfigError, Tool};
use crate::domain::action::{self, Action as Rule, Backend};
use crate::domain::schema;
use crate::domain::skill;
use crate::domain::tool_call::ToolPolicy;

/// The tool and the action in the defaults, which others take from what they leave out. Each counts once it has an
/// address.
pub(super) const TEMPLATE: &str = "example";

/// The tools that are there without being described.
pub(super) const BUILT_IN: [&str; 3] = ["todo_write", "time", "http_fetch"];

/// A request with places for values.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<String>,
    pub body: String,
    /// `json`, `form` or `text`
    pub body_kind: String,
}

/// Something that can be done, seen before and undone.
#[derive(Debug, Clone, Deserialize)]
pub struct Action {
    /// `http` or `builtin`
    pub kind: String,
    pub name: String,
    pub description: String,
    pub category: String,
    /// JSON text.
    pub input_schema: String,
    #[serde(default)]
    pub permissions: Vec<String>,
    pub entity_types: Vec<String>,
    pub requires_preview: bool,
    #[serde(deserialize_with = "policy")]
    pub policy: ToolPolicy,
    pub undo_seconds: u64,
    #[serde(default)]
    pub allow_private: Vec<String>,
    #[serde(default)]
    pub time_seconds: u64,
    #[serde(default)]
    pub max_bytes: usize,
    #[serde(default)]
    pub execute: Request,
    #[serde(default)]
    pub preview: Request,
    #[serde(default)]
    pub undo: Request,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Skills {
    /// Empty: `skills` in the data folder.
    pub folder: String,
    pub time_seconds: u64,
}

impl Action {
    pub(super) fn is_template(&self) -> bool {
        self.kind == "http" && self.execute.url.is_empty()
    }

    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_seconds)
    }

    fn rule(&self, id: &str) -> Result<Rule, ConfigError> {
        let key = |key: &str| format!("actions.{id}.{key}");
        if !is_name(id) || id.len() > 64 - action::TOOL.len() {
            return refuse(format!("actions.{id}: a name is 1 to 57 letters, digits, _ and -"));
        }
        let backend = match self.kind.as_str() {
            "http" => Backend::Http,
            "builtin" => match Backend::BUILT_IN.iter().find(|(name, _)| *name == id) {
                Some((_, backend)) => *backend,
                None => return refuse(format!("{}: the hub has no action {id} of its own", key("kind"))),
            },
            other => return refuse(format!("{}: {other:?} is not one of http, builtin", key("kind"))),
        };
        if backend == Backend::Http && self.execute.url.is_empty() {
            return refuse(format!("{} must be set: it is where the action is done", key("execute.url")));
        }
        let undoes = backend != Backend::Http || !self.undo.url.is_empty();
        if undoes != (self.undo_seconds > 0) {
            return refuse(format!(
                "{} and {} belong together: set both or none",
                key("undo.url"),
                key("undo_seconds")
            ));
        }
        if self.policy == ToolPolicy::Allow && (self.requires_preview || !self.permissions.is_empty()) {
            return refuse(format!(
                "{}: \"allow\" would let agents do unseen what needs a preview or permissions: use ask or deny",
                key("policy")
            ));
        }
        for (field, list) in [("permissions", &self.permissions), ("entity_types", &self.entity_types)] {
            let fits = |word: &String| (1..=200).contains(&word.len()) && !word.chars().any(char::is_control);
            if let Some(word) = list.iter().find(|word| !fits(word)) {
                return refuse(format!("{}: {word:?} is not 1 to 200 bytes of printable text", key(field)));
            }
        }
        let input = schema::read(&key("input_schema"), &self.input_schema);
        Ok(Rule {
            id: id.to_owned(),
            name: if self.name.is_empty() { id.to_owned() } else { self.name.clone() },
            description: self.description.clone(),
            category: self.category.clone(),
            input: input.map_err(|fault| ConfigError(fault.message))?,
            permissions: self.permissions.clone(),
            entity_types: self.entity_types.clone(),
            requires_preview: self.requires_preview,
            policy: self.policy,
            undo_for: undoes.then_some(i64::try_from(self.undo_seconds).unwrap_or(i64::MAX / 1000) * 1000),
            backend,
        })
    }
}

impl Tool {
    pub fn is_http(&self) -> bool {
        self.kind == "http"
    }

    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        match self.kind.as_str() {
            "" if BUILT_IN.contains(&name) || self.request.url.is_empty() => Ok(()),
            "" => refuse(format!("tools.{name}.kind must be \"http\": it has an address")),
            "http" if BUILT_IN.contains(&name) => refuse(format!("tools.{name}: the hub has a tool of that name")),
            "http" if self.request.url.is_empty() => refuse(format!("tools.{name}.request.url must be set")),
            "http" if self.description.is_empty() => {
                refuse(format!("tools.{name}.description must be set: by it a model knows what the tool does"))
            }
            "http" if !is_name(name) || [action::TOOL, skill::TOOL].iter().any(|own| name.starts_with(own)) => {
                refuse(format!(
                    "tools.{name}: a name is 1 to 64 letters, digits, _ and -, and begins with neither {} nor {}",
                    action::TOOL,
                    skill::TOOL
                ))
            }
            "http" => schema::read(&format!("tools.{name}.input_schema"), &self.input_schema)
                .map(drop)
                .map_err(|fault| ConfigError(fault.message)),
            other => refuse(format!("tools.{name}.kind: {other:?} is not \"http\"")),
        }
    }
}

impl Config {
    /// The actions, in the order of their ids.
    ///
    /// # Errors
    /// A sentence that names the setting that cannot be.
    pub fn action_rules(&self) -> Result<Vec<Rule>, ConfigError> {
        self.actions.iter().map(|(id, action)| action.rule(id)).collect()
    }

    pub fn skills_folder(&self) -> std::path::PathBuf {
        match self.skills.folder.as_str() {
            "" => self.server.data.join("skills"),
            folder => folder.into(),
        }
    }

    /// Whether an agent may name it: a tool that is described, an action, or a skill, which may come later.
    pub(super) fn names_a_tool(&self, tool: &str) -> bool {
        let named = |prefix: &str| tool.strip_prefix(prefix);
        self.tools.contains_key(tool)
            || named(action::TOOL).is_some_and(|id| id == "*" || self.actions.contains_key(id))
            || named(skill::TOOL).is_some_and(|id| id == "*" || is_name(id))
    }
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for (name, tool) in &config.tools {
        tool.check(name)?;
    }
    for (key, seconds) in config
        .actions
        .iter()
        .filter(|(_, action)| action.kind == "http")
        .map(|(id, action)| (format!("actions.{id}.time_seconds"), action.time_seconds))
        .chain(
            config
                .tools
                .iter()
                .filter(|(_, t)| t.is_http())
                .map(|(name, tool)| (format!("tools.{name}.time_seconds"), tool.time_seconds)),
        )
        .chain([("skills.time_seconds".to_owned(), config.skills.time_seconds)])
    {
        if !(1..=3600).contains(&seconds) {
            return refuse(format!("{key}: {seconds} is not between 1 and 3600"));
        }
    }
    config.action_rules().map(drop)
}
