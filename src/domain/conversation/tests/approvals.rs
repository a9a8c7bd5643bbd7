//! Tool calls: allowed, denied, asked about; one decision each; silence is a denial.

use super::*;
use crate::domain::approval::ApprovalState;

/// A turn whose step ended with one call for each verdict.
fn with_calls(verdicts: Vec<Verdict>) -> (Driver, TurnId) {
    let mut d = Driver::new();
    let turn = d.send("a");
    for number in 0..verdicts.len() {
        d.stream(call(&format!("c{number}")));
    }
    d.calls(verdicts);
    (d, turn)
}

fn states(d: &Driver, turn: TurnId) -> Vec<ToolCallState> {
    d.calls_of(turn).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn what_is_allowed_runs_and_its_result_goes_to_the_model() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Allow)]);
    assert_eq!(d.conversation.status(), AgentStatus::CallingTool);
    let call = d.calls_of(turn)[0].0;
    d.tool_done(call, report("42"));
    assert_eq!(states(&d, turn), [ToolCallState::Succeeded]);
    assert!(format!("{:?}", d.prompts.last()).contains("42"));
    d.answer("it is 42");
    assert_eq!((d.state(turn), d.conversation.turn(turn).unwrap().steps), (TurnState::Completed, 2));
}

#[test]
fn what_is_denied_or_unknown_gets_a_result_and_never_runs() {
    let unknown = Verdict { error: Some("no such tool".into()), ..verdict(ToolPolicy::Allow) };
    let (d, turn) = with_calls(vec![verdict(ToolPolicy::Deny), unknown]);
    assert_eq!(states(&d, turn), [ToolCallState::Denied, ToolCallState::Failed]);
    assert_eq!(d.results_of(turn), ["denied by policy", "no such tool"]);
    assert!(d.ran.is_empty() && d.prompts.len() == 2);
}

#[test]
fn a_call_without_a_verdict_is_refused() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(Vec::new());
    assert_eq!(states(&d, turn), [ToolCallState::Failed]);
}

#[test]
fn the_first_answer_wins() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    assert_eq!((d.state(turn), d.conversation.status()), (TurnState::AwaitingApproval, AgentStatus::AwaitingApproval));
    let id = d.approval();
    assert!(d.decide(id, true, "ann"));
    assert!(!d.decide(id, false, "bob"));
    assert_eq!(d.ran.len(), 1);
    let row = &d.rows.approvals[&id];
    assert_eq!((row.state, row.decision.as_ref().unwrap().by.clone()), (ApprovalState::Approved, Some(user("ann"))));
    assert_eq!((d.state(turn), d.conversation.status()), (TurnState::Running, AgentStatus::CallingTool));
}

#[test]
fn a_denial_tells_the_model_why() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    let decision = Decision {
        by: Some(user("ann")),
        at: Timestamp(0),
        reason: Some("not on a Friday".into()),
        origin: "test".into(),
    };
    let (_, outcome) = d.conversation.decide(d.approval(), false, decision, &mut d.clock).unwrap();
    d.perform(outcome);
    assert_eq!(d.results_of(turn), ["denied by the user: not on a Friday"]);
    assert!(d.ran.is_empty() && d.prompts.len() == 2);
}

#[test]
fn the_turn_waits_for_every_answer() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask), verdict(ToolPolicy::Ask)]);
    let ids: Vec<_> = d.conversation.approvals().iter().map(|a| a.id).collect();
    d.decide(ids[1], true, "ann");
    assert_eq!(states(&d, turn), [ToolCallState::Awaiting, ToolCallState::Executing]);
    let second = d.calls_of(turn)[1].0;
    d.tool_done(second, report("two"));
    assert_eq!((d.state(turn), d.prompts.len()), (TurnState::AwaitingApproval, 1));
    d.decide(ids[0], false, "ann");
    assert_eq!(d.prompts.len(), 2);
}

#[test]
fn silence_is_a_denial() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    let id = d.approval();
    d.pass(29_999);
    assert_eq!(d.approval(), id);
    d.pass(1);
    assert_eq!((d.rows.approvals[&id].state, states(&d, turn)[0]), (ApprovalState::Expired, ToolCallState::Expired));
    assert_eq!(d.results_of(turn), ["denied: nobody answered in time"]);
}

#[test]
fn what_the_hub_decides_is_on_record_and_what_a_user_decides_is_left_to_whoever_knows_them() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask), verdict(ToolPolicy::Ask), verdict(ToolPolicy::Ask)]);
    let ids: Vec<_> = d.conversation.approvals().iter().map(|a| a.id).collect();
    d.decide(ids[0], false, "ann");
    assert_eq!(d.rows.audit, []);
    d.pass(30_000);
    let rows: Vec<_> = d.rows.audit.iter().map(|row| (row.target.clone(), row.details["state"].clone())).collect();
    assert_eq!(rows, [(Some(ids[1].to_string()), "expired".into()), (Some(ids[2].to_string()), "expired".into())]);
    let row = &d.rows.audit[0];
    assert_eq!((row.action.as_str(), row.origin.as_str(), &row.actor), ("tools.reject", "hub", &None));
    assert_eq!(row.request_id, d.conversation.turn(turn).unwrap().correlation_id);
}

#[test]
fn the_last_who_could_answer_leaves_a_grace() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    d.answerers(2);
    d.answerers(0);
    d.pass(9_999);
    d.answerers(1);
    d.pass(10_000);
    d.approval();
    d.answerers(0);
    d.pass(10_000);
    assert_eq!(d.results_of(turn), ["denied: nobody is left to answer"]);
}

#[test]
fn a_grace_is_for_what_was_asked_then() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    d.answerers(1);
    d.answerers(0);
    d.decide(d.approval(), false, "bob");
    d.stream(call("later"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    d.pass(10_000);
    assert_eq!(states(&d, turn), [ToolCallState::Denied, ToolCallState::Awaiting]);
}

#[test]
fn with_nobody_there_from_the_start_the_whole_time_runs() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    d.answerers(0);
    d.pass(29_999);
    assert_eq!(states(&d, turn), [ToolCallState::Awaiting]);
}

#[test]
fn a_clock_that_is_early_is_set_again() {
    let (mut d, _) = with_calls(vec![verdict(ToolPolicy::Ask)]);
    d.clock.now += 29_999;
    let outcome = d.conversation.on_clock(&mut d.clock);
    assert_eq!(outcome.effects, [Effect::WakeAt(Timestamp(31_000))]);
}

#[test]
fn a_tool_that_runs_alone_runs_alone() {
    let (mut d, turn) =
        with_calls(vec![verdict(ToolPolicy::Allow), alone(ToolPolicy::Allow), alone(ToolPolicy::Allow)]);
    let calls: Vec<PartId> = d.calls_of(turn).into_iter().map(|c| c.0).collect();
    for call in calls {
        assert_eq!(d.tools, [call].into(), "one after another, in order");
        d.tool_done(call, report("x"));
    }
    assert_eq!(d.prompts.len(), 2);
}

#[test]
fn tools_that_may_run_together() {
    let (d, turn) = with_calls(vec![verdict(ToolPolicy::Allow), verdict(ToolPolicy::Allow)]);
    assert_eq!(states(&d, turn), [ToolCallState::Executing; 2]);
}

#[test]
fn a_tool_may_replace_the_todos_and_fail() {
    let (mut d, turn) = with_calls(vec![verdict(ToolPolicy::Allow)]);
    let todo = Todo { id: "1".into(), content: "rest".into(), state: crate::domain::settings::TodoState::Pending };
    let call = d.calls_of(turn)[0].0;
    d.tool_done(call, ToolReport { output: "no".into(), is_error: true, todos: Some(vec![todo.clone()]) });
    assert_eq!((d.conversation.todos(), states(&d, turn)[0]), (&[todo][..], ToolCallState::Failed));
    d.tool_done(call, report("twice"));
    assert_eq!(d.results_of(turn), ["no"], "a call has one result");
}

#[test]
fn an_agent_that_never_comes_to_an_end_is_ended() {
    let mut d = Driver::new();
    let turn = d.send("a");
    while let Some(run) = d.upstream {
        d.stream(call("c"));
        d.step_of(run, Ok(StopReason::ToolUse), vec![verdict(ToolPolicy::Deny)]);
    }
    let row = d.conversation.turn(turn).unwrap();
    assert_eq!((row.state, row.steps), (TurnState::Failed, 5));
    assert_eq!(d.prompts.len(), 5);
}

#[test]
fn calls_of_one_step_never_share_an_id() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c"));
    d.stream(call("c"));
    d.calls(vec![verdict(ToolPolicy::Deny), verdict(ToolPolicy::Deny)]);
    assert_eq!(d.results_of(turn).len(), 2, "and the prompt was valid");
}
