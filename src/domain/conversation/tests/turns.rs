//! Messages become turns: they start, wait, are edited, taken out, repeated; pause, resume, archive.

use super::*;
use crate::domain::message::{Attachment, AttachmentKind};

#[test]
fn a_message_is_answered() {
    let mut d = Driver::new();
    let turn = d.send("hello\nthere");
    assert_eq!(d.conversation.settings.title, "hello");
    assert_eq!(d.conversation.status(), AgentStatus::Thinking);
    d.stream(text("hi "));
    assert_eq!(d.conversation.status(), AgentStatus::Responding);
    d.stream(text("Ann"));
    d.stream(usage(7));
    d.done();
    assert_eq!(d.state(turn), TurnState::Completed);
    assert_eq!((d.said(turn).text().as_str(), d.said(turn).state), ("hi Ann", MessageState::Complete));
    assert_eq!(d.conversation.settings.usage.output, 7);
    assert_eq!(d.rows.indexed.len(), 2, "prompt and answer can be found");
    let names: Vec<&str> = d.events.iter().map(Event::name).collect();
    let expected = "message.created turn.started message.created session.updated agent.status_changed part.created \
                    part.updated agent.status_changed part.updated message.updated turn.ended session.updated \
                    agent.status_changed";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn messages_wait_and_start_in_order() {
    let mut d = Driver::new();
    let turns: Vec<TurnId> = ["a", "b", "c"].iter().map(|m| d.send(m)).collect();
    assert_eq!(turns.iter().map(|t| d.state(*t)).collect::<Vec<_>>(), {
        [TurnState::Running, TurnState::Queued, TurnState::Queued]
    });
    d.answer("1");
    assert_eq!(d.state(turns[1]), TurnState::Running);
    d.answer("2");
    d.answer("3");
    let said: Vec<String> = d.conversation.messages().iter().map(Message::text).collect();
    assert_eq!(said, ["a", "1", "b", "2", "c", "3"], "each answer stands after its question");
}

#[test]
fn a_failed_turn_does_not_hold_up_the_queue() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    d.stream(text("half"));
    d.step_of(d.upstream.unwrap(), Err(broken()), Vec::new());
    assert_eq!(d.state(first), TurnState::Failed);
    assert_eq!(d.conversation.turn(first).unwrap().error.as_deref(), Some("the connection broke"));
    assert_eq!(d.said(first).text(), "half");
    assert_eq!(d.state(second), TurnState::Running);
}

#[test]
fn a_refusal_fails_the_turn() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.step_of(d.upstream.unwrap(), Ok(StopReason::Refusal), Vec::new());
    assert_eq!(d.state(turn), TurnState::Failed);
    assert!(d.conversation.turn(turn).unwrap().error.is_some());
}

#[test]
fn the_queue_is_bounded() {
    let mut d = Driver::with(Rules { queue_turns: 1, ..rules() });
    d.send("a");
    d.send("b");
    assert_eq!(d.send_as("c", None).unwrap_err().code, Code::Busy);
    d.answer("1");
    d.send_as("c", None).expect("there is room again");
}

#[test]
fn no_room_in_the_queue_is_no_reason_to_refuse_what_starts_at_once() {
    let mut d = Driver::with(Rules { queue_turns: 0, ..rules() });
    d.send("a");
    assert_eq!(d.send_as("b", None).unwrap_err().code, Code::Busy);
    d.answer("1");
    d.send("b");
}

#[test]
fn reject_refuses_while_a_turn_runs_only() {
    let mut d = Driver::new();
    d.send_as("a", Some(BusyPolicy::Reject)).expect("nothing runs");
    assert_eq!(d.send_as("b", Some(BusyPolicy::Reject)).unwrap_err().code, Code::Busy);
    d.answer("1");
    d.send_as("b", Some(BusyPolicy::Reject)).expect("nothing runs any more");
}

#[test]
fn interrupt_stops_the_turn_and_keeps_the_order_of_the_queue() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    d.stream(text("half"));
    let third = d.send_as("c", Some(BusyPolicy::Interrupt)).unwrap();
    assert!(d.closing.is_some());
    d.closed();
    assert_eq!((d.state(first), d.said(first).text().as_str()), (TurnState::Stopped, "half"));
    assert_eq!(d.state(second), TurnState::Running);
    d.answer("2");
    assert_eq!(d.state(third), TurnState::Running);
}

#[test]
fn a_waiting_message_can_be_edited_until_it_starts() {
    let mut d = Driver::new();
    d.send("a");
    let second = d.send("b");
    let message = d.conversation.turn(second).unwrap().message;
    d.edit(message, "better").unwrap();
    d.answer("1");
    assert!(format!("{:?}", d.prompts.last()).contains("better"));
    assert_eq!(d.edit(message, "too late").unwrap_err().code, Code::Conflict);
    assert_eq!(d.edit(MessageId(9), "x").unwrap_err().code, Code::NotFound);
}

#[test]
fn a_message_of_attachments_alone_gets_the_text_it_is_edited_to() {
    let mut d = Driver::new();
    d.send("a");
    let file = Attachment {
        kind: AttachmentKind::File,
        name: "a.txt".into(),
        media_type: None,
        url: Some("https://example.org/a.txt".into()),
        data: None,
    };
    let send = Send {
        user: user("ann"),
        content: String::new(),
        attachments: vec![file],
        model: None,
        busy: None,
        correlation_id: "req".into(),
    };
    let second = d.send_this(send).unwrap();
    let message = d.conversation.turn(second).unwrap().message;
    d.edit(message, "look at this").unwrap();
    assert_eq!(d.conversation.message(message).unwrap().text(), "look at this");
}

#[test]
fn cancel_takes_a_queued_turn_out() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    let asker = d.cancel(Some(second)).unwrap();
    assert!(matches!(d.answers[&asker], Answer::Ended { state: TurnState::Cancelled, receipt: None, .. }));
    assert_eq!(d.state(second), TurnState::Cancelled);
    assert_eq!(d.state(first), TurnState::Running);
    d.answer("1");
    assert!(d.conversation.is_idle());
    d.send("c");
    assert!(!format!("{:?}", d.prompts.last()).contains("\"b\""), "the model never reads it");
}

#[test]
fn cancel_without_a_turn_means_the_running_one_else_the_newest_queued() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    d.pause().unwrap();
    let third = d.send("c");
    let asker = d.cancel(None).unwrap();
    assert!(!d.answers.contains_key(&asker), "answered once it is closed");
    d.closed();
    assert!(matches!(d.answers[&asker], Answer::Ended { turn, state: TurnState::Stopped, .. } if turn == first));
    d.cancel(None).unwrap();
    assert_eq!((d.state(second), d.state(third)), (TurnState::Queued, TurnState::Cancelled));
    d.cancel(None).unwrap();
    assert_eq!(d.cancel(None).unwrap_err().code, Code::Conflict);
    assert_eq!(d.cancel(Some(TurnId(9))).unwrap_err().code, Code::NotFound);
}

#[test]
fn retry_repeats_the_prompt_without_the_old_answer() {
    let mut d = Driver::new();
    let first = d.send("a");
    d.answer("wrong");
    let again = d.retry(None).unwrap();
    assert_eq!(d.conversation.turn(again).unwrap().retry_of, Some(first));
    assert!(d.said(first).superseded);
    assert_eq!(d.prompts[0].messages, d.prompts[1].messages);
    assert_eq!(d.retry(None).unwrap_err().code, Code::Busy);
    d.answer("right");
    d.send("b");
    let prompt = format!("{:?}", d.prompts.last());
    assert!(prompt.contains("right") && !prompt.contains("wrong"));
}

#[test]
fn only_the_newest_turn_can_be_repeated() {
    let mut d = Driver::new();
    assert_eq!(d.retry(None).unwrap_err().code, Code::Conflict);
    let first = d.send("a");
    d.answer("1");
    d.send("b");
    d.answer("2");
    assert_eq!(d.retry(Some(first)).unwrap_err().code, Code::Conflict);
    assert_eq!(d.retry(Some(TurnId(9))).unwrap_err().code, Code::NotFound);
}

#[test]
fn a_retry_that_never_starts_leaves_the_old_answer_in_place() {
    let mut d = Driver::new();
    let first = d.send("a");
    d.answer("1");
    d.pause().unwrap();
    let again = d.retry(None).unwrap();
    d.cancel(Some(again)).unwrap();
    assert!(!d.said(first).superseded);
    d.resume().unwrap();
    d.send("b");
    assert_eq!(d.prompts.last().unwrap().messages.len(), 3);
}

#[test]
fn a_retry_takes_the_model_that_the_conversation_has_now() {
    let mut d = Driver::new();
    d.send("a");
    d.answer("1");
    let change = SettingsChange { model: Some(Some("demo-2".into())), ..Default::default() };
    let outcome = d.conversation.change(change, &mut d.clock).unwrap();
    d.perform(outcome);
    d.retry(None).unwrap();
    assert_eq!(d.prompts.last().unwrap().model, "demo-2");
}

#[test]
fn a_turn_keeps_its_model_to_its_end() {
    let mut d = Driver::new();
    d.send("a");
    let change = SettingsChange { model: Some(Some("demo-2".into())), ..Default::default() };
    let outcome = d.conversation.change(change, &mut d.clock).unwrap();
    d.perform(outcome);
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Deny)]);
    assert_eq!(d.prompts.last().unwrap().model, "demo-1");
}

#[test]
fn pause_lets_the_running_turn_end_and_starts_no_other() {
    let mut d = Driver::new();
    let first = d.send("a");
    d.pause().unwrap();
    let (second, third) = (d.send("b"), d.send("c"));
    d.answer("1");
    assert_eq!(d.state(first), TurnState::Completed);
    assert_eq!((d.state(second), d.conversation.status()), (TurnState::Queued, AgentStatus::Idle));
    d.resume().unwrap();
    assert_eq!((d.state(second), d.state(third)), (TurnState::Running, TurnState::Queued));
}

#[test]
fn archive_ends_all_and_is_read_only() {
    let mut d = Driver::new();
    let (first, second) = (d.send("a"), d.send("b"));
    d.stream(text("half"));
    let asker = d.archive();
    assert_eq!(d.state(second), TurnState::Cancelled);
    assert!(!d.answers.contains_key(&asker), "answered once all has ended");
    let twice = d.archive();
    d.closed();
    assert_eq!(d.state(first), TurnState::Aborted);
    assert_eq!((&d.answers[&asker], &d.answers[&twice]), (&Answer::Archived, &Answer::Archived));
    assert!(d.conversation.is_idle());
    let after = d.archive();
    assert_eq!(d.answers[&after], Answer::Archived, "asking again is no error");
    assert_eq!(d.send_as("c", None).unwrap_err().code, Code::Archived);
    assert_eq!(d.retry(None).unwrap_err().code, Code::Archived);
    assert_eq!(d.resume().unwrap_err().code, Code::Archived);
    assert_eq!(d.pause().unwrap_err().code, Code::Archived);
}

#[test]
fn archiving_at_rest_is_answered_at_once() {
    let mut d = Driver::new();
    let asker = d.archive();
    assert_eq!(d.answers[&asker], Answer::Archived);
}
