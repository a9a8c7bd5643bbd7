//! JSON that is passed on unread must be JSON that every reader can take.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::field_error;
use crate::error::Fault;

/// Refuses what is JSON by its grammar only: halves of surrogate pairs, numbers beyond 64 bits of floating point, and
/// more than 127 levels. One subscriber's parser that gives up on it would lose its place in the channel.
///
/// # Errors
/// The field and what is wrong with it.
pub fn sound(field: &str, text: &str) -> Result<(), Fault> {
    let mut from = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Sound>(&mut from) {
        Ok(Sound) => Ok(()),
        Err(error) => Err(Fault::field(field, field_error(error).message)),
    }
}

/// Brackets of a text, at most: so many levels it cannot pass.
const BRACKETS: usize = 127;

/// Bytes of a number, at most: so few digits without an exponent are far from the end of 64 bits of floating point.
const DIGITS: usize = 64;

/// Whether a look at the bytes is enough to say that [`sound`] has nothing against a text that is JSON by its grammar.
pub(super) fn plainly_sound(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut brackets) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => match end_of_string(bytes, at) {
                Some(end) => at = end,
                None => return false,
            },
            b'[' | b'{' => brackets += 1,
            b'-' | b'0'..=b'9' => {
                let of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'.');
                let digits = bytes[at..].iter().take_while(|b| of_number(b)).count();
                at += digits;
                if digits > DIGITS || matches!(bytes.get(at), Some(b'e' | b'E')) {
                    return false;
                }
            }
            _ => {}
        }
    }
    brackets <= BRACKETS
}

/// Where the string ends whose text begins at `at`. `None` where it has an escape that can be half of a pair.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes[at..].iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        match bytes.get(at + 1)? {
            b'u' => return None,
            _ => at += 2,
        }
    }
}

/// A value of which nothing is kept.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sound, A::Error> {
        while entries.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(Sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(count: usize) -> String {
        format!("{}{}", "[".repeat(count), "]".repeat(count))
    }

    #[test]
    fn what_every_reader_can_take_is_passed_on() {
        for text in ["null", "[1,-2.5e3,\"\\ud83d\\ude00\"]", "{\"a\":{\"a\":[true]},\"a\":18446744073709551616}"] {
            assert_eq!(sound("data", text), Ok(()), "{text}");
        }
        for text in ["{\"id\":\"3e9\",\"n\":-0.5}", "\"a\\n\\\"\"", &levels(127)] {
            assert!(plainly_sound(text) && sound("data", text).is_ok(), "{text}");
        }
        let deep = levels(100_000);
        let digits = "9".repeat(400);
        for text in ["\"\\ud800\"", "{\"\\udc00\":1}", "[1e999]", &deep, &levels(128), &digits] {
            let fault = sound("data", text).expect_err("it is refused");
            assert!(fault.message.starts_with("data: "), "{}", fault.message);
            assert!(!plainly_sound(text), "{text}");
        }
    }
}
