//! What is kept of a namespace whose transport is lost, so that its client can come back and miss nothing.
//!
//! Nothing that was said is kept here: the conversations' own rings have it. Only how far the client was written to,
//! and in which order, so that the place it names can be turned into a place in each conversation.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use dashmap::DashMap;
use tokio::sync::oneshot;

use super::session::{Letter, SessionActor};
use crate::domain::channel::Position;
use crate::domain::ids::{ConversationId, OrganizationId, UserId};
use crate::domain::principal::Principal;

/// How long a client may be away.
const KEPT: Duration = Duration::from_secs(120);
/// Namespaces that are kept at most; the oldest goes first.
const ALL: usize = 10_000;
/// The same of one user.
const EACH: usize = 32;
/// Changes from one conversation to another that are remembered of what was written.
const RUNS: usize = 1024;

/// What was written to a client of one namespace, in order.
#[derive(Debug, Default, Clone)]
pub struct Written {
    watched: Vec<Watched>,
    runs: VecDeque<Run>,
    /// The beginning is forgotten.
    trimmed: bool,
}

/// A conversation under one numbering.
#[derive(Debug, Clone)]
struct Watched {
    conversation: ConversationId,
    epoch: Arc<str>,
    /// Where the client stands as long as no run says more.
    base: u64,
    /// Not watched any more, or under another numbering.
    over: bool,
}

/// Events of one conversation without another's between them.
#[derive(Debug, Clone, Copy)]
struct Run {
    watched: usize,
    first: u64,
    last: u64,
}

impl Written {
    /// From here on a conversation's events follow this place.
    pub fn greeted(&mut self, conversation: ConversationId, epoch: &str, seq: u64) {
        let same = self.watched.iter().any(|w| !w.over && w.conversation == conversation && *w.epoch == *epoch);
        if same {
            return;
        }
        self.forgotten(conversation);
        self.watched.push(Watched { conversation, epoch: epoch.into(), base: seq, over: false });
    }

    /// A conversation is watched no more.
    pub fn forgotten(&mut self, conversation: ConversationId) {
        self.watched.iter_mut().filter(|w| w.conversation == conversation).for_each(|w| w.over = true);
    }

    /// An event went out.
    pub fn event(&mut self, epoch: &str, seq: u64) {
        if let Some(run) = self.runs.back_mut()
            && *self.watched[run.watched].epoch == *epoch
        {
            run.last = run.last.max(seq);
            return;
        }
        let Some(watched) = self.watched.iter().rposition(|w| *w.epoch == *epoch) else { return };
        self.runs.push_back(Run { watched, first: seq, last: seq });
        if self.runs.len() > RUNS
            && let Some(run) = self.runs.pop_front()
        {
            self.watched[run.watched].base = run.last;
            self.trimmed = true;
        }
    }

    /// Where a client stands in each conversation that has heard all up to this place and nothing after it; without a
    /// place it has heard nothing at all. Nothing where that cannot be told any more.
    pub fn positions(&mut self, place: Option<(&str, u64)>) -> Option<Vec<(ConversationId, Position)>> {
        match place {
            None if self.trimmed => return None,
            None => self.runs.clear(),
            Some((epoch, seq)) => {
                let holds = |r: &Run| *self.watched[r.watched].epoch == *epoch && (r.first..=r.last).contains(&seq);
                let at = self.runs.iter().rposition(holds)?;
                self.runs.truncate(at + 1);
                self.runs[at].last = seq;
            }
        }
        let mut all = Vec::new();
        for (index, watched) in self.watched.iter().enumerate().filter(|(_, watched)| !watched.over) {
            let seq = self.runs.iter().rev().find(|run| run.watched == index).map_or(watched.base, |run| run.last);
            all.push((watched.conversation, Position { epoch: watched.epoch.clone(), seq }));
        }
        Some(all)
    }
}

/// A namespace without a transport.
#[derive(Debug)]
pub struct Parked {
    pub namespace: &'static str,
    pub sid: Arc<str>,
    pub principal: Arc<Principal>,
    pub written: Written,
    /// What its client calls conversations, where that is not the hub's id.
    pub names: HashMap<ConversationId, String>,
}

type Owner = (OrganizationId, UserId);

fn owner(principal: &Principal) -> Owner {
    (principal.organization.clone(), principal.user.clone())
}

#[derive(Default)]
struct Lot {
    /// By private id.
    parked: HashMap<Arc<str>, Parked>,
    /// Those and some that are gone, the oldest first.
    order: VecDeque<(Instant, Arc<str>)>,
    owners: HashMap<Owner, VecDeque<Arc<str>>>,
}

impl Lot {
    fn take(&mut self, pid: &str) -> Option<Parked> {
        let parked = self.parked.remove(pid)?;
        let owner = owner(&parked.principal);
        if let Some(own) = self.owners.get_mut(&owner) {
            own.retain(|other| **other != *pid);
            if own.is_empty() {
                self.owners.remove(&owner);
            }
        }
        Some(parked)
    }

    fn put(&mut self, pid: Arc<str>, parked: Parked, now: Instant) {
        let own = self.owners.entry(owner(&parked.principal)).or_default();
        own.push_back(pid.clone());
        let surplus = if own.len() > EACH { own.front().cloned() } else { None };
        self.parked.insert(pid.clone(), parked);
        self.order.push_back((now, pid));
        surplus.and_then(|pid| self.take(&pid));
        while self.parked.len() > ALL || self.order.len() > 2 * ALL {
            let Some((_, pid)) = self.order.pop_front() else { break };
            self.take(&pid);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((_, pid)) = self.order.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= KEPT) {
            self.take(&pid);
        }
    }
}

/// Where clients that come back find what they left, whichever worker they come to.
#[derive(Default)]
pub struct Parking {
    lot: Mutex<Lot>,
    /// Namespaces that still have a transport, as far as the hub knows.
    live: DashMap<Arc<str>, Addr<SessionActor>>,
}

impl Parking {
    pub fn begins(&self, pid: Arc<str>, session: Addr<SessionActor>) {
        self.live.insert(pid, session);
    }

    /// The namespace has left its session: for good, or to be kept for a while.
    pub fn ends(&self, pid: &Arc<str>, parked: Option<Parked>) {
        self.live.remove(pid);
        let now = Instant::now();
        let mut lot = self.lot.lock().unwrap_or_else(PoisonError::into_inner);
        lot.forget_old(now);
        if let Some(parked) = parked {
            lot.put(pid.clone(), parked, now);
        }
    }

    /// What that user's client left of this namespace. Somebody else's stays where it is.
    pub async fn reclaim(&self, pid: &str, principal: &Principal, namespace: &str) -> Option<Parked> {
        // A network can change before the hub hears of it: then the old transport is the one to go.
        let live = self.live.get(pid).map(|session| session.clone());
        if let Some(session) = live {
            let (answer, released) = oneshot::channel();
            session.do_send(Letter::Release { pid: pid.into(), owner: owner(principal), answer });
            let _ = released.await;
        }
        let mut lot = self.lot.lock().unwrap_or_else(PoisonError::into_inner);
        lot.forget_old(Instant::now());
        let known = lot.parked.get(pid)?;
        let same = known.namespace == namespace && owner(&known.principal) == owner(principal);
        if same { lot.take(pid) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::{Credential, Role};

    const A: ConversationId = ConversationId(1);
    const B: ConversationId = ConversationId(2);

    fn seqs(written: &Written, place: Option<(&str, u64)>) -> Option<Vec<(u128, u64)>> {
        let positions = written.clone().positions(place)?;
        Some(positions.into_iter().map(|(conversation, position)| (conversation.0, position.seq)).collect())
    }

    #[test]
    fn a_place_in_one_conversation_says_how_much_of_every_other_was_heard() {
        let mut written = Written::default();
        written.greeted(A, "a", 10);
        written.event("a", 11);
        written.event("a", 14);
        written.greeted(B, "b", 5);
        written.event("b", 6);
        written.event("a", 15);
        written.event("b", 9);
        assert_eq!(seqs(&written, Some(("a", 11))), Some(vec![(1, 11), (2, 5)]));
        assert_eq!(seqs(&written, Some(("a", 14))), Some(vec![(1, 14), (2, 5)]));
        assert_eq!(seqs(&written, Some(("b", 6))), Some(vec![(1, 14), (2, 6)]));
        assert_eq!(seqs(&written, Some(("b", 9))), Some(vec![(1, 15), (2, 9)]));
        assert_eq!(seqs(&written, None), Some(vec![(1, 10), (2, 5)]));
        for never in [("a", 16), ("b", 10), ("b", 5), ("c", 1)] {
            assert_eq!(seqs(&written, Some(never)), None, "{never:?}");
        }
        // Lost once more before anything new came: the same place counts still, and what came after it is unwritten.
        assert!(written.positions(Some(("b", 6))).is_some());
        assert_eq!(seqs(&written, Some(("a", 15))), None);
        assert_eq!(seqs(&written, Some(("b", 6))), Some(vec![(1, 14), (2, 6)]));
    }

    #[test]
    fn another_numbering_takes_the_place_of_the_old_one() {
        let mut written = Written::default();
        written.greeted(A, "a", 0);
        written.event("a", 3);
        written.greeted(A, "n", 0);
        assert_eq!(seqs(&written, Some(("a", 3))), Some(vec![(1, 0)]));
        written.event("n", 2);
        assert_eq!(seqs(&written, Some(("n", 2))), Some(vec![(1, 2)]));
        written.forgotten(A);
        assert_eq!(seqs(&written, Some(("n", 2))), Some(vec![]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut written = Written::default();
        written.greeted(A, "a", 0);
        written.greeted(B, "b", 0);
        for n in 1..=RUNS as u64 {
            written.event("a", n);
            written.event("b", n);
        }
        assert_eq!(written.runs.len(), RUNS);
        assert_eq!(seqs(&written, None), None);
        assert_eq!(seqs(&written, Some(("a", 1))), None, "forgotten");
        let newest = RUNS as u64;
        assert_eq!(seqs(&written, Some(("a", newest))), Some(vec![(1, newest), (2, newest - 1)]));
    }

    fn parked(user: &str) -> Parked {
        let principal = Arc::new(Principal {
            organization: OrganizationId::parse("acme").unwrap(),
            user: UserId::parse(user).unwrap(),
            role: Role::Member,
            hub_admin: false,
            permissions: Vec::new(),
            credential: Credential::Operator,
            expires_at: None,
        });
        Parked { namespace: "/ai", sid: "s".into(), principal, written: Written::default(), names: HashMap::new() }
    }

    #[test]
    fn nobody_parks_without_end() {
        let (mut lot, began) = (Lot::default(), Instant::now());
        for n in 0..EACH + 3 {
            lot.put(format!("ann{n}").into(), parked("ann"), began);
        }
        lot.put("ben".into(), parked("ben"), began);
        assert_eq!((lot.parked.len(), lot.owners.len()), (EACH + 1, 2));
        assert!(lot.take("ann2").is_none(), "the oldest went first");
        assert!(lot.take("ann3").is_some() && lot.take("ann3").is_none());
        lot.forget_old(began + KEPT - Duration::from_millis(1));
        assert_eq!(lot.parked.len(), EACH);
        lot.forget_old(began + KEPT);
        assert_eq!((lot.parked.len(), lot.owners.len(), lot.order.len()), (0, 0, 0));
    }

    #[actix_rt::test]
    async fn only_its_own_user_reclaims_it() {
        let (parking, pid): (_, Arc<str>) = (Parking::default(), "pid".into());
        parking.ends(&pid, Some(parked("ann")));
        assert!(parking.reclaim("pid", &parked("ben").principal, "/ai").await.is_none());
        assert!(parking.reclaim("pid", &parked("ann").principal, "/chat").await.is_none());
        assert!(parking.reclaim("other", &parked("ann").principal, "/ai").await.is_none());
        assert!(parking.reclaim("pid", &parked("ann").principal, "/ai").await.is_some());
        assert!(parking.reclaim("pid", &parked("ann").principal, "/ai").await.is_none(), "once");
    }
}
