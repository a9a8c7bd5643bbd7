//! A channel's home: the only one who numbers its events and lets subscribers in.

use std::sync::Arc;

use ahash::AHashMap;

use super::inbox::{Mail, Workers};
use super::ring::{Ring, RingLimits, TextOf};
use super::{Published, Recalled};
use crate::domain::channel::{ChannelKey, ChannelKinds, Position};
use crate::domain::event::{ChannelSnapshot, Event, Greeting, Numbered, PresenceList};
use crate::domain::hub::{ConnectionNumber, DialectId};
use crate::domain::ids::{Timestamp, UserId};
use crate::domain::principal::Principal;
use crate::doors::DIALECTS;
use crate::error::{Fault, close};
use crate::framing::Frame;
use crate::transport::{Close, ConnectionId};

/// What one pull brings at most, in bytes of text, about.
const PULL_BYTES: usize = 64 << 10;

/// The way back from a listener to its home.
pub trait HomeLink: Send + Sync {
    /// The listener has drained and wants what follows `seq`.
    fn pull(&self, connection: ConnectionNumber, dialect: DialectId, seq: u64);

    /// The listener is gone.
    fn detach(&self, connection: ConnectionNumber, dialect: DialectId);

    /// What the listener may do has changed: it is judged anew, as this principal.
    fn renew(&self, connection: ConnectionNumber, dialect: DialectId, principal: Arc<Principal>);
}

/// A subscriber as its home knows it.
#[derive(Debug, Clone)]
pub struct Member {
    pub principal: Arc<Principal>,
    /// Its wire has words for where the channel stands, and it asked for them.
    pub greeted: bool,
    /// May answer the conversation's approvals.
    pub answers: bool,
}

/// What is told of who is on a channel.
#[derive(Debug, Clone, Copy)]
pub struct PresenceRules {
    /// The kinds of channels that tell who comes and goes; all can be asked who is there.
    pub told: ChannelKinds,
    /// Above this many users a channel tells only how many there are.
    pub named: usize,
}

/// What configuration says of a home.
#[derive(Debug, Clone, Copy)]
pub struct HomeRules {
    pub ring: RingLimits,
    pub presence: PresenceRules,
}

/// What a new subscriber knows.
pub enum Opening<'a> {
    /// Nothing; or what it knows can be of no use. The snapshot is the channel's, as of now.
    Fresh(&'a mut dyn FnMut(PresenceList) -> Option<Arc<ChannelSnapshot>>),
    /// It takes the channel from this snapshot, which is as of `seq`.
    AsOf { seq: u64, snapshot: Arc<ChannelSnapshot> },
}

/// Drawn at random whenever a channel comes to life: 64 bits in hexadecimal.
pub fn new_epoch() -> Arc<str> {
    let mut bytes = [0; 8];
    // Without randomness from the system the process has worse troubles; the id generator is the fallback.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        bytes.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[8..]);
    }
    format!("{:016x}", u64::from_be_bytes(bytes)).into()
}

pub struct Home {
    key: ChannelKey,
    workers: Workers,
    link: Arc<dyn HomeLink>,
    epoch: Arc<str>,
    seq: u64,
    ring: Ring,
    members: AHashMap<(ConnectionNumber, DialectId), Member>,
    /// Members that may answer approvals.
    answering: usize,
    /// Members on each worker.
    by_worker: Vec<u32>,
    /// Connections of each user.
    users: AHashMap<UserId, u32>,
    /// Tells who comes and goes.
    tells: bool,
    /// Names them as long as there are not more.
    named: usize,
    /// The newest greeting with a snapshot: encoded once per seq and dialect.
    greeting: Option<(u64, DialectId, Vec<Frame>)>,
}

impl Home {
    pub fn new(key: ChannelKey, workers: Workers, link: Arc<dyn HomeLink>, epoch: Arc<str>, rules: HomeRules) -> Self {
        let by_worker = vec![0; workers.count()];
        let HomeRules { ring, presence } = rules;
        let tells = key.kind().is_some_and(|kind| presence.told.holds(kind));
        Self {
            key,
            workers,
            link,
            epoch,
            seq: 0,
            ring: Ring::new(ring),
            members: AHashMap::new(),
            answering: 0,
            by_worker,
            users: AHashMap::new(),
            tells,
            named: presence.named,
            greeting: None,
        }
    }

    pub fn key(&self) -> &ChannelKey {
        &self.key
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), seq: self.seq }
    }

    pub fn is_deserted(&self) -> bool {
        self.members.is_empty()
    }

    pub fn forget_old(&mut self, now: Timestamp) {
        self.ring.forget_old(now);
    }

    pub fn ring_is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Connections that may answer approvals.
    pub fn answerers(&self) -> usize {
        self.answering
    }

    pub fn presence(&self) -> PresenceList {
        let count = self.users.len() as u32;
        let users = (self.users.len() <= self.named).then(|| {
            let mut users: Vec<UserId> = self.users.keys().cloned().collect();
            users.sort();
            users
        });
        PresenceList { count, users }
    }

    /// Numbers an event and sends it to all who listen. Gives its seq.
    pub fn publish(&mut self, event: Event, at: Timestamp) -> u64 {
        self.seq += 1;
        // It holds a whole snapshot, of a seq that nobody can be greeted with any more.
        self.greeting = None;
        let published = Published::new(Numbered {
            channel: self.key.clone(),
            epoch: self.epoch.clone(),
            seq: self.seq,
            from_seq: self.seq,
            at,
            event,
        });
        self.ring.push(&published);
        for (worker, members) in self.by_worker.iter().enumerate() {
            if *members > 0 {
                self.workers.send(worker, Mail::Event(published.clone()));
            }
        }
        self.seq
    }

    fn template(&self, at: Timestamp) -> Numbered {
        Numbered {
            channel: self.key.clone(),
            epoch: self.epoch.clone(),
            seq: self.seq,
            from_seq: self.seq,
            at,
            event: Event::PresenceLeft { user: None, count: 0 },
        }
    }

    /// Whether everything after a position can still be given.
    pub fn can_resume(&self, since: &Position) -> bool {
        since.epoch == self.epoch && self.ring.holds_after(since.seq, self.seq)
    }

    /// Lets a subscriber in; the next event it gets is the one after the greeting's seq. False where the opening is of no use any more: then begin again.
    pub fn attach(
        &mut self,
        (connection, dialect): (ConnectionNumber, DialectId),
        mut member: Member,
        since: Option<&Position>,
        opening: Opening<'_>,
        at: Timestamp,
        text_of: TextOf<'_>,
    ) -> bool {
        member.answers &= DIALECTS[usize::from(dialect.0)].asks();
        if let Opening::AsOf { seq, .. } = &opening
            && !self.ring.holds_after(*seq, self.seq)
        {
            return false;
        }
        let greeted = member.greeted;
        // Whether a position is of use is asked before the newcomer's own arrival moves the channel on.
        let since = since.filter(|s| self.can_resume(s));
        // Whoever subscribes again is one subscriber still.
        if self.drop_member(connection, dialect).is_none() {
            self.joined(&member.principal.user, at);
        }
        let frames = self.first_frames(dialect, greeted, since, opening, at, text_of);
        self.answering += usize::from(member.answers);
        self.members.insert((connection, dialect), member);
        let worker = ConnectionId(connection).worker();
        if let Some(count) = self.by_worker.get_mut(worker) {
            *count += 1;
        }
        let (channel, link) = (self.key.clone(), self.link.clone());
        self.workers.send(worker, Mail::Attach { connection, channel, dialect, greeted, link, frames });
        true
    }

    fn first_frames(
        &mut self,
        dialect: DialectId,
        greeted: bool,
        since: Option<&Position>,
        opening: Opening<'_>,
        at: Timestamp,
        text_of: TextOf<'_>,
    ) -> Vec<Frame> {
        if dialect == crate::doors::NATIVE && !greeted {
            return Vec::new();
        }
        if let Some(since) = since.filter(|s| self.can_resume(s))
            && let Some(missed) = self.ring.after(since.seq, &self.template(at), text_of, usize::MAX)
        {
            let mut frames = DIALECTS[usize::from(dialect.0)].greeting(&self.greet(true, since.seq, None));
            frames.extend(self.encode(&missed, dialect, at));
            return frames;
        }
        match opening {
            Opening::Fresh(snapshot) => {
                if let Some((seq, known, frames)) = &self.greeting
                    && (*seq, *known) == (self.seq, dialect)
                {
                    return frames.clone();
                }
                let presence = self.presence();
                let greeting = self.greet(false, self.seq, snapshot(presence));
                let frames = DIALECTS[usize::from(dialect.0)].greeting(&greeting);
                if greeting.snapshot.is_some() {
                    self.greeting = Some((self.seq, dialect, frames.clone()));
                }
                frames
            }
            Opening::AsOf { seq, snapshot } => {
                let mut frames = DIALECTS[usize::from(dialect.0)].greeting(&self.greet(false, seq, Some(snapshot)));
                let later = self.ring.after(seq, &self.template(at), text_of, usize::MAX).unwrap_or_default();
                frames.extend(self.encode(&later, dialect, at));
                frames
            }
        }
    }

    fn greet(&self, recovered: bool, seq: u64, snapshot: Option<Arc<ChannelSnapshot>>) -> Greeting {
        Greeting { channel: self.key.clone(), epoch: self.epoch.clone(), seq, recovered, snapshot }
    }

    /// Answers a listener that had fallen behind.
    pub fn pull(
        &mut self,
        connection: ConnectionNumber,
        dialect: DialectId,
        seq: u64,
        snapshot: &mut dyn FnMut(PresenceList) -> Option<Arc<ChannelSnapshot>>,
        at: Timestamp,
        text_of: TextOf<'_>,
    ) {
        let Some(member) = self.members.get(&(connection, dialect)) else { return };
        let greeted = member.greeted;
        let worker = ConnectionId(connection).worker();
        let held = self.ring.holds_after(seq, self.seq);
        let missed = if held { self.ring.after(seq, &self.template(at), text_of, PULL_BYTES) } else { None };
        let (frames, next) = match missed {
            Some(missed) => {
                let next = missed.last().map_or(seq, Recalled::seq);
                (self.encode(&missed, dialect, at), next)
            }
            None if greeted => {
                let snapshot = snapshot(self.presence());
                if snapshot.is_none() && !self.key.is_application() {
                    return self.cut(connection);
                }
                let greeting = self.greet(false, self.seq, snapshot);
                (DIALECTS[usize::from(dialect.0)].greeting(&greeting), self.seq)
            }
            None => return self.cut(connection),
        };
        let channel = self.key.clone();
        let live = next == self.seq;
        self.workers.send(worker, Mail::CatchUp { connection, channel, dialect, frames, from: seq, next, live });
    }

    /// What a listener missed cannot be given to it here: it has to come back and take the channel anew.
    fn cut(&self, connection: ConnectionNumber) {
        let close = Close::new(close::TOO_SLOW, "backpressure");
        self.workers.send(ConnectionId(connection).worker(), Mail::Close { connection, close });
    }

    /// The numbering restarts: everybody who listens is told, in place of a gap.
    pub fn reset(
        &mut self,
        epoch: Arc<str>,
        link: Arc<dyn HomeLink>,
        snapshot: &mut dyn FnMut(PresenceList) -> Option<Arc<ChannelSnapshot>>,
    ) {
        self.epoch = epoch;
        self.link = link;
        self.seq = 0;
        self.ring.clear();
        self.greeting = None;
        let greeting = Arc::new(self.greet(false, 0, snapshot(self.presence())));
        for (worker, members) in self.by_worker.iter().enumerate() {
            if *members > 0 {
                let (channel, link) = (self.key.clone(), self.link.clone());
                self.workers.send(worker, Mail::Reset { channel, greeting: greeting.clone(), link });
            }
        }
    }

    /// A listener is gone.
    pub fn detach(&mut self, connection: ConnectionNumber, dialect: DialectId, at: Timestamp) {
        if let Some(member) = self.drop_member(connection, dialect) {
            self.left(&member.principal.user, at);
        }
    }

    /// A member's rights are others now. Whoever may not listen any more is dismissed by [`Home::dismiss`].
    pub fn renew(
        &mut self,
        connection: ConnectionNumber,
        dialect: DialectId,
        principal: Arc<Principal>,
        answers: bool,
    ) {
        let Some(member) = self.members.get_mut(&(connection, dialect)) else { return };
        self.answering -= usize::from(member.answers);
        self.answering += usize::from(answers);
        member.principal = principal;
        member.answers = answers;
    }

    fn drop_member(&mut self, connection: ConnectionNumber, dialect: DialectId) -> Option<Member> {
        let member = self.members.remove(&(connection, dialect))?;
        self.answering -= usize::from(member.answers);
        if let Some(count) = self.by_worker.get_mut(ConnectionId(connection).worker()) {
            *count -= 1;
        }
        Some(member)
    }

    /// All members, for a check whether they still may listen, or for telling them why it ends.
    pub fn members(&self) -> impl Iterator<Item = (ConnectionNumber, DialectId, &Member)> {
        self.members.iter().map(|((connection, dialect), member)| (*connection, *dialect, member))
    }

    /// Ends subscriptions from the hub's side. Whoever is shut out does not hear of the others who are.
    pub fn dismiss(&mut self, list: Vec<(ConnectionNumber, DialectId, Fault)>, at: Timestamp) {
        let mut users = Vec::with_capacity(list.len());
        for (connection, dialect, fault) in list {
            let Some(member) = self.drop_member(connection, dialect) else { continue };
            let worker = ConnectionId(connection).worker();
            let channel = self.key.clone();
            self.workers.send(worker, Mail::Detach { connection, channel, dialect, fault });
            users.push(member.principal.user.clone());
        }
        for user in users {
            self.left(&user, at);
        }
    }

    fn joined(&mut self, user: &UserId, at: Timestamp) {
        let connections = self.users.entry(user.clone()).or_default();
        *connections += 1;
        if *connections == 1 && self.tells {
            let count = self.users.len();
            let named = (count <= self.named).then(|| user.clone());
            self.publish(Event::PresenceJoined { user: named, count: count as u32 }, at);
        }
    }

    fn left(&mut self, user: &UserId, at: Timestamp) {
        let Some(connections) = self.users.get_mut(user) else { return };
        *connections -= 1;
        if *connections == 0 {
            self.users.remove(user);
            if self.tells {
                let count = self.users.len();
                let named = (count < self.named).then(|| user.clone());
                self.publish(Event::PresenceLeft { user: named, count: count as u32 }, at);
            }
        }
    }

    /// The newest events after a position, or the newest `limit`. `None` where they are gone.
    pub fn history(
        &self,
        since: Option<&Position>,
        limit: usize,
        at: Timestamp,
        text_of: TextOf<'_>,
    ) -> Option<Vec<Arc<Numbered>>> {
        let from = match since {
            Some(since) if !self.can_resume(since) => return None,
            Some(since) => since.seq,
            None => 0,
        };
        let template = self.template(at);
        let mut found = self.ring.after(from, &template, text_of, usize::MAX)?;
        if found.len() > limit {
            match since {
                Some(_) => found.truncate(limit),
                None => drop(found.drain(..found.len() - limit)),
            }
        }
        found.iter().map(|recalled| recalled.numbered(&template).map(Arc::new)).collect()
    }

    fn encode(&self, events: &[Recalled], dialect: DialectId, at: Timestamp) -> Vec<Frame> {
        let template = self.template(at);
        events.iter().flat_map(|recalled| recalled.frames(dialect, &template)).collect()
    }
}
