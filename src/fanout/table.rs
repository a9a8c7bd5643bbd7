//! One worker's listeners. Only this worker's thread touches it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ahash::AHashMap;
use slab::Slab;

use super::home::HomeLink;
use super::inbox::{Mail, Workers};
use super::{Published, homes};
use crate::domain::channel::{Channel, ChannelKey};
use crate::domain::event::Greeting;
use crate::domain::hub::{ConnectionNumber, DialectId};
use crate::domain::ids::OrganizationId;
use crate::domain::principal::Principal;
use crate::doors::{DIALECTS, NATIVE};
use crate::error::Fault;
use crate::framing::Frame;
use crate::telemetry;
use crate::transport::{ConnectionId, Outbound, Pushed, on_drained, with_connection};

struct Listener {
    outbound: Rc<Outbound>,
    dialect: DialectId,
    greeted: bool,
    /// Nothing is queued for it until it has drained and pulled.
    behind: Option<Behind>,
    link: Arc<dyn HomeLink>,
}

impl Listener {
    /// A pull that nobody answers any more must not keep the connection's other channels waiting for their turn.
    fn next_turn(&self) {
        if self.behind.is_some() {
            self.outbound.set_lagging(true);
        }
    }
}

/// No channel ever comes so far: whoever stands there is given a snapshot.
const NOTHING: u64 = u64::MAX;

/// How far a listener that is behind has come.
struct Behind {
    /// The last seq it was given.
    seq: u64,
    /// It has pulled, and the answer is on its way.
    pulled: bool,
}

#[derive(Default)]
struct Table {
    channels: AHashMap<ChannelKey, Slab<Listener>>,
    /// Which slots a connection holds.
    held: AHashMap<ConnectionNumber, Vec<(ChannelKey, usize)>>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// Begins to take mail on this worker's thread.
pub fn start(workers: Workers, worker: usize) {
    on_drained(Rc::new(drained));
    actix_rt::spawn(EndOnPanic::guard(workers.clone().read(worker)));
    actix_rt::spawn(EndOnPanic::guard(homes::sweep()));
}

/// A worker without its inbox would be deaf in silence: its panic ends the process.
struct EndOnPanic;

impl EndOnPanic {
    async fn guard(task: impl Future<Output = ()>) {
        let _end = Self;
        task.await;
    }
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker's inbox panicked; ending the process");
            std::process::abort();
        }
    }
}

pub(super) fn receive(workers: &Workers, mail: Mail) {
    match mail {
        Mail::Event(published) => deliver(&published),
        Mail::Attach { connection, channel, dialect, greeted, link, frames } => {
            attach(connection, channel, Listening { dialect, greeted, link }, &frames);
        }
        Mail::CatchUp { connection, channel, dialect, frames, from, next, live } => {
            catch_up(connection, (&channel, dialect), &frames, from, (next, live));
        }
        Mail::Detach { connection, channel, dialect, fault } => detach(connection, &channel, dialect, &fault),
        Mail::Reset { channel, greeting, link } => reset(&channel, &greeting, &link),
        Mail::Close { connection, close } => {
            with_connection(ConnectionId(connection), |outbound| outbound.close(close));
        }
        Mail::CloseChannel { channel, close } => TABLE.with_borrow_mut(|table| {
            for (_, listener) in table.channels.get_mut(&channel).into_iter().flatten() {
                listener.outbound.close(close.clone());
            }
        }),
        Mail::Run(what) => what(),
        Mail::Home(mail) => homes::receive(workers, mail),
    }
}

fn deliver(published: &Arc<Published>) {
    let numbered = &published.numbered;
    TABLE.with_borrow_mut(|table| {
        let Some(listeners) = table.channels.get_mut(&numbered.channel) else { return };
        for (_, listener) in listeners.iter_mut() {
            if listener.behind.is_none() {
                let frames = published.encoded(listener.dialect).frames();
                push(listener, frames, numbered.seq);
            }
        }
    });
}

/// Pushes frames that end at `seq`; past the soft mark the listener is behind from there on.
fn push(listener: &mut Listener, frames: &[Frame], seq: u64) {
    let mut over = false;
    for frame in frames {
        over |= listener.outbound.push(frame) == Pushed::OverSoft;
    }
    if over {
        listener.behind = Some(Behind { seq, pulled: false });
        listener.outbound.set_lagging(true);
        metrics::counter!(telemetry::LAGGED).increment(1);
    }
}

/// How a new listener listens.
struct Listening {
    dialect: DialectId,
    greeted: bool,
    link: Arc<dyn HomeLink>,
}

fn attach(connection: ConnectionNumber, channel: ChannelKey, how: Listening, frames: &[Frame]) {
    // A socket that is closing hears nothing any more, and its connection may have left already.
    let open = with_connection(ConnectionId(connection), Rc::clone).filter(|outbound| outbound.is_open());
    let Some(outbound) = open else {
        // Later: the home that sent this letter is still at work on it.
        actix_rt::spawn(async move { how.link.detach(connection, how.dialect) });
        return;
    };
    let listener = Listener { outbound, dialect: how.dialect, greeted: how.greeted, behind: None, link: how.link };
    TABLE.with_borrow_mut(|table| {
        table.take(connection, &channel, listener.dialect);
        for frame in frames {
            // A greeting may be larger than the soft mark; what follows it is counted against that mark again.
            listener.outbound.push(frame);
        }
        let slots = table.channels.entry(channel.clone()).or_default();
        let slot = slots.insert(listener);
        let held = table.held.entry(connection).or_default();
        held.reserve_exact(1);
        held.push((channel, slot));
    });
}

fn catch_up(
    connection: ConnectionNumber,
    (channel, dialect): (&ChannelKey, DialectId),
    frames: &[Frame],
    from: u64,
    (next, live): (u64, bool),
) {
    TABLE.with_borrow_mut(|table| {
        let Some(listener) = table.find(connection, channel, dialect) else { return };
        // It subscribed anew, or the numbering restarted, while the answer to its old pull was on its way.
        if listener.behind.as_ref().is_none_or(|b| !b.pulled || b.seq != from) {
            return;
        }
        for frame in frames {
            listener.outbound.push(frame);
        }
        listener.behind = if live { None } else { Some(Behind { seq: next, pulled: false }) };
        let outbound = listener.outbound.clone();
        // One pull at a time: the next channel's turn is when this answer has drained.
        if table.first_behind(connection).is_some() {
            outbound.set_lagging(true);
        }
    });
}

fn detach(connection: ConnectionNumber, channel: &ChannelKey, dialect: DialectId, fault: &Fault) {
    let taken = TABLE.with_borrow_mut(|table| table.take(connection, channel, dialect));
    if let Some(listener) = taken
        && (listener.greeted || dialect != NATIVE)
        && let Some(frame) = DIALECTS[usize::from(dialect.0)].ended(channel, fault)
    {
        listener.outbound.push(&frame);
    }
}

fn reset(channel: &ChannelKey, greeting: &Greeting, link: &Arc<dyn HomeLink>) {
    let mut encoded: [Option<Vec<Frame>>; DIALECTS.len()] = Default::default();
    TABLE.with_borrow_mut(|table| {
        for (_, listener) in table.channels.get_mut(channel).into_iter().flatten() {
            let row = usize::from(listener.dialect.0);
            listener.next_turn();
            listener.behind = None;
            listener.link = link.clone();
            let full = listener.outbound.queued_bytes() > listener.outbound.limits().soft_bytes;
            if listener.greeted && full {
                // Where many channels restart at once their snapshots come one after the other, as this one drains.
                listener.behind = Some(Behind { seq: NOTHING, pulled: false });
                listener.outbound.set_lagging(true);
            } else if listener.greeted || listener.dialect != NATIVE {
                let frames = encoded[row].get_or_insert_with(|| DIALECTS[row].restarted(greeting));
                for frame in frames {
                    listener.outbound.push(frame);
                }
            }
        }
    });
}

/// A connection's queue has drained: the first of its channels that is behind pulls.
fn drained(outbound: &Rc<Outbound>) {
    let connection = outbound.id().0;
    let pull = TABLE.with_borrow_mut(|table| {
        let listener = table.first_behind(connection)?;
        let behind = listener.behind.as_mut()?;
        behind.pulled = true;
        Some((listener.link.clone(), listener.dialect, behind.seq))
    });
    if let Some((link, dialect, seq)) = pull {
        link.pull(connection, dialect, seq);
    }
}

impl Table {
    /// A listener of the connection that is behind and has not pulled.
    fn first_behind(&mut self, connection: ConnectionNumber) -> Option<&mut Listener> {
        let held = self.held.get(&connection)?;
        let waits = |l: &Listener| l.behind.as_ref().is_some_and(|b| !b.pulled);
        let (channel, slot) = held
            .iter()
            .find(|(channel, slot)| self.channels.get(channel).and_then(|s| s.get(*slot)).is_some_and(waits))?;
        self.channels.get_mut(channel)?.get_mut(*slot)
    }

    fn find(
        &mut self,
        connection: ConnectionNumber,
        channel: &ChannelKey,
        dialect: DialectId,
    ) -> Option<&mut Listener> {
        let slots = self.channels.get_mut(channel)?;
        let held = self.held.get(&connection)?;
        let slot = held
            .iter()
            .filter(|(name, _)| name == channel)
            .map(|(_, slot)| *slot)
            .find(|slot| slots.get(*slot).is_some_and(|l| l.dialect == dialect))?;
        slots.get_mut(slot)
    }

    fn take(&mut self, connection: ConnectionNumber, channel: &ChannelKey, dialect: DialectId) -> Option<Listener> {
        let slots = self.channels.get_mut(channel)?;
        let held = self.held.get_mut(&connection)?;
        let at = held
            .iter()
            .position(|(name, slot)| name == channel && slots.get(*slot).is_some_and(|l| l.dialect == dialect))?;
        let (_, slot) = held.swap_remove(at);
        let listener = slots.try_remove(slot);
        if slots.is_empty() {
            self.channels.remove(channel);
        }
        if held.is_empty() {
            self.held.remove(&connection);
        }
        if let Some(listener) = &listener {
            listener.next_turn();
        }
        listener
    }
}

/// Ends one subscription of a connection on this worker. True where there was one.
pub fn unlisten(connection: ConnectionNumber, channel: &ChannelKey, dialect: DialectId) -> bool {
    let taken = TABLE.with_borrow_mut(|table| table.take(connection, channel, dialect));
    if let Some(listener) = &taken {
        listener.link.detach(connection, dialect);
    }
    taken.is_some()
}

/// Whether a connection of this worker hears a channel in that dialect.
pub fn is_listening(
    connection: ConnectionNumber,
    organization: &OrganizationId,
    channel: &Channel,
    dialect: DialectId,
) -> bool {
    let channel = ChannelKey::new(organization.clone(), channel);
    TABLE.with_borrow_mut(|table| table.find(connection, &channel, dialect).is_some())
}

/// How many channels a connection of this worker listens to.
pub fn listens_to(connection: ConnectionNumber) -> usize {
    TABLE.with_borrow(|table| table.held.get(&connection).map_or(0, Vec::len))
}

/// Shows every channel that is listened to on this worker, and by how many.
pub(super) fn each_channel(mut see: impl FnMut(&ChannelKey, usize)) {
    TABLE.with_borrow(|table| table.channels.iter().for_each(|(channel, listeners)| see(channel, listeners.len())));
}

/// What a connection of this worker may do has changed: the homes of all that it hears judge it anew.
pub fn renew(connection: ConnectionNumber, principal: &Arc<Principal>) {
    // The homes are told when the table is free again: one on this worker answers at once.
    let links: Vec<_> = TABLE.with_borrow(|table| {
        let held = table.held.get(&connection).into_iter().flatten();
        let listener = |(channel, slot): &(ChannelKey, usize)| table.channels.get(channel)?.get(*slot);
        held.filter_map(listener).map(|listener| (listener.link.clone(), listener.dialect)).collect()
    });
    for (link, dialect) in links {
        link.renew(connection, dialect, principal.clone());
    }
}

/// A connection of this worker is gone: so are its subscriptions.
pub fn leave(connection: ConnectionNumber) {
    let left: Vec<Listener> = TABLE.with_borrow_mut(|table| {
        let held = table.held.remove(&connection).unwrap_or_default();
        held.into_iter()
            .filter_map(|(channel, slot)| {
                let slots = table.channels.get_mut(&channel)?;
                let listener = slots.try_remove(slot);
                if slots.is_empty() {
                    table.channels.remove(&channel);
                }
                listener
            })
            .collect()
    });
    for listener in left {
        listener.link.detach(connection, listener.dialect);
    }
}
