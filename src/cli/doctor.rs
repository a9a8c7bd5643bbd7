//! `switchboard doctor`: what would keep the hub from running, each in a sentence with what to do about it.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::Path;

use secrecy::ExposeSecret;

use super::{Failure, health, open_shared, say, wait};
use crate::auth::folder;
use crate::config::{Config, ConfigError, Loaded};
use crate::telemetry;

/// A finding: all is well, or it will do, or it will not.
enum Finding {
    Good(String),
    Note(String),
    Bad(String),
}

use Finding::{Bad, Good, Note};

/// Prints a line for each part; fails if one of them is bad.
pub(super) fn run(loaded: Result<Loaded, ConfigError>) -> Result<(), Failure> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            say(&format!("bad   configuration: {error}"))?;
            return Err(Failure::Said);
        }
    };
    let config = &loaded.config;
    let mut findings: Vec<(&str, Finding)> =
        loaded.warnings.iter().map(|warning| ("environment", Note(warning.clone()))).collect();
    findings.push(("configuration", Good("makes sense".into())));
    findings.push(("binding", binding(config)));
    findings.push(("names", names(config)));
    findings.push(("data folder", data_folder(&config.server.data)));
    findings.push(("secrets", secrets(config)));
    findings.push(("database", database(config)?));
    findings.push(("port", port(config)));
    findings.push(("open files", open_files(config)));
    findings.extend(providers(config));
    let mut well = true;
    for (part, finding) in findings {
        let (word, text) = match finding {
            Good(text) => ("good", text),
            Note(text) => ("note", text),
            Bad(text) => {
                well = false;
                ("bad ", text)
            }
        };
        say(&format!("{word}  {part}: {text}"))?;
    }
    if well { Ok(()) } else { Err(Failure::Said) }
}

fn binding(config: &Config) -> Finding {
    match config.check_binding().and_then(|()| config.check_files()) {
        Ok(()) => Good(format!("{} may be listened on", config.server.listen)),
        Err(error) => Bad(error.0),
    }
}

fn names(config: &Config) -> Finding {
    let server = &config.server;
    match (server.listen.ip().to_canonical().is_loopback(), server.public_url.is_empty() && server.hosts.is_empty()) {
        (false, true) => Note(
            "the hub answers to its addresses alone; set server.public_url, or server.hosts, to the name that \
             browsers ask for"
                .into(),
        ),
        _ => Good("the hub answers to the names of server.public_url and server.hosts, and to its addresses".into()),
    }
}

fn data_folder(data: &Path) -> Finding {
    if !data.exists() {
        return Note(format!("{} is not there; the first start makes it", data.display()));
    }
    let probe = data.join(format!(".doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&probe);
    match written.and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Good(format!("{} can be written", data.display())),
        Err(error) => Bad(format!("{} cannot be written: {error}; give it to this user", data.display())),
    }
}

fn secrets(config: &Config) -> Finding {
    if !config.auth.jwt_secret.expose_secret().is_empty() {
        return Good("the token secret is configured".into());
    }
    let path = folder::jwt_secret_path(&config.server.data);
    if !path.exists() {
        return Note(format!("{} is not there; the first start makes it", path.display()));
    }
    let checked = path.parent().map_or(Ok(()), |parent| folder::check_private(parent, 0o700));
    match checked.and_then(|()| folder::check_private(&path, 0o600)) {
        Ok(()) => Good(format!("{} is for this user alone", path.display())),
        Err(sentence) => Bad(sentence),
    }
}

fn database(config: &Config) -> Result<Finding, Failure> {
    if config.database.url.expose_secret().is_empty() && !config.server.data.join("hub.db").exists() {
        return Ok(Note("there is none yet; the first start makes it".into()));
    }
    wait(async {
        let asked = async {
            let store = open_shared(config)?;
            store.ping().await?;
            store.close().await;
            Ok::<_, crate::store::StoreFault>(())
        };
        match asked.await {
            Ok(()) => Good("answers".into()),
            Err(fault) => Bad(fault.to_string()),
        }
    })
}

fn port(config: &Config) -> Finding {
    let listen = config.server.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Good(format!("{listen} is free")),
        Err(_) if health::ask(config).is_ok() => Good(format!("a hub is running at {listen}")),
        Err(error) => Bad(format!("{listen} cannot be listened on: {error}; choose another with --listen")),
    }
}

fn open_files(config: &Config) -> Finding {
    let files = telemetry::raise_open_files_limit();
    let (most, _) = config.server.connection_limits(files);
    let text = format!("{files} may be open, which makes {most} connections");
    if most < 1000 || (config.server.max_connections as u64) > files {
        return Note(format!("{text}; raise it with `ulimit -n 65536`, or LimitNOFILE= in a service file"));
    }
    Good(text)
}

fn providers(config: &Config) -> Vec<(&'static str, Finding)> {
    let mut findings = Vec::new();
    for (name, agent) in &config.agents {
        let provider = config.provider_of(agent);
        let text = format!("{name} talks to {provider}, model {}", config.model_of(agent));
        let key_missing = match provider {
            "openai" => {
                !config.providers.openai.has_key() && config.providers.openai.base_url.contains("api.openai.com")
            }
            "anthropic" => {
                !config.providers.anthropic.has_key()
                    && config.providers.anthropic.base_url.contains("api.anthropic.com")
            }
            _ => false,
        };
        findings.push((
            "agent",
            if key_missing {
                Bad(format!("{text}, which needs a key: set {}_API_KEY", provider.to_uppercase()))
            } else if provider == "demo" {
                Note(format!("{text}: set OPENAI_API_KEY, OPENAI_BASE_URL or ANTHROPIC_API_KEY for a real one"))
            } else {
                Good(text)
            },
        ));
    }
    findings
}
