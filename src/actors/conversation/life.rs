//! How a conversation comes to life, comes back after a failure, rests, and ends.

use super::*;
use crate::domain::conversation::Outcome;
use crate::domain::event::Event;
use crate::domain::record::{Batch, Write};
use crate::domain::settings::Settings;
use crate::fanout::new_epoch;
use crate::store::{CommitFault, StoreFault};

/// Messages and bytes of text that are kept in memory.
const LOADED_MESSAGES: usize = 2000;
const LOADED_BYTES: usize = 4 << 20;

/// The longest pause between two tries to load.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What loading came to.
enum Loaded {
    Nothing,
    Ready(Box<Conversation>, Outcome),
}

impl ConversationActor {
    /// Reads the rows and settles them before anybody is answered.
    pub(super) fn load(&mut self, context: &mut Context<Self>) {
        self.life += 1;
        let store = self.shared.store.clone();
        let settings = self.shared.settings.get();
        let (organization, id) = self.place.clone();
        let load = async move {
            let unread = |fault| (from_store(fault), None);
            let stored = store.load(&organization, id, LOADED_MESSAGES, LOADED_BYTES).await.map_err(unread)?;
            let Some(stored) = stored else { return Ok(Loaded::Nothing) };
            let row = Some(Box::new(stored.settings.clone()));
            let Some(rules) = settings.rules(&stored.settings.agent) else {
                return Err((Fault::unavailable("no agent is configured"), row));
            };
            let (machine, mut outcome) = Conversation::recover(stored, rules, &mut SystemSource);
            let writes = std::mem::take(&mut outcome.writes);
            if !writes.is_empty() {
                let at = SystemSource.now();
                let ended = super::gauges::ends(&writes);
                let batch = Batch { organization, conversation: id, at, writes, idempotency: None };
                store.commit(batch).await.map_err(|fault| (from_commit(fault), row))?;
                ended.into_iter().for_each(super::gauges::count_end);
            }
            Ok(Loaded::Ready(Box::new(machine), outcome))
        };
        let then = load.into_actor(self).map(|loaded, actor, context| match loaded {
            Ok(Loaded::Nothing) => actor.absent(context),
            Ok(Loaded::Ready(machine, outcome)) => actor.come_alive(machine, outcome, context),
            Err((fault, readable)) => actor.try_again(fault, readable, context),
        });
        context.wait(then);
    }

    fn come_alive(&mut self, machine: Box<Conversation>, outcome: Outcome, context: &mut Context<Self>) {
        self.tries = 0;
        let agent = AgentSession::new(context.address().recipient()).start();
        let live = Live {
            machine: *machine,
            agent,
            upstream: None,
            askers: HashMap::new(),
            next_asker: 1,
            checkpoint_armed: false,
            behind: 0,
            alarm: None,
            share: super::gauges::Share::default(),
            deleting: None,
            // None: they may have changed while the rows were read.
            version: u64::MAX,
            roles: HashMap::new(),
        };
        self.state = State::Live(Box::new(live));
        let epoch = new_epoch();
        let link: Arc<dyn HomeLink> = Arc::new(Link { epoch: epoch.clone(), home: context.address() });
        match &mut self.home {
            None => {
                let (workers, rules) = (self.shared.workers.clone(), self.shared.settings.get().session_home);
                self.home = Some(Home::new(self.channel.clone(), workers, link, epoch, rules));
            }
            Some(_) => {
                let Some((home, live)) = self.both() else { return };
                let machine = &live.machine;
                home.reset(epoch, link, &mut |presence| snapshot_of(machine, presence));
            }
        }
        self.count_answerers(context);
        self.tell(Vec::new(), outcome.effects, context);
    }

    fn absent(&mut self, context: &mut Context<Self>) {
        self.state = State::Absent;
        self.dismiss_all(&Fault::not_found("session"));
        self.registry.do_send(Forget { place: self.place.clone(), address: context.address() });
        // Letters that are under way are answered; then nobody knows this address any more.
        context.run_later(Duration::from_secs(1), |_, context| context.stop());
    }

    fn try_again(&mut self, fault: Fault, readable: Option<Box<Settings>>, context: &mut Context<Self>) {
        tracing::warn!(conversation = %self.place.1, %fault, tries = self.tries, "a conversation could not be loaded");
        self.state = State::Down { fault, readable };
        let pause = Duration::from_millis(200 << self.tries.min(6)).min(LONGEST_PAUSE);
        self.tries += 1;
        context.run_later(pause, |actor, context| {
            if matches!(actor.state, State::Down { .. }) {
                actor.load(context);
            }
        });
    }

    /// Throws the state in memory away and takes it from disk, under a new epoch. Listeners stay.
    pub(super) fn reload(&mut self, context: &mut Context<Self>) {
        if let State::Live(live) = std::mem::replace(&mut self.state, State::Loading) {
            if let Some((_, cancel)) = live.upstream {
                cancel.cancel();
            }
            live.agent.do_send(Stop);
            for (_, waiting) in live.askers {
                let _ = waiting.send(Err(Fault::unavailable("the session was loaded anew; ask again")));
            }
            for waiting in live.deleting.into_iter().flat_map(|(_, all)| all) {
                let _ = waiting.send(Err(Fault::unavailable("the session was loaded anew; ask again")));
            }
            if let Some((_, handle)) = live.alarm {
                context.cancel_future(handle);
            }
        }
        self.load(context);
    }

    /// Leaves memory when nobody needs it.
    pub(super) fn rest(&mut self, context: &mut Context<Self>) {
        let deserted = self.home.as_ref().is_none_or(Home::is_deserted);
        let idle = match &mut self.state {
            State::Live(live) => {
                if live.machine.is_idle() {
                    live.machine.trim(LOADED_BYTES);
                }
                live.machine.is_idle()
            }
            _ => false,
        };
        let unused = SystemSource.now().since(self.last_used) > self.shared.settings.get().rest_after;
        if idle && deserted && unused {
            let forget = Forget { place: self.place.clone(), address: context.address() };
            // The registry forgets the address first, and until it has no letter is taken: one that changed anything
            // afterwards would do so beside the conversation's next actor.
            let then = self.registry.send(forget).into_actor(self).map(move |_, actor, context| {
                actor.state = State::Leaving;
                context.address().do_send(Leave);
            });
            context.wait(then);
        }
    }

    /// The hub stops: what waits goes on after the next start.
    pub(super) fn drain(&mut self, drain: Drain, context: &mut Context<Self>) {
        let Drain { now, answer } = drain;
        let at_work = match self.live() {
            Ok(live) if now => {
                let outcome = live.machine.interrupt(&mut SystemSource);
                return self.drive(outcome, context, move |_, _, _| _ = answer.send(false));
            }
            Ok(live) => live.machine.hold(),
            Err(_) => false,
        };
        let _ = answer.send(at_work);
    }

    fn dismiss_all(&mut self, fault: &Fault) {
        let Some(home) = &mut self.home else { return };
        let everybody = home.members().map(|(connection, dialect, _)| (connection, dialect, fault.clone())).collect();
        home.dismiss(everybody, SystemSource.now());
    }

    /// Ends the subscriptions of those who may not watch any more, before they hear what shut them out.
    pub(super) fn dismiss_shut_out(&mut self, context: &mut Context<Self>) {
        let Some((home, live)) = self.both() else { return };
        let settings = &live.machine.settings;
        let judged = home.members().filter_map(|(connection, dialect, member)| {
            let fault = policy::conversation(&member.principal, settings, Access::Watch).err()?;
            Some((connection, dialect, fault))
        });
        let shut_out: Vec<_> = judged.collect();
        if shut_out.is_empty() {
            return;
        }
        home.dismiss(shut_out, SystemSource.now());
        self.count_answerers(context);
    }

    /// Nothing runs any more: the rows go, and everybody is told.
    pub(super) fn delete_now(&mut self, context: &mut Context<Self>) {
        let Ok(live) = self.live() else { return };
        let Some((_, waiting)) = live.deleting.take() else { return };
        let settings = Arc::new(live.machine.settings.clone());
        let outcome = Outcome {
            writes: vec![Write::DeleteConversation],
            events: vec![Event::SessionUpdated { settings, deleted: true, info: None, paused: None }],
            ..Outcome::default()
        };
        self.drive(outcome, context, |actor, context, result| {
            let deleted = result.is_ok();
            for waiting in waiting {
                let _ = waiting.send(result.clone().map(|()| Reply::Deleted).map_err(from_commit_ref));
            }
            // Where nothing was written the conversation is still there, and is loaded anew.
            if deleted && actor.live().is_ok() {
                actor.absent(context);
            }
        });
    }
}

/// Ends an agent session with its conversation's life.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for AgentSession {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

pub(crate) fn from_store(fault: StoreFault) -> Fault {
    tracing::error!(%fault, "the store could not be read");
    Fault::unavailable("the store cannot be read at the moment")
}

pub(crate) fn from_commit(fault: CommitFault) -> Fault {
    from_commit_ref(fault)
}

fn from_commit_ref(fault: CommitFault) -> Fault {
    match fault {
        CommitFault::Full(_) => Fault::unavailable("the disk is full: nothing was stored"),
        CommitFault::Unavailable(_) => Fault::unavailable("the store does not answer; it is not known what was stored"),
        CommitFault::QueueFull => Fault::unavailable("too much waits to be written"),
        CommitFault::IdempotencyTaken { .. } => {
            Fault::new(crate::error::Code::Conflict, "the idempotency key was used for another request")
        }
        fault @ CommitFault::AliasTaken(_) => Fault::new(crate::error::Code::Conflict, fault.to_string()),
        CommitFault::Conflict(text) => Fault::new(crate::error::Code::Conflict, text),
        CommitFault::Refused(text) => {
            tracing::error!(text, "the store refused rows");
            Fault::internal("the store refused the rows")
        }
    }
}
