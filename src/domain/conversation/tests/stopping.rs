//! Stop means stopped: receipts, late words, tools that run, abort over stop.

use super::*;

fn receipt(answer: &Answer) -> (TurnState, u64, u64) {
    match answer {
        Answer::Ended { state, receipt: Some(r), .. } => (*state, r.bytes_after, r.kept_bytes),
        other => panic!("no receipt: {other:?}"),
    }
}

#[test]
fn stop_closes_the_upstream_before_anything_is_written() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("half"));
    d.stream(usage(3));
    let run = d.upstream.unwrap();
    let outcome = d.conversation.stop(None, StopKind::Stop, 1, &mut d.clock).unwrap();
    assert_eq!(outcome.urgent, [Urgent::CloseUpstream { run }]);
    assert!(outcome.writes.is_empty());
    d.asking.insert(1);
    d.perform(outcome);
    d.clock.now += 5;
    d.closed();
    assert_eq!(receipt(&d.answers[&1]), (TurnState::Stopped, 0, 4));
    assert!(matches!(&d.answers[&1], Answer::Ended { usage, .. } if usage.output == 3), "usage so far");
    assert_eq!(d.conversation.turn(turn).unwrap().receipt.unwrap().closed_at, Timestamp(1_005));
    assert_eq!((d.said(turn).text().as_str(), d.said(turn).state), ("half", MessageState::Stopped));
}

#[test]
fn what_comes_after_the_stop_is_not_heard() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("half"));
    let run = d.upstream.unwrap();
    d.stop(None, StopKind::Stop).unwrap();
    d.stream_of(run, text(" more"));
    d.stream_of(run, call("c1"));
    d.step_of(run, Ok(StopReason::EndTurn), Vec::new());
    d.closed();
    d.stream_of(run, text(" more"));
    assert_eq!((d.state(turn), d.said(turn).text().as_str()), (TurnState::Stopped, "half"));
    assert_eq!(d.said(turn).parts.len(), 1);
}

#[test]
fn everyone_who_asks_is_answered() {
    let mut d = Driver::new();
    let turn = d.send("a");
    let askers = [d.stop(None, StopKind::Stop), d.stop(Some(turn), StopKind::Stop), d.cancel(None)].map(Result::unwrap);
    d.closed();
    for asker in askers {
        assert_eq!(receipt(&d.answers[&asker]), (TurnState::Stopped, 0, 0));
    }
    let late = d.stop(Some(turn), StopKind::Abort).unwrap();
    assert_eq!(receipt(&d.answers[&late]).0, TurnState::Stopped, "what has ended stays as it ended");
    assert_eq!(d.stop(None, StopKind::Stop).unwrap_err().code, Code::Conflict);
    assert_eq!(d.stop(Some(TurnId(9)), StopKind::Stop).unwrap_err().code, Code::NotFound);
}

#[test]
fn abort_overrules_stop_and_never_the_other_way_round() {
    for (first, second) in [(StopKind::Stop, StopKind::Abort), (StopKind::Abort, StopKind::Stop)] {
        let mut d = Driver::new();
        let turn = d.send("a");
        d.stop(None, first).unwrap();
        d.stop(None, second).unwrap();
        d.closed();
        assert_eq!(d.state(turn), TurnState::Aborted);
    }
}

#[test]
fn calls_that_nobody_judged_are_cancelled_with_a_result() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("let me see"));
    d.stream(call("c1"));
    d.stream(call("c2"));
    d.stop(None, StopKind::Stop).unwrap();
    d.closed();
    assert!(d.calls_of(turn).iter().all(|(_, state)| *state == ToolCallState::Cancelled));
    assert_eq!(d.results_of(turn).len(), 2);
}

#[test]
fn a_stream_that_breaks_settles_its_calls() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.step_of(d.upstream.unwrap(), Err(broken()), vec![verdict(ToolPolicy::Allow)]);
    assert_eq!(d.state(turn), TurnState::Failed);
    assert_eq!(d.calls_of(turn)[0].1, ToolCallState::Cancelled);
    assert_eq!(d.results_of(turn).len(), 1);
    assert!(d.ran.is_empty());
}

#[test]
fn nothing_that_a_refused_answer_asks_for_is_run() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.step_of(d.upstream.unwrap(), Ok(StopReason::Refusal), vec![verdict(ToolPolicy::Allow)]);
    assert_eq!((d.state(turn), d.calls_of(turn)[0].1), (TurnState::Failed, ToolCallState::Cancelled));
    assert!(d.ran.is_empty());
}

#[test]
fn stop_lets_a_tool_that_runs_end() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("look"));
    d.stream(call("c1"));
    d.stream(call("c2"));
    d.calls(vec![alone(ToolPolicy::Allow), alone(ToolPolicy::Allow)]);
    let asker = d.stop(None, StopKind::Stop).unwrap();
    assert_eq!(receipt(&d.answers[&asker]), (TurnState::Stopping, 0, 4));
    assert_eq!(d.state(turn), TurnState::Stopping);
    let states: Vec<ToolCallState> = d.calls_of(turn).into_iter().map(|c| c.1).collect();
    assert_eq!(states, [ToolCallState::Executing, ToolCallState::Cancelled], "what did not start never does");
    let running = d.calls_of(turn)[0].0;
    d.tool_done(running, report("done"));
    assert_eq!((d.state(turn), d.calls_of(turn)[0].1), (TurnState::Stopped, ToolCallState::Succeeded));
    assert_eq!(d.prompts.len(), 1, "the model is not asked again");
}

#[test]
fn abort_cancels_tools_too() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Allow)]);
    let running = d.calls_of(turn)[0].0;
    d.stop(None, StopKind::Stop).unwrap();
    let asker = d.asker();
    let outcome = d.conversation.stop(None, StopKind::Abort, asker, &mut d.clock).unwrap();
    assert_eq!(outcome.urgent, [Urgent::CancelTools]);
    d.perform(outcome);
    assert_eq!(receipt(&d.answers[&asker]).0, TurnState::Aborted);
    assert_eq!(d.calls_of(turn)[0].1, ToolCallState::Cancelled);
    d.tool_done(running, report("too late"));
    assert_eq!(d.results_of(turn), ["cancelled: the turn was aborted"]);
}

#[test]
fn stop_withdraws_what_is_asked() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Ask)]);
    let approval = d.approval();
    d.stop(None, StopKind::Stop).unwrap();
    assert_eq!((d.state(turn), d.calls_of(turn)[0].1), (TurnState::Stopped, ToolCallState::Cancelled));
    assert!(!d.decide(approval, true, "ann"), "too late");
    assert!(d.ran.is_empty());
}

#[test]
fn stopping_a_queued_turn_cancels_it() {
    let mut d = Driver::new();
    d.send("a");
    let second = d.send("b");
    let asker = d.stop(Some(second), StopKind::Abort).unwrap();
    assert!(matches!(d.answers[&asker], Answer::Ended { state: TurnState::Cancelled, .. }));
}

#[test]
fn a_snapshot_in_between_says_that_it_stops() {
    let mut d = Driver::new();
    d.send("a");
    d.stop(None, StopKind::Stop).unwrap();
    let snapshot = d.conversation.snapshot();
    assert_eq!(snapshot.turn.map(|t| t.state), Some(TurnState::Stopping));
    assert_eq!(snapshot.status, AgentStatus::Stopping);
}

#[test]
fn an_answer_that_ends_in_the_moment_of_its_stop_is_stopped() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("whole"));
    let run = d.upstream.unwrap();
    let asker = d.stop(None, StopKind::Stop).unwrap();
    // The request had ended before it could be closed: no word of its closing ever comes.
    d.step_of(run, Ok(StopReason::EndTurn), Vec::new());
    assert_eq!(receipt(&d.answers[&asker]), (TurnState::Stopped, 0, 5));
    assert_eq!(d.state(turn), TurnState::Stopped);
    let next = d.send("b");
    assert_eq!(d.state(next), TurnState::Running);
}

#[test]
fn halting_stops_what_runs_and_takes_out_what_its_user_has_waiting() {
    let mut d = Driver::new();
    let first = d.send("a");
    d.stream(text("ha"));
    let [second, third] = ["b", "c"].map(|words| d.send(words));
    let other = d.send_from("bob", "d");
    let asker = d.halt("ann");
    assert_eq!([d.state(second), d.state(third)], [TurnState::Cancelled; 2], "none of them can start any more");
    assert!(!d.answers.contains_key(&asker), "its upstream is not closed yet");
    d.closed();
    assert_eq!(receipt(&d.answers[&asker]).0, TurnState::Stopped);
    assert_eq!((d.state(first), d.said(first).text()), (TurnState::Stopped, "ha".to_owned()));
    assert_eq!(d.state(other), TurnState::Running, "what somebody else has waiting goes on");
}

#[test]
fn halting_where_nothing_runs_is_answered_too() {
    let mut d = Driver::new();
    let asker = d.halt("ann");
    assert_eq!(d.answers[&asker], Answer::NothingRan);
    d.pause().unwrap();
    let waiting = d.send("a");
    let asker = d.halt("ann");
    assert_eq!((d.state(waiting), &d.answers[&asker]), (TurnState::Cancelled, &Answer::NothingRan));
    d.archive();
    let asker = d.halt("ann");
    assert_eq!(d.answers[&asker], Answer::NothingRan);
}

#[test]
fn each_of_two_who_halt_is_answered_and_the_turn_ends_once() {
    let mut d = Driver::new();
    let turn = d.send("a");
    let askers = [d.halt("ann"), d.halt("bob")];
    d.closed();
    for asker in askers {
        assert_eq!(receipt(&d.answers[&asker]).0, TurnState::Stopped);
    }
    let ends = d.events.iter().filter(|e| matches!(e, Event::TurnEnded { turn: ended, .. } if ended.id == turn));
    assert_eq!(ends.count(), 1);
}

#[test]
fn halting_while_a_tool_runs_says_that_it_stops() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Allow)]);
    let running = d.calls_of(turn)[0].0;
    let asker = d.halt("ann");
    assert_eq!(receipt(&d.answers[&asker]).0, TurnState::Stopping);
    d.tool_done(running, report("done"));
    assert_eq!(d.state(turn), TurnState::Stopped);
}
