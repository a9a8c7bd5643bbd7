//! A conversation's home: the actor around the pure machine. It commits, numbers, tells, and starts what follows.
//!
//! One batch of facts is under way at a time: while it is written the actor takes no letter, so that the order on the
//! wire is the order of decisions, and nobody sees what is not on disk.

mod commands;
mod drive;
mod gauges;
mod life;
mod verdicts;

pub(super) use life::{from_commit, from_store};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::agent::{AgentSession, Report};
use super::registry::{Forget, Place, Registry};
use crate::domain::channel::{Channel, ChannelKey, Position};
use crate::domain::command::{Caller, Reply, SessionCommand};
use crate::domain::conversation::{Asker, Conversation, Run};
use crate::domain::event::{ChannelSnapshot, PresenceList};
use crate::domain::hub::{ConnectionNumber, DialectId, Listen};
use crate::domain::ids::{Source, SystemSource, Timestamp, TurnId};
use crate::domain::policy::{self, Access, By};
use crate::domain::principal::{Principal, Role};
use crate::domain::settings::Settings;
use crate::error::{Fault, close};
use crate::fanout::{self, Home, HomeLink, Member, Opening, Subscriber};
use crate::transport::Close;

/// Growing text is on disk at least this often.
const CHECKPOINT: Duration = Duration::from_millis(500);

/// How often an actor asks itself whether it is still needed.
const REST_CHECK: Duration = Duration::from_secs(30);

/// A command on its way to the conversation. `answer` is always answered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ask {
    pub caller: Caller,
    pub by: By,
    pub command: SessionCommand,
    pub answer: oneshot::Sender<Result<Reply, Fault>>,
}

/// Somebody wants to listen.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Attach {
    pub caller: Caller,
    pub connection: ConnectionNumber,
    pub listen: Listen,
    pub answer: oneshot::Sender<Result<(), Fault>>,
}

/// Who listens, and the newest events.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Look {
    Presence {
        caller: Caller,
        answer: oneshot::Sender<Result<Reply, Fault>>,
    },
    History {
        caller: Caller,
        by: By,
        since: Option<Position>,
        limit: usize,
        answer: oneshot::Sender<Result<Reply, Fault>>,
    },
    /// For the administration: the listeners behind one of them.
    Subscribers {
        caller: Caller,
        after: Option<(ConnectionNumber, u8)>,
        limit: usize,
        answer: oneshot::Sender<Result<Vec<Subscriber>, Fault>>,
    },
}

/// From a worker's table.
#[derive(Message)]
#[rtype(result = "()")]
enum FromListener {
    Pull { epoch: Arc<str>, connection: ConnectionNumber, dialect: DialectId, seq: u64 },
    Detach { connection: ConnectionNumber, dialect: DialectId },
    Renew { connection: ConnectionNumber, dialect: DialectId, principal: Arc<Principal> },
}

/// The hub stops. Answered with whether a turn is at work still.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// The turn at work is cut off and marked, and the answer comes when that is on disk and told. Else it may go on,
    /// but none is started after it.
    pub now: bool,
    pub answer: oneshot::Sender<bool>,
}

/// For tests: panic while holding the conversation.
#[cfg(feature = "failpoints")]
#[derive(Message)]
#[rtype(result = "()")]
pub struct Panic;

struct Link {
    epoch: Arc<str>,
    home: Addr<ConversationActor>,
}

impl HomeLink for Link {
    fn pull(&self, connection: ConnectionNumber, dialect: DialectId, seq: u64) {
        self.home.do_send(FromListener::Pull { epoch: self.epoch.clone(), connection, dialect, seq });
    }

    fn detach(&self, connection: ConnectionNumber, dialect: DialectId) {
        self.home.do_send(FromListener::Detach { connection, dialect });
    }

    fn renew(&self, connection: ConnectionNumber, dialect: DialectId, principal: Arc<Principal>) {
        self.home.do_send(FromListener::Renew { connection, dialect, principal });
    }
}

/// How far the conversation is.
enum State {
    /// Its rows are being read; letters wait.
    Loading,
    Live(Box<Live>),
    /// Its rows cannot be read or settled at the moment; tried again until they can.
    Down {
        fault: Fault,
        /// Its row, where only the settling of it failed: what is on disk can be read.
        readable: Option<Box<Settings>>,
    },
    /// There is no such conversation.
    Absent,
    /// The registry has forgotten this actor: whoever wrote to it asks the registry once more.
    Leaving,
}

impl State {
    /// Why the conversation cannot be had.
    fn why_not(&self) -> Fault {
        match self {
            Self::Down { fault, .. } => fault.clone(),
            Self::Absent => Fault::not_found("session"),
            Self::Leaving => Fault::unavailable(LEAVING),
            Self::Live(_) | Self::Loading => Fault::unavailable("the session is being loaded"),
        }
    }
}

/// The text of the answer that sends a letter to the registry again. Nothing was done with the letter.
pub(super) const LEAVING: &str = "the session is leaving memory; ask again";

/// To oneself: all letters that came before are answered.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

type Answerer = oneshot::Sender<Result<Reply, Fault>>;

struct Live {
    machine: Conversation,
    agent: Addr<AgentSession>,
    /// Fired to close the upstream of a run.
    upstream: Option<(Run, CancellationToken)>,
    /// Who waits for an answer that comes later.
    askers: HashMap<Asker, Answerer>,
    next_asker: Asker,
    checkpoint_armed: bool,
    /// Batches under way that nobody waits for.
    behind: usize,
    alarm: Option<(Timestamp, SpawnHandle)>,
    share: gauges::Share,
    /// Whoever deletes, and as which asker it waits until nothing runs any more.
    deleting: Option<(Asker, Vec<Answerer>)>,
    /// Of the hub's settings, which the rules were made from.
    version: u64,
    /// Of whoever sent the messages of turns that have not ended; after a restart unknown.
    roles: HashMap<TurnId, Role>,
}

pub struct ConversationActor {
    shared: Shared,
    place: Place,
    registry: Addr<Registry>,
    channel: ChannelKey,
    state: State,
    /// Listeners outlive a reload.
    home: Option<Home>,
    last_used: Timestamp,
    tries: u32,
    /// Rises with each load: what a former life still has under way is not this one's.
    life: u64,
}

impl ConversationActor {
    pub fn new(shared: Shared, place: Place, registry: Addr<Registry>) -> Self {
        let channel = ChannelKey::new(place.0.clone(), &Channel::Session(place.1));
        let last_used = SystemSource.now();
        let state = State::Loading;
        Self { shared, place, registry, channel, state, home: None, last_used, tries: 0, life: 0 }
    }

    /// The conversation, or why it cannot be had.
    fn live(&mut self) -> Result<&mut Live, Fault> {
        self.keep_up();
        match &mut self.state {
            State::Live(live) => Ok(live),
            other => Err(other.why_not()),
        }
    }

    /// Settings that were changed while the hub runs count from the next step on.
    fn keep_up(&mut self) {
        let State::Live(live) = &mut self.state else { return };
        let version = self.shared.settings.version();
        if live.version == version {
            return;
        }
        live.version = version;
        if let Some(rules) = self.shared.settings.get().rules(&live.machine.settings.agent) {
            live.machine.set_rules(rules);
        }
    }

    /// The conversation, if the caller may do this with it.
    fn allowed(&mut self, caller: &Caller, by: By, access: Access) -> Result<&mut Live, Fault> {
        self.last_used = SystemSource.now();
        let live = self.live()?;
        policy::conversation_by(by, &caller.principal, &live.machine.settings, access)?;
        Ok(live)
    }

    /// The conversation's row as it is on disk, if the caller may see it: also where nothing can be written.
    fn readable(&mut self, caller: &Caller, by: By) -> Result<&Settings, Fault> {
        self.last_used = SystemSource.now();
        let row = match &self.state {
            State::Live(live) => &live.machine.settings,
            State::Down { readable: Some(row), .. } => row,
            other => return Err(other.why_not()),
        };
        policy::conversation_by(by, &caller.principal, row, Access::Watch)?;
        Ok(row)
    }

    /// The home and the machine, both at once.
    fn both(&mut self) -> Option<(&mut Home, &mut Live)> {
        self.keep_up();
        match (&mut self.home, &mut self.state) {
            (Some(home), State::Live(live)) => Some((home, live)),
            _ => None,
        }
    }

    fn attach(&mut self, attach: &Attach) -> Result<(), Fault> {
        self.allowed(&attach.caller, By::User, Access::Watch)?;
        let Some((home, live)) = self.both() else { return Err(Fault::unavailable("the session is being loaded")) };
        let machine = &live.machine;
        let principal = &attach.caller.principal;
        let member = Member {
            principal: principal.clone(),
            greeted: attach.listen.greeted,
            answers: policy::conversation(principal, &machine.settings, Access::Approve).is_ok(),
        };
        let mut snapshot = |presence| snapshot_of(machine, presence);
        home.attach(
            (attach.connection, attach.listen.dialect),
            member,
            attach.listen.since.as_ref(),
            Opening::Fresh(&mut snapshot),
            SystemSource.now(),
            &|message, part| machine.part_text(message, part),
        );
        Ok(())
    }

    /// A listener's rights are others now: it may have lost this conversation, or its say in it.
    fn renew(
        &mut self,
        (connection, dialect): (ConnectionNumber, DialectId),
        principal: Arc<Principal>,
        context: &mut Context<Self>,
    ) {
        // While it is loaded anew nobody is judged; the change is told a second time.
        let Some((home, live)) = self.both() else { return };
        let settings = &live.machine.settings;
        match policy::conversation(&principal, settings, Access::Watch) {
            Ok(()) => {
                let answers = policy::conversation(&principal, settings, Access::Approve).is_ok();
                home.renew(connection, dialect, principal, answers);
            }
            Err(fault) => home.dismiss(vec![(connection, dialect, fault)], SystemSource.now()),
        }
        self.count_answerers(context);
    }

    /// How many may answer has changed, or not.
    fn count_answerers(&mut self, context: &mut Context<Self>) {
        let Some((home, live)) = self.both() else { return };
        let outcome = live.machine.on_answerers(home.answerers(), &mut SystemSource);
        self.drive(outcome, context, |_, _, _| {});
    }
}

fn snapshot_of(machine: &Conversation, presence: PresenceList) -> Option<Arc<ChannelSnapshot>> {
    Some(Arc::new(ChannelSnapshot::Session { snapshot: Box::new(machine.snapshot()), presence }))
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1024);
        self.load(context);
        context.run_interval(REST_CHECK, Self::rest);
    }

    fn stopping(&mut self, context: &mut Self::Context) -> Running {
        self.registry.do_send(Forget { place: self.place.clone(), address: context.address() });
        Running::Stop
    }
}

impl Drop for ConversationActor {
    fn drop(&mut self) {
        // What no handler caught: the listeners' home is gone, and they come back to a new one.
        if std::thread::panicking() {
            let close = Close::new(close::RESTARTING, "the session restarts");
            fanout::close_all(&self.shared.workers, &self.channel, &close);
        }
    }
}

impl Handler<Ask> for ConversationActor {
    type Result = ();

    fn handle(&mut self, ask: Ask, context: &mut Self::Context) {
        self.guarded(context, |actor, context| actor.ask(ask, context));
    }
}

impl Handler<Attach> for ConversationActor {
    type Result = ();

    fn handle(&mut self, attach: Attach, context: &mut Self::Context) {
        self.guarded(context, |actor, context| {
            let result = actor.attach(&attach);
            let attached = result.is_ok();
            let _ = attach.answer.send(result);
            if attached {
                actor.count_answerers(context);
            }
        });
    }
}

impl Handler<Look> for ConversationActor {
    type Result = ();

    fn handle(&mut self, look: Look, _: &mut Self::Context) {
        match look {
            Look::Presence { caller, answer } => {
                let result = self.allowed(&caller, By::User, Access::Watch).map(|_| ()).map(|()| {
                    let PresenceList { count, users } = self.home.as_ref().map(Home::presence).unwrap_or_default();
                    Reply::Presence { count, users }
                });
                let _ = answer.send(result);
            }
            Look::History { caller, by, since, limit, answer } => {
                let _ = answer.send(self.history((&caller, by), since.as_ref(), limit));
            }
            Look::Subscribers { caller, after, limit, answer } => {
                let allowed = self.allowed(&caller, By::Administration, Access::Watch).map(|_| ());
                let home = self.home.as_ref();
                let _ = answer.send(
                    allowed.map(|()| home.map(|home| fanout::subscribers_of(home, after, limit)).unwrap_or_default()),
                );
            }
        }
    }
}

impl Handler<FromListener> for ConversationActor {
    type Result = ();

    fn handle(&mut self, letter: FromListener, context: &mut Self::Context) {
        self.guarded(context, |actor, context| match letter {
            FromListener::Pull { epoch, connection, dialect, seq } => {
                let Some((home, live)) = actor.both() else { return };
                // A pull of a numbering that is over was answered by the reset.
                if home.position().epoch != epoch {
                    return;
                }
                let machine = &live.machine;
                let mut snapshot = |presence| snapshot_of(machine, presence);
                let text_of = |message, part| machine.part_text(message, part);
                home.pull(connection, dialect, seq, &mut snapshot, SystemSource.now(), &text_of);
            }
            FromListener::Detach { connection, dialect } => {
                if let Some(home) = &mut actor.home {
                    home.detach(connection, dialect, SystemSource.now());
                }
                actor.count_answerers(context);
            }
            FromListener::Renew { connection, dialect, principal } => {
                actor.renew((connection, dialect), principal, context);
            }
        });
    }
}

impl Handler<Report> for ConversationActor {
    type Result = ();

    fn handle(&mut self, report: Report, context: &mut Self::Context) {
        self.guarded(context, |actor, context| actor.report(report, context));
    }
}

impl Handler<Leave> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: Leave, context: &mut Self::Context) {
        context.stop();
    }
}

impl Handler<Drain> for ConversationActor {
    type Result = ();

    fn handle(&mut self, drain: Drain, context: &mut Self::Context) {
        self.guarded(context, |actor, context| actor.drain(drain, context));
    }
}

#[cfg(feature = "failpoints")]
impl Handler<Panic> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: Panic, context: &mut Self::Context) {
        self.guarded(context, |_, _| panic!("a test asked for it"));
    }
}
