//! Budgets: who may spend how much in a day, a week or a month, and the arithmetic of the books about it.
//!
//! Before a call of a model its worst case is *held* in the book of every budget that applies; when the call ends, what
//! it used takes the place of that. Used and held together never pass the limit, so that calls at the same time cannot
//! spend the same money. All sums are whole numbers: tokens, and millionths of a US dollar.

mod size;
#[cfg(test)]
mod tests;

use super::command::Period;
use super::ids::{OrganizationId, Timestamp, UserId};
use super::usage::Usage;
use crate::error::{Code, Fault};
pub use size::{Size, about, size, worst};

const DAY: i64 = 86_400_000;

/// The most that a book or a limit holds: sums of a few of them are still numbers that a database can keep.
pub const MOST: u64 = 1 << 60;

/// Tokens and money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micros: u64,
}

impl Amount {
    /// What was used; without a price it has cost nothing.
    pub fn of(usage: &Usage) -> Self {
        Self { tokens: usage.total(), micros: usage.cost.unwrap_or(0) }
    }

    pub fn plus(self, other: Self) -> Self {
        let add = |a: u64, b: u64| a.saturating_add(b).min(MOST);
        Self { tokens: add(self.tokens, other.tokens), micros: add(self.micros, other.micros) }
    }

    pub fn minus(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_sub(other.tokens), micros: self.micros.saturating_sub(other.micros) }
    }
}

/// Whose spending a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    Organization,
    User,
    Agent,
    Model,
}

impl Per {
    pub const ALL: [Self; 4] = [Self::Organization, Self::User, Self::Agent, Self::Model];

    pub fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Model => "model",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|per| per.name() == word)
    }
}

/// What may be spent at most; what is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    pub tokens: Option<u64>,
    /// Millionths of a US dollar.
    pub micros: Option<u64>,
}

/// A budget as configuration describes it. It holds within each organization by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub name: String,
    pub per: Per,
    /// The one it is for: an organization, user, agent, model or `provider/model`. Absent: each has its own.
    pub only: Option<String>,
    /// The organization it is for. Absent: every one.
    pub organization: Option<OrganizationId>,
    pub period: Period,
    pub limit: Limit,
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spender {
    pub organization: OrganizationId,
    pub user: UserId,
    pub agent: String,
    pub provider: String,
    pub model: String,
}

/// The book of one budget that a call counts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub budget: String,
    pub per: Per,
    /// The user, agent or `provider/model`; empty where it is the organization.
    pub subject: String,
    pub begins: Timestamp,
    pub renews: Timestamp,
    pub limit: Limit,
}

impl Budget {
    /// The book in which that spender's calls count at that time, if they count in this budget.
    pub fn account(&self, spender: &Spender, now: Timestamp) -> Option<Account> {
        if self.organization.as_ref().is_some_and(|only| *only != spender.organization) {
            return None;
        }
        let whole = format!("{}/{}", spender.provider, spender.model);
        let (who, subject) = match self.per {
            Per::Organization => (spender.organization.as_str(), String::new()),
            Per::User => (spender.user.as_str(), spender.user.to_string()),
            Per::Agent => (spender.agent.as_str(), spender.agent.clone()),
            Per::Model => (spender.model.as_str(), whole.clone()),
        };
        let named = |only: &String| only == who || (self.per == Per::Model && *only == whole);
        if !self.only.as_ref().is_none_or(named) {
            return None;
        }
        let (begins, renews) = span(self.period, now);
        Some(Account { budget: self.name.clone(), per: self.per, subject, begins, renews, limit: self.limit })
    }
}

/// The day, week (from Monday) or month in UTC that a moment lies in: its first moment, and that of the next one.
pub fn span(period: Period, now: Timestamp) -> (Timestamp, Timestamp) {
    use chrono::{Datelike, Days, Months};
    let today = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default().date_naive();
    let first = match period {
        Period::Day => Some(today),
        Period::Week => today.checked_sub_days(Days::new(today.weekday().num_days_from_monday().into())),
        Period::Month => today.with_day(1),
    };
    let next = first.and_then(|first| match period {
        Period::Day => first.succ_opt(),
        Period::Week => first.checked_add_days(Days::new(7)),
        Period::Month => first.checked_add_months(Months::new(1)),
    });
    let at = |date: chrono::NaiveDate| Timestamp(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
    // A calendar has an end; no clock of this world reaches it.
    let begins = first.map_or(now, at);
    (begins, next.map_or(begins.plus_millis(DAY), at))
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Tokens,
    /// Millionths of a US dollar.
    Micros,
}

impl Unit {
    /// As it is shown: money in US dollars.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Micros => "usd",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Tokens, Self::Micros].into_iter().find(|unit| unit.name() == word)
    }
}

/// Why a call may not be made: the budget that it does not fit into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub budget: String,
    pub unit: Unit,
    pub limit: u64,
    pub used: u64,
    /// What calls under way may still use.
    pub held: u64,
    /// What this call may use at most.
    pub asked: u64,
    pub renews: Timestamp,
}

impl Refusal {
    /// Whether there may be room again before the budget renews: as soon as calls under way have ended.
    pub fn passes(&self) -> bool {
        self.held > 0 && self.used.saturating_add(self.asked) <= self.limit
    }

    /// An amount as people read it: tokens, or US dollars.
    pub fn shown(&self, amount: u64) -> serde_json::Value {
        match self.unit {
            Unit::Tokens => amount.into(),
            Unit::Micros => (amount as f64 / 1e6).into(),
        }
    }

    /// `rate_limited`, with the budget, its numbers and when to come back; `now` is when it is said.
    pub fn fault(&self, now: Timestamp) -> Fault {
        let renews = self.renews.to_rfc3339();
        let (message, wait) = match self.passes() {
            true => (format!("the budget {} is held by calls under way; try again in a moment", self.budget), 1),
            false => {
                let wait = (self.renews.since(now).max(1) + 999) / 1000;
                (format!("the budget {} has no room for this; it renews at {renews}", self.budget), wait)
            }
        };
        let details = serde_json::json!({
            "budget": self.budget,
            "unit": self.unit.name(),
            "limit": self.shown(self.limit),
            "used": self.shown(self.used),
            "held": self.shown(self.held),
            "asked": self.shown(self.asked),
            "renewsAt": renews,
            "retryAfter": wait,
        });
        Fault::new(Code::RateLimited, message).with_details(details)
    }
}

/// What stands in the book of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Book {
    pub used: Amount,
    /// What calls under way may use at most.
    pub held: Amount,
}

impl Book {
    /// Whether there is room for `asked` beside all that was used and is held.
    pub fn room(&self, account: &Account, asked: Amount) -> Result<(), Refusal> {
        let units = [
            (Unit::Tokens, account.limit.tokens, self.used.tokens, self.held.tokens, asked.tokens),
            (Unit::Micros, account.limit.micros, self.used.micros, self.held.micros, asked.micros),
        ];
        for (unit, limit, used, held, asked) in units {
            let Some(limit) = limit else { continue };
            if used.saturating_add(held).saturating_add(asked) > limit {
                let (budget, renews) = (account.budget.clone(), account.renews);
                return Err(Refusal { budget, unit, limit, used, held, asked, renews });
            }
        }
        Ok(())
    }

    /// A call begins.
    pub fn hold(&mut self, asked: Amount) {
        self.held = self.held.plus(asked);
    }

    /// It has ended: what it used takes the place of what was held for it.
    pub fn settle(&mut self, held: Amount, used: Amount) {
        self.held = self.held.minus(held);
        self.used = self.used.plus(used);
    }
}
