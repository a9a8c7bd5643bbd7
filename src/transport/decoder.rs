//! RFC 6455 as a server reads it: bytes in, whole messages and control frames out, a state that is
//! empty between messages. Knows no socket.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::settings::Close;

/// A server closes with 1002 for this.
const PROTOCOL: u16 = 1002;
/// Longest payload of a control frame.
const CONTROL_MAX: usize = 125;
/// Longest header of a masked frame.
const HEAD_MAX: usize = 14;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(ByteString),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// The peer's Close frame, already checked; `None` if it carried no code.
    Close(Option<u16>),
}

/// How much may come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) message_bytes: usize,
    pub(super) fragments: u32,
}

/// Reads one connection's frames. An empty decoder owns no memory.
#[derive(Default)]
pub(super) struct Decoder {
    part: Option<Box<Part>>,
}

/// What is known of a frame or message that has not come in whole.
#[derive(Default)]
struct Part {
    head: [u8; HEAD_MAX],
    head_len: u8,
    frame: Option<Open>,
    message: Option<Message>,
    control: Vec<u8>,
}

/// A frame whose header is read.
#[derive(Clone, Copy)]
struct Open {
    head: Head,
    /// Payload bytes that have come in.
    have: usize,
}

/// A frame's header, checked.
#[derive(Clone, Copy)]
struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    len: usize,
    /// Bytes of the header itself.
    size: usize,
}

/// A data message in the making.
struct Message {
    text: bool,
    data: Vec<u8>,
    /// `data[..checked]` is known to be UTF-8.
    checked: usize,
    fragments: u32,
}

impl Decoder {
    /// Reads `bytes` up to and with the first event, unmasking in place. Gives how many bytes were
    /// used (all of them unless there is an event) and the event; or the close code that is due.
    pub(super) fn step(&mut self, bytes: &mut [u8], caps: Caps) -> Result<(usize, Option<Event>), Close> {
        if self.part.is_none()
            && let Some(done) = whole_frame(bytes, caps)?
        {
            return Ok((done.0, Some(done.1)));
        }
        let mut at = 0;
        while at < bytes.len() {
            let part = self.part.get_or_insert_default();
            if part.frame.is_none() {
                at += part.read_head(&bytes[at..], caps)?;
            }
            let Some(frame) = part.frame else { continue };
            at += part.read_payload(frame, &mut bytes[at..])?;
            let event = part.finish_frame()?;
            if part.is_empty() {
                self.part = None;
            }
            if event.is_some() {
                return Ok((at, event));
            }
        }
        Ok((at, None))
    }
}

/// The common case, without a copy of its state: `bytes` starts with a whole, unfragmented frame.
fn whole_frame(bytes: &mut [u8], caps: Caps) -> Result<Option<(usize, Event)>, Close> {
    let Some(head) = Head::parse(bytes, caps)? else {
        return Ok(None);
    };
    head.check_opening()?;
    let end = head.size + head.len;
    if !head.fin || bytes.len() < end {
        return Ok(None);
    }
    let payload = &mut bytes[head.size..end];
    unmask(payload, head.mask, 0);
    let event = match head.opcode {
        0x1 => Event::Text(ByteString::try_from(&*payload).map_err(|_| bad_text())?),
        0x2 => Event::Binary(Bytes::copy_from_slice(payload)),
        _ => control(head.opcode, payload)?,
    };
    Ok(Some((end, event)))
}

impl Head {
    /// Reads a header; `None` if `bytes` ends within it. What is wrong is found in the first bytes
    /// that show it: a length of 2^63 - 1 allocates nothing and waits for nothing.
    fn parse(bytes: &[u8], caps: Caps) -> Result<Option<Head>, Close> {
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Close::new(PROTOCOL, "reserved bit set"));
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if matches!(opcode, 0x3..=0x7 | 0xb..=0xf) {
            return Err(Close::new(PROTOCOL, "unknown opcode"));
        }
        if second & 0x80 == 0 {
            return Err(Close::new(PROTOCOL, "frame is not masked"));
        }
        let short = usize::from(second & 0x7f);
        if opcode >= 0x8 && (!fin || short > CONTROL_MAX) {
            return Err(Close::new(PROTOCOL, "control frame is fragmented or too long"));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let size = 2 + extended + 4;
        if bytes.len() < 2 + extended {
            return Ok(None);
        }
        let len = bytes[2..2 + extended].iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        let len = match extended {
            0 => short,
            2 if len < 126 => return Err(Close::new(PROTOCOL, "length is not minimal")),
            8 if len < 65_536 => return Err(Close::new(PROTOCOL, "length is not minimal")),
            8 if len >> 63 == 1 => return Err(Close::new(PROTOCOL, "length has its top bit set")),
            _ => usize::try_from(len).map_err(|_| too_large())?,
        };
        if opcode < 0x8 && len > caps.message_bytes {
            return Err(too_large());
        }
        let Some(key) = bytes.get(size - 4..size) else {
            return Ok(None);
        };
        let mut mask = [0; 4];
        mask.copy_from_slice(key);
        Ok(Some(Head { fin, opcode, mask, len, size }))
    }

    /// Checks a frame against a connection that is between messages.
    fn check_opening(&self) -> Result<(), Close> {
        if self.opcode == 0 {
            return Err(Close::new(PROTOCOL, "continuation of nothing"));
        }
        Ok(())
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.head_len == 0
    }

    /// Takes header bytes from `bytes`; once the header is whole, opens the frame. Gives bytes used.
    fn read_head(&mut self, bytes: &[u8], caps: Caps) -> Result<usize, Close> {
        let had = usize::from(self.head_len);
        let take = bytes.len().min(HEAD_MAX - had);
        self.head[had..had + take].copy_from_slice(&bytes[..take]);
        let Some(head) = Head::parse(&self.head[..had + take], caps)? else {
            self.head_len = (had + take) as u8;
            return Ok(take);
        };
        self.head_len = 0;
        self.open(head, caps)?;
        Ok(head.size - had)
    }

    /// Checks the frame against the message it belongs to and begins it.
    fn open(&mut self, head: Head, caps: Caps) -> Result<(), Close> {
        match (&mut self.message, head.opcode) {
            (_, 0x8..) => {}
            (None, _) => {
                head.check_opening()?;
                self.message = Some(Message { text: head.opcode == 0x1, data: Vec::new(), checked: 0, fragments: 1 });
            }
            (Some(_), 0x1 | 0x2) => {
                return Err(Close::new(PROTOCOL, "new message inside a message"));
            }
            (Some(message), _) => {
                message.fragments += 1;
                if message.fragments > caps.fragments {
                    return Err(Close::new(1008, "too many fragments"));
                }
                if head.len > caps.message_bytes.saturating_sub(message.data.len()) {
                    return Err(too_large());
                }
            }
        }
        self.frame = Some(Open { head, have: 0 });
        Ok(())
    }

    /// Takes payload bytes from `bytes` into the message or control frame. Gives bytes used.
    fn read_payload(&mut self, frame: Open, bytes: &mut [u8]) -> Result<usize, Close> {
        let take = bytes.len().min(frame.head.len - frame.have);
        let piece = &mut bytes[..take];
        unmask(piece, frame.head.mask, frame.have);
        if frame.head.opcode >= 0x8 {
            self.control.extend_from_slice(piece);
        } else if let Some(message) = &mut self.message {
            message.data.extend_from_slice(piece);
            message.check_text()?;
        }
        self.frame = Some(Open { have: frame.have + take, ..frame });
        Ok(take)
    }

    /// Closes the frame if all of it is here, and gives the event if that ends a message.
    fn finish_frame(&mut self) -> Result<Option<Event>, Close> {
        let Some(Open { head, have }) = self.frame else {
            return Ok(None);
        };
        if have < head.len {
            return Ok(None);
        }
        self.frame = None;
        if head.opcode >= 0x8 {
            return control(head.opcode, &std::mem::take(&mut self.control)).map(Some);
        }
        match self.message.take() {
            Some(message) if head.fin => message.finish().map(Some),
            unfinished => {
                self.message = unfinished;
                Ok(None)
            }
        }
    }
}

impl Message {
    /// Checks what came since the last check; a character may be cut at the end.
    fn check_text(&mut self) -> Result<(), Close> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(cut) if cut.error_len().is_none() => self.checked += cut.valid_up_to(),
            Err(_) => return Err(bad_text()),
        }
        Ok(())
    }

    fn finish(self) -> Result<Event, Close> {
        if !self.text {
            return Ok(Event::Binary(Bytes::from(self.data)));
        }
        if self.checked < self.data.len() {
            return Err(bad_text());
        }
        ByteString::try_from(self.data).map(Event::Text).map_err(|_| bad_text())
    }
}

fn too_large() -> Close {
    Close::new(1009, "message too large")
}

fn bad_text() -> Close {
    Close::new(1007, "text is not utf-8")
}

fn control(opcode: u8, payload: &[u8]) -> Result<Event, Close> {
    match opcode {
        0x9 => Ok(Event::Ping(Bytes::copy_from_slice(payload))),
        0xa => Ok(Event::Pong),
        _ => close_code(payload).map(Event::Close),
    }
}

/// The code of a Close frame's payload, with its reason checked.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(None),
            _ => Err(Close::new(PROTOCOL, "close frame of one byte")),
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::new(PROTOCOL, "invalid close code"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Close::new(1007, "close reason is not utf-8")),
    }
}

/// Applies the mask to `bytes`, which start `offset` bytes into the frame's payload.
fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % 4);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(eight) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// A Close frame as the server sends it. The reason is cut to what a control frame holds.
pub(super) fn close_frame(close: &Close) -> Arc<[u8]> {
    let mut reason = &*close.reason;
    while reason.len() > CONTROL_MAX - 2 {
        let end = (0..CONTROL_MAX - 1).rev().find(|end| reason.is_char_boundary(*end));
        reason = &reason[..end.unwrap_or(0)];
    }
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&close.code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control_frame(0x8, &payload)
}

/// A control frame as the server sends it; `payload` is at most 125 bytes.
pub(super) fn control_frame(opcode: u8, payload: &[u8]) -> Arc<[u8]> {
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend_from_slice(&[0x80 | opcode, payload.len() as u8]);
    frame.extend_from_slice(payload);
    Arc::from(frame)
}
