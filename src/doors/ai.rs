//! `/ai`: a panel beside a business object, over Socket.IO.

use protocol::acting as wire;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::socketio::{Ask, Namespace, Object, Offset, Target};
use super::socketio::{
    cut_off, data, failure, given, id, marker, named, named_in, new_message, of_channel, offset, packet,
};
use super::socketio::{sentence, text_of, unknown};
use super::{AI, Dialect, Encoded, acting, rpc};
use crate::domain::channel::ChannelKey;
use crate::domain::command::{Command, Reply, SessionCommand};
use crate::domain::event::{Event, Greeting, Growing, Numbered};
use crate::domain::hub::DialectId;
use crate::domain::message::{Author, PartBody};
use crate::domain::settings::Entity;
use crate::domain::turn::{Turn, TurnState};
use crate::error::Fault;
use crate::framing::Frame;

const PATH: &str = "/ai";

/// The hub's words for fields that this door calls otherwise.
const WORDS: &[(&str, &str)] = &[("agent", "agentType"), ("content", "message")];

/// Said where nothing better is known.
const CHAT_FAILED: &str = "Chat failed";

/// `message_start`, `text_delta`, …
pub struct Ai;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChatIn {
    message: String,
    entity_type: Option<String>,
    entity_id: Option<String>,
    agent_type: Option<String>,
    conversation_id: Option<String>,
}

/// `stop`, `pause` and `resume`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConversationIn {
    conversation_id: String,
}

/// What an event is about, in the words of the application around the hub.
pub fn entity(kind: Option<String>, id: Option<String>) -> Result<Option<Entity>, Fault> {
    rpc::named("entityType", &kind)?;
    rpc::named("entityId", &id)?;
    match (given(kind), given(id)) {
        (Some(kind), id) => Ok(Some(Entity { kind, id: id.unwrap_or_default() })),
        (None, Some(_)) => Err(Fault::field("entityType", "must be there where entityId is")),
        (None, None) => Ok(None),
    }
}

fn chat(raw: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
    let asked: ChatIn = data(raw)?;
    rpc::named("agentType", &asked.agent_type)?;
    rpc::bounded("message", &asked.message, message_bytes)?;
    if asked.message.trim().is_empty() {
        return Err(Fault::field("message", "is empty"));
    }
    let entity = entity(asked.entity_type, asked.entity_id)?;
    let target = match given(asked.conversation_id) {
        Some(id) => named(&id, false)?,
        None => Target::Given(Box::new(Command::SessionOfEntity { entity, agent: given(asked.agent_type) })),
    };
    Ok(Ask::Send { target, before: Vec::new(), message: new_message(asked.message, None) })
}

fn about(raw: Option<&RawValue>, command: SessionCommand) -> Result<Ask, Fault> {
    let asked: ConversationIn = data(raw)?;
    Ok(Ask::Session { target: named(&asked.conversation_id, false)?, command })
}

fn skill_execute(raw: Option<&RawValue>) -> Result<Ask, Fault> {
    let mut asked: wire::SkillExecute = data(raw)?;
    (asked.entity_type, asked.entity_id) = (given(asked.entity_type), given(asked.entity_id));
    acting::skill_execute(asked, None).map(Ask::Hub)
}

fn action_execute(raw: Option<&RawValue>) -> Result<Ask, Fault> {
    let mut asked: wire::ActionExecute = data(raw)?;
    (asked.entity_type, asked.entity_id) = (given(asked.entity_type), given(asked.entity_id));
    acting::action_execute(asked, None).map(Ask::Hub)
}

impl Namespace for Ai {
    fn path(&self) -> &'static str {
        PATH
    }

    fn dialect(&self) -> DialectId {
        AI
    }

    fn on_connect(&self) -> Option<Command> {
        None
    }

    fn decode(&self, event: &str, data: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
        match event {
            "chat" => chat(data, message_bytes),
            "stop" => about(data, SessionCommand::Halt),
            "pause" => about(data, SessionCommand::Pause),
            "resume" => about(data, SessionCommand::Resume),
            "skill_execute" => skill_execute(data),
            "action_execute" => action_execute(data),
            _ => Err(unknown(event)),
        }
    }

    fn answered(&self, event: &str, data: Option<&RawValue>, named: Option<&str>, reply: &Reply) -> Vec<Frame> {
        let told = |word| vec![packet(PATH, word, named, |_| {}, None)];
        match (event, reply) {
            ("stop", _) => told("stopped"),
            ("pause", _) => told("conversation_paused"),
            ("resume", _) => told("conversation_resumed"),
            ("skill_execute", Reply::SkillDone(result)) => {
                let fields = |object: &mut Object<'_>| {
                    object.put("skillId", &result.skill);
                    object.put("result", &acting::skill_result(result));
                };
                vec![packet(PATH, "skill_result", None, fields, None)]
            }
            ("action_execute", Reply::Action(answer)) => {
                let fields = |object: &mut Object<'_>| {
                    object.put("actionId", &text_of(data, "actionId"));
                    object.put("result", &acting::outcome(answer));
                };
                vec![packet(PATH, "action_result", None, fields, None)]
            }
            // That a message was taken all watchers hear, and whoever sends one watches.
            _ => Vec::new(),
        }
    }

    fn refused(&self, _: &str, data: Option<&RawValue>, named: Option<&str>, fault: &Fault) -> Vec<Frame> {
        let about = named_in(data, named);
        let text = Some(sentence(fault, WORDS)).filter(|text| !text.is_empty());
        vec![error(about.as_deref(), text.as_deref().unwrap_or(CHAT_FAILED), fault.code.name(), fault.details.as_ref())]
    }

    fn heard(&self, event: &str, reply: &Reply) -> bool {
        match (event, reply) {
            ("stop", Reply::Ended { state, .. }) => {
                matches!(state, TurnState::Stopping | TurnState::Stopped | TurnState::Aborted)
            }
            ("pause" | "resume", Reply::Session(..)) => true,
            _ => false,
        }
    }
}

fn error(about: Option<&str>, message: &str, code: &str, details: Option<&serde_json::Value>) -> Frame {
    let fields = |object: &mut Object<'_>| {
        object.put("message", message);
        object.put("code", code);
        object.put_some("details", details);
    };
    packet(PATH, "error", about, fields, None)
}

/// How a turn's end shows: once. Of a turn that never started there is nothing to complete.
fn end(conversation: &str, turn: &Turn, offset: Option<Offset<'_>>) -> Vec<Frame> {
    let told = |word| packet(PATH, word, Some(conversation), |_| {}, offset);
    match turn.state {
        TurnState::Completed => vec![told("message_complete")],
        TurnState::Stopped | TurnState::Aborted => vec![told("stopped")],
        TurnState::Failed | TurnState::Interrupted => {
            let (message, code, details) = failure(turn);
            // The place is that of both: whoever is cut off between them hears both again.
            vec![error(Some(conversation), &message, code, details.as_ref()), told("message_complete")]
        }
        _ => Vec::new(),
    }
}

impl Dialect for Ai {
    fn name(&self) -> &'static str {
        "ai"
    }

    fn event(&self, numbered: &Numbered) -> Encoded {
        let told = |word: &str, conversation, fields: &dyn Fn(&mut Object<'_>)| {
            Encoded::One(packet(PATH, word, Some(&id(conversation)), fields, offset(numbered)))
        };
        match &numbered.event {
            Event::MessageCreated { conversation, message } if message.author == Author::User => {
                told("message_start", *conversation, &|_| {})
            }
            // A repeated turn has the message of the first one: its answer starts once more.
            Event::TurnStarted { conversation, turn, .. } if turn.retry_of.is_some() => {
                told("message_start", *conversation, &|_| {})
            }
            Event::Delta { conversation, kind: Growing::Text, text, .. } => {
                told("text_delta", *conversation, &|object| object.put("text", &**text))
            }
            Event::PartCreated { conversation, part, .. } => match &part.body {
                PartBody::ToolCall(call) => told("tool_use", *conversation, &|object| {
                    object.put("toolName", &call.tool);
                    object.put("input", &call.input);
                }),
                _ => Encoded::Nothing,
            },
            Event::SessionUpdated { settings, paused: Some(true), .. } => {
                told("conversation_paused", settings.id, &|_| {})
            }
            Event::SessionUpdated { settings, paused: Some(false), .. } => {
                told("conversation_resumed", settings.id, &|_| {})
            }
            Event::TurnEnded { conversation, turn, .. } => Encoded::of(end(&id(*conversation), turn, offset(numbered))),
            _ => Encoded::Nothing,
        }
    }

    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        marker(greeting).into_iter().collect()
    }

    /// The turn that was cut off has ended for this wire too.
    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        let mut frames = self.greeting(greeting);
        if let Some((snapshot, turn)) = cut_off(greeting) {
            frames.extend(end(&id(snapshot.settings.id), turn, Some((&greeting.epoch, greeting.seq))));
        }
        frames
    }

    fn ended(&self, channel: &ChannelKey, fault: &Fault) -> Option<Frame> {
        let about = of_channel(channel)?;
        Some(error(Some(about), &fault.message, fault.code.name(), fault.details.as_ref()))
    }

    /// What is asked of a human cannot be answered here.
    fn asks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
