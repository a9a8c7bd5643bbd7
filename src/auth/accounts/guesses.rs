//! How often codes may be guessed: by one address, and by the whole world.
//!
//! The arithmetic. A code is one of 36^n, drawn evenly. A wrong guess made while `l` codes live had a chance of
//! l / 36^n of being right, and by the union bound all guesses within one code's life together have at most the chance
//! (sum of l) / 36^n. That sum over any five minutes, a code's whole life, is kept below 36^n / 1,000,000: then a
//! guesser, from however many addresses, has less than one chance in a million per life of a code. With n = 6 that are
//! 2,176 wrong guesses while one code lives, 21 while a hundred do. A guess is counted before it is looked up, so that
//! many at once are not more than the same number one by one. When the sum is used up, every live code is spoiled and
//! everybody waits for five minutes. So that no tenant brings that about for all others, few codes of one organization
//! live at a time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::ids::{OrganizationId, UserId};

/// Wrong guesses of one address (of IPv6 its /64) within [`MINUTE`].
const EACH: u32 = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Codes that one user makes within a code's life.
const CODES_EACH: usize = 5;
/// Codes of one organization that live at a time.
const CODES_OF_ALL: usize = 20;
/// Addresses, users and organizations that are remembered, each.
const MOST: usize = 10_000;

/// Why nobody guesses now.
#[derive(Debug, PartialEq, Eq)]
pub struct Wait {
    pub seconds: u64,
    /// The budget of the whole hub has just run out: no live code may count any more.
    pub spoil: bool,
}

/// Counts wrong guesses. Of this process: several nodes have a budget each.
pub struct Guesses {
    /// What the chances of all guesses within `life` may add up to, in codes.
    budget: u64,
    life: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    addresses: HashMap<IpAddr, (Instant, u32)>,
    /// When codes were made, the oldest first: by each user, and in each organization those that nobody has used.
    makers: HashMap<(OrganizationId, UserId), Vec<Instant>>,
    organizations: HashMap<OrganizationId, Vec<Instant>>,
    /// Chances spent, second by second: at most as many entries as `life` has seconds.
    spent: VecDeque<(Instant, u64)>,
    closed_until: Option<Instant>,
}

/// A guess that was counted; it is given back if it was right.
#[must_use]
pub struct Guess {
    home: IpAddr,
    cost: u64,
}

impl Guesses {
    /// `length`: characters of a code, of 36 kinds. `life`: seconds for which it counts.
    pub fn new(length: usize, life: u64) -> Self {
        let codes = u32::try_from(length).ok().and_then(|length| 36u64.checked_pow(length)).unwrap_or(u64::MAX);
        Self { budget: codes / 1_000_000, life: Duration::from_secs(life), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a guess as a wrong one, before it is looked up. `live`: codes that live now.
    pub fn begin(&self, address: IpAddr, live: u64, now: Instant) -> Result<Guess, Wait> {
        let mut seen = self.seen();
        if let Some(wait) = closed(&seen, now) {
            return Err(wait);
        }
        let home = home(address);
        let wait = seen.address(home, now);
        if let Some(seconds) = wait {
            return Err(Wait { seconds, spoil: false });
        }
        // A code may come to life while the guess is on its way: none at all counts as one.
        let cost = live.max(1);
        let spent = seen.spent_within(self.life, now);
        if spent.saturating_add(cost) >= self.budget {
            seen.closed_until = Some(now + self.life);
            return Err(Wait { seconds: self.life.as_secs(), spoil: true });
        }
        match seen.spent.back_mut() {
            Some((since, sum)) if now.duration_since(*since) < Duration::from_secs(1) => *sum += cost,
            _ => seen.spent.push_back((now, cost)),
        }
        Ok(Guess { home, cost })
    }

    /// The guess was right: its maker is no guesser, and a code of that organization lives no more.
    pub fn right(&self, guess: Guess, organization: &OrganizationId) {
        let mut seen = self.seen();
        if let Some(made) = seen.organizations.get_mut(organization)
            && !made.is_empty()
        {
            made.remove(0);
        }
        if let Some((_, count)) = seen.addresses.get_mut(&guess.home) {
            *count = count.saturating_sub(1);
        }
        if let Some((_, sum)) = seen.spent.back_mut() {
            *sum = sum.saturating_sub(guess.cost);
        }
    }

    /// Counts a code that a user makes: each one that lives makes guessing easier.
    pub fn make(&self, whose: (OrganizationId, UserId), now: Instant) -> Result<(), Wait> {
        let mut seen = self.seen();
        if let Some(wait) = closed(&seen, now) {
            return Err(wait);
        }
        let life = self.life;
        let organization = within(&mut seen.organizations, whose.0.clone(), life, now);
        if let Some(seconds) = full(organization, CODES_OF_ALL, life, now) {
            return Err(Wait { seconds, spoil: false });
        }
        let maker = within(&mut seen.makers, whose.clone(), life, now);
        if let Some(seconds) = full(maker, CODES_EACH, life, now) {
            return Err(Wait { seconds, spoil: false });
        }
        maker.push(now);
        seen.organizations.entry(whose.0).or_default().push(now);
        Ok(())
    }
}

/// The codes of `whose` that were made within a code's life. A table that is full forgets who has none.
fn within<K: Eq + Hash>(
    made: &mut HashMap<K, Vec<Instant>>,
    whose: K,
    life: Duration,
    now: Instant,
) -> &mut Vec<Instant> {
    let fresh = |at: &Instant| now.duration_since(*at) < life;
    if made.len() >= MOST {
        made.retain(|_, made| made.iter().any(fresh));
    }
    let made = made.entry(whose).or_default();
    made.retain(fresh);
    made
}

/// Seconds until there is room for another code, where there is none.
fn full(made: &[Instant], most: usize, life: Duration, now: Instant) -> Option<u64> {
    let first = made.first().filter(|_| made.len() >= most)?;
    Some(life.saturating_sub(now.duration_since(*first)).as_secs() + 1)
}

fn closed(seen: &Seen, now: Instant) -> Option<Wait> {
    let left = seen.closed_until?.checked_duration_since(now).filter(|left| !left.is_zero())?;
    Some(Wait { seconds: left.as_secs() + 1, spoil: false })
}

impl Seen {
    /// Counts a guess of this address. Seconds to wait where it has made too many.
    fn address(&mut self, home: IpAddr, now: Instant) -> Option<u64> {
        if self.addresses.len() >= MOST && !self.addresses.contains_key(&home) {
            self.addresses.retain(|_, (since, _)| now.duration_since(*since) < MINUTE);
            // The budget of the whole hub holds whoever floods this table.
            if self.addresses.len() >= MOST {
                self.addresses.clear();
            }
        }
        let (since, count) = self.addresses.entry(home).or_insert((now, 0));
        if now.duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        if *count >= EACH {
            return Some((MINUTE - now.duration_since(*since)).as_secs() + 1);
        }
        *count += 1;
        None
    }

    fn spent_within(&mut self, life: Duration, now: Instant) -> u64 {
        while self.spent.front().is_some_and(|(since, _)| now.duration_since(*since) > life + Duration::from_secs(1)) {
            self.spent.pop_front();
        }
        self.spent.iter().fold(0, |sum, (_, cost)| sum.saturating_add(*cost))
    }
}

/// Whoever has an IPv6 address has its /64.
fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    /// Guesses that are let through of `all` from as many addresses.
    fn through(guesses: &Guesses, all: u32, live: u64, now: Instant) -> (u64, u64) {
        let (mut let_through, mut spoilt) = (0, 0);
        for n in 0..all {
            match guesses.begin(v4(n), live, now) {
                Ok(_) => let_through += 1,
                Err(wait) => spoilt += u64::from(wait.spoil),
            }
        }
        (let_through, spoilt)
    }

    #[test]
    fn case_44_ten_thousand_guesses_from_as_many_addresses_have_less_than_one_chance_in_a_million() {
        let all = 36f64.powi(6);
        for live in [1, 7, 100] {
            let guesses = Guesses::new(6, 300);
            let now = Instant::now();
            let (wrong, spoilt) = through(&guesses, 10_000, live, now);
            assert!((wrong * live) as f64 / all < 1e-6, "{wrong} guesses at {live} codes");
            assert_eq!(spoilt, 1, "the codes are spoiled once");
            assert!(guesses.begin(v4(77_777), live, now + Duration::from_secs(299)).is_err());
            assert!(guesses.make((OrganizationId::parse("o").unwrap(), UserId::parse("u").unwrap()), now).is_err());
            assert!(guesses.begin(v4(77_777), live, now + Duration::from_secs(302)).is_ok());
        }
        assert_eq!(through(&Guesses::new(6, 300), 10_000, 1, Instant::now()).0, 2175);
    }

    #[test]
    fn guesses_spread_over_time_add_up_over_a_codes_life() {
        let guesses = Guesses::new(6, 300);
        let begin = Instant::now();
        // 10 a second, each from a new address.
        let asked = (0..3000u32).map(|n| (n, begin + Duration::from_millis(u64::from(n) * 100)));
        let wrong = asked.filter(|(n, at)| guesses.begin(v4(*n), 1, *at).is_ok()).count();
        assert_eq!(wrong, 2175);
    }

    #[test]
    fn an_address_has_five_and_an_ipv6_network_is_one_address() {
        let guesses = Guesses::new(12, 300);
        let now = Instant::now();
        let v6 = |low: u128| IpAddr::V6(Ipv6Addr::from((0x2001_0db8_u128 << 96) | low));
        for n in 0..5 {
            assert!(guesses.begin(v6(n), 1, now).is_ok());
        }
        assert_eq!(guesses.begin(v6(99), 1, now).err(), Some(Wait { seconds: 61, spoil: false }));
        assert!(guesses.begin(v4(1), 1, now).is_ok());
        assert!(guesses.begin(v6(99), 1, now + MINUTE).is_ok());
    }

    #[test]
    fn a_right_guess_costs_nothing() {
        let guesses = Guesses::new(6, 300);
        let now = Instant::now();
        for _ in 0..10_000 {
            let guess = guesses.begin(v4(1), 1, now).unwrap_or_else(|_| panic!("it is let through"));
            guesses.right(guess, &organization("acme"));
        }
    }

    fn organization(name: &str) -> OrganizationId {
        OrganizationId::parse(name).unwrap()
    }

    #[test]
    fn one_tenant_makes_twenty_codes_and_takes_none_from_another() {
        let guesses = Guesses::new(6, 300);
        let now = Instant::now();
        let make = |organization_of: &str, n: u32, at| {
            guesses.make((organization(organization_of), UserId::parse(&format!("u{n}")).unwrap()), at)
        };
        assert!((0..20).all(|n| make("acme", n / 5, now).is_ok()));
        let later = now + Duration::from_secs(60);
        assert_eq!(make("acme", 99, later), Err(Wait { seconds: 241, spoil: false }));
        assert_eq!(make("rival", 99, later), Ok(()));
        // One that was used makes room.
        let guess = guesses.begin(v4(1), 20, later).unwrap_or_else(|_| panic!("it is let through"));
        guesses.right(guess, &organization("acme"));
        assert_eq!(make("acme", 99, later), Ok(()));
        assert!(make("acme", 98, later).is_err());
        assert_eq!(make("acme", 98, now + Duration::from_secs(301)), Ok(()));
    }

    #[test]
    fn a_flood_of_addresses_costs_bounded_memory() {
        let guesses = Guesses::new(12, 300);
        let now = Instant::now();
        for n in 0..30_000 {
            let _ = guesses.begin(v4(n), 1, now + Duration::from_millis(u64::from(n)));
        }
        let seen = guesses.seen();
        assert!(seen.addresses.len() <= MOST && seen.spent.len() <= 302);
    }
}
