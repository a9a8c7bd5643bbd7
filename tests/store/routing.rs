//! What routing looks for and decides, and where a context begins, come back as they were written.

use switchboard::domain::record::*;
use switchboard::domain::session_info::RoutingDecision;
use switchboard::domain::settings::*;
use switchboard::domain::turn::*;
use switchboard::store::ConversationQuery;

use crate::ground::*;

on_both!(
    tags_and_the_context_come_back,
    a_turn_keeps_why_its_model_answers,
    conversations_are_found_by_what_they_are_about,
);

async fn tags_and_the_context_come_back(ground: Ground) {
    let store = ground.open();
    let mut settings = conversation("ann");
    settings.tags = vec!["work".into(), "\"quoted\", é".into()];
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    assert_eq!(stored(&store, &settings).await.settings, settings);
    settings.tags.clear();
    settings.context = ContextStart { turn_no: 7, summary: Some("they said \0 much".into()) };
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    // No backend keeps U+0000 in a text.
    settings.context.summary = Some("they said \u{fffd} much".into());
    assert_eq!(stored(&store, &settings).await.settings, settings);
    settings.context = ContextStart { turn_no: 9, summary: None };
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    drop(store);
    assert_eq!(stored(&ground.open(), &settings).await.settings, settings);
}

async fn a_turn_keeps_why_its_model_answers(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let mut routed = turn(1, TurnState::Queued);
    routed.routing = Some(Box::new(RoutingDecision {
        model: "big".into(),
        provider: "openai".into(),
        rule_name: "code".into(),
        reason: "the message contains \"x\"".into(),
    }));
    let plain = turn(2, TurnState::Queued);
    let writes = vec![Write::Conversation(settings.clone()), Write::Turn(routed.clone()), Write::Turn(plain.clone())];
    store.commit(batch(&settings, writes)).await.expect("committed");
    assert_eq!(stored(&store, &settings).await.turns, [routed.clone(), plain]);
    routed.routing = None;
    store.commit(batch(&settings, vec![Write::Turn(routed.clone())])).await.expect("committed");
    assert_eq!(stored(&store, &settings).await.turns[0], routed);
}

async fn conversations_are_found_by_what_they_are_about(ground: Ground) {
    let store = ground.open();
    let about = |kind: &str, id: &str| Settings {
        entity: Some(Entity { kind: kind.into(), id: id.into() }),
        ..conversation("ann")
    };
    let all = [about("policy", "1"), about("policy", "2"), about("claim", "1"), conversation("ann")];
    for settings in &all {
        store.commit(batch(settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    }
    let found = async |kind: Option<&str>, id: Option<&str>| {
        let query = ConversationQuery {
            organization: acme(),
            viewer: user("ann"),
            see_all: false,
            project: None,
            status: None,
            user: None,
            entity_type: kind.map(Into::into),
            entity_id: id.map(Into::into),
            cursor: None,
            limit: 9,
        };
        store.conversations(query).await.expect("a page").items
    };
    let [one, two, three, four] = all;
    assert_eq!(found(None, None).await, [four, three.clone(), two.clone(), one.clone()]);
    assert_eq!(found(Some("policy"), None).await, [two, one.clone()]);
    assert_eq!(found(Some("policy"), Some("1")).await, std::slice::from_ref(&one));
    assert_eq!(found(None, Some("1")).await, [three, one]);
    assert_eq!(found(Some("Policy"), None).await, []);
}
