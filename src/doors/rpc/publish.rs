//! A publish frame in one pass. Most of what comes in is such frames, and most of them are plain.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::sound::plainly_sound;

/// How such frames begin, as the usual writers of JSON have it.
const START: [&str; 2] = ["{\"type\":\"publish\"", "{\"type\": \"publish\""];

/// A publish frame in which nothing is out of the ordinary.
#[derive(Debug, PartialEq, Eq)]
pub struct PlainPublish<'a> {
    pub channel: &'a str,
    pub event: &'a str,
    /// JSON text that [`super::sound`] has nothing against.
    pub data: &'a str,
    pub id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    r#type: &'a str,
    channel: &'a str,
    event: &'a str,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    id: Option<&'a str>,
}

/// Reads a frame that says first that it is a publish. `None` where it does not, or where anything in it is unusual or
/// wrong: then it is read with care, and with words for what is wrong.
pub fn plain_publish(text: &str) -> Option<PlainPublish<'_>> {
    if !START.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    let Fields { r#type: kind, channel, event, data, id } = serde_json::from_str(text).ok()?;
    let data = data.map_or("null", RawValue::get);
    (kind == "publish" && plainly_sound(data)).then_some(PlainPublish { channel, event, data, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_frame_is_read_in_one_pass() {
        let text = r#"{"type":"publish","channel":"app:a","event":"e","data":{"a":[1,-2.5,"x\n"]},"id":"1","more":0}"#;
        let data = r#"{"a":[1,-2.5,"x\n"]}"#;
        let plain = PlainPublish { channel: "app:a", event: "e", data, id: Some("1") };
        assert_eq!(plain_publish(text), Some(plain));
        let text = r#"{"type": "publish", "event": "e", "channel": "app:a"}"#;
        let plain = PlainPublish { channel: "app:a", event: "e", data: "null", id: None };
        assert_eq!(plain_publish(text), Some(plain));
    }

    #[test]
    fn whatever_is_unusual_is_left_to_the_careful_way() {
        for text in [
            r#"["publish","app:a","e",1,null]"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"publish"}"#,
            r#"{"type":"publish","type":"ping","channel":"app:a","event":"e"}"#,
            r#"{"type":"publish","channel":"app:a","event":"\u0065"}"#,
            r#"{"type":"publish","channel":"app:a","event":"e","id":7}"#,
            r#"{"type":"publish","channel":"app:a","event":"e","data":"\ud800"}"#,
            r#"{"type":"publish","channel":"app:a","event":"e","data":1e999}"#,
            r#"{"type":"publish","channel":"app:a","event":"e"} {}"#,
            r#"{"type":"publish","channel":"app:a","event":"e","data":{"a":}}"#,
        ] {
            assert_eq!(plain_publish(text), None, "{text}");
        }
    }
}
