//! The record of administration: complete, readable by who may, and changed by nobody.

use serde_json::json;
use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::store::{AuditQuery, Store};

use crate::ground::*;

on_both!(entries_come_back_newest_first, nobody_changes_an_entry, entries_are_found_by_what_they_say);

pub fn entry(organization: Option<&str>, action: &str, at: i64) -> AuditEntry {
    AuditEntry {
        at: Timestamp(at),
        organization: organization.map(org),
        actor: Some(user("ann")),
        credential: Some(Credential::ApiKey { id: "key_1".into() }),
        action: action.into(),
        target: Some("user bob".into()),
        details: json!({"role": ["member", "owner"], "odd": "\u{0}\"'"}),
        outcome: None,
        origin: "192.0.2.1 /api/v1/admin".into(),
        request_id: "req_1".into(),
    }
}

fn all(limit: usize) -> AuditQuery {
    AuditQuery { limit, ..AuditQuery::default() }
}

async fn numbers(store: &Store, query: AuditQuery) -> Vec<u64> {
    store.audit(&acme(), query).await.expect("a page").items.iter().map(|stored| stored.n).collect()
}

async fn entries_come_back_newest_first(ground: Ground) {
    let store = ground.open();
    let stranger = AuditEntry {
        organization: None,
        actor: None,
        credential: None,
        target: None,
        outcome: Some("refused".into()),
        ..entry(None, "pairing.verify", 2)
    };
    let written = [
        entry(Some("acme"), "admin.users.set", 1),
        stranger,
        entry(Some("other"), "admin.users.set", 3),
        entry(Some("acme"), "admin.keys.revoke", 4),
    ];
    let mut expected = Vec::new();
    for entry in written {
        let n = store.append_audit(entry.clone()).await.expect("written");
        assert!(expected.first().is_none_or(|newest: &StoredAudit| n > newest.n));
        expected.insert(0, StoredAudit { n, entry });
    }
    drop(store);
    let store = ground.open();
    assert_eq!(store.audit_of_hub(all(9)).await.expect("a page").items, expected);
    let own = store.audit(&acme(), all(9)).await.expect("a page");
    assert_eq!(own.items, [expected[0].clone(), expected[3].clone()], "no other's, and no stranger's");
    let first = store.audit_of_hub(all(3)).await.expect("a page");
    assert_eq!(first.items, expected[..3]);
    store.append_audit(entry(Some("acme"), "later", 5)).await.expect("written");
    let rest = store.audit_of_hub(AuditQuery { before: first.next, ..all(3) }).await.expect("a page");
    assert_eq!((rest.items, rest.next), (vec![expected[3].clone()], None));
}

async fn nobody_changes_an_entry(ground: Ground) {
    let store = ground.open();
    let kept = entry(Some("acme"), "admin.users.set", 1);
    let n = store.append_audit(kept.clone()).await.expect("written");
    let mut attempts = vec![
        "update audit set actor = 'eve'".to_owned(),
        format!("update audit set details = '{{}}' where n = {n}"),
        "delete from audit".to_owned(),
        format!("delete from audit where n = {n}"),
    ];
    match &ground.backend {
        Backend::Sqlite(_) => attempts.push(format!(
            "insert or replace into audit (n, at, action, details, origin, request_id) \
             values ({n}, 1, 'forged', '{{}}', 'x', 'x')"
        )),
        Backend::Postgres(_) => {
            attempts.push("truncate audit".to_owned());
            attempts.push(format!(
                "insert into audit (n, at, action, details, origin, request_id) overriding system value \
                 values ({n}, 1, 'forged', '{{}}', 'x', 'x') on conflict (n) do update set action = 'forged'"
            ));
        }
    }
    for attempt in attempts {
        let fault = ground.execute(&attempt).expect_err(&attempt).to_string();
        assert!(fault.contains("the audit log is append-only"), "{attempt}: {fault}");
    }
    // Another organization's end takes nothing from the record either.
    with_ann(&store).await;
    ground.execute("delete from organization").expect("deleted");
    assert_eq!(store.audit(&acme(), all(9)).await.expect("a page").items, [StoredAudit { n, entry: kept }]);
    store.append_audit(entry(Some("acme"), "next", 2)).await.expect("the log goes on");
}

async fn entries_are_found_by_what_they_say(ground: Ground) {
    let store = ground.open();
    let mut ns = Vec::new();
    for (action, actor, target, at) in [
        ("a", "ann", "x", 10),
        ("b", "ann", "y", 20),
        ("a", "bob", "x", 30),
        ("b", "bob", "x", 40),
        ("a", "ann", "z", 50),
    ] {
        let entry =
            AuditEntry { actor: Some(user(actor)), target: Some(target.into()), ..entry(Some("acme"), action, at) };
        ns.push(store.append_audit(entry).await.expect("written"));
    }
    let picked = |wanted: &[usize]| wanted.iter().map(|i| ns[*i]).collect::<Vec<_>>();
    let by_action = AuditQuery { action: Some("a".into()), ..all(9) };
    assert_eq!(numbers(&store, by_action.clone()).await, picked(&[4, 2, 0]));
    let by_actor = AuditQuery { actor: Some(user("ann")), ..all(9) };
    assert_eq!(numbers(&store, by_actor.clone()).await, picked(&[4, 1, 0]));
    assert_eq!(numbers(&store, AuditQuery { action: Some("a".into()), ..by_actor }).await, picked(&[4, 0]));
    assert_eq!(numbers(&store, AuditQuery { target: Some("x".into()), ..all(9) }).await, picked(&[3, 2, 0]));
    let between = AuditQuery { from: Some(Timestamp(20)), to: Some(Timestamp(50)), ..all(9) };
    assert_eq!(numbers(&store, between).await, picked(&[3, 2, 1]));
    let first = store.audit(&acme(), AuditQuery { limit: 2, ..by_action.clone() }).await.expect("a page");
    assert_eq!(first.next, Some(ns[2]));
    assert_eq!(numbers(&store, AuditQuery { before: first.next, ..by_action }).await, picked(&[0]));
    assert_eq!(numbers(&store, AuditQuery { action: Some("' or 1=1 --".into()), ..all(9) }).await, [0; 0]);
}
