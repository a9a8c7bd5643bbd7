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

    #[test]
    fn what_every_reader_can_take_is_passed_on() {
        for text in ["null", "[1,-2.5e3,\"\\ud83d\\ude00\"]", "{\"a\":{\"a\":[true]},\"a\":18446744073709551616}"] {
            assert_eq!(sound("data", text), Ok(()), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["\"\\ud800\"", "{\"\\udc00\":1}", "[1e999]", &deep] {
            let fault = sound("data", text).expect_err("it is refused");
            assert!(fault.message.starts_with("data: "), "{}", fault.message);
        }
    }
}
