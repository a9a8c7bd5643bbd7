//! All channels of an organization at once, asked of every worker: for the administration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::home::Home;
use super::homes::{home_worker, those, with_known};
use super::inbox::Workers;
use super::table::each_channel;
use crate::domain::admin::{ChannelCount, Told};
use crate::domain::channel::ChannelKey;
use crate::domain::event::Event;
use crate::domain::hub::{ConnectionNumber, DialectId};
use crate::domain::ids::{OrganizationId, Source, SystemSource};
use crate::domain::principal::Principal;

/// A listener, as its channel's home knows it.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub connection: ConnectionNumber,
    pub dialect: DialectId,
    pub principal: Arc<Principal>,
}

/// Channels of an organization by name, from behind `after` on, at most `limit`: those that somebody listens to, and
/// those whose newest events are kept.
pub async fn channels(
    workers: &Workers,
    organization: &OrganizationId,
    prefix: &str,
    after: Option<String>,
    limit: usize,
) -> Vec<ChannelCount> {
    let (organization, prefix) = (organization.clone(), prefix.to_owned());
    let here = move || {
        let wanted = |key: &ChannelKey| {
            let behind = after.as_deref().is_none_or(|after| key.name() > after);
            behind && *key.organization() == organization && key.name().starts_with(&prefix)
        };
        let mut first = First { limit, found: BTreeMap::new() };
        each_channel(|key, listeners| {
            if wanted(key) {
                first.add(key.name(), listeners);
            }
        });
        for home in those(wanted) {
            first.add(home.borrow().key().name(), 0);
        }
        first.found
    };
    // A channel among the first of all is among the first on each worker that knows it: none of its listeners is missed.
    let mut all = First { limit, found: BTreeMap::new() };
    for (name, listeners) in workers.ask_all(here).await.into_iter().flatten() {
        all.add(&name, listeners);
    }
    all.found.into_iter().map(|(channel, subscribers)| ChannelCount { channel, subscribers }).collect()
}

/// The first names in their order, however many are shown to it.
struct First {
    limit: usize,
    found: BTreeMap<String, usize>,
}

impl First {
    fn add(&mut self, name: &str, listeners: usize) {
        if let Some(known) = self.found.get_mut(name) {
            *known += listeners;
            return;
        }
        let full = self.found.len() >= self.limit;
        if full && self.found.last_key_value().is_none_or(|(last, _)| name > last.as_str()) {
            return;
        }
        self.found.insert(name.to_owned(), listeners);
        if full {
            self.found.pop_last();
        }
    }
}

/// The listeners of a home behind one of them, in the order of their numbers, at most `limit`.
pub fn subscribers_of(home: &Home, after: Option<(ConnectionNumber, u8)>, limit: usize) -> Vec<Subscriber> {
    let behind = |connection, dialect: DialectId| after.is_none_or(|after| (connection, dialect.0) > after);
    let mut all: Vec<_> = home.members().filter(|(connection, dialect, _)| behind(*connection, *dialect)).collect();
    all.sort_unstable_by_key(|(connection, dialect, _)| (*connection, dialect.0));
    all.truncate(limit);
    let subscriber = |(connection, dialect, member): (_, _, &super::Member)| Subscriber {
        connection,
        dialect,
        principal: member.principal.clone(),
    };
    all.into_iter().map(subscriber).collect()
}

/// The same of a channel that no conversation owns. `None` where it has no home: nobody listens, and nothing is kept.
pub async fn subscribers(
    workers: &Workers,
    key: ChannelKey,
    after: Option<(ConnectionNumber, u8)>,
    limit: usize,
) -> Option<Vec<Subscriber>> {
    let worker = home_worker(workers, &key);
    workers.ask(worker, move || with_known(&key, |home| subscribers_of(home, after, limit))).await.flatten()
}

/// Tells all who listen to an organization's own channel: of one organization, or of each.
pub async fn tell_organizations(workers: &Workers, only: Option<&OrganizationId>, event: Event) -> Told {
    let only = only.cloned();
    let here = move || {
        let wanted = |key: &ChannelKey| {
            key.name().starts_with("org:") && only.as_ref().is_none_or(|only| key.organization() == only)
        };
        let mut told = Told::default();
        for home in those(wanted) {
            let mut home = home.borrow_mut();
            let listeners = home.members().count();
            told.organizations += usize::from(listeners > 0);
            told.subscribers += listeners;
            home.publish(event.clone(), SystemSource.now());
        }
        told
    };
    let mut all = Told::default();
    for told in workers.ask_all(here).await {
        all.organizations += told.organizations;
        all.subscribers += told.subscribers;
    }
    all
}
