//! How much of the hub anybody may use: requests, messages, frames, connections, wrong credentials.
//!
//! Every budget is a token bucket. A principal's buckets belong to (organization, user), over all its connections and
//! credentials; a stranger's to the client's address, an IPv6 /64 counting as one. Nobody is exempt, not even this
//! machine: 0 in the configuration switches a budget off for everybody.

mod bucket;
mod frames;
mod places;
mod table;

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config;
use crate::domain::principal::Principal;
use crate::error::{Code, Fault};
use crate::telemetry;

pub use bucket::{Decision, Rate};
pub use frames::{FrameBucket, FrameRate, Pace};
pub use places::{Place, Places};
pub use table::Table;

/// Keys that one budget remembers at most: some 4 MiB for each budget that is fully used.
const KEYS: usize = 65_536;

const MINUTE: Duration = Duration::from_secs(60);

/// Files and probes are answered from memory: one page is more than a dozen of them.
const PLAIN: u32 = 20;

/// The way a message came: each has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Rest,
    Socket,
}

/// A budget that belongs to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Requests that nobody vouches for.
    Request,
    /// Probes, and the page's own files.
    Plain,
    /// Tries to sign in: links, tokens, passwords.
    SignIn,
    /// Credentials that were not good.
    Refused,
}

impl Stranger {
    /// For metrics and sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "strangers",
            Self::Plain => "plain",
            Self::SignIn => "sign_ins",
            Self::Refused => "refused",
        }
    }
}

/// All budgets of a process; shared by its workers.
pub struct Limits {
    requests: Table,
    opened: Table,
    rest_messages: Table,
    socket_messages: Table,
    /// Tries to change one's own password: each may be a guess at the present one.
    passwords: Table,
    strangers: [Table; 4],
    places: Places,
    /// What each socket's own bucket is measured by.
    pub frames: FrameRate,
}

impl Limits {
    pub fn new(limits: &config::Limits) -> Self {
        let off = || Table::new(None, KEYS);
        let all = Self {
            requests: off(),
            opened: off(),
            rest_messages: off(),
            socket_messages: off(),
            passwords: off(),
            strangers: [off(), off(), off(), off()],
            places: Places::new(0),
            frames: FrameRate::new(0, 1),
        };
        all.set(limits);
        all
    }

    /// Other limits from now on, for everybody and on every worker.
    pub fn set(&self, limits: &config::Limits) {
        let minute = |number: u32, burst: u32| Rate::new(number, MINUTE, burst);
        let even = |number: u32| minute(number, number);
        self.requests.set(even(limits.requests_per_minute));
        // As many at once as there may be, then at the pace of requests: what is opened and closed all the time costs
        // a handshake each time.
        self.opened.set(if limits.connections_per_user == 0 {
            None
        } else {
            minute(limits.requests_per_minute, limits.connections_per_user.max(limits.requests_per_minute))
        });
        self.passwords.set(even(limits.sign_ins_per_minute));
        self.rest_messages.set(even(limits.messages_per_minute));
        self.socket_messages.set(minute(limits.socket_messages_per_minute, limits.socket_messages_burst));
        let strangers = [
            limits.strangers_per_minute,
            limits.strangers_per_minute.saturating_mul(PLAIN),
            limits.sign_ins_per_minute,
            limits.refused_per_minute,
        ];
        for (table, number) in self.strangers.iter().zip(strangers) {
            table.set(even(number));
        }
        self.places.set(limits.connections_per_user);
        self.frames.set(limits.frames_per_second, limits.frames_burst);
    }

    /// Takes one request from a principal's budget.
    pub fn request(&self, principal: &Principal, now: Instant) -> Decision {
        self.requests.take(&owner(principal), now)
    }

    /// Takes one from an address's budget.
    pub fn stranger(&self, what: Stranger, address: IpAddr, now: Instant) -> Decision {
        self.strangers[what as usize].take(&home(address), now)
    }

    /// What [`Limits::stranger`] would say, without taking anything.
    pub fn look(&self, what: Stranger, address: IpAddr, now: Instant) -> Decision {
        self.strangers[what as usize].look(&home(address), now)
    }

    /// Takes one message from a user's budget for that way, or refuses: `rate_limited` with `details.retryAfter`
    /// (whole seconds).
    pub fn message(&self, principal: &Principal, via: Via) -> Result<(), Fault> {
        let decision = self.message_at(principal, via, Instant::now());
        decision.or_fault("messages", "too many messages")
    }

    /// The same at a given time.
    pub fn message_at(&self, principal: &Principal, via: Via, now: Instant) -> Decision {
        let table = match via {
            Via::Rest => &self.rest_messages,
            Via::Socket => &self.socket_messages,
        };
        table.take(&owner(principal), now)
    }

    /// Takes one try to change its own password from a user's budget, or refuses like [`Limits::message`].
    pub fn password(&self, principal: &Principal) -> Result<(), Fault> {
        let decision = self.passwords.take(&owner(principal), Instant::now());
        decision.or_fault("passwords", "too many tries to change the password")
    }

    /// What a socket is told when its frames are read no more for a while.
    pub fn too_many_frames(wait: Duration) -> Fault {
        metrics::counter!(telemetry::LIMITED, "budget" => "frames").increment(1);
        let details = serde_json::json!({ "retryAfter": whole_seconds(wait) });
        Fault::new(Code::RateLimited, "too many frames: the next ones are read later").with_details(details)
    }

    /// A place for one more socket of this user, held until the place is dropped.
    ///
    /// # Errors
    /// `rate_limited`, where the user has as many as one may have, or opens them too fast.
    pub fn connect(&self, principal: &Principal, now: Instant) -> Result<Option<Place>, Fault> {
        let place = self.places.take(principal)?;
        self.opened.take(&owner(principal), now).or_fault("connections", "sockets are opened too fast")?;
        Ok(place)
    }
}

impl Decision {
    /// Nothing where there is room, else the fault: `rate_limited` with `details.retryAfter` (whole seconds) and
    /// `details.limit`. Counts the refusal under `budget`.
    pub fn or_fault(self, budget: &'static str, sentence: &str) -> Result<(), Fault> {
        match self {
            Self::Off | Self::Allowed { .. } => Ok(()),
            Self::Refused { limit, retry_after } => {
                metrics::counter!(telemetry::LIMITED, "budget" => budget).increment(1);
                let seconds = whole_seconds(retry_after);
                let details = serde_json::json!({ "retryAfter": seconds, "limit": limit });
                let message = format!("{sentence}: try again in {seconds} s");
                Err(Fault::new(Code::RateLimited, message).with_details(details))
            }
        }
    }
}

/// Rounded up, and at least one: what a client is told to wait is enough.
pub fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    (time.as_secs() + more).max(1)
}

fn owner(principal: &Principal) -> (&str, &str) {
    (principal.organization.as_str(), principal.user.as_str())
}

/// What an address counts as: who has one address of an IPv6 /64 has all of them.
pub fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
