//! What leaves the context stays stored, and what is left is valid for every provider.

use super::*;
use crate::domain::generation::{Model, PromptMessage, ThinkingLevel, UserContent};
use crate::domain::routing::{Catalog, ContextRules, Provider, Routes};

/// A window of so many tokens, of which 50 % may be filled and 20 % are kept.
fn windowed(window: u32) -> Rules {
    let others = Model {
        id: String::new(),
        context_window: window,
        max_output: None,
        thinking: ThinkingLevel::ALL.to_vec(),
        price: None,
    };
    let provider = Provider { name: "demo".into(), default_model: "demo-1".into(), models: Vec::new(), others };
    let context = ContextRules { fill_percent: 50, keep_percent: 20, summary_tokens: 100 };
    let catalog = Arc::new(Catalog { providers: vec![provider] });
    Rules { routes: Routes { catalog, context, ..Routes::default() }, ..rules() }
}

fn summary(text: &str) -> Summary {
    Ok((text.into(), Usage { input: 5, output: 2, ..Usage::default() }))
}

/// Without usage: what a turn that has ended is charged is told by no event.
fn free(text: &str) -> Summary {
    Ok((text.into(), Usage::default()))
}

fn prompt_text(d: &Driver) -> String {
    format!("{:?}", d.prompts.last().expect("a prompt").messages)
}

#[test]
fn after_clear_the_model_has_forgotten_and_everything_is_stored() {
    let mut d = Driver::new();
    d.send("first");
    d.answer("one");
    d.clear().expect("cleared");
    d.send("second");
    assert_eq!(
        d.prompts.last().expect("a prompt").messages,
        [PromptMessage::User(vec![UserContent::Text("second".into())])]
    );
    d.answer("two");
    assert_eq!(d.rows.load().messages.len(), 4);
    d.crash();
    d.send("third");
    assert!(!prompt_text(&d).contains("first") && prompt_text(&d).contains("second"));
}

#[test]
fn a_turn_that_runs_when_all_is_forgotten_keeps_its_own_words() {
    let mut d = Driver::new();
    d.send("old");
    d.answer("older");
    let turn = d.send("look");
    d.stream(call("c1"));
    d.clear().expect("cleared");
    d.calls(vec![verdict(ToolPolicy::Allow)]);
    let call = d.calls_of(turn)[0].0;
    d.tool_done(call, report("42"));
    let text = prompt_text(&d);
    assert!(text.contains("look") && text.contains("42") && !text.contains("older"), "{text}");
    d.done();
    // And what is repeated has its question.
    d.clear().expect("cleared");
    d.retry(None).expect("again");
    assert!(prompt_text(&d).contains("look"));
}

#[test]
fn a_prompt_that_grows_too_large_is_summarized_first() {
    let mut d = Driver::with(windowed(1000));
    for number in 0..3 {
        d.send(&format!("question {number} {}", "x".repeat(200)));
        d.answer(&format!("answer {number} {}", "y".repeat(300)));
    }
    assert!(d.summaries.is_empty(), "{}", d.conversation.context_now().tokens.unwrap_or(0));
    d.send(&format!("question 3 {}", "x".repeat(400)));
    assert_eq!(d.summaries.len(), 1);
    let asked = format!("{:?}", d.summaries[0].messages);
    assert!(asked.contains("User: question 0") && asked.contains("Assistant: answer 1"), "{asked}");
    assert!(!asked.contains("question 3") && !asked.contains("answer 2"), "the newest stays as it is: {asked}");
    assert_eq!((d.summaries[0].max_tokens, d.summaries[0].tools.len()), (Some(100), 0));
    d.summarized(summary("they counted"));
    let prompt = d.prompts.last().expect("a prompt").clone();
    assert_eq!(
        prompt.system.as_deref(),
        Some("be brief\n\nA summary of what was said in this conversation before:\nthey counted")
    );
    let text = prompt_text(&d);
    assert!(text.contains("question 2") && text.contains("question 3") && !text.contains("answer 1"), "{text}");
    d.answer("done");
    let turn = d.conversation.ended.last().expect("a turn");
    assert_eq!((turn.usage.input, turn.usage.output, turn.steps), (5, 2, 1), "it is paid for and is no step");
    d.crash();
    d.send("next");
    assert!(d.prompts.last().expect("a prompt").system.as_deref().unwrap_or_default().contains("they counted"));
}

#[test]
fn a_second_summary_is_made_of_the_first() {
    let mut d = Driver::with(windowed(1000));
    d.send("a");
    d.answer("b");
    d.compact().expect("asked");
    d.summarized(free("the first"));
    d.send("c");
    d.answer("d");
    d.compact().expect("asked");
    let asked = format!("{:?}", d.summaries[1].messages);
    assert!(asked.contains("the first") && asked.contains("User: c") && !asked.contains("User: a"), "{asked}");
    d.summarized(free("the second"));
    assert_eq!(d.conversation.settings.context.summary.as_deref(), Some("the second"));
}

#[test]
fn calls_and_results_leave_together() {
    let mut d = Driver::with(windowed(2000));
    for number in 0..2 {
        let turn = d.send(&format!("question {number}"));
        d.stream(text("let me look"));
        d.stream(call("c1"));
        d.calls(vec![verdict(ToolPolicy::Allow)]);
        let call = d.calls_of(turn)[0].0;
        d.tool_done(call, report(&"z".repeat(1300)));
        d.answer("seen");
    }
    // The driver looks at every prompt: none has a call without its result.
    d.send(&"x".repeat(2500));
    let asked = format!("{:?}", d.summaries[0].messages);
    assert!(asked.contains("called the tool tool with") && asked.contains("The tool answered: zzz"), "{asked}");
    d.summarized(summary("tools were called"));
    d.answer("done");
}

#[test]
fn without_a_summary_the_turn_goes_on_and_does_not_ask_again() {
    let mut d = Driver::with(windowed(300));
    d.send(&"a".repeat(400));
    d.answer(&"b".repeat(400));
    let turn = d.send("c");
    d.summarized(Err("too busy".into()));
    assert!(prompt_text(&d).contains("aaaa"));
    d.stream(call("c1"));
    d.calls(vec![verdict(ToolPolicy::Deny)]);
    assert_eq!(d.summaries.len(), 1);
    d.answer("done");
    assert_eq!(d.state(turn), TurnState::Completed);
}

#[test]
fn a_stop_reaches_a_summary_too() {
    let mut d = Driver::with(windowed(300));
    d.send(&"a".repeat(400));
    d.answer(&"b".repeat(400));
    let turn = d.send("c");
    assert_eq!(d.summaries.len(), 1);
    let asker = d.stop(None, StopKind::Stop).expect("stopped");
    d.closed();
    assert_eq!(d.state(turn), TurnState::Stopped);
    assert!(d.answers.contains_key(&asker));
    d.send("d");
    assert_eq!(d.summaries.len(), 2, "the next turn asks anew");
}

#[test]
fn who_asks_for_a_summary_is_answered_when_it_stands() {
    let mut d = Driver::with(windowed(1000));
    assert_eq!(d.compact().expect_err("empty").code, Code::Conflict);
    d.send("a");
    assert_eq!(d.compact().expect_err("busy").code, Code::Busy);
    d.answer("b");
    let first = d.compact().expect("asked");
    let second = d.compact().expect("asked as well");
    let waits = d.send("c");
    assert_eq!((d.summaries.len(), d.state(waits)), (1, TurnState::Queued));
    d.summarized(free("short"));
    for asker in [first, second] {
        assert_eq!(d.answers.get(&asker), Some(&Answer::Compacted(Ok(()))));
    }
    assert_eq!(d.state(waits), TurnState::Running);
    assert_eq!(d.prompts.last().expect("a prompt").messages.len(), 1);
}

#[test]
fn what_was_asked_for_and_cannot_be_had_is_said() {
    let mut d = Driver::with(windowed(1000));
    d.send("a");
    d.answer("b");
    let asker = d.compact().expect("asked");
    d.summarized(Ok((" \n".into(), Usage::default())));
    assert_eq!(d.answers.get(&asker), Some(&Answer::Compacted(Err("the model gave no summary".into()))));
    assert_eq!(d.conversation.settings.context, Default::default());
    let asker = d.compact().expect("asked");
    d.archive();
    d.closing = None;
    assert!(matches!(d.answers.get(&asker), Some(Answer::Compacted(Err(_)))));
}

#[test]
fn a_summary_between_turns_is_charged_to_the_newest_one() {
    let mut d = Driver::with(windowed(1000));
    d.send("a");
    d.answer("b");
    d.compact().expect("asked");
    let run = d.upstream.take().expect("a request is open");
    let outcome = d.conversation.on_summary(run, summary("short"), &mut d.clock);
    let charged = outcome.writes.iter().find_map(|write| match write {
        Write::Turn(turn) => Some(turn.usage),
        _ => None,
    });
    assert_eq!(charged, Some(Usage { input: 5, output: 2, ..Usage::default() }));
    assert_eq!(d.conversation.settings.usage.total(), 7);
}
