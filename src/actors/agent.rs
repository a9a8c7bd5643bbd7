//! The agent session: drives one provider stream and the tools of one conversation.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::persona::{Known, Persona};
use super::spending::{Heard, Till};
use super::with_kit;
use crate::domain::conversation::{Refused, Run, Summary, ToolReport};
use crate::domain::generation::{Prompt, ProviderFault, ProviderFaultKind, StopReason, StreamEvent};
use crate::domain::ids::{PartId, Source, SystemSource, Timestamp};
use crate::domain::tool_policy::cut;
use crate::providers::EventStream;
use crate::telemetry;
use crate::tools::ToolContext;

/// Events that are ready at once travel together, up to this many.
const BATCH: usize = 64;

/// How long a provider may take to end its stream after the answer is whole.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The calls of a step: the tool and its input.
type Calls = RefCell<Vec<(String, Value)>>;

/// What calls of a step would do, where that took a look outside: the tool, its input, and what was seen.
pub type Previews = Vec<(String, Value, Result<String, String>)>;

/// What an agent session tells its conversation.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Report {
    Said {
        run: Run,
        events: Vec<StreamEvent>,
    },
    StepEnded {
        run: Run,
        end: Result<StopReason, ProviderFault>,
        previews: Previews,
    },
    /// The request was not made.
    Refused {
        run: Run,
        refused: Refused,
    },
    /// A summary, whole.
    Summarized {
        run: Run,
        summary: Summary,
    },
    /// The request was cancelled, and its connection is closed.
    UpstreamClosed {
        run: Run,
        at: Timestamp,
    },
    ToolDone {
        call: PartId,
        report: ToolReport,
    },
}

/// Ask the model.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Generate {
    pub run: Run,
    pub provider: String,
    pub prompt: Prompt,
    /// Where budgets apply.
    pub till: Option<Till>,
    /// For a look at what its calls would do.
    pub about: ToolContext,
    /// Fired by the conversation: the upstream is closed at once.
    pub cancel: CancellationToken,
    /// It is for the hub's own use: reported once, when it is whole.
    pub summary: bool,
    /// Who speaks, where its prompt has variables.
    pub persona: Option<Persona>,
}

/// What a tool may take.
#[derive(Debug, Clone, Copy)]
pub struct ToolLimits {
    /// Without a sign of life. A tool that gives some gets ten times as long in all.
    pub silence: Duration,
    /// Of its output.
    pub output_bytes: usize,
}

/// How many times its time a tool may take that shows that it is at work.
const PATIENCE: u32 = 10;

/// Run a tool.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RunTool {
    pub call: PartId,
    pub tool: String,
    pub input: serde_json::Value,
    pub context: ToolContext,
    pub limits: ToolLimits,
}

/// End all tools that run.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CancelTools;

pub struct AgentSession {
    conversation: Recipient<Report>,
    running: HashMap<PartId, CancellationToken>,
    upstream: Option<CancellationToken>,
    /// What was asked about the entity, for the newest turn.
    known: Known,
}

impl AgentSession {
    pub fn new(conversation: Recipient<Report>) -> Self {
        Self { conversation, running: HashMap::new(), upstream: None, known: Known::default() }
    }
}

impl Actor for AgentSession {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(upstream) = self.upstream.take() {
            upstream.cancel();
        }
        for (_, tool) in self.running.drain() {
            tool.cancel();
        }
    }
}

fn internal(message: &str) -> ProviderFault {
    ProviderFault { kind: ProviderFaultKind::Server, message: message.into(), status: None }
}

impl Handler<Generate> for AgentSession {
    type Result = ();

    fn handle(&mut self, ask: Generate, _: &mut Self::Context) {
        let conversation = self.conversation.clone();
        let Generate { run, provider, mut prompt, till, about, cancel, summary, persona } = ask;
        let known = self.known.clone();
        self.upstream = Some(cancel.clone());
        actix_rt::spawn(async move {
            let found = with_kit(|kit| kit.providers.get(&provider)).flatten();
            if let Some(persona) = persona {
                let filled = tokio::select! {
                    biased;
                    () = cancel.cancelled() => None,
                    filled = persona.fill(&prompt, &known) => Some(filled),
                };
                let Some(filled) = filled else {
                    let closed = Report::UpstreamClosed { run, at: SystemSource.now() };
                    let _ = conversation.send(closed).await;
                    return;
                };
                prompt.system = filled;
            }
            let mut held = None;
            if let (Some(till), Some(provider)) = (till, &found) {
                // Not cut off by a stop: what is held would never be settled.
                match till.hold(&**provider, &mut prompt).await {
                    Ok(hold) => held = Some(hold),
                    Err(refused) => {
                        let report = match summary {
                            true => Report::Summarized { run, summary: Err(refused.why) },
                            false => Report::Refused { run, refused },
                        };
                        let _ = conversation.send(report).await;
                        return;
                    }
                }
            }
            let name = provider.clone();
            let text = Rc::new(RefCell::new(String::new()));
            let said = match summary {
                true => Ear::Summary(text.clone()),
                false => Ear::Conversation(conversation.clone()),
            };
            let heard = Rc::new(Cell::new(Heard::default()));
            let ear = heard.clone();
            let asked: Rc<Calls> = Rc::default();
            let generation = async move {
                let Some(provider) = found else {
                    return Err(internal(&format!("no provider is named {name}")));
                };
                let begun = Instant::now();
                let stream = provider.stream(prompt).await?;
                let seconds = begun.elapsed().as_secs_f64();
                metrics::histogram!(telemetry::FIRST_TOKEN_SECONDS, "provider" => name).record(seconds);
                let reason = relay(run, stream, &said, (&ear, &asked)).await?;
                let asked = asked.take();
                Ok((reason, preview(asked, &about).await))
            };
            // A provider that panics ends its step, not the hub.
            let generation = AssertUnwindSafe(generation).catch_unwind();
            let end = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                end = generation => Some(end.unwrap_or_else(|_| Err(internal("the provider's client panicked")))),
            };
            let outcome = match &end {
                None => "cancelled",
                Some(Ok(_)) => "completed",
                Some(Err(fault)) => fault.kind.name(),
            };
            metrics::counter!(telemetry::PROVIDER_REQUESTS, "provider" => provider, "outcome" => outcome).increment(1);
            // The stream is dropped by now, and with it the connection.
            if let Some(held) = held {
                let heard = heard.get();
                held.settle(&heard, matches!(end, Some(Ok(_))), end.is_none() || heard.bytes > 0);
            }
            let report = match end {
                None => Report::UpstreamClosed { run, at: SystemSource.now() },
                Some(end) if summary => {
                    let usage = heard.get().usage.unwrap_or_default();
                    let summary = end.map(|_| (text.take(), usage)).map_err(|fault| fault.message);
                    Report::Summarized { run, summary }
                }
                Some(Ok((reason, previews))) => Report::StepEnded { run, end: Ok(reason), previews },
                Some(Err(fault)) => Report::StepEnded { run, end: Err(fault), previews: Vec::new() },
            };
            let _ = conversation.send(report).await;
        });
    }
}

/// Hands on what the model says. One batch is under way at a time: a conversation that waits for its disk slows the
/// model's socket down, and nothing piles up.
async fn relay(
    run: Run,
    stream: EventStream,
    said: &Ear,
    (heard, asked): (&Cell<Heard>, &Calls),
) -> Result<StopReason, ProviderFault> {
    let mut chunks = stream.ready_chunks(BATCH);
    let mut reason = None;
    while let Some(chunk) = chunks.next().await {
        let mut events: Vec<StreamEvent> = Vec::with_capacity(chunk.len());
        let mut fault = None;
        for event in chunk {
            match event {
                Ok(StreamEvent::Ended(end)) => reason = Some(end),
                Ok(event) => {
                    heard.set(heard.get().and(&event));
                    if let StreamEvent::ToolCall { name, input, .. } = &event {
                        asked.borrow_mut().push((name.clone(), input.clone()));
                    }
                    join(&mut events, event);
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        said.hear(run, events).await?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if let Some(reason) = reason {
            // The answer is whole. What is left on the wire is read aside, so that its connection can be used again.
            let rest = async move { while chunks.next().await.is_some() {} };
            actix_rt::spawn(actix_rt::time::timeout(AFTERMATH, rest));
            return Ok(reason);
        }
    }
    Err(internal("the provider's stream ended without a reason"))
}

/// Looks at what calls would do that are to be shown to a human, all at once.
async fn preview(asked: Vec<(String, Value)>, about: &ToolContext) -> Previews {
    let look = |(tool, input): (String, Value)| {
        let found = with_kit(|kit| kit.tools.get(&tool)).flatten()?;
        let seen = found.preview(&input, about.clone())?;
        Some(async move { (tool, input, seen.await) })
    };
    futures_util::future::join_all(asked.into_iter().filter_map(look)).await
}

/// Who hears what a model says.
enum Ear {
    Conversation(Recipient<Report>),
    /// Kept until it is whole.
    Summary(Rc<RefCell<String>>),
}

impl Ear {
    async fn hear(&self, run: Run, events: Vec<StreamEvent>) -> Result<(), ProviderFault> {
        match self {
            _ if events.is_empty() => Ok(()),
            Self::Conversation(conversation) => {
                let heard = conversation.send(Report::Said { run, events }).await;
                heard.map_err(|_| internal("the conversation is gone"))
            }
            Self::Summary(text) => {
                let mut text = text.borrow_mut();
                events.iter().for_each(|event| {
                    if let StreamEvent::Text(more) = event {
                        text.push_str(more);
                    }
                });
                Ok(())
            }
        }
    }
}

/// Text that came in one read is one delta.
fn join(events: &mut Vec<StreamEvent>, event: StreamEvent) {
    match (events.last_mut(), event) {
        (Some(StreamEvent::Text(before)), StreamEvent::Text(more)) => before.push_str(&more),
        (Some(StreamEvent::Thinking(before)), StreamEvent::Thinking(more)) => before.push_str(&more),
        (_, event) => events.push(event),
    }
}

impl Handler<RunTool> for AgentSession {
    type Result = ();

    fn handle(&mut self, run: RunTool, context: &mut Self::Context) {
        let RunTool { call, tool, input, context: about, limits } = run;
        let cancel = about.cancel.clone();
        self.running.insert(call, cancel.clone());
        let found = with_kit(|kit| kit.tools.to_run(&tool)).flatten();
        let work = async move {
            let failed = |output: String| ToolReport { output, is_error: true, todos: None };
            let Some(found) = found else { return failed(format!("no such tool: {tool}")) };
            let alive = about.alive.clone();
            let work = AssertUnwindSafe(found.run(input, about)).catch_unwind();
            tokio::select! {
                biased;
                () = cancel.cancelled() => failed("cancelled".into()),
                outcome = work => match outcome {
                    Ok(o) => {
                        let output = cut(o.output, limits.output_bytes);
                        ToolReport { output, is_error: o.is_error, todos: o.todos }
                    }
                    Err(_) => failed("the tool panicked".into()),
                },
                why = alive.ends(limits.silence, PATIENCE) => {
                    cancel.cancel();
                    failed(why)
                }
            }
        };
        let task = work.into_actor(self).map(move |report, actor, _| {
            actor.running.remove(&call);
            actor.conversation.do_send(Report::ToolDone { call, report });
        });
        context.spawn(task);
    }
}

impl Handler<CancelTools> for AgentSession {
    type Result = ();

    fn handle(&mut self, _: CancelTools, _: &mut Self::Context) {
        for tool in self.running.values() {
            tool.cancel();
        }
    }
}
