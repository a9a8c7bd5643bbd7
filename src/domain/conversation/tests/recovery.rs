//! After a crash: what was committed is there, what was cut off is settled, what waited goes on.

use super::*;

#[test]
fn a_running_turn_becomes_interrupted_and_keeps_what_is_on_disk() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    d.stream(text("one "));
    d.checkpoint();
    d.stream(text("two "));
    d.checkpoint();
    d.stream(text("three"));
    d.crash();
    assert_eq!((d.state(first), d.said(first).text().as_str()), (TurnState::Interrupted, "one two "));
    assert_eq!(d.said(first).state, MessageState::Interrupted);
    assert!(d.rows.tails.is_empty());
    assert_eq!(d.state(second), TurnState::Running, "the next one starts");
}

#[test]
fn all_that_was_said_is_on_disk_with_the_next_checkpoint() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(StreamEvent::Thinking("hm".into()));
    d.stream(StreamEvent::Signature("seal".into()));
    d.stream(text("one"));
    d.stream(StreamEvent::BlockEnd);
    d.stream(text("two"));
    d.stream(call("c1"));
    d.stream(text("three"));
    d.checkpoint();
    d.crash();
    assert_eq!(d.said(turn).text(), "onetwothree");
    assert_eq!(d.calls_of(turn)[0].1, ToolCallState::Cancelled);
    assert!(matches!(&d.said(turn).parts[0].body, PartBody::Thinking { signature: Some(_), .. }));
}

#[test]
fn a_tool_that_ran_is_unknown_and_never_run_again() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Allow)]);
    d.crash();
    assert_eq!((d.state(turn), d.calls_of(turn)[0].1), (TurnState::Interrupted, ToolCallState::Unknown));
    assert!(d.results_of(turn)[0].starts_with("unknown"));
    d.send("b");
    assert!(format!("{:?}", d.prompts.last()).contains("unknown"), "the model learns it");
}

#[test]
fn an_approval_still_waits_with_time_left() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    let id = d.approval();
    d.clock.now += 29_000;
    d.crash();
    assert_eq!((d.state(turn), d.approval()), (TurnState::AwaitingApproval, id));
    assert_eq!(d.rows.approvals[&id].deadline, Timestamp(d.clock.now + 10_000), "on disk too");
    d.pass(9_999);
    d.decide(id, true, "ann");
    let call = d.calls_of(turn)[0].0;
    d.tool_done(call, report("x"));
    d.answer("done");
    assert_eq!(d.state(turn), TurnState::Completed);
}

#[test]
fn a_deadline_that_is_far_is_not_moved() {
    let mut d = Driver::new();
    d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    d.clock.now += 5_000;
    d.crash();
    assert_eq!(d.conversation.next_deadline(), Some(Timestamp(31_000)));
}

#[test]
fn several_approvals_expire_each_in_its_time_after_a_restart() {
    let mut d = Driver::new();
    d.send("a");
    d.stream(call("c1"));
    d.stream(call("c2"));
    d.calls(vec![verdict(ToolPolicy::Ask), verdict(ToolPolicy::Ask)]);
    d.conversation.approvals[1].deadline = Timestamp(90_000);
    d.rows.commit(vec![Write::Approval(d.conversation.approvals[1].clone())]);
    d.crash();
    d.pass(30_000);
    assert_eq!(d.conversation.approvals().len(), 1);
    d.pass(60_000);
    assert!(d.conversation.approvals().is_empty());
}

#[test]
fn a_grant_outlives_the_crash_before_its_tool_started() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    let decision = Decision { by: Some(user("ann")), at: Timestamp(0), reason: None, origin: "test".into() };
    let (_, outcome) = d.conversation.decide(d.approval(), true, decision, &mut d.clock).unwrap();
    d.perform(outcome);
    assert!(d.ran.is_empty());
    d.crash();
    assert_eq!((d.state(turn), d.ran.len()), (TurnState::Running, 1));
}

#[test]
fn the_usage_of_steps_before_the_crash_is_not_lost() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.stream(usage(5));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    d.crash();
    assert_eq!(d.conversation.settings.usage.output, 5);
    d.decide(d.approval(), false, "ann");
    d.stream(usage(2));
    d.done();
    assert_eq!((d.conversation.turn(turn).unwrap().usage.output, d.conversation.settings.usage.output), (7, 7));
    assert_eq!(d.conversation.turn(turn).unwrap().steps, 2);
}

#[test]
fn a_stopping_turn_becomes_interrupted_and_keeps_its_receipt() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Allow)]);
    d.stop(None, StopKind::Stop).unwrap();
    d.crash();
    assert_eq!(d.state(turn), TurnState::Interrupted);
    assert!(d.conversation.turn(turn).unwrap().receipt.is_some());
}

#[test]
fn a_paused_conversation_stays_paused_and_an_archived_one_archived() {
    let mut d = Driver::new();
    d.pause().unwrap();
    let turn = d.send("a");
    d.crash();
    assert_eq!(d.state(turn), TurnState::Queued);
    d.resume().unwrap();
    d.send("b");
    d.archive();
    d.crash();
    assert_eq!(d.state(turn), TurnState::Interrupted);
    assert!(d.conversation.is_idle());
}

#[test]
fn words_of_a_life_before_do_not_reach_the_new_one() {
    let mut d = Driver::new();
    let (_, second) = (d.send("a"), d.send("b"));
    let stale = d.upstream.unwrap();
    d.crash();
    d.stream_of(stale, text("who is this for?"));
    d.step_of(stale, Ok(StopReason::EndTurn), Vec::new());
    assert_eq!((d.state(second), d.said(second).parts.len()), (TurnState::Running, 0));
}

#[test]
fn what_was_not_committed_has_not_happened() {
    let mut d = Driver::new();
    let first = d.send("a");
    d.lose_next = true;
    d.answer("lost");
    assert_eq!((d.state(first), d.said(first).text().as_str()), (TurnState::Interrupted, ""));
}
