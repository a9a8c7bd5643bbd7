//! `switchboard serve`: checks what must be right before anything is started, then hands over.

use std::io::Write;
use std::sync::Arc;

use actix_web::{App, HttpServer, middleware, web};
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, store_settings, warnings};
use crate::auth::{self, Authenticator, first_start, folder};
use crate::config::{Config, Loaded};
use crate::domain::ids::{Source, SystemSource};
use crate::http::{self, Edge, Readiness};
use crate::store::Store;
use crate::telemetry;

pub(super) fn run(loaded: Loaded) -> Result<(), Failure> {
    loaded.config.check_binding()?;
    loaded.config.check_files()?;
    telemetry::start_logging(&loaded.config.log);
    warnings(&loaded);
    folder::create(&loaded.config.server.data).map_err(Failure::Failed)?;
    let files = telemetry::raise_open_files_limit();
    tracing::debug!(files, "limit on open files");
    actix_rt::System::new().block_on(serve(loaded.config))
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

/// Plain HTTP with the routes of this folder alone.
async fn serve(config: Config) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(error.to_string());
    let config = Arc::new(config);
    let secret = auth::secret(&config).map_err(Failure::Failed)?;
    let store = Store::open(store_settings(&config))?;
    let metrics = telemetry::start_metrics().map_err(|error| Failure::Failed(error.to_string()))?;
    let upkeep = actix_rt::spawn(telemetry::upkeep(metrics.clone()));
    let asked = store.clone();
    let readiness = Readiness::new(vec![(
        "store",
        Box::new(move || {
            let store = asked.clone();
            Box::pin(async move { store.ping().await.is_ok() })
        }),
    )]);
    let auth = Arc::new(Authenticator::new(config.clone(), &secret, store.clone()));
    let edge = web::Data::new(Edge { config: config.clone(), auth, metrics, readiness });
    let listen = config.server.listen;
    let server = HttpServer::new(move || {
        App::new().app_data(edge.clone()).wrap(middleware::from_fn(http::around)).configure(http::routes)
    })
    .workers(config.server.worker_count())
    .bind(listen)
    .map_err(|error| {
        Failure::Failed(format!("{listen} cannot be listened on: {error}; choose another with --listen"))
    })?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    let mut here = Config::clone(&config);
    here.server.listen = address;
    let invitation = first_start::invite(&store, &here, SystemSource.now()).await?;
    tracing::info!(%address, "listening");
    announce(&config, invitation.as_ref());
    server.run().await.map_err(failed)?;
    upkeep.abort();
    store.close().await;
    Ok(())
}
