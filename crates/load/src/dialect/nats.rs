//! The NATS client protocol inside binary WebSocket frames; the server parses no JSON of ours.
use super::{Heard, Setup, Step, channel_name, put_channel, text};
use crate::fault::{Result, fault};
use crate::frame;
use memchr::memmem;

pub fn set_up(setup: &mut Setup, message: Option<&[u8]>) -> Result<Step> {
    let Some(message) = message else {
        return Ok(Step::Wait);
    };
    if message.starts_with(b"-ERR") {
        return fault(format!("refused: {}", text(message)));
    }
    if setup.stage == 0 && message.starts_with(b"INFO") {
        setup.stage = 1;
        let mut say = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"auth_token\":\"{}\",\"lang\":\"load\",\"version\":\"1\",\"protocol\":1}}\r\n",
            setup.token
        );
        for c in setup.channels.clone() {
            say += &format!("SUB {} {}\r\n", channel_name(c), c + 1);
        }
        say += "PING\r\n";
        return Ok(Step::Say(say.into_bytes()));
    }
    let ready = setup.stage == 1 && memmem::find(message, b"PONG").is_some();
    Ok(if ready { Step::Ready } else { Step::Wait })
}

pub fn publish(channel: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"PUB ");
    put_channel(channel, out);
    out.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The protocol lines beside deliveries: those before the first, and those behind the last payload, which ends in
/// the line that `from` is in. One frame may hold several.
pub fn other<'a>(message: &'a [u8], from: usize, heard: &mut dyn FnMut(Heard<'a>)) {
    if from == 0 {
        return lines(message, heard);
    }
    if !message.starts_with(b"MSG ") {
        let head = memmem::find(message, b"\r\nMSG ").unwrap_or(0);
        lines(&message[..head], heard);
    }
    if let Some(end) = memchr::memchr(b'\n', &message[from..]) {
        lines(&message[from + end + 1..], heard);
    }
}

fn lines<'a>(bytes: &'a [u8], heard: &mut dyn FnMut(Heard<'a>)) {
    for line in bytes.split(|b| *b == b'\n') {
        if line.starts_with(b"PING") {
            heard(Heard::Reply(frame::single(frame::BINARY, b"PONG\r\n")));
        } else if line.starts_with(b"PONG") {
            heard(Heard::Echo);
        } else if line.starts_with(b"-ERR") {
            heard(Heard::Refusal(text(line)));
        }
    }
}
