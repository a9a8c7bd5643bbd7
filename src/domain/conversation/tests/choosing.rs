//! Which model answers, and what happens when its provider fails.

use super::*;
use crate::domain::generation::{Model, ThinkingLevel};
use crate::domain::routing::{Catalog, Provider, Routes, Routing, Rule};

fn target(text: &str) -> Target {
    let (provider, model) = text.split_once('/').expect("a provider and a model");
    Target { provider: provider.into(), model: model.into() }
}

/// One rule: what contains `code` goes to `big/coder`.
fn routing(fallback: &[&str]) -> Rules {
    let rule = Rule {
        name: "code".into(),
        contains: vec!["code".into()],
        glob: Vec::new(),
        at_least: None,
        at_most: None,
        attachments: None,
        agents: Vec::new(),
        users: Vec::new(),
        organizations: Vec::new(),
        tags: Vec::new(),
        target: target("big/coder"),
        reason: "it writes best".into(),
    };
    let fallback = fallback.iter().map(|text| target(text)).collect();
    let routes = Routes { routing: Arc::new(Routing { rules: vec![rule], fallback }), ..Routes::default() };
    Rules { routes, ..rules() }
}

/// Provider and model of the turn's answer, and the rule that chose it.
fn answers(d: &Driver, turn: TurnId) -> (String, Option<String>) {
    let answer = d.said(turn);
    let target = format!("{}/{}", answer.provider.as_deref().unwrap_or("?"), answer.model.as_deref().unwrap_or("?"));
    (target, d.conversation.turn(turn).and_then(|t| t.routing.as_ref()).map(|r| r.rule_name.clone()))
}

#[test]
fn a_rule_decides_at_send_and_the_turn_keeps_it() {
    let mut d = Driver::with(routing(&[]));
    let first = d.send("write code");
    let waits = d.send("more code");
    assert_eq!(answers(&d, first), ("big/coder".into(), Some("code".into())));
    let started = d.events.iter().find_map(|e| match e {
        Event::TurnStarted { turn, provider, model, .. } => {
            Some((turn.routing.clone(), provider.clone(), model.clone()))
        }
        _ => None,
    });
    let (decision, provider, model) = started.expect("it started");
    assert_eq!((provider.as_str(), model.as_str()), ("big", "coder"));
    assert_eq!(decision.expect("decided").reason, "it writes best");
    // The rules are others by the time it starts: it was sent under the old ones.
    d.conversation.set_rules(rules());
    d.answer("done");
    assert_eq!(answers(&d, waits), ("big/coder".into(), Some("code".into())));
    d.answer("done");
    let plain = d.send("hello");
    assert_eq!(answers(&d, plain), ("demo/demo-1".into(), None));
}

#[test]
fn an_override_beats_the_rule_until_it_is_cleared_and_the_messages_own_model_beats_both() {
    let mut d = Driver::with(routing(&[]));
    let set = |d: &mut Driver, model: Option<&str>| {
        let change = SettingsChange { model: Some(model.map(Into::into)), ..SettingsChange::default() };
        let outcome = d.conversation.change(change, &mut d.clock).expect("changed");
        d.perform(outcome);
    };
    set(&mut d, Some("mine"));
    let overridden = d.send("code");
    assert_eq!(answers(&d, overridden), ("demo/mine".into(), None));
    d.done();
    let send = |model: &str| Send {
        user: user("ann"),
        content: "code".into(),
        attachments: Vec::new(),
        model: Some(model.into()),
        busy: None,
        correlation_id: "req".into(),
    };
    let own = d.send_this(send("own")).expect("sent");
    assert_eq!(answers(&d, own), ("demo/own".into(), None));
    d.done();
    set(&mut d, None);
    let routed = d.send("code");
    assert_eq!(answers(&d, routed), ("big/coder".into(), Some("code".into())));
    d.done();
    assert_eq!(d.conversation.info(None).routing.expect("shown").rule_name, "code");
}

#[test]
fn an_agent_may_keep_to_its_own_model() {
    let mut rules = routing(&[]);
    rules.agent = Arc::new(AgentProfile { routing: false, ..AgentProfile::clone(&rules.agent) });
    let mut d = Driver::with(rules);
    let turn = d.send("code");
    assert_eq!(answers(&d, turn), ("demo/demo-1".into(), None));
}

#[test]
fn a_retry_is_routed_like_the_message() {
    let mut d = Driver::with(routing(&[]));
    d.send("code");
    d.done();
    let again = d.retry(None).expect("again");
    assert_eq!(answers(&d, again), ("big/coder".into(), Some("code".into())));
}

#[test]
fn the_next_of_the_list_answers_when_a_provider_fails_before_its_first_token() {
    let mut d = Driver::with(routing(&["big/coder", "spare/one", "spare/two"]));
    let turn = d.send("code");
    d.fails();
    assert_eq!(answers(&d, turn), ("spare/one".into(), Some("fallback".into())));
    d.fails();
    assert_eq!(answers(&d, turn).0, "spare/two");
    let why = d.conversation.turn(turn).and_then(|t| t.routing.clone()).expect("told").reason;
    assert_eq!(why, "spare/one failed before its first token: the connection broke");
    d.answer("here");
    assert_eq!(d.state(turn), TurnState::Completed);
    assert_eq!(d.conversation.turn(turn).map(|t| t.steps), Some(1), "what came to nothing is no step");
    assert_eq!(d.rows.facts.iter().filter(|f| f.kind == "turn.fell_back").count(), 2);
}

#[test]
fn a_list_that_is_at_its_end_fails_with_the_last_fault() {
    let mut d = Driver::with(routing(&["spare/one"]));
    let turn = d.send("hello");
    d.fails();
    d.fails();
    assert_eq!(d.state(turn), TurnState::Failed);
    assert_eq!(d.conversation.turn(turn).and_then(|t| t.error.clone()).as_deref(), Some("the connection broke"));
}

#[test]
fn nobody_else_goes_on_with_an_answer_that_was_begun_or_with_a_model_that_was_asked_for() {
    let mut d = Driver::with(routing(&["spare/one"]));
    let begun = d.send("hello");
    d.stream(text("so"));
    d.fails();
    assert_eq!(d.state(begun), TurnState::Failed);
    let send = Send {
        user: user("ann"),
        content: "x".into(),
        attachments: Vec::new(),
        model: Some("own".into()),
        busy: None,
        correlation_id: "req".into(),
    };
    let asked = d.send_this(send).expect("sent");
    d.fails();
    assert_eq!((d.state(asked), answers(&d, asked).0), (TurnState::Failed, "demo/own".into()));
}

#[test]
fn levels_are_those_of_the_model_that_would_answer() {
    let model = |id: &str, thinking: &[ThinkingLevel]| Model {
        id: id.into(),
        context_window: 1000,
        max_output: None,
        thinking: thinking.to_vec(),
        price: None,
    };
    let plain = model("demo-1", &[ThinkingLevel::Off, ThinkingLevel::Low]);
    let deep = model("deep", &ThinkingLevel::ALL);
    let provider = Provider {
        name: "demo".into(),
        default_model: "demo-1".into(),
        models: vec![plain.clone(), deep],
        others: plain,
    };
    let routes = Routes { catalog: Arc::new(Catalog { providers: vec![provider] }), ..Routes::default() };
    let mut d = Driver::with(Rules { routes, ..rules() });
    let change = |d: &mut Driver, model: Option<&str>, level| {
        let change = SettingsChange {
            model: model.map(|model| Some(model.into())),
            thinking: Some(level),
            ..SettingsChange::default()
        };
        let outcome = d.conversation.change(change, &mut d.clock)?;
        d.perform(outcome);
        Ok::<(), Fault>(())
    };
    let refused = change(&mut d, None, ThinkingLevel::High).expect_err("refused");
    assert_eq!(refused.message, "thinkingLevel: high is not one of off, low, which demo/demo-1 has");
    assert_eq!(change(&mut d, Some("deep"), ThinkingLevel::High), Ok(()));
    d.send("a");
    d.done();
    let back = SettingsChange { model: Some(None), ..SettingsChange::default() };
    let outcome = d.conversation.change(back, &mut d.clock).expect("changed");
    d.perform(outcome);
    // What is wished for stays; the model gets what it has.
    assert_eq!(d.conversation.info(None).thinking, ThinkingLevel::Low);
    d.send("b");
    assert_eq!(d.prompts.iter().map(|p| p.thinking).collect::<Vec<_>>(), [ThinkingLevel::High, ThinkingLevel::Low]);
}
