//! Anything may happen in any order, and at any moment the process may end: the invariants hold after each step, and
//! in the end all comes to rest with everyone answered.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::domain::message::{Attachment, AttachmentKind};
use crate::domain::settings::TodoState;

/// What may happen. Numbers pick among what there is at that moment.
#[derive(Debug, Clone)]
enum Input {
    Send {
        busy: Option<BusyPolicy>,
        words: u8,
        file: bool,
    },
    Edit(u8),
    Cancel(Option<u8>),
    Stop(Option<u8>, bool),
    /// By the one whose most messages are, or by the other one.
    Halt(bool),
    Think(u8),
    Closed,
    Retry(Option<u8>),
    Pause,
    Resume,
    Archive,
    Change(u8),
    Todos(u8),
    Stream {
        what: Said,
        stale: bool,
    },
    Step {
        end: End,
        verdicts: Vec<Word>,
        stale: bool,
    },
    ToolDone {
        pick: u8,
        error: bool,
        todos: bool,
        stale: bool,
    },
    Decide {
        pick: u8,
        approved: bool,
        by: u8,
    },
    /// A grant is committed; the process ends before its tool is started.
    DecideAndCrash {
        pick: u8,
    },
    Pass(u16),
    Answerers(u8),
    Checkpoint,
    Resubscribe,
    Trim,
    Crash,
    /// The process ends before what this leads to is committed.
    Lose(Box<Input>),
}

#[derive(Debug, Clone)]
enum Said {
    Text(u8),
    Thinking(u8),
    Signature,
    BlockEnd,
    Call(u8),
    Usage(u8),
    Ended,
}

#[derive(Debug, Clone)]
enum End {
    Done(StopReason),
    Broken,
}

/// A verdict: its policy, whether it runs alone, whether there is no such tool.
type Word = (ToolPolicy, bool, bool);

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        6 => any::<u8>().prop_map(Said::Text),
        2 => any::<u8>().prop_map(Said::Thinking),
        1 => Just(Said::Signature),
        1 => Just(Said::BlockEnd),
        9 => (0u8..4).prop_map(Said::Call),
        1 => any::<u8>().prop_map(Said::Usage),
        1 => Just(Said::Ended),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Done(StopReason::EndTurn)),
        8 => Just(End::Done(StopReason::ToolUse)),
        1 => Just(End::Done(StopReason::MaxTokens)),
        1 => Just(End::Done(StopReason::Refusal)),
        1 => Just(End::Broken),
    ]
}

fn word() -> impl Strategy<Value = Word> {
    let policy = prop_oneof![
        3 => Just(ToolPolicy::Allow),
        4 => Just(ToolPolicy::Ask),
        1 => Just(ToolPolicy::Deny),
    ];
    (policy, any::<bool>(), prop::bool::weighted(0.1))
}

fn busy() -> impl Strategy<Value = Option<BusyPolicy>> {
    prop_oneof![
        3 => Just(None),
        2 => Just(Some(BusyPolicy::Queue)),
        1 => Just(Some(BusyPolicy::Interrupt)),
        1 => Just(Some(BusyPolicy::Reject)),
    ]
}

fn pick() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.4, any::<u8>())
}

/// What people do.
fn command() -> BoxedStrategy<Input> {
    prop_oneof![
        12 => (busy(), any::<u8>(), prop::bool::weighted(0.1))
            .prop_map(|(busy, words, file)| Input::Send { busy, words, file }),
        2 => any::<u8>().prop_map(Input::Edit),
        3 => pick().prop_map(Input::Cancel),
        4 => (pick(), any::<bool>()).prop_map(|(turn, abort)| Input::Stop(turn, abort)),
        4 => any::<bool>().prop_map(Input::Halt),
        1 => any::<u8>().prop_map(Input::Think),
        4 => pick().prop_map(Input::Retry),
        2 => Just(Input::Pause),
        4 => Just(Input::Resume),
        1 => any::<u8>().prop_map(Input::Change),
        1 => any::<u8>().prop_map(Input::Todos),
        9 => (any::<u8>(), prop::bool::weighted(0.7), any::<u8>())
            .prop_map(|(pick, approved, by)| Input::Decide { pick, approved, by }),
    ]
    .boxed()
}

/// What provider, tools and clock do.
fn world() -> BoxedStrategy<Input> {
    let rarely = || prop::bool::weighted(0.07);
    prop_oneof![
        20 => (said(), rarely()).prop_map(|(what, stale)| Input::Stream { what, stale }),
        12 => (end(), prop::collection::vec(word(), 0..6), rarely())
            .prop_map(|(end, verdicts, stale)| Input::Step { end, verdicts, stale }),
        8 => (any::<u8>(), any::<bool>(), rarely(), rarely())
            .prop_map(|(pick, error, todos, stale)| Input::ToolDone { pick, error, todos, stale }),
        6 => Just(Input::Closed),
        3 => (0u16..20_000).prop_map(Input::Pass),
        3 => (0u8..3).prop_map(Input::Answerers),
        4 => Just(Input::Checkpoint),
    ]
    .boxed()
}

fn input() -> BoxedStrategy<Input> {
    prop_oneof![
        40 => command(),
        60 => world(),
        2 => Just(Input::Resubscribe),
        1 => Just(Input::Trim),
        3 => Just(Input::Crash),
        1 => any::<u8>().prop_map(|pick| Input::DecideAndCrash { pick }),
        2 => command().prop_map(|input| Input::Lose(Box::new(input))),
        2 => world().prop_map(|input| Input::Lose(Box::new(input))),
    ]
    .boxed()
}

/// What can be said of a conversation without looking into it.
#[derive(Debug, Clone)]
struct Model {
    state: ConversationState,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Input;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { state: ConversationState::Active }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Input> {
        prop_oneof![200 => input(), 1 => Just(Input::Archive)].boxed()
    }

    fn apply(mut model: Self, input: &Input) -> Self {
        model.state = match (input, model.state) {
            (_, ConversationState::Archived) | (Input::Archive, _) => ConversationState::Archived,
            (Input::Pause, _) => ConversationState::Paused,
            (Input::Resume, _) => ConversationState::Active,
            (_, state) => state,
        };
        model
    }
}

impl Driver {
    fn some_turn(&self, pick: u8) -> Option<TurnId> {
        let known: Vec<TurnId> = self.conversation.ended.iter().chain(&self.conversation.live).map(|t| t.id).collect();
        known.get(usize::from(pick) % known.len().max(1)).copied()
    }

    fn happen(&mut self, input: Input) {
        match input {
            Input::Send { busy, words, file } => self.some_message(busy, words, file),
            Input::Edit(pick) => {
                let messages = self.conversation.messages();
                if let Some(message) = messages.get(usize::from(pick) % messages.len().max(1)).map(|m| m.id) {
                    let _ = self.edit(message, "edited");
                }
            }
            Input::Cancel(pick) => drop(self.cancel(pick.and_then(|p| self.some_turn(p)))),
            Input::Stop(pick, abort) => {
                let kind = if abort { StopKind::Abort } else { StopKind::Stop };
                drop(self.stop(pick.and_then(|p| self.some_turn(p)), kind));
            }
            Input::Halt(most) => drop(self.halt(if most { "ann" } else { "bob" })),
            Input::Think(n) => {
                let level = ThinkingLevel::ALL[usize::from(n) % ThinkingLevel::ALL.len()];
                if let Ok(outcome) = self.conversation.think(level.name(), &mut self.clock) {
                    self.perform(outcome);
                }
            }
            Input::Closed => self.closed(),
            Input::Retry(pick) => drop(self.retry(pick.and_then(|p| self.some_turn(p)))),
            Input::Pause => drop(self.pause()),
            Input::Resume => drop(self.resume()),
            Input::Archive => drop(self.archive()),
            Input::Change(n) => {
                let model = n.is_multiple_of(2).then(|| format!("demo-{n}"));
                let change = SettingsChange { model: Some(model), ..Default::default() };
                if let Ok(outcome) = self.conversation.change(change, &mut self.clock) {
                    self.perform(outcome);
                }
            }
            Input::Todos(n) => {
                let todo = Todo { id: n.to_string(), content: "do".into(), state: TodoState::Pending };
                if let Ok(outcome) = self.conversation.replace_todos(vec![todo]) {
                    self.perform(outcome);
                }
            }
            Input::Lose(input) => {
                self.lose_next = true;
                self.happen(*input);
                // Where nothing had to be committed nothing was lost either; the process ends all the same.
                self.crash();
            }
            other => self.happen_outside(other),
        }
    }

    fn some_message(&mut self, busy: Option<BusyPolicy>, words: u8, file: bool) {
        let attachment = Attachment {
            kind: AttachmentKind::File,
            name: "a.txt".into(),
            media_type: None,
            url: Some("https://example.org/a.txt".into()),
            data: None,
        };
        let _ = self.send_this(Send {
            user: user(if words.is_multiple_of(3) { "bob" } else { "ann" }),
            content: if file { String::new() } else { format!("message {words}") },
            attachments: if file { vec![attachment] } else { Vec::new() },
            model: words.is_multiple_of(5).then(|| "demo-5".into()),
            busy,
            correlation_id: format!("req-{words}"),
        });
    }

    fn happen_outside(&mut self, input: Input) {
        // A run of before, or one that never was.
        let stale_run = self.runs.first().copied().filter(|r| self.upstream != Some(*r)).unwrap_or(Run::MAX);
        match input {
            Input::Stream { what, stale } => {
                if let Some(run) = if stale { Some(stale_run) } else { self.upstream } {
                    self.stream_of(run, what.event());
                }
            }
            Input::Step { end, verdicts, stale } => {
                let end = match end {
                    End::Done(reason) => Ok(reason),
                    End::Broken => Err(broken()),
                };
                let verdicts = verdicts.into_iter().map(verdict_of).collect();
                if let Some(run) = if stale { Some(stale_run) } else { self.upstream } {
                    self.step_of(run, end, verdicts);
                }
            }
            Input::ToolDone { pick, error, todos, stale } => {
                let among = if stale { &self.ran - &self.tools } else { self.tools.clone() };
                if let Some(call) = among.iter().nth(usize::from(pick) % among.len().max(1)).copied() {
                    let todo = Todo { id: "t".into(), content: "by a tool".into(), state: TodoState::Completed };
                    let todos = todos.then(|| vec![todo]);
                    self.tool_done(call, ToolReport { output: "output".into(), is_error: error, todos });
                }
            }
            Input::Decide { pick, approved, by } => self.some_decision(pick, approved, by),
            Input::DecideAndCrash { pick } => {
                let waiting: Vec<_> = self.conversation.approvals().iter().map(|a| a.id).collect();
                if let Some(id) = waiting.get(usize::from(pick) % waiting.len().max(1)) {
                    let decision = Decision { by: Some(user("ann")), at: self.clock.now(), ..nobody() };
                    let decided = self.conversation.decide(*id, true, decision, &mut self.clock);
                    self.perform(decided.expect("it waits").1);
                    self.crash();
                }
            }
            Input::Pass(millis) => self.pass(i64::from(millis)),
            Input::Answerers(count) => self.answerers(usize::from(count)),
            Input::Checkpoint => self.checkpoint(),
            Input::Resubscribe => self.client = client::Client::new(self.conversation.snapshot()),
            Input::Trim => {
                self.conversation.trim(1_000);
                self.client = client::Client::new(self.conversation.snapshot());
            }
            Input::Crash => self.crash(),
            _ => unreachable!("done by happen"),
        }
    }

    /// Of those that wait, or of those that are decided already: then it does not count.
    fn some_decision(&mut self, pick: u8, approved: bool, by: u8) {
        let all: Vec<_> = self.rows.approvals.keys().copied().collect();
        let waiting: Vec<_> = self.conversation.approvals().iter().map(|a| a.id).collect();
        let among = if by.is_multiple_of(4) || waiting.is_empty() { all } else { waiting.clone() };
        if let Some(id) = among.get(usize::from(pick) % among.len().max(1)) {
            let counted = self.decide(*id, approved, if by.is_multiple_of(2) { "ann" } else { "bob" });
            assert_eq!(counted, waiting.contains(id), "one decision for each approval");
        }
    }

    /// Lets everybody do what they owe: it must come to an end, and soon.
    fn come_to_rest(&mut self) {
        drop(self.resume());
        for _ in 0..100 {
            if self.conversation.is_idle() {
                assert!(self.asking.is_empty());
                return;
            }
            self.closed();
            if let Some(run) = self.upstream {
                self.step_of(run, Ok(StopReason::EndTurn), Vec::new());
            }
            if let Some(call) = self.tools.first().copied() {
                self.tool_done(call, report("at last"));
            }
            self.pass(30_000);
        }
        panic!("it never comes to rest: {:?}", self.conversation);
    }
}

impl Said {
    fn event(self) -> StreamEvent {
        match self {
            Self::Text(n) => text(&"ä".repeat(usize::from(n % 4))),
            Self::Thinking(n) => StreamEvent::Thinking("hm".repeat(usize::from(n % 3))),
            Self::Signature => StreamEvent::Signature("seal".into()),
            Self::BlockEnd => StreamEvent::BlockEnd,
            Self::Call(n) => call(&format!("call_{n}")),
            Self::Usage(n) => usage(n.into()),
            Self::Ended => StreamEvent::Ended(StopReason::EndTurn),
        }
    }
}

fn nobody() -> Decision {
    Decision { by: None, at: Timestamp(0), reason: None, origin: "test".into() }
}

fn verdict_of((policy, runs_alone, unknown): Word) -> Verdict {
    let error = unknown.then(|| "no such tool".to_owned());
    Verdict { concurrent: !runs_alone, error, ..verdict(policy) }
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Driver;
    type Reference = Model;

    fn init_test(_: &Model) -> Driver {
        Driver::new()
    }

    fn apply(mut driver: Driver, _: &Model, input: Input) -> Driver {
        driver.happen(input);
        driver
    }

    fn check_invariants(driver: &Driver, model: &Model) {
        assert_eq!(driver.conversation.settings.state, model.state);
        if model.state == ConversationState::Archived && driver.closing.is_none() {
            assert!(driver.conversation.is_idle(), "archived, and something goes on");
        }
    }

    fn teardown(mut driver: Driver, _: Model) {
        driver.come_to_rest();
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_is_invalid(sequential 1..120 => Machine);
}

/// Few enough for every run; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}
