//! Conversations about entities: each user's own for each entity and agent.

use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::store::{EntityQuery, Store};

use crate::ground::*;

on_both!(a_conversation_about_an_entity_is_found_by_all_that_makes_it, without_an_entity_the_channel_counts);

fn about(who: &str, kind: &str, id: &str) -> Settings {
    let entity = Some(Entity { kind: kind.into(), id: id.into() });
    Settings { entity, channel: Some("ai".into()), ..conversation(who) }
}

fn query(organization: &str, who: &str, entity: Option<(&str, &str)>, agent: &str) -> EntityQuery {
    EntityQuery {
        organization: org(organization),
        user: user(who),
        channel: "ai",
        entity: entity.map(|(kind, id)| Entity { kind: kind.into(), id: id.into() }),
        agent: agent.into(),
    }
}

async fn found(store: &Store, query: EntityQuery) -> Option<ConversationId> {
    store.find_by_entity(query).await.expect("the store answers")
}

async fn keep(store: &Store, settings: &Settings) {
    store.commit(batch(settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
}

async fn a_conversation_about_an_entity_is_found_by_all_that_makes_it(ground: Ground) {
    let store = ground.open();
    let (old, newest, kind) = (about("ann", "policy", "7"), about("ann", "policy", "7"), about("ann", "policy", ""));
    let archived = Settings { state: ConversationState::Archived, ..about("ann", "policy", "7") };
    let foreign = Settings { organization: org("rival"), ..about("ann", "policy", "7") };
    let auditor = Settings { agent: "auditor".into(), ..about("ann", "policy", "7") };
    let bobs = Settings { visibility: Visibility::Organization, ..about("bob", "policy", "8") };
    let paused = Settings { state: ConversationState::Paused, channel: None, ..about("ann", "risk", "7") };
    for settings in [&old, &newest, &kind, &archived, &foreign, &auditor, &bobs, &paused] {
        keep(&store, settings).await;
    }
    let of = async |organization: &str, who: &str, entity: (&str, &str), agent: &str| {
        found(&store, query(organization, who, Some(entity), agent)).await
    };
    assert_eq!(of("acme", "ann", ("policy", "7"), "default").await, Some(newest.id));
    assert_eq!(of("acme", "ann", ("policy", ""), "default").await, Some(kind.id));
    assert_eq!(of("acme", "ann", ("policy", "7"), "auditor").await, Some(auditor.id));
    assert_eq!(of("rival", "ann", ("policy", "7"), "default").await, Some(foreign.id));
    assert_eq!(of("acme", "ann", ("risk", "7"), "default").await, Some(paused.id), "whoever began it");
    for (organization, who, entity, agent) in [
        ("acme", "ann", ("policy", "8"), "default"),
        ("acme", "ann", ("Policy", "7"), "default"),
        ("acme", "ann", ("policy", "7"), "nobody"),
        ("acme", "bob", ("policy", "7"), "default"),
        ("rival", "bob", ("policy", "8"), "default"),
    ] {
        assert_eq!(of(organization, who, entity, agent).await, None, "{organization} {who} {entity:?} {agent}");
    }
    // What is read back is what was written.
    let stored = store.conversation(&acme(), kind.id).await.expect("answered").expect("there");
    assert_eq!(stored, kind);
}

async fn without_an_entity_the_channel_counts(ground: Ground) {
    let store = ground.open();
    let plain = Settings { channel: Some("ai".into()), ..conversation("ann") };
    keep(&store, &plain).await;
    for settings in [conversation("ann"), about("ann", "policy", "7")] {
        keep(&store, &settings).await;
    }
    assert_eq!(found(&store, query("acme", "ann", None, "default")).await, Some(plain.id));
    assert_eq!(found(&store, query("acme", "bob", None, "default")).await, None);
}
