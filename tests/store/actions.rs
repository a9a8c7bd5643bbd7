//! Executions of actions: begun once, ended once, undone once, and settled by the next start.

use serde_json::json;
use switchboard::domain::account::AuditEntry;
use switchboard::domain::action::{Effect, Entity, Execution, ExecutionState, UndoWish};
use switchboard::domain::ids::*;
use switchboard::domain::record::Idempotency;
use switchboard::store::{AuditQuery, CommitFault, Store, UndoEnd};

use crate::ground::*;

on_both!(
    an_execution_is_kept_with_all_it_holds,
    of_many_with_one_key_one_begins,
    it_begins_once_and_ends_once,
    of_fifty_who_undo_one_does,
    undo_takes_the_latest_that_can_still_be_undone,
    a_start_settles_what_the_last_run_left,
    another_organization_has_none_of_it,
);

fn ticket(id: &str) -> Option<Entity> {
    Some(Entity { kind: "ticket".into(), id: id.into() })
}

fn execution(entity: Option<Entity>) -> Execution {
    Execution {
        id: ExecutionId(next()),
        organization: acme(),
        action: "close".into(),
        entity,
        input: json!({"reason": "quote \" and \u{0} and \u{fc}"}),
        user: user("ann"),
        agent_of: None,
        state: ExecutionState::Pending,
        result: None,
        error: None,
        request_id: "req".into(),
        created_at: Timestamp(1_000),
        ended_at: None,
        undo_until: None,
        undone_at: None,
        undone_by: None,
    }
}

fn act() -> AuditEntry {
    AuditEntry {
        at: Timestamp(1_000),
        organization: Some(acme()),
        actor: Some(user("ann")),
        credential: None,
        action: "actions.execute".into(),
        target: None,
        details: json!({}),
        outcome: None,
        origin: "test".into(),
        request_id: "req".into(),
    }
}

fn named(id: ExecutionId) -> UndoWish {
    UndoWish { action: "close".into(), entity: None, execution: Some(id) }
}

fn latest(entity: Option<Entity>) -> UndoWish {
    UndoWish { action: "close".into(), entity, execution: None }
}

async fn audited(store: &Store) -> usize {
    let query = AuditQuery { limit: 100, ..AuditQuery::default() };
    store.audit(&acme(), query).await.expect("the store answers").items.len()
}

async fn begun(store: &Store, entity: Option<Entity>) -> Execution {
    let execution = execution(entity);
    store.begin_execution(&execution, None, act()).await.expect("begun");
    store.start_execution(&acme(), execution.id).await.expect("started");
    execution
}

/// Completed at 2000, to be undone until 7000.
async fn completed(store: &Store, entity: Option<Entity>) -> Execution {
    let ended = begun(store, entity).await.ended(Effect::Done(json!({"n": 1})), Some(5_000), Timestamp(2_000));
    store.end_execution(&ended, None).await.expect("ended");
    ended
}

async fn found(store: &Store, id: ExecutionId) -> Execution {
    store.execution(&acme(), id).await.expect("the store answers").expect("it is there")
}

async fn claim(store: &Store, wish: &UndoWish, at: i64) -> Result<Option<ExecutionId>, CommitFault> {
    store.claim_undo(&acme(), wish, Timestamp(at), act()).await.map(|found| found.map(|found| found.id))
}

async fn an_execution_is_kept_with_all_it_holds(ground: Ground) {
    let store = ground.open();
    let whole = Execution { agent_of: Some(ConversationId(9)), ..execution(ticket("7")) };
    store.begin_execution(&whole, None, act()).await.expect("begun");
    assert_eq!(found(&store, whole.id).await, whole);
    assert_eq!(audited(&store).await, 1);
    store.start_execution(&acme(), whole.id).await.expect("started");
    let failed = Execution { state: ExecutionState::Executing, ..whole.clone() };
    assert_eq!(found(&store, whole.id).await, failed);
    let failed = failed.ended(Effect::Failed("no".into()), Some(5_000), Timestamp(3_000));
    store.end_execution(&failed, Some(act())).await.expect("ended");
    assert_eq!(found(&store, whole.id).await, failed);
    assert_eq!((failed.undo_until, audited(&store).await), (None, 2));
    assert_eq!(store.execution(&acme(), ExecutionId(next())).await, Ok(None));
}

async fn of_many_with_one_key_one_begins(ground: Ground) {
    let store = ground.open();
    let all: Vec<Execution> = (0..20).map(|_| execution(ticket("7"))).collect();
    let begin = |execution: &Execution| {
        let key =
            Idempotency { user: user("ann"), key: "k".into(), request: [3; 32], answer: execution.id.to_string() };
        let (store, execution) = (store.clone(), execution.clone());
        async move { store.begin_execution(&execution, Some(key), act()).await }
    };
    let results = futures_util::future::join_all(all.iter().map(begin)).await;
    let first = results.iter().position(Result::is_ok).expect("one begins");
    for (n, result) in results.iter().enumerate().filter(|(n, _)| *n != first) {
        let taken = CommitFault::IdempotencyTaken { request: [3; 32], answer: all[first].id.to_string() };
        assert_eq!(result, &Err(taken), "{n}");
        assert_eq!(store.execution(&acme(), all[n].id).await, Ok(None));
    }
    assert_eq!((ground.count("action_execution").await, audited(&store).await), (1, 1));
}

async fn it_begins_once_and_ends_once(ground: Ground) {
    let store = ground.open();
    let execution = begun(&store, None).await;
    assert!(matches!(store.start_execution(&acme(), execution.id).await, Err(CommitFault::Conflict(_))));
    let done = execution.clone().ended(Effect::Done(json!(1)), None, Timestamp(2_000));
    store.end_execution(&done, None).await.expect("ended");
    // Whoever comes later changes nothing.
    let other = execution.ended(Effect::Unknown("late".into()), None, Timestamp(3_000));
    store.end_execution(&other, None).await.expect("answered");
    assert_eq!(found(&store, done.id).await, done);
}

async fn of_fifty_who_undo_one_does(ground: Ground) {
    let store = ground.open();
    let done = completed(&store, ticket("7")).await;
    let wishes = [named(done.id), latest(ticket("7"))];
    let tries = (0..50).map(|n| claim(&store, &wishes[n % 2], 2_500));
    let results = futures_util::future::join_all(tries).await;
    let claimed = results.iter().filter(|result| matches!(result, Ok(Some(id)) if *id == done.id)).count();
    assert_eq!(claimed, 1, "{results:?}");
    // A failure frees it, an end does not.
    store.end_undo(&acme(), done.id, UndoEnd::Failed("no".into()), Timestamp(2_600)).await.expect("written");
    assert_eq!(claim(&store, &named(done.id), 2_700).await, Ok(Some(done.id)));
    store.end_undo(&acme(), done.id, UndoEnd::Undone(user("bob")), Timestamp(2_800)).await.expect("written");
    let undone = found(&store, done.id).await;
    let wanted = (ExecutionState::Undone, Some(Timestamp(2_800)), Some(user("bob")), None);
    assert_eq!((undone.state, undone.undone_at, undone.undone_by, undone.error), wanted);
    assert_eq!(claim(&store, &named(done.id), 2_900).await, Err(CommitFault::Conflict("it was undone before".into())));
    assert_eq!(claim(&store, &latest(ticket("7")), 2_900).await, Ok(None));
}

async fn undo_takes_the_latest_that_can_still_be_undone(ground: Ground) {
    let store = ground.open();
    let (one, two) = (completed(&store, ticket("7")).await, completed(&store, ticket("7")).await);
    completed(&store, ticket("8")).await;
    let apart = completed(&store, None).await;
    begun(&store, ticket("7")).await;
    assert_eq!(claim(&store, &latest(ticket("7")), 7_000).await, Ok(Some(two.id)));
    assert_eq!(claim(&store, &latest(ticket("7")), 7_000).await, Ok(Some(one.id)));
    assert_eq!(claim(&store, &latest(ticket("7")), 7_000).await, Ok(None));
    assert_eq!(claim(&store, &latest(None), 2_500).await, Ok(Some(apart.id)));
    // The window is over at one moment, for whoever names it too.
    let late = completed(&store, ticket("9")).await;
    assert_eq!(claim(&store, &latest(ticket("9")), 7_001).await, Ok(None));
    let over = Err(CommitFault::Conflict("the time to undo it is over".into()));
    assert_eq!(claim(&store, &named(late.id), 7_001).await, over);
    let other = UndoWish { action: "open".into(), ..named(late.id) };
    assert_eq!(claim(&store, &other, 2_500).await, Ok(None));
    assert_eq!(claim(&store, &named(late.id), 7_000).await, Ok(Some(late.id)));
}

async fn a_start_settles_what_the_last_run_left(ground: Ground) {
    let store = ground.open();
    let waiting = execution(None);
    store.begin_execution(&waiting, None, act()).await.expect("begun");
    let running = begun(&store, ticket("7")).await;
    let (done, undoing) = (completed(&store, ticket("8")).await, completed(&store, ticket("9")).await);
    claim(&store, &named(undoing.id), 2_500).await.expect("claimed");
    store.close().await;
    drop(store);
    let store = ground.open();
    for (id, state) in [
        (waiting.id, ExecutionState::Failed),
        (running.id, ExecutionState::Unknown),
        (done.id, ExecutionState::Completed),
        (undoing.id, ExecutionState::Unknown),
    ] {
        let now = found(&store, id).await;
        assert_eq!((now.state, now.error.is_some()), (state, state != ExecutionState::Completed), "{now:?}");
    }
    for id in [waiting.id, running.id, undoing.id] {
        assert!(matches!(claim(&store, &named(id), 2_500).await, Err(CommitFault::Conflict(_))));
        assert!(matches!(store.start_execution(&acme(), id).await, Err(CommitFault::Conflict(_))));
    }
    assert_eq!(claim(&store, &named(done.id), 2_500).await, Ok(Some(done.id)));
}

async fn another_organization_has_none_of_it(ground: Ground) {
    let store = ground.open();
    let done = completed(&store, ticket("7")).await;
    assert_eq!(store.execution(&org("rival"), done.id).await, Ok(None));
    for wish in [named(done.id), latest(ticket("7"))] {
        assert_eq!(store.claim_undo(&org("rival"), &wish, Timestamp(2_500), act()).await, Ok(None));
    }
    assert_eq!(found(&store, done.id).await, done);
}
