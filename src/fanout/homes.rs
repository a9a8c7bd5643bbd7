//! Homes of the channels that no conversation owns: `app:`, `user:`, `org:`, `project:`. Each lives on one worker,
//! chosen by its name, and is forgotten when nobody listens and nothing is left to catch up on.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::oneshot;

use super::home::{Home, HomeLink, HomeRules, Member, Opening, new_epoch};
use super::inbox::{Mail, Workers};
use crate::domain::channel::{ApplicationName, Channel, ChannelKey, Named, Position};
use crate::domain::event::{ChannelSnapshot, Event, Numbered, PresenceList};
use crate::domain::hub::{ConnectionNumber, DialectId};
use crate::domain::ids::{Source, SystemSource, Timestamp};
use crate::domain::policy::{self, Operation};
use crate::domain::principal::Principal;
use crate::error::Fault;
use crate::transport::{Close, current_worker};

/// How often empty homes are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// A letter to a home that lives on a worker.
pub enum HomeMail {
    Publish {
        key: ChannelKey,
        event: Event,
        rules: HomeRules,
        answer: Option<oneshot::Sender<Position>>,
    },
    /// Only where a home is: nobody listens otherwise.
    Announce {
        key: ChannelKey,
        event: Event,
    },
    Begin {
        key: ChannelKey,
        rules: HomeRules,
        since: Option<Position>,
        answer: oneshot::Sender<HomeState>,
    },
    Attach {
        key: ChannelKey,
        rules: HomeRules,
        request: AttachRequest,
        answer: oneshot::Sender<bool>,
    },
    Pull {
        key: ChannelKey,
        connection: ConnectionNumber,
        dialect: DialectId,
        seq: u64,
    },
    Detach {
        key: ChannelKey,
        connection: ConnectionNumber,
        dialect: DialectId,
    },
    Renew {
        key: ChannelKey,
        connection: ConnectionNumber,
        dialect: DialectId,
        principal: Arc<Principal>,
    },
    Presence {
        key: ChannelKey,
        answer: oneshot::Sender<PresenceList>,
    },
    History {
        key: ChannelKey,
        since: Option<Position>,
        limit: usize,
        answer: oneshot::Sender<History>,
    },
}

/// What a history look-up found.
pub type History = (Position, Option<Vec<Arc<Numbered>>>);

pub struct AttachRequest {
    pub connection: ConnectionNumber,
    pub dialect: DialectId,
    pub member: Member,
    pub since: Option<Position>,
    /// As of this position; without one the channel has no snapshot.
    pub snapshot: Option<(Position, Arc<ChannelSnapshot>)>,
}

/// Where a home stands.
pub struct HomeState {
    pub position: Position,
    /// Whether the position that was asked about can be resumed from.
    pub resumable: bool,
}

thread_local! {
    static HOMES: RefCell<AHashMap<ChannelKey, Rc<RefCell<Home>>>> = RefCell::default();
}

/// The same on every worker of this process; another process hashes for itself.
static HASHER: std::sync::LazyLock<ahash::RandomState> = std::sync::LazyLock::new(ahash::RandomState::new);

pub(super) fn home_worker(workers: &Workers, key: &dyn Named) -> usize {
    if workers.count() == 1 {
        return 0;
    }
    let mut hasher = HASHER.build_hasher();
    hasher.write(key.organization().as_str().as_bytes());
    hasher.write(key.name().as_bytes());
    hasher.finish() as usize % workers.count()
}

fn now() -> Timestamp {
    SystemSource.now()
}

/// The way back to a home on a worker.
struct WorkerLink {
    workers: Workers,
    key: ChannelKey,
}

impl HomeLink for WorkerLink {
    fn pull(&self, connection: ConnectionNumber, dialect: DialectId, seq: u64) {
        let mail = HomeMail::Pull { key: self.key.clone(), connection, dialect, seq };
        self.workers.send(home_worker(&self.workers, &self.key), Mail::Home(mail));
    }

    fn detach(&self, connection: ConnectionNumber, dialect: DialectId) {
        let mail = HomeMail::Detach { key: self.key.clone(), connection, dialect };
        self.workers.send(home_worker(&self.workers, &self.key), Mail::Home(mail));
    }

    fn renew(&self, connection: ConnectionNumber, dialect: DialectId, principal: Arc<Principal>) {
        let mail = HomeMail::Renew { key: self.key.clone(), connection, dialect, principal };
        self.workers.send(home_worker(&self.workers, &self.key), Mail::Home(mail));
    }
}

/// Runs on the home, which is made if it is not there.
fn with_home<R>(workers: &Workers, key: &ChannelKey, rules: HomeRules, use_it: impl FnOnce(&mut Home) -> R) -> R {
    let home = HOMES.with_borrow_mut(|homes| match homes.get(key) {
        Some(home) => home.clone(),
        None => {
            let link = Arc::new(WorkerLink { workers: workers.clone(), key: key.clone() });
            let home = Home::new(key.clone(), workers.clone(), link, new_epoch(), rules);
            homes.entry(key.clone()).or_insert(Rc::new(RefCell::new(home))).clone()
        }
    });
    let mut home = home.borrow_mut();
    use_it(&mut home)
}

pub(super) fn with_known<R>(key: &ChannelKey, use_it: impl FnOnce(&mut Home) -> R) -> Option<R> {
    let home = HOMES.with_borrow(|homes| homes.get(key).cloned())?;
    let mut home = home.borrow_mut();
    Some(use_it(&mut home))
}

/// The homes on this worker whose channel is one of these.
pub(super) fn those(wanted: impl Fn(&ChannelKey) -> bool) -> Vec<Rc<RefCell<Home>>> {
    let picked = |(key, home): (&ChannelKey, &Rc<RefCell<Home>>)| wanted(key).then(|| home.clone());
    HOMES.with_borrow(|homes| homes.iter().filter_map(picked).collect())
}

pub(super) fn receive(workers: &Workers, mail: HomeMail) {
    match mail {
        HomeMail::Publish { key, event, rules, answer } => {
            let position = publish_here(workers, &key, event, rules);
            answer.map(|answer| answer.send(position));
        }
        HomeMail::Announce { key, event } => {
            with_known(&key, |home| home.publish(event, now()));
        }
        HomeMail::Begin { key, rules, since, answer } => {
            let state = with_home(workers, &key, rules, |home| HomeState {
                position: home.position(),
                resumable: since.is_some_and(|s| home.can_resume(&s)),
            });
            let _ = answer.send(state);
        }
        HomeMail::Attach { key, rules, request, answer } => {
            let attached = with_home(workers, &key, rules, |home| attach_here(home, request));
            let _ = answer.send(attached);
        }
        HomeMail::Pull { key, connection, dialect, seq } => {
            with_known(&key, |home| home.pull(connection, dialect, seq, &mut |_| None, now(), &|_, _| None));
        }
        HomeMail::Detach { key, connection, dialect } => {
            with_known(&key, |home| home.detach(connection, dialect, now()));
        }
        HomeMail::Renew { key, connection, dialect, principal } => {
            with_known(&key, |home| renew_here(home, connection, dialect, principal));
        }
        HomeMail::Presence { key, answer } => {
            let _ = answer.send(with_known(&key, |home| home.presence()).unwrap_or_default());
        }
        HomeMail::History { key, since, limit, answer } => {
            let found = with_known(&key, |home| {
                let events = home.history(since.as_ref(), limit, now(), &|_, _| None);
                (home.position(), events)
            });
            if let Some(found) = found {
                let _ = answer.send(found);
            }
        }
    }
}

fn publish_here(workers: &Workers, key: &ChannelKey, event: Event, rules: HomeRules) -> Position {
    with_home(workers, key, rules, |home| publish_at(home, event))
}

fn publish_at(home: &mut Home, event: Event) -> Position {
    home.publish(event, now());
    home.position()
}

fn attach_here(home: &mut Home, request: AttachRequest) -> bool {
    let AttachRequest { connection, dialect, member, since, snapshot } = request;
    // What could be resumed when the snapshot was asked about may be gone by now.
    let lost = member.greeted && !home.key().is_application() && since.as_ref().is_none_or(|s| !home.can_resume(s));
    let opening = match snapshot {
        None if lost => return false,
        Some((position, _)) if position.epoch != home.position().epoch => return false,
        Some((position, snapshot)) => Opening::AsOf { seq: position.seq, snapshot },
        None => Opening::Fresh(&mut |_| None),
    };
    home.attach((connection, dialect), member, since.as_ref(), opening, now(), &|_, _| None)
}

/// Judges a member anew, as this principal.
fn renew_here(home: &mut Home, connection: ConnectionNumber, dialect: DialectId, principal: Arc<Principal>) {
    let allowed = policy::allow(&principal, Operation::Subscribe).and_then(|()| {
        let channel = Channel::parse(home.key().name()).map_err(|_| Fault::not_found("channel"))?;
        policy::channel(&principal, &channel)
    });
    match allowed {
        Ok(()) => home.renew(connection, dialect, principal, false),
        Err(fault) => home.dismiss(vec![(connection, dialect, fault)], now()),
    }
}

/// Publishes to an application channel. On the home's own worker the position comes at once.
pub fn publish(
    workers: &Workers,
    channel: ApplicationName<'_>,
    event: Event,
    rules: HomeRules,
    answer: Option<oneshot::Sender<Position>>,
) {
    let worker = home_worker(workers, &channel);
    if current_worker() == Some(worker) {
        // A home that is there is found by its name: no key is made for it.
        let known = HOMES.with_borrow(|homes| homes.get(&channel as &dyn Named).cloned());
        let position = match known {
            Some(home) => publish_at(&mut home.borrow_mut(), event),
            None => publish_here(workers, &channel.into(), event, rules),
        };
        answer.map(|answer| answer.send(position));
    } else {
        let key = channel.into();
        workers.send(worker, Mail::Home(HomeMail::Publish { key, event, rules, answer }));
    }
}

/// Tells a channel something, if anybody could want to hear it.
pub fn announce(workers: &Workers, key: ChannelKey, event: Event) {
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::Announce { key, event }));
}

/// Where a channel stands now; its home is made if it is not there.
pub async fn begin(workers: &Workers, key: ChannelKey, rules: HomeRules, since: Option<Position>) -> Option<HomeState> {
    let (answer, state) = oneshot::channel();
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::Begin { key, rules, since, answer }));
    state.await.ok()
}

/// Lets a subscriber in. False where the snapshot is too old: then begin again.
pub async fn attach(workers: &Workers, key: ChannelKey, rules: HomeRules, request: AttachRequest) -> bool {
    let (answer, attached) = oneshot::channel();
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::Attach { key, rules, request, answer }));
    attached.await.unwrap_or(false)
}

/// Says that a listener is gone.
pub fn detach(workers: &Workers, key: ChannelKey, connection: ConnectionNumber, dialect: DialectId) {
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::Detach { key, connection, dialect }));
}

pub async fn presence(workers: &Workers, key: ChannelKey) -> PresenceList {
    let (answer, presence) = oneshot::channel();
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::Presence { key, answer }));
    presence.await.unwrap_or_default()
}

/// `None` where the channel has no home, and so no history.
pub async fn history(workers: &Workers, key: ChannelKey, since: Option<Position>, limit: usize) -> Option<History> {
    let (answer, found) = oneshot::channel();
    workers.send(home_worker(workers, &key), Mail::Home(HomeMail::History { key, since, limit, answer }));
    found.await.ok()
}

/// Closes all sockets that listen to a channel whose home is gone.
pub fn close_all(workers: &Workers, channel: &ChannelKey, close: &Close) {
    workers.send_to_all(|| Mail::CloseChannel { channel: channel.clone(), close: close.clone() });
}

/// Forgets homes that serve nobody.
pub(super) async fn sweep() {
    loop {
        actix_rt::time::sleep(SWEEP).await;
        let at = now();
        HOMES.with_borrow_mut(|homes| {
            homes.retain(|_, home| {
                let mut home = home.borrow_mut();
                home.forget_old(at);
                !(home.is_deserted() && home.ring_is_empty())
            });
        });
    }
}
