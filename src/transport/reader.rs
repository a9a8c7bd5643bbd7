//! A connection that is no socket: what is told to it waits in the same bounded queue, and an HTTP body takes it.

use std::{
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Outbound, settings::ConnectionId, settings::SocketLimits, worker};

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

    /// The next message; after [`Heard::Closed`] it is not to be asked again.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            let Some(wire) = ready!(self.outbound.poll_take(cx)) else {
                return Poll::Ready(Heard::Closed(ABNORMAL));
            };
            match cut(Bytes::from_owner(wire)) {
                (DATA, payload) => return Poll::Ready(Heard::Message(payload)),
                (CLOSE, payload) => {
                    let code = payload.first_chunk().copied().map_or(NO_CODE, u16::from_be_bytes);
                    return Poll::Ready(Heard::Closed(code));
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

/// The opcode and the payload of a frame of the hub's own, which is whole and not masked.
fn cut(wire: Bytes) -> (u8, Bytes) {
    let opcode = wire.first().map_or(0, |byte| byte & 0x0f);
    let header = match wire.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    (opcode, wire.slice(header.min(wire.len())..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Frame;

    #[test]
    fn payloads_of_all_lengths_are_cut_out() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let wire = Bytes::copy_from_slice(Frame::text(&payload).wire());
            assert_eq!(cut(wire), (DATA, Bytes::from(payload)));
        }
        assert_eq!(cut(Bytes::from_static(&[0x88, 2, 0x03, 0xf5])), (CLOSE, Bytes::from_static(&[0x03, 0xf5])));
        assert_eq!(cut(Bytes::from_static(&[0x89, 0])), (9, Bytes::new()));
    }
}
