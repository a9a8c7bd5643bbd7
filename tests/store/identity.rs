//! Organizations, users, keys, links and sessions.

use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::Role;
use switchboard::store::{CommitFault, Counts, UserQuery};

use crate::ground::*;

on_both!(
    people_come_back,
    ensuring_changes_nobody,
    keys_are_found_by_hash_and_revoked_once,
    a_link_signs_in_once,
    sessions_end,
    a_secret_is_made_once,
    credentials_need_their_user,
);

async fn people_come_back(ground: Ground) {
    let store = ground.open();
    assert_eq!(store.counts().await, Ok(Counts { organizations: 0, users: 0 }));
    with_ann(&store).await;
    let mut bob = person("bob|ü");
    store.put_user(bob.clone()).await.expect("written");
    bob.role = Role::Owner;
    bob.hub_admin = true;
    bob.managed = false;
    store.put_user(bob.clone()).await.expect("written");
    let other = Organization { id: org("other"), name: "Other".into(), created_at: Timestamp(1), disabled_at: None };
    store.put_organization(other.clone()).await.expect("written");
    drop(store);
    let store = ground.open();
    assert_eq!(store.counts().await, Ok(Counts { organizations: 2, users: 2 }));
    assert_eq!(store.organization(&acme()).await, Ok(Some(house("acme"))));
    assert_eq!(store.organizations(None, 9).await.expect("a page").items, [house("acme"), other.clone()]);
    assert_eq!(store.user(&acme(), &user("ann")).await, Ok(Some(person("ann"))));
    let all = || UserQuery { limit: 9, ..UserQuery::default() };
    assert_eq!(store.users(&acme(), all()).await.expect("a page").items, [person("ann"), bob]);
    assert_eq!(store.users(&other.id, all()).await.expect("a page").items, []);
    assert_eq!(store.user(&other.id, &user("ann")).await, Ok(None));
}

async fn ensuring_changes_nobody(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let renamed = Organization { name: "Renamed".into(), ..house("acme") };
    assert_eq!(store.ensure_organization(renamed).await, Ok(false));
    assert_eq!(store.organization(&acme()).await, Ok(Some(house("acme"))));
    let raised = User { role: Role::Owner, hub_admin: true, ..person("ann") };
    assert_eq!(store.ensure_user(raised).await, Ok(person("ann")));
    assert_eq!(store.ensure_user(person("new")).await, Ok(person("new")));
    assert_eq!(store.counts().await, Ok(Counts { organizations: 1, users: 2 }));
}

fn key(name: &str, hash: u8) -> ApiKey {
    ApiKey {
        id: KeyId(next()),
        organization: acme(),
        user: user("ann"),
        name: name.into(),
        hash: [hash; 32],
        created_at: Timestamp(1),
        expires_at: Some(Timestamp(9)),
        revoked_at: None,
    }
}

async fn keys_are_found_by_hash_and_revoked_once(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let (one, two) = (key("one", 1), key("two", 2));
    store.put_api_key(one.clone()).await.expect("written");
    store.put_api_key(two.clone()).await.expect("written");
    assert_eq!(store.api_key_by_hash([1; 32]).await, Ok(Some(one.clone())));
    assert_eq!(store.api_key_by_hash([3; 32]).await, Ok(None));
    assert!(matches!(store.put_api_key(key("twin", 1)).await, Err(CommitFault::Refused(_))));
    assert_eq!(store.revoke_api_key(&org("other"), one.id, Timestamp(5)).await, Ok(None));
    let revoked = ApiKey { revoked_at: Some(Timestamp(6)), ..one.clone() };
    assert_eq!(store.revoke_api_key(&acme(), one.id, Timestamp(6)).await, Ok(Some(revoked.clone())));
    assert_eq!(store.revoke_api_key(&acme(), one.id, Timestamp(7)).await, Ok(None));
    assert_eq!(store.api_keys(&acme(), None, None, 9).await.expect("a page").items, [revoked, two]);
    assert_eq!(store.api_keys(&org("other"), None, None, 9).await.expect("a page").items, []);
}

async fn a_link_signs_in_once(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let link = |hash: u8, expires_at: i64| SignInLink {
        hash: [hash; 32],
        organization: acme(),
        user: user("ann"),
        created_at: Timestamp(1),
        expires_at: Timestamp(expires_at),
    };
    store.put_sign_in_link(link(1, 100)).await.expect("written");
    store.put_sign_in_link(link(2, 100)).await.expect("written");
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.use_sign_in_link([1; 32], Timestamp(99)).await })
        })
        .collect();
    let mut used = Vec::new();
    for attempt in tries {
        used.extend(attempt.await.expect("no panic").expect("answered"));
    }
    assert_eq!(used, [(acme(), user("ann"))]);
    assert_eq!(store.use_sign_in_link([2; 32], Timestamp(100)).await, Ok(None), "expired");
    assert_eq!(store.use_sign_in_link([3; 32], Timestamp(1)).await, Ok(None), "unknown");
}

async fn sessions_end(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let session = HubSession {
        hash: [1; 32],
        organization: acme(),
        user: user("ann"),
        created_at: Timestamp(1),
        expires_at: Timestamp(9),
        revoked_at: None,
    };
    store.put_session(session.clone()).await.expect("written");
    assert_eq!(store.session_by_hash([1; 32]).await, Ok(Some(session.clone())));
    assert_eq!(store.session_by_hash([2; 32]).await, Ok(None));
    assert_eq!(store.revoke_session([1; 32], Timestamp(5)).await, Ok(true));
    assert_eq!(store.revoke_session([1; 32], Timestamp(6)).await, Ok(false));
    let revoked = HubSession { revoked_at: Some(Timestamp(5)), ..session };
    assert_eq!(store.session_by_hash([1; 32]).await, Ok(Some(revoked.clone())));
    let again = HubSession { revoked_at: None, ..revoked.clone() };
    store.put_session(again).await.expect("passed over");
    assert_eq!(store.session_by_hash([1; 32]).await, Ok(Some(revoked)), "it does not begin again");
    assert_eq!(store.is_token_revoked(&acme(), None, [1; 32]).await, Ok(true));
    assert_eq!(store.is_token_revoked(&acme(), None, [2; 32]).await, Ok(false));
}

async fn a_secret_is_made_once(ground: Ground) {
    let store = ground.open();
    let tries = (0..20_u8).map(|n| store.secret("jwt", vec![n; 32], Timestamp(1)));
    let given = futures_util::future::join_all(tries).await;
    let first = given[0].clone().expect("answered");
    assert!(given.iter().all(|secret| *secret == Ok(first.clone())), "{given:?}");
    assert_eq!(store.secret("agents", vec![255, 0], Timestamp(1)).await, Ok(vec![255, 0]));
    drop(store);
    assert_eq!(ground.open().secret("jwt", vec![99], Timestamp(2)).await, Ok(first));
}

async fn credentials_need_their_user(ground: Ground) {
    let store = ground.open();
    assert!(matches!(store.put_user(person("ann")).await, Err(CommitFault::Refused(_))), "no organization");
    with_ann(&store).await;
    let foreign = ApiKey { organization: org("other"), ..key("k", 1) };
    assert!(matches!(store.put_api_key(foreign).await, Err(CommitFault::Refused(_))));
}
