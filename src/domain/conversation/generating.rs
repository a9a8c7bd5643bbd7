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
        let choice = self.choice_of(id);
        let Target { provider, model } = choice.target.clone();
        let answer_id = MessageId::mint(source);
        self.show_switch(choice.clone(), out);
        let Some(turn) = self.live_mut(id) else { return };
        turn.state = TurnState::Running;
        turn.routing = choice.decision.map(Box::new);
        turn.started_at = Some(now);
        turn.answer = Some(answer_id);
        let turn = turn.clone();
        if let Some(old) = turn.retry_of {
            self.supersede(old, out);
        }
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
        out.writes.push(Write::Message(answer.clone()));
        out.events.push(Event::TurnStarted { conversation, turn: Arc::new(turn), provider, model });
        out.events.push(Event::MessageCreated { conversation, message: Arc::new(answer.clone()) });
        self.insert_message(answer);
        self.work = Some(Work::new(id, answer_id, correlation_id));
        self.generate(out, source);
    }

    /// The answer of a turn that is repeated leaves the model's context.
    fn supersede(&mut self, old: TurnId, out: &mut Outcome) {
        let conversation = self.conversation();
        let of_old = |m: &&mut Message| m.turn == old && m.author == Author::Assistant;
        let Some(answer) = self.messages.iter_mut().rev().find(of_old) else { return };
        answer.superseded = true;
        out.writes.push(Write::Message(answer.clone()));
        out.events.push(Event::MessageUpdated { conversation, message: Arc::new(answer.clone()) });
    }

    /// Asks the model once more.
    pub(super) fn generate(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        if self.summarize_first(out) {
            return;
        }
        let limit = self.rules.steps_per_turn;
        let Some(turn) = self.work.as_ref().map(|w| w.turn) else { return };
        let Some(turn) = self.live_mut(turn) else { return };
        if turn.steps >= limit {
            turn.error = Some(format!("the agent took more than {limit} steps"));
            return self.end_turn(TurnState::Failed, out, source);
        }
        turn.steps += 1;
        out.writes.push(Write::Turn(turn.clone()));
        let run = self.next_run;
        self.next_run += 1;
        if let Some(work) = &mut self.work {
            work.run = run;
            work.upstream = true;
            work.heard = false;
            work.calls.clear();
            work.step_usage = Usage::default();
        }
        out.effects.push(Effect::Generate { run });
    }

    pub(super) fn is_current(&self, run: Run) -> bool {
        self.work.as_ref().is_some_and(|w| w.run == run && w.upstream && w.stopping.is_none())
    }

    /// The model said something. Only streaming events come of it; nothing is written yet.
    pub fn on_stream(&mut self, run: Run, event: StreamEvent, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        if !self.is_current(run) {
            return out;
        }
        if let Some(work) = &mut self.work {
            work.heard |= !matches!(event, StreamEvent::Usage(_) | StreamEvent::Ended(_));
        }
        match event {
            StreamEvent::Text(text) => self.grow(Growing::Text, &text, &mut out, source),
            StreamEvent::Thinking(text) => self.grow(Growing::Thinking, &text, &mut out, source),
            StreamEvent::Signature(seal) => self.seal(seal),
            StreamEvent::BlockEnd => self.close_part(),
            StreamEvent::ToolCall { id, name, input } => {
                self.close_part();
                let provider_id = self.own_id(id);
                let state = ToolCallState::Requested;
                let call = ToolCall { provider_id, tool: name, input, state, approval: None, bound: None };
                let part = self.push_part(PartBody::ToolCall(call), false, &mut out, source);
                if let (Some(part), Some(work)) = (part, &mut self.work) {
                    work.calls.push(part);
                    work.unsaved.push(part);
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

    /// The id of a call; where the provider gives one twice within a step, no result could be told from the other.
    fn own_id(&self, mut id: String) -> String {
        let calls = self.work.as_ref().map(|w| w.calls.as_slice()).unwrap_or_default();
        while calls.iter().filter_map(|c| self.call(*c)).any(|c| c.provider_id == id) {
            id.push_str("_2");
        }
        id
    }

    /// Appends to the open part, or opens one.
    fn grow(&mut self, kind: Growing, more: &str, out: &mut Outcome, source: &mut dyn Source) {
        if more.is_empty() {
            return;
        }
        if self.work.as_ref().and_then(|w| w.open.as_ref()).is_some_and(|o| o.kind != kind) {
            self.close_part();
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
        let (PartBody::Text { text } | PartBody::Thinking { text, .. }) = &mut known.body else { return };
        let offset = text.len();
        text.push_str(more);
        out.events.push(Event::Delta {
            conversation,
            turn,
            message: message_id,
            part,
            kind,
            offset,
            text: more.into(),
        });
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

    /// The open part is complete. Its row goes with the next batch: what streams waits for no disk.
    pub(super) fn close_part(&mut self) {
        let Some(work) = &mut self.work else { return };
        work.unsaved.extend(work.open.take().map(|open| open.part));
    }

    /// Rows of parts that are complete.
    fn write_complete(&mut self) -> Vec<Write> {
        let complete = self.work.as_mut().map(|w| std::mem::take(&mut w.unsaved)).unwrap_or_default();
        let Some(message) = self.answer() else { return Vec::new() };
        let parts = message.parts.iter().filter(|p| complete.contains(&p.id));
        parts.map(|p| Write::Part { message: message.id, part: p.clone() }).collect()
    }

    /// Rows for what was said since the last batch: at least once a second, and with every batch of facts.
    pub fn checkpoint(&mut self) -> Vec<Write> {
        let mut writes = self.write_complete();
        writes.extend(self.write_growing());
        writes
    }

    /// The same without the part that grows.
    pub fn checkpoint_complete(&mut self) -> Vec<Write> {
        self.write_complete()
    }

    /// The new text of the part that grows, or the whole of it where it has no row yet.
    fn write_growing(&mut self) -> Option<Write> {
        let open = self.work.as_ref()?.open.as_ref()?;
        let message = self.answer()?;
        let part = message.parts.iter().rev().find(|p| p.id == open.part)?;
        let (PartBody::Text { text } | PartBody::Thinking { text, .. }) = &part.body else { return None };
        if open.has_row && text.len() == open.saved {
            return None;
        }
        let length = text.len();
        let write = match open.has_row {
            true => Write::Tail { part: part.id, text: text[open.saved..].to_owned() },
            false => Write::Part { message: message.id, part: part.clone() },
        };
        let open = self.work.as_mut()?.open.as_mut()?;
        (open.saved, open.has_row) = (length, true);
        Some(write)
    }

    /// The provider's message is complete, or it failed. `verdicts` belong to the calls of this step, in order.
    pub fn on_step_ended(
        &mut self,
        run: Run,
        end: Result<StopReason, ProviderFault>,
        verdicts: Vec<Verdict>,
        source: &mut dyn Source,
    ) -> Outcome {
        if !self.is_current(run) {
            // The answer ended in the very moment in which it was stopped: the request is closed, and nobody else
            // will say so. Of any other run that is nothing.
            return self.on_upstream_closed(run, source.now(), source);
        }
        let mut out = Outcome::default();
        self.close_part();
        self.book_step();
        if let Some(work) = &mut self.work {
            work.upstream = false;
        }
        match end {
            Err(fault) => {
                if !self.fall_back(&fault, &mut out, source) {
                    self.fail_step(fault.message, &mut out, source);
                }
            }
            Ok(StopReason::Refusal) => self.fail_step("the provider refused to answer".into(), &mut out, source),
            Ok(_) if self.work.as_ref().is_some_and(|w| !w.calls.is_empty()) => {
                self.write_usage(&mut out);
                self.judge_calls(verdicts, &mut out, source);
            }
            Ok(_) => self.end_turn(TurnState::Completed, &mut out, source),
        }
        self.settle_status(&mut out);
        out
    }

    /// The request was not made: a budget has no room for it, or the books could not be read.
    pub fn on_refused(&mut self, run: Run, refused: Refused, source: &mut dyn Source) -> Outcome {
        if !self.is_current(run) {
            return self.on_upstream_closed(run, source.now(), source);
        }
        let mut out = Outcome::default();
        if let Some(work) = &mut self.work {
            work.upstream = false;
        }
        if let Some(turn) = self.work.as_ref().map(|w| w.turn).and_then(|id| self.live_mut(id)) {
            turn.steps = turn.steps.saturating_sub(1);
            turn.refusal = refused.refusal;
        }
        self.fail_step(refused.why, &mut out, source);
        self.settle_status(&mut out);
        out
    }

    /// The turn fails; what an answer asked for that is not whole, or is refused, never runs.
    fn fail_step(&mut self, why: String, out: &mut Outcome, source: &mut dyn Source) {
        self.cancel_unstarted("cancelled: the answer was cut off", out, source);
        if let Some(turn) = self.work.as_ref().map(|w| w.turn).and_then(|id| self.live_mut(id)) {
            turn.error = Some(why);
        }
        self.end_turn(TurnState::Failed, out, source);
    }

    /// Adds the step's usage to the turn and the conversation.
    pub(super) fn book_step(&mut self) {
        let Some(work) = &mut self.work else { return };
        let usage = std::mem::take(&mut work.step_usage);
        let turn = work.turn;
        self.last_step = Some(usage.total()).filter(|tokens| *tokens > 0).or(self.last_step);
        self.settings.usage.add(&usage);
        if let Some(turn) = self.live_mut(turn) {
            turn.usage.add(&usage);
        }
    }

    /// What a step has cost is on disk with its calls: the turn may wait long for a human, and a restart may come.
    fn write_usage(&mut self, out: &mut Outcome) {
        out.writes.push(Write::Conversation(self.settings.clone()));
        let turn = self.work.as_ref().map(|w| w.turn).and_then(|id| self.turn(id));
        out.writes.extend(turn.cloned().map(Write::Turn));
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
        self.close_part();
        out.writes.extend(self.write_complete());
        let Some(work) = self.work.take() else { return };
        self.exclusive.clear();
        self.grace_until = None;
        self.compaction.take_if(|compaction| compaction.of_turn);
        let conversation = self.conversation();
        let Some(at) = self.live.iter().position(|t| t.id == work.turn) else { return };
        let mut turn = self.live.remove(at);
        debug_assert!(turn.state.may_become(state), "{:?} to {state:?}", turn.state);
        turn.state = state;
        turn.ended_at = Some(now);
        // A turn that was stopping when the hub went down has its receipt already.
        turn.receipt = work.receipt.or(turn.receipt);
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
        for asker in work.archive_askers {
            out.effects.push(Effect::Answer { asker, answer: Answer::Archived });
        }
    }
}
