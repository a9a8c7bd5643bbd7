//! The clock of the generator: one monotonic count of nanoseconds, shared by sender and receiver.
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the machine's monotonic clock.
#[inline]
pub fn now() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * SECOND + t.tv_nsec as u64
}

/// Nanoseconds in `seconds`.
pub fn from_seconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

/// Seconds since `start` (nanoseconds of [`now`]).
pub fn since(start: u64) -> f64 {
    now().saturating_sub(start) as f64 / SECOND as f64
}

/// Sleeps until the clock shows `at`; returns at once when that is past.
pub fn sleep_until(at: u64) {
    let left = at.saturating_sub(now());
    if left > 0 {
        std::thread::sleep(Duration::from_nanos(left));
    }
}
