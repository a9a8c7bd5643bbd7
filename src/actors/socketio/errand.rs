//! An event of a client, carried out: the conversation is found, watched where it is sent to, and asked.

use std::rc::Rc;

use serde_json::value::RawValue;

use crate::actors::connection::{ConnectionKit, is_full, too_many};
use crate::actors::underway::Underway;
use crate::domain::alias::SessionName;
use crate::domain::channel::Channel;
use crate::domain::command::{Caller, Command, NewSession, Reply, SessionCommand};
use crate::domain::hub::{ConnectionNumber, Listen};
use crate::domain::ids::ConversationId;
use crate::doors::socketio::{Ask, Namespace, Target};
use crate::error::{Code, Fault};
use crate::fanout;

/// What an event asks for, and of whom.
pub struct Errand {
    pub kit: Rc<ConnectionKit>,
    pub namespace: &'static dyn Namespace,
    pub caller: Caller,
    /// The queue that hears the conversations.
    pub connection: ConnectionNumber,
    pub ask: Ask,
}

/// An event as it came, for the answer.
pub struct Asked {
    pub event: String,
    pub data: Option<Box<RawValue>>,
    pub ack: Option<i64>,
    /// Nothing of the namespace goes out before the answer.
    pub holds: bool,
}

/// What came of it.
pub struct Done {
    pub conversation: Option<Found>,
    /// What the client calls the conversation that it named, found or not.
    pub named: Option<String>,
    /// It was watched before.
    pub watched: bool,
    pub result: Result<Reply, Fault>,
}

/// A conversation, and what its client calls it where that is not the hub's id.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: ConversationId,
    pub alias: Option<String>,
    watched: bool,
}

impl Errand {
    pub async fn run(self) -> Done {
        let named = match &self.ask {
            Ask::Send { target: Target::Named { name, .. }, .. }
            | Ask::Session { target: Target::Named { name, .. }, .. } => Some(match name {
                SessionName::Id(id) => id.to_string(),
                SessionName::Alias(alias) => alias.to_string(),
            }),
            _ => None,
        };
        let mut conversation = None;
        let result = self.carry_out(&mut conversation).await;
        let found = |Found { id, alias, .. }: &Found| alias.clone().unwrap_or_else(|| id.to_string());
        let named = conversation.as_ref().map(found).or(named);
        let watched = conversation.as_ref().is_some_and(|found: &Found| found.watched);
        Done { conversation, named, watched, result }
    }

    async fn carry_out(self, found: &mut Option<Found>) -> Result<Reply, Fault> {
        let Self { kit, namespace, caller, connection, ask } = self;
        let hub = &*kit.hub;
        // One client's events have their effects in the order in which it sent them.
        let order = Underway::of(connection, kit.settings.requests_in_flight);
        let turn = order.turn().await;
        let mut answer = match ask {
            Ask::Hub(command) => hub.call(caller, command),
            Ask::Session { target, command } => {
                let id = resolve(&kit, &caller, target, found).await?;
                note(&caller, connection, namespace, found);
                hub.call(caller, Command::Session(id.into(), command))
            }
            Ask::Send { target, before, message } => {
                let id = resolve(&kit, &caller, target, found).await?;
                watch(&kit, &caller, connection, (namespace, id)).await?;
                for command in before {
                    hub.call(caller.clone(), Command::Session(id.into(), command)).await?;
                }
                return hub.call(caller, Command::Session(id.into(), SessionCommand::Send(message))).await;
            }
        };
        // What takes its time is not waited for by the next one: with the first poll it is on its way.
        let first = futures_util::poll!(&mut answer);
        drop(turn);
        match first {
            std::task::Poll::Ready(answered) => answered,
            std::task::Poll::Pending => answer.await,
        }
    }
}

async fn resolve(
    kit: &ConnectionKit,
    caller: &Caller,
    target: Target,
    found: &mut Option<Found>,
) -> Result<ConversationId, Fault> {
    let made = |reply| match reply {
        Reply::Session(settings, alias) => Ok((settings.id, alias)),
        _ => Err(Fault::plain(Code::Internal)),
    };
    let (id, alias) = match target {
        Target::Named { name: SessionName::Id(id), .. } => (id, None),
        Target::Named { name: SessionName::Alias(alias), create: false } => {
            (kit.hub.find(caller, alias.clone()).await?, Some(alias))
        }
        Target::Named { name: SessionName::Alias(alias), create: true } => {
            let new = NewSession { alias: Some(alias.clone()), ..NewSession::default() };
            (made(kit.hub.call(caller.clone(), Command::SessionCreate(new)).await?)?.0, Some(alias))
        }
        Target::Given(command) => made(kit.hub.call(caller.clone(), *command).await?)?,
    };
    *found = Some(Found { id, alias: alias.map(|alias| alias.to_string()), watched: false });
    Ok(id)
}

/// Notes whether the conversation is watched already.
fn note(caller: &Caller, connection: ConnectionNumber, namespace: &dyn Namespace, found: &mut Option<Found>) {
    if let Some(found) = found {
        let (organization, channel) = (&caller.principal.organization, Channel::Session(found.id));
        found.watched = fanout::is_listening(connection, organization, &channel, namespace.dialect());
    }
}

/// Watches a conversation, where that is not done already.
async fn watch(
    kit: &ConnectionKit,
    caller: &Caller,
    connection: ConnectionNumber,
    (namespace, id): (&'static dyn Namespace, ConversationId),
) -> Result<(), Fault> {
    let (channel, dialect, limit) = (Channel::Session(id), namespace.dialect(), kit.settings.subscriptions);
    if fanout::is_listening(connection, &caller.principal.organization, &channel, dialect) {
        return Ok(());
    }
    if is_full(connection, caller, &channel, dialect, limit) {
        return Err(too_many(limit));
    }
    let listen = Listen { channel, since: None, greeted: false, dialect };
    kit.hub.listen(caller.clone(), connection, listen).await?;
    // Its first frames are in the queue before the message is.
    kit.workers.read_now();
    Ok(())
}
