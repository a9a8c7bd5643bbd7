//! The arithmetic of the books, over calls that come, end and are refused in any order.

use proptest::prelude::*;

use super::*;
use crate::domain::generation::Price;

fn at(text: &str) -> Timestamp {
    Timestamp(chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis())
}

fn spender() -> Spender {
    Spender {
        organization: OrganizationId::parse("acme").expect("a name"),
        user: UserId::parse("ann").expect("a name"),
        agent: "assistant".into(),
        provider: "openai".into(),
        model: "m/1".into(),
    }
}

fn budget(per: Per, only: Option<&str>) -> Budget {
    let limit = Limit { tokens: Some(10), micros: None };
    Budget { name: "b".into(), per, only: only.map(str::to_owned), organization: None, period: Period::Day, limit }
}

#[test]
fn periods_are_of_the_calendar_in_utc() {
    let cases = [
        (Period::Day, "2026-11-21T23:59:59.999Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        (Period::Day, "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
        // The 21st is a Saturday.
        (Period::Week, "2026-11-21T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        (Period::Week, "2026-11-16T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        (Period::Week, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        (Period::Month, "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        (Period::Month, "2028-02-29T01:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
    ];
    for (period, now, begins, renews) in cases {
        assert_eq!(span(period, at(now)), (at(begins), at(renews)), "{period:?} {now}");
    }
}

#[test]
fn a_budget_counts_whom_it_names() {
    let subject = |budget: &Budget| budget.account(&spender(), at("2026-11-21T00:00:00Z")).map(|a| a.subject);
    for (per, name, own) in [
        (Per::Organization, "acme", ""),
        (Per::User, "ann", "ann"),
        (Per::Agent, "assistant", "assistant"),
        (Per::Model, "m/1", "openai/m/1"),
        (Per::Model, "openai/m/1", "openai/m/1"),
    ] {
        assert_eq!(subject(&budget(per, None)).as_deref(), Some(own));
        assert_eq!(subject(&budget(per, Some(name))).as_deref(), Some(own));
        assert_eq!(subject(&budget(per, Some("another"))), None);
    }
    let of = |name| Some(OrganizationId::parse(name).expect("a name"));
    assert!(subject(&Budget { organization: of("acme"), ..budget(Per::User, None) }).is_some());
    assert_eq!(subject(&Budget { organization: of("other"), ..budget(Per::User, None) }), None);
}

#[test]
fn a_refusal_says_whether_waiting_a_moment_helps() {
    let account = budget(Per::User, None).account(&spender(), at("2026-11-21T00:00:00Z")).expect("an account");
    let tokens = |tokens| Amount { tokens, micros: u64::MAX };
    let refused = |used, held, asked| {
        let book = Book { used: tokens(used), held: tokens(held) };
        book.room(&account, tokens(asked)).expect_err("refused")
    };
    assert!(refused(2, 8, 1).passes());
    assert!(!refused(9, 1, 2).passes());
    assert!(!refused(10, 0, 1).passes());
    let said = refused(3, 4, 5);
    assert_eq!((said.limit, said.used, said.held, said.asked), (10, 3, 4, 5));
    assert_eq!((said.unit, said.renews), (Unit::Tokens, at("2026-11-22T00:00:00Z")));
    // To the last token.
    assert!(Book { used: tokens(3), held: tokens(4) }.room(&account, tokens(3)).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    /// A call that may use so much wants to begin.
    Begin(Amount),
    /// One that is under way ends, having used this share of what it might, in 256ths.
    End(usize, u8),
}

fn amounts() -> impl Strategy<Value = Amount> {
    (0u64..400, 0u64..4_000_000).prop_map(|(tokens, micros)| Amount { tokens, micros })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        amounts().prop_map(Step::Begin),
        (any::<usize>(), any::<u8>()).prop_map(|(which, share)| Step::End(which, share)),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn used_and_held_never_pass_the_limit_and_nothing_is_lost(
        steps in steps(),
        tokens in prop::option::of(0u64..2_000),
        micros in prop::option::of(0u64..20_000_000),
    ) {
        let limit = Limit { tokens, micros };
        let account = Account { limit, ..budget(Per::User, None).account(&spender(), Timestamp(0)).expect("one") };
        let (mut book, mut open, mut spent) = (Book::default(), Vec::new(), Amount::default());
        for step in steps {
            match step {
                Step::Begin(asked) => match book.room(&account, asked) {
                    Ok(()) => {
                        book.hold(asked);
                        open.push(asked);
                    }
                    Err(refusal) => prop_assert!(refusal.used + refusal.held + refusal.asked > refusal.limit),
                },
                Step::End(which, share) if !open.is_empty() => {
                    let held = open.swap_remove(which % open.len());
                    let part = |whole: u64| whole * u64::from(share) / 255;
                    let used = Amount { tokens: part(held.tokens), micros: part(held.micros) };
                    spent = spent.plus(used);
                    book.settle(held, used);
                }
                Step::End(..) => {}
            }
            let both = book.used.plus(book.held);
            prop_assert!(tokens.is_none_or(|limit| both.tokens <= limit));
            prop_assert!(micros.is_none_or(|limit| both.micros <= limit));
            prop_assert_eq!(book.used, spent);
            prop_assert_eq!(book.held, open.iter().fold(Amount::default(), |sum, held| sum.plus(*held)));
        }
        for held in open.drain(..) {
            book.settle(held, Amount::default());
        }
        prop_assert_eq!(book, Book { used: spent, held: Amount::default() });
    }

    #[test]
    fn a_call_within_its_size_costs_no_more_than_its_worst_case(
        prices in (0u64..100_000_000, 0u64..100_000_000, 0u64..100_000_000, 0u64..100_000_000),
        parts in (0u64..300_000, 0u64..300_000, 0u64..300_000),
        output in 0u64..100_000,
        more in 0u64..1_000,
    ) {
        let (input, cache_read, cache_write) = parts;
        let price = Price { input: prices.0, output: prices.1, cache_read: prices.2, cache_write: prices.3 };
        let usage = Usage { input, output, cache_read, cache_write, cost: None };
        let usage = Usage { cost: Some(price.of(&usage)), ..usage };
        let worst = worst(input + cache_read + cache_write + more, output + more, Some(price));
        prop_assert!(worst.tokens >= Amount::of(&usage).tokens && worst.micros >= Amount::of(&usage).micros);
    }

    #[test]
    fn steps_cost_together_what_they_cost_one_by_one(costs in prop::collection::vec(0u64..1 << 40, 0..50)) {
        let mut sum = Usage::default();
        for cost in &costs {
            sum.add(&Usage { cost: Some(*cost), ..Usage::default() });
        }
        prop_assert_eq!(sum.cost.unwrap_or(0), costs.iter().sum::<u64>());
    }
}

#[test]
fn a_begun_millionth_counts_whole() {
    let price = Price { input: 150_000, output: 600_000, ..Price::default() };
    let cost = |input, output| price.of(&Usage { input, output, ..Usage::default() });
    assert_eq!((cost(0, 0), cost(1, 0), cost(1_000_000, 0), cost(7, 3)), (0, 1, 150_000, 3));
    assert_eq!(Price { output: u64::MAX, ..price }.of(&Usage { output: u64::MAX, ..Usage::default() }), u64::MAX);
}
