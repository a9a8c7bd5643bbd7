//! What may be changed while the hub runs, by a JSON merge patch. The changes are stored: they beat the file, and the
//! environment and flags beat them.
//!
//! Nothing is in here that runs anything, says who is let in by which secret, or decides where a credential is sent.

use std::collections::BTreeMap;

use figment::Figment;
use figment::value::{Dict, Value};
use serde_json::{Map, Value as Json, json};

use super::layers::{One, stacked};
use super::{Config, ConfigError, Loaded, checks};
use crate::error::{Code, Fault};

/// The settings that count at once; `*` is any agent that is configured. All others count from the next start.
const CHANGEABLE: [&str; 20] = [
    "agents.*.busy",
    "agents.*.model",
    "agents.*.provider",
    "approvals.grace_seconds",
    "approvals.timeout_seconds",
    "limits.connections_per_user",
    "limits.frames_burst",
    "limits.frames_per_second",
    "limits.messages_per_minute",
    "limits.queue_turns",
    "limits.refused_per_minute",
    "limits.requests_per_minute",
    "limits.sign_ins_per_minute",
    "limits.socket_messages_burst",
    "limits.socket_messages_per_minute",
    "limits.steps_per_turn",
    "limits.strangers_per_minute",
    "limits.wait_seconds",
    "log.level",
    "server.origins",
];

/// What no request changes, whoever sends it: beginnings of keys.
const NEVER: [&str; 13] = [
    "actions.",
    "auth.",
    "database.",
    "mcp.",
    "policies.",
    "providers.",
    "server.data",
    "server.listen",
    "server.public_url",
    "server.socketio_origins",
    "skills.",
    "tls.",
    "tools.",
];

/// Where a stored value came from, among the sources.
const STORED: &str = "stored";

/// The settings that were changed while the hub ran: keys such as `log.level`, each with its value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored(pub BTreeMap<String, Json>);

/// What a patch comes to.
#[derive(Debug)]
pub struct Patched {
    pub stored: Stored,
    pub loaded: Loaded,
    /// By key, what it asked for; `null` where the stored value goes.
    pub changed: Map<String, Json>,
}

/// What a file that was read again comes to.
#[derive(Debug)]
pub struct Adopted {
    pub loaded: Loaded,
    /// Keys of the file that count from now on, and those that count from the next start.
    pub now: Vec<String>,
    pub later: Vec<String>,
}

fn is_changeable(path: &str) -> bool {
    let keys: Vec<&str> = path.split('.').collect();
    CHANGEABLE.iter().any(|row| {
        let row: Vec<&str> = row.split('.').collect();
        row.len() == keys.len() && row.iter().zip(&keys).all(|(row, key)| row == key || *row == "*")
    })
}

/// What counts once the file is read again, but is changed there alone.
fn is_reloadable(path: &str) -> bool {
    ["routing.", "commands.", "context."].iter().any(|section| path.starts_with(section))
}

/// The rows of the table with the JSON Schema of each value; `*` stands for an agent's name.
pub fn changeable() -> Vec<(&'static str, Json)> {
    let defaults = super::layers::defaults().unwrap_or_default();
    let schema = |row: &'static str| {
        let kind = checks::template(&defaults, &row.replace('*', Config::DEFAULT_AGENT));
        let schema = match (row, kind) {
            ("log.level", _) => json!({ "enum": ["error", "warn", "info", "debug", "trace", null] }),
            ("agents.*.busy", _) => json!({ "enum": ["queue", "interrupt", "reject", null] }),
            ("agents.*.provider", _) => json!({ "enum": ["", "openai", "anthropic", "demo", null] }),
            (_, Some(Value::Num(..))) => json!({ "type": ["integer", "null"], "minimum": 0 }),
            (_, Some(Value::Array(..))) => json!({ "type": ["array", "null"], "items": { "type": "string" } }),
            _ => json!({ "type": ["string", "null"] }),
        };
        (row, schema)
    };
    CHANGEABLE.into_iter().map(schema).collect()
}

impl Loaded {
    /// The configuration with what is stored in its place.
    ///
    /// # Errors
    /// A sentence that names the setting that cannot be used.
    pub fn with(&self, stored: &Stored) -> Result<Self, ConfigError> {
        let one = |(path, value): (&String, &Json)| {
            let value = Value::serialize(value).map_err(|error| ConfigError(format!("{path}: {error}")))?;
            Ok(One { source: STORED.into(), path: path.clone(), value })
        };
        let between = stored.0.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let (config, layers) = self.restacked(&self.below, &between)?;
        Ok(Self { config, layers, ..self.clone() })
    }

    /// Prices stay those of the start: their file is read then.
    fn restacked(&self, below: &Figment, between: &[One]) -> Result<(Config, Figment), ConfigError> {
        let (mut config, layers) = stacked(below, between, &self.above)?;
        config.spending.table = self.config.spending.table.clone();
        Ok((config, layers))
    }

    /// The same without what can no longer be used, with a sentence about each that was left out.
    pub fn with_what_fits(&self, stored: Stored) -> (Self, Stored, Vec<String>) {
        let (mut loaded, mut kept, mut sentences) = (self.clone(), Stored::default(), Vec::new());
        for (path, value) in stored.0 {
            let mut more = kept.clone();
            more.0.insert(path.clone(), value.clone());
            let judged = self.setting(&path, &value).map_err(|fault| fault.message);
            match judged.and_then(|()| self.with(&more).map_err(|error| error.0)) {
                Ok(fits) => (loaded, kept) = (fits, more),
                Err(sentence) => sentences.push(sentence),
            }
        }
        (loaded, kept, sentences)
    }

    /// What `stored` becomes by a merge patch: an object of sections, in which `null` takes a stored value away.
    ///
    /// # Errors
    /// The first field that is wrong, with its name in `details.field`: then nothing is changed. `bad_request` where
    /// there is no such setting, or it is not changed over HTTP, or the value does not fit; `conflict` where the
    /// environment or a flag has set it.
    pub fn patched(&self, stored: &Stored, patch: &Map<String, Json>) -> Result<Patched, Fault> {
        let mut changed = Map::new();
        self.leaves(patch, "", &mut changed)?;
        let mut stored = stored.clone();
        for (path, value) in &changed {
            match value {
                Json::Null => stored.0.remove(path),
                value => stored.0.insert(path.clone(), value.clone()),
            };
        }
        let loaded = self.with(&stored).map_err(|ConfigError(sentence)| match sentence.split_once(": ") {
            Some((path, why)) if is_changeable(path) => Fault::field(path, why),
            _ => Fault::new(Code::BadRequest, sentence),
        })?;
        Ok(Patched { stored, loaded, changed })
    }

    fn leaves(&self, patch: &Map<String, Json>, prefix: &str, found: &mut Map<String, Json>) -> Result<(), Fault> {
        for (key, value) in patch {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            // A key with a dot would name something else than where it stands.
            let known = Some(&path).filter(|_| !key.contains('.')).and_then(|path| self.template(path));
            let Some(template) = known else { return Err(self.unknown(&path)) };
            match (template, value) {
                (Value::Dict(..), Json::Object(inner)) => self.leaves(inner, &path, found)?,
                (Value::Dict(..), _) => return Err(Fault::field(&path, "must be an object")),
                _ => {
                    self.setting(&path, value)?;
                    if !value.is_null() {
                        self.free(&path)?;
                    }
                    found.insert(path, value.clone());
                }
            }
        }
        Ok(())
    }

    fn template(&self, path: &str) -> Option<&Value> {
        let agent = path.strip_prefix("agents.").map(|rest| rest.split('.').next().unwrap_or_default());
        let there = agent.is_none_or(|agent| self.config.agents.contains_key(agent));
        checks::template(&self.defaults, path).filter(|_| there)
    }

    fn unknown(&self, path: &str) -> Fault {
        // A client's own text may be long.
        let path: String = path.chars().take(128).collect();
        match checks::nearest_key(&self.defaults, &path) {
            Some(key) => Fault::field(&path, format!("there is no such setting, did you mean {key}?")),
            None => Fault::field(&path, "there is no such setting"),
        }
    }

    /// Whether this setting may be given this value while the hub runs, apart from what the value means.
    fn setting(&self, path: &str, value: &Json) -> Result<(), Fault> {
        let Some(template) = self.template(path) else { return Err(self.unknown(path)) };
        if NEVER.iter().any(|never| path.starts_with(never)) || path.ends_with(".tools") {
            return Err(Fault::field(
                path,
                "is not changed while the hub runs: it says who is let in, what is run or where something is sent; \
                 it stands in the file",
            ));
        }
        if !is_changeable(path) {
            return Err(Fault::field(path, "counts from the next start: write it into the file"));
        }
        if value.is_null() {
            return Ok(());
        }
        let figment = Value::serialize(value).map_err(|error| Fault::field(path, error))?;
        checks::fits(template, &figment).map_err(|allowed| Fault::field(path, format!("must be {allowed}")))?;
        let providers = &self.config.providers;
        let missing = match value.as_str().filter(|_| path.ends_with(".provider")) {
            Some("openai") => !providers.openai.configured,
            Some("anthropic") => !providers.anthropic.configured,
            _ => false,
        };
        if missing {
            return Err(Fault::field(path, "that provider is not configured"));
        }
        Ok(())
    }

    /// What is stored would change nothing where the environment or a flag says something else.
    fn free(&self, path: &str) -> Result<(), Fault> {
        let Some(one) = self.above.iter().rev().find(|one| one.path == path) else { return Ok(()) };
        let message = format!("{path}: {} has set it, and beats what is stored", one.source);
        Err(Fault::new(Code::Conflict, message).with_details(json!({ "field": path })))
    }

    /// The keys that may be changed while the hub runs, with the agents' names written out.
    pub fn changeable(&self) -> Vec<String> {
        let agents = || self.config.agents.keys();
        let named = |row: &str| match row.split_once('*') {
            Some((before, after)) => agents().map(|agent| format!("{before}{agent}{after}")).collect(),
            None => vec![row.to_owned()],
        };
        CHANGEABLE.iter().flat_map(|row| named(row)).collect()
    }

    /// Of these keys, those that the environment or a flag has set, and which of them.
    pub fn pinned(&self) -> BTreeMap<String, String> {
        let pinned = self.above.iter().filter(|one| is_changeable(&one.path));
        pinned.map(|one| (one.path.clone(), one.source.clone())).collect()
    }

    /// This one, with what may be changed as `fresh` has it: the file read again, while the hub runs.
    ///
    /// # Errors
    /// A sentence that names the setting that cannot be used beside those that stay.
    pub fn adopting(&self, fresh: &Self) -> Result<Adopted, ConfigError> {
        let (mine, theirs) = (values(&self.below), values(&fresh.below));
        let mut later: Vec<String> = mine.keys().filter(|path| !theirs.contains_key(*path)).cloned().collect();
        let (mut below, mut now) = (self.below.clone(), Vec::new());
        for (path, value) in &theirs {
            if mine.get(path) == Some(value) {
                continue;
            }
            let counts = is_reloadable(path) || is_changeable(path) && mine.contains_key(path);
            if !counts {
                later.push(path.clone());
                continue;
            }
            let source = fresh.below.find_metadata(path).map_or_else(String::new, |m| m.name.to_string());
            below = below.merge(One { source, path: path.clone(), value: value.clone() });
            now.push(path.clone());
        }
        later.sort();
        let (config, layers) = self.restacked(&below, &[])?;
        Ok(Adopted { loaded: Self { config, layers, below, ..self.clone() }, now, later })
    }
}

/// Every value by its key.
fn values(layers: &Figment) -> BTreeMap<String, Value> {
    fn walk(dict: &Dict, prefix: &str, found: &mut BTreeMap<String, Value>) {
        for (key, value) in dict {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value.as_dict() {
                Some(inner) => walk(inner, &path, found),
                None => drop(found.insert(path, value.clone())),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&layers.extract::<Dict>().unwrap_or_default(), "", &mut found);
    found
}
