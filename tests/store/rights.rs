//! What users and organizations may do, and when they do not come in any more.

use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::principal::*;
use switchboard::store::{CommitFault, Store, UserQuery};

use crate::ground::*;

on_both!(
    rights_are_set_and_read_back,
    a_disabled_user_stays_disabled,
    the_last_owner_stays_owner,
    two_owners_who_demote_each_other_leave_one,
    a_password_is_nobodys_row,
    users_page_by_name,
    organizations_are_made_once_and_disabled,
);

fn owner(name: &str) -> User {
    User { role: Role::Owner, ..person(name) }
}

async fn rights_are_set_and_read_back(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    store.put_user(User { managed: false, ..person("bob") }).await.expect("written");
    let admin = User { role: Role::Admin, ..person("bob") };
    assert_eq!(store.set_role(&acme(), &user("bob"), Role::Admin, Timestamp(9)).await, Ok(Some(admin.clone())));
    let raised = User { hub_admin: true, ..admin };
    assert_eq!(store.set_hub_admin(&acme(), &user("bob"), true, Timestamp(9)).await, Ok(Some(raised.clone())));
    let from = User { tokens_from: Timestamp(500), ..raised.clone() };
    let (acme, bob) = (acme(), user("bob"));
    let set = |at: i64| store.set_tokens_from(&acme, &bob, Timestamp(at), Timestamp(9));
    assert_eq!(set(500).await, Ok(Some(from.clone())));
    assert_eq!(set(400).await, Ok(Some(from.clone())), "never back");
    // A row that is written again does not take back what was revoked.
    store.put_user(raised).await.expect("written");
    assert_eq!(store.user(&acme, &bob).await, Ok(Some(from)));
    assert_eq!(store.user(&acme, &user("ann")).await, Ok(Some(person("ann"))), "nobody else");
    assert_eq!(store.set_role(&acme, &user("nobody"), Role::Owner, Timestamp(9)).await, Ok(None));
    assert_eq!(store.set_role(&org("other"), &user("ann"), Role::Owner, Timestamp(9)).await, Ok(None));
}

async fn a_disabled_user_stays_disabled(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let disabled = User { disabled_at: Some(Timestamp(50)), ..person("ann") };
    assert_eq!(store.disable_user(&acme(), &user("ann"), Timestamp(50)).await, Ok(Some(disabled.clone())));
    assert_eq!(store.disable_user(&acme(), &user("ann"), Timestamp(60)).await, Ok(Some(disabled.clone())));
    let returning = User { role: Role::Owner, ..person("ann") };
    assert_eq!(store.ensure_user(returning.clone()).await, Ok(disabled.clone()));
    assert!(matches!(store.create_user(returning).await, Err(CommitFault::Conflict(_))));
    store.put_user(person("ann")).await.expect("written");
    assert_eq!(store.user(&acme(), &user("ann")).await, Ok(Some(disabled)));
    assert_eq!(store.enable_user(&acme(), &user("ann"), Timestamp(70)).await, Ok(Some(person("ann"))));
    assert_eq!(store.disable_user(&org("other"), &user("ann"), Timestamp(80)).await, Ok(None));
}

async fn the_last_owner_stays_owner(ground: Ground) {
    let store = ground.open();
    store.put_organization(house("acme")).await.expect("written");
    store.put_user(owner("ann")).await.expect("written");
    // Neither of these two is one: the first by a token's claim only, the second disabled.
    store.put_user(User { managed: false, ..owner("guest") }).await.expect("written");
    store.put_user(owner("gone")).await.expect("written");
    store.disable_user(&acme(), &user("gone"), Timestamp(5)).await.expect("another owner is there");
    let ann = user("ann");
    let demoted = store.set_role(&acme(), &ann, Role::Admin, Timestamp(6)).await;
    let CommitFault::Conflict(words) = demoted.expect_err("demoted") else { panic!("another fault") };
    assert_eq!(words, "the organization's last owner stays its owner");
    assert!(matches!(store.disable_user(&acme(), &ann, Timestamp(6)).await, Err(CommitFault::Conflict(_))));
    let rewritten = store.put_user(User { role: Role::Viewer, ..owner("ann") }).await;
    assert!(matches!(rewritten, Err(CommitFault::Conflict(_))), "{rewritten:?}");
    let before = store.newest_change().await.expect("a number");
    assert_eq!(store.user(&acme(), &ann).await, Ok(Some(owner("ann"))));
    // Beside others in one transaction, only the refused one is undone.
    let (acme, guest) = (acme(), user("guest"));
    let (one, refused, two) = tokio::join!(
        store.ensure_user(person("one")),
        store.set_role(&acme, &ann, Role::Viewer, Timestamp(7)),
        store.ensure_user(person("two")),
    );
    assert_eq!((one, two), (Ok(person("one")), Ok(person("two"))));
    assert!(matches!(refused, Err(CommitFault::Conflict(_))), "{refused:?}");
    assert_eq!(store.user(&acme, &ann).await, Ok(Some(owner("ann"))));
    store.set_role(&acme, &guest, Role::Owner, Timestamp(7)).await.expect("set").expect("there");
    assert_eq!(store.newest_change().await, Ok(before + 1), "what was refused is no change");
    store.set_role(&acme, &ann, Role::Viewer, Timestamp(8)).await.expect("there is another owner now");
}

async fn two_owners_who_demote_each_other_leave_one(ground: Ground) {
    let here = ground.open();
    let there = Store::open_shared(ground.settings()).expect("opens beside the owner");
    here.put_organization(house("acme")).await.expect("written");
    for round in 0..10 {
        for name in ["ann", "bob"] {
            here.put_user(owner(name)).await.expect("written");
        }
        let (acme, ann, bob) = (acme(), user("ann"), user("bob"));
        let (one, two) = tokio::join!(
            here.set_role(&acme, &ann, Role::Viewer, Timestamp(5)),
            there.set_role(&acme, &bob, Role::Viewer, Timestamp(5)),
        );
        let fine = [one, two].into_iter().filter(|done| match done {
            Ok(changed) => changed.is_some(),
            Err(fault) => {
                assert!(matches!(fault, CommitFault::Conflict(_)), "{fault}");
                false
            }
        });
        assert_eq!(fine.count(), 1, "round {round}");
    }
}

async fn a_password_is_nobodys_row(ground: Ground) {
    let store = ground.open();
    with_ann(&store).await;
    let phc = || Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned());
    assert_eq!(store.password(&acme(), &user("ann")).await, Ok(None));
    assert_eq!(store.set_password(&acme(), &user("ann"), phc(), Timestamp(5)).await, Ok(Some(person("ann"))));
    store.put_user(person("ann")).await.expect("written");
    assert_eq!(store.password(&acme(), &user("ann")).await, Ok(phc()));
    assert_eq!(store.password(&org("other"), &user("ann")).await, Ok(None));
    store.set_password(&acme(), &user("ann"), None, Timestamp(6)).await.expect("set");
    assert_eq!(store.password(&acme(), &user("ann")).await, Ok(None));
    assert_eq!(store.set_password(&acme(), &user("bob"), phc(), Timestamp(6)).await, Ok(None));
}

async fn users_page_by_name(ground: Ground) {
    let store = ground.open();
    store.put_organization(house("acme")).await.expect("written");
    store.put_organization(house("other")).await.expect("written");
    let mut names = ["Ann", "auth0|1", "auth0|2", "bob", "fifty%", "fifty-five", "a_b", "a!b", "aXb"];
    for name in names {
        store.put_user(person(name)).await.expect("written");
    }
    store.put_user(User { organization: org("other"), ..person("ann") }).await.expect("written");
    names.sort_unstable();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.users(&acme(), UserQuery { after, limit: 4, text: None }).await.expect("a page");
        assert!(page.items.len() <= 4);
        seen.extend(page.items.iter().map(|u| u.id.to_string()));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(seen, names);
    for (text, found) in [
        ("ANN", &["Ann"][..]),
        ("0|", &["auth0|1", "auth0|2"]),
        ("%", &["fifty%"]),
        ("a_b", &["a_b"]),
        ("!", &["a!b"]),
        ("'; drop table account", &[]),
    ] {
        let query = UserQuery { text: Some(text.into()), after: None, limit: 9 };
        let page = store.users(&acme(), query).await.expect("a page");
        assert_eq!(page.items.iter().map(|u| u.id.as_str()).collect::<Vec<_>>(), found, "{text}");
    }
}

async fn organizations_are_made_once_and_disabled(ground: Ground) {
    let store = ground.open();
    for name in ["c", "a", "b"] {
        store.create_organization(house(name)).await.expect("created");
    }
    let twin = Organization { name: "twin".into(), ..house("a") };
    assert!(matches!(store.create_organization(twin).await, Err(CommitFault::Conflict(_))));
    let first = store.organizations(None, 2).await.expect("a page");
    assert_eq!(first.items, [house("a"), house("b")]);
    let rest = store.organizations(first.next.as_ref(), 2).await.expect("a page");
    assert_eq!((rest.items, rest.next), (vec![house("c")], None));
    let off = Organization { disabled_at: Some(Timestamp(7)), ..house("b") };
    assert_eq!(store.disable_organization(&org("b"), Timestamp(7)).await, Ok(Some(off.clone())));
    assert_eq!(store.disable_organization(&org("b"), Timestamp(8)).await, Ok(Some(off.clone())));
    assert_eq!(store.ensure_organization(house("b")).await, Ok(false));
    store.put_organization(Organization { name: "renamed".into(), ..house("b") }).await.expect("written");
    let renamed = Organization { name: "renamed".into(), ..off };
    assert_eq!(store.organization(&org("b")).await, Ok(Some(renamed)), "a new name is no way back in");
    let on = Organization { name: "renamed".into(), ..house("b") };
    assert_eq!(store.enable_organization(&org("b"), Timestamp(9)).await, Ok(Some(on)));
    assert_eq!(store.disable_organization(&org("d"), Timestamp(9)).await, Ok(None));
}
