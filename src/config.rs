//! What can be set, where it came from, and whether it makes sense. The defaults stand in `config.default.toml` alone.

mod acting;
mod checks;
mod identity;
mod layers;
mod live;
mod mcp;
mod policies;
mod print;
mod routing;
mod runtime;
mod spending;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::domain::channel::{ChannelKind, ChannelKinds};
use crate::domain::tool_call::ToolPolicy;

pub use acting::{Action, Request, Skills};
pub use identity::{is_url, safe_url};
pub use layers::{Flags, Loaded, environment, load};
pub use live::Live;
pub use mcp::Mcp;
pub use policies::Policy;
pub use print::print;
pub use routing::{Command, Context, Routing, RoutingRule};
pub use runtime::{Adopted, Patched, Stored, changeable};
pub use spending::{Budget, Prices, Spending};

/// All defaults, every key commented: what `config.default.toml` says.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// A setting that cannot be used: a sentence that names the key, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The effective configuration, a struct for each folder. What each key means stands in `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub server: Server,
    pub tls: Tls,
    pub limits: Limits,
    pub channels: Channels,
    pub approvals: Approvals,
    pub auth: Auth,
    pub pairing: Pairing,
    pub database: Database,
    pub providers: Providers,
    pub spending: Spending,
    pub budgets: BTreeMap<String, Budget>,
    pub agents: BTreeMap<String, Agent>,
    pub tools: BTreeMap<String, Tool>,
    pub actions: BTreeMap<String, Action>,
    pub skills: Skills,
    pub routing: Routing,
    pub context: Context,
    pub commands: BTreeMap<String, Command>,
    pub policies: BTreeMap<String, Policy>,
    pub mcp: BTreeMap<String, Mcp>,
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub data: PathBuf,
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    pub workers: usize,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub trusted_proxies: Vec<Network>,
    pub origins: Vec<String>,
    pub public_url: String,
    pub hosts: Vec<String>,
    pub socketio_origins: String,
    pub drain_seconds: u64,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    plain.as_ref().unwrap_or(&text).parse().map_err(|_| {
        serde::de::Error::custom(format!("{text:?} is not an IP address and a port such as 127.0.0.1:4096"))
    })
}

impl Server {
    /// Threads to start: as set, or half the cores.
    pub fn worker_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.workers == 0 { (cores / 2).max(1) } else { self.workers }
    }

    /// Open connections at most, in all and for one address, where `files` files may be open.
    pub fn connection_limits(&self, files: u64) -> (usize, usize) {
        /// Files the hub needs besides its clients: database, providers, logs.
        const OWN_FILES: u64 = 128;
        let room = usize::try_from(files.saturating_sub(OWN_FILES)).unwrap_or(usize::MAX).clamp(16, 1_000_000);
        let total = if self.max_connections == 0 { room } else { self.max_connections };
        let each = if self.max_connections_per_address == 0 { total } else { self.max_connections_per_address };
        (total, each.max(1))
    }

    /// The origins friends of `/socket.io/` come from; `None` means any (`*`).
    pub fn socketio_origins(&self) -> Option<Vec<String>> {
        let words: Vec<String> = self.socketio_origins.split(',').map(|w| w.trim().to_owned()).collect();
        if words.iter().any(|w| w == "*") { None } else { Some(words.into_iter().filter(|w| !w.is_empty()).collect()) }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Tls {
    pub certificate: String,
    pub key: String,
}

impl Tls {
    pub fn is_on(&self) -> bool {
        !self.certificate.is_empty()
    }
}

/// Bytes and seconds as the names say.
#[derive(Debug, Clone, Deserialize)]
pub struct Limits {
    pub frame_bytes: usize,
    pub message_bytes: usize,
    pub soft_queue_bytes: usize,
    pub hard_queue_bytes: usize,
    pub send_buffer_bytes: usize,
    pub ping_seconds: u64,
    pub pong_seconds: u64,
    pub stall_seconds: u64,
    pub head_seconds: u64,
    pub body_seconds: u64,
    pub requests_in_flight: usize,
    pub subscriptions: usize,
    pub ring_bytes: usize,
    pub ring_events: usize,
    pub frames_per_second: u32,
    pub frames_burst: u32,
    pub socket_messages_per_minute: u32,
    pub socket_messages_burst: u32,
    pub messages_per_minute: u32,
    pub wait_seconds: u64,
    pub requests_per_minute: u32,
    pub strangers_per_minute: u32,
    pub sign_ins_per_minute: u32,
    pub refused_per_minute: u32,
    pub connections_per_user: u32,
    pub queue_turns: usize,
    pub steps_per_turn: u32,
    pub tools_at_once: usize,
    pub tool_seconds: u64,
    pub tool_output_bytes: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Channels {
    pub history_events: usize,
    pub history_bytes: usize,
    pub history_seconds: u64,
    pub total_bytes: usize,
    pub presence: Vec<String>,
    pub presence_members: usize,
}

impl Channels {
    /// The kinds of channels that tell who comes and goes.
    pub fn presence_kinds(&self) -> ChannelKinds {
        self.presence.iter().filter_map(|word| ChannelKind::parse(word)).collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Approvals {
    pub timeout_seconds: u64,
    pub grace_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Auth {
    pub jwt_secret: SecretString,
    pub agent_jwt_secret: SecretString,
    pub create_organizations: bool,
    pub default_organization: String,
    pub user_claims: Vec<String>,
    pub organization_claims: Vec<String>,
    pub role_claims: Vec<String>,
    pub permission_claims: Vec<String>,
    pub issuer: String,
    pub audience: String,
    pub leeway_seconds: u64,
    pub cookies: Vec<String>,
    pub session_seconds: u64,
    pub sign_in_seconds: u64,
    pub remember_ms: u64,
    pub ticket_seconds: u64,
    pub session_url: String,
    pub session: ForeignSession,
    pub roles: BTreeMap<String, String>,
    pub issuers: BTreeMap<String, Issuer>,
}

/// How an answer of `session_url` is read: names of its fields, those within others as `user.id`.
#[derive(Debug, Clone, Deserialize)]
pub struct ForeignSession {
    pub user: Vec<String>,
    pub organization: Vec<String>,
    pub role: Vec<String>,
    pub organizations: Vec<String>,
    pub create_organizations: bool,
    pub seconds: u64,
}

/// Who else's tokens count, and which keys they are signed with.
#[derive(Debug, Clone, Deserialize)]
pub struct Issuer {
    pub issuer: String,
    pub audience: String,
    /// A file or an address.
    pub jwks: String,
    pub algorithms: Vec<String>,
    pub refresh_seconds: u64,
    pub organizations: Vec<String>,
    pub default_organization: String,
    pub create_organizations: bool,
    /// Empty, as the next three: those of [`Auth`].
    pub user_claims: Vec<String>,
    pub organization_claims: Vec<String>,
    pub role_claims: Vec<String>,
    pub permission_claims: Vec<String>,
}

/// Codes that pair a device.
#[derive(Debug, Clone, Deserialize)]
pub struct Pairing {
    pub code_length: usize,
    pub seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Database {
    /// Empty: SQLite in the data folder. May hold a password.
    pub url: SecretString,
    pub pool: u32,
    pub history_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Providers {
    pub connect_seconds: u64,
    pub first_token_seconds: u64,
    pub idle_seconds: u64,
    pub retries: u32,
    pub openai: LlmApi,
    pub anthropic: LlmApi,
    pub demo: Demo,
}

/// A way to one LLM API.
#[derive(Debug, Clone, Deserialize)]
pub struct LlmApi {
    pub api_key: SecretString,
    pub base_url: String,
    pub model: String,
    /// Whether anything of it was set anywhere: then the default agent talks to it.
    #[serde(skip)]
    pub configured: bool,
}

impl LlmApi {
    pub fn has_key(&self) -> bool {
        !self.api_key.expose_secret().is_empty()
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Demo {
    pub word_interval_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Agent {
    pub description: String,
    /// Empty: see [`Config::provider_of`].
    pub provider: String,
    /// Empty: the provider's own.
    pub model: String,
    pub system: String,
    pub tools: Vec<String>,
    pub busy: Busy,
    pub entity_types: Vec<String>,
    pub suggested_prompts: Vec<String>,
    /// Empty: nobody is asked.
    pub context_url: String,
    /// Each as `name: value`.
    pub context_headers: Vec<String>,
    pub context_seconds: u64,
    pub routing: bool,
}

/// What happens to a message while a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Busy {
    Queue,
    Interrupt,
    Reject,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Tool {
    #[serde(default, deserialize_with = "policies::maybe_policy")]
    pub policy: Option<ToolPolicy>,
    /// 0: [`Limits::tool_seconds`].
    #[serde(default)]
    pub seconds: u64,
    /// 0: [`Limits::tool_output_bytes`].
    #[serde(default)]
    pub output_bytes: usize,
    /// Empty: as the tool itself has it.
    #[serde(default)]
    pub remember: String,
    /// `http_fetch` only.
    #[serde(default)]
    pub allow_hosts: Vec<String>,
    /// `http_fetch` and those of kind `http`.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// Empty for the hub's own; `http` for somebody's endpoint, as all that follows.
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub description: String,
    /// JSON text.
    #[serde(default)]
    pub input_schema: String,
    #[serde(default)]
    pub time_seconds: u64,
    #[serde(default)]
    pub max_bytes: usize,
    #[serde(default)]
    pub request: Request,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub level: Level,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Auto,
    Json,
    Text,
}

impl Config {
    /// The agent that serves who names none.
    pub const DEFAULT_AGENT: &'static str = "assistant";

    /// The provider an agent talks to: its own, else the first that is configured, else `demo`.
    pub fn provider_of(&self, agent: &Agent) -> &str {
        if !agent.provider.is_empty() {
            return match agent.provider.as_str() {
                "openai" => "openai",
                "anthropic" => "anthropic",
                _ => "demo",
            };
        }
        match (self.providers.openai.configured, self.providers.anthropic.configured) {
            (true, _) => "openai",
            (false, true) => "anthropic",
            (false, false) => "demo",
        }
    }

    /// The model an agent talks to: its own, else its provider's.
    pub fn model_of<'a>(&'a self, agent: &'a Agent) -> &'a str {
        if !agent.model.is_empty() {
            return &agent.model;
        }
        match self.provider_of(agent) {
            "openai" => &self.providers.openai.model,
            "anthropic" => &self.providers.anthropic.model,
            _ => "demo",
        }
    }

    /// Where the store is: as set, or `hub.db` in the data folder.
    pub fn database_url(&self) -> SecretString {
        let url = self.database.url.expose_secret();
        if url.is_empty() {
            return format!("sqlite:{}", self.server.data.join("hub.db").display()).into();
        }
        url.into()
    }

    /// Where a browser on this machine reaches the hub; no slash at the end.
    pub fn base_url(&self) -> String {
        if !self.server.public_url.is_empty() {
            return self.server.public_url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls.is_on() { "https" } else { "http" };
        let mut listen = self.server.listen;
        if listen.ip().is_unspecified() {
            listen.set_ip(if listen.is_ipv4() { [127, 0, 0, 1].into() } else { IpAddr::V6(1u128.into()) });
        }
        format!("{scheme}://{listen}")
    }
}

/// An address or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let width = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether `address` lies in it; an IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(one)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(net) & mask == u32::from(one) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(one)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(net) & mask == u128::from(one) & mask
            }
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is neither an address nor a network such as \"10.0.0.0/8\""))
        })
    }
}
