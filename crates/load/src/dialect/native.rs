//! The frames of Switchboard's native door: one JSON text a frame, `app:` channels, ping and pong.
use super::{Heard, Setup, Step, channel_number, put_channel, quoted_names, text};
use crate::fault::{Result, fault};
use serde_json::Value;

pub fn set_up(setup: &mut Setup, message: Option<&[u8]>, numbered: bool) -> Result<Step> {
    let Some(message) = message else {
        if setup.channels.is_empty() {
            return Ok(Step::Ready);
        }
        let names = quoted_names(setup.channels.clone());
        let frame = format!("{{\"type\":\"subscribe\",\"channels\":[{names}],\"id\":\"1\"}}");
        return Ok(Step::Say(frame.into_bytes()));
    };
    let Ok(v) = serde_json::from_slice::<Value>(message) else {
        return fault(format!("no JSON: {}", text(message)));
    };
    match v["type"].as_str() {
        Some("subscribed") => {
            let channel = v["channel"].as_str().and_then(channel_number);
            if let (Some(c), Some(epoch), Some(seq)) = (channel, v["epoch"].as_str(), v["seq"].as_u64()) {
                setup.begins.push((c, epoch.to_owned(), seq));
            }
            Ok(Step::Wait)
        }
        Some("response") => {
            let subscribed = v["result"]["subscribed"].as_array().map_or(0, Vec::len);
            let begun = if numbered { setup.begins.len() } else { setup.channels.len() };
            if subscribed == setup.channels.len() && begun == subscribed {
                Ok(Step::Ready)
            } else {
                fault(format!("the subscription was not granted whole: {}", text(message)))
            }
        }
        Some("error") => fault(format!("refused: {}", text(message))),
        _ => Ok(Step::Wait),
    }
}

pub fn publish(channel: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"publish\",\"channel\":\"");
    put_channel(channel, out);
    out.extend_from_slice(b"\",\"event\":\"delta\",\"data\":");
    out.extend_from_slice(payload);
    out.push(b'}');
}

pub fn other<'a>(message: &'a [u8], heard: &mut dyn FnMut(Heard<'a>)) {
    if message.starts_with(b"{\"type\":\"pong\"") {
        heard(Heard::Echo);
    } else if message.starts_with(b"{\"type\":\"error\"") || message.starts_with(b"{\"type\":\"unsubscribed\"") {
        heard(Heard::Refusal(text(message)));
    }
}
