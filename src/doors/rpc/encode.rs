//! Hub to client: events, greetings, answers.

use std::borrow::Cow;
use std::io::Write as _;

use protocol::{events as we, frames as wf};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::channel::ChannelKey;
use crate::domain::event::{Event, Greeting, Numbered};
use crate::domain::ids::UserId;
use crate::doors::{Dialect, Encoded, frame, words};
use crate::error::Fault;
use crate::framing::Frame;

/// Events as `{"type":"event",…}`.
pub struct Native;

impl Dialect for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        Encoded::One(Frame::build(|out| write_event(out, event)))
    }

    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        vec![frame(&wf::ServerFrame::Subscribed(wf::Subscribed {
            channel: greeting.channel.name().to_owned(),
            epoch: greeting.epoch.to_string(),
            seq: greeting.seq,
            recovered: greeting.recovered,
            snapshot: greeting.snapshot.as_deref().map(words::snapshot),
        }))]
    }

    fn ended(&self, channel: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Some(frame(&wf::ServerFrame::Unsubscribed(wf::Unsubscribed {
            channel: channel.name().to_owned(),
            code: fault.code.name().to_owned(),
            message: fault.message.clone(),
        })))
    }
}

/// Writing into a vector cannot fail; the result is there for the trait's sake.
fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let _ = serde_json::to_writer(out, value);
}

/// The whole frame by hand: this is the hot path, and only the data differs.
fn write_event(out: &mut Vec<u8>, event: &Numbered) {
    out.extend_from_slice(b"{\"type\":\"event\",");
    write_fields(out, event);
}

/// What a client published, read back from the payload of its frame.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The event of a frame that [`Native`] made of [`Event::Application`]. `None` for anything else.
pub fn published(payload: &[u8]) -> Option<Event> {
    let Written { event, data } = serde_json::from_slice(payload).ok()?;
    Some(Event::Application { name: event.into(), data: data.get().into() })
}

/// An event within a list: what it is needs no saying there.
pub(super) fn write_listed(out: &mut Vec<u8>, event: &Numbered) {
    out.push(b'{');
    write_fields(out, event);
}

fn write_fields(out: &mut Vec<u8>, event: &Numbered) {
    out.extend_from_slice(b"\"channel\":");
    put(out, event.channel.name());
    let _ = write!(out, ",\"seq\":{}", event.seq);
    if event.from_seq != event.seq {
        let _ = write!(out, ",\"fromSeq\":{}", event.from_seq);
    }
    // Epochs are made of hexadecimal digits.
    out.extend_from_slice(b",\"epoch\":\"");
    out.extend_from_slice(event.epoch.as_bytes());
    out.extend_from_slice(b"\",\"event\":");
    put(out, event.event.name());
    out.extend_from_slice(b",\"data\":");
    write_data(out, event);
    let _ = write!(out, ",\"ts\":{}}}", event.at.0);
}

fn write_data(out: &mut Vec<u8>, numbered: &Numbered) {
    let event = &numbered.event;
    match event {
        Event::Delta { message, part, text, .. } => {
            let _ = write!(out, "{{\"messageId\":\"{message}\",\"partId\":\"{part}\",\"delta\":");
            put(out, &**text);
            out.push(b'}');
        }
        Event::Application { data, .. } => out.extend_from_slice(data.as_bytes()),
        Event::MessageCreated { conversation, message } | Event::MessageUpdated { conversation, message } => {
            put(out, &we::MessageChanged { message: words::message(*conversation, message) });
        }
        Event::PartCreated { message, part, .. } => put(out, &we::PartCreated { part: words::part(*message, part) }),
        Event::PartChanged { message, part, .. } => put(
            out,
            &we::PartUpdated {
                message_id: message.to_string(),
                part_id: part.id.to_string(),
                delta: None,
                text: None,
                part: Some(words::part(*message, part)),
            },
        ),
        Event::SessionUpdated { settings, deleted, info, .. } => {
            let info = info.as_deref().map(words::session_info);
            put(out, &we::SessionUpdated { session: words::session(settings), deleted: *deleted, info });
        }
        Event::ApprovalRequired { conversation, approval } => put(out, &words::approval(*conversation, approval)),
        Event::ApprovalResolved { conversation, approval } => {
            put(out, &words::approval_resolved(*conversation, approval));
        }
        Event::TodosUpdated { todos } => put(out, &we::TodosUpdated { todos: todos.iter().map(words::todo).collect() }),
        Event::PresenceJoined { user, count } | Event::PresenceLeft { user, count } => {
            put(out, &we::PresenceChanged { user_id: user.as_ref().map(UserId::to_string), count: *count });
        }
        Event::AgentStatusChanged { conversation, agent, status, turn } => put(
            out,
            &we::AgentStatusChanged {
                session_id: conversation.to_string(),
                agent: agent.clone(),
                status: words::agent_state(*status),
                turn_id: turn.map(|t| t.to_string()),
            },
        ),
        Event::TurnQueued { .. } | Event::TurnStarted { .. } | Event::TurnEnded { .. } => write_turn(out, event),
        Event::Broadcast { notice, by, everyone } => put(out, &words::broadcast(notice, by.as_ref(), *everyone)),
        Event::SystemReload => put(out, &we::SystemReload { at: numbered.at.to_rfc3339() }),
    }
}

fn write_turn(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::TurnQueued { turn, position, .. } => put(
            out,
            &we::TurnQueued { turn_id: turn.id.to_string(), message_id: turn.message.to_string(), position: *position },
        ),
        Event::TurnStarted { turn, provider, model, .. } => put(
            out,
            &we::TurnStarted {
                turn_id: turn.id.to_string(),
                message_id: turn.message.to_string(),
                answer_id: turn.answer.map(|a| a.to_string()),
                model: Some(model.clone()),
                provider: Some(provider.clone()),
                routing_decision: turn.routing.as_deref().map(words::routing_decision),
            },
        ),
        Event::TurnEnded { turn, .. } => put(out, &words::turn_ended(turn)),
        _ => out.extend_from_slice(b"null"),
    }
}

pub fn pong() -> Frame {
    Frame::text(b"{\"type\":\"pong\"}")
}

/// The answer to a request, its result written already.
pub fn response_raw(id: &str, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    Frame::build(|out| {
        out.extend_from_slice(b"{\"type\":\"response\",\"id\":");
        put(out, id);
        out.extend_from_slice(b",\"result\":");
        write(out);
        out.push(b'}');
    })
}

pub fn response_error(id: &str, fault: &Fault) -> Frame {
    let error = wf::ErrorBody {
        code: fault.code.name().to_owned(),
        message: fault.message.clone(),
        details: fault.details.clone(),
    };
    frame(&wf::ServerFrame::Response(wf::Response { id: id.to_owned(), result: None, error: Some(error) }))
}

/// An error that no request asked for, or one about a channel.
pub fn error_frame(fault: &Fault, channel: Option<&str>, id: Option<&str>) -> Frame {
    frame(&wf::ServerFrame::Error(wf::ErrorFrame {
        code: Some(fault.code.name().to_owned()),
        message: fault.message.clone(),
        channel: channel.map(str::to_owned),
        id: id.map(str::to_owned),
        details: fault.details.clone(),
        session_id: None,
        turn_id: None,
    }))
}
