//! From an outcome to its effects: urgent things first, then the disk, then numbers, listeners, effects.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::actors::agent::{CancelTools, Generate, RunTool, ToolLimits};
use crate::actors::persona::Persona;
use crate::actors::spending::Till;
use crate::actors::with_kit;
use crate::domain::conversation::{Answer, Effect, Outcome, Urgent};
use crate::domain::event::Event;
use crate::domain::ids::{ApprovalId, UserId};
use crate::domain::record::{Batch, Idempotency};
use crate::domain::settings::Visibility;
use crate::domain::spending::Spender;
use crate::store::CommitFault;
use crate::tools::{Alive, ToolContext};

/// Called once the outcome is on disk and told, or with the reason why not.
type Done = Box<dyn FnOnce(&mut ConversationActor, &mut Context<ConversationActor>, Result<(), CommitFault>)>;

impl ConversationActor {
    /// Runs a handler. What panics in it costs this conversation a reload, and nobody else anything.
    pub(super) fn guarded(&mut self, context: &mut Context<Self>, handle: impl FnOnce(&mut Self, &mut Context<Self>)) {
        let handled = catch_unwind(AssertUnwindSafe(|| handle(self, context)));
        if handled.is_err() {
            tracing::error!(conversation = %self.place.1, "a conversation panicked and is loaded anew");
            self.reload(context);
        }
    }

    pub(super) fn drive(
        &mut self,
        outcome: Outcome,
        context: &mut Context<Self>,
        done: impl FnOnce(&mut Self, &mut Context<Self>, Result<(), CommitFault>) + 'static,
    ) {
        self.drive_once(outcome, None, context, Box::new(done));
    }

    /// Carries out an outcome. `idempotency` goes into the same transaction.
    pub(super) fn drive_once(
        &mut self,
        outcome: Outcome,
        idempotency: Option<Idempotency>,
        context: &mut Context<Self>,
        done: Done,
    ) {
        let Outcome { urgent, writes, events, effects } = outcome;
        let Ok(live) = self.live() else {
            // What nobody holds any more nobody writes: never an acknowledgement.
            return done(self, context, Err(CommitFault::Unavailable("the session is being loaded".into())));
        };
        for step in urgent {
            match step {
                Urgent::CloseUpstream { run } => {
                    if let Some((_, cancel)) = live.upstream.take_if(|(known, _)| *known == run) {
                        cancel.cancel();
                    }
                }
                Urgent::CancelTools => live.agent.do_send(CancelTools),
            }
        }
        if writes.is_empty() {
            self.tell(events, effects, context);
            return done(self, context, Ok(()));
        }
        let mut all = writes;
        all.extend(live.checkpoint());
        let batch = Batch {
            organization: self.place.0.clone(),
            conversation: self.place.1,
            at: SystemSource.now(),
            writes: all,
            idempotency,
        };
        let commit = self.shared.store.commit(batch).into_actor(self).map(move |result, actor, context| {
            actor.guarded(context, |actor, context| match result {
                Ok(()) => {
                    crate::failpoint::reach("conversation.committed");
                    actor.tell(events, effects, context);
                    crate::failpoint::reach("conversation.told");
                    done(actor, context, Ok(()));
                }
                Err(fault) => {
                    done(actor, context, Err(fault.clone()));
                    actor.commit_failed(&fault, context);
                }
            });
        });
        context.wait(commit);
    }

    fn commit_failed(&mut self, fault: &CommitFault, context: &mut Context<Self>) {
        if !matches!(fault, CommitFault::IdempotencyTaken { .. }) {
            tracing::error!(conversation = %self.place.1, %fault, "a batch was not written");
        }
        self.reload(context);
    }

    /// Numbers and sends what is on disk, then starts what follows from it.
    pub(super) fn tell(&mut self, events: Vec<Event>, effects: Vec<Effect>, context: &mut Context<Self>) {
        let at = SystemSource.now();
        for event in events {
            if let Event::SessionUpdated { .. } = &event {
                self.dismiss_shut_out(context);
            }
            self.tell_others(&event);
            super::gauges::count(&event);
            if let Some(home) = &mut self.home {
                home.publish(event, at);
            }
        }
        for effect in effects {
            self.perform(effect, context);
        }
        if let State::Live(live) = &mut self.state {
            live.share.set(&live.machine);
        }
        self.arm_checkpoint(context);
        self.arm_alarm(context);
    }

    /// What other channels hear of it too.
    fn tell_others(&self, event: &Event) {
        let State::Live(live) = &self.state else { return };
        let settings = &live.machine.settings;
        let (owner, project) = match event {
            Event::SessionUpdated { .. } | Event::AgentStatusChanged { .. } => (true, true),
            Event::ApprovalRequired { .. } | Event::ApprovalResolved { .. } => (true, false),
            _ => return,
        };
        let send = |channel: Channel| {
            let key = ChannelKey::new(settings.organization.clone(), &channel);
            fanout::announce(&self.shared.workers, key, event.clone());
        };
        if owner {
            send(Channel::User(settings.user.clone()));
        }
        if let Some(id) = settings.project.filter(|_| project && settings.visibility == Visibility::Organization) {
            send(Channel::Project(id));
        }
    }

    fn perform(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Generate { run } => self.generate(run),
            Effect::Summarize { run } => self.summarize(run),
            Effect::RunTool { call, turn: _, tool, input } => self.run_tool(call, tool, input),
            Effect::Answer { asker, answer } => self.answer(asker, answer, context),
            // The nearest deadline is armed after every outcome.
            Effect::WakeAt(_) => {}
        }
    }

    fn answer(&mut self, asker: Asker, answer: Answer, context: &mut Context<Self>) {
        let Ok(live) = self.live() else { return };
        if live.deleting.as_ref().is_some_and(|(known, _)| *known == asker) {
            return self.delete_now(context);
        }
        let Some(waiting) = live.askers.remove(&asker) else { return };
        let reply = match answer {
            Answer::Ended { turn, state, receipt, usage } => Reply::Ended { turn, state, receipt, usage },
            Answer::NothingRan => Reply::NothingRan,
            Answer::Archived | Answer::Compacted(Ok(())) => {
                Reply::Session(Box::new(live.machine.settings.clone()), None)
            }
            Answer::Compacted(Err(why)) => {
                let _ = waiting.send(Err(Fault::unavailable(format!("the conversation is not summarized: {why}"))));
                return;
            }
        };
        let _ = waiting.send(Ok(reply));
    }

    fn generate(&mut self, run: Run) {
        let Ok(live) = self.live() else { return };
        let profile = live.machine.rules().agent.clone();
        let organization = &live.machine.settings.organization;
        let tools = with_kit(|kit| {
            let all = kit.tools.all(organization).into_iter().map(|tool| tool.spec());
            profile.offered(all.collect())
        });
        let Some(prompt) = live.machine.prompt(tools.unwrap_or_default()) else { return };
        // As it was when the turn started, like the model: the agent may have been changed since.
        let provider = live.machine.provider().unwrap_or(&profile.provider).to_owned();
        let cancel = CancellationToken::new();
        live.upstream = Some((run, cancel.clone()));
        let agent = live.agent.clone();
        let till = Till::of(&self.shared, || self.spender(None, &provider, &prompt.model));
        let Some(about) = self.tool_context() else { return };
        let persona = self.persona();
        agent.do_send(Generate { run, provider, prompt, till, about, cancel, summary: false, persona });
    }

    /// The same way as an answer, and paid for like one; but nobody hears it as it comes.
    fn summarize(&mut self, run: Run) {
        let Ok(live) = self.live() else { return };
        let Some((provider, prompt)) = live.machine.summary_prompt() else { return };
        let cancel = CancellationToken::new();
        live.upstream = Some((run, cancel.clone()));
        let (agent, owner) = (live.agent.clone(), live.machine.settings.user.clone());
        // Between turns nobody else than the owner is there to pay.
        let user = live.machine.current().map_or(owner, |turn| turn.user.clone());
        let till = Till::of(&self.shared, || self.spender(Some(&user), &provider, &prompt.model));
        let Some(about) = self.tool_context() else { return };
        agent.do_send(Generate { run, provider, prompt, till, about, cancel, summary: true, persona: None });
    }

    /// Who speaks, where its system prompt has something to be filled in.
    fn persona(&self) -> Option<Persona> {
        let State::Live(live) = &self.state else { return None };
        let agent = &live.machine.rules().agent;
        let turn = live.machine.current()?;
        let entity = live.machine.settings.entity.clone();
        let template = agent.system.clone().unwrap_or_default();
        (entity.is_some() || template.contains("{{")).then(|| Persona {
            agent: agent.name.clone(),
            template,
            organization: self.place.0.clone(),
            user: turn.user.clone(),
            entity,
            turn: turn.id,
            request_id: turn.correlation_id.clone(),
        })
    }

    /// For whom tools of the turn at work run.
    fn tool_context(&self) -> Option<ToolContext> {
        let State::Live(live) = &self.state else { return None };
        Some(ToolContext {
            now: SystemSource.now(),
            request_id: live.machine.current().map(|t| t.correlation_id.clone()).unwrap_or_default(),
            organization: self.place.0.clone(),
            user: live.machine.settings.user.clone(),
            conversation: self.place.1,
            cancel: CancellationToken::new(),
            alive: Alive::default(),
        })
    }

    /// Who pays: whoever sent the message, for the agent and the model that answer it.
    pub(super) fn spender(&self, user: Option<&UserId>, provider: &str, model: &str) -> Option<Spender> {
        let State::Live(live) = &self.state else { return None };
        let user = user.cloned().or_else(|| live.machine.current().map(|turn| turn.user.clone()))?;
        Some(Spender {
            organization: self.place.0.clone(),
            user,
            agent: live.machine.rules().agent.name.clone(),
            provider: provider.to_owned(),
            model: model.to_owned(),
        })
    }

    fn run_tool(&mut self, call: crate::domain::ids::PartId, tool: String, input: serde_json::Value) {
        crate::failpoint::reach("tool.executing");
        let book = self.shared.settings.get().tool_book.clone();
        let limits = ToolLimits {
            silence: Duration::from_millis(u64::try_from(book.time_limit(&tool)).unwrap_or(1)),
            output_bytes: book.output_bytes(&tool),
        };
        let Some(context) = self.tool_context() else { return };
        let Ok(live) = self.live() else { return };
        live.agent.do_send(RunTool { call, tool, input, context, limits });
    }

    /// What the agent session reports.
    pub(super) fn report(&mut self, report: Report, context: &mut Context<Self>) {
        let Ok(live) = self.live() else { return };
        let source = &mut SystemSource;
        let outcome = match report {
            Report::Said { run, events } => {
                crate::failpoint::reach("conversation.report");
                let mut all = Outcome::default();
                for event in events {
                    let more = live.machine.on_stream(run, event, source);
                    all.writes.extend(more.writes);
                    all.events.extend(more.events);
                }
                // A part that ended has its row written with the next batch of facts, or by the next checkpoint.
                return self.stream(all, context);
            }
            Report::StepEnded { run, end, previews } => return self.step_ended(run, end, &previews, context),
            Report::Refused { run, refused } => {
                live.upstream.take_if(|(known, _)| *known == run);
                live.machine.on_refused(run, refused, source)
            }
            Report::Summarized { run, summary } => {
                live.upstream.take_if(|(known, _)| *known == run);
                if let Err(why) = &summary {
                    tracing::warn!(conversation = %live.machine.settings.id, why, "a conversation was not summarized");
                }
                live.machine.on_summary(run, summary, source)
            }
            Report::UpstreamClosed { run, at } => live.machine.on_upstream_closed(run, at, source),
            Report::ToolDone { call, report } => live.machine.on_tool_done(call, report, source),
        };
        self.drive(outcome, context, |_, _, _| {});
    }

    /// Streaming events go out at once; rows that came with them follow by themselves.
    fn stream(&mut self, outcome: Outcome, context: &mut Context<Self>) {
        if !outcome.writes.is_empty() {
            self.write_behind(outcome.writes, context);
        }
        self.tell(outcome.events, outcome.effects, context);
    }

    /// Rows that nobody waits for. They are written in order with everything else.
    fn write_behind(&mut self, writes: Vec<crate::domain::record::Write>, context: &mut Context<Self>) {
        let batch = Batch {
            organization: self.place.0.clone(),
            conversation: self.place.1,
            at: SystemSource.now(),
            writes,
            idempotency: None,
        };
        let life = self.life;
        if let Ok(live) = self.live() {
            live.behind += 1;
        }
        let commit = self.shared.store.commit(batch).into_actor(self).map(move |result, actor, context| {
            actor.guarded(context, |actor, context| {
                if actor.life != life {
                    return;
                }
                match (result, actor.live()) {
                    (Ok(()), Ok(live)) => live.behind -= 1,
                    (Ok(()), Err(_)) => {}
                    (Err(fault), _) => actor.commit_failed(&fault, context),
                }
            });
        });
        context.spawn(commit);
    }

    fn arm_checkpoint(&mut self, context: &mut Context<Self>) {
        let State::Live(live) = &mut self.state else { return };
        if live.checkpoint_armed || live.upstream.is_none() {
            return;
        }
        live.checkpoint_armed = true;
        let life = self.life;
        context.run_later(CHECKPOINT, move |actor, context| {
            actor.guarded(context, |actor, context| {
                if actor.life != life {
                    return;
                }
                let Ok(live) = actor.live() else { return };
                live.checkpoint_armed = false;
                let writes = live.checkpoint();
                if !writes.is_empty() {
                    actor.write_behind(writes, context);
                }
                actor.arm_checkpoint(context);
            });
        });
    }

    /// Wakes up for the nearest deadline of an approval.
    pub(super) fn arm_alarm(&mut self, context: &mut Context<Self>) {
        let State::Live(live) = &mut self.state else { return };
        let next = live.machine.next_deadline();
        if next == live.alarm.as_ref().map(|(at, _)| *at) {
            return;
        }
        if let Some((_, handle)) = live.alarm.take() {
            context.cancel_future(handle);
        }
        let Some(at) = next else { return };
        let wait = Duration::from_millis(at.since(SystemSource.now()).max(0) as u64);
        let handle = context.run_later(wait, |actor, context| {
            actor.guarded(context, |actor, context| {
                let Ok(live) = actor.live() else { return };
                live.alarm = None;
                let outcome = live.machine.on_clock(&mut SystemSource);
                actor.drive(outcome, context, |actor, context, _| actor.arm_alarm(context));
            });
        });
        live.alarm = Some((at, handle));
    }

    /// The second batch of a grant: the tool starts.
    pub(super) fn after_grant(&mut self, context: &mut Context<Self>) {
        crate::failpoint::reach("approval.granted");
        let Ok(live) = self.live() else { return };
        let outcome = live.machine.run_granted(&mut SystemSource);
        self.drive(outcome, context, |_, _, _| {});
    }
}

impl Live {
    /// What has to be written. Text that grows goes in one batch at a time: were a later piece written and the one before
    /// it not, the text on disk would have a hole.
    fn checkpoint(&mut self) -> Vec<crate::domain::record::Write> {
        match self.behind {
            0 => self.machine.checkpoint(),
            _ => self.machine.checkpoint_complete(),
        }
    }

    /// Which pending approval is meant.
    pub(super) fn approval(&self, which: crate::domain::command::ApprovalRef) -> Option<ApprovalId> {
        use crate::domain::command::ApprovalRef;
        match which {
            ApprovalRef::Request(id) => Some(id),
            ApprovalRef::Call(call) => self.machine.approvals().iter().find(|a| a.call == call).map(|a| a.id),
        }
    }
}
