//! Namespace `/chat` of Socket.IO.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::ai::{marker, packet, read};
use super::socketio::{Ask, Namespace, Target};
use super::{CHAT, Dialect, Encoded, rpc};
use crate::domain::channel::ChannelKey;
use crate::domain::command::{Command, NewMessage, Reply};
use crate::domain::event::{Event, Greeting, Growing, Numbered};
use crate::domain::hub::DialectId;
use crate::error::{Code, Fault};
use crate::framing::Frame;

pub struct Chat;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    content: String,
    conversation_id: Option<String>,
}

impl Namespace for Chat {
    fn path(&self) -> &'static str {
        "/chat"
    }

    fn dialect(&self) -> DialectId {
        CHAT
    }

    fn on_connect(&self) -> Option<Command> {
        None
    }

    fn decode(&self, event: &str, data: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
        if event != "message" {
            return Err(Fault::new(Code::UnknownMethod, "there is no such event"));
        }
        let message: Message = read(data)?;
        rpc::content(&message.content, &[], rpc::Limits { message_bytes })?;
        let target = match message.conversation_id {
            Some(id) => Target::Named { name: rpc::session(&id)?, create: true },
            None => Target::Given(Box::new(Command::SessionOfChannel("chat"))),
        };
        let message =
            NewMessage { content: message.content, attachments: Vec::new(), model: None, busy: None, once: None };
        Ok(Ask::Send { target, before: Vec::new(), message })
    }

    fn answered(&self, _: &str, _: Option<&RawValue>, named: Option<&str>, reply: &Reply) -> Vec<Frame> {
        match reply {
            Reply::Sent { message, .. } => {
                let data = json!({"conversationId": named, "messageId": message.to_string()});
                vec![packet("/chat", "message:ack", &data, None)]
            }
            _ => Vec::new(),
        }
    }

    fn refused(&self, _: &str, _: Option<&RawValue>, named: Option<&str>, fault: &Fault) -> Vec<Frame> {
        vec![packet("/chat", "error", &json!({"conversationId": named, "error": fault.message}), None)]
    }
}

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        let said = |name: &str, data| Encoded::One(packet("/chat", name, &data, Some(event)));
        match &event.event {
            Event::TurnStarted { conversation, .. } => {
                said("agent:start", json!({"conversationId": conversation.to_string()}))
            }
            Event::Delta { conversation, kind: Growing::Text, text, .. } => {
                said("agent:text", json!({"conversationId": conversation.to_string(), "text": &**text}))
            }
            Event::TurnEnded { conversation, .. } => {
                said("agent:end", json!({"conversationId": conversation.to_string()}))
            }
            _ => Encoded::Nothing,
        }
    }

    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        marker(greeting)
    }

    fn ended(&self, _: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Some(packet("/chat", "error", &json!({"error": fault.message}), None))
    }

    fn asks(&self) -> bool {
        false
    }
}
