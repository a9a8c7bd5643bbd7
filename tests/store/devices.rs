//! Devices and the codes that pair them.

use std::collections::BTreeSet;

use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::store::{AuditQuery, CommitFault, Store};

use crate::ground::*;

on_both!(
    devices_are_found_named_and_revoked_once,
    a_visit_is_noted_once_a_minute,
    of_fifty_who_use_a_code_one_wins,
    a_code_ends,
    who_does_not_come_in_pairs_nothing,
    no_device_is_paired_that_is_not_on_the_record,
);

fn device(name: &str, of: &str, hash: u8) -> Device {
    Device {
        id: DeviceId(next()),
        organization: acme(),
        user: user(of),
        name: name.into(),
        role: Role::Member,
        hash: [hash; 32],
        created_at: Timestamp(1),
        last_seen_at: None,
        revoked_at: None,
    }
}

fn code(hash: u8, expires_at: i64) -> PairingCode {
    PairingCode {
        hash: [hash; 32],
        organization: acme(),
        user: user("ann"),
        role: Role::Operator,
        device_name: "Ann's phone\0".into(),
        created_at: Timestamp(1),
        expires_at: Timestamp(expires_at),
    }
}

/// What is written down of a device that was paired.
fn paired(device: &Device) -> AuditEntry {
    AuditEntry { target: Some(device.id.to_string()), ..crate::audit::entry(Some("acme"), "pairing.verify", 50) }
}

async fn devices_are_found_named_and_revoked_once(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    store.put_user(person("bob")).await.expect("written");
    let (one, two, bobs) = (device("one", "ann", 1), device("two", "ann", 2), device("bob's", "bob", 3));
    for device in [&one, &two, &bobs] {
        store.put_device(device.clone()).await.expect("written");
    }
    assert!(matches!(store.put_device(device("twin", "ann", 1)).await, Err(CommitFault::Refused(_))), "one hash");
    assert!(matches!(store.put_device(device("x", "nobody", 9)).await, Err(CommitFault::Refused(_))), "no such user");
    assert_eq!(store.device_by_hash([1; 32]).await, Ok(Some(one.clone())));
    assert_eq!(store.device_by_hash([8; 32]).await, Ok(None));
    assert_eq!(store.device(&org("other"), one.id).await, Ok(None));
    let page = store.devices(&acme(), None, None, 2).await.expect("a page");
    assert_eq!((page.items, page.next), (vec![one.clone(), two.clone()], Some(two.id)));
    let page = store.devices(&acme(), None, Some(two.id), 2).await.expect("a page");
    assert_eq!((page.items, page.next), (vec![bobs.clone()], None));
    let page = store.devices(&acme(), Some(&user("bob")), None, 9).await.expect("a page");
    assert_eq!(page.items, [bobs]);
    assert_eq!(store.devices(&org("other"), Some(&user("ann")), None, 9).await.expect("a page").items, []);

    let named = Device { name: "renamed".into(), ..one.clone() };
    assert_eq!(store.rename_device(&org("other"), one.id, "x").await, Ok(None));
    assert_eq!(store.rename_device(&acme(), one.id, "renamed").await, Ok(Some(named.clone())));
    assert_eq!(store.revoke_device(&org("other"), one.id, Timestamp(5)).await, Ok(None));
    let revoked = Device { revoked_at: Some(Timestamp(6)), ..named };
    assert_eq!(store.revoke_device(&acme(), one.id, Timestamp(6)).await, Ok(Some(revoked.clone())));
    assert_eq!(store.revoke_device(&acme(), one.id, Timestamp(7)).await, Ok(None));
    assert_eq!(store.rename_device(&acme(), one.id, "again").await, Ok(None));
    assert_eq!(store.device_by_hash([1; 32]).await, Ok(Some(revoked)), "the caller judges");
}

async fn a_visit_is_noted_once_a_minute(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let known = device("one", "ann", 1);
    store.put_device(known.clone()).await.expect("written");
    assert_eq!(store.touch_device(&known, Timestamp(100_000)).await, Ok(true));
    // What the caller remembers is old; what is stored decides.
    assert_eq!(store.touch_device(&known, Timestamp(159_999)).await, Ok(false));
    let seen = Device { last_seen_at: Some(Timestamp(100_000)), ..known };
    assert_eq!(store.device_by_hash([1; 32]).await, Ok(Some(seen.clone())));
    assert_eq!(store.touch_device(&seen, Timestamp(159_999)).await, Ok(false));
    assert_eq!(store.touch_device(&seen, Timestamp(160_000)).await, Ok(true));
    let stored = store.device_by_hash([1; 32]).await.expect("answered").expect("there");
    assert_eq!(stored.last_seen_at, Some(Timestamp(160_000)));
}

async fn of_fifty_who_use_a_code_one_wins(ground: Ground) {
    let stores = [
        ground.open(),
        Store::open_shared(ground.settings()).expect("opens beside the owner"),
        Store::open_shared(ground.settings()).expect("opens beside the owner"),
    ];
    with_ann(&stores[0]).await;
    stores[0].put_pairing_code(code(1, 100)).await.expect("written");
    let tries: Vec<_> = (0..50_u8)
        .map(|n| {
            let store = stores[usize::from(n) % stores.len()].clone();
            let id = DeviceId(next());
            tokio::spawn(async move { store.use_pairing_code([1; 32], Timestamp(99), id, [100 + n; 32], paired).await })
        })
        .collect();
    let mut paired = Vec::new();
    for attempt in tries {
        paired.extend(attempt.await.expect("no panic").expect("answered"));
    }
    assert_eq!(paired.len(), 1, "{paired:?}");
    let made = &paired[0];
    assert_eq!(
        (made.user.as_str(), made.role, made.name.as_str()),
        ("ann", Role::Operator, "Ann's phone\u{fffd}"),
        "as the code says"
    );
    assert_eq!((made.created_at, made.last_seen_at, made.revoked_at), (Timestamp(99), None, None));
    assert_eq!(stores[0].devices(&acme(), None, None, 99).await.expect("a page").items, paired);
    assert_eq!(stores[0].device_by_hash(paired[0].hash).await, Ok(Some(paired[0].clone())));
}

async fn a_code_ends(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let pair =
        |hash: u8, now: i64| store.use_pairing_code([hash; 32], Timestamp(now), DeviceId(next()), [hash; 32], paired);
    for hash in 1..=4 {
        store.put_pairing_code(code(hash, 100 + i64::from(hash))).await.expect("written");
    }
    assert!(matches!(store.put_pairing_code(code(1, 999)).await, Err(CommitFault::Refused(_))));
    assert_eq!(store.live_pairing_codes(Timestamp(50)).await, Ok(4));
    assert_eq!(store.live_pairing_codes(Timestamp(101)).await, Ok(3), "one has ended");
    assert_eq!(pair(1, 101).await, Ok(None), "expired");
    assert_eq!(pair(9, 50).await, Ok(None), "unknown");
    assert!(pair(2, 101).await.expect("answered").is_some());
    assert_eq!(pair(2, 101).await, Ok(None), "used");
    assert_eq!(store.live_pairing_codes(Timestamp(101)).await, Ok(2));
    // A token that is there already, as nobody could draw it, leaves the code as it was.
    let taken = store.use_pairing_code([3; 32], Timestamp(101), DeviceId(next()), [2; 32], paired).await;
    assert!(matches!(taken, Err(CommitFault::Refused(_))), "{taken:?}");
    assert_eq!(store.live_pairing_codes(Timestamp(101)).await, Ok(2));
    store.spoil_pairing_codes().await.expect("spoiled");
    assert_eq!(store.live_pairing_codes(Timestamp(0)).await, Ok(0));
    assert_eq!(pair(4, 101).await, Ok(None), "spoiled");
    let devices: BTreeSet<_> =
        store.devices(&acme(), None, None, 9).await.expect("a page").items.iter().map(|d| d.hash).collect();
    assert_eq!(devices, BTreeSet::from([[2; 32]]));
}

async fn who_does_not_come_in_pairs_nothing(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let pair = |hash: u8| store.use_pairing_code([hash; 32], Timestamp(50), DeviceId(next()), [hash; 32], paired);
    store.put_pairing_code(code(1, 100)).await.expect("written");
    store.disable_user(&acme(), &user("ann"), Timestamp(10)).await.expect("disabled");
    assert_eq!(store.live_pairing_codes(Timestamp(50)).await, Ok(0), "gone with the user");
    store.put_pairing_code(code(2, 100)).await.expect("written");
    assert_eq!(pair(2).await, Ok(None), "disabled");
    store.enable_user(&acme(), &user("ann"), Timestamp(11)).await.expect("enabled");
    store.put_pairing_code(code(3, 100)).await.expect("written");
    store.disable_organization(&acme(), Timestamp(12)).await.expect("disabled");
    assert_eq!(pair(3).await, Ok(None), "nobody of that organization");
    assert_eq!(store.devices(&acme(), None, None, 9).await.expect("a page").items, []);
}

async fn no_device_is_paired_that_is_not_on_the_record(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    for hash in [1, 2] {
        store.put_pairing_code(code(hash, 100)).await.expect("written");
    }
    let pair = |hash: u8| store.use_pairing_code([hash; 32], Timestamp(50), DeviceId(next()), [hash; 32], paired);
    let made = pair(1).await.expect("answered").expect("paired");
    assert_eq!(pair(9).await, Ok(None), "unknown");
    let rows = store.audit(&acme(), AuditQuery { limit: 9, ..AuditQuery::default() }).await.expect("a page").items;
    assert_eq!(rows.iter().map(|row| row.entry.clone()).collect::<Vec<_>>(), [paired(&made)]);
    ground.execute("drop table audit").expect("gone");
    pair(2).await.expect_err("it cannot be written down");
    assert_eq!(store.live_pairing_codes(Timestamp(50)).await, Ok(1), "the code is as it was");
    assert_eq!(store.devices(&acme(), None, None, 9).await.expect("a page").items, [made]);
}
