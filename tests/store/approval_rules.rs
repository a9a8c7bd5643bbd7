//! Answers that are kept: each user's own, found by what they speak of, and taken back once.

use serde_json::{Value, json};
use switchboard::domain::account::AuditEntry;
use switchboard::domain::approval_rule::{ApprovalRule, RuleScope};
use switchboard::domain::canonical::Digest;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::Settings;
use switchboard::store::{AuditQuery, Store};

use crate::ground::*;

on_both!(
    a_rule_is_its_users_own_and_its_agents,
    a_newer_answer_replaces_the_older,
    what_is_taken_back_is_gone_and_on_record,
    a_rule_comes_with_its_answer_or_not_at_all,
);

fn rule(organization: &str, who: &str, scope: RuleScope, input: Value) -> ApprovalRule {
    ApprovalRule {
        id: RuleId(next()),
        organization: org(organization),
        user: user(who),
        agent: "assistant".into(),
        tool: "http_fetch".into(),
        scope,
        digest: Digest::of("http_fetch", &input),
        input,
        approved: true,
        request: ApprovalId(5),
        created_at: Timestamp(7),
    }
}

async fn keep(store: &Store, rule: &ApprovalRule) {
    let settings = Settings { organization: rule.organization.clone(), ..conversation(rule.user.as_str()) };
    let writes = vec![Write::Conversation(settings.clone()), Write::ApprovalRule(Box::new(rule.clone()))];
    store.commit(batch(&settings, writes)).await.expect("committed");
}

async fn found(store: &Store, organization: &str, who: &str, agent: &str, input: &Value) -> Vec<ApprovalRule> {
    let digest = Digest::of("http_fetch", input);
    let of = (&org(organization), &user(who), agent);
    store.approval_rules_for(of, vec!["http_fetch".into()], vec![digest]).await.expect("the store answers")
}

async fn a_rule_is_its_users_own_and_its_agents(ground: Ground) {
    let store = ground.open();
    let input = json!({"url": "https://example.org/\u{202e}", "n": 1.5});
    let mine = rule("acme", "ann", RuleScope::Arguments, input.clone());
    keep(&store, &mine).await;
    assert_eq!(found(&store, "acme", "ann", "assistant", &input).await, std::slice::from_ref(&mine));
    for (organization, who, agent, other) in [
        ("acme", "bob", "assistant", &input),
        ("rival", "ann", "assistant", &input),
        ("acme", "ann", "coder", &input),
        ("acme", "ann", "assistant", &json!({"url": "https://example.org/", "n": 1.5})),
    ] {
        assert_eq!(found(&store, organization, who, agent, other).await, [], "{organization} {who} {agent} {other}");
    }
    let other_tool = store
        .approval_rules_for((&org("acme"), &user("ann"), "assistant"), vec!["time".into()], vec![mine.digest])
        .await;
    assert_eq!(other_tool, Ok(Vec::new()));
    // By pages, oldest first; nobody else's among them.
    let wide = rule("acme", "ann", RuleScope::Tool, json!({}));
    keep(&store, &wide).await;
    keep(&store, &rule("acme", "bob", RuleScope::Tool, json!({}))).await;
    let first = store.approval_rules(&org("acme"), &user("ann"), None, 1).await.expect("the store answers");
    assert_eq!((first.items.as_slice(), first.next), (std::slice::from_ref(&mine), Some(mine.id)));
    let second = store.approval_rules(&org("acme"), &user("ann"), first.next, 1).await.expect("the store answers");
    assert_eq!((second.items.as_slice(), second.next), (std::slice::from_ref(&wide), None));
    store.close().await;
    assert_eq!(found(&ground.open(), "acme", "ann", "assistant", &input).await.len(), 2, "on disk");
}

async fn a_newer_answer_replaces_the_older(ground: Ground) {
    let store = ground.open();
    let input = json!({"url": "https://example.org/"});
    let yes = rule("acme", "ann", RuleScope::Arguments, input.clone());
    let no = ApprovalRule { id: RuleId(next()), approved: false, ..yes.clone() };
    let elsewhere = rule("acme", "ann", RuleScope::Arguments, json!({"url": "https://example.com/"}));
    for each in [&yes, &elsewhere, &no] {
        keep(&store, each).await;
    }
    assert_eq!(found(&store, "acme", "ann", "assistant", &input).await, [no]);
    assert_eq!(found(&store, "acme", "ann", "assistant", &elsewhere.input).await, [elsewhere]);
}

async fn what_is_taken_back_is_gone_and_on_record(ground: Ground) {
    let store = ground.open();
    let kept = rule("acme", "ann", RuleScope::Tool, json!({}));
    keep(&store, &kept).await;
    let entry = |who: &str| AuditEntry {
        at: Timestamp(9),
        organization: Some(org("acme")),
        actor: Some(user(who)),
        credential: None,
        action: "approvals.revoke".into(),
        target: Some(kept.id.to_string()),
        details: json!({}),
        outcome: None,
        origin: "test".into(),
        request_id: "req".into(),
    };
    let revoke = async |organization: &str, who: &str| {
        store.revoke_approval_rule(&org(organization), &user(who), kept.id, entry(who)).await.expect("answered")
    };
    assert!(!revoke("acme", "bob").await && !revoke("rival", "ann").await);
    assert!(revoke("acme", "ann").await);
    assert!(!revoke("acme", "ann").await, "once");
    assert_eq!(found(&store, "acme", "ann", "assistant", &json!({})).await, []);
    let rows = store.audit(&org("acme"), AuditQuery { limit: 10, ..Default::default() }).await.expect("answered");
    assert_eq!(rows.items.len(), 1);
    assert_eq!(rows.items[0].entry, entry("ann"));
}

async fn a_rule_comes_with_its_answer_or_not_at_all(ground: Ground) {
    let store = ground.open();
    let kept = rule("acme", "ann", RuleScope::Tool, json!({}));
    let settings = conversation("ann");
    // Another conversation's row does not belong into this batch: nothing of it is written.
    let wrong = Write::Conversation(conversation("ann"));
    let refused = batch(&settings, vec![Write::ApprovalRule(Box::new(kept)), wrong]);
    store.commit(refused).await.expect_err("refused");
    assert_eq!(found(&store, "acme", "ann", "assistant", &json!({})).await, []);
}
