//! Whatever way the bytes are cut, the decoder says the same; whatever they are, it does not panic.

use proptest::prelude::*;

use super::{
    decoder::{Caps, Decoder, Event, close_frame},
    settings::Close,
};

const CAPS: Caps = Caps { message_bytes: 1 << 20, fragments: 8 };

/// Feeds the pieces one by one; gives the events and the violation that ended them.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Close>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            match decoder.step(&mut piece[at..], CAPS) {
                Ok((used, event)) => {
                    assert!(used > 0, "a step without progress");
                    at += used;
                    events.extend(event);
                }
                Err(close) => return (events, Some(close)),
            }
        }
    }
    (events, None)
}

fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn frame(fin: bool, opcode: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A message in up to eight fragments, a ping after each.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    let payload = prop_oneof![4 => "\\PC{0,40}", 1 => "[a-z\u{e9}\u{1f600}]{100,300}"];
    (payload, any::<bool>(), any::<[u8; 4]>(), prop::collection::vec(0..400_usize, 0..7)).prop_map(
        |(text, binary, mask, mut cuts)| {
            let payload = text.as_bytes();
            cuts.iter_mut().for_each(|at| *at = (*at).min(payload.len()));
            cuts.sort_unstable();
            let (mut bytes, mut events) = (Vec::new(), Vec::new());
            let mut from = 0;
            let mut opcode = if binary { 2 } else { 1 };
            for at in cuts {
                bytes.extend(frame(false, opcode, mask, &payload[from..at]));
                bytes.extend(frame(true, 9, mask, b"ping"));
                events.push(Event::Ping(bytes::Bytes::from_static(b"ping")));
                (from, opcode) = (at, 0);
            }
            bytes.extend(frame(true, opcode, mask, &payload[from..]));
            events.push(match binary {
                true => Event::Binary(payload.to_vec().into()),
                false => Event::Text(text.into()),
            });
            (bytes, events)
        },
    )
}

proptest! {
    #[test]
    fn messages_survive_any_cut(
        messages in prop::collection::vec(message(), 1..5),
        sizes in prop::collection::vec(1..50_usize, 1..10),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let events: Vec<Event> = messages.into_iter().flat_map(|(_, events)| events).collect();
        prop_assert_eq!(&decode([&bytes[..]]), &(events, None));
        prop_assert_eq!(decode(cut(&bytes, &sizes)), decode([&bytes[..]]));
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        tame in any::<bool>(),
        sizes in prop::collection::vec(1..20_usize, 1..10),
    ) {
        if tame && bytes.len() > 1 {
            // Most random frames die of their first two bytes.
            bytes[0] &= 0x8f;
            bytes[1] |= 0x80;
        }
        let whole = decode([&bytes[..]]);
        let pieces = decode(cut(&bytes, &sizes));
        // Bad text is found earlier when it comes in pieces, so the codes agree but not more.
        prop_assert_eq!(whole.0, pieces.0);
        if let Some(close) = &whole.1 {
            prop_assert_eq!(Some(close.code), pieces.1.map(|close| close.code));
        }
    }
}

#[test]
fn a_decoder_between_messages_is_one_word() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let frame = close_frame(&Close { code: 1008, reason: "\u{e9}".repeat(100).into() });
    assert_eq!(frame[..4], [0x88, 124, 0x03, 0xf0]);
    assert_eq!(std::str::from_utf8(&frame[4..]), Ok(&*"\u{e9}".repeat(61)));
}
