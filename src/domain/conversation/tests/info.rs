//! Who answers, and how full the context is: told where it changes, and with the end of a turn.

use super::*;
use crate::domain::session_info::{ContextUse, SessionInfo, Tally};

/// Who answers, as the events since then told it.
fn told(d: &Driver, since: usize) -> Vec<SessionInfo> {
    let told = |event: &Event| match event {
        Event::SessionUpdated { info: Some(info), .. } => Some(SessionInfo::clone(info)),
        _ => None,
    };
    d.events[since..].iter().filter_map(told).collect()
}

fn models(d: &Driver, since: usize) -> Vec<String> {
    told(d, since).into_iter().map(|info| info.model).collect()
}

fn change(d: &mut Driver, change: SettingsChange) {
    let outcome = d.conversation.change(change, &mut d.clock).unwrap();
    d.perform(outcome);
}

fn model(name: Option<&str>) -> SettingsChange {
    SettingsChange { model: Some(name.map(str::to_owned)), ..Default::default() }
}

fn send_for(d: &mut Driver, model: &str) {
    let send = Send {
        user: user("ann"),
        content: "a".into(),
        attachments: Vec::new(),
        model: Some(model.into()),
        busy: None,
        correlation_id: "req".into(),
    };
    d.send_this(send).unwrap();
}

fn last_tally(d: &Driver) -> Tally {
    let tally = |event: &Event| match event {
        Event::TurnEnded { tally, .. } => Some(Tally::clone(tally)),
        _ => None,
    };
    d.events.iter().rev().find_map(tally).expect("a turn has ended")
}

#[test]
fn a_switch_of_model_or_thinking_is_told_once() {
    let mut d = Driver::new();
    change(&mut d, model(Some("demo-2")));
    assert_eq!(models(&d, 0), ["demo-2"]);
    let events = d.events.len();
    change(&mut d, model(Some("demo-2")));
    assert_eq!(d.events.len(), events, "what is so already is told to nobody");
    change(&mut d, SettingsChange { title: Some("t".into()), ..Default::default() });
    assert_eq!(models(&d, events), [""; 0], "a title is nothing of that kind");
    change(&mut d, model(None));
    assert_eq!(models(&d, events), ["demo-1"]);
    change(&mut d, SettingsChange { thinking: Some(ThinkingLevel::High), ..Default::default() });
    assert_eq!(told(&d, events).last().map(|info| info.thinking), Some(ThinkingLevel::High));
}

#[test]
fn a_turn_that_another_model_answers_tells_so_before_it_starts() {
    let mut d = Driver::new();
    d.send("a");
    d.answer("b");
    assert_eq!(models(&d, 0), [""; 0], "nobody was shown another one before");
    let events = d.events.len();
    send_for(&mut d, "demo-5");
    let place = |wanted: fn(&Event) -> bool| d.events[events..].iter().position(wanted).expect("an event");
    let switched = place(|e| matches!(e, Event::SessionUpdated { info: Some(_), .. }));
    assert!(switched < place(|e| matches!(e, Event::TurnStarted { .. })));
    assert_eq!(models(&d, events), ["demo-5"]);
    d.answer("b");
    let events = d.events.len();
    d.send("c");
    assert_eq!(models(&d, events), ["demo-1"], "and back");
    d.answer("d");
    change(&mut d, model(Some("demo-2")));
    let events = d.events.len();
    d.send("e");
    assert_eq!(models(&d, events), [""; 0], "it was told when it was set");
}

#[test]
fn after_a_restart_the_last_answer_is_what_was_shown() {
    let mut d = Driver::new();
    d.send("a");
    d.answer("b");
    d.crash();
    let events = d.events.len();
    send_for(&mut d, "demo-5");
    assert_eq!(models(&d, events), ["demo-5"]);
}

#[test]
fn the_levels_are_those_of_the_model() {
    let mut d = Driver::new();
    let outcome = d.conversation.think("high", &mut d.clock).unwrap();
    d.perform(outcome);
    assert_eq!((d.conversation.settings.thinking, told(&d, 0).len()), (ThinkingLevel::High, 1));
    let outcome = d.conversation.think("high", &mut d.clock).unwrap();
    assert!(outcome.writes.is_empty());
    d.perform(outcome);
    assert_eq!(told(&d, 0).len(), 2, "all are told each time that it is set");
    let fault = d.conversation.think("hard", &mut d.clock).unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        (Code::BadRequest, "level: the model thinks at off, minimal, low, medium, high, xhigh")
    );
    change(&mut d, model(Some("demo-0")));
    let fault = d.conversation.think("high", &mut d.clock).unwrap_err();
    assert_eq!(fault.details, Some(serde_json::json!({ "field": "level", "available": ["off"] })));
    d.archive();
    assert_eq!(d.conversation.think("off", &mut d.clock).unwrap_err().code, Code::Archived);
}

#[test]
fn a_turns_end_tells_the_totals_and_how_full_the_context_was() {
    let mut d = Driver::new();
    d.send("a");
    d.answer("silent");
    assert_eq!(last_tally(&d).context, ContextUse { tokens: None, window: 1_000 }, "the provider did not say");
    d.send("a");
    d.stream(usage(49));
    d.answer("b");
    assert_eq!(last_tally(&d).context, ContextUse { tokens: Some(50), window: 1_000 });
    assert_eq!(last_tally(&d).context.percent(), Some(5.0));
    send_for(&mut d, "demo-5");
    d.stream(usage(99));
    d.answer("c");
    let tally = last_tally(&d);
    assert_eq!((tally.totals.input, tally.totals.output), (2, 148));
    assert_eq!((tally.provider.as_str(), tally.model.as_str()), ("demo", "demo-5"));
    assert_eq!(tally.context.tokens, Some(100), "of the newest request alone");
}

#[test]
fn pausing_and_resuming_is_told_each_time() {
    let mut d = Driver::new();
    for _ in 0..2 {
        d.pause().unwrap();
    }
    for _ in 0..2 {
        d.resume().unwrap();
    }
    let told = |event: &Event| match event {
        Event::SessionUpdated { paused, .. } => *paused,
        _ => None,
    };
    let told: Vec<bool> = d.events.iter().filter_map(told).collect();
    assert_eq!(told, [true, true, false, false]);
    let facts = d.rows.facts.iter().filter(|f| f.kind.starts_with("session.")).count();
    assert_eq!(facts, 2, "and written where it changed");
}
