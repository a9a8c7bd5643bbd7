//! Reads the configuration of a hub that runs once more.

use crate::config::{self, Loaded};
use crate::domain::admin::Reloaded;
use crate::error::{Code, Fault};

/// Reads and checks all layers as the start did. What differs from what the hub runs with holds from its next start.
///
/// # Errors
/// `bad_request` with what is wrong, as the start would say it; nothing is applied then.
pub fn reload(running: &Loaded) -> Result<Reloaded, Fault> {
    let wrong = |error: config::ConfigError| Fault::new(Code::BadRequest, error.0);
    let fresh = running.again().map_err(wrong)?;
    fresh.config.check_binding().map_err(wrong)?;
    fresh.config.check_files().map_err(wrong)?;
    for warning in &fresh.warnings {
        tracing::warn!("{warning}");
    }
    let restart = config::differing(running, &fresh);
    tracing::info!(restart = restart.len(), "the configuration was read again");
    Ok(Reloaded { applied: Vec::new(), restart })
}
