//! Which rows of `part_tail` belong to which growing part. The table has no index by part, because every delta would
//! pay for it; the hub remembers the numbers instead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::{ConversationId, OrganizationId, PartId};

pub(super) type Home = (OrganizationId, ConversationId);
/// The rows of each part of one conversation, oldest first.
pub(super) type Rows = HashMap<PartId, Vec<i64>>;

/// What is committed.
#[derive(Debug, Default)]
pub(super) struct Tails(Mutex<HashMap<Home, Rows>>);

/// What a transaction changes, in order.
#[derive(Debug)]
pub(super) enum Change {
    Added(Home, PartId, i64),
    Closed(Home, PartId),
    Gone(Home),
}

impl Tails {
    fn open(&self) -> MutexGuard<'_, HashMap<Home, Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, home: &Home) -> Rows {
        self.open().get(home).cloned().unwrap_or_default()
    }

    /// The rows of `part` as a transaction sees them that has made `changes` so far.
    pub(super) fn of_part(&self, home: &Home, part: PartId, changes: &[Change]) -> Vec<i64> {
        let mut rows = self.open().get(home).and_then(|rows| rows.get(&part)).cloned().unwrap_or_default();
        for change in changes {
            match change {
                Change::Added(h, p, n) if *p == part && h == home => rows.push(*n),
                Change::Closed(h, p) if *p == part && h == home => rows.clear(),
                Change::Gone(h) if h == home => rows.clear(),
                _ => {}
            }
        }
        rows
    }

    /// The same for all parts of a conversation.
    pub(super) fn of_home(&self, home: &Home, changes: &[Change]) -> Vec<i64> {
        let mut parts: Vec<PartId> = self.of(home).into_keys().collect();
        for change in changes {
            if let Change::Added(h, part, _) = change
                && h == home
                && !parts.contains(part)
            {
                parts.push(*part);
            }
        }
        parts.into_iter().flat_map(|part| self.of_part(home, part, changes)).collect()
    }

    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let mut known = self.open();
        for change in changes {
            match change {
                Change::Added(home, part, n) => known.entry(home).or_default().entry(part).or_default().push(n),
                Change::Closed(home, part) => {
                    if let Some(rows) = known.get_mut(&home) {
                        rows.remove(&part);
                        if rows.is_empty() {
                            known.remove(&home);
                        }
                    }
                }
                Change::Gone(home) => {
                    known.remove(&home);
                }
            }
        }
    }
}
