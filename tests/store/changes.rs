//! The feed of whose rights changed: complete, in order, and seen by every process.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::store::{CommitFault, CommitPoint, Store};

use crate::ground::*;

on_both!(
    every_change_of_rights_is_told,
    what_changes_nobodys_rights_is_not_told,
    a_follower_misses_nothing_of_another_process,
);

async fn told(store: &Store, after: u64) -> Vec<(String, Option<String>)> {
    let changes = store.changes_after(after).await.expect("changes");
    assert!(changes.is_sorted_by(|a, b| a.n < b.n) && changes.iter().all(|c| c.n > after), "{changes:?}");
    changes.into_iter().map(|c| (c.organization.to_string(), c.user.map(|u| u.to_string()))).collect()
}

fn session(hash: u8) -> HubSession {
    HubSession {
        hash: [hash; 32],
        organization: acme(),
        user: user("ann"),
        created_at: Timestamp(1),
        expires_at: Timestamp(9),
        revoked_at: None,
    }
}

/// The number of the newest change, which must be one of `ann` or of all, and the only one since `before`.
async fn one_more(store: &Store, before: u64, whose: Option<&str>, what: &str) -> u64 {
    assert_eq!(told(store, before).await, [("acme".to_owned(), whose.map(str::to_owned))], "{what}");
    store.newest_change().await.expect("a number")
}

async fn every_change_of_rights_is_told(ground: Ground) {
    let store = ground.open();
    assert_eq!(store.newest_change().await, Ok(0));
    assert_eq!(store.changes_after(0).await, Ok(vec![]));
    with_ann(&store).await;
    let (a, ann, now) = (acme(), user("ann"), Timestamp(5));
    let mut n = one_more(&store, 0, Some("ann"), "put_user").await;
    store.set_role(&a, &ann, Role::Viewer, now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "set_role").await;
    store.set_hub_admin(&a, &ann, true, now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "set_hub_admin").await;
    store.set_tokens_from(&a, &ann, now, now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "set_tokens_from").await;
    store.set_password(&a, &ann, Some("x".into()), now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "set_password").await;
    store.disable_user(&a, &ann, now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "disable_user").await;
    store.enable_user(&a, &ann, now).await.expect("set").expect("there");
    n = one_more(&store, n, Some("ann"), "enable_user").await;
    let key = key();
    store.put_api_key(key.clone()).await.expect("written");
    n = one_more(&store, n, Some("ann"), "put_api_key").await;
    store.revoke_api_key(&a, key.id, now).await.expect("revoked").expect("there");
    n = one_more(&store, n, Some("ann"), "revoke_api_key").await;
    for hash in 1..=3 {
        store.put_session(session(hash)).await.expect("written");
    }
    assert_eq!(store.revoke_session([1; 32], now).await, Ok(true));
    n = one_more(&store, n, Some("ann"), "revoke_session").await;
    assert_eq!(store.revoke_sessions(&a, &ann, now).await, Ok(2));
    n = one_more(&store, n, Some("ann"), "revoke_sessions").await;
    let device = device();
    store.put_device(device.clone()).await.expect("written");
    store.revoke_device(&a, device.id, now).await.expect("revoked").expect("there");
    n = one_more(&store, n, Some("ann"), "revoke_device").await;
    let token = RevokedToken { organization: acme(), token: "t".into(), expires_at: Timestamp(99) };
    store.revoke_token(token.clone(), Some(&ann), now).await.expect("revoked");
    n = one_more(&store, n, Some("ann"), "revoke_token").await;
    store.revoke_token(token, None, now).await.expect("revoked");
    n = one_more(&store, n, None, "revoke_token of whomever").await;
    store.disable_organization(&a, now).await.expect("set").expect("there");
    n = one_more(&store, n, None, "disable_organization").await;
    store.enable_organization(&a, now).await.expect("set").expect("there");
    one_more(&store, n, None, "enable_organization").await;
}

async fn what_changes_nobodys_rights_is_not_told(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let before = store.newest_change().await.expect("a number");
    let (a, ann, other, now) = (acme(), user("ann"), org("other"), Timestamp(5));
    store.ensure_user(person("new")).await.expect("written");
    store.put_organization(house("acme")).await.expect("written");
    assert_eq!(store.set_role(&other, &ann, Role::Owner, now).await, Ok(None));
    assert_eq!(store.revoke_api_key(&a, KeyId(1), now).await, Ok(None));
    assert_eq!(store.revoke_device(&a, DeviceId(1), now).await, Ok(None));
    assert_eq!(store.revoke_session([9; 32], now).await, Ok(false));
    assert_eq!(store.revoke_sessions(&a, &ann, now).await, Ok(0));
    assert_eq!(store.disable_organization(&other, now).await, Ok(None));
    let twin = store.put_api_key(ApiKey { user: user("nobody"), ..key() }).await;
    assert!(matches!(twin, Err(CommitFault::Refused(_))), "{twin:?}");
    assert_eq!(told(&store, before).await, []);
    assert_eq!(store.newest_change().await, Ok(before));
}

/// A number is drawn before its transaction is committed: a second process must not overtake the first, or who reads
/// on from the higher number never sees the lower one.
async fn a_follower_misses_nothing_of_another_process(ground: Ground) {
    let here = ground.open();
    let there = Store::open_shared(ground.settings()).expect("opens beside the owner");
    with_ann(&here).await;
    here.put_user(person("bob")).await.expect("written");
    let start = here.newest_change().await.expect("a number");
    let (reached, at_the_point) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let (reached, may_go_on) = (Mutex::new(reached), Mutex::new(may_go_on));
    here.set_commit_hook(Some(Arc::new(move |point| {
        if point == CommitPoint::Before {
            reached.lock().expect("a lock").send(()).expect("somebody waits");
            may_go_on.lock().expect("a lock").recv().expect("somebody lets go");
        }
    })));
    let first = tokio::spawn({
        let here = here.clone();
        async move { here.set_role(&acme(), &user("ann"), Role::Viewer, Timestamp(5)).await }
    });
    tokio::task::spawn_blocking(move || at_the_point.recv()).await.expect("no panic").expect("held before its commit");
    let mut second = tokio::spawn({
        let there = there.clone();
        async move { there.set_role(&acme(), &user("bob"), Role::Viewer, Timestamp(5)).await }
    });
    // As long as the second may take to overtake, if it can.
    let early = tokio::time::timeout(Duration::from_millis(500), &mut second).await;
    let mut seen = here.changes_after(start).await.expect("changes");
    let last = seen.last().map_or(start, |change| change.n);
    go_on.send(()).expect("it waits");
    first.await.expect("no panic").expect("committed");
    match early {
        Ok(done) => done.expect("no panic").expect("committed"),
        Err(_) => second.await.expect("no panic").expect("committed"),
    };
    seen.extend(here.changes_after(last).await.expect("changes"));
    let mut whose: Vec<_> = seen.iter().map(|change| change.user.clone().expect("a user").to_string()).collect();
    whose.sort();
    assert_eq!(whose, ["ann", "bob"]);
    here.set_commit_hook(None);
}
