//! What an HTTP request hears of a conversation while it waits: the flat form as a stream, or only how turns end.

use protocol::frames as wf;

use super::gateway::{Flat, flat_error};
use super::{Dialect, Encoded, frame, words};
use crate::domain::channel::ChannelKey;
use crate::domain::event::{ChannelSnapshot, Event, Greeting, Numbered};
use crate::domain::ids::ConversationId;
use crate::domain::turn::{Turn, TurnState};
use crate::error::Fault;
use crate::framing::Frame;

/// A streamed answer: the flat form, and besides it the end of a turn that never started. The request that began that
/// turn must hear of it; a flat socket has nothing to complete.
pub struct Streamed;

impl Dialect for Streamed {
    fn name(&self) -> &'static str {
        "streamed"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        match &event.event {
            Event::TurnEnded { conversation, turn, .. } if turn.state == TurnState::Cancelled => {
                Encoded::One(frame(&cancelled(*conversation, turn)))
            }
            _ => Flat.event(event),
        }
    }

    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        Flat.greeting(greeting)
    }

    /// Every end that may have been missed: each request knows which turn is its own.
    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        let Some(ChannelSnapshot::Session { snapshot, .. }) = greeting.snapshot.as_deref() else { return Vec::new() };
        let id = snapshot.settings.id;
        let ends = snapshot.turns.iter().filter_map(|turn| streamed_end(id, turn));
        ends.map(|end| frame(&end)).collect()
    }

    fn ended(&self, channel: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Flat.ended(channel, fault)
    }
}

/// How a turn's end shows in a streamed answer; nothing while it goes on.
pub fn streamed_end(conversation: ConversationId, turn: &Turn) -> Option<wf::ServerFrame> {
    match turn.state {
        TurnState::Cancelled => Some(cancelled(conversation, turn)),
        _ => super::gateway::end(conversation, turn),
    }
}

fn cancelled(conversation: ConversationId, turn: &Turn) -> wf::ServerFrame {
    wf::ServerFrame::Error(wf::ErrorFrame {
        code: Some(turn.state.name().to_owned()),
        message: "the turn was taken out of the queue".to_owned(),
        channel: None,
        id: None,
        details: None,
        session_id: Some(conversation.to_string()),
        turn_id: Some(turn.id.to_string()),
    })
}

/// Only how turns end, as the data of `turn.ended`. Whoever hears no more than that cannot answer a question.
pub struct Ends;

impl Dialect for Ends {
    fn name(&self) -> &'static str {
        "ends"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        match &event.event {
            Event::TurnEnded { turn, .. } => Encoded::One(frame(&words::turn_ended(turn))),
            _ => Encoded::Nothing,
        }
    }

    fn greeting(&self, _: &Greeting) -> Vec<Frame> {
        Vec::new()
    }

    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        match greeting.snapshot.as_deref() {
            Some(ChannelSnapshot::Session { snapshot, .. }) => {
                snapshot.turns.iter().map(|turn| frame(&words::turn_ended(turn))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn ended(&self, _: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Some(flat_error(fault, None, None))
    }

    fn asks(&self) -> bool {
        false
    }
}
