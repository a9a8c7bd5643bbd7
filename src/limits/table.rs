//! Buckets by key, never more of them than were decided on: whoever makes up keys gains nothing and fills no memory.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::bucket::{Decision, Dial, Rate};

/// Buckets looked at for one that is full, where all are taken.
const PROBES: usize = 8;

/// Keys that found no bucket share one that is so many times as large as their own would be.
const SHARED: u32 = 16;

const SHARDS: usize = 16;

/// One budget: a bucket for each key. Where all buckets are in use a new key takes the place of one that is full (it
/// has nothing to remember), and if none of the eight looked at is, it shares a bucket with all others like it.
pub struct Table {
    rate: Dial,
    began: Instant,
    /// Keys are kept as 128 bits under two secret keys: equal ones cannot be found, and long names cost no more.
    hashers: [RandomState; 2],
    shards: Box<[Mutex<Shard>]>,
    shared: Mutex<u64>,
}

#[derive(Default)]
struct Shard {
    places: HashMap<u128, u32, ahash::RandomState>,
    /// Key, and when its bucket is full.
    buckets: Vec<(u128, u64)>,
    /// The bucket that is looked at next for one to give away.
    hand: usize,
    room: usize,
}

impl Table {
    /// A budget for at most `keys` keys at once.
    pub fn new(rate: Option<Rate>, keys: usize) -> Self {
        let shards = if keys < 1024 { 1 } else { SHARDS };
        let shard = || Mutex::new(Shard { room: (keys / shards).max(1), ..Shard::default() });
        Self {
            rate: Dial::new(rate),
            began: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
            shards: (0..shards).map(|_| shard()).collect(),
            shared: Mutex::new(0),
        }
    }

    /// Another rate from now on. What was taken stays taken, measured by the new one.
    pub fn set(&self, rate: Option<Rate>) {
        self.rate.set(rate);
    }

    /// Takes one token from the key's bucket.
    pub fn take(&self, key: &impl Hash, now: Instant) -> Decision {
        let Some(rate) = self.rate.get() else { return Decision::Off };
        let (key, now) = (self.key(key), self.nanos(now));
        let mut shard = self.shard(key);
        if let Some(bucket) = shard.bucket(key, now) {
            return rate.take(bucket, now);
        }
        drop(shard);
        let shared = &mut self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        rate.times(SHARED).take(shared, now)
    }

    /// What [`Table::take`] would say, but for what keys without a bucket share.
    pub fn look(&self, key: &impl Hash, now: Instant) -> Decision {
        let Some(rate) = self.rate.get() else { return Decision::Off };
        let (key, now) = (self.key(key), self.nanos(now));
        let shard = self.shard(key);
        let full = shard.places.get(&key).map_or(0, |place| shard.buckets[*place as usize].1);
        rate.look(full, now)
    }

    /// Keys that have a bucket.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, key: &impl Hash) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        high << 64 | low
    }

    fn shard(&self, key: u128) -> std::sync::MutexGuard<'_, Shard> {
        let shard = &self.shards[(key % self.shards.len() as u128) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Shard {
    /// The key's bucket, a new one, or one that another key has no use for any more.
    fn bucket(&mut self, key: u128, now: u64) -> Option<&mut u64> {
        if let Some(place) = self.places.get(&key) {
            return self.buckets.get_mut(*place as usize).map(|(_, full)| full);
        }
        let place = if self.buckets.len() < self.room {
            self.buckets.push((key, 0));
            self.buckets.len() - 1
        } else {
            let place = self.idle(now)?;
            self.places.remove(&self.buckets[place].0);
            self.buckets[place] = (key, 0);
            place
        };
        self.places.insert(key, u32::try_from(place).unwrap_or(u32::MAX));
        Some(&mut self.buckets[place].1)
    }

    fn idle(&mut self, now: u64) -> Option<usize> {
        for _ in 0..PROBES.min(self.buckets.len()) {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.buckets.len();
            if self.buckets[place].1 <= now {
                return Some(place);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(number: u32, keys: usize) -> Table {
        Table::new(Rate::new(number, Duration::from_secs(60), number), keys)
    }

    fn allowed(decision: Decision) -> bool {
        matches!(decision, Decision::Allowed { .. })
    }

    #[test]
    fn every_key_has_its_own_bucket() {
        let (table, now) = (table(2, 100), Instant::now());
        for user in ["ann", "bob"] {
            for organization in ["acme", "other"] {
                let key = (organization, user);
                assert_eq!([0; 3].map(|_| allowed(table.take(&key, now))), [true, true, false], "{key:?}");
                assert!(allowed(table.take(&key, now + Duration::from_secs(30))));
            }
        }
        assert_eq!(table.len(), 4);
        // The border between organization and user is part of the key.
        assert!(allowed(table.take(&("acmea", "nn"), now)));
    }

    #[test]
    fn a_flood_of_keys_fills_no_memory_and_lets_nobody_through() {
        let (table, now) = (table(1, 4096), Instant::now());
        let passed = (0..200_000u32).filter(|key| allowed(table.take(key, now))).count();
        assert_eq!(table.len(), 4096);
        // Each bucket once, and what all the rest share.
        assert!(passed <= 4096 + SHARED as usize, "{passed}");
        assert!(passed >= 4096, "{passed}");
    }

    #[test]
    fn the_bucket_of_somebody_limited_is_not_given_away() {
        let (table, now) = (table(60, 4), Instant::now());
        while allowed(table.take(&"greedy", now)) {}
        for key in 0..1000 {
            table.take(&key, now);
        }
        assert!(!allowed(table.take(&"greedy", now)), "others made it forget");
        // Those that took one token are full a second later: their places are free. Greedy's is not.
        let later = now + Duration::from_millis(1500);
        assert_eq!(
            table.take(&"new", later),
            Decision::Allowed { limit: 60, remaining: 59, reset: Duration::from_secs(1) }
        );
        assert!(allowed(table.take(&"greedy", later)));
        assert!(!allowed(table.take(&"greedy", later)));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn looking_takes_nothing_and_makes_no_bucket() {
        let (table, now) = (table(1, 4), Instant::now());
        assert!(allowed(table.look(&"a", now)));
        assert!(table.is_empty());
        table.take(&"a", now);
        assert!(!allowed(table.look(&"a", now)));
        assert!(allowed(table.look(&"a", now + Duration::from_secs(60))));
    }

    #[test]
    fn a_table_without_a_rate_is_off() {
        let table = Table::new(None, 4);
        assert_eq!(table.take(&1, Instant::now()), Decision::Off);
        assert_eq!(table.look(&1, Instant::now()), Decision::Off);
        assert!(table.is_empty());
    }

    #[test]
    fn another_rate_counts_at_once_for_who_is_known_and_for_who_is_new() {
        let (table, now) = (table(1, 4), Instant::now());
        assert_eq!([0; 2].map(|_| allowed(table.take(&"known", now))), [true, false]);
        table.set(Rate::new(3, Duration::from_secs(60), 3));
        // One of the old rate's tokens was a minute's worth: all of the new bucket.
        assert!(!allowed(table.take(&"known", now)));
        assert!(allowed(table.take(&"known", now + Duration::from_secs(20))));
        assert_eq!([0; 4].map(|_| allowed(table.take(&"new", now))), [true, true, true, false]);
        table.set(None);
        assert_eq!(table.take(&"known", now), Decision::Off);
        table.set(Rate::new(1, Duration::from_secs(60), 1));
        assert!(!allowed(table.take(&"new", now)), "off in between takes nothing back");
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let (table, now) = (table(1000, 65_536), Instant::now());
        let passed: usize = std::thread::scope(|scope| {
            let one = || scope.spawn(|| (0..1000).filter(|_| allowed(table.take(&"one", now))).count());
            [one(), one(), one(), one()].map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(passed, 1000);
    }
}
