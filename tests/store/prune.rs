//! What is forgotten by age, and what must stay.

use serde_json::json;
use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::domain::record::*;
use switchboard::store::{PruneSettings, Pruned};

use crate::audit::entry;
use crate::ground::*;

on_both!(
    what_has_ended_is_forgotten,
    nothing_else_is_forgotten,
    a_history_keeps_its_numbers,
    the_feed_keeps_its_newest,
    many_go_in_small_steps,
);

const FOREVER: PruneSettings = PruneSettings { keys_ms: i64::MAX, facts_ms: None };

fn session(hash: u8, created_at: i64, expires_at: i64) -> HubSession {
    HubSession {
        hash: [hash; 32],
        organization: acme(),
        user: user("ann"),
        created_at: Timestamp(created_at),
        expires_at: Timestamp(expires_at),
        revoked_at: None,
    }
}

async fn what_has_ended_is_forgotten(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    for (hash, end) in [(1, 99), (2, 101)] {
        let (organization, hash, created_at, expires_at) = (acme(), [hash; 32], Timestamp(1), Timestamp(end));
        let link = SignInLink { hash, organization, user: user("ann"), created_at, expires_at };
        store.put_sign_in_link(link).await.expect("written");
        let (role, device_name) = (Role::Member, "d".to_owned());
        let code =
            PairingCode { hash, organization: acme(), user: user("ann"), role, device_name, created_at, expires_at };
        store.put_pairing_code(code).await.expect("written");
        let principal = Principal {
            organization: acme(),
            user: user("ann"),
            role,
            hub_admin: false,
            permissions: vec![],
            credential: Credential::Operator,
            expires_at: None,
        };
        let ticket = Ticket { hash, principal, route: "/ws".into(), origin: None, created_at, expires_at };
        store.put_ticket(ticket).await.expect("written");
        let token = RevokedToken { organization: acme(), token: end.to_string(), expires_at };
        store.revoke_token(token, None, Timestamp(100)).await.expect("written");
    }
    for session in [session(1, 1, 50), session(2, 2, 60), session(3, 3, 70)] {
        store.put_session(session).await.expect("written");
    }
    let settings = conversation("ann");
    for (n, at) in [(1, 10), (2, 40)] {
        let key = Idempotency { user: user("ann"), key: format!("k{n}"), request: [1; 32], answer: "{}".into() };
        let writes = vec![Write::Conversation(settings.clone())];
        let commit = Batch { idempotency: Some(key), at: Timestamp(at), ..batch(&settings, writes) };
        store.commit(commit).await.expect("committed");
    }
    let forgotten = store.prune(Timestamp(100), &PruneSettings { keys_ms: 70, ..FOREVER }).await;
    let one = Pruned {
        keys: 1,
        sign_in_links: 1,
        sessions: 2,
        pairing_codes: 1,
        tickets: 1,
        revoked_tokens: 1,
        ..Pruned::default()
    };
    assert_eq!(forgotten, Ok(one));
    for table in ["idempotency", "sign_in_link", "pairing_code", "ticket", "revoked_token"] {
        assert_eq!(ground.count(table).await, 1, "{table}");
    }
    assert_eq!(store.is_token_revoked(&acme(), Some("101"), [0; 32]).await, Ok(true));
    assert!(store.take_ticket([2; 32], Timestamp(100)).await.expect("answered").is_some());
    assert_eq!(store.has_signed_in(&acme(), &user("ann")).await, Ok(true), "the last session still tells");
    assert_eq!(store.session_by_hash([3; 32]).await, Ok(Some(session(3, 3, 70))));
    assert_eq!(store.prune(Timestamp(100), &PruneSettings { keys_ms: 70, ..FOREVER }).await, Ok(Pruned::default()));
}

async fn nothing_else_is_forgotten(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let mine = conversation("ann");
    with_message(&store, &mine, "walrus").await;
    let fact = Write::Fact(Fact { kind: "x", turn: None, by: None, refs: json!({}) });
    store.commit(batch(&mine, vec![fact])).await.expect("committed");
    // What was revoked or has expired, and is nevertheless part of the record.
    let key = ApiKey { expires_at: Some(Timestamp(2)), revoked_at: Some(Timestamp(2)), ..key() };
    store.put_api_key(key).await.expect("written");
    store.put_device(Device { revoked_at: Some(Timestamp(2)), ..device() }).await.expect("written");
    store.append_audit(entry(Some("acme"), "old", 1)).await.expect("written");
    store.disable_user(&acme(), &user("ann"), Timestamp(2)).await.expect("written").expect("there");
    store.disable_organization(&acme(), Timestamp(2)).await.expect("written").expect("there");
    let tables = [
        "organization",
        "account",
        "api_key",
        "device",
        "audit",
        "conversation",
        "turn",
        "message",
        "part",
        "fact",
        "message_index",
    ];
    let mut before = Vec::new();
    for table in tables {
        before.push(ground.count(table).await);
    }
    assert!(before.iter().all(|rows| *rows > 0), "{tables:?} {before:?}");
    let later = Timestamp(SystemSource.now().0 + 100 * 365 * 86_400_000);
    store.prune(later, &PruneSettings { keys_ms: 0, facts_ms: None }).await.expect("pruned");
    for (table, rows) in tables.iter().zip(before) {
        assert_eq!(ground.count(table).await, rows, "{table}");
    }
}

async fn a_history_keeps_its_numbers(ground: Ground) {
    let store = ground.open();
    let (busy, quiet) = (conversation("ann"), conversation("ann"));
    let fact = || Write::Fact(Fact { kind: "x", turn: None, by: None, refs: json!({}) });
    for settings in [&busy, &quiet] {
        store.commit(batch(settings, vec![Write::Conversation((*settings).clone())])).await.expect("committed");
    }
    for at in [10, 20, 30] {
        let commit = Batch { at: Timestamp(at), ..batch(&busy, vec![fact()]) };
        store.commit(commit).await.expect("committed");
    }
    store.commit(Batch { at: Timestamp(5), ..batch(&quiet, vec![fact(), fact()]) }).await.expect("committed");
    let numbers = async |conversation: ConversationId| -> Vec<u64> {
        store.facts(&acme(), conversation, 0, 99).await.expect("facts").iter().map(|f| f.n).collect()
    };
    assert_eq!(store.prune(Timestamp(1000), &FOREVER).await, Ok(Pruned::default()), "for ever");
    let settings = PruneSettings { facts_ms: Some(975), ..FOREVER };
    assert_eq!(store.prune(Timestamp(1000), &settings).await, Ok(Pruned { facts: 3, ..Pruned::default() }));
    assert_eq!((numbers(busy.id).await, numbers(quiet.id).await), (vec![3], vec![2]));
    store.commit(batch(&quiet, vec![fact()])).await.expect("committed");
    assert_eq!(numbers(quiet.id).await, [2, 3], "no number is given twice");
}

async fn the_feed_keeps_its_newest(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    for hour in 1..=3 {
        let now = Timestamp(hour * 3_600_000);
        store.set_role(&acme(), &user("ann"), Role::Viewer, now).await.expect("set").expect("there");
    }
    let newest = store.newest_change().await.expect("a number");
    let pruned = store.prune(Timestamp(4 * 3_600_000), &FOREVER).await.expect("pruned");
    assert_eq!(pruned.changes, 2, "the third is an hour old, not more");
    // So old that all of them are: the newest stays, and no number comes back.
    let later = Timestamp(SystemSource.now().0 + 2 * 3_600_000);
    store.prune(later, &FOREVER).await.expect("pruned");
    assert_eq!(ground.count("identity_change").await, 1);
    assert_eq!(store.newest_change().await, Ok(newest));
    store.set_role(&acme(), &user("ann"), Role::Member, later).await.expect("set").expect("there");
    assert_eq!(store.changes_after(newest).await.expect("changes").len(), 1);
}

async fn many_go_in_small_steps(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let link = |n: u16| {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        let (created_at, expires_at) = (Timestamp(1), Timestamp(2));
        store.put_sign_in_link(SignInLink { hash, organization: acme(), user: user("ann"), created_at, expires_at })
    };
    for written in futures_util::future::join_all((0..1203).map(link)).await {
        written.expect("written");
    }
    let pruned = store.prune(Timestamp(3), &FOREVER).await;
    assert_eq!(pruned, Ok(Pruned { sign_in_links: 1203, ..Pruned::default() }));
}
