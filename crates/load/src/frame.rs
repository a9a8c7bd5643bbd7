//! WebSocket frames, as thin as possible: masked out, unmasked in.
use crate::fault::{Result, fault};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The mask hides nothing on loopback; a constant one costs the generator least.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends `message` to `out` as one masked frame.
pub fn put(opcode: u8, message: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match message.len() {
        n if n < 126 => out.push(0x80 | n as u8),
        n if n < 65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(message);
    for (i, b) in out[start..].iter_mut().enumerate() {
        *b ^= MASK[i % 4];
    }
}

/// One masked frame.
pub fn single(opcode: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 14);
    put(opcode, message, &mut out);
    out
}

/// Where a frame's payload lies.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub start: usize,
    pub end: usize,
}

/// The unmasked server frame at `from`, or `None` while it is not whole.
/// Errors: a fragment, a masked or a compressed frame, none of which any peer here may send.
#[inline]
pub fn at(buffer: &[u8], from: usize) -> Result<Option<Frame>> {
    let b = &buffer[from..];
    if b.len() < 2 {
        return Ok(None);
    }
    if b[0] & 0xf0 != 0x80 {
        return fault(format!("a fragment or a compressed frame came: first byte {:#04x}", b[0]));
    }
    let (length, head) = match b[1] {
        126 if b.len() >= 4 => (u16::from_be_bytes([b[2], b[3]]) as usize, 4),
        127 if b.len() >= 10 => {
            let mut n = [0; 8];
            n.copy_from_slice(&b[2..10]);
            (u64::from_be_bytes(n) as usize, 10)
        }
        126 | 127 => return Ok(None),
        n if n & 0x80 != 0 => return fault("a masked frame came from the server"),
        n => (n as usize, 2),
    };
    if b.len() - head < length {
        return Ok(None);
    }
    Ok(Some(Frame { opcode: b[0] & 15, start: from + head, end: from + head + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_is_the_message_xored() {
        let f = single(TEXT, b"hello");
        assert_eq!(&f[..2], &[0x81, 0x85]);
        let plain: Vec<u8> = f[6..].iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]).collect();
        assert_eq!(plain, b"hello");
    }

    #[test]
    fn frames_are_found_whole_or_not_at_all() {
        let mut b = vec![0x81, 2, b'h', b'i', 0x82, 126, 1, 0];
        b.extend_from_slice(&[7; 256]);
        assert_eq!(at(&b, 0).unwrap(), Some(Frame { opcode: 1, start: 2, end: 4 }));
        assert_eq!(at(&b, 4).unwrap(), Some(Frame { opcode: 2, start: 8, end: 264 }));
        assert_eq!(at(&b[..263], 4).unwrap(), None);
        assert_eq!(at(&b[..6], 4).unwrap(), None);
    }

    #[test]
    fn what_no_peer_may_send_is_an_error() {
        assert!(at(&[0x01, 0], 0).is_err(), "fragment");
        assert!(at(&[0xc1, 0], 0).is_err(), "compressed");
        assert!(at(&[0x81, 0x80, 1, 2, 3, 4], 0).is_err(), "masked");
    }
}
