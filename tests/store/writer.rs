//! The writer: all or nothing, in order, once, and told only when it is on disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::json;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::settings::Settings;
use switchboard::domain::turn::*;
use switchboard::store::{CommitFault, CommitPoint, Store};

use crate::ground::*;

on_both!(
    a_batch_is_all_or_nothing,
    a_bad_batch_fails_alone_within_its_group,
    a_bad_batch_leaves_the_tails_of_its_group,
    batches_keep_their_order,
    one_key_has_one_effect_and_one_answer,
    a_refused_batch_gives_its_key_back,
    old_keys_are_forgotten,
    facts_have_no_gaps,
    nobody_is_told_before_the_commit,
    a_full_queue_refuses,
    closing_writes_what_waits,
    zero_bytes_do_not_stop_the_store,
    a_batch_stays_within_its_conversation,
);

fn fact(kind: &'static str, refs: serde_json::Value) -> Write {
    Write::Fact(Fact { kind, turn: None, by: Some(user("ann")), refs })
}

fn orphan() -> Write {
    Write::Part { message: MessageId(next()), part: text(0, "nobody's") }
}

async fn with_conversation(store: &Store) -> Settings {
    let settings = conversation("ann");
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    settings
}

struct Held {
    /// Answers when the writer is in its commit.
    arrived: tokio::sync::oneshot::Receiver<()>,
    /// Used or dropped, it lets the writer go on.
    go: mpsc::Sender<()>,
    /// Commits that were made since.
    commits: Arc<AtomicUsize>,
}

/// Holds the writer in its next commit.
fn hold(store: &Store) -> Held {
    let (there, arrived) = tokio::sync::oneshot::channel();
    let (go, wait) = mpsc::channel();
    let once = Mutex::new(Some((there, wait)));
    let commits = Arc::new(AtomicUsize::new(0));
    let made = commits.clone();
    store.set_commit_hook(Some(Arc::new(move |point| {
        if point == CommitPoint::After {
            made.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = once.lock().expect("the hook's own lock").take();
        if let Some((there, wait)) = first {
            let _ = there.send(());
            let _ = wait.recv();
        }
    })));
    Held { arrived, go, commits }
}

async fn a_batch_is_all_or_nothing(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let mut renamed = settings.clone();
    renamed.title = "never".into();
    let writes = vec![
        Write::Conversation(renamed),
        Write::Turn(turn(1, TurnState::Queued)),
        Write::Tail { part: PartId(next()), text: "x".into() },
        fact("turn.queued", json!({})),
        orphan(),
    ];
    let refused = store.commit(batch(&settings, writes)).await;
    assert!(matches!(refused, Err(CommitFault::Refused(_))), "{refused:?}");
    let loaded = stored(&store, &settings).await;
    assert_eq!((loaded.settings.title.as_str(), loaded.turns.len()), ("first", 0));
    assert_eq!((ground.count("fact").await, ground.count("part_tail").await), (0, 0));
}

async fn a_bad_batch_fails_alone_within_its_group(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let held = hold(&store);
    let first = store.commit(batch(&settings, vec![fact("first", json!({}))]));
    held.arrived.await.expect("the writer is in its commit");
    // These wait together and become one transaction.
    let good = store.commit(batch(&settings, vec![fact("good", json!({}))]));
    let bad = store.commit(batch(&settings, vec![fact("bad", json!({})), orphan()]));
    let also_good = store.commit(batch(&settings, vec![fact("also good", json!({}))]));
    drop(held.go);
    first.await.expect("committed");
    good.await.expect("committed");
    assert!(matches!(bad.await, Err(CommitFault::Refused(_))));
    also_good.await.expect("committed");
    assert_eq!(held.commits.load(Ordering::Relaxed), 2, "one transaction for all that waited");
    let facts = store.facts(&acme(), settings.id, 0, 100).await.expect("facts");
    let kinds: Vec<(u64, &str)> = facts.iter().map(|f| (f.n, f.kind.as_str())).collect();
    assert_eq!(kinds, [(1, "first"), (2, "good"), (3, "also good")]);
}

async fn a_bad_batch_leaves_the_tails_of_its_group(ground: Ground) {
    let store = ground.open();
    let settings = conversation("ann");
    let prompt = with_message(&store, &settings, "a").await;
    let tail = |text: &str| Write::Tail { part: prompt.parts[0].id, text: text.into() };
    let close = || Write::Part { message: prompt.id, part: prompt.parts[0].clone() };
    store.commit(batch(&settings, vec![tail("b")])).await.expect("committed");
    let held = hold(&store);
    let first = store.commit(batch(&settings, vec![tail("c")]));
    held.arrived.await.expect("the writer is in its commit");
    let bad = store.commit(batch(&settings, vec![tail("never"), close(), tail("never"), orphan()]));
    let good = store.commit(batch(&settings, vec![tail("d")]));
    drop(held.go);
    first.await.expect("committed");
    assert!(matches!(bad.await, Err(CommitFault::Refused(_))));
    good.await.expect("committed");
    assert_eq!(stored(&store, &settings).await.messages[0].text(), "abcd");
    store.commit(batch(&settings, vec![close()])).await.expect("committed");
    assert_eq!(ground.count("part_tail").await, 0);
    assert_eq!(stored(&store, &settings).await.messages[0].text(), "a");
}

async fn batches_keep_their_order(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    // Not awaited one by one: the order is that of the calls.
    let waiting: Vec<_> =
        (0..300).map(|i| store.commit(batch(&settings, vec![fact("x", json!({ "i": i }))]))).collect();
    for commit in waiting {
        commit.await.expect("committed");
    }
    let facts = store.facts(&acme(), settings.id, 0, 1000).await.expect("facts");
    let order: Vec<u64> = facts.iter().filter_map(|f| f.refs["i"].as_u64()).collect();
    assert_eq!(order, (0..300).collect::<Vec<_>>());
}

fn keyed(settings: &Settings, key: &str, request: u8, answer: &str, writes: Vec<Write>) -> Batch {
    let key = Idempotency { user: user("ann"), key: key.into(), request: [request; 32], answer: answer.into() };
    Batch { idempotency: Some(key), ..batch(settings, writes) }
}

async fn one_key_has_one_effect_and_one_answer(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let tries: Vec<_> = (0..50_u8)
        .map(|i| {
            let commit = keyed(&settings, "k", i, &format!("answer {i}"), vec![fact("sent", json!({ "i": i }))]);
            let store = store.clone();
            tokio::spawn(async move { (i, store.commit(commit).await) })
        })
        .collect();
    let (mut won, mut told) = (Vec::new(), Vec::new());
    for attempt in tries {
        match attempt.await.expect("no panic") {
            (i, Ok(())) => won.push(i),
            (_, Err(CommitFault::IdempotencyTaken { request, answer })) => told.push((request, answer)),
            (_, other) => panic!("{other:?}"),
        }
    }
    let [winner] = won[..] else { panic!("{won:?} won") };
    assert_eq!(told.len(), 49);
    assert!(told.iter().all(|t| *t == ([winner; 32], format!("answer {winner}"))), "{told:?}");
    let facts = store.facts(&acme(), settings.id, 0, 100).await.expect("facts");
    assert_eq!(facts.iter().map(|f| f.refs.clone()).collect::<Vec<_>>(), [json!({ "i": winner })]);
    let found = store.idempotency(&acme(), &user("ann"), "k").await.expect("answered").expect("stored");
    assert_eq!((found.request, found.answer), ([winner; 32], format!("answer {winner}")));
    // Another user's key of the same name is another key.
    let mut others = keyed(&settings, "k", 99, "other", vec![]);
    if let Some(key) = &mut others.idempotency {
        key.user = user("bob");
    }
    store.commit(others).await.expect("committed");
}

async fn a_refused_batch_gives_its_key_back(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let refused = store.commit(keyed(&settings, "k", 1, "a", vec![orphan()])).await;
    assert!(matches!(refused, Err(CommitFault::Refused(_))), "{refused:?}");
    assert_eq!(store.idempotency(&acme(), &user("ann"), "k").await, Ok(None));
    store.commit(keyed(&settings, "k", 1, "a", vec![])).await.expect("committed");
}

async fn old_keys_are_forgotten(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    for (key, at) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        let commit = Batch { at: Timestamp(at), ..keyed(&settings, key, 1, "x", vec![]) };
        store.commit(commit).await.expect("committed");
    }
    assert_eq!(store.forget_keys(Timestamp(4), 2).await, Ok(2));
    let left = async |key: &str| store.idempotency(&acme(), &user("ann"), key).await.expect("answered").is_some();
    assert_eq!([left("a").await, left("b").await, left("c").await, left("d").await], [false, false, true, true]);
    assert_eq!(store.forget_keys(Timestamp(4), 2).await, Ok(1));
    assert_eq!(store.forget_keys(Timestamp(4), 2).await, Ok(0));
}

async fn facts_have_no_gaps(ground: Ground) {
    let store = ground.open();
    let (one, two) = (with_conversation(&store).await, with_conversation(&store).await);
    let mut waiting = Vec::new();
    for i in 0..60 {
        let settings = if i % 2 == 0 { &one } else { &two };
        let mut writes = vec![fact("a", json!({})), fact("b", json!({}))];
        if i % 5 == 0 {
            writes.push(orphan());
        }
        waiting.push((i % 5 == 0, store.commit(batch(settings, writes))));
    }
    for (bad, commit) in waiting {
        assert_eq!(commit.await.is_err(), bad);
    }
    for settings in [&one, &two] {
        let mut numbers = Vec::new();
        while let Some(last) = {
            let after = numbers.last().copied().unwrap_or(0);
            let page = store.facts(&acme(), settings.id, after, 7).await.expect("facts");
            numbers.extend(page.iter().map(|f| f.n));
            page.last().map(|f| f.n)
        } {
            assert!(last <= 48, "{last}");
        }
        assert_eq!(numbers, (1..=48).collect::<Vec<u64>>());
    }
}

async fn nobody_is_told_before_the_commit(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let held = hold(&store);
    let mut commit = Box::pin(store.commit(batch(&settings, vec![fact("x", json!({}))])));
    held.arrived.await.expect("the writer is in its commit");
    assert!(futures_util::poll!(commit.as_mut()).is_pending(), "told before the commit");
    // Nor can anybody read it.
    assert_eq!(store.facts(&acme(), settings.id, 0, 10).await.expect("facts"), []);
    held.go.send(()).expect("the writer waits");
    commit.await.expect("committed");
    assert_eq!(store.facts(&acme(), settings.id, 0, 10).await.expect("facts").len(), 1);
}

async fn a_full_queue_refuses(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let held = hold(&store);
    let first = store.commit(batch(&settings, vec![fact("x", json!({}))]));
    held.arrived.await.expect("the writer is in its commit");
    let large = || Write::Tail { part: PartId(next()), text: "x".repeat(1 << 20) };
    let mut waiting = Vec::new();
    let refused = loop {
        let mut commit = Box::pin(store.commit(batch(&settings, vec![large()])));
        match futures_util::poll!(commit.as_mut()) {
            std::task::Poll::Pending => waiting.push(commit),
            std::task::Poll::Ready(answer) => break answer,
        }
        assert!(waiting.len() < 100, "the queue has no end");
    };
    assert_eq!(refused, Err(CommitFault::QueueFull));
    let depth = store.queue();
    assert!(depth.jobs == waiting.len() && depth.bytes > 60 << 20, "{depth:?}");
    drop(held.go);
    first.await.expect("committed");
    let written = waiting.len();
    for commit in waiting {
        commit.await.expect("committed");
    }
    assert_eq!(ground.count("part_tail").await, i64::try_from(written).expect("a count"));
    assert_eq!((store.queue().jobs, store.queue().bytes), (0, 0));
}

async fn closing_writes_what_waits(ground: Ground) {
    let store = ground.open();
    let settings = with_conversation(&store).await;
    let waiting: Vec<_> = (0..200).map(|_| store.commit(batch(&settings, vec![fact("x", json!({}))]))).collect();
    store.close().await;
    for commit in waiting {
        commit.await.expect("committed");
    }
    let late = store.commit(batch(&settings, vec![fact("late", json!({}))])).await;
    assert_eq!(late, Err(CommitFault::Unavailable("the store is closed".into())));
    let again = ground.open();
    assert_eq!(again.facts(&acme(), settings.id, 0, 1000).await.expect("facts").len(), 200);
    // Dropped without a close, with all of it unanswered.
    let waiting: Vec<_> = (0..100).map(|_| again.commit(batch(&settings, vec![fact("y", json!({}))]))).collect();
    drop(again);
    for commit in waiting {
        commit.await.expect("committed");
    }
    assert_eq!(ground.open().facts(&acme(), settings.id, 0, 1000).await.expect("facts").len(), 300);
}

async fn zero_bytes_do_not_stop_the_store(ground: Ground) {
    let store = ground.open();
    let mut settings = conversation("ann");
    settings.title = "a\0b".into();
    let prompt = with_message(&store, &settings, "zero\0byte").await;
    let loaded = stored(&store, &settings).await;
    assert_eq!(loaded.settings.title, "a\u{fffd}b");
    assert_eq!(loaded.messages[0].text(), "zero\u{fffd}byte");
    let found = store.search(&acme(), &user("ann"), "zero\0byte", 10).await.expect("answered");
    assert_eq!(found[0].message, prompt.id);
}

async fn a_batch_stays_within_its_conversation(ground: Ground) {
    let store = ground.open();
    let mine = with_conversation(&store).await;
    let mut foreign = batch(&mine, vec![Write::Turn(turn(1, TurnState::Queued))]);
    foreign.organization = org("other");
    assert!(matches!(store.commit(foreign).await, Err(CommitFault::Refused(_))));
    let stray = batch(&mine, vec![Write::Conversation(conversation("ann"))]);
    assert!(matches!(store.commit(stray).await, Err(CommitFault::Refused(_))));
    assert_eq!((ground.count("turn").await, ground.count("conversation").await), (0, 1));
}
