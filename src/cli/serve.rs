//! `switchboard serve`: checks what must be right before anything is started, then hands over.

use std::io::Write;

use secrecy::{ExposeSecret, SecretString};

use super::{Failure, store_settings, warnings};
use crate::app;
use crate::auth::{first_start, folder};
use crate::config::{Config, Loaded};
use crate::domain::ids::{Source, SystemSource};
use crate::telemetry;

pub(super) fn run(loaded: Loaded) -> Result<(), Failure> {
    loaded.config.check_binding()?;
    loaded.config.check_files()?;
    telemetry::start_logging(&loaded.config.log);
    warnings(&loaded);
    folder::create(&loaded.config.server.data).map_err(Failure::Failed)?;
    let files = telemetry::raise_open_files_limit();
    tracing::debug!(files, "limit on open files");
    let settings = store_settings(&loaded.config);
    let config = loaded.config.clone();
    let announced = move |running: &app::Running| {
        tracing::info!(address = %running.address, "listening");
        announce(&config, running.invitation.as_ref());
    };
    actix_rt::System::new().block_on(app::serve(loaded, settings, announced)).map_err(Failure::Failed)
}

/// Tells the owner how to get in, on standard error and in the form of the lines around it. Not through the logger:
/// the code in the link is a secret that belongs on this terminal alone, never to whoever collects log lines later.
pub fn announce(config: &Config, invitation: Option<&SecretString>) {
    let Some(link) = invitation else {
        tracing::info!("`switchboard token --user {}` makes a token for the owner", first_start::OWNER);
        return;
    };
    let minutes = config.auth.sign_in_seconds.div_ceil(60);
    let text = format!("open this link within {minutes} minutes to sign in as the owner, it works once");
    let mut stderr = std::io::stderr().lock();
    let written = if telemetry::is_json(&config.log) {
        let line = serde_json::json!({
            "timestamp": SystemSource.now().to_rfc3339(),
            "level": "INFO",
            "message": text,
            "link": link.expose_secret(),
        });
        writeln!(stderr, "{line}")
    } else {
        writeln!(stderr, "\n  {text}:\n\n    {}\n", link.expose_secret())
    };
    if written.is_err() {
        tracing::warn!("the sign-in link could not be printed");
    }
}
