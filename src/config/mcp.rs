//! MCP servers that agents' tools come from.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::checks::{is_name, refuse};
use super::{Config, ConfigError, safe_url};
use crate::domain::ids::OrganizationId;

/// The server of the defaults that the others are filled up from; it has neither command nor address.
pub(super) const TEMPLATE: &str = "example";

/// One server. What each key means stands in `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Mcp {
    pub command: Vec<String>,
    pub directory: PathBuf,
    pub environment_from: Vec<String>,
    /// May hold secrets.
    pub environment: Vec<SecretString>,
    pub kill_on_abort: bool,
    pub url: String,
    pub bearer: SecretString,
    pub organizations: Vec<String>,
    pub connect_seconds: u64,
}

impl Mcp {
    /// Whether it says how the server is reached.
    pub(super) fn is_named(&self) -> bool {
        !self.command.is_empty() || !self.url.is_empty()
    }

    /// All of the program's environment: what is passed on of the hub's own, and what is set.
    pub fn environment(&self) -> Vec<(String, SecretString)> {
        let passed =
            self.environment_from.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?.into())));
        let set = self.environment.iter().filter_map(|pair| {
            let (name, value) = pair.expose_secret().split_once('=')?;
            Some((name.to_owned(), value.into()))
        });
        passed.chain(set).collect()
    }

    /// How long connecting may take.
    pub fn connect_time(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }

    /// Empty: all.
    pub fn organizations(&self) -> Vec<OrganizationId> {
        self.organizations.iter().filter_map(|name| OrganizationId::parse(name).ok()).collect()
    }
}

/// Variables that make a program run something else: they are not passed on from the hub's own environment.
const DANGEROUS: [&str; 12] = [
    "BASH_ENV",
    "ENV",
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH_COMMAND",
    "IFS",
    "NODE_OPTIONS",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYOPT",
    "SHELLOPTS",
];

/// Refuses servers that cannot be reached, and environments that would give away or take over more than is meant.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for (name, server) in &config.mcp {
        one(name, server)?;
    }
    Ok(())
}

fn one(name: &str, server: &Mcp) -> Result<(), ConfigError> {
    if !is_name(name) || name.contains("__") || name.len() > 32 {
        return refuse(format!("mcp.{name}: a name is 1 to 32 letters, digits, _ and -, and no two _ in a row"));
    }
    match (server.command.is_empty(), server.url.is_empty()) {
        (false, false) => return refuse(format!("mcp.{name}: has a command and a url; which one counts?")),
        (true, true) => return refuse(format!("mcp.{name}: needs a command or a url")),
        (true, false) => {
            safe_url(&server.url).map_err(|why| ConfigError(format!("mcp.{name}.url: {:?} {why}", server.url)))?;
        }
        (false, true) if server.command[0].is_empty() => {
            return refuse(format!("mcp.{name}.command: the program has no name"));
        }
        (false, true) => {}
    }
    let taken = |variable: &&String| DANGEROUS.contains(&variable.as_str()) || variable.starts_with("LD_");
    if let Some(variable) = server.environment_from.iter().find(taken) {
        return refuse(format!("mcp.{name}.environment_from: {variable} would have the program run something else"));
    }
    let ours = |variable: &&String| {
        variable.starts_with("SWITCHBOARD_") || variable.ends_with("_API_KEY") || *variable == "AGENT_JWT_SECRET"
    };
    if let Some(variable) = server.environment_from.iter().find(ours) {
        return refuse(format!("mcp.{name}.environment_from: {variable} is the hub's own secret"));
    }
    let is_pair = |pair: &SecretString| pair.expose_secret().split_once('=').is_some_and(|(name, _)| !name.is_empty());
    if !server.environment.iter().all(is_pair) {
        return refuse(format!("mcp.{name}.environment: each is NAME=VALUE"));
    }
    if let Some(organization) = server.organizations.iter().find(|text| OrganizationId::parse(text).is_err()) {
        return refuse(format!("mcp.{name}.organizations: {organization:?} is not 1 to 200 bytes of printable text"));
    }
    match server.connect_seconds {
        1..=600 => Ok(()),
        other => refuse(format!("mcp.{name}.connect_seconds: {other} is not 1 to 600")),
    }
}
