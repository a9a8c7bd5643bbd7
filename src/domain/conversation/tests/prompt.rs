//! What the model reads is valid for every provider, whatever happened before; and what a rested conversation forgets.

use super::*;
use crate::domain::generation::{AssistantContent, PromptMessage, UserContent};

fn last(d: &Driver) -> &[PromptMessage] {
    &d.prompts.last().unwrap().messages
}

fn user_says(words: &str) -> PromptMessage {
    PromptMessage::User(vec![UserContent::Text(words.into())])
}

#[test]
fn calls_are_followed_by_their_results() {
    let mut d = Driver::new();
    let turn = d.send("a");
    d.stream(text("let me look"));
    d.stream(call("c1"));
    d.stream(call("c2"));
    d.stream(text("both"));
    d.calls(vec![verdict(ToolPolicy::Allow), verdict(ToolPolicy::Deny)]);
    let first = d.calls_of(turn)[0].0;
    d.tool_done(first, report("42"));
    let [question, PromptMessage::Assistant(said), PromptMessage::ToolResults(results)] = last(&d) else {
        panic!("{:?}", last(&d))
    };
    assert_eq!((question, said.len(), results.len()), (&user_says("a"), 4, 2));
}

#[test]
fn an_answer_without_a_word_is_left_out() {
    let mut d = Driver::new();
    d.send("a");
    d.stream(StreamEvent::Thinking("hm, unsealed".into()));
    d.stop(None, StopKind::Stop).unwrap();
    d.closed();
    d.send("b");
    assert_eq!(last(&d), [user_says("a"), user_says("b")]);
}

#[test]
fn sealed_thinking_is_sent_back() {
    let mut d = Driver::new();
    d.send("a");
    d.stream(StreamEvent::Thinking("hm".into()));
    d.stream(StreamEvent::Signature("seal".into()));
    d.answer("yes");
    d.send("b");
    let thinking = AssistantContent::Thinking { text: "hm".into(), signature: Some("seal".into()) };
    assert_eq!(last(&d)[1], PromptMessage::Assistant(vec![thinking, AssistantContent::Text("yes".into())]));
}

#[test]
fn what_waits_behind_a_turn_is_not_in_its_prompt() {
    let mut d = Driver::new();
    d.send("a");
    d.send("b");
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Deny)]);
    assert!(!last(&d).contains(&user_says("b")));
}

#[test]
fn forgetting_never_takes_the_question_without_its_answer() {
    let mut d = Driver::new();
    for number in 0..3 {
        d.send(&format!("question {number}"));
        d.answer(&"x".repeat(5_000));
    }
    d.conversation.trim(1);
    assert_eq!(d.conversation.messages().len(), 2, "the newest turn stays whole");
    assert!(d.conversation.snapshot().more);
    let outcome = d.conversation.retry(None, user("ann"), None, "req".into(), &mut d.clock).unwrap().2;
    assert!(outcome.effects.iter().any(|e| matches!(e, Effect::Generate { .. })));
    assert_eq!(d.conversation.prompt(Vec::new()).unwrap().messages, [user_says("question 2")]);
}

#[test]
fn what_waits_is_never_forgotten() {
    let mut d = Driver::new();
    d.pause().unwrap();
    for number in 0..3 {
        d.send(&format!("question {number}"));
    }
    d.conversation.trim(1);
    assert_eq!(d.conversation.messages().len(), 3);
}

#[test]
fn a_history_that_begins_in_the_middle_begins_with_a_question() {
    let mut d = Driver::new();
    d.send("a");
    d.answer("1");
    d.send("b");
    d.answer("2");
    let mut stored = d.rows.load();
    stored.messages.remove(0);
    stored.more = true;
    let (mut conversation, _) = Conversation::recover(stored, rules(), &mut d.clock);
    let send = Send {
        user: user("ann"),
        content: "c".into(),
        attachments: Vec::new(),
        model: None,
        busy: None,
        correlation_id: "req".into(),
    };
    conversation.send(send, &mut d.clock).unwrap();
    let prompt = conversation.prompt(Vec::new()).unwrap();
    invariants::prompt_is_valid(&prompt);
    assert_eq!(prompt.messages.len(), 3);
}
