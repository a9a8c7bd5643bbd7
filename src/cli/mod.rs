//! The command line. Scripts rely on its words, on what stands on standard output, and on 0 done, 1 failed, 2 wrong use.

mod accounts;
mod doctor;
mod health;
mod serve;
mod table;
mod token;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::auth::folder;
use crate::config::{self, Config, ConfigError, Flags, Level, Loaded};
use crate::error::Fault;
use crate::store::{CommitFault, Store, StoreFault, StoreSettings};
use crate::telemetry;

/// A self-hosted, real-time hub for AI agents.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub.
    Serve {
        #[command(flatten)]
        place: Place,
        /// Address and port to listen on, such as 127.0.0.1:4096.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Print a token for a user; users and organizations that are not known are created.
    Token {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        wish: token::Wish,
    },
    /// Bring the tables of the database up to date.
    Migrate {
        #[command(flatten)]
        place: Place,
    },
    /// Print the effective configuration and where each value came from, without secrets.
    Config {
        #[command(flatten)]
        place: Place,
        /// As for `serve`.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Ask a running hub whether it is well.
    Health {
        #[command(flatten)]
        place: Place,
        /// Where the hub listens, if not where the configuration says.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Users: who may come in, and with which role.
    User {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: accounts::UserCommand,
    },
    /// Organizations.
    Org {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: accounts::OrgCommand,
    },
    /// API keys.
    Key {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: accounts::KeyCommand,
    },
    /// Show who administered what, the newest first.
    Audit {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        wish: accounts::AuditWish,
    },
    /// Print the OpenAPI document of the HTTP interface.
    Openapi,
    /// Look for what would keep the hub from running, and say what to do.
    Doctor {
        #[command(flatten)]
        place: Place,
        /// As for `serve`.
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Configuration file; without it switchboard.toml in the data folder, if there is one.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
enum Failure {
    /// Exit code 2.
    WrongUse(String),
    /// Exit code 1.
    Failed(String),
    /// Exit code 1; everything was said already.
    Said,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::WrongUse(error.0)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.message)
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        Self::Failed(fault.to_string())
    }
}

impl From<CommitFault> for Failure {
    fn from(fault: CommitFault) -> Self {
        Self::Failed(fault.to_string())
    }
}

/// Runs one command line and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match perform(line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::WrongUse(sentence)) => {
            eprintln!("switchboard: {sentence}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(sentence)) => {
            eprintln!("switchboard: {sentence}");
            ExitCode::FAILURE
        }
        Err(Failure::Said) => ExitCode::FAILURE,
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { place, listen } => serve::run(load(place, listen)?),
        Command::Token { place, wish } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            let token = wait(token::make(&loaded.config, &wish))??;
            say(token.expose_secret())
        }
        Command::Migrate { place } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            folder::create(&loaded.config.server.data).map_err(Failure::Failed)?;
            wait(async {
                open_shared(&loaded.config)?.close().await;
                Ok::<_, StoreFault>(())
            })??;
            say("the tables are up to date")
        }
        Command::Config { place, listen } => {
            let loaded = load(place, listen)?;
            warn(&loaded);
            say(config::print(&loaded).trim_end())
        }
        Command::Health { place, listen } => {
            let loaded = load(place, listen)?;
            let answer = health::ask(&loaded.config).map_err(Failure::Failed)?;
            say(&answer)
        }
        Command::User { place, command } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            wait(accounts::users(&loaded.config, command))?
        }
        Command::Org { place, command } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            wait(accounts::organizations(&loaded.config, command))?
        }
        Command::Key { place, command } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            wait(accounts::keys(&loaded.config, command))?
        }
        Command::Audit { place, wish } => {
            let loaded = load(place, None)?;
            warn(&loaded);
            wait(accounts::audit(&loaded.config, wish))?
        }
        Command::Openapi => say(crate::http::openapi().trim_end()),
        Command::Doctor { place, listen } => doctor::run(load(place, listen)),
    }
}

fn load(place: Place, listen: Option<String>) -> Result<Loaded, ConfigError> {
    let flags = Flags { config: place.config, data: place.data, listen };
    config::load(&flags, config::environment())
}

/// For commands that answer on standard output: says what is wrong, and what was asked for by `log.level = "debug"`.
fn warn(loaded: &Loaded) {
    let mut log = loaded.config.log.clone();
    if log.level == Level::Info {
        log.level = Level::Warn;
    }
    telemetry::start_logging(&log);
    warnings(loaded);
}

fn warnings(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// The store, as a guest of a hub that may be running.
fn open_shared(config: &Config) -> Result<Store, StoreFault> {
    Store::open_shared(store_settings(config))
}

/// What the store must know; a new boot id each time.
pub fn store_settings(config: &Config) -> StoreSettings {
    StoreSettings {
        url: config.database_url().expose_secret().to_owned(),
        pool: config.database.pool,
        boot: uuid::Uuid::now_v7().as_u128(),
    }
}

/// Runs a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(|error| Failure::Failed(format!("no runtime: {error}")))
}

/// A line on standard output. A reader that has gone (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
