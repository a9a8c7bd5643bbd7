//! Routing, context and slash commands as they are written down.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use serde::Deserialize;

use super::checks::{is_name, refuse};
use super::{Config, ConfigError};
use crate::domain::routing::{self as domain, ContextRules, Rule, Target};
use crate::domain::slash::{self, Template};

/// The command in the defaults, which others take from what they leave out. It is there once it has a prompt.
pub(super) const TEMPLATE: &str = "example";
/// The key whose value is a list of tables.
pub(super) const RULES: &str = "routing.rules";
/// The longest pattern, in bytes, and the most entries of a list.
const PATTERN: usize = 256;
const ENTRIES: usize = 100;

#[derive(Debug, Clone, Deserialize)]
pub struct Routing {
    pub rules: Vec<RoutingRule>,
    pub fallback: Vec<String>,
}

/// What is left out is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingRule {
    pub name: String,
    pub contains: Vec<String>,
    pub glob: Vec<String>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub attachments: Option<bool>,
    pub agents: Vec<String>,
    pub users: Vec<String>,
    pub organizations: Vec<String>,
    pub tags: Vec<String>,
    pub provider: String,
    /// Empty: the provider's own.
    pub model: String,
    pub reason: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Context {
    pub fill_percent: u64,
    pub keep_percent: u64,
    pub summary_tokens: u32,
}

/// A slash command that sends a prompt.
#[derive(Debug, Clone, Deserialize)]
pub struct Command {
    pub prompt: String,
    pub description: String,
    pub aliases: Vec<String>,
}

/// Whether a file's value is a list of tables.
pub(super) fn is_tables(value: &Value) -> bool {
    matches!(value, Value::Array(_, items) if items.iter().all(|item| matches!(item, Value::Dict(..))))
}

/// The command that only shows what others may leave out.
pub(super) fn without_template(commands: &mut BTreeMap<String, Command>) {
    if commands.get(TEMPLATE).is_some_and(|command| command.prompt.is_empty()) {
        commands.remove(TEMPLATE);
    }
}

/// The default value of a command's key.
pub(super) fn find_command<'a>(defaults: &'a Dict, rest: &[&str]) -> Option<&'a Value> {
    let mut value = defaults.get("commands")?.as_dict()?.get(TEMPLATE)?;
    for key in rest {
        value = value.as_dict()?.get(*key)?;
    }
    Some(value)
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    config.routing_rules()?;
    let context = &config.context;
    for (key, value, least, most) in [
        ("context.fill_percent", context.fill_percent, 0, 100),
        ("context.keep_percent", context.keep_percent, 0, 90),
        ("context.summary_tokens", context.summary_tokens.into(), 16, 1_000_000),
    ] {
        if !(least..=most).contains(&value) {
            return refuse(format!("{key}: {value} is not between {least} and {most}"));
        }
    }
    commands(config)?;
    agents(config)
}

fn commands(config: &Config) -> Result<(), ConfigError> {
    let mut seen = BTreeMap::new();
    for (name, command) in &config.commands {
        if command.prompt.is_empty() {
            return refuse(format!("commands.{name}.prompt must be set: it is what is sent"));
        }
        for word in std::iter::once(name).chain(&command.aliases) {
            if !is_name(word) || *word != word.to_lowercase() {
                return refuse(format!("commands.{name}: {word:?} is not 1 to 64 small letters, digits, _ and -"));
            }
            if slash::is_taken(word) {
                return refuse(format!("commands.{name}: every hub has a command {word}"));
            }
            if let Some(other) = seen.insert(word.clone(), name) {
                return refuse(format!("commands.{name}: {word:?} is commands.{other} already"));
            }
        }
    }
    Ok(())
}

fn agents(config: &Config) -> Result<(), ConfigError> {
    for (name, agent) in &config.agents {
        let key = |key: &str| format!("agents.{name}.{key}");
        if !(1..=60).contains(&agent.context_seconds) {
            return refuse(format!("{}: {} is not between 1 and 60", key("context_seconds"), agent.context_seconds));
        }
        if agent.entity_types.len() > ENTRIES || agent.suggested_prompts.len() > ENTRIES {
            return refuse(format!("agents.{name}: entity_types and suggested_prompts have {ENTRIES} entries at most"));
        }
        if agent.context_url.is_empty() {
            continue;
        }
        let bare = agent.context_url.replace("{{", "").replace("}}", "");
        let fits = url::Url::parse(&bare).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let host = agent.context_url.split(['?', '#']).next().unwrap_or_default();
        let host = host.split('/').nth(2).unwrap_or_default();
        if !fits || host.contains("{{") {
            return refuse(format!(
                "{}: not an address that begins with http:// or https:// and names its host",
                key("context_url")
            ));
        }
    }
    Ok(())
}

impl Config {
    /// Rules and fallbacks as the hub uses them.
    ///
    /// # Errors
    /// A sentence that names the rule that makes no sense.
    pub fn routing_rules(&self) -> Result<domain::Routing, ConfigError> {
        if self.routing.rules.len() > ENTRIES * 10 {
            return refuse(format!("{RULES}: at most {} rules", ENTRIES * 10));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for (index, rule) in self.routing.rules.iter().enumerate() {
            let place = if rule.name.is_empty() { (index + 1).to_string() } else { format!("{:?}", rule.name) };
            let made = self.rule(rule).or_else(|why| refuse(format!("{RULES} {place}: {why}")))?;
            if rules.iter().any(|other| other.name == made.name) {
                return refuse(format!("{RULES} {place}: another rule has that name"));
            }
            rules.push(made);
        }
        let fallback = self.routing.fallback.iter().map(|text| {
            let (provider, model) = text.split_once('/').unwrap_or((text, ""));
            self.target(provider, model).or_else(|why| refuse(format!("routing.fallback: {why}")))
        });
        let fallback = fallback.collect::<Result<_, _>>()?;
        Ok(domain::Routing { rules, fallback })
    }

    fn rule(&self, rule: &RoutingRule) -> Result<Rule, String> {
        if rule.name.is_empty() || rule.name.len() > 64 || rule.name == domain::FALLBACK {
            return Err("name must be 1 to 64 bytes and not \"fallback\"".to_owned());
        }
        let lists = [
            ("contains", &rule.contains),
            ("glob", &rule.glob),
            ("agents", &rule.agents),
            ("users", &rule.users),
            ("organizations", &rule.organizations),
            ("tags", &rule.tags),
        ];
        for (key, list) in lists {
            if list.len() > ENTRIES || list.iter().any(|entry| entry.is_empty() || entry.len() > PATTERN) {
                return Err(format!("{key} has at most {ENTRIES} entries of 1 to {PATTERN} bytes"));
            }
        }
        if let Some(agent) = rule.agents.iter().find(|agent| !self.agents.contains_key(*agent)) {
            return Err(format!("there is no agent {agent:?}"));
        }
        if rule.min_length.zip(rule.max_length).is_some_and(|(least, most)| least > most) {
            return Err("min_length is more than max_length".to_owned());
        }
        Ok(Rule {
            name: rule.name.clone(),
            contains: rule.contains.clone(),
            glob: rule.glob.clone(),
            at_least: rule.min_length,
            at_most: rule.max_length,
            attachments: rule.attachments,
            agents: rule.agents.clone(),
            users: rule.users.clone(),
            organizations: rule.organizations.clone(),
            tags: rule.tags.clone(),
            target: self.target(&rule.provider, &rule.model)?,
            reason: rule.reason.clone(),
        })
    }

    fn target(&self, provider: &str, model: &str) -> Result<Target, String> {
        let own = match provider {
            "openai" if self.providers.openai.configured => &self.providers.openai.model,
            "anthropic" if self.providers.anthropic.configured => &self.providers.anthropic.model,
            "demo" => "demo",
            "openai" | "anthropic" => return Err(format!("the provider {provider} is not configured")),
            other => return Err(format!("{other:?} is not one of openai, anthropic, demo")),
        };
        let model = if model.is_empty() { own } else { model };
        Ok(Target { provider: provider.to_owned(), model: model.to_owned() })
    }

    pub fn context_rules(&self) -> ContextRules {
        let Context { fill_percent, keep_percent, summary_tokens } = self.context;
        ContextRules { fill_percent, keep_percent, summary_tokens }
    }

    pub fn templates(&self) -> Vec<Template> {
        let template = |(name, command): (&String, &Command)| Template {
            name: name.clone(),
            description: command.description.clone(),
            aliases: command.aliases.clone(),
            prompt: command.prompt.clone(),
        };
        self.commands.iter().map(template).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks;
    use super::super::layers::{defaults, parse};

    /// What is wrong with a file of that text, if anything.
    fn wrong(text: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.toml");
        std::fs::write(&path, text).expect("written");
        let flags = super::super::Flags {
            config: Some(path.clone()),
            data: Some(folder.path().into()),
            ..super::super::Flags::default()
        };
        super::super::load(&flags, []).err().map(|error| error.0.replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn rules_are_a_list_of_tables() {
        let fine = "[[routing.rules]]\nname = \"a\"\nprovider = \"demo\"\n[[routing.rules]]\nname = \"b\"\n\
                    contains = [\"x\"]\nprovider = \"demo\"\nmodel = \"m\"\n[routing]\n";
        assert_eq!(wrong(fine.trim_end_matches("[routing]\n")), None);
        for (text, sentence) in [
            ("[routing]\nrules = [\"a\"]\n", "FILE: routing.rules must be a list of tables"),
            ("[[routing.rules]]\nprovider = \"demo\"\n", "routing.rules 1: name must be"),
            ("[[routing.rules]]\nname = \"a\"\n", "routing.rules \"a\": \"\" is not one of openai"),
            (
                "[[routing.rules]]\nname = \"a\"\nprovider = \"openai\"\n",
                "routing.rules \"a\": the provider openai is not configured",
            ),
            ("[[routing.rules]]\nname = \"a\"\nprovider = \"demo\"\ncontain = []\n", "contain"),
            ("[[routing.rules]]\nname = \"a\"\nprovider = \"demo\"\nagents = [\"x\"]\n", "there is no agent \"x\""),
            ("[routing]\nfallback = [\"nobody/x\"]\n", "routing.fallback: \"nobody\" is not one of"),
        ] {
            let found = wrong(text).unwrap_or_default();
            assert!(found.contains(sentence), "{text}: {found}");
        }
    }

    #[test]
    fn commands_have_names_of_their_own() {
        assert_eq!(wrong("[commands.review]\nprompt = \"look at {{args}}\"\naliases = [\"rv\"]\n"), None);
        for (text, sentence) in [
            ("[commands.stop]\nprompt = \"x\"\n", "every hub has a command stop"),
            ("[commands.aa]\nprompt = \"x\"\naliases = [\"m\"]\n", "every hub has a command m"),
            ("[commands.aa]\ndescription = \"x\"\n", "commands.aa.prompt must be set"),
            (
                "[commands.aa]\nprompt = \"x\"\naliases = [\"bb\"]\n[commands.bb]\nprompt = \"x\"\n",
                "is commands.aa already",
            ),
            ("[commands.A]\nprompt = \"x\"\n", "small letters"),
            ("[agents.assistant]\ncontext_url = \"http://{{user}}/x\"\n", "names its host"),
            ("[agents.assistant]\ncontext_url = \"file:///etc/passwd\"\n", "names its host"),
            ("[context]\nfill_percent = 101\n", "context.fill_percent: 101 is not between 0 and 100"),
        ] {
            let found = wrong(text).unwrap_or_default();
            assert!(found.contains(sentence), "{text}: {found}");
        }
    }

    #[test]
    fn a_list_of_tables_is_checked_as_one() {
        let all = defaults().expect("the defaults");
        let file = parse("[[routing.rules]]\nname = \"a\"\n", "f").expect("a file");
        assert_eq!(checks::known_keys(&all, &file, "f"), Ok(()));
    }
}
