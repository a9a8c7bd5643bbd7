//! The arithmetic of a token bucket, kept as one number: the time at which it will be full again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How fast tokens come back, and how many a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds for one token.
    every: u64,
    burst: u32,
}

/// A rate that is turned while everybody reads it. A reader in mid-turn may see the new pace with the old burst: once.
#[derive(Debug)]
pub(super) struct Dial {
    /// 0: no limit.
    every: AtomicU64,
    burst: AtomicU32,
}

impl Dial {
    pub fn new(rate: Option<Rate>) -> Self {
        let dial = Self { every: AtomicU64::new(0), burst: AtomicU32::new(1) };
        dial.set(rate);
        dial
    }

    pub fn get(&self) -> Option<Rate> {
        let every = self.every.load(Ordering::Relaxed);
        (every > 0).then(|| Rate { every, burst: self.burst.load(Ordering::Relaxed) })
    }

    pub fn set(&self, rate: Option<Rate>) {
        self.burst.store(rate.map_or(1, |rate| rate.burst), Ordering::Relaxed);
        self.every.store(rate.map_or(0, |rate| rate.every), Ordering::Relaxed);
    }
}

/// What a budget says to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// There is no such limit.
    Off,
    /// `limit` is what the bucket holds, `remaining` what is left in it, `reset` the time until it is full again.
    Allowed { limit: u32, remaining: u32, reset: Duration },
    /// Nothing was taken. One token is back after `retry_after`.
    Refused { limit: u32, retry_after: Duration },
}

impl Rate {
    /// `number` tokens in `period`, `burst` of them at once. `None` where `number` is 0: no limit.
    pub fn new(number: u32, period: Duration, burst: u32) -> Option<Self> {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let every = period.checked_div(number.into())?.max(1);
        Some(Self { every, burst: burst.max(1) })
    }

    pub fn burst(self) -> u32 {
        self.burst
    }

    /// A rate and a bucket so many times as large.
    pub fn times(self, factor: u32) -> Self {
        Self { every: (self.every / u64::from(factor.max(1))).max(1), burst: self.burst.saturating_mul(factor) }
    }

    /// Nanoseconds that `tokens` need to come back.
    pub fn cost(self, tokens: u32) -> u64 {
        self.every.saturating_mul(tokens.into())
    }

    /// Takes one token at `now` from the bucket that is full at `full` (both in nanoseconds of one clock).
    pub fn take(self, full: &mut u64, now: u64) -> Decision {
        let decision = self.look(*full, now);
        if let Decision::Allowed { .. } = decision {
            *full = (*full).max(now).saturating_add(self.every);
        }
        decision
    }

    /// What [`Rate::take`] would say.
    pub fn look(self, full: u64, now: u64) -> Decision {
        let after = full.max(now).saturating_add(self.every);
        let (owed, room) = (after - now, self.cost(self.burst));
        match owed.checked_sub(room) {
            None | Some(0) => Decision::Allowed {
                limit: self.burst,
                remaining: u32::try_from((room - owed) / self.every).unwrap_or(u32::MAX),
                reset: Duration::from_nanos(owed),
            },
            Some(missing) => Decision::Refused { limit: self.burst, retry_after: Duration::from_nanos(missing) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate() -> Rate {
        Rate::new(60, Duration::from_secs(60), 3).unwrap()
    }

    #[test]
    fn a_burst_then_one_a_second() {
        let (rate, mut full) = (rate(), 0);
        let now = 50 * SECOND;
        for (remaining, reset) in [(2, 1), (1, 2), (0, 3)] {
            let reset = Duration::from_secs(reset);
            assert_eq!(rate.take(&mut full, now), Decision::Allowed { limit: 3, remaining, reset });
        }
        let later = |tenths: u64| now + tenths * SECOND / 10;
        for (tenths, wait) in [(0, 1000), (4, 600), (9, 100)] {
            let retry_after = Duration::from_millis(wait);
            assert_eq!(rate.take(&mut full, later(tenths)), Decision::Refused { limit: 3, retry_after });
        }
        assert!(matches!(rate.take(&mut full, later(10)), Decision::Allowed { remaining: 0, .. }));
        assert!(matches!(rate.take(&mut full, later(10)), Decision::Refused { .. }));
        // Never more than a burst, however long nothing came.
        let much_later = now + 3600 * SECOND;
        let taken = (0..10).filter(|_| matches!(rate.take(&mut full, much_later), Decision::Allowed { .. })).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn refusals_cost_nothing_and_looking_neither() {
        let (rate, mut full) = (rate(), 0);
        while let Decision::Allowed { .. } = rate.take(&mut full, 0) {}
        let before = full;
        for _ in 0..1000 {
            rate.take(&mut full, 0);
            rate.look(full, SECOND);
        }
        assert_eq!(full, before);
    }

    #[test]
    fn nought_is_no_limit_and_the_largest_numbers_do_not_overflow() {
        assert_eq!(Rate::new(0, Duration::from_secs(60), 5), None);
        let rate = Rate::new(u32::MAX, Duration::from_secs(60), u32::MAX).unwrap();
        let mut full = u64::MAX - 5;
        assert!(matches!(rate.take(&mut full, u64::MAX - 1), Decision::Allowed { .. }));
        assert_eq!(rate.times(u32::MAX).burst(), u32::MAX);
        let slow = Rate::new(1, Duration::from_secs(1 << 32), 1).unwrap();
        let mut full = 0;
        assert!(matches!(slow.take(&mut full, 0), Decision::Allowed { remaining: 0, .. }));
        assert!(matches!(slow.take(&mut full, 0), Decision::Refused { .. }));
    }
}
