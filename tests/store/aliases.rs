//! Ids that clients bring along: each user's own, once, and free again.

use std::collections::BTreeMap;

use switchboard::domain::alias::Alias;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::store::{CommitFault, Store};

use crate::ground::*;

on_both!(
    an_alias_is_its_users_own,
    a_taken_alias_refuses_the_whole_batch_until_its_conversation_is_archived,
    deletion_frees_an_alias,
    of_fifty_at_once_one_gets_the_alias,
);

fn alias(text: &str) -> Alias {
    Alias::parse(text).expect("an alias")
}

fn called(settings: &Settings, name: &str) -> Batch {
    let alias = Write::Alias { user: settings.user.clone(), alias: alias(name) };
    batch(settings, vec![Write::Conversation(settings.clone()), alias])
}

async fn meant(
    store: &Store,
    organization: &str,
    who: &str,
    name: &str,
) -> Option<(ConversationId, ConversationState)> {
    store.conversation_of_alias(&org(organization), &user(who), &alias(name)).await.expect("the store answers")
}

async fn an_alias_is_its_users_own(ground: Ground) {
    let store = ground.open();
    let (one, two) = (conversation("ann"), conversation("bob"));
    let three = Settings { organization: org("rival"), ..conversation("ann") };
    for settings in [&one, &two, &three] {
        store.commit(called(settings, "chat")).await.expect("committed");
    }
    let active = |settings: &Settings| Some((settings.id, ConversationState::Active));
    assert_eq!(meant(&store, "acme", "ann", "chat").await, active(&one));
    assert_eq!(meant(&store, "acme", "bob", "chat").await, active(&two));
    assert_eq!(meant(&store, "rival", "ann", "chat").await, active(&three));
    for (organization, who, name) in
        [("rival", "bob", "chat"), ("acme", "eve", "chat"), ("acme", "ann", "Chat"), ("acme", "ann", "cha_")]
    {
        assert_eq!(meant(&store, organization, who, name).await, None, "{organization} {who} {name}");
    }
    // Whoever asks for the names of conversations hears only their own.
    let all = [one.id, two.id, three.id];
    let of = async |organization: &str, who: &str| {
        store.aliases_of(&org(organization), &user(who), &all).await.expect("the store answers")
    };
    assert_eq!(of("acme", "ann").await, BTreeMap::from([(one.id, alias("chat"))]));
    assert_eq!(of("rival", "ann").await, BTreeMap::from([(three.id, alias("chat"))]));
    assert_eq!(of("acme", "eve").await, BTreeMap::new());
    // And all of it is on disk.
    store.close().await;
    assert_eq!(meant(&ground.open(), "acme", "bob", "chat").await, active(&two));
}

async fn a_taken_alias_refuses_the_whole_batch_until_its_conversation_is_archived(ground: Ground) {
    let store = ground.open();
    let (first, second) = (conversation("ann"), conversation("ann"));
    store.commit(called(&first, "chat")).await.expect("committed");
    assert_eq!(store.commit(called(&second, "chat")).await, Err(CommitFault::AliasTaken(first.id)));
    assert_eq!(store.conversation(&acme(), second.id).await, Ok(None));
    let paused = Settings { state: ConversationState::Paused, ..first.clone() };
    store.commit(batch(&first, vec![Write::Conversation(paused)])).await.expect("committed");
    assert_eq!(store.commit(called(&second, "chat")).await, Err(CommitFault::AliasTaken(first.id)));
    let archived = Settings { state: ConversationState::Archived, ..first.clone() };
    store.commit(batch(&first, vec![Write::Conversation(archived)])).await.expect("committed");
    assert_eq!(meant(&store, "acme", "ann", "chat").await, Some((first.id, ConversationState::Archived)));
    store.commit(called(&second, "chat")).await.expect("the archived one is skipped");
    assert_eq!(meant(&store, "acme", "ann", "chat").await, Some((second.id, ConversationState::Active)));
    assert!(store.conversation(&acme(), first.id).await.expect("answered").is_some(), "by its id it is there");
}

async fn deletion_frees_an_alias(ground: Ground) {
    let store = ground.open();
    let (gone, kept) = (conversation("ann"), conversation("ann"));
    store.commit(called(&gone, "chat")).await.expect("committed");
    store.commit(called(&kept, "other")).await.expect("committed");
    store.commit(batch(&gone, vec![Write::DeleteConversation])).await.expect("committed");
    assert_eq!(meant(&store, "acme", "ann", "chat").await, None);
    assert_eq!(ground.count("conversation_alias").await, 1);
    let new = conversation("ann");
    store.commit(called(&new, "chat")).await.expect("it is free");
    assert_eq!(meant(&store, "acme", "ann", "chat").await, Some((new.id, ConversationState::Active)));
}

async fn of_fifty_at_once_one_gets_the_alias(ground: Ground) {
    let store = ground.open();
    let all: Vec<Settings> = (0..50).map(|_| conversation("ann")).collect();
    let waiting: Vec<_> = all.iter().map(|settings| store.commit(called(settings, "chat"))).collect();
    let mut answers = Vec::new();
    for commit in waiting {
        answers.push(commit.await);
    }
    // They are written in the order in which they were given.
    assert_eq!(answers[0], Ok(()));
    assert!(answers[1..].iter().all(|answer| *answer == Err(CommitFault::AliasTaken(all[0].id))), "{answers:?}");
    assert_eq!((ground.count("conversation").await, ground.count("conversation_alias").await), (1, 1));
}
