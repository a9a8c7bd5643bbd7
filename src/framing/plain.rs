//! One JSON text per WebSocket frame: a message that is encoded once and then shared by every queue.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

/// Longest header of an unmasked RFC 6455 frame: two bytes and a 64-bit length.
const HEADER_ROOM: usize = 10;

/// A thread's buffer that has grown beyond this is given back, in bytes.
const KEPT: usize = 64 << 10;

thread_local! {
    /// Frames are written here and then copied to a place of exactly their size.
    static DESK: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// A whole, unmasked (server to client) WebSocket data frame: count, header and payload in one allocation.
///
/// Cloning shares the bytes. Long polling and SSE take [`Frame::payload`], WebSockets [`Frame::wire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    wire: Arc<[u8]>,
}

impl Frame {
    /// A text frame around `payload`, which must be UTF-8 (JSON is).
    pub fn text(payload: &[u8]) -> Frame {
        Frame::copy(payload, TEXT)
    }

    /// A binary frame around `payload`.
    pub fn binary(payload: &[u8]) -> Frame {
        Frame::copy(payload, BINARY)
    }

    /// A text frame whose payload `write` appends to the vector it is given (which is not empty: room
    /// for the header comes first and must be left alone).
    pub fn build(write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        Frame::sealed(TEXT, write)
    }

    fn copy(payload: &[u8], opcode: u8) -> Frame {
        Frame::sealed(opcode, |out| out.extend_from_slice(payload))
    }

    /// A frame in the making has a buffer that is warm; the finished one takes no more than its bytes and a count.
    fn sealed(opcode: u8, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
        let mut out = DESK.take();
        out.clear();
        out.resize(HEADER_ROOM, 0);
        write(&mut out);
        let frame = Frame::seal(&mut out, opcode);
        if out.capacity() <= KEPT {
            DESK.set(out);
        }
        frame
    }

    /// Fills in the header right before the payload, which starts at `HEADER_ROOM`.
    fn seal(out: &mut [u8], opcode: u8) -> Frame {
        let payload = out.len() - HEADER_ROOM;
        let header = match payload {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => HEADER_ROOM,
        };
        let start = HEADER_ROOM - header;
        out[start] = FIN | opcode;
        match header {
            2 => out[start + 1] = payload as u8,
            4 => {
                out[start + 1] = 126;
                out[start + 2..HEADER_ROOM].copy_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                out[start + 1] = 127;
                out[start + 2..HEADER_ROOM].copy_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        Frame { wire: Arc::from(&out[start..]) }
    }

    /// A frame of the hub's own that was cut from a queue.
    pub fn of_wire(wire: Arc<[u8]>) -> Frame {
        Frame { wire }
    }

    /// The payload alone, sharing this frame's allocation.
    pub fn payload(&self) -> Bytes {
        let header = self.wire.len() - self.payload_bytes().len();
        Bytes::from_owner(self.wire.clone()).slice(header..)
    }

    /// The payload, where it lies.
    pub fn payload_bytes(&self) -> &[u8] {
        let header = match self.wire.get(1) {
            Some(127) => HEADER_ROOM,
            Some(126) => 4,
            _ => 2,
        };
        &self.wire[header..]
    }

    /// Header and payload, as they go onto a WebSocket.
    pub fn wire(&self) -> &Arc<[u8]> {
        &self.wire
    }

    /// Bytes on the wire: header and payload. Never 0.
    #[allow(clippy::len_without_is_empty)] // a frame has at least its header
    pub fn len(&self) -> usize {
        self.wire.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_shortest_that_fit() {
        for (payload, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = vec![b'x'; payload];
            let frame = Frame::text(&text);
            assert_eq!(frame.wire()[..header.len()], header);
            assert_eq!(frame.len(), header.len() + payload);
            assert_eq!(frame.payload(), text);
        }
    }

    #[test]
    fn building_in_place_gives_the_same_frame() {
        let built = Frame::build(|out| out.extend_from_slice(b"{\"type\":\"pong\"}"));
        assert_eq!(built, Frame::text(b"{\"type\":\"pong\"}"));
        assert_eq!(built.wire()[..], b"\x81\x0f{\"type\":\"pong\"}"[..]);
    }

    #[test]
    fn a_binary_frame_has_its_own_opcode() {
        assert_eq!(Frame::binary(&[1, 2, 3]).wire()[..], [0x82, 3, 1, 2, 3]);
    }
}
