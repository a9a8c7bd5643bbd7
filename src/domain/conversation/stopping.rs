//! Stop and abort: the upstream is closed first, everything else follows.

use super::*;
use crate::error::{Code, Fault};

impl Conversation {
    /// Stops or aborts the turn at work. `asker` is answered once the upstream is closed.
    pub fn stop(
        &mut self,
        turn: Option<TurnId>,
        kind: StopKind,
        asker: Asker,
        source: &mut dyn Source,
    ) -> Result<Outcome, Fault> {
        let mut out = Outcome::default();
        let target = match turn {
            Some(id) => self.turn(id).ok_or_else(|| Fault::not_found("turn"))?,
            None => self.current().ok_or_else(|| Fault::new(Code::Conflict, "no turn is running"))?,
        };
        let (id, state) = (target.id, target.state);
        if state == TurnState::Queued {
            self.cancel_queued(id, &mut out, source);
        }
        if state == TurnState::Queued || state.has_ended() {
            // Asking twice is no error: the answer is the same.
            out.effects.push(Effect::Answer { asker, answer: self.ended_answer(id) });
            return Ok(out);
        }
        self.begin_stop(kind, Some(asker), &mut out, source);
        self.settle_status(&mut out);
        Ok(out)
    }

    /// Stops the turn at work, and takes out those of `user` that wait, so that none of them starts when it has ended.
    /// `asker` is answered in every case: with the end of the turn, or that nothing ran.
    pub fn halt(&mut self, user: &UserId, asker: Asker, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        let waiting: Vec<TurnId> = self.queued().filter(|turn| turn.user == *user).map(|turn| turn.id).collect();
        for turn in waiting {
            self.cancel_queued(turn, &mut out, source);
        }
        match self.work {
            Some(_) => self.begin_stop(StopKind::Stop, Some(asker), &mut out, source),
            None => out.effects.push(Effect::Answer { asker, answer: Answer::NothingRan }),
        }
        self.settle_status(&mut out);
        out
    }

    pub(super) fn begin_stop(
        &mut self,
        kind: StopKind,
        asker: Option<Asker>,
        out: &mut Outcome,
        source: &mut dyn Source,
    ) {
        let Some(work) = &mut self.work else { return };
        let before = work.stopping;
        // An abort overrules a stop, never the other way round.
        work.stopping = Some(if before == Some(StopKind::Abort) { StopKind::Abort } else { kind });
        if work.upstream {
            work.stop_askers.extend(asker);
            if before.is_none() {
                let run = work.run;
                out.urgent.push(Urgent::CloseUpstream { run });
            }
            return;
        }
        // No request is open: it is closed already, as of now.
        let closed = Receipt { closed_at: source.now(), bytes_after: 0, kept_bytes: self.kept_bytes() };
        if let Some(work) = &mut self.work {
            work.receipt.get_or_insert(closed);
        }
        self.settle_approvals_on_stop(out, source);
        self.cancel_unstarted("cancelled: the turn was stopped", out, source);
        if kind == StopKind::Abort {
            let running = self.calls_in(ToolCallState::Executing);
            if !running.is_empty() {
                out.urgent.push(Urgent::CancelTools);
            }
            for call in running {
                self.settle_call(call, ToolCallState::Cancelled, "cancelled: the turn was aborted", true, out, source);
            }
        }
        if self.calls_in(ToolCallState::Executing).is_empty() {
            if let Some(work) = &mut self.work {
                work.stop_askers.extend(asker);
            }
            return self.end_stopped(out, source);
        }
        self.wait_for_tools(asker, out);
    }

    /// Calls that have not started never do, and each gets its result.
    pub(super) fn cancel_unstarted(&mut self, why: &str, out: &mut Outcome, source: &mut dyn Source) {
        for state in [ToolCallState::Requested, ToolCallState::Awaiting, ToolCallState::Approved] {
            for call in self.calls_in(state) {
                self.settle_call(call, ToolCallState::Cancelled, why, true, out, source);
            }
        }
    }

    /// Bytes of the answer's text so far.
    fn kept_bytes(&self) -> u64 {
        self.answer().map_or(0, |answer| answer.text().len() as u64)
    }

    /// A tool that runs may end; the one who asked learns now that it is closed and stopping.
    fn wait_for_tools(&mut self, asker: Option<Asker>, out: &mut Outcome) {
        let Some(id) = self.work.as_ref().map(|w| w.turn) else { return };
        let receipt = self.work.as_ref().and_then(|w| w.receipt);
        let Some(turn) = self.live_mut(id) else { return };
        turn.state = TurnState::Stopping;
        turn.receipt = receipt;
        let usage = turn.usage;
        let turn = turn.clone();
        out.writes.push(Self::fact("turn.stopping", Some(id), None, serde_json::json!({})));
        out.writes.push(Write::Turn(turn));
        if let Some(asker) = asker {
            let answer = Answer::Ended { turn: id, state: TurnState::Stopping, receipt, usage };
            out.effects.push(Effect::Answer { asker, answer });
        }
    }

    /// The driver has closed the upstream request of `run`.
    pub fn on_upstream_closed(&mut self, run: Run, closed_at: Timestamp, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        let Some(work) = self.work.as_mut().filter(|w| w.run == run && w.upstream && w.stopping.is_some()) else {
            return out;
        };
        work.upstream = false;
        work.receipt = Some(Receipt { closed_at, bytes_after: 0, kept_bytes: 0 });
        self.book_step();
        self.close_part();
        // Calls that the model had finished saying: none was judged yet.
        self.cancel_unstarted("cancelled: the turn was stopped", &mut out, source);
        self.end_stopped(&mut out, source);
        self.settle_status(&mut out);
        out
    }

    pub(super) fn end_stopped(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let state = match self.work.as_ref().and_then(|w| w.stopping) {
            Some(StopKind::Abort) => TurnState::Aborted,
            _ => TurnState::Stopped,
        };
        self.end_turn(state, out, source);
    }

    /// The hub stops: no turn is started any more, what comes in waits for the next start. Gives whether a turn is at
    /// work; one that waits for a human is not.
    pub fn hold(&mut self) -> bool {
        self.held = true;
        self.current().is_some_and(|turn| turn.state != TurnState::AwaitingApproval)
    }

    /// The hub stops: the turn at work is cut off and marked `interrupted`. One that waits for a human goes on waiting
    /// after the next start; a tool that runs is left to end as it may.
    pub fn interrupt(&mut self, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        self.held = true;
        let Some(work) = self.work.as_ref() else { return out };
        let (id, run, upstream) = (work.turn, work.run, work.upstream);
        if self.turn(id).is_some_and(|t| t.state == TurnState::AwaitingApproval) {
            return out;
        }
        if upstream {
            out.urgent.push(Urgent::CloseUpstream { run });
            if let Some(work) = &mut self.work {
                work.upstream = false;
            }
            self.book_step();
        }
        self.close_part();
        for call in self.calls_in(ToolCallState::Executing) {
            let text = "unknown: the hub stopped while the tool ran; it may or may not have had its effect";
            self.settle_call(call, ToolCallState::Unknown, text, true, &mut out, source);
        }
        for state in [ToolCallState::Requested, ToolCallState::Approved] {
            for call in self.calls_in(state) {
                let text = "cancelled: the hub stopped before the tool ran";
                self.settle_call(call, ToolCallState::Cancelled, text, true, &mut out, source);
            }
        }
        self.end_turn(TurnState::Interrupted, &mut out, source);
        self.settle_status(&mut out);
        out
    }
}
