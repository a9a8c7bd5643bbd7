//! Namespaces of Socket.IO: what a packet asks for, and how the hub's answers and events are written in one.

use serde_json::value::RawValue;

use crate::domain::alias::SessionName;
use crate::domain::channel::Channel;
use crate::domain::command::{Command, NewMessage, Reply, SessionCommand};
use crate::domain::hub::DialectId;
use crate::domain::principal::Principal;
use crate::error::Fault;
use crate::framing::Frame;

/// Which conversation an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The one that its client names. With `create` an alias that nothing has yet begins one.
    Named { name: SessionName, create: bool },
    /// The one that a command of the hub gives (`Command::SessionCreate`, `Command::SessionOfEntity`).
    Given(Box<Command>),
}

/// What an event asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Watch the conversation, then send to it.
    Send { target: Target, before: Vec<SessionCommand>, message: NewMessage },
    /// Something about a conversation.
    Session { target: Target, command: SessionCommand },
    /// Something else.
    Hub(Command),
}

/// One namespace. It knows no socket and no session of Engine.IO.
pub trait Namespace: Sync {
    /// `/ai`.
    fn path(&self) -> &'static str;

    /// How events of a watched conversation are written.
    fn dialect(&self) -> DialectId;

    /// What is asked of the hub for a client that has just connected; answered with `answered` under the name "connect".
    fn on_connect(&self) -> Option<Command>;

    /// What an event of a client asks for.
    ///
    /// # Errors
    /// `bad_request` naming the field; `unknown_method` for an event that is none.
    fn decode(&self, event: &str, data: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault>;

    /// The frames with which the asker alone is answered. `named` is how it names the conversation.
    fn answered(&self, event: &str, data: Option<&RawValue>, named: Option<&str>, reply: &Reply) -> Vec<Frame>;

    /// The door's own error event.
    fn refused(&self, event: &str, data: Option<&RawValue>, named: Option<&str>, fault: &Fault) -> Vec<Frame>;

    /// Whether all who watch the conversation hear from its channel what `answered` says. Whoever watched it already
    /// when it asked is then not answered a second time.
    fn heard(&self, _event: &str, _reply: &Reply) -> bool {
        false
    }

    /// Channels that whoever connects listens to besides the conversations it sends to, in the same dialect and
    /// without a position.
    fn channels(&self, _principal: &Principal) -> Vec<Channel> {
        Vec::new()
    }
}

/// The table of namespaces.
pub static NAMESPACES: &[&dyn Namespace] = &[&super::ai::Ai, &super::chat::Chat];
