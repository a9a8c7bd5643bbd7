//! Lists, pages, search and deletion.

use std::collections::BTreeSet;

use serde_json::json;
use switchboard::domain::approval::*;
use switchboard::domain::ids::*;
use switchboard::domain::message::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::*;
use switchboard::domain::tool_policy::Remembers;
use switchboard::domain::turn::*;
use switchboard::store::{ConversationQuery, Store};

use crate::ground::*;

on_both!(
    conversations_page_without_gaps_while_others_come,
    conversations_are_filtered,
    messages_page_without_gaps_while_others_come,
    loading_stops_at_its_limits_but_not_within_live_turns,
    only_live_turns_are_unsettled,
    search_finds_what_is_final_and_visible,
    a_question_is_data,
    an_edited_message_is_found_by_its_new_words,
    long_texts_are_indexed_in_part,
    deletion_leaves_nothing,
    projects_have_one_name,
    a_channel_gives_the_newest_open_conversation,
);

fn query(viewer: &str, limit: usize) -> ConversationQuery {
    ConversationQuery {
        organization: acme(),
        viewer: user(viewer),
        see_all: false,
        project: None,
        status: None,
        user: None,
        entity_type: None,
        entity_id: None,
        cursor: None,
        limit,
    }
}

async fn put(store: &Store, settings: &Settings) {
    store.commit(batch(settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
}

async fn conversations_page_without_gaps_while_others_come(ground: Ground) {
    let store = ground.open();
    let mut expected = Vec::new();
    for _ in 0..25 {
        let settings = conversation("ann");
        put(&store, &settings).await;
        expected.insert(0, settings.id);
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.conversations(ConversationQuery { cursor, ..query("ann", 4) }).await.expect("a page");
        seen.extend(page.items.iter().map(|settings| settings.id));
        let Some(next) = page.next else { break };
        cursor = Some(next);
        // A new one comes, and one that is still to be seen changes.
        put(&store, &conversation("ann")).await;
        let mut changed = store.conversation(&acme(), expected[20]).await.expect("answered").expect("there");
        changed.updated_at = Timestamp(changed.updated_at.0 + 1_000_000);
        put(&store, &changed).await;
    }
    assert_eq!(seen, expected);
}

async fn conversations_are_filtered(ground: Ground) {
    let store = ground.open();
    let project = Project { id: ProjectId(next()), organization: acme(), name: "p".into(), created_at: Timestamp(1) };
    store.create_project(project.clone()).await.expect("created");
    let private = conversation("ann");
    let mut shared = conversation("ann");
    shared.visibility = Visibility::Organization;
    shared.project = Some(project.id);
    let mut archived = conversation("bob");
    archived.state = ConversationState::Archived;
    for settings in [&private, &shared, &archived] {
        put(&store, settings).await;
    }
    let ids = async |query: ConversationQuery| -> Vec<ConversationId> {
        store.conversations(query).await.expect("a page").items.iter().map(|s| s.id).collect()
    };
    assert_eq!(ids(query("ann", 9)).await, [shared.id, private.id]);
    assert_eq!(ids(query("bob", 9)).await, [archived.id, shared.id]);
    assert_eq!(ids(query("eve", 9)).await, [shared.id]);
    assert_eq!(ids(ConversationQuery { see_all: true, ..query("eve", 9) }).await, [archived.id, shared.id, private.id]);
    assert_eq!(ids(ConversationQuery { project: Some(project.id), ..query("ann", 9) }).await, [shared.id]);
    let status = Some(ConversationState::Archived);
    assert_eq!(ids(ConversationQuery { status, ..query("bob", 9) }).await, [archived.id]);
    // Another's private one does not come by asking for its owner.
    assert_eq!(ids(ConversationQuery { user: Some(user("ann")), ..query("bob", 9) }).await, [shared.id]);
}

/// Turns `from..to`, each with a prompt and an answer of `size` bytes.
async fn talk(store: &Store, settings: &Settings, from: u32, to: u32, state: TurnState, size: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for no in from..to {
        let turn = turn(no, state);
        let mut writes = vec![Write::Turn(turn.clone())];
        for index in 0..2 {
            let mut said = message(&turn, index);
            said.parts = vec![text(0, &"x".repeat(size)), text(1, "")];
            writes.extend(whole(&said));
            messages.push(said);
        }
        store.commit(batch(settings, writes)).await.expect("committed");
    }
    messages
}

async fn messages_page_without_gaps_while_others_come(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    put(&store, &settings).await;
    let expected = talk(&store, &settings, 1, 11, TurnState::Completed, 10).await;
    let (mut seen, mut before, mut no) = (Vec::new(), None, 11);
    loop {
        let page = store.messages(&acme(), settings.id, before, 3).await.expect("answered").expect("a page");
        seen.splice(0..0, page.items);
        let Some(next) = page.next else { break };
        before = Some(next);
        talk(&store, &settings, no, no + 1, TurnState::Completed, 10).await;
        no += 1;
    }
    assert_eq!(seen, expected);
    // A message of elsewhere is no place in this conversation.
    let other = conversation("ann");
    put(&store, &other).await;
    assert_eq!(store.messages(&acme(), other.id, before, 3).await, Ok(None));
}

async fn loading_stops_at_its_limits_but_not_within_live_turns(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    put(&store, &settings).await;
    let ended = talk(&store, &settings, 1, 31, TurnState::Completed, 1000).await;
    let load = async |messages, bytes| {
        store.load(&acme(), settings.id, messages, bytes).await.expect("answered").expect("there")
    };
    let loaded = load(5, 1 << 20).await;
    assert_eq!((loaded.messages, loaded.more), (ended[55..].to_vec(), true));
    assert_eq!(loaded.turns.iter().map(|t| t.no).collect::<Vec<_>>(), (11..31).collect::<Vec<_>>());
    let loaded = load(100, 4_500).await;
    assert_eq!((loaded.messages, loaded.more), (ended[56..].to_vec(), true));
    let loaded = load(100, 10).await;
    assert_eq!((loaded.messages, loaded.more), (ended[59..].to_vec(), true), "the newest comes whatever it weighs");
    let loaded = load(60, 1 << 20).await;
    assert_eq!((loaded.messages, loaded.more), (ended.clone(), false));
    let queued = talk(&store, &settings, 31, 36, TurnState::Queued, 1000).await;
    let loaded = load(3, 10).await;
    assert_eq!((loaded.messages, loaded.more), (queued.clone(), true));
    assert_eq!(loaded.turns.len(), 25);
    let loaded = load(12, 1 << 20).await;
    assert_eq!(loaded.messages, [&ended[58..], &queued[..]].concat());
}

async fn only_live_turns_are_unsettled(ground: Ground) {
    let store = ground.open();
    let mut expected = BTreeSet::new();
    for state in TurnState::ALL {
        let settings = conversation("ann");
        let writes = vec![Write::Conversation(settings.clone()), Write::Turn(turn(1, state))];
        store.commit(batch(&settings, writes)).await.expect("committed");
        if !state.has_ended() {
            expected.insert((acme(), settings.id));
        }
    }
    let found = store.unsettled().await.expect("answered");
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (4, expected));
}

async fn search_finds_what_is_final_and_visible(ground: Ground) {
    let store = ground.open();
    let private = conversation("ann");
    let mut shared = conversation("ann");
    shared.visibility = Visibility::Organization;
    let mut elsewhere = conversation("ann");
    elsewhere.organization = org("other");
    let own = with_message(&store, &private, "the quick brown Fox; größer").await;
    let all = with_message(&store, &shared, "a fox, too: quick-silver").await;
    with_message(&store, &elsewhere, "quick fox").await;
    // Still growing, so not final.
    let growing = turn(2, TurnState::Running);
    let mut answer = message(&growing, 1);
    answer.parts = vec![text(0, "quick fox")];
    let mut writes = vec![Write::Turn(growing)];
    writes.extend(whole(&answer));
    store.commit(batch(&private, writes)).await.expect("committed");

    let find = async |viewer: &str, text: &str| -> Vec<MessageId> {
        let hits = store.search(&acme(), &user(viewer), text, 10).await.expect("answered");
        hits.iter().map(|hit| hit.message).collect()
    };
    assert_eq!(find("ann", "FOX quick").await, [all.id, own.id]);
    assert_eq!(find("bob", "quick").await, [all.id]);
    assert_eq!(find("ann", "GRÖSSER").await, []);
    assert_eq!(find("ann", "GRÖßER").await, [own.id]);
    assert_eq!(find("ann", "silver").await, [all.id]);
    assert_eq!(find("ann", "fox wolf").await, []);
    let hits = store.search(&acme(), &user("ann"), "brown", 10).await.expect("answered");
    assert_eq!((hits[0].conversation, hits[0].snippet.as_str()), (private.id, "the quick brown Fox; größer"));
    assert_eq!(store.search(&acme(), &user("ann"), "fox", 1).await.expect("answered").len(), 1);
}

async fn a_question_is_data(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let prompt = with_message(&store, &settings, "near or not: words scope 'quoted' AND \"double\" a*b 100%").await;
    let find = async |text: &str| store.search(&acme(), &user("ann"), text, 10).await.expect("answered").len();
    for nothing in
        ["", " ", "\"", "*", "(", "\" OR * NEAR(nothing", "^", "-", "qu*", "words:absent", "' or 1=1 --", "%"]
    {
        assert_eq!(find(nothing).await, 0, "{nothing:?}");
    }
    for found in ["\" OR * NEAR(", "words : scope", "{words} : near", "not", "NOT near", "or", "a*b", "'quoted", "100%"]
    {
        assert_eq!(find(found).await, 1, "{found:?} in {}", prompt.text());
    }
}

async fn an_edited_message_is_found_by_its_new_words(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let mut prompt = with_message(&store, &settings, "before").await;
    prompt.parts[0].body = PartBody::Text { text: "after".into() };
    let mut writes = whole(&prompt);
    writes.push(Write::Index(prompt.id));
    store.commit(batch(&settings, writes)).await.expect("committed");
    let find = async |text: &str| store.search(&acme(), &user("ann"), text, 10).await.expect("answered").len();
    assert_eq!((find("before").await, find("after").await), (0, 1));
}

async fn long_texts_are_indexed_in_part(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let words: String = (0..300_000).map(|n| format!("w{n} ")).collect();
    with_message(&store, &settings, &format!("{words} {}", "y".repeat(100_000))).await;
    let find = async |text: &str| store.search(&acme(), &user("ann"), text, 10).await.expect("answered").len();
    assert_eq!((find("w7").await, find("w299999").await), (1, 0));
}

async fn deletion_leaves_nothing(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let kept = conversation("ann");
    for settings in [&settings, &kept] {
        let prompt = with_message(&store, settings, "secret words").await;
        let live = turn(2, TurnState::AwaitingApproval);
        let approval = Approval {
            id: ApprovalId(next()),
            turn: live.id,
            call: PartId(next()),
            tool: "t".into(),
            summary: String::new(),
            risks: vec![],
            input: json!({}),
            remembers: Remembers::Arguments,
            correlation_id: "r".into(),
            state: ApprovalState::Pending,
            requested_at: Timestamp(1),
            deadline: Timestamp(2),
            decision: None,
        };
        let fact = Fact { kind: "x", turn: Some(live.id), by: None, refs: json!({}) };
        let writes = vec![
            Write::Turn(live),
            Write::Approval(approval),
            Write::Todos(vec![]),
            Write::Fact(fact),
            Write::Tail { part: prompt.parts[0].id, text: "more".into() },
        ];
        let key = format!("key of {}", settings.id);
        let key = Idempotency { user: user("ann"), key, request: [1; 32], answer: "a".into() };
        let keyed = Batch { idempotency: Some(key), ..batch(settings, writes) };
        store.commit(keyed).await.expect("committed");
    }
    let fact = Fact { kind: "session.deleted", turn: None, by: None, refs: json!({}) };
    let tail = Write::Tail { part: PartId(next()), text: "late".into() };
    let key = Idempotency { user: user("ann"), key: "delete".into(), request: [2; 32], answer: "gone".into() };
    let writes = vec![Write::Fact(fact), tail, Write::DeleteConversation];
    let delete = Batch { idempotency: Some(key), ..batch(&settings, writes) };
    store.commit(delete).await.expect("committed");

    for table in ["conversation", "message", "part", "part_tail", "approval", "todo_list", "fact", "message_index"] {
        assert_eq!(ground.count(table).await, 1, "{table}");
    }
    assert_eq!(ground.count("turn").await, 2);
    assert_eq!(ground.count("idempotency").await, 2, "the kept one's and the deletion's own");
    assert_eq!(store.load(&acme(), settings.id, 10, 1000).await, Ok(None));
    let hits = store.search(&acme(), &user("ann"), "secret", 10).await.expect("answered");
    assert_eq!(hits.iter().map(|hit| hit.conversation).collect::<Vec<_>>(), [kept.id]);
    assert_eq!(stored(&store, &kept).await.messages[0].text(), "secret wordsmore");
    let again = store.idempotency(&acme(), &user("ann"), "delete").await.expect("answered");
    assert_eq!(again.map(|key| key.answer).as_deref(), Some("gone"));
}

async fn projects_have_one_name(ground: Ground) {
    let store = ground.open();
    let project = |name: &str| Project {
        id: ProjectId(next()),
        organization: acme(),
        name: name.into(),
        created_at: Timestamp(1),
    };
    let first = project("api");
    let tries = (0..10).map(|_| store.create_project(project("api")));
    let created = store.create_project(first.clone()).await.expect("created");
    assert_eq!(created, first);
    for other in futures_util::future::join_all(tries).await {
        assert_eq!(other.expect("answered"), first);
    }
    let second = store.create_project(project("web")).await.expect("created");
    assert_eq!(store.project(&acme(), first.id).await, Ok(Some(first.clone())));
    assert_eq!(store.find_project(&acme(), "web").await, Ok(Some(second.clone())));
    assert_eq!(store.find_project(&acme(), "Web").await, Ok(None));
    let page = store.projects(&acme(), None, 1).await.expect("a page");
    assert_eq!((page.items, page.next), (vec![second.clone()], Some(second.id)));
    let page = store.projects(&acme(), page.next, 1).await.expect("a page");
    assert_eq!((page.items, page.next), (vec![first], None));
}

async fn a_channel_gives_the_newest_open_conversation(ground: Ground) {
    let store = ground.open();
    let mut all: Vec<Settings> = (0..4).map(|_| conversation("ann")).collect();
    for (settings, channel) in all.iter_mut().zip(["websocket", "websocket", "telegram", "websocket"]) {
        settings.channel = Some(channel.into());
    }
    all[3].state = ConversationState::Archived;
    for settings in &all {
        put(&store, settings).await;
    }
    let found = store.find_by_channel(&acme(), &user("ann"), "websocket").await;
    assert_eq!(found, Ok(Some(all[1].id)));
    assert_eq!(store.find_by_channel(&acme(), &user("bob"), "websocket").await, Ok(None));
}
