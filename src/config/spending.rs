//! Prices and budgets as they are written down: decimals become whole millionths here, and never anything else.

use std::collections::BTreeMap;

use figment::value::{Dict, Num, Value};
use serde::Deserialize;

use super::checks::{is_name, refuse};
use super::{Config, ConfigError, layers};
use crate::domain::command::Period;
use crate::domain::generation::{Model, Price, ThinkingLevel};
use crate::domain::ids::OrganizationId;
use crate::domain::spending::{Budget as Rule, Limit, MOST, Per};

/// The budget in the defaults, which others take from what they leave out. It counts once it has a limit.
pub(super) const TEMPLATE: &str = "example";

/// The context window of a model whose price is known and nothing else.
const ASSUMED_WINDOW: u32 = 128_000;

/// Models by provider.
pub type Prices = BTreeMap<String, Vec<Model>>;

#[derive(Debug, Clone, Deserialize)]
pub struct Spending {
    /// A file; empty: no price is known.
    pub prices: String,
    pub answer_tokens: u32,
    pub refuse_unpriced: bool,
    /// What stands in that file.
    #[serde(skip)]
    pub table: Prices,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Budget {
    pub per: String,
    pub only: String,
    pub organization: String,
    pub period: String,
    /// A decimal; empty: money is not limited.
    pub usd: String,
    /// 0: tokens are not limited.
    pub tokens: u64,
}

impl Budget {
    pub(super) fn has_limit(&self) -> bool {
        !self.usd.is_empty() || self.tokens > 0
    }

    fn rule(&self, name: &str) -> Result<Rule, ConfigError> {
        let key = |key: &str| format!("budgets.{name}.{key}");
        if !is_name(name) {
            return refuse(format!("budgets.{name}: a name is 1 to 64 letters, digits, _ and -"));
        }
        if !self.has_limit() {
            return refuse(format!("{} or {} must be set: it is the limit", key("usd"), key("tokens")));
        }
        let Some(per) = Per::parse(&self.per) else {
            return refuse(format!("{}: {:?} is not one of organization, user, agent, model", key("per"), self.per));
        };
        let period = match self.period.as_str() {
            "day" => Period::Day,
            "week" => Period::Week,
            "month" => Period::Month,
            other => return refuse(format!("{}: {other:?} is not one of day, week, month", key("period"))),
        };
        let organization = match self.organization.as_str() {
            "" => None,
            name => Some(OrganizationId::parse(name).or_else(|_| {
                refuse(format!("{}: {name:?} is not 1 to 200 bytes of printable text", key("organization")))
            })?),
        };
        let micros = match self.usd.as_str() {
            "" => None,
            text => Some(micros(text).map_or_else(|why| refuse(format!("{}: {text:?} {why}", key("usd"))), Ok)?),
        };
        let limit = Limit { tokens: Some(self.tokens.min(MOST)).filter(|tokens| *tokens > 0), micros };
        let only = Some(self.only.clone()).filter(|only| !only.is_empty());
        Ok(Rule { name: name.to_owned(), per, only, organization, period, limit })
    }
}

/// US dollars as people write them, in millionths.
fn micros(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "is not an amount of US dollars such as \"12.50\"";
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || text.ends_with('.') {
        return Err(WRONG);
    }
    if part.len() > 6 {
        return Err("has more than six digits behind the point");
    }
    let number = format!("{whole}{part:0<6}").parse::<u64>().ok();
    number.filter(|micros| *micros <= MOST).ok_or("is more than there is")
}

impl Config {
    /// The budgets, in the order of their names.
    pub fn budget_rules(&self) -> Result<Vec<Rule>, ConfigError> {
        self.budgets.iter().map(|(name, budget)| budget.rule(name)).collect()
    }
}

/// Reads a price table: a section for each provider, in it one for each model.
pub(super) fn read(path: &str) -> Result<Prices, ConfigError> {
    let text = std::fs::read_to_string(path)
        .or_else(|error| refuse(format!("spending.prices: {path} cannot be read: {error}")))?;
    let mut table = Prices::new();
    for (provider, models) in layers::parse(&text, path)? {
        if !["openai", "anthropic"].contains(&provider.as_str()) {
            return refuse(format!("{path}: {provider:?} is not one of openai, anthropic"));
        }
        let Value::Dict(_, models) = models else {
            return refuse(format!("{path}: {provider} must be a section"));
        };
        let known = models.into_iter().map(|(id, row)| match row {
            Value::Dict(_, row) => model(&id, &row).map_err(|why| ConfigError(format!("{path}: {provider}.{id}{why}"))),
            _ => refuse(format!("{path}: {provider}.{id} must be a section; names with a point stand in quotes")),
        });
        let known = known.collect::<Result<_, _>>()?;
        table.insert(provider, known);
    }
    Ok(table)
}

fn model(id: &str, row: &Dict) -> Result<Model, String> {
    const MONEY: [&str; 4] = ["input", "output", "cached_input", "cache_write"];
    const SIZES: [&str; 2] = ["max_output", "context_window"];
    if let Some(key) = row.keys().find(|key| !MONEY.contains(&key.as_str()) && !SIZES.contains(&key.as_str())) {
        let all = [MONEY.as_slice(), SIZES.as_slice()].concat().join(", ");
        return Err(format!(".{key}: there is no such key; there are {all}"));
    }
    let money = |key: &str| row.get(key).map(|value| price(value).map_err(|why| format!(".{key} {why}"))).transpose();
    let needed = |key: &str| money(key)?.ok_or_else(|| format!(".{key} must be set"));
    let size = |key: &str| {
        let number = |value: &Value| match value {
            Value::Num(_, number) => number.to_u128_lossy().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
            _ => None,
        };
        row.get(key).map(|value| number(value).ok_or_else(|| format!(".{key} must be a whole number"))).transpose()
    };
    let input = needed("input")?;
    Ok(Model {
        id: id.to_owned(),
        context_window: size("context_window")?.unwrap_or(ASSUMED_WINDOW),
        max_output: size("max_output")?,
        thinking: ThinkingLevel::ALL.to_vec(),
        price: Some(Price {
            input,
            output: needed("output")?,
            // What nobody gave a price of its own costs as much as what is new.
            cache_read: money("cached_input")?.unwrap_or(input),
            cache_write: money("cache_write")?.unwrap_or(input),
        }),
    })
}

/// A price may be written as a text or as a number: the shortest way to write a number is what was meant.
fn price(value: &Value) -> Result<u64, &'static str> {
    match value {
        Value::String(_, text) => micros(text),
        Value::Num(_, number) => match number.to_u128_lossy() {
            Some(whole) if !matches!(number, Num::F32(_) | Num::F64(_)) => micros(&whole.to_string()),
            _ => micros(&number.to_f64().map(|fraction| fraction.to_string()).unwrap_or_default()),
        },
        _ => Err("is not an amount of US dollars such as 0.15"),
    }
}

/// Refuses budgets that say nothing, or something else than was meant.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    config.budget_rules()?;
    let tokens = config.spending.answer_tokens;
    if !(1..=1_000_000).contains(&tokens) {
        return refuse(format!("spending.answer_tokens: {tokens} is not between 1 and 1000000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_to_the_millionth() {
        for (text, value) in [
            ("0", 0),
            ("5", 5_000_000),
            ("0.15", 150_000),
            ("12.50", 12_500_000),
            ("0.000001", 1),
            ("007.1", 7_100_000),
        ] {
            assert_eq!(micros(text), Ok(value), "{text}");
        }
        for bad in [
            "",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000001",
            "$5",
            "1152921504606.846977",
            "9".repeat(30).as_str(),
        ] {
            assert!(micros(bad).is_err(), "{bad}");
        }
        for (number, value) in
            [(Value::from(0.15), 150_000), (Value::from(0.1 + 0.025), 125_000), (Value::from(3), 3_000_000)]
        {
            assert_eq!(price(&number), Ok(value));
        }
        for bad in
            [Value::from(0.1 + 0.2), Value::from(-1.0), Value::from(f64::NAN), Value::from(true), Value::from(1e-7)]
        {
            assert!(price(&bad).is_err(), "{bad:?}");
        }
    }
}
