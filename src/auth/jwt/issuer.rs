//! An issuer whose tokens count: its keys, read from the one place the configuration names, and what it may claim.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Header};
use tokio::time::Instant;
use url::Url;

use super::key_set::{ALGORITHMS, KeySet};
use super::refused;
use super::rules::Rules;
use crate::auth::outward::{LONGEST_ANSWER, Outward};
use crate::auth::single::{Asked, Single};
use crate::config::{self, Auth};
use crate::error::Fault;

/// A key that is not known, or keys that could not be read, are looked for once in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// Keys that cannot be read again count for as long as this.
const STALE: Duration = Duration::from_secs(86_400);

/// Where the keys are.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Url(Url),
}

/// One configured issuer.
pub struct Issuer {
    pub rules: Rules,
    pub algorithms: Vec<Algorithm>,
    source: Arc<Source>,
    reading: Single<(), ()>,
}

/// The keys and where they come from.
struct Source {
    name: String,
    place: Place,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Option<KeySet>,
    read_at: Option<Instant>,
    /// When they were last asked for, whoever wanted them.
    tried_at: Option<Instant>,
    /// When they were last asked for because a key was not known.
    missed_at: Option<Instant>,
    failed: bool,
}

/// What a look at the keys in memory says.
enum Look {
    Found(DecodingKey),
    /// Read them; `Found` what is there may count meanwhile.
    Read(Option<DecodingKey>),
    /// Somebody may be reading them.
    Join,
    Nothing(Fault),
}

impl Issuer {
    pub fn new(auth: &Auth, name: &str, issuer: &config::Issuer) -> Self {
        let pinned = |word: &String| ALGORITHMS.iter().find(|(name, _)| name == word).map(|(_, algorithm)| *algorithm);
        let algorithms: Vec<Algorithm> = issuer.algorithms.iter().filter_map(pinned).collect();
        // The configuration was checked: an address that cannot be used never comes here.
        let place = match config::safe_url(&issuer.jwks) {
            Ok(url) if config::is_url(&issuer.jwks) => Place::Url(url),
            _ => Place::File(issuer.jwks.clone().into()),
        };
        let source = Source {
            name: name.to_owned(),
            place,
            algorithms: algorithms.clone(),
            refresh: Duration::from_secs(issuer.refresh_seconds),
            kept: Mutex::default(),
        };
        Self { rules: Rules::of_issuer(auth, issuer), algorithms, source: Arc::new(source), reading: Single::new() }
    }

    /// The key that verifies a token with this header. Reads the keys where they are old or do not have it:
    /// `unauthorized` where they do not have it then either, `unavailable` where they cannot be read.
    pub async fn key(&self, header: &Header, outward: &Outward) -> Result<DecodingKey, Fault> {
        let waiting = match self.source.look(header) {
            Look::Found(key) => return Ok(key),
            Look::Nothing(fault) => return Err(fault),
            Look::Read(Some(key)) => {
                drop(self.read(outward));
                return Ok(key);
            }
            Look::Read(None) => Some(self.read(outward)),
            Look::Join => self.reading.under_way(&()),
        };
        if let Some(waiting) = waiting {
            waiting.await;
        }
        self.source.present(header)
    }

    fn read(&self, outward: &Outward) -> Asked<()> {
        let (source, outward) = (self.source.clone(), outward.clone());
        self.reading.ask((), || async move {
            let read = source.read(&outward).await;
            source.keep(read);
        })
    }
}

impl Source {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, header: &Header) -> Look {
        let mut kept = self.kept();
        let recently = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < INTERVAL);
        let now = Some(Instant::now());
        let age = kept.read_at.map_or(STALE, |at| at.elapsed());
        if age >= STALE {
            (kept.keys, kept.read_at) = (None, None);
        }
        let Some(keys) = &kept.keys else {
            if recently(kept.tried_at) {
                return Look::Join;
            }
            kept.tried_at = now;
            return Look::Read(None);
        };
        let old = age >= self.refresh && !recently(kept.tried_at);
        match keys.find(header).cloned() {
            Some(key) if !old => Look::Found(key),
            found => {
                // No name, no key: other keys would not change that.
                if found.is_none() && header.kid.is_none() && !old {
                    return Look::Nothing(unnamed());
                }
                if found.is_none() && !old {
                    if recently(kept.missed_at) {
                        return Look::Join;
                    }
                    kept.missed_at = now;
                }
                kept.tried_at = now;
                // Keys that were not needed for long are read before they count again.
                let counts = kept.failed || age < self.refresh.saturating_mul(2);
                Look::Read(found.filter(|_| counts))
            }
        }
    }

    fn present(&self, header: &Header) -> Result<DecodingKey, Fault> {
        let kept = self.kept();
        let Some(keys) = &kept.keys else {
            return Err(Fault::unavailable("the keys of the token's issuer cannot be read at the moment"));
        };
        let unknown = || match header.kid {
            Some(_) => refused("the token is signed with a key (kid) that its issuer does not have"),
            None => unnamed(),
        };
        keys.find(header).cloned().ok_or_else(unknown)
    }

    async fn read(&self, outward: &Outward) -> Result<KeySet, String> {
        let text = match &self.place {
            Place::Url(url) => {
                let answer = outward.get(url, &[]).await?;
                if answer.status != 200 {
                    return Err(format!("the answer was HTTP {}", answer.status));
                }
                answer.body
            }
            Place::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    use std::io::Read;
                    let mut text = Vec::new();
                    let file = std::fs::File::open(path)?.take(LONGEST_ANSWER as u64);
                    { file }.read_to_end(&mut text).map(|_| text)
                });
                read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?
            }
        };
        KeySet::parse(&text, &self.algorithms)
    }

    fn keep(&self, read: Result<KeySet, String>) {
        let mut kept = self.kept();
        match read {
            Ok(keys) => {
                tracing::info!(issuer = self.name, keys = keys.len(), "read an issuer's keys");
                (kept.keys, kept.read_at, kept.failed) = (Some(keys), Some(Instant::now()), false);
            }
            Err(error) => {
                let old = kept.keys.is_some();
                tracing::warn!(issuer = self.name, error, old_ones_count = old, "an issuer's keys cannot be read");
                kept.failed = true;
            }
        }
    }
}

fn unnamed() -> Fault {
    refused("the token does not say which key (kid) it is signed with")
}
