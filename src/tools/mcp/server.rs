//! One server: what is known of it, and the connection of the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

use super::{BETWEEN, Link, Listed, Offered, Reach, ServerSettings};
use crate::domain::canonical::is_hidden;

/// Of one server.
const MOST_TOOLS: usize = 256;
/// Of a tool's description.
const DESCRIPTION_BYTES: usize = 4096;
/// Of a tool's schema.
const SCHEMA_BYTES: usize = 65_536;
/// What models' APIs take as a name.
const NAME_BYTES: usize = 64;

/// A connection and the calls that are under way on it.
#[derive(Clone)]
pub(super) struct Open {
    pub link: Arc<dyn Link>,
    calls: Arc<AtomicUsize>,
    idle: Arc<Notify>,
}

impl Open {
    pub fn new(link: Arc<dyn Link>) -> Self {
        Self { link, calls: Arc::default(), idle: Arc::default() }
    }

    /// Counted until it is dropped.
    pub fn begin(&self) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(self.clone())
    }

    /// Waits until no call is under way.
    pub async fn idle(&self) {
        while self.calls.load(Ordering::Relaxed) > 0 {
            self.idle.notified().await;
        }
    }
}

/// A call under way.
pub(super) struct Call(Open);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
        // One waits at most; the permit is kept for who looks a moment later.
        self.0.idle.notify_one();
    }
}

pub(super) struct Server {
    pub settings: ServerSettings,
    open: watch::Sender<Option<Open>>,
    /// Outlives a connection: a call that comes while it is made anew waits for it.
    offered: std::sync::RwLock<Arc<Vec<Offered>>>,
    /// The connection of the moment is not to be used any more.
    retired: Notify,
}

impl Server {
    pub fn new(settings: ServerSettings) -> Self {
        let (open, _) = watch::channel(None);
        Self { settings, open, offered: Default::default(), retired: Notify::new() }
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub fn offered(&self) -> Arc<Vec<Offered>> {
        self.offered.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub fn put_open(&self, open: Option<Open>) {
        self.open.send_replace(open);
    }

    /// Takes over what the server says of its tools: nothing hidden, nothing endless, no name that a model cannot use.
    pub fn put_offered(&self, listed: Listed) {
        let mut kept: Vec<Offered> = Vec::new();
        for (name, description, schema) in listed {
            let full_name = format!("{}{BETWEEN}{name}", self.name());
            let plain = full_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            let usable = plain && full_name.len() <= NAME_BYTES && schema.to_string().len() <= SCHEMA_BYTES;
            if !usable || kept.len() == MOST_TOOLS || kept.iter().any(|one| one.full_name == full_name) {
                let shown: String = name.chars().filter(|c| !is_hidden(*c)).take(80).collect();
                tracing::warn!(server = self.name(), tool = shown, "a tool of an MCP server cannot be offered");
                continue;
            }
            let mut description: String = description.chars().filter(|c| *c == '\n' || !is_hidden(*c)).collect();
            description.truncate(description.floor_char_boundary(DESCRIPTION_BYTES));
            kept.push(Offered { name, full_name, description, schema });
        }
        kept.sort_by(|one, other| one.full_name.cmp(&other.full_name));
        tracing::info!(server = self.name(), tools = kept.len(), "the tools of an MCP server are known");
        *self.offered.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(kept);
    }

    /// The connection, waited for as long as connecting may take.
    ///
    /// # Errors
    /// A sentence for the model.
    pub async fn open(&self) -> Result<Open, String> {
        let mut watched = self.open.subscribe();
        let found = tokio::time::timeout(self.settings.connect_time, watched.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(Result::ok).and_then(|open| open.clone());
        found.ok_or_else(|| format!("the MCP server {} cannot be reached at the moment", self.name()))
    }

    /// A call was aborted on it. A program might work on all the same: it is ended with all that it has started, once
    /// the calls of others on it are done, and a new one is started at once.
    pub fn aborted(&self, open: &Open) {
        if matches!(self.settings.reach, Reach::Program { kill_on_abort: true, .. }) {
            self.retire(open);
        }
    }

    /// The connection is not used for anything new, and another one is made.
    pub fn retire(&self, open: &Open) {
        let current = |now: &mut Option<Open>| {
            let same = now.as_ref().is_some_and(|known| Arc::ptr_eq(&known.link, &open.link));
            if same {
                *now = None;
            }
            same
        };
        if self.open.send_if_modified(current) {
            self.retired.notify_one();
        }
    }

    pub async fn retired(&self) {
        self.retired.notified().await;
    }
}
