//! Tool calls: judged, asked about, run, answered.

use std::sync::Arc;

use super::*;
use crate::domain::account::AuditEntry;
use crate::domain::approval::{ApprovalState, Decision};
use crate::domain::generation::ToolOutput;
use crate::domain::ids::ApprovalId;
use crate::domain::policy::Operation;

impl Conversation {
    /// Gives each call of the step its first state: allowed, asked, denied or refused.
    pub(super) fn judge_calls(&mut self, verdicts: Vec<Verdict>, out: &mut Outcome, source: &mut dyn Source) {
        let calls = self.work.as_mut().map(|w| std::mem::take(&mut w.calls)).unwrap_or_default();
        let mut verdicts = verdicts.into_iter();
        for call in calls {
            let verdict = verdicts.next().unwrap_or_else(|| Verdict::refused("no such tool"));
            if !verdict.concurrent {
                self.exclusive.push(call);
            }
            if let Some(rule) = verdict.rule.filter(|_| verdict.error.is_none()) {
                let refs = serde_json::json!({ "toolCallId": call.to_string(), "rule": rule.to_string() });
                let turn = self.work.as_ref().map(|w| w.turn);
                out.writes.push(Self::fact("tool_call.remembered", turn, None, refs));
            }
            match (&verdict.error, verdict.policy) {
                (Some(error), _) => {
                    let text = error.clone();
                    self.settle_call(call, ToolCallState::Failed, &text, true, out, source);
                }
                (None, ToolPolicy::Deny) => {
                    let why = match verdict.rule {
                        None => "denied by policy",
                        Some(_) => "denied: the user said so before and had it remembered",
                    };
                    self.settle_call(call, ToolCallState::Denied, why, true, out, source);
                }
                (None, ToolPolicy::Allow) => self.set_call(call, ToolCallState::Approved, out),
                (None, ToolPolicy::Ask) => self.ask(call, verdict, out, source),
            }
        }
        self.advance(out, source);
    }

    fn ask(&mut self, call: PartId, verdict: Verdict, out: &mut Outcome, source: &mut dyn Source) {
        let Some((turn, correlation_id)) = self.work.as_ref().map(|w| (w.turn, w.correlation_id.clone())) else {
            return;
        };
        let Some((tool, input)) = self.call(call).map(|c| (c.tool.clone(), c.input.clone())) else { return };
        let now = source.now();
        let approval = Approval {
            id: ApprovalId::mint(source),
            turn,
            call,
            tool,
            summary: verdict.summary,
            risks: verdict.risks,
            input,
            remembers: verdict.remembers,
            correlation_id,
            state: ApprovalState::Pending,
            requested_at: now,
            deadline: now.plus_millis(self.rules.approval_timeout),
            decision: None,
        };
        if let Some(PartBody::ToolCall(body)) =
            self.answer_mut().and_then(|m| m.parts.iter_mut().find(|p| p.id == call)).map(|p| &mut p.body)
        {
            body.approval = Some(approval.id);
            body.bound = Some(approval.digest());
        }
        self.set_call(call, ToolCallState::Awaiting, out);
        let refs = serde_json::json!({ "requestId": approval.id.to_string(), "toolCallId": call.to_string() });
        out.writes.push(Self::fact("tool.approval_required", Some(turn), None, refs));
        out.writes.push(Write::Approval(approval.clone()));
        out.effects.push(Effect::WakeAt(approval.deadline));
        let event = Event::ApprovalRequired { conversation: self.conversation(), approval: Arc::new(approval.clone()) };
        out.events.push(event);
        self.approvals.push(approval);
    }

    /// Runs what may run, waits for what must be asked, or goes on to the next step.
    pub(super) fn advance(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let Some(work) = &self.work else { return };
        let id = work.turn;
        if work.stopping.is_some() {
            if self.calls_in(ToolCallState::Executing).is_empty() {
                self.end_stopped(out, source);
            }
            return;
        }
        self.start_approved(out, source);
        let asked = !self.approvals.is_empty();
        let running = !self.calls_in(ToolCallState::Executing).is_empty();
        let approved = !self.calls_in(ToolCallState::Approved).is_empty();
        // Whoever is asked is asked also after a restart: a tool that runs beside does not change that.
        let state = if asked { TurnState::AwaitingApproval } else { TurnState::Running };
        self.put_turn_state(id, state, out);
        if !asked && !running && !approved {
            self.generate(out, source);
        }
    }

    /// Starts approved calls in their order: those that may run beside others together, each of the rest by itself.
    fn start_approved(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        for call in self.calls_in(ToolCallState::Approved) {
            let executing = self.calls_in(ToolCallState::Executing);
            if executing.len() >= self.rules.tools_at_once {
                return;
            }
            let alone = |call: &PartId| self.exclusive.contains(call);
            if !executing.is_empty() && (alone(&call) || executing.iter().any(alone)) {
                return;
            }
            let Some(turn) = self.work.as_ref().map(|w| w.turn) else { return };
            let Some(asked) = self.call(call).cloned() else { continue };
            if !asked.is_as_asked() {
                let text = "cancelled: the arguments are not those that were approved";
                self.settle_call(call, ToolCallState::Cancelled, text, true, out, source);
                continue;
            }
            let (tool, input) = (asked.tool, asked.input);
            self.set_call(call, ToolCallState::Executing, out);
            out.effects.push(Effect::RunTool { call, turn, tool, input });
        }
    }

    fn put_turn_state(&mut self, id: TurnId, state: TurnState, out: &mut Outcome) {
        let Some(turn) = self.live_mut(id).filter(|t| t.state != state) else { return };
        turn.state = state;
        let turn = turn.clone();
        out.writes.push(Write::Turn(turn));
    }

    /// A call reaches its end, and the model gets a result for it.
    pub(super) fn settle_call(
        &mut self,
        call: PartId,
        state: ToolCallState,
        output: &str,
        is_error: bool,
        out: &mut Outcome,
        source: &mut dyn Source,
    ) {
        let Some(call_id) = self.call(call).map(|c| c.provider_id.clone()) else { return };
        self.set_call(call, state, out);
        let result = ToolOutput { call_id, output: output.to_owned(), is_error };
        self.push_part(PartBody::ToolResult { call, result }, true, out, source);
        self.exclusive.retain(|c| *c != call);
    }

    /// A human answered; whoever carries that out writes into the same batch who it was. `None`: somebody was first, or it is no longer asked.
    pub fn decide(
        &mut self,
        id: ApprovalId,
        approved: bool,
        decision: Decision,
        source: &mut dyn Source,
    ) -> Option<(Arc<Approval>, Outcome)> {
        let state = if approved { ApprovalState::Approved } else { ApprovalState::Denied };
        let mut out = Outcome::default();
        let approval = self.resolve(id, state, decision, &mut out)?;
        if approved {
            // The grant is on disk by itself before anything runs: a restart in between finds it and runs the tool.
            self.set_call(approval.call, ToolCallState::Approved, &mut out);
        } else {
            let reason = approval.decision.as_ref().and_then(|d| d.reason.clone());
            let text = reason.map_or("denied by the user".to_owned(), |r| format!("denied by the user: {r}"));
            self.settle_call(approval.call, ToolCallState::Denied, &text, true, &mut out, source);
            self.advance(&mut out, source);
        }
        self.settle_status(&mut out);
        Some((approval, out))
    }

    /// The second half of a grant, in a batch of its own.
    pub fn run_granted(&mut self, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        let at_work = self.work.as_ref().is_some_and(|w| w.stopping.is_none() && !w.upstream);
        if at_work && !self.calls_in(ToolCallState::Approved).is_empty() {
            self.advance(&mut out, source);
            self.settle_status(&mut out);
        }
        out
    }

    /// Takes a pending approval to its end.
    fn resolve(
        &mut self,
        id: ApprovalId,
        state: ApprovalState,
        decision: Decision,
        out: &mut Outcome,
    ) -> Option<Arc<Approval>> {
        let at = self.approvals.iter().position(|a| a.id == id)?;
        let mut approval = self.approvals.remove(at);
        approval.state = state;
        let refs = serde_json::json!({
            "requestId": id.to_string(),
            "state": state.name(),
            "origin": decision.origin,
        });
        out.writes.push(Self::fact("tool.approval_resolved", Some(approval.turn), decision.by.clone(), refs));
        let by_hub = decision.by.is_none();
        approval.decision = Some(decision);
        out.writes.push(Write::Approval(approval.clone()));
        if by_hub {
            out.writes.push(Write::Audit(Box::new(self.denied_by_hub(&approval))));
        }
        let approval = Arc::new(approval);
        out.events.push(Event::ApprovalResolved { conversation: self.conversation(), approval: approval.clone() });
        if self.approvals.is_empty() {
            self.grace_until = None;
        }
        Some(approval)
    }

    /// The audit log's row of a question that nobody answered.
    fn denied_by_hub(&self, approval: &Approval) -> AuditEntry {
        AuditEntry {
            at: approval.decision.as_ref().map_or(approval.deadline, |decision| decision.at),
            organization: Some(self.settings.organization.clone()),
            actor: None,
            credential: None,
            action: Operation::ToolReject.name().to_owned(),
            target: Some(approval.id.to_string()),
            details: approval.details(self.settings.id),
            outcome: None,
            origin: "hub".to_owned(),
            request_id: approval.correlation_id.clone(),
        }
    }

    pub(super) fn settle_approvals_on_stop(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let pending: Vec<ApprovalId> = self.approvals.iter().map(|a| a.id).collect();
        for id in pending {
            let decision = Decision {
                by: None,
                at: source.now(),
                reason: Some("the turn was stopped".into()),
                origin: "hub".into(),
            };
            self.resolve(id, ApprovalState::Cancelled, decision, out);
        }
    }

    /// How many clients that may answer are on the conversation now.
    pub fn on_answerers(&mut self, count: usize, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        let before = std::mem::replace(&mut self.answerers, count);
        if count > 0 {
            self.grace_until = None;
        } else if before > 0 && !self.approvals.is_empty() {
            let until = source.now().plus_millis(self.rules.approval_grace);
            self.grace_until = Some(until);
            out.effects.push(Effect::WakeAt(until));
        }
        out
    }

    /// Denies what nobody answered in time.
    pub fn on_clock(&mut self, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        let now = source.now();
        let abandoned = self.grace_until.is_some_and(|until| until <= now);
        let due: Vec<ApprovalId> =
            self.approvals.iter().filter(|a| abandoned || a.deadline <= now).map(|a| a.id).collect();
        for id in due {
            let reason = if abandoned { "nobody is left to answer" } else { "nobody answered in time" };
            let decision = Decision { by: None, at: now, reason: Some(reason.into()), origin: "hub".into() };
            if let Some(approval) = self.resolve(id, ApprovalState::Expired, decision, &mut out) {
                let text = format!("denied: {reason}");
                self.settle_call(approval.call, ToolCallState::Expired, &text, true, &mut out, source);
            }
        }
        if !out.writes.is_empty() {
            self.advance(&mut out, source);
            self.settle_status(&mut out);
        }
        // Also where the clock was early: nobody else would look again.
        out.effects.extend(self.next_deadline().map(Effect::WakeAt));
        out
    }

    /// When `on_clock` is to be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.approvals.iter().map(|a| a.deadline).chain(self.grace_until.filter(|_| !self.approvals.is_empty())).min()
    }

    /// A tool ended. Stale reports, of calls that were cancelled meanwhile, change nothing.
    pub fn on_tool_done(&mut self, call: PartId, report: ToolReport, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        if self.call(call).is_none_or(|c| c.state != ToolCallState::Executing) {
            return out;
        }
        let state = if report.is_error { ToolCallState::Failed } else { ToolCallState::Succeeded };
        self.settle_call(call, state, &report.output, report.is_error, &mut out, source);
        if let Some(todos) = report.todos {
            self.put_todos(todos, &mut out);
        }
        self.advance(&mut out, source);
        self.settle_status(&mut out);
        out
    }
}
