//! The one handle that doors and routes hold: ask, listen, publish.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::alias::{Alias, ChannelName, SessionName};
use super::channel::{Channel, Position};
use super::command::{Caller, Command, Reply};
use super::ids::ConversationId;
use crate::error::Fault;

pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// How a connection wants to hear a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    pub channel: Channel,
    pub since: Option<Position>,
    /// Whether the wire has words for where a channel stands (`subscribed`); without them a loss ends the connection.
    pub greeted: bool,
    /// The dialect that its events are written in.
    pub dialect: DialectId,
}

/// A row of the table of dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialectId(pub u8);

/// The connection's number within the process.
pub type ConnectionNumber = u64;

/// Held for as long as a connection that is no socket is there.
pub type Stay = Box<dyn std::any::Any>;

/// What the hub does for whoever is connected. Authorization is in here, for all doors alike.
pub trait Hub {
    /// Carries out a command. The order of calls on one conversation is the order of its effects.
    fn call(&self, caller: Caller, command: Command) -> LocalFuture<Result<Reply, Fault>>;

    /// The conversation that the caller calls so. Of one caller's calls the order is kept.
    ///
    /// # Errors
    /// `not_found`, as for an id of the hub that nothing has.
    fn find(&self, caller: &Caller, alias: Alias) -> LocalFuture<Result<ConversationId, Fault>>;

    /// Counts a connection that is no socket among those of its credential: while the stay is held, it is closed when
    /// the credential ends or is taken back.
    fn stay(&self, caller: &Caller, connection: ConnectionNumber) -> Stay;

    /// Begins to listen. What there is to hear arrives at the connection's queue, the greeting first.
    fn listen(&self, caller: Caller, connection: ConnectionNumber, listen: Listen) -> LocalFuture<Result<(), Fault>>;

    /// Ends listening. True where it had listened.
    fn unlisten(&self, connection: ConnectionNumber, caller: &Caller, channel: &Channel, dialect: DialectId) -> bool;

    /// Publishes to an application channel. `data` is JSON text. With `confirm` the place it got comes back.
    fn publish(
        &self,
        caller: &Caller,
        channel: &str,
        event: &str,
        data: Arc<str>,
        confirm: bool,
    ) -> Result<Option<LocalFuture<Result<Position, Fault>>>, Fault>;
}

/// The hub's id of a session that its caller names.
pub async fn session_named(hub: &dyn Hub, caller: &Caller, name: SessionName) -> Result<ConversationId, Fault> {
    match name {
        SessionName::Id(id) => Ok(id),
        SessionName::Alias(alias) => hub.find(caller, alias).await,
    }
}

/// The channel that its caller names.
pub async fn channel_named(hub: &dyn Hub, caller: &Caller, name: ChannelName) -> Result<Channel, Fault> {
    match name {
        ChannelName::Known(channel) => Ok(channel),
        ChannelName::Session(alias) => hub.find(caller, alias).await.map(Channel::Session),
    }
}
