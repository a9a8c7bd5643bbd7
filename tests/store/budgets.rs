//! The books of budgets: many reserve at once and nobody gets what another one holds; nothing is lost by a crash.

use futures_util::future::join_all;
use switchboard::domain::command::Period;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::domain::spending::*;
use switchboard::domain::turn::*;
use switchboard::domain::usage::Usage;
use switchboard::store::{Reservation, Store};

use crate::ground::*;

on_both!(
    many_at_once_get_what_there_is,
    all_budgets_have_room_or_none_is_touched,
    an_end_counts_once,
    what_a_dead_process_held_is_booked_with_the_least,
    a_new_book_begins_with_what_its_period_has_used,
    organizations_have_books_of_their_own,
    old_books_are_forgotten,
);

const NOW: Timestamp = Timestamp(1_000_000);

fn spender() -> Spender {
    Spender {
        organization: acme(),
        user: user("ann"),
        agent: "default".into(),
        provider: "openai".into(),
        model: "m".into(),
    }
}

fn account(name: &str, per: Per, tokens: Option<u64>, micros: Option<u64>) -> Account {
    let limit = Limit { tokens, micros };
    let budget = Budget { name: name.into(), per, only: None, organization: None, period: Period::Day, limit };
    budget.account(&spender(), NOW).expect("it counts")
}

fn amount(tokens: u64, micros: u64) -> Amount {
    Amount { tokens, micros }
}

fn wish(accounts: &[Account], most: Amount) -> Reservation {
    Reservation { organization: acme(), id: next(), accounts: accounts.to_vec(), most, least: amount(1, 2), at: NOW }
}

async fn books(store: &Store, accounts: &[Account]) -> Vec<Book> {
    store.books(&acme(), accounts.to_vec()).await.expect("read")
}

async fn many_at_once_get_what_there_is(ground: Ground) {
    let store = ground.open();
    let one = [account("race", Per::User, None, Some(1_000))];
    let wishes: Vec<_> = (0..50).map(|_| wish(&one, amount(5, 110))).collect();
    let answers = join_all(wishes.iter().map(|wish| store.reserve(wish.clone()))).await;
    let mut held = Vec::new();
    for (wish, answer) in wishes.iter().zip(answers) {
        match answer.expect("written") {
            Ok(()) => held.push(wish.id),
            Err(refusal) => {
                assert_eq!((refusal.budget.as_str(), refusal.unit, refusal.limit), ("race", Unit::Micros, 1_000));
                assert_eq!((refusal.used, refusal.held, refusal.asked), (0, 990, 110));
                assert_eq!(refusal.renews, Timestamp(86_400_000));
            }
        }
    }
    assert_eq!(held.len(), 9);
    assert_eq!(books(&store, &one).await, [Book { used: amount(0, 0), held: amount(45, 990) }]);
    // What is queued first is seen by what is queued next: no await in between.
    let ended = held.iter().map(|id| store.settle(&acme(), *id, amount(3, 10))).collect::<Vec<_>>();
    let next = store.reserve(wish(&one, amount(5, 910)));
    let (ended, next) = futures_util::future::join(join_all(ended), next).await;
    assert!(ended.into_iter().all(|settled| settled == Ok(1)));
    assert_eq!(next, Ok(Ok(())));
    assert_eq!(books(&store, &one).await, [Book { used: amount(27, 90), held: amount(5, 910) }]);
}

async fn all_budgets_have_room_or_none_is_touched(ground: Ground) {
    let store = ground.open();
    let both = [account("a", Per::Organization, Some(100), None), account("b", Per::Model, Some(10), Some(7))];
    assert_eq!(both[1].subject, "openai/m");
    let refused = store.reserve(wish(&both, amount(11, 1))).await.expect("written").expect_err("refused");
    assert_eq!((refused.budget.as_str(), refused.unit), ("b", Unit::Tokens));
    let refused = store.reserve(wish(&both, amount(10, 8))).await.expect("written").expect_err("refused");
    assert_eq!((refused.budget.as_str(), refused.unit), ("b", Unit::Micros));
    assert_eq!(books(&store, &both).await, [Book::default(); 2]);
    assert_eq!(ground.count("budget_hold").await, 0);
    assert_eq!(store.reserve(wish(&both, amount(10, 7))).await, Ok(Ok(())));
    assert_eq!(books(&store, &both).await, [Book { used: amount(0, 0), held: amount(10, 7) }; 2]);
    assert_eq!(ground.count("budget_hold").await, 2);
}

async fn an_end_counts_once(ground: Ground) {
    let store = ground.open();
    let both = [account("a", Per::User, None, Some(100)), account("b", Per::Agent, Some(100), None)];
    let held = wish(&both, amount(10, 10));
    let (id, another) = (held.id, wish(&both, amount(20, 20)));
    for wish in [held, another] {
        assert_eq!(store.reserve(wish).await, Ok(Ok(())));
    }
    // More than was held is the truth all the same.
    assert_eq!(store.settle(&acme(), id, amount(11, 12)).await, Ok(2));
    assert_eq!(store.settle(&acme(), id, amount(11, 12)).await, Ok(0));
    assert_eq!(store.settle(&org("other"), id, amount(11, 12)).await, Ok(0));
    assert_eq!(books(&store, &both).await, [Book { used: amount(11, 12), held: amount(20, 20) }; 2]);
}

async fn what_a_dead_process_held_is_booked_with_the_least(ground: Ground) {
    let store = ground.open();
    let both = [account("a", Per::User, None, Some(100)), account("b", Per::Organization, None, Some(100))];
    assert_eq!(store.reserve(wish(&both, amount(10, 60))).await, Ok(Ok(())));
    assert_eq!(store.reserve(wish(&both[..1], amount(10, 20))).await, Ok(Ok(())));
    // Somebody beside the hub, such as the command line, ends nothing.
    let beside = Store::open_shared(ground.settings()).expect("it opens beside");
    assert_eq!(books(&beside, &both).await[0].held, amount(20, 80));
    beside.close().await;
    store.close().await;
    for _ in 0..2 {
        let store = ground.open();
        let used = |tokens, micros| Book { used: amount(tokens, micros), held: amount(0, 0) };
        assert_eq!(books(&store, &both).await, [used(2, 4), used(1, 2)]);
        assert_eq!(ground.count("budget_hold").await, 0);
        store.close().await;
    }
}

/// A conversation whose one turn, begun at that moment, has used that much.
async fn used_before(store: &Store, owner: &str, agent: &str, model: &str, at: Timestamp) {
    let mut settings = conversation(owner);
    settings.agent = agent.into();
    let mut ended = turn(1, TurnState::Completed);
    ended.user = user(owner);
    ended.usage = Usage { input: 1, output: 2, cache_read: 3, cache_write: 4, cost: Some(100) };
    ended.started_at = Some(at);
    let mut answer = message(&ended, 1);
    (answer.provider, answer.model) = (Some("openai".into()), Some(model.into()));
    ended.answer = Some(answer.id);
    let writes = vec![Write::Conversation(settings.clone()), Write::Turn(ended), Write::Message(answer)];
    store.commit(batch(&settings, writes)).await.expect("committed");
}

async fn a_new_book_begins_with_what_its_period_has_used(ground: Ground) {
    let store = ground.open();
    for (owner, agent, model, at) in [
        ("ann", "default", "m", NOW),
        ("ann", "default", "m", Timestamp(0)),
        ("ann", "default", "m", Timestamp(-1)),
        ("ann", "coder", "n", NOW),
        ("bob", "default", "n", NOW),
        ("bob", "coder", "m", NOW),
    ] {
        used_before(&store, owner, agent, model, at).await;
    }
    for (per, turns) in [(Per::Organization, 5), (Per::User, 3), (Per::Agent, 3), (Per::Model, 3)] {
        let one = [account(per.name(), per, Some(10_000), None)];
        assert_eq!(store.reserve(wish(&one, amount(1, 1))).await, Ok(Ok(())));
        let begun = Book { used: amount(turns * 10, turns * 100), held: amount(1, 1) };
        assert_eq!(books(&store, &one).await, [begun], "{per:?}");
        // Once only: from then on the book itself counts.
        assert_eq!(store.reserve(wish(&one, amount(1, 1))).await, Ok(Ok(())));
        assert_eq!(books(&store, &one).await, [Book { held: amount(2, 2), ..begun }]);
    }
}

async fn organizations_have_books_of_their_own(ground: Ground) {
    let store = ground.open();
    let one = [account("a", Per::User, Some(10), None)];
    assert_eq!(store.reserve(wish(&one, amount(10, 0))).await, Ok(Ok(())));
    let foreign = Reservation { organization: org("other"), ..wish(&one, amount(10, 0)) };
    assert_eq!(store.reserve(foreign.clone()).await, Ok(Ok(())));
    assert_eq!(store.settle(&org("other"), foreign.id, amount(4, 0)).await, Ok(1));
    assert_eq!(books(&store, &one).await[0].held, amount(10, 0));
    let theirs = store.books(&org("other"), one.to_vec()).await.expect("read");
    assert_eq!(theirs, [Book { used: amount(4, 0), held: amount(0, 0) }]);
}

async fn old_books_are_forgotten(ground: Ground) {
    let store = ground.open();
    let one = [account("a", Per::User, Some(10), None)];
    let held = wish(&one, amount(10, 0));
    assert_eq!(store.reserve(held.clone()).await, Ok(Ok(())));
    let settings = switchboard::store::PruneSettings { keys_ms: 1, facts_ms: None };
    let days = |days: i64| Timestamp(days * 86_400_000);
    assert_eq!(store.prune(days(400), &settings).await.map(|pruned| pruned.books), Ok(0));
    assert_eq!(store.prune(days(401), &settings).await.map(|pruned| pruned.books), Ok(1));
    // An end that comes that late finds nothing to be written in, and is no error.
    assert_eq!(store.settle(&acme(), held.id, amount(1, 1)).await, Ok(1));
    assert_eq!(ground.count("budget_hold").await, 0);
}
