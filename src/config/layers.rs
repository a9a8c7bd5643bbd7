//! Where settings come from: defaults, file, environment, flags, each over the one before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, ConfigError, DEFAULTS, acting, checks, identity, mcp, policies, routing, spending};

/// What the command line said about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
}

/// The configuration, what to say about its sources, and the layers themselves.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Sentences about variables that were ignored.
    pub warnings: Vec<String>,
    pub(super) defaults: Dict,
    /// All of them, for printing.
    pub(super) layers: Figment,
    /// Defaults and file: what is stored beats these ...
    pub(super) below: Figment,
    /// ... and is beaten by the environment and by flags.
    pub(super) above: Vec<One>,
    pub(super) flags: Flags,
}

impl Loaded {
    /// Reads all layers once more, with the same flags.
    pub fn again(&self) -> Result<Self, ConfigError> {
        load(&self.flags, environment())
    }
}

/// The process's own variables. One that is no text cannot be one of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

/// Environment variables with a name of their own.
const NAMED: [(&str, &str); 12] = [
    ("SWITCHBOARD_DATA", "server.data"),
    ("SWITCHBOARD_LISTEN", "server.listen"),
    ("SWITCHBOARD_DATABASE_URL", "database.url"),
    ("SWITCHBOARD_JWT_SECRET", "auth.jwt_secret"),
    ("AGENT_JWT_SECRET", "auth.agent_jwt_secret"),
    ("GATEWAY_CORS_ORIGIN", "server.socketio_origins"),
    ("OPENAI_API_KEY", "providers.openai.api_key"),
    ("OPENAI_BASE_URL", "providers.openai.base_url"),
    ("OPENAI_MODEL", "providers.openai.model"),
    ("ANTHROPIC_API_KEY", "providers.anthropic.api_key"),
    ("ANTHROPIC_BASE_URL", "providers.anthropic.base_url"),
    ("ANTHROPIC_MODEL", "providers.anthropic.model"),
];

/// The name of the configuration file that is read from the data folder when no other is named.
const FILE: &str = "switchboard.toml";

/// One value with the name of where it was set.
#[derive(Debug, Clone)]
pub(super) struct One {
    pub source: String,
    pub path: String,
    pub value: Value,
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut keys = self.path.rsplit('.');
        let mut dict = Dict::new();
        if let Some(last) = keys.next() {
            dict.insert(last.to_owned(), self.value.clone());
        }
        for key in keys {
            dict = Dict::from([(key.to_owned(), Value::from(dict))]);
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// A whole file, under its path.
struct File {
    source: String,
    dict: Dict,
}

impl Provider for File {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

pub(super) fn parse(text: &str, source: &str) -> Result<Dict, ConfigError> {
    toml::from_str(text).map_err(|error| {
        // Where and why, and nothing of the text: the line at fault may hold a secret.
        let why = error.message().trim().replace('\n', ", ");
        let place = error.span().and_then(|span| text.get(..span.start)).map_or_else(String::new, |before| {
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!(" at line {}, column {column}", before.matches('\n').count() + 1)
        });
        ConfigError(format!("{source} cannot be read{place}: {why}"))
    })
}

/// All keys with their defaults.
pub(super) fn defaults() -> Result<Dict, ConfigError> {
    parse(DEFAULTS, "the default configuration")
}

/// Reads all layers. `environment` is the process's own, or a test's.
pub fn load(flags: &Flags, environment: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let defaults = defaults()?;
    let mut warnings = Vec::new();
    let mut layers = Vec::new();

    let (variables, ignored) = from_environment(&defaults, &environment)?;
    warnings.extend(ignored);
    let mut flagged = Vec::new();
    if let Some(data) = &flags.data {
        let value = Value::from(data.to_string_lossy().as_ref());
        flagged.push(One { source: "--data".into(), path: "server.data".into(), value });
    }
    if let Some(listen) = &flags.listen {
        flagged.push(One { source: "--listen".into(), path: "server.listen".into(), value: Value::from(&**listen) });
    }

    let over: Figment = variables.iter().chain(&flagged).fold(default_layer(&defaults), Figment::merge);
    let data: String = over.extract_inner("server.data").map_err(|error| sentence(&error))?;
    if let Some((source, dict)) = read_file(flags.config.as_deref(), Path::new(&data))? {
        checks::known_keys(&defaults, &dict, &source)?;
        layers.push(File { source, dict });
    }

    let mut figment = default_layer(&defaults);
    for agent in named_in("agents", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "agents", Config::DEFAULT_AGENT, &agent));
    }
    for issuer in named_in("auth.issuers", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "auth.issuers", identity::TEMPLATE, &issuer));
    }
    for budget in named_in("budgets", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "budgets", spending::TEMPLATE, &budget));
    }
    for command in named_in("commands", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "commands", routing::TEMPLATE, &command));
    }
    for action in named_in("actions", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "actions", acting::TEMPLATE, &action));
    }
    for tool in named_in("tools", layers.iter().map(|f| &f.dict), &variables) {
        if !acting::BUILT_IN.contains(&tool.as_str()) {
            figment = figment.join(template(&defaults, "tools", acting::TEMPLATE, &tool));
        }
    }
    for server in named_in("mcp", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "mcp", mcp::TEMPLATE, &server));
    }
    for policy in named_in("policies", layers.iter().map(|f| &f.dict), &variables) {
        figment = figment.join(template(&defaults, "policies", policies::TEMPLATE, &policy));
    }
    let below = layers.into_iter().fold(figment, Figment::merge);
    let above: Vec<One> = variables.into_iter().chain(flagged).collect();
    let (mut config, layers) = stacked(&below, &[], &above)?;
    if !config.spending.prices.is_empty() {
        config.spending.table = spending::read(&config.spending.prices)?;
    }
    Ok(Loaded { config, warnings, defaults, layers, below, above, flags: flags.clone() })
}

/// The layers on each other, and what they say together.
pub(super) fn stacked(below: &Figment, between: &[One], above: &[One]) -> Result<(Config, Figment), ConfigError> {
    let figment = between.iter().chain(above).fold(below.clone(), Figment::merge);
    let mut config: Config = figment.extract().map_err(|error| sentence(&error))?;
    config.providers.openai.configured = was_set(&figment, "openai");
    config.providers.anthropic.configured = was_set(&figment, "anthropic");
    if config.auth.issuers.get(identity::TEMPLATE).is_some_and(|issuer| issuer.issuer.is_empty()) {
        config.auth.issuers.remove(identity::TEMPLATE);
    }
    if config.budgets.get(spending::TEMPLATE).is_some_and(|budget| !budget.has_limit()) {
        config.budgets.remove(spending::TEMPLATE);
    }
    routing::without_template(&mut config.commands);
    if config.tools.get(acting::TEMPLATE).is_some_and(|tool| !tool.is_http()) {
        config.tools.remove(acting::TEMPLATE);
    }
    if config.actions.get(acting::TEMPLATE).is_some_and(acting::Action::is_template) {
        config.actions.remove(acting::TEMPLATE);
    }
    config.mcp.retain(|name, server| name != mcp::TEMPLATE || server.is_named());
    // One that names no tool says nothing.
    config.policies.retain(|name, policy| name != policies::TEMPLATE || !policy.tools.is_empty());
    checks::values(&config)?;
    Ok((config, figment))
}

fn default_layer(defaults: &Dict) -> Figment {
    Figment::from(File { source: "default".into(), dict: defaults.clone() })
}

/// A provider counts as configured when any of its keys was set: a key, or a server that needs none.
fn was_set(figment: &Figment, provider: &str) -> bool {
    ["api_key", "base_url", "model"].iter().any(|key| {
        let path = format!("providers.{provider}.{key}");
        let filled = figment.extract_inner::<String>(&path).is_ok_and(|text| !text.is_empty());
        filled && figment.find_metadata(&path).is_some_and(|m| m.name != "default")
    })
}

/// The file named, which must exist; else the one in the data folder, where there is one.
fn read_file(named: Option<&Path>, data: &Path) -> Result<Option<(String, Dict)>, ConfigError> {
    let path = named.map_or_else(|| data.join(FILE), Path::to_path_buf);
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let source = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &source).map(|dict| Some((source, dict))),
        // A data folder that is none is said where it is made.
        Err(error) if named.is_none() && matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(ConfigError(format!("the configuration file {source} cannot be read: {error}"))),
    }
}

/// Variables that set a key, and sentences about those with the hub's prefix that set none.
fn from_environment(
    defaults: &Dict,
    environment: &BTreeMap<String, String>,
) -> Result<(Vec<One>, Vec<String>), ConfigError> {
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix("SWITCHBOARD_") else { continue };
        if cfg!(feature = "failpoints") && rest == "FAILPOINTS" {
            continue;
        }
        if NAMED.iter().any(|(special, _)| special == name) {
            continue;
        }
        let path = rest.to_ascii_lowercase().replace("__", ".");
        match checks::template(defaults, &path) {
            Some(template) if rest.contains("__") && !matches!(template, Value::Dict(..)) => {
                let value = checks::typed(template, text)
                    .map_err(|allowed| ConfigError(format!("{name}: {text:?} is not {allowed}")))?;
                found.push(One { source: name.clone(), path, value });
            }
            _ => warnings.push(format!(
                "the environment variable {name} was ignored: the hub has no such setting{}",
                checks::nearest_key(defaults, &path)
                    .map(|key| format!(" (did you mean SWITCHBOARD_{}?)", key.to_uppercase().replace('.', "__")))
                    .unwrap_or_default()
            )),
        }
    }
    // An empty variable is how compose files write "not set".
    for (name, path) in NAMED {
        if let Some(text) = environment.get(name).filter(|text| !text.is_empty()) {
            found.push(One { source: name.into(), path: path.into(), value: Value::from(text.as_str()) });
        }
    }
    Ok((found, warnings))
}

/// The names of the members of a section that files and variables mention.
fn named_in<'a>(section: &str, files: impl Iterator<Item = &'a Dict>, variables: &[One]) -> Vec<String> {
    let within = |dict: &'a Dict| {
        let mut dict = dict;
        for key in section.split('.') {
            dict = dict.get(key)?.as_dict()?;
        }
        Some(dict)
    };
    let mut names: Vec<String> = files
        .filter_map(within)
        .flat_map(|members| members.keys().cloned())
        .chain(variables.iter().filter_map(|one| {
            let rest = one.path.strip_prefix(section)?.strip_prefix('.')?;
            Some(rest.split('.').next()?.to_owned())
        }))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// What a member of a section leaves out is as the one in the defaults has it.
fn template(defaults: &Dict, section: &str, model: &str, name: &str) -> File {
    let model = checks::template(defaults, &format!("{section}.{model}")).cloned();
    let mut dict = Dict::from([(name.to_owned(), model.unwrap_or_else(|| Value::from(Dict::new())))]);
    for key in section.rsplit('.') {
        dict = Dict::from([(key.to_owned(), Value::from(dict))]);
    }
    File { source: "default".into(), dict }
}

/// What figment could not turn into a value, as a sentence.
fn sentence(error: &figment::Error) -> ConfigError {
    let source = error.metadata.as_ref().map_or_else(String::new, |m| format!(" (set by {})", m.name));
    ConfigError(format!("{}: {}{source}", error.path.join("."), error.kind))
}
