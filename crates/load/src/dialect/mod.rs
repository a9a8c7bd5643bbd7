//! How each server is spoken to: set-up, publish, echo, and what an incoming message is.
mod native;
mod nats;
mod socketio;

use crate::fault::Result;
use crate::frame;
use crate::payload::{Stamp, StampReader};
use crate::sequence::Numbered;
use memchr::memmem::Finder;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Switchboard's native door: as `Hub`, with `epoch` and `seq`, which are checked.
    Sb,
    /// The frames of the native door without numbers, as the peers written here speak them.
    Hub,
    /// Engine.IO 4 with Socket.IO 5 packets, WebSocket transport only.
    Sio,
    /// The NATS client protocol in binary frames.
    Nats,
}

impl Wire {
    pub const NAMES: [(&'static str, Wire); 4] =
        [("sb", Wire::Sb), ("hub", Wire::Hub), ("sio", Wire::Sio), ("nats", Wire::Nats)];
}

/// One thing that an incoming message says.
pub enum Heard<'a> {
    /// A delivery; the number is the hub's own and only read on `sb`.
    Delivery(Stamp, Option<Numbered<'a>>),
    /// The answer to an echo request.
    Echo,
    /// The server asks for this frame back.
    Reply(Vec<u8>),
    /// The server refuses something.
    Refusal(String),
}

/// What to do next while a connection is being set up.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    Say(Vec<u8>),
    Ready,
}

/// Where a connection's set-up stands.
#[derive(Default)]
pub struct Setup {
    pub token: String,
    pub channels: Range<u32>,
    /// Channel, epoch and seq as the hub gave them (`sb` only).
    pub begins: Vec<(u32, String, u64)>,
    stage: u8,
}

impl Setup {
    pub fn new(token: &str, channels: Range<u32>) -> Self {
        Self { token: token.to_owned(), channels, begins: Vec::new(), stage: 0 }
    }
}

/// One dialect with its prepared searchers.
pub struct Dialect {
    pub wire: Wire,
    stamps: StampReader,
    seq: Finder<'static>,
    from_seq: Finder<'static>,
    epoch: Finder<'static>,
}

impl Dialect {
    pub fn new(wire: Wire) -> Self {
        Self {
            wire,
            stamps: StampReader::default(),
            seq: Finder::new(b"\"seq\":"),
            from_seq: Finder::new(b"\"fromSeq\":"),
            epoch: Finder::new(b"\"epoch\":\""),
        }
    }

    /// Path and query of the upgrade request.
    pub fn path(&self, token: &str) -> String {
        match self.wire {
            Wire::Sb | Wire::Hub => format!("/ws?token={token}"),
            Wire::Sio => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Wire::Nats => "/".to_owned(),
        }
    }

    fn opcode(&self) -> u8 {
        if self.wire == Wire::Nats { frame::BINARY } else { frame::TEXT }
    }

    /// The next step of a set-up: `None` right after the upgrade, then each message that comes.
    /// Errors: the server refused or said what nobody can understand.
    pub fn set_up(&self, setup: &mut Setup, message: Option<&[u8]>) -> Result<Step> {
        let step = match self.wire {
            Wire::Sb | Wire::Hub => native::set_up(setup, message, self.wire == Wire::Sb),
            Wire::Sio => socketio::set_up(setup, message),
            Wire::Nats => nats::set_up(setup, message),
        }?;
        Ok(match step {
            Step::Say(text) => Step::Say(frame::single(self.opcode(), &text)),
            other => other,
        })
    }

    /// Appends the frame that publishes `payload`; `scratch` is reused between calls.
    pub fn publish(&self, channel: u32, payload: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        match self.wire {
            Wire::Sb | Wire::Hub => native::publish(channel, payload, scratch),
            Wire::Sio => socketio::publish(channel, payload, scratch),
            Wire::Nats => nats::publish(channel, payload, scratch),
        }
        frame::put(self.opcode(), scratch, out);
    }

    /// The frame of one echo request: the cheapest question the protocol has.
    pub fn echo(&self) -> Vec<u8> {
        let text: &[u8] = match self.wire {
            Wire::Sb | Wire::Hub => b"{\"type\":\"ping\"}",
            Wire::Sio => b"420[\"ping\"]",
            Wire::Nats => b"PING\r\n",
        };
        frame::single(self.opcode(), text)
    }

    /// Walks one message that arrived after the set-up.
    #[inline]
    pub fn read<'a>(&self, message: &'a [u8], heard: &mut dyn FnMut(Heard<'a>)) {
        let mut from = 0;
        while let Some((stamp, behind)) = self.stamps.next(message, from) {
            from = behind;
            let number = if self.wire == Wire::Sb { self.number(message) } else { None };
            heard(Heard::Delivery(stamp, number));
        }
        match self.wire {
            Wire::Sb | Wire::Hub if from == 0 => native::other(message, heard),
            Wire::Sio if from == 0 => socketio::other(message, heard),
            Wire::Nats => nats::other(message, from, heard),
            _ => {}
        }
    }

    fn number<'a>(&self, message: &'a [u8]) -> Option<Numbered<'a>> {
        let seq = self.seq.find(message)? + b"\"seq\":".len();
        let epoch = self.epoch.find(message)? + b"\"epoch\":\"".len();
        let length = memchr::memchr(b'"', &message[epoch..])?;
        Some(Numbered {
            epoch: &message[epoch..epoch + length],
            seq: crate::payload::number(&message[seq..]),
            merged: self.from_seq.find(message).is_some(),
        })
    }
}

/// The name of channel number `n`, the same on every wire.
pub fn channel_name(n: u32) -> String {
    format!("app:room.{n}")
}

/// The number in a channel's name.
fn channel_number(name: &str) -> Option<u32> {
    name.strip_prefix("app:room.")?.parse().ok()
}

fn put_channel(n: u32, out: &mut Vec<u8>) {
    let mut digits = [0u8; 10];
    let (mut i, mut rest) = (digits.len(), n);
    loop {
        i -= 1;
        digits[i] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(b"app:room.");
    out.extend_from_slice(&digits[i..]);
}

fn quoted_names(channels: Range<u32>) -> String {
    channels.map(|c| format!("\"{}\"", channel_name(c))).collect::<Vec<_>>().join(",")
}

fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(&message[..message.len().min(300)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    const STAMP: Stamp = Stamp { at: 42, publisher: 3, channel: 17, seq: 9 };

    fn payload() -> String {
        String::from_utf8(Payload::new(128).stamped(STAMP).to_vec()).unwrap()
    }

    /// What was heard, in words.
    fn heard(wire: Wire, message: &str) -> Vec<String> {
        let mut all = Vec::new();
        Dialect::new(wire).read(message.as_bytes(), &mut |h| {
            all.push(match h {
                Heard::Delivery(s, None) => format!("delivery {}", s.seq),
                Heard::Delivery(s, Some(n)) => {
                    let epoch = String::from_utf8_lossy(n.epoch);
                    format!("delivery {} as {epoch}/{}{}", s.seq, n.seq, if n.merged { " merged" } else { "" })
                }
                Heard::Echo => "echo".to_owned(),
                Heard::Reply(_) => "reply".to_owned(),
                Heard::Refusal(text) => text,
            });
        });
        all
    }

    fn unmasked(frame: &[u8]) -> String {
        let head = if frame[1] & 127 == 126 { 4 } else { 2 };
        let mask = &frame[head..head + 4];
        let plain = frame[head + 4..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        String::from_utf8(plain).unwrap()
    }

    fn published(wire: Wire) -> String {
        let mut out = Vec::new();
        Dialect::new(wire).publish(17, payload().as_bytes(), &mut Vec::new(), &mut out);
        unmasked(&out)
    }

    #[test]
    fn publishes_are_what_each_wire_says() {
        let p = payload();
        let native = format!(r#"{{"type":"publish","channel":"app:room.17","event":"delta","data":{p}}}"#);
        assert_eq!(published(Wire::Sb), native);
        assert_eq!(published(Wire::Hub), native);
        assert_eq!(published(Wire::Sio), format!(r#"42["publish","app:room.17",{p}]"#));
        assert_eq!(published(Wire::Nats), format!("PUB app:room.17 128\r\n{p}\r\n"));
    }

    #[test]
    fn an_event_of_switchboard_brings_its_number() {
        let event = |number: &str| {
            let p = payload();
            format!(
                r#"{{"type":"event","channel":"app:room.17",{number}"event":"delta","data":{p},"ts":"2026-01-01"}}"#
            )
        };
        assert_eq!(heard(Wire::Sb, &event(r#""seq":12,"epoch":"e1","#)), ["delivery 9 as e1/12"]);
        assert_eq!(heard(Wire::Sb, &event(r#""seq":12,"fromSeq":11,"epoch":"e1","#)), ["delivery 9 as e1/12 merged"]);
        assert_eq!(heard(Wire::Sb, &event("")), ["delivery 9"], "without a number");
        assert_eq!(heard(Wire::Hub, &event(r#""seq":12,"epoch":"e1","#)), ["delivery 9"], "not read there");
    }

    #[test]
    fn what_is_no_delivery_is_an_echo_a_reply_or_a_refusal() {
        assert_eq!(heard(Wire::Sb, r#"{"type":"pong"}"#), ["echo"]);
        let error = r#"{"type":"error","code":"rate_limited","message":"too many frames"}"#;
        assert_eq!(heard(Wire::Sb, error), [error]);
        assert_eq!(heard(Wire::Sio, "2"), ["reply"]);
        assert_eq!(heard(Wire::Sio, "430[]"), ["echo"]);
        assert_eq!(heard(Wire::Nats, "PING\r\n"), ["reply"]);
        assert_eq!(heard(Wire::Nats, "PONG\r\n"), ["echo"]);
        assert_eq!(heard(Wire::Nats, "PONG\r\nPING\r\n"), ["echo", "reply"]);
        let before = format!("PING\r\nMSG app:room.17 1 128\r\n{}\r\n", payload());
        assert_eq!(heard(Wire::Nats, &before), ["delivery 9", "reply"]);
        let two = format!("MSG app:room.17 1 128\r\n{0}\r\nMSG app:room.17 1 128\r\n{0}\r\nPING\r\n", payload());
        assert_eq!(heard(Wire::Nats, &two), ["delivery 9", "delivery 9", "reply"]);
    }

    #[test]
    fn a_subscription_is_ready_when_all_of_it_was_granted() {
        let d = Dialect::new(Wire::Sb);
        let mut s = Setup::new("t", 4..6);
        let Ok(Step::Say(say)) = d.set_up(&mut s, None) else { panic!("it must say something") };
        assert_eq!(unmasked(&say), r#"{"type":"subscribe","channels":["app:room.4","app:room.5"],"id":"1"}"#);
        for channel in ["app:room.4", "app:room.5"] {
            let m = format!(r#"{{"type":"subscribed","channel":"{channel}","epoch":"e","seq":7,"recovered":false}}"#);
            assert_eq!(d.set_up(&mut s, Some(m.as_bytes())).unwrap(), Step::Wait);
        }
        let response =
            br#"{"type":"response","id":"1","result":{"subscribed":["app:room.4","app:room.5"],"refused":{}}}"#;
        assert_eq!(d.set_up(&mut s, Some(response)).unwrap(), Step::Ready);
        assert_eq!(s.begins, [(4, "e".to_owned(), 7), (5, "e".to_owned(), 7)]);
    }

    #[test]
    fn a_subscription_refused_in_part_is_an_error() {
        let mut s = Setup::new("t", 4..6);
        let response = br#"{"type":"response","id":"1","result":{"subscribed":["app:room.4"],"refused":{"app:room.5":"forbidden"}}}"#;
        let e = Dialect::new(Wire::Hub).set_up(&mut s, Some(response)).unwrap_err();
        assert!(e.to_string().contains("forbidden"), "{e}");
    }
}
