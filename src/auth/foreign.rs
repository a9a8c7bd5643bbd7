//! Sessions of another application: what came with the request is shown to it (`auth.session_url`), and it says whose
//! they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use aws_lc_rs::digest::{Context, SHA256};
use dashmap::DashMap;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;

use super::jwt::{Person, Rules};
use super::outward::{Answer, Outward};
use super::remember::Remember;
use super::single::Single;
use super::{COOKIE, Head};
use crate::config::{self, Auth};
use crate::error::{Code, Fault};

/// Seconds for which a refusal, or that nobody answered, is remembered: no stranger can make the hub ask faster.
const REFUSED: Duration = Duration::from_secs(5);
/// Questions under way at the same time; the others wait.
const AT_ONCE: usize = 32;
/// Sessions, and refusals, that are remembered at most.
const REMEMBERED: usize = 10_000;
/// A session that was not asked about for so long gives its place to a new one where there is none left.
const IDLE: Duration = Duration::from_secs(3600);
/// Bytes of a credential.
const LONGEST: usize = 16 * 1024;
/// The log says at most once in this time that nobody answers.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// What is shown to the other application: a bearer, or cookies.
#[derive(Clone)]
pub struct Shown(HeaderName, HeaderValue);

/// The hash of what was shown.
pub type Key = [u8; 32];

type Said = Result<Arc<Map<String, Value>>, Fault>;

/// The other application.
pub struct Foreign {
    rules: Rules,
    asking: Single<Key, Said>,
    desk: Arc<Desk>,
}

/// What the questions share.
struct Desk {
    url: Url,
    age: Duration,
    known: DashMap<Key, Known, ahash::RandomState>,
    refused: Remember<Key, Fault>,
    room: Semaphore,
    complained: Mutex<Option<Instant>>,
}

struct Known {
    shown: Shown,
    said: Arc<Map<String, Value>>,
    at: Instant,
}

impl Shown {
    /// A bearer alone: what a page can put into an address must not bring the browser's cookies along.
    pub fn bearer(token: &str) -> Result<Self, Fault> {
        Self::new(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// All cookies but the hub's own, which is nobody else's business.
    pub fn cookies(head: &Head<'_>) -> Result<Self, Fault> {
        let lines = head.headers.get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).map(str::trim);
        let foreign = pairs.filter(|pair| pair.split_once('=').is_some_and(|(name, _)| name.trim() != COOKIE));
        Self::new(header::COOKIE, &foreign.collect::<Vec<_>>().join("; "))
    }

    fn new(name: HeaderName, text: &str) -> Result<Self, Fault> {
        let value = HeaderValue::from_str(text).ok().filter(|_| text.len() <= LONGEST);
        let mut value = value.ok_or_else(|| Fault::new(Code::Unauthorized, "the credential is malformed"))?;
        // No log shows it.
        value.set_sensitive(true);
        Ok(Self(name, value))
    }

    fn key(&self) -> Key {
        let mut hash = Context::new(&SHA256);
        hash.update(self.0.as_str().as_bytes());
        hash.update(b":");
        hash.update(self.1.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        key
    }
}

impl Foreign {
    /// Nothing where `auth.session_url` is not set.
    pub fn new(auth: &Auth) -> Option<Self> {
        let url = config::safe_url(&auth.session_url).ok()?;
        let desk = Desk {
            url,
            age: Duration::from_secs(auth.session.seconds),
            known: DashMap::default(),
            refused: Remember::new(REFUSED, REMEMBERED),
            room: Semaphore::new(AT_ONCE),
            complained: Mutex::default(),
        };
        Some(Self { rules: Rules::of_session(auth), asking: Single::new(), desk: Arc::new(desk) })
    }

    /// Whose session it is. `unauthorized` where the other application knows none, `unavailable` where it does not
    /// answer. `chosen`: one of the user's organizations.
    pub async fn who(&self, shown: Shown, chosen: Option<&str>, outward: &Outward) -> Result<(Key, Person), Fault> {
        let key = shown.key();
        let said = self.said(key, shown, outward).await?;
        Ok((key, self.rules.person(&said, chosen)?))
    }

    /// The same for a session that was shown before. `unauthorized` where that was too long ago.
    pub async fn again(&self, key: Key, chosen: &str, outward: &Outward) -> Result<Person, Fault> {
        let shown = self.desk.known.get(&key).map(|known| known.shown.clone());
        let shown = shown.ok_or_else(no_session)?;
        self.rules.person(&*self.said(key, shown, outward).await?, Some(chosen))
    }

    async fn said(&self, key: Key, shown: Shown, outward: &Outward) -> Said {
        if let Some(fault) = self.desk.refused.get(&key) {
            return Err(fault);
        }
        let fresh = self.desk.known.get(&key).filter(|known| known.at.elapsed() < self.desk.age);
        if let Some(said) = fresh.map(|known| known.said.clone()) {
            return Ok(said);
        }
        let (desk, outward) = (self.desk.clone(), outward.clone());
        let asked = self.asking.ask(key, || async move {
            let said = desk.ask(&shown, &outward).await;
            desk.keep(key, shown, &said);
            said
        });
        asked.await.unwrap_or_else(|| Err(no_answer()))
    }
}

impl Desk {
    async fn ask(&self, shown: &Shown, outward: &Outward) -> Said {
        let _room = self.room.acquire().await.map_err(|_| no_answer())?;
        let answer = outward.get(&self.url, &[(shown.0.clone(), shown.1.clone())]).await;
        match answer {
            Ok(Answer { status: 200, body }) => match serde_json::from_slice(&body) {
                Ok(Value::Object(said)) => Ok(Arc::new(said)),
                // So it is said by applications that answer everybody.
                Ok(_) => Err(no_session()),
                Err(error) => Err(self.complain(&format!("its answer is no JSON: {error}"))),
            },
            Ok(Answer { status: 401 | 403 | 404, .. }) => Err(no_session()),
            Ok(Answer { status, .. }) => Err(self.complain(&format!("the answer was HTTP {status}"))),
            Err(error) => Err(self.complain(&error)),
        }
    }

    fn keep(&self, key: Key, shown: Shown, said: &Said) {
        match said {
            Ok(said) => {
                if self.known.len() >= REMEMBERED {
                    self.known.retain(|_, known| known.at.elapsed() < IDLE);
                }
                if self.known.len() >= REMEMBERED {
                    self.known.retain(|_, known| known.at.elapsed() < self.age);
                }
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(key, Known { shown, said: said.clone(), at: Instant::now() });
            }
            Err(fault) => {
                if fault.code == Code::Unauthorized {
                    self.known.remove(&key);
                }
                self.refused.put(self.refused.asking(), key, fault.clone());
            }
        }
    }

    fn complain(&self, error: &str) -> Fault {
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= COMPLAINTS) {
            *last = Some(Instant::now());
            tracing::warn!(error, "auth.session_url cannot be asked about a session");
        }
        no_answer()
    }
}

fn no_session() -> Fault {
    Fault::new(Code::Unauthorized, "there is no such session, or it has ended")
}

fn no_answer() -> Fault {
    Fault::unavailable("the application that knows this session does not answer at the moment")
}
