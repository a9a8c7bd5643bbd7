//! Engine.IO 4 and Socket.IO 5: text to packets and back, and the few places of a packet that a session looks at.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;

use engineioxide_core::{Packet as EnginePacket, ProtocolVersion, Str};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use socketioxide_core::Value;
use socketioxide_core::packet::PacketData;
use socketioxide_core::parser::{Parse, ParseConfig, ParseError, ParserState};
use socketioxide_parser_common::CommonParser;

use super::Frame;

/// Stands between two packets of a payload of long polling.
pub const SEPARATOR: u8 = 0x1e;

/// What a server answers a probe with.
pub const PROBED: &[u8] = b"3probe";
/// Ends a poll that has nothing to bring.
pub const NOOP: &[u8] = b"6";
pub const PING: &[u8] = b"2";
/// Ends the session, where it is polled.
pub const CLOSE: &[u8] = b"1";

/// The longest name of an event, in bytes.
const NAME_BYTES: usize = 128;

/// Text that is no packet: a sentence without any of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub Cow<'static, str>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A packet of Engine.IO, as a client may send it.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// The client ends the session.
    Close,
    Pong,
    /// `2probe`: asks whether this new transport reaches the session.
    Probe,
    /// `5`: from here on the new transport is used.
    Upgrade,
    Noop,
    /// A packet of Socket.IO.
    Message(Str),
    /// An attachment.
    Binary,
}

/// Reads one packet of Engine.IO.
pub fn engine(text: impl Into<Str>) -> Result<Engine, Broken> {
    match EnginePacket::parse(ProtocolVersion::V4, text) {
        Ok(EnginePacket::Close) => Ok(Engine::Close),
        Ok(EnginePacket::Pong | EnginePacket::PongUpgrade) => Ok(Engine::Pong),
        Ok(EnginePacket::PingUpgrade) => Ok(Engine::Probe),
        Ok(EnginePacket::Upgrade) => Ok(Engine::Upgrade),
        Ok(EnginePacket::Noop) => Ok(Engine::Noop),
        Ok(EnginePacket::Message(message)) => Ok(Engine::Message(message)),
        Ok(EnginePacket::Binary(_) | EnginePacket::BinaryV3(_)) => Ok(Engine::Binary),
        Ok(EnginePacket::Ping | EnginePacket::Open(_)) => Err(Broken("only a server sends this packet".into())),
        Err(_) => Err(Broken("not a packet of Engine.IO 4".into())),
    }
}

/// A packet of Socket.IO, as a client may send it. `namespace` begins with a slash.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// `auth` is JSON text.
    Connect {
        namespace: Str,
        auth: Option<Str>,
    },
    Disconnect {
        namespace: Str,
    },
    /// `arguments` is JSON text; `attachments` binary packets follow.
    Event {
        namespace: Str,
        ack: Option<i64>,
        arguments: Str,
        attachments: usize,
    },
    /// An answer to an event of the server, `attachments` binary packets follow.
    Ack {
        namespace: Str,
        attachments: usize,
    },
}

/// Reads one packet of Socket.IO. What it carries is not looked at yet.
pub fn packet(message: Str) -> Result<Packet, Broken> {
    // Attachments are not kept: each packet is read by itself.
    let state = ParserState::default();
    let config = ParseConfig { max_incoming_binaries: usize::MAX, ..ParseConfig::default() };
    let (packet, attachments) = match CommonParser.decode_str(&config, &state, message) {
        Ok(packet) => (packet, 0),
        Err(ParseError::NeedsMoreBinaryData) => {
            let begun = state.partial_bin_packet.lock().ok().and_then(|mut begun| begun.take());
            let begun = begun.ok_or(Broken("not a packet of Socket.IO 5".into()))?;
            (begun.packet, state.incoming_binary_cnt.load(Ordering::Relaxed))
        }
        Err(error) => return Err(Broken(format!("not a packet of Socket.IO 5: {error}").into())),
    };
    let namespace = packet.ns;
    Ok(match packet.inner {
        PacketData::Connect(auth) => Packet::Connect { namespace, auth: auth.and_then(text) },
        PacketData::Disconnect => Packet::Disconnect { namespace },
        PacketData::Event(value, ack) | PacketData::BinaryEvent(value, ack) => {
            Packet::Event { namespace, ack, arguments: text(value).unwrap_or_default(), attachments }
        }
        PacketData::EventAck(..) | PacketData::BinaryAck(..) => Packet::Ack { namespace, attachments },
        PacketData::ConnectError(_) => return Err(Broken("only a server sends this packet".into())),
    })
}

fn text(value: Value) -> Option<Str> {
    match value {
        Value::Str(text, _) => Some(text),
        Value::Bytes(_) => None,
    }
}

/// An event's name and its first argument; more of them mean nothing here.
#[derive(Debug)]
pub struct Event<'a> {
    pub name: Cow<'a, str>,
    pub data: Option<&'a RawValue>,
}

/// Reads the arguments of an event: `["name",{…}]`.
pub fn event(arguments: &str) -> Result<Event<'_>, Broken> {
    if !arguments.trim_ascii_start().starts_with('[') {
        return Err(Broken("event: not an array of a name and an object".into()));
    }
    let event: Event<'_> =
        serde_json::from_str(arguments).map_err(|error| Broken(format!("event: {}", first_words(&error)).into()))?;
    match event.name.len() {
        1..=NAME_BYTES => Ok(event),
        _ => Err(Broken(format!("event: its name has 1 to {NAME_BYTES} bytes").into())),
    }
}

/// What is wrong, without where: the place counts from within the packet.
fn first_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line").unwrap_or(text.len());
    // It may quote what was sent.
    text[..end].chars().take(100).collect()
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Arguments;
        impl<'de> Visitor<'de> for Arguments {
            type Value = Event<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of a name and an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut arguments: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
                let Some(Name(name)) = arguments.next_element()? else {
                    return Err(A::Error::custom("an event has a name"));
                };
                let data = arguments.next_element()?;
                while arguments.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Event { name, data })
            }
        }
        from.deserialize_seq(Arguments)
    }
}

/// The packets of a payload, from the byte `at` on: the first one, and where the next begins.
pub fn first_of(payload: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = payload.get(at..)?;
    let end = rest.iter().position(|byte| *byte == SEPARATOR);
    Some(end.map_or((rest, payload.len() + 1), |end| (&rest[..end], at + end + 1)))
}

/// How a session begins. Times in milliseconds, `payload` in bytes.
pub fn open(sid: &str, upgrade: bool, (interval, timeout): (u128, u128), payload: usize) -> Vec<u8> {
    let upgrades = if upgrade { "\"websocket\"" } else { "" };
    format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[{upgrades}],\"pingInterval\":{interval},\"pingTimeout\":{timeout},\
         \"maxPayload\":{payload}}}"
    )
    .into_bytes()
}

/// `40/ai,{"sid","pid"}`.
pub fn connected(namespace: &str, sid: &str, pid: &str) -> Frame {
    Frame::text(format!("40{}{{\"sid\":\"{sid}\",\"pid\":\"{pid}\"}}", of(namespace)).as_bytes())
}

/// `44/ai,{"message","data"}`. `error` is JSON text.
pub fn refused(namespace: &str, error: &str) -> Frame {
    Frame::text(format!("44{}{error}", of(namespace)).as_bytes())
}

/// `41/ai,`.
pub fn disconnected(namespace: &str) -> Frame {
    Frame::text(format!("41{}", of(namespace)).as_bytes())
}

/// `43/ai,7[…]`. `argument` is JSON text.
pub fn acknowledged(namespace: &str, id: i64, argument: &str) -> Frame {
    Frame::text(format!("43{}{id}[{argument}]", of(namespace)).as_bytes())
}

/// The main namespace has no name on the wire.
fn of(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

/// What an event of a conversation begins its first object with.
const CONVERSATION: &[u8] = b"{\"conversationId\":\"";

/// How far into a packet that may stand: a namespace and a name of an event come before it.
const SEARCHED: usize = 128;

/// Where in an event's packet the conversation's id stands.
fn place_of_conversation(packet: &[u8]) -> Option<(usize, usize)> {
    let head = &packet[..packet.len().min(SEARCHED)];
    let at = head.windows(CONVERSATION.len()).position(|bytes| bytes == CONVERSATION)? + CONVERSATION.len();
    // It stands right behind the name of the event: a text within an object is not it.
    let open = head.iter().position(|byte| *byte == b'{')?;
    let end = packet[at..].iter().position(|byte| *byte == b'"')?;
    (open + CONVERSATION.len() == at).then_some((at, at + end))
}

/// The conversation that an event's packet is about.
pub fn conversation(packet: &[u8]) -> Option<&str> {
    let (from, to) = place_of_conversation(packet)?;
    std::str::from_utf8(&packet[from..to]).ok()
}

/// The same packet with another name for the conversation. `name` has no characters that JSON escapes but quotes and
/// backslashes, which are escaped here.
pub fn renamed(packet: &[u8], name: &str) -> Option<Frame> {
    let (from, to) = place_of_conversation(packet)?;
    Some(Frame::build(|out| {
        out.extend_from_slice(&packet[..from]);
        for byte in name.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.extend_from_slice(&packet[to..]);
    }))
}

/// What stands last in an event's packet where it is a text `EPOCH:SEQ`: the place that a client goes on from.
pub fn offset(packet: &[u8]) -> Option<(&str, u64)> {
    let text = packet.strip_suffix(b"\"]")?;
    let from = text.iter().rposition(|byte| *byte == b'"')?;
    let comma = from.checked_sub(1)?;
    if packet[comma] != b',' {
        return None;
    }
    place(std::str::from_utf8(&text[from + 1..]).ok()?)
}

/// A place as a client gives it back.
pub fn place(text: &str) -> Option<(&str, u64)> {
    let (epoch, seq) = text.split_once(':')?;
    let sound = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
    sound.then_some((epoch, seq.parse().ok()?))
}

/// The frame that a dialect puts before a channel's events: for the session alone, never sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeted {
    pub session_id: String,
    pub epoch: String,
    pub seq: u64,
    pub recovered: bool,
}

/// Reads such a frame; nothing where it is an event's packet.
pub fn greeting(frame: &[u8]) -> Option<Greeted> {
    #[derive(Deserialize)]
    struct Marker {
        greeting: Greeted,
    }
    // Packets begin with a digit.
    if frame.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(frame).ok().map(|Marker { greeting }| greeting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Packet, Broken> {
        match engine(text)? {
            Engine::Message(message) => packet(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_recorded_packets_are_read() {
        let ai = || Str::from("/ai");
        assert_eq!(engine("2probe"), Ok(Engine::Probe));
        assert_eq!(engine("3"), Ok(Engine::Pong));
        assert_eq!(engine("5"), Ok(Engine::Upgrade));
        assert_eq!(engine("1"), Ok(Engine::Close));
        assert_eq!(engine("bAQID"), Ok(Engine::Binary));
        let auth = Some(Str::from("{\"token\":\"t0k\"}"));
        assert_eq!(read("40/ai,{\"token\":\"t0k\"}"), Ok(Packet::Connect { namespace: ai(), auth }));
        assert_eq!(read("40"), Ok(Packet::Connect { namespace: "/".into(), auth: None }));
        assert_eq!(read("41/ai,"), Ok(Packet::Disconnect { namespace: ai() }));
        assert_eq!(read("43/ai,1[{}]"), Ok(Packet::Ack { namespace: ai(), attachments: 0 }));
        let arguments = Str::from("[\"chat\",{\"message\":\"hi\"}]");
        let event = Packet::Event { namespace: ai(), ack: Some(7), arguments, attachments: 0 };
        assert_eq!(read("42/ai,7[\"chat\",{\"message\":\"hi\"}]"), Ok(event));
        let Ok(Packet::Event { ack: Some(3), attachments: 2, .. }) = read("452-/ai,3[\"blob\",{}]") else { panic!() };
    }

    #[test]
    fn what_is_no_packet_is_told_so() {
        for bad in ["", "9", "0{}", "2", "b!", "\u{e9}"] {
            assert!(engine(bad).is_err(), "{bad}");
        }
        for bad in ["4", "47", "44{}", "45/ai,[]", "451", "45-[]", "43/ai,[]", "4599999999999999999999-[\"x\"]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["", "{}", "[]", "[1]", "[null,{}]", "[\"\"]", "[\"a\"", "[[\"chat\"]]", "7[\"chat\"]"] {
            assert!(event(bad).is_err(), "{bad}");
        }
        assert!(event(&format!("[\"{}\"]", "x".repeat(129))).is_err());
    }

    #[test]
    fn an_event_is_its_name_and_its_first_argument() {
        let one = event("[\"ch\\u0061t\", {\"a\": 1}, 2, [3]]").expect("an event");
        assert_eq!((&*one.name, one.data.map(RawValue::get)), ("chat", Some("{\"a\": 1}")));
        let bare = event("[\"bye\"]").expect("an event");
        assert_eq!((&*bare.name, bare.data.is_none()), ("bye", true));
        assert_eq!(&*event("[\"__proto__\",{}]").expect("an event").name, "__proto__");
    }

    #[test]
    fn a_payload_is_cut_at_its_separators() {
        let all = |payload: &[u8]| {
            let (mut at, mut found) = (0, Vec::new());
            while let Some((packet, next)) = first_of(payload, at) {
                found.push(String::from_utf8_lossy(packet).into_owned());
                at = next;
            }
            found
        };
        assert_eq!(all(b"3"), ["3"]);
        assert_eq!(all(b"40/ai,\x1e3\x1e"), ["40/ai,", "3", ""]);
        assert_eq!(all(b""), [""]);
    }

    #[test]
    fn the_place_of_an_event_and_its_conversation_are_found() {
        let packet =
            br#"42/ai,["text_delta",{"conversationId":"sess_1","text":"a {\"conversationId\":\"x\"}"},"00ff:12"]"#;
        assert_eq!(offset(packet), Some(("00ff", 12)));
        assert_eq!(conversation(packet), Some("sess_1"));
        let other = renamed(packet, "my\"own").expect("renamed");
        let text = String::from_utf8(other.payload_bytes().to_vec()).expect("text");
        assert!(text.starts_with(r#"42/ai,["text_delta",{"conversationId":"my\"own","text""#), "{text}");
        assert!(text.ends_with(r#","00ff:12"]"#), "{text}");
        // Neither of an event without a place nor of one that is about no conversation.
        assert_eq!(offset(br#"42/ai,["error",{"message":"a:1"}]"#), None);
        assert_eq!(offset(br#"42/ai,["error","a","b"]"#), None);
        assert_eq!(conversation(br#"42/ai,["error",{"message":"{\"conversationId\":\"x\""}]"#), None);
    }

    #[test]
    fn a_greeting_is_no_packet() {
        let marker = br#"{"greeting":{"sessionId":"sess_1","epoch":"e","seq":3,"recovered":true,"questions":[]}}"#;
        let greeted = Greeted { session_id: "sess_1".into(), epoch: "e".into(), seq: 3, recovered: true };
        assert_eq!(greeting(marker), Some(greeted));
        assert_eq!(greeting(br#"42/ai,["greeting",{}]"#), None);
    }

    #[test]
    fn packets_are_written_as_recorded() {
        let text = |frame: Frame| String::from_utf8(frame.payload_bytes().to_vec()).expect("text");
        assert_eq!(
            open("s", true, (25_000, 20_000), 65_536),
            br#"0{"sid":"s","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}"#
        );
        assert_eq!(text(connected("/ai", "s", "p")), r#"40/ai,{"sid":"s","pid":"p"}"#);
        assert_eq!(text(refused("/", r#"{"message":"Invalid namespace"}"#)), r#"44{"message":"Invalid namespace"}"#);
        assert_eq!(text(disconnected("/chat")), "41/chat,");
        assert_eq!(text(acknowledged("/ai", 7, "{}")), "43/ai,7[{}]");
    }
}
