//! How many sockets each user has open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;

use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::principal::Principal;
use crate::error::{Code, Fault};
use crate::telemetry;

type Owner = (OrganizationId, UserId);

/// Seconds after which somebody whose places are all taken may ask again: nobody knows when one is free.
const AGAIN: u64 = 5;

/// Users with an open socket, each with how many. There are never more rows than sockets.
#[derive(Clone)]
pub struct Places {
    limit: Arc<AtomicU32>,
    open: Arc<DashMap<Owner, Arc<Count>, ahash::RandomState>>,
}

struct Count {
    owner: Owner,
    open: AtomicU32,
    all: Places,
}

/// One socket's place; dropping it gives it back. A pointer wide: sockets that wait for ever have one each.
pub struct Place(Arc<Count>);

impl Places {
    /// `limit` for each user; 0 is no limit, and nothing is counted.
    pub fn new(limit: u32) -> Self {
        Self { limit: Arc::new(AtomicU32::new(limit)), open: Arc::default() }
    }

    /// Another limit for who comes from now on: who has more places keeps them. Sockets that were opened while nothing
    /// was counted stay uncounted.
    pub fn set(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// One more; `None` where nothing is counted.
    ///
    /// # Errors
    /// `rate_limited`, with `details.limit` and `details.retryAfter`.
    pub fn take(&self, principal: &Principal) -> Result<Option<Place>, Fault> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let owner = (principal.organization.clone(), principal.user.clone());
        let count = self.open.entry(owner.clone());
        // The row is locked until the end of this block: counting and looking are one step.
        let count = count.or_insert_with(|| Arc::new(Count { owner, open: AtomicU32::new(0), all: self.clone() }));
        if count.open.load(Ordering::Relaxed) >= limit {
            metrics::counter!(telemetry::LIMITED, "budget" => "connections").increment(1);
            let details = serde_json::json!({ "limit": limit, "retryAfter": AGAIN });
            let message = format!("too many sockets: at most {limit} for one user");
            return Err(Fault::new(Code::RateLimited, message).with_details(details));
        }
        count.open.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Place(count.clone())))
    }

    /// Users that have a socket open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = &self.0;
        count.all.open.remove_if(&count.owner, |_, count| count.open.fetch_sub(1, Ordering::Relaxed) == 1);
    }
}
