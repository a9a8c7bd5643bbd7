//! The bucket of one socket: a few bytes in its actor, measured by what all sockets share.

use std::time::{Duration, Instant};

use super::bucket::{Decision, Dial, Rate};

/// Pauses in a row after which a client that floods on is shown out.
pub const PATIENCE: u8 = 10;

/// Milliseconds without a pause that end a row of them.
const RESPITE: u32 = 5000;

/// Nanoseconds' worth of tokens that are back when reading goes on, where the bucket holds as much.
const BACK: u64 = 1_000_000_000;

/// How fast one socket may send.
#[derive(Debug)]
pub struct FrameRate {
    rate: Dial,
    began: Instant,
}

/// When a socket's bucket is full again, and how often it was empty in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameBucket {
    full: u64,
    /// When the last pause ended, in milliseconds that begin anew every 49 days.
    paused: u32,
    pauses: u8,
}

/// What follows from one more frame. It is carried out, but for `Enough`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Fine,
    /// The next one is read after this time. `tell` the client: it is the first pause of a row.
    Pause {
        wait: Duration,
        tell: bool,
    },
    /// It has flooded on through all pauses.
    Enough,
}

impl FrameRate {
    /// `per_second` frames, `burst` of them at once; 0 a second is no limit.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let all = Self { rate: Dial::new(None), began: Instant::now() };
        all.set(per_second, burst);
        all
    }

    /// The same for the sockets that are there already.
    pub fn set(&self, per_second: u32, burst: u32) {
        self.rate.set(Rate::new(per_second, Duration::from_secs(1), burst));
    }

    /// Whether there is a limit at all: without one nobody needs to look at the clock.
    pub fn is_on(&self) -> bool {
        self.rate.get().is_some()
    }

    /// Counts a frame that came at `now`.
    pub fn count(&self, bucket: &mut FrameBucket, now: Instant) -> Pace {
        let Some(rate) = self.rate.get() else { return Pace::Fine };
        let now = u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX);
        if !matches!(rate.take(&mut bucket.full, now), Decision::Refused { .. }) {
            return Pace::Fine;
        }
        let millis = |nanos: u64| (nanos / 1_000_000) as u32;
        if bucket.pauses > 0 && millis(now).wrapping_sub(bucket.paused) >= RESPITE {
            bucket.pauses = 0;
        }
        if bucket.pauses == PATIENCE {
            return Pace::Enough;
        }
        bucket.pauses += 1;
        // It is carried out all the same, on credit: what was sent is not lost, only late.
        bucket.full = bucket.full.saturating_add(rate.cost(1));
        let owed = bucket.full.saturating_sub(now);
        let wait = owed.saturating_sub(rate.cost(rate.burst()).saturating_sub(BACK));
        bucket.paused = millis(now.saturating_add(wait));
        Pace::Pause { wait: Duration::from_nanos(wait), tell: bucket.pauses == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends frames at `now` until reading pauses: how many were carried out, and what came then.
    fn flood(rate: &FrameRate, bucket: &mut FrameBucket, now: Instant) -> (usize, Pace) {
        let mut done = 0;
        loop {
            match rate.count(bucket, now) {
                Pace::Fine => done += 1,
                Pace::Enough => return (done, Pace::Enough),
                pause => return (done + 1, pause),
            }
        }
    }

    #[test]
    fn a_burst_then_a_second_s_worth_after_each_pause_then_the_end() {
        let rate = FrameRate::new(200, 1000);
        let (mut bucket, mut now) = (FrameBucket::default(), rate.began);
        let mut pauses = 0;
        loop {
            let (done, pace) = flood(&rate, &mut bucket, now);
            let Pace::Pause { wait, tell } = pace else {
                assert_eq!(pace, Pace::Enough);
                break;
            };
            assert_eq!(done, if pauses == 0 { 1001 } else { 201 }, "pause {pauses}");
            assert_eq!(tell, pauses == 0, "it is told once");
            assert_eq!(wait, Duration::from_millis(1005), "200 tokens and the one on credit");
            pauses += 1;
            now += wait;
        }
        assert_eq!(pauses, usize::from(PATIENCE));
    }

    #[test]
    fn who_holds_back_for_a_while_begins_anew() {
        let rate = FrameRate::new(10, 10);
        let (mut bucket, mut now) = (FrameBucket::default(), rate.began);
        for _ in 0..50 {
            let (_, pace) = flood(&rate, &mut bucket, now);
            let Pace::Pause { wait, tell: true } = pace else { panic!("{pace:?}") };
            now += wait + Duration::from_secs(5);
        }
    }

    #[test]
    fn what_keeps_to_the_rate_never_waits() {
        let rate = FrameRate::new(200, 1000);
        let (mut bucket, began) = (FrameBucket::default(), rate.began);
        for n in 0..100_000 {
            assert_eq!(rate.count(&mut bucket, began + Duration::from_millis(5) * n), Pace::Fine, "{n}");
        }
    }

    #[test]
    fn it_is_small_and_can_be_off() {
        assert!(size_of::<FrameBucket>() <= 16);
        let rate = FrameRate::new(0, 1);
        let mut bucket = FrameBucket::default();
        assert!(!rate.is_on());
        assert!((0..10_000).all(|_| rate.count(&mut bucket, rate.began) == Pace::Fine));
    }
}
