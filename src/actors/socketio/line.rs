//! The transport of a session: polls one after the other, or a socket that may have taken their place.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::doors::engine::Polled;
use crate::framing::{Frame, socketio as wire};
use crate::transport::{Close, Inbound, Socket};

/// Packets in one payload at most.
const PACKETS: usize = 16_384;

/// What packets go out on.
pub enum Line {
    Polled(Polling),
    Socket(Socket),
}

#[derive(Default)]
pub struct Polling {
    /// A poll that waits.
    waiting: Option<oneshot::Sender<Polled>>,
    batch: Vec<u8>,
    posted: Option<Posted>,
}

/// A payload that is read bit by bit.
struct Posted {
    payload: Bytes,
    at: usize,
    answer: oneshot::Sender<Polled>,
}

/// What came in.
pub enum Incoming {
    Text(String),
    Binary,
    Control,
    /// The other side is gone.
    Closed,
}

impl Incoming {
    fn of(item: Option<Inbound>) -> Self {
        match item {
            Some(Inbound::Text(text)) => Self::Text(text.into()),
            Some(Inbound::Binary(_)) => Self::Binary,
            Some(Inbound::Control) => Self::Control,
            Some(Inbound::Closed { .. }) | None => Self::Closed,
        }
    }
}

/// Takes the next message of a socket.
pub fn poll_socket(socket: &mut Socket, context: &mut Context<'_>) -> Poll<Incoming> {
    use futures_util::StreamExt;
    socket.inbound.poll_next_unpin(context).map(Incoming::of)
}

impl Line {
    pub fn is_polled(&self) -> bool {
        matches!(self, Self::Polled(_))
    }

    /// What comes in next.
    pub fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        match self {
            Self::Polled(polling) => polling.next_packet().map_or(Poll::Pending, Poll::Ready),
            Self::Socket(socket) => poll_socket(socket, context),
        }
    }

    /// The end of the session; `last` goes out before it.
    pub fn close(&mut self, close: Close, last: impl Iterator<Item = Frame>) {
        match self {
            Self::Polled(polling) => {
                last.for_each(|frame| polling.add(frame.payload_bytes()));
                polling.add(wire::CLOSE);
                polling.flush();
                // It was read up to here: what ends the session may have been in it.
                if let Some(Posted { answer, .. }) = polling.posted.take() {
                    let _ = answer.send(Polled::Taken);
                }
            }
            Self::Socket(socket) => {
                for frame in last {
                    socket.outbound.push(&frame);
                }
                socket.outbound.close(close);
            }
        }
    }
}

impl Polling {
    /// A poll has come. Gives it back where one waits already.
    pub fn wait(&mut self, poll: oneshot::Sender<Polled>) -> Result<(), oneshot::Sender<Polled>> {
        match &self.waiting {
            Some(_) => Err(poll),
            None => {
                self.waiting = Some(poll);
                Ok(())
            }
        }
    }

    pub fn is_waited_for(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether who polled has left before the answer.
    pub fn is_deserted(&mut self, context: &mut Context<'_>) -> bool {
        self.waiting.as_mut().is_some_and(|poll| poll.poll_closed(context).is_ready())
    }

    pub fn batched(&self) -> usize {
        self.batch.len()
    }

    pub fn add(&mut self, packet: &[u8]) {
        if !self.batch.is_empty() {
            self.batch.push(wire::SEPARATOR);
        }
        self.batch.extend_from_slice(packet);
    }

    /// Answers the poll with what there is for it. False where nobody takes it.
    pub fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        match self.waiting.take() {
            Some(poll) => poll.send(Polled::Packets(std::mem::take(&mut self.batch).into())).is_ok(),
            None => true,
        }
    }

    /// A payload has come. Gives it back where one is being read still.
    pub fn post(&mut self, payload: Bytes, answer: oneshot::Sender<Polled>) -> Result<(), oneshot::Sender<Polled>> {
        if self.posted.is_some() {
            return Err(answer);
        }
        self.posted = Some(Posted { payload, at: 0, answer });
        Ok(())
    }

    fn next_packet(&mut self) -> Option<Incoming> {
        let posted = self.posted.as_mut()?;
        let Some((packet, next)) = wire::first_of(&posted.payload, posted.at) else {
            let Posted { answer, .. } = self.posted.take()?;
            let _ = answer.send(Polled::Taken);
            return None;
        };
        let text = std::str::from_utf8(packet).map(str::to_owned);
        posted.at = next;
        // What is no text is no packet either.
        Some(Incoming::Text(text.unwrap_or_default()))
    }
}

/// Whether a payload has more packets than one may have.
pub fn has_too_many(payload: &[u8]) -> bool {
    payload.iter().filter(|byte| **byte == wire::SEPARATOR).count() >= PACKETS
}
