//! A tool that is somebody's endpoint: its schema and its request stand in the configuration.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::http_call::{CallSettings, HttpCall};
use super::template::Secrets;
use super::{Tool, ToolContext, ToolOutcome};
use crate::domain::generation::ToolSpec;
use crate::domain::schema::{self, Schema};
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;

/// A tool as it is written down.
#[derive(Debug, Clone)]
pub struct HttpToolSettings {
    pub name: String,
    pub description: String,
    /// JSON text.
    pub input_schema: String,
    pub request: CallSettings,
}

pub struct HttpTool {
    name: String,
    description: String,
    input: Schema,
    call: HttpCall,
}

impl HttpTool {
    /// # Errors
    /// `bad_request` with the setting that cannot be.
    pub fn new(
        settings: &HttpToolSettings,
        secrets: Secrets<'_>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Fault> {
        let key = |field: &str| format!("tools.{}.{field}", settings.name);
        Ok(Self {
            name: settings.name.clone(),
            description: settings.description.clone(),
            input: schema::read(&key("input_schema"), &settings.input_schema)?,
            call: HttpCall::new(&key("request"), &settings.request, secrets, tls)?,
        })
    }

    pub fn boxed(self) -> Rc<dyn Tool> {
        Rc::new(self)
    }
}

fn scope(input: &Value, context: Option<&ToolContext>) -> Value {
    json!({
        "input": input,
        "user": context.map(|context| context.user.as_str()),
        "organization": context.map(|context| context.organization.as_str()),
    })
}

impl Tool for HttpTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            input_schema: self.input.value().clone(),
        }
    }

    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Ask
    }

    fn concurrent(&self) -> bool {
        self.call.reads_only()
    }

    fn summary(&self, input: &Value) -> String {
        match self.call.shown(&scope(input, None)) {
            Ok(request) => {
                let part = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
                format!("{}: {} {}", self.name, part("method"), part("url"))
            }
            Err(_) => format!("call {}", self.name),
        }
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        let mut risks = vec!["the input leaves the hub".to_owned()];
        if !self.call.reads_only() {
            risks.push("it may change something outside the hub".to_owned());
        }
        risks
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        self.input.judge("input", input)?;
        self.call.request(&scope(input, None)).map(drop)
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        let call = self.call.clone();
        let request = self.input.judge("input", &input).and_then(|()| call.request(&scope(&input, Some(&context))));
        async move {
            let request = match request {
                Ok(request) => request,
                Err(why) => return ToolOutcome::failed(why),
            };
            let more = [("x-request-id", context.request_id.clone())];
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => ToolOutcome::failed("cancelled"),
                answer = call.send(request, &more) => match answer {
                    Ok(answer) if answer.is_success() => ToolOutcome::done(answer.told()),
                    Ok(answer) => ToolOutcome::failed(answer.told()),
                    Err(fault) => ToolOutcome::failed(fault.into_text()),
                },
            }
        }
        .boxed_local()
    }
}
