//! `/chat`: a terminal or a page that talks with an agent, over Socket.IO.

use protocol::model::CommandResult;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::socketio::{Ask, Namespace, Object, Offset, Target};
use super::socketio::{
    at, cut_off, data, failure, given, id, marker, named, named_in, new_message, of_channel, offset,
};
use super::socketio::{packet, sentence, text_of, unknown};
use super::{CHAT, Dialect, Encoded, rpc, words};
use crate::domain::channel::{Channel, ChannelKey};
use crate::domain::command::{Command, NewSession, Reply, SessionCommand};
use crate::domain::conversation::{SettingsChange, StopKind};
use crate::domain::event::{Event, Greeting, Growing, Numbered};
use crate::domain::hub::DialectId;
use crate::domain::message::{Part, PartBody};
use crate::domain::principal::Principal;
use crate::domain::session_info::{ContextUse, SessionInfo, Tally};
use crate::domain::settings::Settings;
use crate::domain::tool_call::ToolCallState;
use crate::domain::turn::{Turn, TurnState};
use crate::error::{Code, Fault};
use crate::framing::Frame;

const PATH: &str = "/chat";

/// What kind of door a conversation that begins here was begun by.
const CHANNEL: &str = "chat";

/// The hub's words for fields that this door calls otherwise.
const WORDS: &[(&str, &str)] = &[("agent", "agentId"), ("model", "modelId")];

const NOT_STARTED: &str = "Failed to start agent session. Please try again.";
const TURN_FAILED: &str = "The agent failed to process your message. Please try again.";
const NO_SESSION: &str = "No active session for this conversation.";
const NOTHING_TO_ABORT: &str = "No active session to abort.";
const NOT_ABORTED: &str = "Failed to abort the agent operation.";

/// `agent:start`, `agent:text`, …
pub struct Chat;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageIn {
    conversation_id: Option<String>,
    content: String,
    provider: Option<String>,
    model_id: Option<String>,
    agent_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingIn {
    conversation_id: String,
    level: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommandIn {
    conversation_id: String,
    command: String,
    args: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortIn {
    conversation_id: String,
}

fn send(raw: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
    let asked: MessageIn = data(raw)?;
    for (field, text) in [("provider", &asked.provider), ("modelId", &asked.model_id), ("agentId", &asked.agent_id)] {
        rpc::named(field, text)?;
    }
    rpc::content(&asked.content, &[], rpc::Limits { message_bytes })?;
    let agent = given(asked.agent_id);
    let (target, before) = match given(asked.conversation_id) {
        Some(id) => {
            let change = agent.map(|agent| SettingsChange { agent: Some(agent), ..SettingsChange::default() });
            (named(&id, true)?, change.map(SessionCommand::Change).into_iter().collect())
        }
        None => {
            let new = NewSession { agent, channel: Some(CHANNEL.to_owned()), ..NewSession::default() };
            (Target::Given(Box::new(Command::SessionCreate(new))), Vec::new())
        }
    };
    let model = match (given(asked.provider), given(asked.model_id)) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        // A provider alone does not say which of its models.
        (_, model) => model,
    };
    Ok(Ask::Send { target, before, message: new_message(asked.content, model) })
}

impl Namespace for Chat {
    fn path(&self) -> &'static str {
        PATH
    }

    fn dialect(&self) -> DialectId {
        CHAT
    }

    fn on_connect(&self) -> Option<Command> {
        Some(Command::CommandList)
    }

    fn decode(&self, event: &str, raw: Option<&RawValue>, message_bytes: usize) -> Result<Ask, Fault> {
        match event {
            "message" => send(raw, message_bytes),
            "set:thinking" => {
                let asked: ThinkingIn = data(raw)?;
                rpc::bounded("level", &asked.level, 64)?;
                let target = named(&asked.conversation_id, false)?;
                Ok(Ask::Session { target, command: SessionCommand::Think(asked.level) })
            }
            "abort" => {
                let asked: AbortIn = data(raw)?;
                let target = named(&asked.conversation_id, false)?;
                Ok(Ask::Session { target, command: SessionCommand::Stop(None, StopKind::Abort) })
            }
            "command:execute" => {
                let CommandIn { conversation_id, command, args } = data(raw)?;
                // Before the first message one may choose a model, too.
                let target = named(&conversation_id, true)?;
                Ok(Ask::Session { target, command: SessionCommand::Execute { command, args } })
            }
            _ => Err(unknown(event)),
        }
    }

    fn answered(&self, event: &str, _: Option<&RawValue>, named: Option<&str>, reply: &Reply) -> Vec<Frame> {
        match (event, reply) {
            ("message", Reply::Sent { message, info, .. }) => {
                let mut frames = Vec::with_capacity(2);
                frames.extend(info.as_ref().map(|info| session_info(named, info, None)));
                let acknowledged = |object: &mut Object<'_>| object.put("messageId", &message.to_string());
                frames.push(packet(PATH, "message:ack", named, acknowledged, None));
                frames
            }
            ("set:thinking", Reply::Info(_, info)) => vec![session_info(named, info, None)],
            ("command:execute", Reply::Executed(result)) => vec![command_result(named, &words::command_result(result))],
            ("connect", Reply::Commands(manifest)) => {
                let fields = |object: &mut Object<'_>| object.put("manifest", &words::manifest(manifest));
                vec![packet(PATH, "commands:manifest", None, fields, None)]
            }
            _ => Vec::new(),
        }
    }

    fn refused(&self, event: &str, data: Option<&RawValue>, named: Option<&str>, fault: &Fault) -> Vec<Frame> {
        let about = named_in(data, named);
        if event == "command:execute" {
            return vec![command_result(about.as_deref(), &refused_command(data, fault))];
        }
        let broken = matches!(fault.code, Code::Unavailable | Code::Internal);
        let text = match (event, fault.code) {
            ("message", _) if broken => NOT_STARTED.to_owned(),
            ("set:thinking", Code::NotFound) => NO_SESSION.to_owned(),
            ("set:thinking", _) => bad_level(data, fault).unwrap_or_else(|| sentence(fault, WORDS)),
            ("abort", Code::NotFound) => NOTHING_TO_ABORT.to_owned(),
            // There is a session, and it does nothing: that is what was asked for.
            ("abort", Code::Conflict) => return Vec::new(),
            ("abort", _) if broken => NOT_ABORTED.to_owned(),
            _ => sentence(fault, WORDS),
        };
        vec![error(about.as_deref(), &text, None, fault.code.name(), fault.details.as_ref(), None)]
    }

    fn heard(&self, event: &str, reply: &Reply) -> bool {
        matches!((event, reply), ("set:thinking", Reply::Info(..)))
    }

    /// `system:reload` is for all of an organization.
    fn channels(&self, principal: &Principal) -> Vec<Channel> {
        vec![Channel::Organization(principal.organization.clone())]
    }
}

fn command_result(about: Option<&str>, result: &CommandResult) -> Frame {
    let fields = |object: &mut Object<'_>| {
        object.put("command", &result.command);
        object.put("success", &result.success);
        object.put("message", &result.message);
        object.put_some("data", result.data.as_ref());
    };
    packet(PATH, "command:result", about, fields, None)
}

/// A command that was not carried out, in the form in which any other one fails.
fn refused_command(data: Option<&RawValue>, fault: &Fault) -> CommandResult {
    let mut told = serde_json::json!({ "code": fault.code.name() });
    if let Some(details) = &fault.details {
        told["details"] = details.clone();
    }
    let command: String = text_of(data, "command").unwrap_or_default().chars().take(64).collect();
    CommandResult { command, success: false, message: fault.message.clone(), data: Some(told) }
}

/// The level that there is none of, and those that there are.
fn bad_level(data: Option<&RawValue>, fault: &Fault) -> Option<String> {
    let available = fault.details.as_ref()?.get("available")?.as_array()?;
    let names: Vec<&str> = available.iter().filter_map(serde_json::Value::as_str).collect();
    let level = text_of(data, "level")?;
    Some(format!("Invalid thinking level \"{level}\". Available: {}", names.join(", ")))
}

fn error(
    about: Option<&str>,
    text: &str,
    why: Option<&str>,
    code: &str,
    details: Option<&serde_json::Value>,
    offset: Option<Offset<'_>>,
) -> Frame {
    let fields = |object: &mut Object<'_>| {
        object.put("error", text);
        object.put_some("message", why);
        object.put("code", code);
        object.put_some("details", details);
    };
    packet(PATH, "error", about, fields, offset)
}

fn session_info(about: Option<&str>, info: &SessionInfo, offset: Option<Offset<'_>>) -> Frame {
    let fields = |object: &mut Object<'_>| {
        let levels: Vec<&str> = info.levels.iter().map(|level| level.name()).collect();
        object.put("provider", &info.provider);
        object.put("modelId", &info.model);
        object.put("thinkingLevel", info.thinking.name());
        object.put("availableThinkingLevels", &levels);
        object.put("agentName", &info.agent);
        object.put_some("routingDecision", info.routing.as_ref().map(words::routing_decision).as_ref());
    };
    packet(PATH, "session:info", about, fields, offset)
}

/// How a turn's end shows: once. Of a turn that never started there is nothing to end.
fn end(conversation: &str, turn: &Turn, tally: &Tally, offset: Option<Offset<'_>>) -> Vec<Frame> {
    let ended = || packet(PATH, "agent:end", Some(conversation), |object| object.put("usage", &usage(tally)), offset);
    match turn.state {
        TurnState::Completed | TurnState::Stopped | TurnState::Aborted => vec![ended()],
        TurnState::Failed | TurnState::Interrupted => {
            let (why, code, details) = failure(turn);
            // A budget says when there is room again: of that the usual sentence knows nothing.
            let text = if turn.refusal.is_some() { why.as_str() } else { TURN_FAILED };
            // The place is that of both: whoever is cut off between them hears both again.
            vec![error(Some(conversation), text, Some(&why), code, details.as_ref(), None), ended()]
        }
        _ => Vec::new(),
    }
}

/// The conversation's totals.
fn usage(tally: &Tally) -> serde_json::Value {
    let totals = &tally.totals;
    serde_json::json!({
        "provider": tally.provider,
        "modelId": tally.model,
        "thinkingLevel": tally.thinking.name(),
        "tokens": {
            "input": totals.input,
            "output": totals.output,
            "cacheRead": totals.cache_read,
            "cacheWrite": totals.cache_write,
            "total": totals.total(),
        },
        // Clients calculate with it: without a price it is nothing.
        "cost": totals.cost.map_or(0.0, words::dollars),
        "context": { "percent": tally.context.percent(), "window": tally.context.window },
    })
}

/// What is known of a conversation's totals where no event tells them.
fn tally_of(settings: &Settings, answer: Option<(&str, &str)>) -> Tally {
    let unknown = ("unknown", settings.model.as_deref().unwrap_or("unknown"));
    let (provider, model) = answer.unwrap_or(unknown);
    Tally {
        totals: settings.usage,
        provider: provider.to_owned(),
        model: model.to_owned(),
        thinking: settings.thinking,
        context: ContextUse::default(),
    }
}

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn event(&self, numbered: &Numbered) -> Encoded {
        let told = |word: &str, conversation, fields: &dyn Fn(&mut Object<'_>)| {
            Encoded::One(packet(PATH, word, Some(&id(conversation)), fields, offset(numbered)))
        };
        match &numbered.event {
            Event::TurnStarted { conversation, .. } => told("agent:start", *conversation, &|_| {}),
            Event::Delta { conversation, kind, text, .. } => {
                let word = match kind {
                    Growing::Text => "agent:text",
                    Growing::Thinking => "agent:thinking",
                };
                told(word, *conversation, &|object| object.put("text", &**text))
            }
            Event::PartCreated { conversation, part, .. } => match &part.body {
                PartBody::ToolCall(_) => told("agent:tool:start", *conversation, &|object| tool(object, part)),
                _ => Encoded::Nothing,
            },
            Event::PartChanged { conversation, part, .. } => match &part.body {
                PartBody::ToolCall(call) if call.state.is_settled() => {
                    told("agent:tool:end", *conversation, &|object| {
                        tool(object, part);
                        object.put("isError", &(call.state != ToolCallState::Succeeded));
                    })
                }
                _ => Encoded::Nothing,
            },
            Event::SessionUpdated { settings, info: Some(info), .. } => {
                Encoded::One(session_info(Some(&id(settings.id)), info, offset(numbered)))
            }
            Event::TurnEnded { conversation, turn, tally } => {
                Encoded::of(end(&id(*conversation), turn, tally, offset(numbered)))
            }
            // It stands on no conversation's channel: nobody comes back to a place behind it.
            Event::SystemReload => {
                let fields = |object: &mut Object<'_>| {
                    object.put("message", "the configuration was read once more");
                    object.put("at", &at(numbered.at));
                };
                Encoded::One(packet(PATH, "system:reload", None, fields, None))
            }
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
            let answer = snapshot.messages.iter().find(|message| Some(message.id) == turn.answer);
            let answered = answer.and_then(|m| Some((m.provider.as_deref()?, m.model.as_deref()?)));
            let tally = tally_of(&snapshot.settings, answered);
            frames.extend(end(&id(snapshot.settings.id), turn, &tally, Some((&greeting.epoch, greeting.seq))));
        }
        frames
    }

    fn ended(&self, channel: &ChannelKey, fault: &Fault) -> Option<Frame> {
        let about = of_channel(channel)?;
        Some(error(Some(about), &fault.message, None, fault.code.name(), fault.details.as_ref(), None))
    }

    /// What is asked of a human cannot be answered here.
    fn asks(&self) -> bool {
        false
    }
}

/// Which call of which tool.
fn tool(object: &mut Object<'_>, part: &Part) {
    if let PartBody::ToolCall(call) = &part.body {
        object.put("toolCallId", &part.id.to_string());
        object.put("toolName", &call.tool);
    }
}

#[cfg(test)]
mod tests;
