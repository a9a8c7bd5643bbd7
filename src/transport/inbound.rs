//! The incoming half of a socket: a stream of messages that reads only when it is polled.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::Stream;

use super::{
    decoder::{Decoder, Event},
    outbound::Outbound,
    settings::Close,
};

/// A message that came in, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    Text(ByteString),
    Binary(Bytes),
    /// A ping, which is answered already, or a pong: for whoever counts.
    Control,
    /// The last item: the code of the peer's Close frame, `None` if it sent none (or no code).
    Closed {
        code: Option<u16>,
    },
}

/// The messages of one socket. Not polling it stops reading, which is how its actor bounds the
/// requests in flight: at most 64 KiB are kept meanwhile. Dropping it closes the socket with 1011.
pub struct InboundStream {
    outbound: Rc<Outbound>,
    decoder: Decoder,
    rest: Option<Box<Rest>>,
    ended: bool,
}

/// Bytes that were read and not decoded yet.
struct Rest {
    bytes: Vec<u8>,
    at: usize,
}

/// What one step of reading brought.
enum Step {
    Nothing,
    Event(Event),
    Violation(Close),
    End,
}

impl InboundStream {
    /// `leftover` are the bytes that came with the request.
    pub(super) fn new(outbound: Rc<Outbound>, leftover: &[u8]) -> InboundStream {
        let rest = (!leftover.is_empty()).then(|| Box::new(Rest { bytes: leftover.to_vec(), at: 0 }));
        InboundStream { outbound, decoder: Decoder::default(), rest, ended: false }
    }

    /// Decodes what is left of the last read, or reads.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let caps = self.outbound.caps();
        if let Some(rest) = &mut self.rest {
            let result = self.decoder.step(&mut rest.bytes[rest.at..], caps);
            if let Ok((used, _)) = result {
                rest.at += used;
                if rest.at == rest.bytes.len() {
                    self.rest = None;
                }
            }
            return Poll::Ready(Step::from(result));
        }
        let worker = self.outbound.worker.clone();
        worker.with_read_buffer(|buffer| match self.outbound.poll_read(cx, buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Step::End),
            Poll::Ready(Ok(n)) => {
                let result = self.decoder.step(&mut buffer[..n], caps);
                if let Ok((used, _)) = result
                    && used < n
                {
                    self.rest = Some(Box::new(Rest { bytes: buffer[used..n].to_vec(), at: 0 }));
                }
                Poll::Ready(Step::from(result))
            }
        })
    }

    fn end(&mut self, code: Option<u16>) -> Poll<Option<Inbound>> {
        self.ended = true;
        self.rest = None;
        self.decoder = Decoder::default();
        Poll::Ready(Some(Inbound::Closed { code }))
    }
}

impl From<Result<(usize, Option<Event>), Close>> for Step {
    fn from(result: Result<(usize, Option<Event>), Close>) -> Step {
        match result {
            Ok((_, None)) => Step::Nothing,
            Ok((_, Some(event))) => Step::Event(event),
            Err(close) => Step::Violation(close),
        }
    }
}

impl Stream for InboundStream {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if !this.outbound.is_open() {
                return this.end(None);
            }
            match std::task::ready!(this.step(cx)) {
                Step::Nothing => {}
                Step::Event(Event::Pong) => return Poll::Ready(Some(Inbound::Control)),
                Step::Event(Event::Ping(payload)) => {
                    this.outbound.pong(&payload);
                    return Poll::Ready(Some(Inbound::Control));
                }
                Step::Event(Event::Text(text)) => {
                    this.outbound.worker.counters.message_in();
                    return Poll::Ready(Some(Inbound::Text(text)));
                }
                Step::Event(Event::Binary(bytes)) => {
                    this.outbound.worker.counters.message_in();
                    return Poll::Ready(Some(Inbound::Binary(bytes)));
                }
                Step::Event(Event::Close(code)) => {
                    this.outbound.answer_close(code);
                    return this.end(code);
                }
                Step::Violation(close) => {
                    this.outbound.worker.counters.broke_protocol();
                    this.outbound.close(close);
                    return this.end(None);
                }
                Step::End => {
                    this.outbound.abort();
                    return this.end(None);
                }
            }
        }
    }
}

impl Drop for InboundStream {
    fn drop(&mut self) {
        if !self.ended {
            self.outbound.close(Close::new(1011, "internal error"));
        }
    }
}
