//! When and how long to wait before the same request is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// How often, and how far apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries in all, the first one included; at least 1.
    pub attempts: u32,
    /// The wait before the second try; doubled for each one after it.
    pub first_wait: Duration,
    /// No wait is longer, also if the provider's `Retry-After` asks for more.
    pub longest_wait: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts: 4, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(30) }
    }
}

impl RetrySettings {
    /// The wait after try number `tried` (from 1). `random` spreads the clients that failed together: a computed wait
    /// becomes half to whole of itself, one that the provider asked for becomes up to a quarter longer.
    pub fn wait(&self, tried: u32, asked: Option<Duration>, random: u32) -> Duration {
        let share = f64::from(random) / f64::from(u32::MAX);
        let wait = match asked {
            Some(asked) => asked.min(self.longest_wait).mul_f64(1.0 + share / 4.0),
            None => {
                let doubled =
                    self.first_wait.saturating_mul(1u32.checked_shl(tried.saturating_sub(1)).unwrap_or(u32::MAX));
                doubled.min(self.longest_wait).mul_f64(0.5 + share / 2.0)
            }
        };
        wait.min(self.longest_wait)
    }
}

/// Statuses after which the same request may succeed.
pub fn may_pass_later(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500 | 502 | 503 | 504 | 529)
}

/// `Retry-After` in seconds or as an HTTP date, as a wait from `now`; nothing where it is neither, or past.
pub fn asked_wait(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DateTime::parse_from_rfc2822(header).ok()?;
    (date.with_timezone(&Utc) - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RetrySettings =
        RetrySettings { attempts: 4, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(30) };

    #[test]
    fn waits_double_up_to_the_longest() {
        let longest = |tried| SETTINGS.wait(tried, None, u32::MAX);
        assert_eq!([1, 2, 3].map(longest), [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(longest(30), Duration::from_secs(30));
        assert_eq!(longest(u32::MAX), Duration::from_secs(30));
        assert_eq!(SETTINGS.wait(1, None, 0), Duration::from_millis(250));
    }

    #[test]
    fn what_the_provider_asks_for_is_a_lower_bound_but_capped() {
        let asked = |seconds, random| SETTINGS.wait(1, Some(Duration::from_secs(seconds)), random);
        assert_eq!(asked(8, 0), Duration::from_secs(8));
        assert_eq!(asked(8, u32::MAX), Duration::from_secs(10));
        assert_eq!(asked(86_400, u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2015-10-21T07:27:50Z").unwrap().with_timezone(&Utc);
        let wait = |header| asked_wait(header, now);
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        for nonsense in ["Wed, 21 Oct 2015 07:27:00 GMT", "-3", "soon", "", "inf", "NaN", "1e400"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
