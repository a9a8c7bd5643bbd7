//! Whether keys exist and values make sense, said in sentences that name key, value and what is allowed.

use std::path::Path;

use figment::value::{Dict, Num, Value};
use secrecy::{ExposeSecret, SecretString};

use super::{Config, ConfigError, acting, identity, mcp, policies, routing, spending};
use crate::domain::channel::ChannelKind;
use crate::domain::ids::OrganizationId;
use crate::domain::principal::Role;

/// The default value that stands for `path`: sections whose members have free names have one member for all.
pub(super) fn template<'a>(defaults: &'a Dict, path: &str) -> Option<&'a Value> {
    let keys: Vec<&str> = path.split('.').collect();
    match keys.as_slice() {
        ["agents", name, rest @ ..] if is_name(name) => find(defaults, &[&["agents", Config::DEFAULT_AGENT], rest]),
        ["tools", name, rest @ ..] if is_name(name) => {
            let known = if acting::BUILT_IN.contains(name) { name } else { acting::TEMPLATE };
            // What every tool has stands in the section of one.
            find(defaults, &[&["tools", known], rest]).or_else(|| find(defaults, &[&["tools", "time"], rest]))
        }
        ["actions", name, rest @ ..] if is_name(name) => find(defaults, &[&["actions", acting::TEMPLATE], rest]),
        ["mcp", name, rest @ ..] if is_name(name) => find(defaults, &[&["mcp", mcp::TEMPLATE], rest]),
        ["policies", name, rest @ ..] if is_name(name) => find(defaults, &[&["policies", policies::TEMPLATE], rest]),
        ["auth", "issuers", name, rest @ ..] if is_name(name) => {
            find(defaults, &[&["auth", "issuers", identity::TEMPLATE], rest])
        }
        ["budgets", name, rest @ ..] if is_name(name) => find(defaults, &[&["budgets", spending::TEMPLATE], rest]),
        ["commands", name, rest @ ..] if is_name(name) => routing::find_command(defaults, rest),
        ["auth", "roles", _] => find(defaults, &[&["auth", "roles", "user"]]),
        keys => find(defaults, &[keys]),
    }
}

fn find<'a>(defaults: &'a Dict, keys: &[&[&str]]) -> Option<&'a Value> {
    let mut keys = keys.iter().copied().flatten();
    let mut value = defaults.get(*keys.next()?)?;
    for key in keys {
        value = value.as_dict()?.get(*key)?;
    }
    Some(value)
}

/// Names of agents, tools, issuers and budgets: they are part of keys and of what a model reads.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// A variable's text as the kind of value the default is; else what is allowed.
pub(super) fn typed(template: &Value, text: &str) -> Result<Value, &'static str> {
    match template {
        Value::Num(..) => text.trim().parse::<u64>().map(Value::from).map_err(|_| "a whole number"),
        Value::Bool(..) => text.trim().parse::<bool>().map(Value::from).map_err(|_| "true or false"),
        Value::Array(..) => {
            let words = text.trim().trim_start_matches('[').trim_end_matches(']').split(',');
            let words = words.map(|word| word.trim().trim_matches('"')).filter(|word| !word.is_empty());
            Ok(Value::from(words.map(str::to_owned).collect::<Vec<String>>()))
        }
        _ => Ok(Value::from(text)),
    }
}

/// Refuses keys that do not exist and values of the wrong kind in a file.
pub(super) fn known_keys(defaults: &Dict, file: &Dict, source: &str) -> Result<(), ConfigError> {
    walk(defaults, file, "", source)
}

fn walk(defaults: &Dict, dict: &Dict, prefix: &str, source: &str) -> Result<(), ConfigError> {
    for (key, value) in dict {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let Some(template) = template(defaults, &path) else {
            let hint = nearest_key(defaults, &path).map(|k| format!(", did you mean {k}?")).unwrap_or_default();
            return Err(ConfigError(format!("{source}: there is no setting {path}{hint}")));
        };
        if let (Value::Dict(..), Value::Dict(_, inner)) = (template, value) {
            walk(defaults, inner, &path, source)?;
        } else if path == routing::RULES {
            // What stands in them is read with the values.
            if !routing::is_tables(value) {
                return Err(ConfigError(format!("{source}: {path} must be a list of tables")));
            }
        } else if let Err(allowed) = fits(template, value) {
            return Err(ConfigError(format!("{source}: {path} must be {allowed}")));
        }
    }
    Ok(())
}

/// Whether it is the kind of value that the default is; else what is allowed.
pub(super) fn fits(template: &Value, value: &Value) -> Result<(), &'static str> {
    match (template, value) {
        (Value::Dict(..), _) => Err("a section"),
        (Value::Num(..), Value::Num(_, number)) if is_whole(number) => Ok(()),
        (Value::Num(..), _) => Err("a whole number"),
        (Value::Bool(..), Value::Bool(..)) | (Value::String(..), Value::String(..)) => Ok(()),
        (Value::Bool(..), _) => Err("true or false"),
        (Value::String(..), _) => Err("a text in quotes"),
        (Value::Array(..), Value::Array(_, items)) if items.iter().all(|i| matches!(i, Value::String(..))) => Ok(()),
        _ => Err("a list of texts"),
    }
}

fn is_whole(number: &Num) -> bool {
    number.to_u128_lossy().is_some() && !matches!(number, Num::F32(_) | Num::F64(_))
}

/// The key that looks most like `path`, if one is near enough to be meant.
pub(super) fn nearest_key(defaults: &Dict, path: &str) -> Option<String> {
    let mut keys = Vec::new();
    collect(defaults, "", &mut keys);
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    keys.into_iter()
        .map(|key| {
            let section_aside = if last(&key) == last(path) { 2 } else { usize::MAX };
            (distance(&key, path).min(section_aside), key)
        })
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, key)| key)
}

fn collect(dict: &Dict, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in dict {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let Some(inner) = value.as_dict() {
            collect(inner, &path, keys);
        }
        keys.push(path);
    }
}

/// How many letters must be added, taken away or changed to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// Refuses values that cannot work.
pub(super) fn values(config: &Config) -> Result<(), ConfigError> {
    ranges(config)?;
    secret("auth.jwt_secret", &config.auth.jwt_secret, "SWITCHBOARD_JWT_SECRET")?;
    secret("auth.agent_jwt_secret", &config.auth.agent_jwt_secret, "AGENT_JWT_SECRET")?;
    let (tls, key) = (&config.tls.certificate, &config.tls.key);
    if tls.is_empty() != key.is_empty() {
        return refuse("tls.certificate and tls.key belong together: set both or none".into());
    }
    for (name, origin) in config
        .server
        .origins
        .iter()
        .map(|o| ("server.origins", o))
        .chain(Some(("server.public_url", &config.server.public_url)).filter(|(_, url)| !url.is_empty()))
    {
        origin_like(name, origin)?;
    }
    if let Some(host) = config.server.hosts.iter().find(|host| !is_host(host)) {
        return refuse(format!(
            "server.hosts: {host:?} is not a name such as \"hub.internal\" or an address, without scheme and port"
        ));
    }
    for (name, text) in [
        ("providers.openai.base_url", &config.providers.openai.base_url),
        ("providers.anthropic.base_url", &config.providers.anthropic.base_url),
    ] {
        let fits = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !fits {
            return refuse(format!("{name}: {text:?} is not a URL that begins with http:// or https://"));
        }
    }
    let database = config.database.url.expose_secret();
    if !database.is_empty() && !["sqlite:", "postgres:", "postgresql:"].iter().any(|s| database.starts_with(s)) {
        return refuse("database.url must begin with sqlite: or postgres:".into());
    }
    let organization = &config.auth.default_organization;
    if !organization.is_empty() && OrganizationId::parse(organization).is_err() {
        return refuse(format!("auth.default_organization: {organization:?} is not 1 to 200 bytes of printable text"));
    }
    for (foreign, role) in &config.auth.roles {
        if Role::parse(role).is_none() {
            return refuse(format!(
                "auth.roles.{foreign}: {role:?} is not one of owner, admin, operator, member, viewer"
            ));
        }
    }
    if let Some(word) = config.channels.presence.iter().find(|word| ChannelKind::parse(word).is_none()) {
        let known = ChannelKind::ALL.map(ChannelKind::name).join(", ");
        return refuse(format!("channels.presence: {word:?} is not one of {known}"));
    }
    identity::check(&config.auth)?;
    spending::check(config)?;
    acting::check(config)?;
    routing::check(config)?;
    policies::check(config)?;
    mcp::check(config)?;
    agents_and_tools(config)
}

fn agents_and_tools(config: &Config) -> Result<(), ConfigError> {
    for (name, agent) in &config.agents {
        if !is_name(name) {
            return refuse(format!("agents.{name}: a name is 1 to 64 letters, digits, _ and -"));
        }
        if !["", "openai", "anthropic", "demo"].contains(&agent.provider.as_str()) {
            return refuse(format!(
                "agents.{name}.provider: {:?} is not one of openai, anthropic, demo (or empty: whichever is configured)",
                agent.provider
            ));
        }
        for tool in &agent.tools {
            let of_server = tool.split_once("__").is_some_and(|(server, _)| config.mcp.contains_key(server));
            if !of_server && !config.names_a_tool(tool) {
                let known: Vec<&str> = config.tools.keys().map(String::as_str).collect();
                return refuse(format!(
                    "agents.{name}.tools: there is no tool {tool:?}; there are {}",
                    known.join(", ")
                ));
            }
        }
    }
    for (name, tool) in &config.tools {
        for address in &tool.allow_private {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.is_none_or(|port| port.parse::<u16>().is_err()) {
                return refuse(format!(
                    "tools.{name}.allow_private: {address:?} is not host:port, such as 10.0.0.7:8080"
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn refuse<T>(sentence: String) -> Result<T, ConfigError> {
    Err(ConfigError(sentence))
}

fn origin_like(name: &str, text: &str) -> Result<(), ConfigError> {
    let url = url::Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/" && url.query().is_none()
    });
    match url {
        Some(_) => Ok(()),
        None => refuse(format!("{name}: {text:?} is not an origin such as \"https://hub.example.org\"")),
    }
}

fn is_host(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let name = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=253).contains(&text.len()) && text.bytes().all(fits)
    };
    name(text) || inner.parse::<std::net::IpAddr>().is_ok()
}

/// HS256 with less than its own block is guessed offline.
fn secret(key: &str, value: &SecretString, variable: &str) -> Result<(), ConfigError> {
    let length = value.expose_secret().len();
    if length == 0 || length >= 32 {
        return Ok(());
    }
    refuse(format!(
        "{key} ({variable}) has {length} bytes and needs at least 32: `openssl rand -base64 48` makes a good one"
    ))
}

fn ranges(config: &Config) -> Result<(), ConfigError> {
    let (server, limits, channels) = (&config.server, &config.limits, &config.channels);
    let rows: [(&str, u64, u64, u64); 43] = [
        ("server.workers", server.workers as u64, 0, 256),
        ("server.max_connections", server.max_connections as u64, 0, 10_000_000),
        ("server.max_connections_per_address", server.max_connections_per_address as u64, 0, 10_000_000),
        ("server.drain_seconds", server.drain_seconds, 0, 600),
        ("limits.frame_bytes", limits.frame_bytes as u64, 1024, 1 << 30),
        ("limits.message_bytes", limits.message_bytes as u64, 1, limits.frame_bytes as u64),
        ("limits.soft_queue_bytes", limits.soft_queue_bytes as u64, 1024, limits.hard_queue_bytes as u64),
        ("limits.hard_queue_bytes", limits.hard_queue_bytes as u64, 65_536, 1 << 32),
        ("limits.send_buffer_bytes", limits.send_buffer_bytes as u64, 4096, 1 << 26),
        ("limits.ping_seconds", limits.ping_seconds, 1, 3600),
        ("limits.pong_seconds", limits.pong_seconds, 1, 3600),
        ("limits.stall_seconds", limits.stall_seconds, 1, 3600),
        ("limits.head_seconds", limits.head_seconds, 1, 600),
        ("limits.body_seconds", limits.body_seconds, 1, 3600),
        ("limits.requests_in_flight", limits.requests_in_flight as u64, 1, 100_000),
        ("limits.subscriptions", limits.subscriptions as u64, 1, 1_000_000),
        ("limits.ring_bytes", limits.ring_bytes as u64, 65_536, 1 << 40),
        ("limits.ring_events", limits.ring_events as u64, 16, 1 << 24),
        ("limits.frames_burst", limits.frames_burst.into(), 1, 10_000_000),
        ("limits.socket_messages_burst", limits.socket_messages_burst.into(), 1, 1_000_000),
        ("limits.wait_seconds", limits.wait_seconds, 1, 86_400),
        ("limits.queue_turns", limits.queue_turns as u64, 1, 100_000),
        ("limits.steps_per_turn", limits.steps_per_turn.into(), 1, 10_000),
        ("limits.tools_at_once", limits.tools_at_once as u64, 1, 1_000),
        ("limits.tool_seconds", limits.tool_seconds, 1, 86_400),
        ("limits.tool_output_bytes", limits.tool_output_bytes as u64, 1, 1 << 30),
        ("channels.history_events", channels.history_events as u64, 0, 1_000_000),
        ("channels.history_bytes", channels.history_bytes as u64, 0, 1 << 30),
        ("channels.history_seconds", channels.history_seconds, 0, 86_400),
        ("channels.presence_members", channels.presence_members as u64, 0, 100_000),
        ("approvals.timeout_seconds", config.approvals.timeout_seconds, 1, 2_592_000),
        ("approvals.grace_seconds", config.approvals.grace_seconds, 0, 86_400),
        ("auth.leeway_seconds", config.auth.leeway_seconds, 0, 300),
        ("auth.session_seconds", config.auth.session_seconds, 60, 31_536_000),
        ("auth.sign_in_seconds", config.auth.sign_in_seconds, 10, 86_400),
        ("auth.remember_ms", config.auth.remember_ms, 0, 60_000),
        ("auth.ticket_seconds", config.auth.ticket_seconds, 1, 300),
        ("pairing.code_length", config.pairing.code_length as u64, 6, 12),
        ("pairing.seconds", config.pairing.seconds, 1, 3600),
        ("database.pool", config.database.pool.into(), 1, 256),
        ("database.history_days", config.database.history_days.into(), 0, 36_500),
        ("providers.demo.word_interval_ms", config.providers.demo.word_interval_ms, 0, 60_000),
        ("providers.retries", config.providers.retries.into(), 0, 20),
    ];
    for (key, value, least, most) in rows {
        if !(least..=most).contains(&value) {
            return refuse(format!("{key}: {value} is not between {least} and {most}"));
        }
    }
    for (key, value) in [
        ("providers.connect_seconds", config.providers.connect_seconds),
        ("providers.first_token_seconds", config.providers.first_token_seconds),
        ("providers.idle_seconds", config.providers.idle_seconds),
    ] {
        if !(1..=86_400).contains(&value) {
            return refuse(format!("{key}: {value} is not between 1 and 86400"));
        }
    }
    let (rates, most) = (limits, 100_000_000);
    for (key, value) in [
        ("limits.frames_per_second", rates.frames_per_second),
        ("limits.socket_messages_per_minute", rates.socket_messages_per_minute),
        ("limits.messages_per_minute", rates.messages_per_minute),
        ("limits.requests_per_minute", rates.requests_per_minute),
        ("limits.strangers_per_minute", rates.strangers_per_minute),
        ("limits.sign_ins_per_minute", rates.sign_ins_per_minute),
        ("limits.refused_per_minute", rates.refused_per_minute),
        ("limits.connections_per_user", rates.connections_per_user),
    ] {
        if value > most {
            return refuse(format!("{key}: {value} is not between 0 and {most}"));
        }
    }
    Ok(())
}

impl Config {
    /// Refuses to listen where strangers are, unless the way is encrypted or a proxy in front is known.
    pub fn check_binding(&self) -> Result<(), ConfigError> {
        let listen = self.server.listen;
        if listen.ip().to_canonical().is_loopback() || self.tls.is_on() || !self.server.trusted_proxies.is_empty() {
            return Ok(());
        }
        refuse(format!(
            "server.listen: {listen} can be reached from other machines, and the way there is not encrypted; \
             set tls.certificate and tls.key, or put a proxy that does TLS in front and name its address in \
             server.trusted_proxies, or listen on 127.0.0.1:{}",
            listen.port()
        ))
    }

    /// Refuses certificates that are not there.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        for (key, path) in [("tls.certificate", &self.tls.certificate), ("tls.key", &self.tls.key)] {
            if !path.is_empty() && !Path::new(path).is_file() {
                return refuse(format!("{key}: there is no file {path}"));
            }
        }
        identity::files(&self.auth)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Flags, load};

    fn with(pairs: &[(&str, &str)]) -> Config {
        let flags = Flags { data: Some("/nowhere/at/all".into()), ..Flags::default() };
        load(&flags, pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))).unwrap().config
    }

    #[test]
    fn strangers_are_let_near_only_with_encryption_or_a_known_proxy() {
        const LISTEN: &str = "SWITCHBOARD_LISTEN";
        for fine in [
            &[(LISTEN, "127.0.0.1:1")][..],
            &[(LISTEN, "127.7.7.7:1")],
            &[(LISTEN, "[::1]:1")],
            &[(LISTEN, "[::ffff:127.0.0.1]:1")],
            &[(LISTEN, "0.0.0.0:1"), ("SWITCHBOARD_SERVER__TRUSTED_PROXIES", "10.0.0.0/8")],
            &[(LISTEN, "0.0.0.0:1"), ("SWITCHBOARD_TLS__CERTIFICATE", "c"), ("SWITCHBOARD_TLS__KEY", "k")],
        ] {
            assert_eq!(with(fine).check_binding(), Ok(()), "{fine:?}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            assert!(with(&[(LISTEN, open)]).check_binding().is_err(), "{open}");
        }
    }

    #[test]
    fn connections_are_what_open_files_leave_room_for() {
        let server = with(&[]).server;
        assert_eq!(server.connection_limits(1128), (1000, 1000));
        assert_eq!(server.connection_limits(10), (16, 16));
        let set = with(&[("SWITCHBOARD_SERVER__MAX_CONNECTIONS", "50")]).server;
        assert_eq!(set.connection_limits(1128), (50, 50));
    }

    #[test]
    fn presence_is_told_on_kinds_of_channels_that_there_are() {
        use crate::domain::channel::ChannelKind::{Application, Organization, Session};
        const KEY: &str = "SWITCHBOARD_CHANNELS__PRESENCE";
        let told = with(&[]).channels.presence_kinds();
        assert!(told.holds(Session) && !told.holds(Application));
        let told = with(&[(KEY, "app,org")]).channels.presence_kinds();
        assert!(told.holds(Application) && told.holds(Organization) && !told.holds(Session));
        let error = load(&Flags::default(), [(KEY.to_owned(), "app,host".to_owned())]).unwrap_err();
        assert_eq!(error.0, "channels.presence: \"host\" is not one of session, project, user, org, app");
    }

    #[test]
    fn lists_are_separated_by_commas_in_the_environment() {
        let tools = with(&[("SWITCHBOARD_AGENTS__ASSISTANT__TOOLS", " time , \"todo_write\",")]).agents;
        assert_eq!(tools["assistant"].tools, ["time", "todo_write"]);
    }
}
