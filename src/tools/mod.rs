//! What an agent may call: one trait, one table, a file a tool.
//!
//! A tool checks its input, says what it would do and what the danger is, and does it. Whether it may is the hub's
//! decision: policies and approvals are not its business.

mod address;
pub mod http_call;
pub mod http_fetch;
pub mod http_tool;
mod input;
mod outward;
pub mod template;
pub mod time;
pub mod todo_write;

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use self::http_fetch::HttpFetchSettings;
use crate::domain::generation::ToolSpec;
use crate::domain::ids::{ConversationId, OrganizationId, Timestamp, UserId};
use crate::domain::settings::Todo;
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;

/// A thing that an agent can do.
pub trait Tool {
    /// Name, description and schema, as the model sees them.
    fn spec(&self) -> ToolSpec;

    /// What holds where the configuration says nothing.
    fn default_policy(&self) -> ToolPolicy;

    /// Whether it may run beside other calls of the same message.
    fn concurrent(&self) -> bool;

    /// One line about what this call would do, for whoever is asked to approve it. The input may be anything.
    fn summary(&self, input: &Value) -> String;

    /// What may go wrong, one line each.
    fn risks(&self, input: &Value) -> Vec<String>;

    /// Whether a human is asked about each call, whatever policies say.
    fn asks_always(&self) -> bool {
        false
    }

    /// What it would do, where that takes a look outside: shown to the human who is asked. Without it the summary is.
    fn preview(
        &self,
        _input: &Value,
        _context: ToolContext,
    ) -> Option<LocalBoxFuture<'static, Result<String, String>>> {
        None
    }

    /// Whether the input is as the schema wants it; if not, a sentence that names the field.
    fn check(&self, input: &Value) -> Result<(), String>;

    /// Does it. A wrong input, a failure and a cancellation are outcomes too. Dropping the future stops it.
    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome>;
}

/// For whom and when a tool runs.
#[derive(Debug, Clone)]
pub struct ToolContext {
    pub now: Timestamp,
    /// The correlation id of the turn.
    pub request_id: String,
    pub organization: OrganizationId,
    pub user: UserId,
    /// The conversation whose agent calls.
    pub conversation: ConversationId,
    /// Fires when the call is aborted.
    pub cancel: CancellationToken,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutcome {
    /// What the model gets to read.
    pub output: String,
    pub is_error: bool,
    /// The conversation's new list of todos, where the tool writes one.
    pub todos: Option<Vec<Todo>>,
}

impl ToolOutcome {
    pub fn done(output: impl Into<String>) -> Self {
        Self { output: output.into(), is_error: false, todos: None }
    }

    pub fn failed(output: impl Into<String>) -> Self {
        Self { output: output.into(), is_error: true, todos: None }
    }
}

/// What the built-in tools need.
#[derive(Clone)]
pub struct ToolSettings {
    pub http_fetch: HttpFetchSettings,
    /// TLS as the hub speaks it outwards.
    pub tls: Arc<rustls::ClientConfig>,
}

type Build = fn(&ToolSettings) -> Result<Rc<dyn Tool>, Fault>;

/// The table of built-in tools: one line each.
pub const TABLE: [(&str, Build); 3] = [
    ("time", |_| Ok(Rc::new(time::Time))),
    ("todo_write", |_| Ok(Rc::new(todo_write::TodoWrite))),
    ("http_fetch", |settings| Ok(Rc::new(http_fetch::HttpFetch::new(&settings.http_fetch, settings.tls.clone())?))),
];

/// The tools of one worker, by name.
#[derive(Clone, Default)]
pub struct Tools {
    list: Vec<(String, Rc<dyn Tool>)>,
}

impl Tools {
    /// All tools of the [`TABLE`].
    pub fn build(settings: &ToolSettings) -> Result<Self, Fault> {
        let mut tools = Self::default();
        for (name, build) in TABLE {
            let tool = build(settings).map_err(|mut fault| {
                fault.message = format!("tools.{name}.{}", fault.message);
                fault
            })?;
            tools.add(tool)?;
        }
        Ok(tools)
    }

    /// Adds a tool that comes from elsewhere. Fails where the name is taken.
    pub fn add(&mut self, tool: Rc<dyn Tool>) -> Result<(), Fault> {
        let name = tool.spec().name;
        if self.get(&name).is_some() {
            return Err(Fault::field("tools", format!("{name} is there twice")));
        }
        self.list.push((name, tool));
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<Rc<dyn Tool>> {
        self.list.iter().find(|(n, _)| n == name).map(|(_, tool)| tool.clone())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rc<dyn Tool>)> {
        self.list.iter().map(|(name, tool)| (name.as_str(), tool))
    }

    /// What a model is told of these tools; names without a tool are passed over.
    pub fn specs<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<ToolSpec> {
        names.filter_map(|name| self.get(name)).map(|tool| tool.spec()).collect()
    }
}
