//! What an agent may call: one trait, one table, a file a tool.
//!
//! A tool checks its input, says what it would do and what the danger is, and does it. Whether it may is the hub's
//! decision: policies and approvals are not its business.

mod address;
pub mod http_call;
pub mod http_fetch;
pub mod http_tool;
mod input;
pub mod mcp;
mod outward;
pub mod template;
pub mod time;
pub mod todo_write;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::http_fetch::HttpFetchSettings;
use crate::domain::generation::ToolSpec;
use crate::domain::ids::{ConversationId, OrganizationId, Timestamp, UserId};
use crate::domain::settings::Todo;
use crate::domain::tool_call::ToolPolicy;
use crate::domain::tool_policy::Remembers;
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

    /// Which answers of a human about it may be kept for the next time. One whose arguments are a program's never are.
    fn remembers(&self) -> Remembers {
        Remembers::Arguments
    }

    /// Whether it is there for that organization.
    fn serves(&self, _organization: &OrganizationId) -> bool {
        true
    }

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
    /// For tools that take long: a sign now and then, and they may go on.
    pub alive: Alive,
}

/// Signs of life of one call.
#[derive(Debug, Clone, Default)]
pub struct Alive(Arc<Notify>);

impl Alive {
    /// It is at work.
    pub fn sign(&self) {
        self.0.notify_one();
    }

    /// Waits until there was no sign for `silence`, or until `most` times as long is over in all; says which.
    pub async fn ends(&self, silence: Duration, most: u32) -> String {
        let whole = silence.saturating_mul(most);
        let quiet = async { while tokio::time::timeout(silence, self.0.notified()).await.is_ok() {} };
        match tokio::time::timeout(whole, quiet).await {
            Ok(()) => format!("the tool was ended: no sign of life for {} s", silence.as_secs_f64()),
            Err(_) => format!("the tool was ended: it took more than {} s", whole.as_secs_f64()),
        }
    }
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

/// Where tools come from that come and go while the hub runs.
pub trait ToolSource {
    /// Those that are there now, in the order of their names.
    fn tools(&self) -> Vec<Rc<dyn Tool>>;

    fn get(&self, name: &str) -> Option<Rc<dyn Tool>>;

    /// One that will be there, if it is there at all: for a call that was granted before a restart, and comes before its
    /// tool.
    fn expected(&self, name: &str) -> Option<Rc<dyn Tool>>;
}

/// The tools of one worker, by name.
#[derive(Clone, Default)]
pub struct Tools {
    list: Vec<(String, Rc<dyn Tool>)>,
    sources: Vec<Rc<dyn ToolSource>>,
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

    /// Adds tools that come and go. A name that is taken already stays whose it is.
    pub fn add_source(&mut self, source: Rc<dyn ToolSource>) {
        self.sources.push(source);
    }

    pub fn get(&self, name: &str) -> Option<Rc<dyn Tool>> {
        let own = self.list.iter().find(|(n, _)| n == name).map(|(_, tool)| tool.clone());
        own.or_else(|| self.sources.iter().find_map(|source| source.get(name)))
    }

    /// The tool of a call that was judged before.
    pub fn to_run(&self, name: &str) -> Option<Rc<dyn Tool>> {
        self.get(name).or_else(|| self.sources.iter().find_map(|source| source.expected(name)))
    }

    /// All that serve that organization: its own in the order of the table, then what the sources have.
    pub fn all(&self, organization: &OrganizationId) -> Vec<Rc<dyn Tool>> {
        let own = self.list.iter().map(|(_, tool)| tool.clone());
        let from_sources = self.sources.iter().flat_map(|source| source.tools());
        let all = own.chain(from_sources.filter(|tool| self.is_its_own(tool)));
        all.filter(|tool| tool.serves(organization)).collect()
    }

    fn is_its_own(&self, tool: &Rc<dyn Tool>) -> bool {
        let name = tool.spec().name;
        !self.list.iter().any(|(known, _)| *known == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rc<dyn Tool>)> {
        self.list.iter().map(|(name, tool)| (name.as_str(), tool))
    }
}
