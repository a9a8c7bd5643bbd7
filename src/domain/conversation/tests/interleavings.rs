//! Approve, deny, time-out, abort, disconnect and restart, in any order and at the same moment: each question has one
//! outcome, and nothing runs that was not granted as it stands.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::approval::ApprovalState;
use crate::domain::ids::ApprovalId;

/// Generated orders; `PROPTEST_CASES` asks for another number.
const CASES: u32 = 10_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Decide {
        pick: u8,
        approved: bool,
    },
    /// The grant is on disk; the process ends before its tool is started.
    GrantAndDie(u8),
    /// Milliseconds.
    Pass(u16),
    Stop,
    Abort,
    Leave,
    ComeBack,
    ToolDone(u8),
    Restart,
    /// The process ends before what the next step leads to is on disk.
    LoseNext,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), any::<bool>()).prop_map(|(pick, approved)| Step::Decide { pick, approved }),
        2 => any::<u8>().prop_map(Step::GrantAndDie),
        // The deadline and the grace themselves among them: the same moment is an order too.
        2 => prop_oneof![Just(10_000), Just(30_000), 0u16..31_000].prop_map(Step::Pass),
        1 => Just(Step::Stop),
        1 => Just(Step::Abort),
        2 => Just(Step::Leave),
        2 => Just(Step::ComeBack),
        4 => any::<u8>().prop_map(Step::ToolDone),
        2 => Just(Step::Restart),
        1 => Just(Step::LoseNext),
    ]
}

/// What each question came to, as far as anybody knows.
type Outcomes = BTreeMap<ApprovalId, ApprovalState>;

fn pick<T: Copy>(among: &[T], at: u8) -> Option<T> {
    among.get(usize::from(at) % among.len().max(1)).copied()
}

fn take(d: &mut Driver, step: Step) {
    let all: Vec<ApprovalId> = d.rows.approvals.keys().copied().collect();
    let waiting: Vec<ApprovalId> = d.conversation.approvals().iter().map(|a| a.id).collect();
    match step {
        Step::Decide { pick: at, approved } => {
            if let Some(id) = pick(&all, at) {
                let counted = d.decide(id, approved, if approved { "ann" } else { "bob" });
                assert_eq!(counted, waiting.contains(&id), "one decision for each question");
            }
        }
        Step::GrantAndDie(at) => {
            if let Some(id) = pick(&waiting, at) {
                let decision =
                    Decision { by: Some(user("ann")), at: d.clock.now(), reason: None, origin: "test".into() };
                let decided = d.conversation.decide(id, true, decision, &mut d.clock).expect("it waits");
                d.perform(decided.1);
                d.crash();
            }
        }
        Step::Pass(millis) => d.pass(i64::from(millis)),
        Step::Stop => drop(d.stop(None, StopKind::Stop)),
        Step::Abort => drop(d.stop(None, StopKind::Abort)),
        Step::Leave => d.answerers(0),
        Step::ComeBack => d.answerers(1),
        Step::ToolDone(at) => {
            let running: Vec<PartId> = d.tools.iter().copied().collect();
            if let Some(call) = pick(&running, at) {
                d.tool_done(call, report("output"));
            }
        }
        Step::Restart => d.crash(),
        Step::LoseNext => d.lose_next = true,
    }
}

/// A question that has come to something stays so; who granted it is on record.
fn outcomes_hold(d: &Driver, known: &mut Outcomes) {
    for (id, approval) in &d.rows.approvals {
        if approval.state == ApprovalState::Pending {
            assert!(!known.contains_key(id), "{id} waits again");
            continue;
        }
        assert_eq!(*known.entry(*id).or_insert(approval.state), approval.state, "{id} has two outcomes");
        let decision = approval.decision.as_ref().expect("who and when");
        let by_human = matches!(approval.state, ApprovalState::Approved | ApprovalState::Denied);
        assert_eq!(decision.by.is_some(), by_human, "{approval:?}");
        let events =
            d.events.iter().filter(|e| matches!(e, Event::ApprovalResolved { approval, .. } if approval.id == *id));
        assert!(events.count() <= 1, "told once");
    }
    for call in &d.ran {
        let approval = d.rows.approvals.values().find(|a| a.call == *call).expect("nothing runs unasked");
        assert_eq!(approval.state, ApprovalState::Approved, "an ungranted run");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_question_has_one_outcome_and_nothing_ungranted_runs(
        calls in 1usize..4,
        runs_alone in any::<bool>(),
        steps in prop::collection::vec(step(), 1..16),
    ) {
        let mut d = Driver::new();
        let turn = d.send("a");
        for number in 0..calls {
            d.stream(call(&format!("c{number}")));
        }
        let verdict = if runs_alone { alone(ToolPolicy::Ask) } else { verdict(ToolPolicy::Ask) };
        d.calls(vec![verdict; calls]);
        d.answerers(1);
        let mut known = Outcomes::new();
        for step in steps {
            take(&mut d, step);
            outcomes_hold(&d, &mut known);
        }
        d.lose_next = false;
        // Whatever is left comes to its end by itself.
        for _ in 0..20 {
            d.closed();
            if let Some(tool) = d.tools.first().copied() {
                d.tool_done(tool, report("at last"));
            }
            d.pass(30_000);
        }
        outcomes_hold(&d, &mut known);
        prop_assert_eq!(known.len(), calls);
        let asked_on = d.upstream.is_some() && !d.state(turn).has_ended();
        prop_assert!(asked_on || d.state(turn).has_ended(), "{:?}", d.state(turn));
    }
}

/// The arguments of a call, in memory and on disk, are made others.
fn tamper(d: &mut Driver, call: PartId) {
    let other = serde_json::json!({ "id": "another" });
    for part in d.conversation.messages.iter_mut().flat_map(|m| &mut m.parts).filter(|p| p.id == call) {
        if let PartBody::ToolCall(body) = &mut part.body {
            body.input = other.clone();
        }
    }
    if let Some((_, Part { body: PartBody::ToolCall(body), .. })) = d.rows.parts.get_mut(&call) {
        body.input = other;
    }
    d.client = client::Client::new(d.conversation.snapshot());
}

/// Case 36.
#[test]
fn arguments_that_are_others_than_those_approved_never_run() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    let asked = d.calls_of(turn)[0].0;
    let id = d.approval();
    tamper(&mut d, asked);
    assert!(d.decide(id, true, "ann"));
    assert!(d.ran.is_empty());
    assert_eq!(d.calls_of(turn), [(asked, ToolCallState::Cancelled)]);
    assert_eq!(d.results_of(turn), ["cancelled: the arguments are not those that were approved"]);
}

/// The same, where a restart lies between the grant and the run.
#[test]
fn nor_do_they_after_a_restart() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    let asked = d.calls_of(turn)[0].0;
    let decision = Decision { by: Some(user("ann")), at: d.clock.now(), reason: None, origin: "test".into() };
    let decided = d.conversation.decide(d.approval(), true, decision, &mut d.clock).expect("it waits");
    d.perform(decided.1);
    tamper(&mut d, asked);
    d.crash();
    assert!(d.ran.is_empty());
    assert_eq!(d.calls_of(turn), [(asked, ToolCallState::Cancelled)]);
}

#[test]
fn no_more_tools_run_at_once_than_may() {
    let mut d = Driver::new();
    let turn = d.send("a");
    for number in 0..5 {
        d.stream(call(&format!("c{number}")));
    }
    d.calls(vec![verdict(ToolPolicy::Allow); 5]);
    let most = d.conversation.rules().tools_at_once;
    for left in (1..=5).rev() {
        assert_eq!(d.tools.len(), left.min(most));
        let first = d.tools.first().copied().expect("one runs");
        d.tool_done(first, report("done"));
    }
    assert!(d.calls_of(turn).iter().all(|(_, state)| *state == ToolCallState::Succeeded));
}

/// A remembered answer decides as a policy does, and is on record.
#[test]
fn what_a_remembered_answer_decides_is_on_record() {
    let rule = crate::domain::ids::RuleId(7);
    for (policy, state) in [(ToolPolicy::Allow, ToolCallState::Executing), (ToolPolicy::Deny, ToolCallState::Denied)] {
        let mut d = Driver::new();
        let turn = d.send("a");
        d.stream(call("c1"));
        d.calls(vec![Verdict { rule: Some(rule), ..verdict(policy) }]);
        assert_eq!(d.calls_of(turn)[0].1, state);
        assert!(d.conversation.approvals().is_empty());
        let facts = d.rows.facts.iter().filter(|f| f.kind == "tool_call.remembered");
        let rules: Vec<_> = facts.map(|f| f.refs["rule"].clone()).collect();
        assert_eq!(rules, [serde_json::json!(rule.to_string())]);
    }
}
