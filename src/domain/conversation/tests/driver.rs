//! Drives a conversation as the actor does: urgent things, commit, events, effects; then looks whether all still holds.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Client, shown};
use super::store::Rows;
use super::*;
use crate::domain::generation::Prompt;
use crate::domain::ids::ApprovalId;

pub struct Driver {
    pub conversation: Conversation,
    pub clock: Clock,
    pub rows: Rows,
    pub client: Client,
    /// All events that were sent.
    pub events: Vec<Event>,
    /// The request to the provider that is open.
    pub upstream: Option<Run>,
    /// One that was closed, and not yet reported.
    pub closing: Option<Run>,
    pub runs: BTreeSet<Run>,
    pub prompts: Vec<Prompt>,
    /// What summaries were asked for with.
    pub summaries: Vec<Prompt>,
    /// Tools that run.
    pub tools: BTreeSet<PartId>,
    /// Tools that were ever started.
    pub ran: BTreeSet<PartId>,
    pub policies: BTreeMap<PartId, ToolPolicy>,
    pub wakes: BTreeSet<Timestamp>,
    /// Askers without an answer, and answers.
    pub asking: BTreeSet<Asker>,
    pub answers: BTreeMap<Asker, Answer>,
    next_asker: Asker,
    /// Turns of which nothing may be heard any more.
    pub silent: BTreeSet<TurnId>,
    /// Turns that somebody halted: they end as stopped.
    pub halted: BTreeSet<TurnId>,
    pub last_started: u32,
    /// The next batch is not committed: the process ends instead.
    pub lose_next: bool,
}

impl Driver {
    pub fn new() -> Self {
        Self::with(rules())
    }

    pub fn with(rules: Rules) -> Self {
        let conversation = Conversation::new(settings(), rules);
        let client = Client::new(conversation.snapshot());
        let mut rows = Rows::default();
        rows.commit(vec![Write::Conversation(settings())]);
        Self {
            conversation,
            clock: Clock { now: 1_000, ids: 1_000 },
            rows,
            client,
            events: Vec::new(),
            upstream: None,
            closing: None,
            runs: BTreeSet::new(),
            prompts: Vec::new(),
            summaries: Vec::new(),
            tools: BTreeSet::new(),
            ran: BTreeSet::new(),
            policies: BTreeMap::new(),
            wakes: BTreeSet::new(),
            asking: BTreeSet::new(),
            answers: BTreeMap::new(),
            next_asker: 1,
            silent: BTreeSet::new(),
            halted: BTreeSet::new(),
            last_started: 0,
            lose_next: false,
        }
    }

    /// Does what an outcome says, in its order.
    pub fn perform(&mut self, outcome: Outcome) {
        for urgent in outcome.urgent {
            match urgent {
                Urgent::CloseUpstream { run } => {
                    assert_eq!(self.upstream.take(), Some(run), "closes what is open");
                    assert_eq!(self.closing.replace(run), None);
                    self.silence();
                }
                Urgent::CancelTools => self.tools.clear(),
            }
        }
        if !outcome.writes.is_empty() {
            if std::mem::take(&mut self.lose_next) {
                return self.crash();
            }
            let mut writes = outcome.writes;
            writes.extend(self.conversation.checkpoint());
            self.rows.commit(writes);
            self.rows_hold();
        }
        for event in &outcome.events {
            self.hear(event);
        }
        self.events.extend(outcome.events);
        for effect in outcome.effects {
            self.effect(effect);
        }
        self.holds();
        assert_eq!(shown(&self.client.seen), shown(&self.conversation.snapshot()), "events tell all");
    }

    fn silence(&mut self) {
        let turn = self.conversation.current().map(|t| t.id);
        self.silent.extend(turn);
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Delta { turn, .. } => assert!(!self.silent.contains(turn), "text after the stop"),
            Event::PartCreated { turn, part, .. } if !matches!(part.body, PartBody::ToolResult { .. }) => {
                assert!(!self.silent.contains(turn), "a part after the stop");
            }
            Event::TurnStarted { turn, .. } => {
                assert!(turn.no > self.last_started, "turns start in order");
                assert_eq!(self.conversation.settings.state, ConversationState::Active);
                self.last_started = turn.no;
            }
            Event::TurnEnded { turn, tally, .. } => {
                assert_eq!(tally.totals, self.conversation.settings.usage, "the totals are those of that moment");
                let over = matches!(turn.state, TurnState::Stopped | TurnState::Aborted | TurnState::Cancelled);
                assert!(over || !self.halted.contains(&turn.id), "halted, and {:?}", turn.state);
                self.silent.insert(turn.id);
            }
            _ => {}
        }
        self.client.hear(event);
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Generate { run } => {
                assert!(self.runs.insert(run), "a run's number is never used again");
                assert_eq!(self.upstream.replace(run), None, "one request at a time");
                let prompt = self.conversation.prompt(Vec::new()).expect("a turn at work");
                invariants::prompt_is_valid(&prompt);
                invariants::prompt_asks(self, &prompt);
                self.prompts.push(prompt);
            }
            Effect::Summarize { run } => {
                assert!(self.runs.insert(run), "a run's number is never used again");
                assert_eq!(self.upstream.replace(run), None, "one request at a time");
                self.summaries.push(self.conversation.summary_prompt().expect("something to summarize").1);
            }
            Effect::RunTool { call, input, .. } => {
                let row = self.rows.call(call);
                assert_eq!((row.state, &row.input), (ToolCallState::Executing, &input), "committed before it runs");
                invariants::may_run(self, call);
                assert!(self.ran.insert(call), "runs once");
                self.tools.insert(call);
            }
            Effect::Answer { asker, answer } => {
                assert!(self.asking.remove(&asker), "answered once: {asker}");
                self.answers.insert(asker, answer);
            }
            Effect::WakeAt(at) => {
                self.wakes.insert(at);
            }
        }
    }

    /// The process ends; another one finds the rows.
    pub fn crash(&mut self) {
        (self.upstream, self.closing, self.lose_next) = (None, None, false);
        self.tools.clear();
        self.wakes.clear();
        self.asking.clear();
        // What was not on disk was not asked for, and of what was cut off no event tells.
        self.halted.clear();
        let rules = self.conversation.rules().clone();
        let (conversation, outcome) = Conversation::recover(self.rows.load(), rules, &mut self.clock);
        assert!(outcome.events.is_empty() && outcome.urgent.is_empty());
        self.conversation = conversation;
        self.client = Client::new(self.conversation.snapshot());
        self.last_started = self.conversation.current().map_or(self.last_started, |t| t.no);
        self.perform(outcome);
        self.rows_hold();
    }

    pub fn asker(&mut self) -> Asker {
        self.next_asker += 1;
        self.asking.insert(self.next_asker);
        self.next_asker
    }

    /// A command that refuses has changed nothing.
    fn unchanged<T>(&mut self, command: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let before = self.conversation.snapshot();
        let result = command(self);
        if result.is_err() {
            assert_eq!(before, self.conversation.snapshot());
        }
        result
    }

    pub fn send_as(&mut self, content: &str, busy: Option<BusyPolicy>) -> Result<TurnId, Fault> {
        self.send_this(Send {
            user: user("ann"),
            content: content.into(),
            attachments: Vec::new(),
            model: None,
            busy,
            correlation_id: format!("req-{content}"),
        })
    }

    pub fn send_this(&mut self, send: Send) -> Result<TurnId, Fault> {
        let (_, turn, outcome) = self.unchanged(|d| d.conversation.send(send, &mut d.clock))?;
        self.perform(outcome);
        Ok(turn)
    }

    pub fn send(&mut self, content: &str) -> TurnId {
        self.send_as(content, None).expect("a message")
    }

    pub fn send_from(&mut self, name: &str, content: &str) -> TurnId {
        let send = Send {
            user: user(name),
            content: content.into(),
            attachments: Vec::new(),
            model: None,
            busy: None,
            correlation_id: format!("req-{content}"),
        };
        self.send_this(send).expect("a message")
    }

    pub fn edit(&mut self, message: MessageId, content: &str) -> Result<(), Fault> {
        let (_, outcome) = self.unchanged(|d| d.conversation.edit(message, content.into(), &mut d.clock))?;
        self.perform(outcome);
        Ok(())
    }

    pub fn stop(&mut self, turn: Option<TurnId>, kind: StopKind) -> Result<Asker, Fault> {
        let asker = self.asker();
        let result = self.unchanged(|d| d.conversation.stop(turn, kind, asker, &mut d.clock));
        self.asked(asker, result)
    }

    /// Stops what runs and takes out what that user has waiting.
    pub fn halt(&mut self, name: &str) -> Asker {
        let (asker, user, lost) = (self.asker(), user(name), self.lose_next);
        let current = self.conversation.current().map(|t| t.id);
        let outcome = self.conversation.halt(&user, asker, &mut self.clock);
        if !lost {
            self.halted.extend(current);
        }
        self.perform(outcome);
        if !lost {
            self.silent.extend(current);
            let waits = |t: &&Turn| t.state == TurnState::Queued && t.user == user;
            assert_eq!(self.conversation.live_turns().iter().find(waits), None, "none is left to start");
            let stops = self.conversation.current().is_some_and(|t| Some(t.id) == current);
            assert!(stops || !self.asking.contains(&asker), "answered, or answered when the turn has ended");
        }
        asker
    }

    pub fn cancel(&mut self, turn: Option<TurnId>) -> Result<Asker, Fault> {
        let asker = self.asker();
        let result = self.unchanged(|d| d.conversation.cancel(turn, asker, &mut d.clock));
        self.asked(asker, result)
    }

    /// An error is the answer too.
    fn asked(&mut self, asker: Asker, result: Result<Outcome, Fault>) -> Result<Asker, Fault> {
        if result.is_err() {
            self.asking.remove(&asker);
        }
        self.perform(result?);
        Ok(asker)
    }

    pub fn archive(&mut self) -> Asker {
        let asker = self.asker();
        let outcome = self.conversation.archive(asker, &mut self.clock);
        self.perform(outcome);
        asker
    }

    /// The provider's connection is gone.
    pub fn closed(&mut self) {
        if let Some(run) = self.closing.take() {
            let at = self.clock.now();
            let outcome = self.conversation.on_upstream_closed(run, at, &mut self.clock);
            self.perform(outcome);
        }
    }

    pub fn retry(&mut self, turn: Option<TurnId>) -> Result<TurnId, Fault> {
        let result =
            self.unchanged(|d| d.conversation.retry(turn, user("ann"), None, "req-again".into(), &mut d.clock));
        let (_, turn, outcome) = result?;
        self.perform(outcome);
        Ok(turn)
    }

    pub fn pause(&mut self) -> Result<(), Fault> {
        let outcome = self.unchanged(|d| d.conversation.pause(&mut d.clock))?;
        self.perform(outcome);
        Ok(())
    }

    pub fn resume(&mut self) -> Result<(), Fault> {
        let outcome = self.unchanged(|d| d.conversation.resume(&mut d.clock))?;
        self.perform(outcome);
        Ok(())
    }

    pub fn stream_of(&mut self, run: Run, event: StreamEvent) {
        let outcome = self.conversation.on_stream(run, event, &mut self.clock);
        assert!(outcome.writes.is_empty(), "what streams waits for no commit: {:?}", outcome.writes);
        self.perform(outcome);
    }

    /// The model says something.
    pub fn stream(&mut self, event: StreamEvent) {
        self.stream_of(self.upstream.expect("a request is open"), event);
    }

    pub fn step_of(&mut self, run: Run, end: Result<StopReason, ProviderFault>, verdicts: Vec<Verdict>) {
        if self.upstream == Some(run) {
            let calls = self.conversation.work.as_ref().map(|w| w.calls.clone()).unwrap_or_default();
            for (call, verdict) in calls.into_iter().zip(&verdicts) {
                self.policies.insert(call, verdict.policy);
            }
            self.upstream = None;
        }
        // A request ends once: by itself, or by being closed.
        self.closing.take_if(|closing| *closing == run);
        let outcome = self.conversation.on_step_ended(run, end, verdicts, &mut self.clock);
        self.perform(outcome);
    }

    /// The provider's message is complete, with calls judged so.
    pub fn calls(&mut self, verdicts: Vec<Verdict>) {
        self.step_of(self.upstream.expect("a request is open"), Ok(StopReason::ToolUse), verdicts);
    }

    /// What came of a summary that was asked for.
    pub fn summarized(&mut self, summary: Summary) {
        let run = self.upstream.take().expect("a request is open");
        let outcome = self.conversation.on_summary(run, summary, &mut self.clock);
        self.perform(outcome);
    }

    pub fn compact(&mut self) -> Result<Asker, Fault> {
        let asker = self.asker();
        let result = self.unchanged(|d| d.conversation.compact(asker));
        self.asked(asker, result)
    }

    pub fn clear(&mut self) -> Result<(), Fault> {
        let outcome = self.unchanged(|d| d.conversation.clear(user("ann"), &mut d.clock))?;
        self.perform(outcome);
        Ok(())
    }

    /// The request fails.
    pub fn fails(&mut self) {
        self.step_of(self.upstream.expect("a request is open"), Err(broken()), Vec::new());
    }

    /// The model is done.
    pub fn done(&mut self) {
        self.step_of(self.upstream.expect("a request is open"), Ok(StopReason::EndTurn), Vec::new());
    }

    /// A whole answer.
    pub fn answer(&mut self, words: &str) {
        self.stream(text(words));
        self.done();
    }

    pub fn tool_done(&mut self, call: PartId, report: ToolReport) {
        self.tools.remove(&call);
        let outcome = self.conversation.on_tool_done(call, report, &mut self.clock);
        self.perform(outcome);
    }

    /// Both batches of a grant, or the one of a denial. Whether it counted.
    pub fn decide(&mut self, id: ApprovalId, approved: bool, by: &str) -> bool {
        let decision = Decision { by: Some(user(by)), at: self.clock.now(), reason: None, origin: "test".into() };
        let Some((approval, outcome)) = self.conversation.decide(id, approved, decision, &mut self.clock) else {
            return false;
        };
        assert_eq!(approval.id, id);
        self.perform(outcome);
        self.run_granted();
        let granted = self.conversation.calls_in(ToolCallState::Approved);
        assert!(granted.is_empty() || !self.tools.is_empty(), "a grant waits for another tool only");
        true
    }

    pub fn run_granted(&mut self) {
        let outcome = self.conversation.run_granted(&mut self.clock);
        self.perform(outcome);
    }

    pub fn answerers(&mut self, count: usize) {
        let outcome = self.conversation.on_answerers(count, &mut self.clock);
        self.perform(outcome);
    }

    /// Time passes; the driver looks only when it was told to.
    pub fn pass(&mut self, millis: i64) {
        self.clock.now += millis;
        while let Some(at) = self.wakes.first().copied().filter(|at| at.0 <= self.clock.now) {
            self.wakes.remove(&at);
            let outcome = self.conversation.on_clock(&mut self.clock);
            self.perform(outcome);
        }
        let now = self.clock.now();
        assert!(self.conversation.next_deadline().is_none_or(|at| at > now), "nothing that is due is left");
    }

    pub fn checkpoint(&mut self) {
        let writes = self.conversation.checkpoint();
        self.rows.commit(writes);
        self.rows_hold();
    }

    /// The one approval that waits.
    pub fn approval(&self) -> ApprovalId {
        match self.conversation.approvals() {
            [one] => one.id,
            other => panic!("not one approval: {other:?}"),
        }
    }

    pub fn state(&self, turn: TurnId) -> TurnState {
        self.conversation.turn(turn).expect("a known turn").state
    }

    /// The answer of a turn.
    pub fn said(&self, turn: TurnId) -> &Message {
        let of_turn = |m: &&Message| m.turn == turn && m.author == Author::Assistant;
        self.conversation.messages().iter().find(of_turn).expect("an answer")
    }

    /// The states of the calls of a turn's answer, with their parts.
    pub fn calls_of(&self, turn: TurnId) -> Vec<(PartId, ToolCallState)> {
        let parts = self.said(turn).parts.iter();
        parts.filter_map(|p| if let PartBody::ToolCall(c) = &p.body { Some((p.id, c.state)) } else { None }).collect()
    }

    /// The outputs of the tool results of a turn's answer.
    pub fn results_of(&self, turn: TurnId) -> Vec<String> {
        let parts = self.said(turn).parts.iter();
        let result = |p: &Part| match &p.body {
            PartBody::ToolResult { result, .. } => Some(result.output.clone()),
            _ => None,
        };
        parts.filter_map(result).collect()
    }
}
