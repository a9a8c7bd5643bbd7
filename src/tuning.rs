//! The settings that are changed while the hub runs: what is stored of them, what counts, and who is told.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::auth::accounts::Accounts;
use crate::config::{Adopted, Config, ConfigError, Live, Loaded, Stored};
use crate::domain::admin::Reloaded;
use crate::domain::command::Caller;
use crate::domain::ids::{Source, SystemSource};
use crate::domain::policy::Operation;
use crate::error::{Code, Fault};
use crate::store::{Store, StoreFault};

/// Brings a new configuration to the parts that keep something of the old one.
type Apply = Box<dyn Fn(&Config) + Send + Sync>;

/// One for the whole process.
pub struct Tuning {
    store: Store,
    config: Live<Config>,
    /// One change after the other: held from looking at what counts until the next counts.
    state: tokio::sync::Mutex<State>,
    apply: Mutex<Option<Apply>>,
}

struct State {
    /// Without what is stored.
    base: Loaded,
    /// With it.
    now: Loaded,
    stored: Stored,
    /// The number of the stored document.
    n: u64,
}

/// What counts, and what of it may be changed.
pub struct Shown {
    pub loaded: Loaded,
    pub stored: Stored,
}

impl Tuning {
    /// Reads what is stored, and puts it between the file and the environment. What can no longer be used is left out,
    /// and said: a hub that does not start could not be corrected.
    pub async fn open(base: Loaded, store: Store) -> Result<Self, StoreFault> {
        let (n, document) = store.hub_settings_after(0).await?.unwrap_or((0, json!({})));
        let (now, stored) = resumed(&base, &document);
        let config = Live::new(Arc::new(now.config.clone()));
        let state = tokio::sync::Mutex::new(State { base, now, stored, n });
        Ok(Self { store, config, state, apply: Mutex::new(None) })
    }

    /// The configuration that counts.
    pub fn config(&self) -> Live<Config> {
        self.config.clone()
    }

    /// Who is told of every change from now on, on the thread that makes it.
    pub fn tells(&self, apply: impl Fn(&Config) + Send + Sync + 'static) {
        *self.apply.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(apply));
    }

    pub async fn shown(&self) -> Shown {
        let state = self.state.lock().await;
        Shown { loaded: state.now.clone(), stored: state.stored.clone() }
    }

    /// Changes settings by a merge patch: written down, stored, and in force when this returns.
    ///
    /// # Errors
    /// Those of [`Loaded::patched`], and `conflict` where another process was first: then nothing is changed.
    pub async fn change(
        &self,
        accounts: &Accounts,
        caller: &Caller,
        patch: &serde_json::Map<String, Value>,
    ) -> Result<Shown, Fault> {
        let mut state = self.state.lock().await;
        let patched = state.base.patched(&state.stored, patch)?;
        if !patched.changed.is_empty() {
            let details = json!({ "changed": patched.changed });
            let document = json!(patched.stored.0);
            let kept = self.store.put_hub_settings(state.n, &document, SystemSource.now());
            state.n = accounts.on_the_hub(caller, Operation::ConfigUpdate, details, kept).await?;
            state.stored = patched.stored;
            self.count(&mut state, patched.loaded);
        }
        Ok(Shown { loaded: state.now.clone(), stored: state.stored.clone() })
    }

    /// Takes over what another process has stored meanwhile.
    pub async fn hear(&self) -> Result<(), StoreFault> {
        let mut state = self.state.lock().await;
        let Some((n, document)) = self.store.hub_settings_after(state.n).await? else { return Ok(()) };
        let (now, stored) = resumed(&state.base, &document);
        (state.n, state.stored) = (n, stored);
        self.count(&mut state, now);
        Ok(())
    }

    /// Reads the file once more and takes over what may be changed; what is stored still beats it.
    ///
    /// # Errors
    /// `bad_request` with what is wrong, as the start would say it: then nothing is changed.
    pub async fn reload(&self) -> Result<Reloaded, Fault> {
        let wrong = |error: ConfigError| Fault::new(Code::BadRequest, error.0);
        let mut state = self.state.lock().await;
        let running = state.base.clone();
        let read = tokio::task::spawn_blocking(move || {
            let fresh = running.again()?;
            fresh.config.check_binding()?;
            fresh.config.check_files()?;
            Ok(fresh)
        });
        let fresh = read.await.map_err(|error| Fault::internal(error.to_string()))?.map_err(wrong)?;
        for warning in &fresh.warnings {
            tracing::warn!("{warning}");
        }
        let Adopted { loaded, now: applied, later: restart } = state.base.adopting(&fresh).map_err(wrong)?;
        let (now, stored) = resumed(&loaded, &json!(state.stored.0));
        (state.base, state.stored) = (loaded, stored);
        self.count(&mut state, now);
        tracing::info!(applied = applied.len(), restart = restart.len(), "the configuration was read again");
        Ok(Reloaded { applied, restart })
    }

    /// From here on it counts, for all workers.
    fn count(&self, state: &mut State, now: Loaded) {
        self.config.set(Arc::new(now.config.clone()));
        state.now = now;
        if let Some(apply) = &*self.apply.lock().unwrap_or_else(PoisonError::into_inner) {
            apply(&state.now.config);
        }
    }
}

fn resumed(base: &Loaded, document: &Value) -> (Loaded, Stored) {
    let stored = document.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    let (now, stored, sentences) = base.with_what_fits(Stored(stored.collect()));
    for sentence in sentences {
        tracing::warn!("a stored setting does not count: {sentence}");
    }
    (now, stored)
}
