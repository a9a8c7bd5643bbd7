//! Tickets, and tokens that were taken back.

use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::store::{CommitFault, Store};

use crate::ground::*;

on_both!(
    of_fifty_who_take_a_ticket_one_wins,
    a_ticket_brings_its_principal_back,
    a_start_of_the_owner_makes_tickets_void,
    a_ticket_goes_with_what_made_it,
    tokens_are_taken_back,
);

fn credential(kind: &str, id: &str) -> Credential {
    let id = id.to_owned();
    match kind {
        "jwt" => Credential::Jwt { id: Some(id), issued_at: Some(Timestamp(77_000)) },
        "api_key" => Credential::ApiKey { id },
        "device" => Credential::Device { id },
        "session" => Credential::Session { id },
        other => panic!("{other}"),
    }
}

fn ticket(hash: u8, of: &str, credential: Credential) -> Ticket {
    Ticket {
        hash: [hash; 32],
        principal: Principal {
            organization: acme(),
            user: user(of),
            role: Role::Viewer,
            hub_admin: true,
            permissions: vec!["skills:*".into(), "quote\"\\".into()],
            credential,
            expires_at: Some(Timestamp(1000)),
        },
        route: "/ws".into(),
        origin: Some("https://a.example".into()),
        created_at: Timestamp(1),
        expires_at: Timestamp(100),
    }
}

async fn of_fifty_who_take_a_ticket_one_wins(ground: Ground) {
    let stores = [
        ground.open(),
        Store::open_shared(ground.settings()).expect("opens beside the owner"),
        Store::open_shared(ground.settings()).expect("opens beside the owner"),
    ];
    with_ann(&stores[0]).await;
    let made = ticket(1, "ann", credential("jwt", "one"));
    stores[0].put_ticket(made.clone()).await.expect("written");
    let tries: Vec<_> = (0..50)
        .map(|n| {
            let store = stores[n % stores.len()].clone();
            tokio::spawn(async move { store.take_ticket([1; 32], Timestamp(99)).await })
        })
        .collect();
    let mut taken = Vec::new();
    for attempt in tries {
        taken.extend(attempt.await.expect("no panic").expect("answered"));
    }
    assert_eq!(taken, [made]);
    assert_eq!(ground.count("ticket").await, 0);
}

async fn a_start_of_the_owner_makes_tickets_void(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    for hash in [1, 2] {
        store.put_ticket(ticket(hash, "ann", credential("jwt", "one"))).await.expect("written");
    }
    // Whoever works beside the owner is no new run.
    drop(Store::open_shared(ground.settings()).expect("opens beside the owner"));
    assert!(store.take_ticket([1; 32], Timestamp(99)).await.expect("answered").is_some());
    store.close().await;
    drop(store);
    assert_eq!(ground.open().take_ticket([2; 32], Timestamp(99)).await, Ok(None));
}

async fn a_ticket_brings_its_principal_back(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let mut plain = ticket(2, "ann", Credential::Jwt { id: None, issued_at: None });
    plain.origin = None;
    plain.principal.expires_at = None;
    plain.principal.permissions = vec![];
    plain.principal.hub_admin = false;
    let tickets = [
        ticket(1, "ann", credential("jwt", "a|b")),
        plain,
        ticket(3, "ann", credential("session", "00ff")),
        ticket(4, "ann", Credential::Foreign { id: "x".into() }),
    ];
    for ticket in &tickets {
        store.put_ticket(ticket.clone()).await.expect("written");
    }
    for ticket in tickets {
        assert_eq!(store.take_ticket(ticket.hash, Timestamp(99)).await, Ok(Some(ticket.clone())));
        assert_eq!(store.take_ticket(ticket.hash, Timestamp(99)).await, Ok(None), "used");
    }
    store.put_ticket(ticket(5, "ann", credential("device", "dev_1"))).await.expect("written");
    assert!(matches!(
        store.put_ticket(ticket(5, "ann", credential("device", "dev_1"))).await,
        Err(CommitFault::Refused(_))
    ));
    assert_eq!(store.take_ticket([5; 32], Timestamp(100)).await, Ok(None), "expired");
    assert_eq!(ground.count("ticket").await, 0, "and gone");
    assert!(matches!(
        store.put_ticket(ticket(6, "nobody", credential("jwt", "x"))).await,
        Err(CommitFault::Refused(_))
    ));
}

async fn a_ticket_goes_with_what_made_it(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    store.put_user(person("bob")).await.expect("written");
    let (key, device) = (key(), device());
    store.put_api_key(key.clone()).await.expect("written");
    store.put_device(device.clone()).await.expect("written");
    for (hash, whose, made_with) in [
        (1, "ann", credential("api_key", &key.id.to_string())),
        (2, "ann", credential("device", &device.id.to_string())),
        (3, "ann", credential("jwt", "one")),
        (4, "ann", credential("jwt", "two")),
        (5, "ann", credential("session", "s")),
        (6, "bob", credential("jwt", "one")),
    ] {
        store.put_ticket(ticket(hash, whose, made_with)).await.expect("written");
    }
    store.revoke_api_key(&acme(), key.id, Timestamp(5)).await.expect("revoked").expect("there");
    assert_eq!(ground.count("ticket").await, 5);
    store.revoke_device(&acme(), device.id, Timestamp(5)).await.expect("revoked").expect("there");
    assert_eq!(ground.count("ticket").await, 4);
    let one = credential("jwt", "one");
    assert_eq!(store.drop_tickets(&org("other"), &user("ann"), Some(&one)).await, Ok(0));
    assert_eq!(store.drop_tickets(&acme(), &user("ann"), Some(&one)).await, Ok(1));
    assert_eq!(store.take_ticket([3; 32], Timestamp(50)).await, Ok(None));
    store.disable_user(&acme(), &user("ann"), Timestamp(6)).await.expect("disabled");
    assert_eq!(ground.count("ticket").await, 1, "bob's");
    assert_eq!(store.drop_tickets(&acme(), &user("bob"), None).await, Ok(1));
}

async fn tokens_are_taken_back(ground: Ground) {
    let store = ground.open();
    store.put_organization(house("acme")).await.expect("written");
    store.put_organization(house("other")).await.expect("written");
    let revoked = |organization: &str, token: &str, end: i64| RevokedToken {
        organization: org(organization),
        token: token.into(),
        expires_at: Timestamp(end),
    };
    let odd = "id\0'; --";
    for token in [revoked("acme", "one", 100), revoked("acme", odd, 200)] {
        store.revoke_token(token, Some(&user("ann")), Timestamp(5)).await.expect("revoked");
    }
    store.revoke_token(revoked("other", "two", 300), None, Timestamp(5)).await.expect("revoked");
    store.revoke_token(revoked("acme", "one", 150), None, Timestamp(6)).await.expect("revoked twice");
    for (organization, token, expected) in
        [("acme", "one", true), ("acme", odd, true), ("acme", "two", false), ("other", "one", false)]
    {
        let answer = store.is_token_revoked(&org(organization), Some(token), [0; 32]).await;
        assert_eq!(answer, Ok(expected), "{organization} {token}");
    }
    let mut live = store.revoked_tokens(Timestamp(149)).await.expect("a list");
    live.sort_by_key(|token| token.expires_at);
    assert_eq!(
        live,
        [
            revoked("acme", "one", 150),
            revoked("acme", &odd.replace('\0', "\u{fffd}"), 200),
            revoked("other", "two", 300)
        ]
    );
    assert_eq!(store.revoked_tokens(Timestamp(200)).await, Ok(vec![revoked("other", "two", 300)]));
    let foreign = store.revoke_token(revoked("nowhere", "x", 9), None, Timestamp(5)).await;
    assert!(matches!(foreign, Err(CommitFault::Refused(_))), "{foreign:?}");
}
