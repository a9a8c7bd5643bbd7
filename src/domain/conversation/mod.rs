//! The conversation as a pure machine: inputs in, an [`Outcome`] out. It owns no clock, no socket and no row.
//!
//! A method changes the state in memory at once and says in the outcome what has to be written. Whoever drives the
//! machine commits that before anybody is told; where the commit fails it throws the machine away and loads a new one.
//! Every method that can refuse does so before it changes anything.

mod approvals;
mod choosing;
mod commands;
mod compacting;
mod generating;
mod info;
mod prompt;
mod recovery;
mod snapshot;
mod stopping;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::agent::{AgentProfile, AgentStatus};
use super::approval::Approval;
use super::event::{Event, Growing};
use super::ids::{MessageId, PartId, RuleId, Source, Timestamp, TurnId, UserId};
use super::message::{Message, Part, PartBody};
use super::record::{Fact, Write};
use super::routing::{Routes, Target};
use super::settings::{ConversationState, Settings, Todo};
use super::spending::Refusal;
use super::tool_call::{ToolCallState, ToolPolicy};
use super::tool_policy::Remembers;
use super::turn::{Receipt, Turn, TurnState};
use super::usage::Usage;

pub use commands::{Change as SettingsChange, Send};
pub use compacting::Summary;
pub use snapshot::Snapshot;

/// How many ended turns a conversation remembers.
const ENDED_TURNS: usize = 20;

/// What holds for a conversation from configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    pub agent: Arc<AgentProfile>,
    /// Milliseconds until silence is a denial.
    pub approval_timeout: i64,
    /// Milliseconds after the last client that could answer has left.
    pub approval_grace: i64,
    /// Turns that may wait.
    pub queue_turns: usize,
    /// Requests to the provider within one turn.
    pub steps_per_turn: u16,
    pub routes: Routes,
    /// Tools of one turn that run at the same time.
    pub tools_at_once: usize,
}

/// Whoever waits for an answer; the driver's own number.
pub type Asker = u64;

/// One request to the provider. Whatever comes with another number is stale.
pub type Run = u64;

/// What the driver has to do once the writes are committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the model, with `Conversation::prompt`.
    Generate {
        run: Run,
    },
    /// Ask the model for a summary, with `Conversation::summary_prompt`.
    Summarize {
        run: Run,
    },
    RunTool {
        call: PartId,
        turn: TurnId,
        tool: String,
        input: serde_json::Value,
    },
    /// Answer someone.
    Answer {
        asker: Asker,
        answer: Answer,
    },
    /// Look again then: an approval may be due.
    WakeAt(Timestamp),
}

/// What the driver has to do before the writes are committed: stopping does not wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgent {
    /// Close the upstream request and report with `upstream_closed`.
    CloseUpstream { run: Run },
    /// End the tools that run, whole process groups included.
    CancelTools,
}

/// Answers that come later than the command's own reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Ended {
        turn: TurnId,
        state: TurnState,
        receipt: Option<Receipt>,
        usage: Usage,
    },
    /// The conversation is archived and nothing runs or waits in it any more.
    Archived,
    /// The older part of the context is a summary now; else why not.
    Compacted(Result<(), String>),
    /// There was nothing to stop.
    NothingRan,
}

/// What an input led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be done at once.
    pub urgent: Vec<Urgent>,
    /// To be committed as one batch; empty where nothing durable happened.
    pub writes: Vec<Write>,
    /// To be numbered and sent once `writes` are committed; at once where there are none.
    pub events: Vec<Event>,
    /// To be done after that.
    pub effects: Vec<Effect>,
}

/// Why a turn is to end before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// Let a tool that runs end.
    Stop,
    /// Cancel tools too.
    Abort,
}

/// The turn at work.
#[derive(Debug)]
struct Work {
    turn: TurnId,
    answer: MessageId,
    run: Run,
    /// The request to the provider is open.
    upstream: bool,
    /// The model has begun to answer in this step.
    heard: bool,
    /// Who was asked in this turn and failed before it began to answer.
    tried: Vec<Target>,
    /// Whether a summary was asked for in this turn: once is enough.
    compacted: bool,
    /// The text or thinking part that grows.
    open: Option<OpenPart>,
    /// Parts that are complete and have no row of it yet.
    unsaved: Vec<PartId>,
    /// Calls the model made in this step, before they are judged.
    calls: Vec<PartId>,
    step_usage: Usage,
    stopping: Option<StopKind>,
    stop_askers: Vec<Asker>,
    /// Those who wait until an archived conversation is at rest.
    archive_askers: Vec<Asker>,
    receipt: Option<Receipt>,
    correlation_id: String,
}

impl Work {
    fn new(turn: TurnId, answer: MessageId, correlation_id: String) -> Self {
        Self {
            turn,
            answer,
            run: 0,
            upstream: false,
            heard: false,
            tried: Vec::new(),
            compacted: false,
            open: None,
            unsaved: Vec::new(),
            calls: Vec::new(),
            step_usage: Usage::default(),
            stopping: None,
            stop_askers: Vec::new(),
            archive_askers: Vec::new(),
            receipt: None,
            correlation_id,
        }
    }
}

/// A growing part: how much of its text is on disk.
#[derive(Debug)]
struct OpenPart {
    part: PartId,
    kind: Growing,
    /// Whether the part has a row.
    has_row: bool,
    /// Bytes of its text that a batch has carried.
    saved: usize,
}

/// What a tool's table row says about one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub policy: ToolPolicy,
    pub summary: String,
    pub risks: Vec<String>,
    /// May run beside others.
    pub concurrent: bool,
    /// Which answers may be kept, where somebody is asked.
    pub remembers: Remembers,
    /// The answer of before that decided the policy, where one did.
    pub rule: Option<RuleId>,
    /// No such tool, or arguments that its schema refuses.
    pub error: Option<String>,
}

impl Verdict {
    /// Of a call that cannot be made.
    pub fn refused(error: impl Into<String>) -> Self {
        Self {
            policy: ToolPolicy::Deny,
            summary: String::new(),
            risks: Vec::new(),
            concurrent: false,
            remembers: Remembers::Never,
            rule: None,
            error: Some(error.into()),
        }
    }
}

/// Why a request to the provider was not made.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// A sentence for the user.
    pub why: String,
    /// The budget without room, where it is that.
    pub refusal: Option<Box<Refusal>>,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolReport {
    pub output: String,
    pub is_error: bool,
    pub todos: Option<Vec<Todo>>,
}

/// A conversation in memory.
#[derive(Debug)]
pub struct Conversation {
    pub settings: Settings,
    /// The newest messages, by (turn number, index).
    messages: Vec<Message>,
    /// Older messages exist in the store.
    more: bool,
    /// Turns that have not ended, by number.
    live: Vec<Turn>,
    /// The newest ended turns, oldest first.
    ended: Vec<Turn>,
    /// Those that wait.
    approvals: Vec<Approval>,
    todos: Vec<Todo>,
    work: Option<Work>,
    next_run: Run,
    /// A summary that is being written.
    compaction: Option<compacting::Compaction>,
    /// Clients on this conversation that may answer approvals.
    answerers: usize,
    /// When the grace after the last of them left is over.
    grace_until: Option<Timestamp>,
    /// Calls whose tool runs alone.
    exclusive: Vec<PartId>,
    status: AgentStatus,
    /// Provider and model that the watchers were told of last.
    shown: Option<(String, String)>,
    /// Tokens in and out of the newest request that told.
    last_step: Option<u64>,
    /// The hub stops: nothing is started any more.
    held: bool,
    rules: Rules,
}

impl Conversation {
    pub fn new(settings: Settings, rules: Rules) -> Self {
        Self {
            settings,
            messages: Vec::new(),
            more: false,
            live: Vec::new(),
            ended: Vec::new(),
            approvals: Vec::new(),
            todos: Vec::new(),
            work: None,
            next_run: 1,
            compaction: None,
            answerers: 0,
            grace_until: None,
            exclusive: Vec::new(),
            status: AgentStatus::Idle,
            shown: None,
            last_step: None,
            held: false,
            rules,
        }
    }

    pub fn todos(&self) -> &[Todo] {
        &self.todos
    }

    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    pub fn status(&self) -> AgentStatus {
        self.status
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Nothing runs, waits or is asked.
    pub fn is_idle(&self) -> bool {
        self.live.is_empty() && self.compaction.is_none()
    }

    /// Turns that have not ended, by number.
    pub fn live_turns(&self) -> &[Turn] {
        &self.live
    }

    pub fn turn(&self, id: TurnId) -> Option<&Turn> {
        self.live.iter().chain(self.ended.iter().rev()).find(|t| t.id == id)
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The text of a part that grows or has grown; for catching up.
    pub fn part_text(&self, message: MessageId, part: PartId) -> Option<&str> {
        let message = self.messages.iter().rev().find(|m| m.id == message)?;
        match &message.parts.iter().find(|p| p.id == part)?.body {
            PartBody::Text { text } | PartBody::Thinking { text, .. } => Some(text),
            _ => None,
        }
    }

    fn conversation(&self) -> super::ids::ConversationId {
        self.settings.id
    }

    fn message_mut(&mut self, id: MessageId) -> Option<&mut Message> {
        self.messages.iter_mut().rev().find(|m| m.id == id)
    }

    fn message(&self, id: MessageId) -> Option<&Message> {
        self.messages.iter().rev().find(|m| m.id == id)
    }

    fn live_mut(&mut self, id: TurnId) -> Option<&mut Turn> {
        self.live.iter_mut().find(|t| t.id == id)
    }

    /// The turn that is at work: running, awaiting or stopping.
    pub fn current(&self) -> Option<&Turn> {
        self.live.iter().find(|t| t.state != TurnState::Queued)
    }

    /// Puts a message in its place in the order.
    fn insert_message(&mut self, message: Message) {
        let key = (message.turn_no, message.index);
        let at = self.messages.partition_point(|m| (m.turn_no, m.index) <= key);
        self.messages.insert(at, message);
    }

    /// The answer of the turn at work.
    fn answer_mut(&mut self) -> Option<&mut Message> {
        let id = self.work.as_ref()?.answer;
        self.message_mut(id)
    }

    fn answer(&self) -> Option<&Message> {
        self.message(self.work.as_ref()?.answer)
    }

    /// Adds a part to the answer; the event is a streaming one unless `write`.
    fn push_part(&mut self, body: PartBody, write: bool, out: &mut Outcome, source: &mut dyn Source) -> Option<PartId> {
        let turn = self.work.as_ref()?.turn;
        let conversation = self.conversation();
        let message = self.answer_mut()?;
        let part = Part { id: PartId::mint(source), index: message.parts.len() as u16, body };
        message.parts.push(part.clone());
        let (message, id) = (message.id, part.id);
        if write {
            out.writes.push(Write::Part { message, part: part.clone() });
        }
        out.events.push(Event::PartCreated { conversation, turn, message, part: Arc::new(part) });
        Some(id)
    }

    /// Gives a tool call its next state, and writes it.
    fn set_call(&mut self, call: PartId, state: ToolCallState, out: &mut Outcome) {
        let Some(turn) = self.work.as_ref().map(|w| w.turn) else { return };
        let conversation = self.conversation();
        let Some(message) = self.answer_mut() else { return };
        let message_id = message.id;
        let Some(part) = message.parts.iter_mut().find(|p| p.id == call) else { return };
        let PartBody::ToolCall(body) = &mut part.body else { return };
        debug_assert!(body.state.may_become(state), "{:?} to {state:?}", body.state);
        body.state = state;
        let part = part.clone();
        if let Some(work) = &mut self.work {
            work.unsaved.retain(|p| *p != call);
        }
        out.writes.push(Write::Part { message: message_id, part: part.clone() });
        let refs = serde_json::json!({ "toolCallId": call.to_string(), "state": state.name() });
        out.writes.push(Write::Fact(Fact { kind: "tool_call.changed", turn: Some(turn), by: None, refs }));
        out.events.push(Event::PartChanged { conversation, turn, message: message_id, part: Arc::new(part) });
    }

    /// The call behind a part of the answer.
    fn call(&self, call: PartId) -> Option<&super::tool_call::ToolCall> {
        self.answer()?.parts.iter().find(|p| p.id == call).and_then(|p| match &p.body {
            PartBody::ToolCall(body) => Some(body),
            _ => None,
        })
    }

    /// The calls of the answer that are in `state`, in order.
    fn calls_in(&self, state: ToolCallState) -> Vec<PartId> {
        let parts = self.answer().map(|m| m.parts.as_slice()).unwrap_or_default();
        parts
            .iter()
            .filter(|p| matches!(&p.body, PartBody::ToolCall(call) if call.state == state))
            .map(|p| p.id)
            .collect()
    }

    fn fact(kind: &'static str, turn: Option<TurnId>, by: Option<UserId>, refs: serde_json::Value) -> Write {
        Write::Fact(Fact { kind, turn, by, refs })
    }

    /// Writes and announces the conversation's own row.
    fn touch_settings(&mut self, now: Timestamp, out: &mut Outcome) {
        self.settings.updated_at = now;
        out.writes.push(Write::Conversation(self.settings.clone()));
        out.events.push(Event::updated(Arc::new(self.settings.clone())));
    }

    /// Says the agent's status where it changed. Last in every outcome.
    fn settle_status(&mut self, out: &mut Outcome) {
        let status = match &self.work {
            None => AgentStatus::Idle,
            Some(work) if work.stopping.is_some() => AgentStatus::Stopping,
            Some(work) if work.upstream => match work.open.as_ref().map(|o| o.kind) {
                Some(Growing::Text) => AgentStatus::Responding,
                _ => AgentStatus::Thinking,
            },
            Some(_) if !self.approvals.is_empty() => AgentStatus::AwaitingApproval,
            Some(_) => AgentStatus::CallingTool,
        };
        if status != self.status {
            self.status = status;
            out.events.push(Event::AgentStatusChanged {
                conversation: self.conversation(),
                agent: self.settings.agent.clone(),
                status,
                turn: self.work.as_ref().map(|w| w.turn),
            });
        }
    }

    /// Starts the next queued turn where nothing is at work and the conversation is neither paused nor archived.
    fn start_next(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        if self.held
            || self.work.is_some()
            || self.compaction.is_some()
            || self.settings.state != ConversationState::Active
            || self.current().is_some()
        {
            return;
        }
        let Some(turn) = self.live.first().filter(|t| t.state == TurnState::Queued).map(|t| t.id) else { return };
        self.start_turn(turn, out, source);
    }
}
