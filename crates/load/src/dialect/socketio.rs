//! Socket.IO 4 over its WebSocket transport: token in CONNECT, `subscribe` and `publish` as events, echo as an ack.
use super::{Heard, Setup, Step, put_channel, quoted_names, text};
use crate::fault::{Result, fault};
use crate::frame;

pub fn set_up(setup: &mut Setup, message: Option<&[u8]>) -> Result<Step> {
    let Some(message) = message else {
        return Ok(Step::Wait);
    };
    match (setup.stage, message) {
        (0, [b'0', ..]) => {
            setup.stage = 1;
            Ok(Step::Say(format!("40{{\"token\":\"{}\"}}", setup.token).into_bytes()))
        }
        (1, [b'4', b'0', ..]) if setup.channels.is_empty() => Ok(Step::Ready),
        (1, [b'4', b'0', ..]) => {
            setup.stage = 2;
            let names = quoted_names(setup.channels.clone());
            Ok(Step::Say(format!("421[\"subscribe\",[{names}]]").into_bytes()))
        }
        (2, [b'4', b'3', b'1', ..]) => Ok(Step::Ready),
        (_, [b'4', b'4', ..]) => fault(format!("refused: {}", text(message))),
        _ => Ok(Step::Wait),
    }
}

pub fn publish(channel: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"42[\"publish\",\"");
    put_channel(channel, out);
    out.extend_from_slice(b"\",");
    out.extend_from_slice(payload);
    out.push(b']');
}

pub fn other<'a>(message: &'a [u8], heard: &mut dyn FnMut(Heard<'a>)) {
    if message == b"2" {
        heard(Heard::Reply(frame::single(frame::TEXT, b"3")));
    } else if message.starts_with(b"430[") {
        heard(Heard::Echo);
    } else if message.starts_with(b"44") || message.starts_with(b"41") {
        heard(Heard::Refusal(text(message)));
    }
}
