//! A connection that is no socket: what is told to it waits in the same bounded queue, and an HTTP body takes it.

use std::{
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Outbound, Pushed, settings::ConnectionId, settings::SocketLimits, worker};
use crate::framing::Frame;

/// What a reader takes from its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The payload of one frame, sharing the frame's bytes.
    Message(Bytes),
    /// The connection was closed with this code; nothing comes after it.
    Closed(u16),
}

/// The only one who takes from its connection. Dropping it ends the connection.
///
/// It is bounded like a socket: whoever is not polled falls behind at the soft mark, is sent nothing more, and catches
/// up when it is polled again; over the hard mark it is cut with 1013.
pub struct Reader {
    outbound: Rc<Outbound>,
}

impl Reader {
    /// A new connection on this worker. `None` on a thread that is no worker, and while the server stops.
    pub fn open(peer: SocketAddr, limits: Rc<SocketLimits>) -> Option<Reader> {
        if worker::closing().is_some() {
            return None;
        }
        worker::insert(peer, None, limits).map(|outbound| Reader { outbound })
    }

    pub fn id(&self) -> ConnectionId {
        self.outbound.id()
    }

    /// Puts a frame behind all that waits, as whoever listens for this connection does.
    pub fn push(&self, frame: &Frame) -> Pushed {
        self.outbound.push(frame)
    }

    /// Whether it still hears anything.
    pub fn is_open(&self) -> bool {
        self.outbound.is_open()
    }

    /// The next message; after [`Heard::Closed`] it is not to be asked again.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Heard> {
        match ready!(self.poll_frame(cx)) {
            Ok(frame) => Poll::Ready(Heard::Message(frame.payload())),
            Err(code) => Poll::Ready(Heard::Closed(code)),
        }
    }

    /// The same as a frame that can go into another queue; or the code that the connection was closed with.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Frame, u16>> {
        loop {
            let Some(wire) = ready!(self.outbound.poll_take(cx)) else {
                return Poll::Ready(Err(ABNORMAL));
            };
            match wire.first().map_or(0, |byte| byte & 0x0f) {
                DATA => return Poll::Ready(Ok(Frame::of_wire(wire))),
                CLOSE => {
                    let frame = Frame::of_wire(wire);
                    let code = frame.payload_bytes().first_chunk().copied().map_or(NO_CODE, u16::from_be_bytes);
                    return Poll::Ready(Err(code));
                }
                // A ping is for sockets.
                _ => {}
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.outbound.abort();
    }
}

const DATA: u8 = 0x1;
const CLOSE: u8 = 0x8;
/// RFC 6455: a Close frame without a code, and no Close frame at all.
const NO_CODE: u16 = 1005;
const ABNORMAL: u16 = 1006;
