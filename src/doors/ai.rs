//! Namespace `/ai` of Socket.IO.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::socketio::{Ask, Namespace, Target};
use super::{AI, Dialect, Encoded, rpc};
use crate::domain::channel::ChannelKey;
use crate::domain::command::{Command, NewMessage, Reply};
use crate::domain::event::{ChannelSnapshot, Event, Greeting, Growing, Numbered};
use crate::domain::hub::DialectId;
use crate::domain::turn::TurnState;
use crate::error::{Code, Fault};
use crate::framing::Frame;

pub struct Ai;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chat {
    message: String,
    conversation_id: Option<String>,
}

/// A packet of an event; `place` where a channel carries it.
pub(super) fn packet(namespace: &str, name: &str, data: &serde_json::Value, place: Option<&Numbered>) -> Frame {
    let mut text = format!("42{namespace},[\"{name}\",{data}");
    if let Some(event) = place {
        let _ = write!(text, ",\"{}:{}\"", event.epoch, event.seq);
    }
    text.push(']');
    Frame::text(text.as_bytes())
}

/// The marker for the session that reads it.
pub(super) fn marker(greeting: &Greeting) -> Vec<Frame> {
    let Some(session) = greeting.channel.name().strip_prefix("session:").map(str::to_owned) else {
        return Vec::new();
    };
    let told = json!({"greeting": {"sessionId": session, "epoch": &*greeting.epoch, "seq": greeting.seq,
        "recovered": greeting.recovered, "questions": []}});
    vec![Frame::text(told.to_string().as_bytes())]
}

/// The data of an event, as an object.
pub(super) fn read<'a, T: Deserialize<'a>>(data: Option<&'a RawValue>) -> Result<T, Fault> {
    let text = data.map(RawValue::get).filter(|text| text.starts_with('{'));
    let text = text.ok_or_else(|| Fault::new(Code::BadRequest, "the event's data is not an object"))?;
    let mut from = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)
}

impl Namespace for Ai {
    fn path(&self) -> &'static str {
        "/ai"
    }

    fn dialect(&self) -> DialectId {
        AI
    }

    fn on_connect(&self) -> Option<Command> {
        None
    }

    fn decode(&self, event: &str, data: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
        if event != "chat" {
            return Err(Fault::new(Code::UnknownMethod, "there is no such event"));
        }
        let chat: Chat = read(data)?;
        rpc::content(&chat.message, &[], rpc::Limits { message_bytes })?;
        let target = match chat.conversation_id {
            Some(id) => Target::Named { name: rpc::session(&id)?, create: true },
            None => Target::Given(Box::new(Command::SessionOfChannel("ai"))),
        };
        let message =
            NewMessage { content: chat.message, attachments: Vec::new(), model: None, busy: None, once: None };
        Ok(Ask::Send { target, before: Vec::new(), message })
    }

    fn answered(&self, _: &str, _: Option<&RawValue>, named: Option<&str>, reply: &Reply) -> Vec<Frame> {
        match reply {
            Reply::Sent { .. } => vec![packet("/ai", "message_start", &json!({"conversationId": named}), None)],
            _ => Vec::new(),
        }
    }

    fn refused(&self, _: &str, _: Option<&RawValue>, named: Option<&str>, fault: &Fault) -> Vec<Frame> {
        let data = match named {
            Some(named) => json!({"conversationId": named, "message": fault.message}),
            None => json!({"message": fault.message}),
        };
        vec![packet("/ai", "error", &data, None)]
    }
}

impl Dialect for Ai {
    fn name(&self) -> &'static str {
        "ai"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        let said = |name: &str, data| Encoded::One(packet("/ai", name, &data, Some(event)));
        match &event.event {
            Event::Delta { conversation, kind: Growing::Text, text, .. } => {
                said("text_delta", json!({"conversationId": conversation.to_string(), "text": &**text}))
            }
            Event::TurnEnded { conversation, turn } => match turn.state {
                TurnState::Stopped | TurnState::Aborted => {
                    said("stopped", json!({"conversationId": conversation.to_string()}))
                }
                TurnState::Completed => said("message_complete", json!({"conversationId": conversation.to_string()})),
                TurnState::Failed | TurnState::Interrupted => {
                    let id = conversation.to_string();
                    let error = json!({"conversationId": id, "message": turn.error});
                    Encoded::Several(Box::new([
                        packet("/ai", "error", &error, Some(event)),
                        packet("/ai", "message_complete", &json!({"conversationId": id}), Some(event)),
                    ]))
                }
                _ => Encoded::Nothing,
            },
            _ => Encoded::Nothing,
        }
    }

    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        marker(greeting)
    }

    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        let mut frames = marker(greeting);
        if let Some(ChannelSnapshot::Session { snapshot, .. }) = greeting.snapshot.as_deref()
            && snapshot.turns.last().is_some_and(|turn| turn.state == TurnState::Interrupted)
        {
            let id = snapshot.settings.id.to_string();
            frames.push(packet("/ai", "message_complete", &json!({"conversationId": id}), None));
        }
        frames
    }

    fn ended(&self, _: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Some(packet("/ai", "error", &json!({"message": fault.message}), None))
    }

    fn asks(&self) -> bool {
        false
    }
}
