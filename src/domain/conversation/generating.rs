//! A turn at work: it starts, the model speaks, a step ends, the turn ends.

use std::sync::Arc;

use super::*;
use crate::domain::generation::{ProviderFault, StopReason, StreamEvent};
use crate::domain::message::{Author, MessageState};
use crate::domain::tool_call::ToolCall;

impl Conversation {
    /// `queued → running`, with an empty answer.
    pub(super) fn start_turn(&mut self, id: TurnId, out: &mut Outcome, source: &mut dyn Source) {
        let now = source.now();
        let conversation = self.conversation();
        let model = self.model_of(id);
        let provider = self.rules.agent.provider.clone();
        let answer_id = MessageId::mint(source);
        let Some(turn) = self.live_mut(id) else { return };
        turn.state = TurnState::Running;
        turn.started_at = Some(now);
        turn.answer = Some(answer_id);
        turn.model = Some(model.clone());
        let turn = turn.clone();
        let correlation_id = turn.correlation_id.clone();
        if let Some(prompt) = self.message_mut(turn.message).filter(|m| m.state == MessageState::Queued) {
            prompt.state = MessageState::Complete;
            let prompt = prompt.clone();
            out.writes.push(Write::Message(prompt.clone()));
            out.writes.push(Write::Index(prompt.id));
            // Where the message came with this very batch, its one event already tells all.
            match out.events.iter_mut().find_map(|e| match e {
                Event::MessageCreated { message, .. } if message.id == prompt.id => Some(message),
                _ => None,
            }) {
                Some(created) => *created = Arc::new(prompt),
                None => out.events.push(Event::MessageUpdated { conversation, message: Arc::new(prompt) }),
            }
        }
        let answer = Message {
            id: answer_id,
            turn: turn.id,
            turn_no: turn.no,
            index: 1,
            author: Author::Assistant,
            user: None,
            state: MessageState::Streaming,
            superseded: false,
            provider: Some(provider.clone()),
            model: Some(model.clone()),
            usage: None,
            created_at: now,
            parts: Vec::new(),
        };
        out.writes.push(Self::fact("turn.started", Some(id), None, serde_json::json!({ "model": model })));
        out.writes.push(Write::Turn(turn.clone()));
        out.writes.push(Write::Message(answer.clone()));
        out.events.push(Event::TurnStarted { conversation, turn: Arc::new(turn), provider, model });
        out.events.push(Event::MessageCreated { conversation, message: Arc::new(answer.clone()) });
        self.insert_message(answer);
        self.work = Some(Work::new(id, answer_id, correlation_id));
        self.generate(out, source);
    }

    /// The model of a turn: what the message asked for, else the conversation's, else the agent's.
    pub(super) fn model_of(&self, id: TurnId) -> String {
        self.turn(id)
            .and_then(|t| t.model.clone())
            .or_else(|| self.settings.model.clone())
            .unwrap_or_else(|| self.rules.agent.model.clone())
    }

    /// Asks the model once more.
    pub(super) fn generate(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let limit = self.rules.steps_per_turn;
        let Some(turn) = self.work.as_ref().map(|w| w.turn) else { return };
        let Some(turn) = self.live_mut(turn) else { return };
        turn.steps += 1;
        if turn.steps > limit {
            turn.error = Some(format!("the agent took more than {limit} steps"));
            return self.end_turn(TurnState::Failed, out, source);
        }
        let run = self.next_run;
        self.next_run += 1;
        if let Some(work) = &mut self.work {
            work.run = run;
            work.upstream = true;
            work.calls.clear();
            work.step_usage = Usage::default();
        }
        out.effects.push(Effect::Generate { run });
    }

    fn is_current(&self, run: Run) -> bool {
        self.work.as_ref().is_some_and(|w| w.run == run && w.upstream && w.stopping.is_none())
    }

    /// The model said something. Only streaming events come of it; nothing is written yet.
    pub fn on_stream(&mut self, run: Run, event: StreamEvent, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        if !self.is_current(run) {
            return out;
        }
        match event {
            StreamEvent::Text(text) => self.grow(Growing::Text, &text, &mut out, source),
            StreamEvent::Thinking(text) => self.grow(Growing::Thinking, &text, &mut out, source),
            StreamEvent::Signature(seal) => self.seal(seal),
            StreamEvent::BlockEnd => self.close_part(&mut out),
            StreamEvent::ToolCall { id, name, input } => {
                self.close_part(&mut out);
                let call =
                    ToolCall { provider_id: id, tool: name, input, state: ToolCallState::Requested, approval: None };
                let part = self.push_part(PartBody::ToolCall(call), false, &mut out, source);
                if let (Some(part), Some(work)) = (part, &mut self.work) {
                    work.calls.push(part);
                }
            }
            StreamEvent::Usage(usage) => {
                if let Some(work) = &mut self.work {
                    work.step_usage = usage;
                }
            }
            StreamEvent::Ended(_) => {}
        }
        self.settle_status(&mut out);
        out
    }

    /// Appends to the open part, or opens one.
    fn grow(&mut self, kind: Growing, more: &str, out: &mut Outcome, source: &mut dyn Source) {
        if more.is_empty() {
            return;
        }
        if self.work.as_ref().and_then(|w| w.open.as_ref()).is_some_and(|o| o.kind != kind) {
            self.close_part(out);
        }
        if self.work.as_ref().is_some_and(|w| w.open.is_none()) {
            let body = match kind {
                Growing::Text => PartBody::Text { text: String::new() },
                Growing::Thinking => PartBody::Thinking { text: String::new(), signature: None },
            };
            let Some(part) = self.push_part(body, false, out, source) else { return };
            if let Some(work) = &mut self.work {
                work.open = Some(OpenPart { part, kind, has_row: false, saved: 0 });
            }
        }
        let conversation = self.conversation();
        let Some((turn, part)) = self.work.as_ref().and_then(|w| Some((w.turn, w.open.as_ref()?.part))) else { return };
        let Some(message) = self.answer_mut() else { return };
        let message_id = message.id;
        let Some(known) = message.parts.iter_mut().rev().find(|p| p.id == part) else { return };
        if let PartBody::Text { text } | PartBody::Thinking { text, .. } = &mut known.body {
            text.push_str(more);
        }
        out.events.push(Event::Delta { conversation, turn, message: message_id, part, kind, text: more.into() });
    }

    fn seal(&mut self, seal: String) {
        let Some(part) = self.work.as_ref().and_then(|w| w.open.as_ref()).map(|o| o.part) else { return };
        let Some(message) = self.answer_mut() else { return };
        if let Some(PartBody::Thinking { signature, .. }) =
            message.parts.iter_mut().rev().find(|p| p.id == part).map(|p| &mut p.body)
        {
            *signature = Some(seal);
        }
    }

    /// The open part is complete. Its row is written with whatever comes next.
    pub(super) fn close_part(&mut self, out: &mut Outcome) {
        let Some(open) = self.work.as_mut().and_then(|w| w.open.take()) else { return };
        let Some(message) = self.answer() else { return };
        if let Some(part) = message.parts.iter().rev().find(|p| p.id == open.part) {
            out.writes.push(Write::Part { message: message.id, part: part.clone() });
        }
    }

    /// Rows for what has grown since the last batch: at least once a second, and with every batch of facts.
    pub fn checkpoint(&mut self) -> Vec<Write> {
        let Some(open) = self.work.as_ref().and_then(|w| w.open.as_ref()) else { return Vec::new() };
        let (id, saved, has_row) = (open.part, open.saved, open.has_row);
        let Some(message) = self.answer() else { return Vec::new() };
        let Some(part) = message.parts.iter().rev().find(|p| p.id == id) else { return Vec::new() };
        let (PartBody::Text { text } | PartBody::Thinking { text, .. }) = &part.body else { return Vec::new() };
        if has_row && text.len() == saved {
            return Vec::new();
        }
        let (length, write) = match has_row {
            true => (text.len(), Write::Tail { part: id, text: text[saved..].to_owned() }),
            false => (text.len(), Write::Part { message: message.id, part: part.clone() }),
        };
        if let Some(open) = self.work.as_mut().and_then(|w| w.open.as_mut()) {
            open.saved = length;
            open.has_row = true;
        }
        vec![write]
    }

    /// The provider's message is complete, or it failed. `verdicts` belong to the calls of this step, in order.
    pub fn on_step_ended(
        &mut self,
        run: Run,
        end: Result<StopReason, ProviderFault>,
        verdicts: Vec<Verdict>,
        source: &mut dyn Source,
    ) -> Outcome {
        let mut out = Outcome::default();
        if !self.is_current(run) {
            return out;
        }
        self.close_part(&mut out);
        self.book_step();
        if let Some(work) = &mut self.work {
            work.upstream = false;
        }
        match end {
            Err(fault) => {
                if let Some(turn) = self.work.as_ref().map(|w| w.turn).and_then(|id| self.live_mut(id)) {
                    turn.error = Some(fault.message);
                }
                self.end_turn(TurnState::Failed, &mut out, source);
            }
            Ok(_) if self.work.as_ref().is_some_and(|w| !w.calls.is_empty()) => {
                self.judge_calls(verdicts, &mut out, source);
            }
            Ok(reason) => {
                let state = match reason {
                    StopReason::Refusal => TurnState::Failed,
                    _ => TurnState::Completed,
                };
                if state == TurnState::Failed
                    && let Some(turn) = self.work.as_ref().map(|w| w.turn).and_then(|id| self.live_mut(id))
                {
                    turn.error = Some("the provider refused to answer".into());
                }
                self.end_turn(state, &mut out, source);
            }
        }
        self.settle_status(&mut out);
        out
    }

    /// Adds the step's usage to the turn and the conversation.
    pub(super) fn book_step(&mut self) {
        let Some(work) = &mut self.work else { return };
        let usage = std::mem::take(&mut work.step_usage);
        let turn = work.turn;
        self.settings.usage.add(&usage);
        if let Some(turn) = self.live_mut(turn) {
            turn.usage.add(&usage);
        }
    }

    /// The names of the calls that `on_step_ended` wants verdicts for.
    pub fn unjudged_calls(&self) -> Vec<ToolCall> {
        let Some(work) = &self.work else { return Vec::new() };
        work.calls.iter().filter_map(|id| self.call(*id)).cloned().collect()
    }

    /// The turn at work ends; the next one starts.
    pub(super) fn end_turn(&mut self, state: TurnState, out: &mut Outcome, source: &mut dyn Source) {
        let now = source.now();
        self.finish(state, now, out);
        self.touch_settings(now, out);
        self.start_next(out, source);
    }

    /// Settles answer and turn, and answers whoever waits for the end.
    fn finish(&mut self, state: TurnState, now: Timestamp, out: &mut Outcome) {
        self.close_part(out);
        let Some(work) = self.work.take() else { return };
        self.exclusive.clear();
        self.grace_until = None;
        let conversation = self.conversation();
        let Some(at) = self.live.iter().position(|t| t.id == work.turn) else { return };
        let mut turn = self.live.remove(at);
        debug_assert!(turn.state.may_become(state), "{:?} to {state:?}", turn.state);
        turn.state = state;
        turn.ended_at = Some(now);
        turn.receipt = work.receipt;
        if let Some(answer) = self.message_mut(work.answer) {
            answer.state = match state {
                TurnState::Completed => MessageState::Complete,
                TurnState::Failed => MessageState::Failed,
                TurnState::Interrupted => MessageState::Interrupted,
                _ => MessageState::Stopped,
            };
            answer.usage = Some(turn.usage);
            if let Some(receipt) = &mut turn.receipt {
                receipt.kept_bytes = answer.text().len() as u64;
            }
            let answer = answer.clone();
            out.writes.push(Write::Message(answer.clone()));
            out.writes.push(Write::Index(answer.id));
            out.events.push(Event::MessageUpdated { conversation, message: Arc::new(answer) });
        }
        let id = turn.id;
        self.record_end(turn, out);
        for asker in work.stop_askers {
            out.effects.push(Effect::Answer { asker, answer: self.ended_answer(id) });
        }
    }
}
