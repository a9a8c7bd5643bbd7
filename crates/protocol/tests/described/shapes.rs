//! The schema takes what the types take and refuses what they refuse.

use serde_json::{Value, json};
use switchboard_protocol::describe::{json_schema, typescript};
use switchboard_protocol::events::EVENTS;
use switchboard_protocol::frames::ClientFrame;
use switchboard_protocol::methods::{METHODS, SessionUpdate};

use crate::complaints;

#[test]
fn every_method_and_event_is_described_once() {
    let schema = json_schema();
    let methods = schema["x-methods"].as_object().expect("a map");
    assert_eq!(methods.len(), METHODS.len());
    for method in METHODS {
        assert!(methods.contains_key(method.name), "{}", method.name);
    }
    for event in schema["x-events"].as_object().expect("a map").keys() {
        assert_eq!(EVENTS.iter().filter(|name| *name == event).count(), 1, "{event}");
    }
}

#[test]
fn wrong_frames_are_refused_by_schema_and_types_alike() {
    let wrong = [
        json!({"type": "request", "method": "agents.list"}),
        json!({"type": "request", "id": 7, "method": "agents.list"}),
        json!({"type": "subscribe", "channels": "session:sess_1"}),
        json!({"type": "subscribe", "channels": [], "since": {"session:sess_1": {"epoch": "e"}}}),
        json!({"type": "subscribe", "channels": [], "since": {"session:sess_1": {"epoch": "e", "seq": -1}}}),
        json!({"type": "approval_response", "requestId": "appr_1"}),
        json!({"type": "dance"}),
        json!({}),
    ];
    for frame in wrong {
        assert!(serde_json::from_value::<ClientFrame>(frame.clone()).is_err(), "the type takes {frame}");
        assert_ne!(complaints(json!({"$ref": "#/$defs/ClientFrame"}), &frame), "", "the schema takes {frame}");
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let frame = json!({"type": "ping", "mood": "good"});
    assert_eq!(complaints(json!({"$ref": "#/$defs/ClientFrame"}), &frame), "");
    assert_eq!(serde_json::from_value::<ClientFrame>(frame).expect("a ping"), ClientFrame::Ping);
}

#[test]
fn null_clears_and_absence_leaves() {
    let read = |text: &str| serde_json::from_str::<SessionUpdate>(text).expect("params").model;
    assert_eq!(read(r#"{"sessionId":"sess_1"}"#), None);
    assert_eq!(read(r#"{"sessionId":"sess_1","model":null}"#), Some(None));
    assert_eq!(read(r#"{"sessionId":"sess_1","model":"m"}"#), Some(Some("m".to_owned())));
    for model in [Value::Null, json!("m")] {
        let params = json!({"sessionId": "sess_1", "model": model});
        assert_eq!(complaints(json!({"$ref": "#/$defs/SessionUpdate"}), &params), "");
    }
    assert!(typescript().contains("model?: string | null"), "the field may be absent, null or a string");
}

#[test]
fn a_part_is_updated_in_exactly_one_way() {
    let schema = || json!({"$ref": "#/$defs/PartUpdated"});
    let one = json!({"messageId": "msg_1", "partId": "part_1", "delta": "a"});
    let both = json!({"messageId": "msg_1", "partId": "part_1", "delta": "a", "text": "b"});
    let none = json!({"messageId": "msg_1", "partId": "part_1"});
    assert_eq!(complaints(schema(), &one), "");
    assert_ne!(complaints(schema(), &both), "");
    assert_ne!(complaints(schema(), &none), "");
}
