//! What rules match, what beats them, and what comes after a failure.

use super::*;

fn organization(name: &str) -> OrganizationId {
    OrganizationId::parse(name).expect("a name")
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn target(text: &str) -> Target {
    let (provider, model) = text.split_once('/').expect("a provider and a model");
    Target { provider: provider.to_owned(), model: model.to_owned() }
}

fn rule(name: &str, to: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        contains: Vec::new(),
        glob: Vec::new(),
        at_least: None,
        at_most: None,
        attachments: None,
        agents: Vec::new(),
        users: Vec::new(),
        organizations: Vec::new(),
        tags: Vec::new(),
        target: target(to),
        reason: String::new(),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Asks with that message, as ann of acme.
fn ask(rules: Vec<Rule>, content: &str, attachments: usize, tags: &[&str]) -> Option<String> {
    let (ann, acme) = (user("ann"), organization("acme"));
    let tags = words(tags);
    let question = Question { content, attachments, agent: "assistant", user: &ann, organization: &acme, tags: &tags };
    Routing { rules, fallback: Vec::new() }.decide(&question).map(|decision| decision.rule_name)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let code = Rule { contains: words(&["```", "Stack Trace"]), ..rule("code", "a/1") };
    let rules = vec![code, Rule { at_least: Some(10), ..rule("long", "a/2") }, rule("rest", "a/3")];
    assert_eq!(ask(rules.clone(), "a stack trace, see", 0, &[]).as_deref(), Some("code"));
    assert_eq!(ask(rules.clone(), "ten chars!", 0, &[]).as_deref(), Some("long"));
    assert_eq!(ask(rules.clone(), "nine char", 0, &[]).as_deref(), Some("rest"));
    assert_eq!(ask(rules[..2].to_vec(), "nine char", 0, &[]), None);
}

#[test]
fn every_condition_of_a_rule_must_hold() {
    let all = Rule {
        contains: words(&["x"]),
        glob: words(&["*y", "z*"]),
        at_least: Some(2),
        at_most: Some(4),
        attachments: Some(true),
        agents: words(&["assistant"]),
        users: words(&["bob", "ann"]),
        organizations: words(&["acme"]),
        tags: words(&["work"]),
        ..rule("all", "a/1")
    };
    let holds = |rule: Rule| ask(vec![rule], "x..Y", 1, &["work", "more"]).is_some();
    assert!(holds(all.clone()));
    for broken in [
        Rule { contains: words(&["q"]), ..all.clone() },
        Rule { glob: words(&["*x", "?"]), ..all.clone() },
        Rule { at_least: Some(5), ..all.clone() },
        Rule { at_most: Some(3), ..all.clone() },
        Rule { attachments: Some(false), ..all.clone() },
        Rule { agents: words(&["other"]), ..all.clone() },
        Rule { users: words(&["bob"]), ..all.clone() },
        Rule { organizations: words(&["globex"]), ..all.clone() },
        Rule { tags: words(&["play"]), ..all.clone() },
    ] {
        assert!(!holds(broken.clone()), "{broken:?}");
    }
}

#[test]
fn a_pattern_is_for_the_whole_text() {
    let fits = |pattern: &str, text: &str| super::fits(pattern, &text.to_lowercase().chars().collect::<Vec<_>>());
    for (pattern, text) in
        [("*", ""), ("", ""), ("a*c", "abc"), ("A?C", "abc"), ("*b*", "abc"), ("*a*a", "aXaYa"), ("é*", "École")]
    {
        assert!(fits(pattern, text) || pattern == "é*" && fits("é*", "école"), "{pattern} {text}");
    }
    for (pattern, text) in [("a", "ab"), ("?", ""), ("a*c", "abcd"), ("*a", "b"), ("a**b", "a")] {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
    // What a careless matcher takes exponential time for.
    assert!(!fits(&"*a".repeat(60), &"a".repeat(4000).replace("aa", "ab")));
}

#[test]
fn the_reason_is_the_rules_own_or_what_held() {
    let (ann, acme) = (user("ann"), organization("acme"));
    let question = Question { content: "code", attachments: 0, agent: "a", user: &ann, organization: &acme, tags: &[] };
    let plain = Rule { contains: words(&["code"]), ..rule("code", "openai/big") };
    let routing = |rule: Rule| Routing { rules: vec![rule], fallback: Vec::new() };
    let decided = routing(plain.clone()).decide(&question).expect("decided");
    assert_eq!(decided.reason, "the message contains \"code\"");
    assert_eq!((decided.provider.as_str(), decided.model.as_str()), ("openai", "big"));
    let said = routing(Rule { reason: "programmers".into(), ..plain }).decide(&question).expect("decided");
    assert_eq!(said.reason, "programmers");
}

#[test]
fn case_29_rules_of_other_organizations_neither_count_nor_show() {
    let (ann, acme, globex) = (user("ann"), organization("acme"), organization("globex"));
    let rules = vec![Rule { organizations: words(&["globex"]), ..rule("theirs", "a/1") }, rule("all", "a/2")];
    let routing = Routing { rules, fallback: Vec::new() };
    let ask = |organization| {
        let question = Question { content: "x", attachments: 0, agent: "a", user: &ann, organization, tags: &[] };
        let shown = routing.explain(&question).into_iter().map(|judged| judged.rule).collect::<Vec<_>>();
        (routing.decide(&question).map(|decision| decision.rule_name), shown)
    };
    // The other one asks first: nothing of its answer is left over.
    assert_eq!(ask(&globex), (Some("theirs".into()), words(&["theirs", "all"])));
    assert_eq!(ask(&acme), (Some("all".into()), words(&["all"])));
}

#[test]
fn an_explanation_tells_of_every_rule_why() {
    let (ann, acme) = (user("ann"), organization("acme"));
    let rules = vec![Rule { at_least: Some(9), ..rule("long", "a/1") }, rule("all", "a/2")];
    let question = Question { content: "x", attachments: 0, agent: "a", user: &ann, organization: &acme, tags: &[] };
    let judged = Routing { rules, fallback: Vec::new() }.explain(&question);
    assert_eq!(judged[0].why, "the message has 1 characters, fewer than 9");
    assert_eq!((judged[0].matched, judged[1].matched), (false, true));
}

fn catalog() -> Catalog {
    let provider = |name: &str, default_model: &str, listed: &[&str]| Provider {
        name: name.to_owned(),
        default_model: default_model.to_owned(),
        models: listed.iter().map(|id| Model { context_window: 10, ..unknown(id) }).collect(),
        others: Model { context_window: 99, ..unknown("") },
    };
    Catalog { providers: vec![provider("demo", "demo", &["demo"]), provider("openai", "mini", &["big", "demo"])] }
}

#[test]
fn what_is_asked_for_beats_the_conversations_beats_the_rule_beats_the_agent() {
    let decided = RoutingDecision {
        model: "big".into(),
        provider: "openai".into(),
        rule_name: "r".into(),
        reason: "because".into(),
    };
    let choose = |message, conversation, decided| {
        let wishes = Wishes { message, conversation, decided, agent: ("demo", "demo") };
        let choice = catalog().choose(wishes);
        (choice.target.to_string(), choice.by, choice.decision.is_some())
    };
    let all = choose(Some("mini"), Some("big"), Some(&decided));
    assert_eq!(all, ("openai/mini".into(), ChosenBy::Message, false));
    let without = choose(None, Some("demo/x"), Some(&decided));
    assert_eq!(without, ("demo/x".into(), ChosenBy::Conversation, false));
    assert_eq!(choose(None, None, Some(&decided)), ("openai/big".into(), ChosenBy::Rule, true));
    assert_eq!(choose(None, None, None), ("demo/demo".into(), ChosenBy::Agent, false));
}

#[test]
fn a_model_is_found_with_and_without_its_provider() {
    let find = |model, usual| catalog().find(model, usual).to_string();
    assert_eq!(find("openai/any/thing", "demo"), "openai/any/thing");
    assert_eq!(find("big", "demo"), "openai/big");
    // Both list it: the agent's own counts.
    assert_eq!(find("demo", "openai"), "openai/demo");
    assert_eq!(find("demo", "demo"), "demo/demo");
    // A slash that is part of a model's name.
    assert_eq!(find("meta/llama", "openai"), "openai/meta/llama");
    assert_eq!(find("openai/", "demo"), "demo/openai/");
    assert_eq!(catalog().model(&target("openai/new")).context_window, 99);
    assert_eq!(catalog().model(&target("openai/big")).context_window, 10);
    assert_eq!(catalog().names(), ["demo/demo", "openai/mini", "openai/big", "openai/demo"]);
}

#[test]
fn fallbacks_are_each_asked_once() {
    let routing = Routing { rules: Vec::new(), fallback: vec![target("a/1"), target("b/2")] };
    let failed = target("a/1");
    assert_eq!(routing.after(&failed, &[]), Some(&target("b/2")));
    assert_eq!(routing.after(&target("b/2"), std::slice::from_ref(&failed)), None);
    assert_eq!(routing.after(&target("x/9"), &[]), Some(&target("a/1")));
}

#[test]
fn thinking_is_the_nearest_level_that_the_model_has() {
    use ThinkingLevel::{High, Low, Minimal, Off, Xhigh};
    let model = Model { thinking: vec![Off, Low, High], ..unknown("m") };
    assert_eq!([Off, Minimal, Low, Xhigh].map(|wished| thinking(wished, &model)), [Off, Off, Low, High]);
}
