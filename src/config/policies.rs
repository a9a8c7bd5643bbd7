//! Ordered policies for tools, and what is set for tools one by one.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::checks::refuse;
use super::{Config, ConfigError};
use crate::domain::principal::Role;
use crate::domain::tool_call::ToolPolicy;
use crate::domain::tool_policy::{Glob, Pattern, Policy as Rule, Remembers, ToolBook, ToolSetting};

/// The policy of the defaults that the others are filled up from; it names no tool and therefore does not count.
pub(super) const TEMPLATE: &str = "example";

/// One policy. What each key means stands in `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Policy {
    pub order: u32,
    pub tools: Vec<String>,
    pub agents: Vec<String>,
    pub roles: Vec<String>,
    pub arguments: Vec<String>,
    #[serde(deserialize_with = "policy")]
    pub policy: ToolPolicy,
}

pub(super) fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ToolPolicy, D::Error> {
    let word = String::deserialize(deserializer)?;
    [ToolPolicy::Allow, ToolPolicy::Ask, ToolPolicy::Deny]
        .into_iter()
        .find(|p| p.name() == word)
        .ok_or_else(|| serde::de::Error::custom(format!("{word:?} is not one of allow, ask, deny")))
}

pub(super) fn maybe_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ToolPolicy>, D::Error> {
    policy(deserializer).map(Some)
}

/// Refuses what cannot be meant.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for (name, tool) in &config.tools {
        if !tool.remember.is_empty() && Remembers::parse(&tool.remember).is_none() {
            let known = Remembers::ALL.map(Remembers::name).join(", ");
            return refuse(format!("tools.{name}.remember: {:?} is not one of {known} (or empty)", tool.remember));
        }
        if tool.seconds > 86_400 {
            return refuse(format!("tools.{name}.seconds: {} is more than 86400", tool.seconds));
        }
    }
    if let Some(name) = config.policies.iter().find(|(_, p)| p.tools.is_empty()).map(|(name, _)| name) {
        return refuse(format!("policies.{name}.tools: names no tool; [\"*\"] means all"));
    }
    config.tool_book().map(drop)
}

impl Config {
    /// All that is said about tools, in the order in which it counts.
    ///
    /// # Errors
    /// A sentence that names the policy with a role or a pattern that is none.
    pub fn tool_book(&self) -> Result<Arc<ToolBook>, ConfigError> {
        let mut ordered: Vec<(&String, &Policy)> = self.policies.iter().collect();
        ordered.sort_by_key(|(name, policy)| (policy.order, *name));
        let policies = ordered.into_iter().map(rule).collect::<Result<Vec<Rule>, ConfigError>>()?;
        let setting = |tool: &super::Tool| ToolSetting {
            policy: tool.policy,
            time_limit: Some(tool.seconds).filter(|n| *n > 0).map(millis),
            output_bytes: Some(tool.output_bytes).filter(|n| *n > 0),
            remembers: Remembers::parse(&tool.remember),
        };
        Ok(Arc::new(ToolBook {
            policies,
            tools: self.tools.iter().map(|(name, tool)| (name.clone(), setting(tool))).collect(),
            time_limit: millis(self.limits.tool_seconds),
            output_bytes: self.limits.tool_output_bytes,
        }))
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn rule((name, policy): (&String, &Policy)) -> Result<Rule, ConfigError> {
    let role = |word: &String| {
        Role::parse(word).ok_or_else(|| {
            let known = "owner, admin, operator, member, viewer";
            ConfigError(format!("policies.{name}.roles: {word:?} is not one of {known}"))
        })
    };
    let pattern =
        |text: &String| Pattern::parse(text).map_err(|why| ConfigError(format!("policies.{name}.arguments: {why}")));
    let globs = |words: &[String]| words.iter().map(|word| Glob::new(word)).collect();
    Ok(Rule {
        name: name.clone(),
        tools: globs(&policy.tools),
        agents: globs(&policy.agents),
        roles: policy.roles.iter().map(role).collect::<Result<_, _>>()?,
        arguments: policy.arguments.iter().map(pattern).collect::<Result<_, _>>()?,
        policy: policy.policy,
    })
}
