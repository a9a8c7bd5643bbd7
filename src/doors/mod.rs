//! Doors: one for each wire. A door turns frames into commands and events into frames; it decides nothing.

pub mod acting;
pub mod ai;
pub mod chat;
pub mod engine;
pub mod gateway;
pub mod rest;
pub mod rpc;
pub mod socketio;
pub mod words;

use crate::domain::channel::ChannelKey;
use crate::domain::event::{Greeting, Numbered};
use crate::domain::hub::DialectId;
use crate::error::Fault;
use crate::framing::Frame;

/// How a wire writes what channels carry. Encoders have no state: one encoding serves every subscriber.
pub trait Dialect: Sync {
    /// For logs and metrics.
    fn name(&self) -> &'static str;

    /// The frames of an event; none where this wire has no word for it.
    fn event(&self, event: &Numbered) -> Encoded;

    /// What a new subscriber is told first.
    fn greeting(&self, greeting: &Greeting) -> Vec<Frame>;

    /// What a subscriber is told when the channel's numbering restarts under it.
    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        self.greeting(greeting)
    }

    /// Tells that the hub ended a subscription.
    fn ended(&self, channel: &ChannelKey, fault: &Fault) -> Option<Frame>;

    /// Whether a question to a human reaches who listens in it: only those count as able to answer.
    fn asks(&self) -> bool {
        true
    }
}

/// The table of dialects.
pub static DIALECTS: [&dyn Dialect; 6] =
    [&rpc::Native, &gateway::Flat, &rest::Streamed, &rest::Ends, &ai::Ai, &chat::Chat];

/// Events on `/ws`.
pub const NATIVE: DialectId = DialectId(0);
/// The flat form on `/ws`.
pub const FLAT: DialectId = DialectId(1);
/// A streamed answer over HTTP.
pub const STREAMED: DialectId = DialectId(2);
/// A request that waits for a turn's end.
pub const ENDS: DialectId = DialectId(3);
/// `/ai` over Socket.IO.
pub const AI: DialectId = DialectId(4);
/// `/chat` over Socket.IO.
pub const CHAT: DialectId = DialectId(5);

/// What an event became.
#[derive(Debug, Clone)]
pub enum Encoded {
    Nothing,
    One(Frame),
    Several(Box<[Frame]>),
}

impl Encoded {
    pub fn of(mut frames: Vec<Frame>) -> Self {
        match frames.len() {
            0 => Self::Nothing,
            1 => frames.pop().map_or(Self::Nothing, Self::One),
            _ => Self::Several(frames.into()),
        }
    }

    pub fn frames(&self) -> &[Frame] {
        match self {
            Self::Nothing => &[],
            Self::One(frame) => std::slice::from_ref(frame),
            Self::Several(frames) => frames,
        }
    }
}

/// A frame around a value of the protocol.
pub fn frame(value: &impl serde::Serialize) -> Frame {
    Frame::build(|out| {
        // The protocol's types have string keys and no failing parts: writing them into memory cannot fail.
        if let Err(error) = serde_json::to_writer(&mut *out, value) {
            tracing::error!(%error, "a frame could not be written");
        }
    })
}
