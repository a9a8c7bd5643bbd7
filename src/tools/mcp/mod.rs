//! Tools of MCP servers: programs that the hub starts, and servers that it reaches over HTTP.
//!
//! One connection to each server for the whole process, kept up by a task of its own; what a server offers is called
//! `SERVER__tool`. What a server says of its tools is believed by nobody: they are asked about like all others.

mod keeper;
mod process;
mod server;
mod tool;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::server::Server;
use super::{Alive, Tool, ToolSource};
use crate::domain::ids::OrganizationId;

/// Between a server's name and a tool's.
pub const BETWEEN: &str = "__";

/// How one server is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// A program of its own process group that speaks over its standard input and output.
    Program {
        program: String,
        arguments: Vec<String>,
        directory: PathBuf,
        /// All of its environment.
        environment: Vec<(String, SecretString)>,
        /// The program and all that it started are ended where a call is aborted; the next call finds a new one.
        kill_on_abort: bool,
    },
    /// Streamable HTTP.
    Http { url: String, bearer: Option<SecretString> },
}

/// One server, as the configuration has it.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub name: String,
    pub reach: Reach,
    /// Those whose agents may use it; empty: all.
    pub organizations: Vec<OrganizationId>,
    /// To connect and to list its tools, and for a call to wait for a connection.
    pub connect_time: Duration,
}

/// What a server says that it can do.
#[derive(Debug, Clone, PartialEq)]
struct Offered {
    /// Within its server.
    name: String,
    /// `SERVER__tool`.
    full_name: String,
    description: String,
    schema: Value,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    text: String,
    is_error: bool,
}

/// Why there is no answer, in a sentence for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// The server would not, or could not.
    Refused(String),
    /// The connection is of no use any more.
    Broken(String),
}

impl Fault {
    fn sentence(self) -> String {
        match self {
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }
}

/// What a server lists: name, description and schema of each tool.
type Listed = Vec<(String, String, Value)>;

/// A connection, whatever it is made of.
trait Link: Send + Sync {
    /// Every tool, by the names that the server gives them.
    fn list(&self) -> BoxFuture<'static, Result<Listed, Fault>>;

    /// Calls a tool. Dropping the future tells the server that nobody wants the answer any more.
    fn call(
        &self,
        tool: String,
        arguments: Map<String, Value>,
        alive: Alive,
    ) -> BoxFuture<'static, Result<Answer, Fault>>;

    /// Waits until the server says that its tools are others.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Waits until the connection is gone.
    fn closed(&self) -> BoxFuture<'static, ()>;

    /// Ends it at once, and what it is made of: a program with all that it has started.
    fn end(&self);
}

/// All servers of the configuration.
pub struct Servers {
    servers: BTreeMap<String, Arc<Server>>,
    stop: CancellationToken,
    keepers: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Servers {
    /// Starts to connect to all of them. To be called within a runtime, on which the connections then live.
    pub fn start(settings: Vec<ServerSettings>) -> Arc<Self> {
        let stop = CancellationToken::new();
        let servers: BTreeMap<String, Arc<Server>> =
            settings.into_iter().map(|one| (one.name.clone(), Arc::new(Server::new(one)))).collect();
        let keep = |server: &Arc<Server>| tokio::spawn(keeper::keep(server.clone(), stop.clone()));
        let keepers = std::sync::Mutex::new(servers.values().map(keep).collect());
        Arc::new(Self { servers, stop, keepers })
    }

    /// Ends all connections and programs; done when they are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        let keepers = std::mem::take(&mut *self.keepers.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        join_all(keepers).await;
    }
}

/// The servers' tools, as a worker sees them.
pub struct Source(pub Arc<Servers>);

impl ToolSource for Source {
    fn tools(&self) -> Vec<Rc<dyn Tool>> {
        let of = |server: &Arc<Server>| {
            let offered = server.offered();
            let tools: Vec<Rc<dyn Tool>> =
                offered.iter().map(|one| tool::McpTool::shared(server.clone(), one.clone())).collect();
            tools
        };
        self.0.servers.values().flat_map(of).collect()
    }

    fn get(&self, name: &str) -> Option<Rc<dyn Tool>> {
        let (server, _) = name.split_once(BETWEEN)?;
        let server = self.0.servers.get(server)?;
        let offered = server.offered();
        let one = offered.iter().find(|one| one.full_name == name)?;
        Some(tool::McpTool::shared(server.clone(), one.clone()))
    }

    fn expected(&self, name: &str) -> Option<Rc<dyn Tool>> {
        let (server, tool) = name.split_once(BETWEEN)?;
        let server = self.0.servers.get(server)?;
        let unknown = Offered {
            name: tool.to_owned(),
            full_name: name.to_owned(),
            description: String::new(),
            schema: Value::Object(Map::new()),
        };
        Some(tool::McpTool::shared(server.clone(), unknown))
    }
}
