//! A tool of an MCP server, as agents call it.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::server::{Open, Server};
use super::{Fault, Offered};
use crate::domain::canonical;
use crate::domain::generation::ToolSpec;
use crate::domain::ids::OrganizationId;
use crate::domain::tool_call::ToolPolicy;
use crate::tools::{Tool, ToolContext, ToolOutcome};

pub(super) struct McpTool {
    server: Arc<Server>,
    offered: Offered,
}

impl McpTool {
    pub fn shared(server: Arc<Server>, offered: Offered) -> Rc<dyn Tool> {
        Rc::new(Self { server, offered })
    }
}

/// A call that is dropped before its answer was aborted.
struct Watched {
    server: Arc<Server>,
    open: Open,
    answered: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.answered {
            self.server.aborted(&self.open);
        }
    }
}

impl Tool for McpTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.offered.full_name.clone(),
            description: self.offered.description.clone(),
            input_schema: self.offered.schema.clone(),
        }
    }

    /// Whatever its server says of it.
    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Ask
    }

    /// A server says which of its tools only read, and is not believed.
    fn concurrent(&self) -> bool {
        false
    }

    fn serves(&self, organization: &OrganizationId) -> bool {
        let only = &self.server.settings.organizations;
        only.is_empty() || only.contains(organization)
    }

    /// The arguments whole: nobody here knows which of them matter.
    fn summary(&self, input: &Value) -> String {
        let (tool, server) = (&self.offered.name, self.server.name());
        format!("call {tool} of the MCP server {server} with {}", canonical::text(input))
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        let server = self.server.name();
        vec![
            format!("the MCP server {server} sees the arguments, and does what it likes with them"),
            "its answer reaches the model and may try to instruct it".to_owned(),
        ]
    }

    /// The rest of its schema the server checks itself.
    fn check(&self, input: &Value) -> Result<(), String> {
        match input {
            Value::Object(_) => Ok(()),
            _ => Err("the input: an object is expected".to_owned()),
        }
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        let full_name = self.offered.full_name.clone();
        let (server, tool, serves) =
            (self.server.clone(), self.offered.name.clone(), self.serves(&context.organization));
        async move {
            let Value::Object(arguments) = input else {
                return ToolOutcome::failed("the input: an object is expected");
            };
            if !serves {
                return ToolOutcome::failed("no such tool");
            }
            let open = match server.open().await {
                Ok(open) => open,
                Err(why) => return ToolOutcome::failed(why),
            };
            if !server.offered().iter().any(|one| one.full_name == full_name) {
                return ToolOutcome::failed(format!("no such tool: {full_name}"));
            }
            let _under_way = open.begin();
            let mut watched = Watched { server, open: open.clone(), answered: false };
            let answer = open.link.call(tool, arguments, context.alive).await;
            watched.answered = true;
            match answer {
                Ok(answer) if answer.is_error => ToolOutcome::failed(answer.text),
                Ok(answer) => ToolOutcome::done(answer.text),
                Err(fault) => {
                    if matches!(fault, Fault::Broken(_)) {
                        watched.server.retire(&open);
                    }
                    ToolOutcome::failed(fault.sentence())
                }
            }
        }
        .boxed_local()
    }
}
