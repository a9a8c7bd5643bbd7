//! Namespaces of Socket.IO: what a packet asks for, and how the hub's answers and events are written in one.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::alias::SessionName;
use crate::domain::channel::{Channel, ChannelKey};
use crate::domain::command::{Command, NewMessage, Reply, SessionCommand};
use crate::domain::conversation::Snapshot;
use crate::domain::event::{ChannelSnapshot, Greeting, Numbered};
use crate::domain::hub::DialectId;
use crate::domain::ids::{ConversationId, Timestamp};
use crate::domain::principal::Principal;
use crate::domain::turn::{Turn, TurnState};
use crate::doors::rpc;
use crate::error::{Code, Fault};
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

/// An object of JSON in the making.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Object<'_> {
    pub(super) fn put(&mut self, name: &str, value: &(impl serde::Serialize + ?Sized)) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        // Into memory nothing fails: names are texts, and so are the keys of values.
        let _ = serde_json::to_writer(&mut *self.out, name);
        self.out.push(b':');
        let _ = serde_json::to_writer(&mut *self.out, value);
    }

    pub(super) fn put_some(&mut self, name: &str, value: Option<&(impl serde::Serialize + ?Sized)>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

/// Where an event stands on its channel: the last argument, which clients remember and come back with.
pub(super) type Offset<'a> = (&'a str, u64);

/// An event's packet. The conversation, where there is one, is always the first key of the object.
pub(super) fn packet(
    namespace: &str,
    event: &str,
    conversation: Option<&str>,
    fields: impl FnOnce(&mut Object<'_>),
    offset: Option<Offset<'_>>,
) -> Frame {
    Frame::build(|out| {
        out.extend_from_slice(b"42");
        out.extend_from_slice(namespace.as_bytes());
        out.extend_from_slice(b",[");
        let _ = serde_json::to_writer(&mut *out, event);
        out.extend_from_slice(b",{");
        let mut object = Object { out, empty: true };
        object.put_some("conversationId", conversation);
        fields(&mut object);
        out.push(b'}');
        if let Some((epoch, seq)) = offset {
            // Epochs are made of hexadecimal digits.
            out.extend_from_slice(format!(",\"{epoch}:{seq}\"").as_bytes());
        }
        out.push(b']');
    })
}

/// The place of an event on its channel.
pub(super) fn offset(event: &Numbered) -> Option<Offset<'_>> {
    Some((&event.epoch, event.seq))
}

/// Tells the session where a conversation stands. Never sent.
pub(super) fn marker(greeting: &Greeting) -> Option<Frame> {
    let id = greeting.channel.name().strip_prefix("session:")?;
    let (epoch, seq, recovered) = (&greeting.epoch, greeting.seq, greeting.recovered);
    let text = format!(
        "{{\"greeting\":{{\"sessionId\":\"{id}\",\"epoch\":\"{epoch}\",\"seq\":{seq},\"recovered\":{recovered},\"questions\":[]}}}}"
    );
    Some(Frame::text(text.as_bytes()))
}

/// The turn that was cut off when a conversation's numbering restarted, and the conversation as it stands.
pub(super) fn cut_off(greeting: &Greeting) -> Option<(&Snapshot, &Turn)> {
    let Some(ChannelSnapshot::Session { snapshot, .. }) = greeting.snapshot.as_deref() else { return None };
    let turn = snapshot.turns.last().filter(|turn| turn.state == TurnState::Interrupted)?;
    Some((snapshot, turn))
}

/// The conversation whose channel that is, by the hub's id.
pub(super) fn of_channel(channel: &ChannelKey) -> Option<&str> {
    channel.name().strip_prefix("session:")
}

/// Why a turn failed, as it is shown: a sentence, its code, and what helps a program.
pub(super) fn failure(turn: &Turn) -> (String, &'static str, Option<serde_json::Value>) {
    let message = turn.error.clone().unwrap_or_else(|| "the turn was interrupted".to_owned());
    match turn.refusal.as_ref().map(|refusal| refusal.fault(turn.ended_at.unwrap_or(refusal.renews))) {
        Some(fault) => (message, fault.code.name(), fault.details),
        None => (message, turn.state.name(), None),
    }
}

/// What came with an event.
///
/// # Errors
/// `bad_request` naming the field.
pub(super) fn data<T: DeserializeOwned>(data: Option<&RawValue>) -> Result<T, Fault> {
    let text = data.map_or("null", RawValue::get);
    // A struct can be read from an array too, by position: that is no form of this protocol.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Fault::new(Code::BadRequest, "the event's argument is not an object"));
    }
    let mut from = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)
}

/// A text field of what came with an event, for the answer to it.
pub(super) fn text_of(data: Option<&RawValue>, field: &str) -> Option<String> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(data?.get()).ok()?;
    match object.remove(field)? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}

/// How the client names the conversation that a refusal is about, as far as it named one that can be one.
pub(super) fn named_in(data: Option<&RawValue>, named: Option<&str>) -> Option<String> {
    let said = || text_of(data, "conversationId").filter(|text| SessionName::parse(text).is_ok());
    named.map(str::to_owned).or_else(said)
}

/// A fault's sentence, with the field that is wrong named as this door names it.
pub(super) fn sentence(fault: &Fault, words: &[(&str, &str)]) -> String {
    let spoken = words.iter().find_map(|(hub, door)| {
        let rest = fault.message.strip_prefix(hub)?.strip_prefix(": ")?;
        Some(format!("{door}: {rest}"))
    });
    spoken.unwrap_or_else(|| fault.message.clone())
}

pub(super) fn unknown(event: &str) -> Fault {
    let shown: String = event.chars().take(64).collect();
    Fault::new(Code::UnknownMethod, format!("no such event: {shown}"))
}

/// The conversation that a client names.
///
/// # Errors
/// `not_found` for what can be no name of one, as for one that nobody has.
pub(super) fn named(text: &str, create: bool) -> Result<Target, Fault> {
    Ok(Target::Named { name: rpc::session(text)?, create })
}

/// A text that says something.
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A message's own texts and nothing else.
pub(super) fn new_message(content: String, model: Option<String>) -> NewMessage {
    NewMessage { content, attachments: Vec::new(), yields: model.is_some(), model, busy: None, once: None }
}

pub(super) fn at(timestamp: Timestamp) -> String {
    timestamp.to_rfc3339()
}

pub(super) fn id(conversation: ConversationId) -> String {
    conversation.to_string()
}

#[cfg(test)]
pub(super) mod samples;
