//! Bad input gets a clear error that names the field, and the connection lives on; abuse is cut off with its code.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Client, Hub, HubOptions, run};

const SCHEMA: &str = include_str!("../../schema/protocol.schema.json");

async fn connected(hub: &Hub) -> Client {
    Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await
}

#[test]
fn case_67_a_frame_that_is_none_is_answered_and_the_connection_lives() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = connected(&hub).await;
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let none = json!(null);
        for (text, code, field) in [
            ("", "bad_request", &none),
            ("{", "bad_request", &none),
            ("null", "bad_request", &none),
            ("7", "bad_request", &none),
            ("\"ping\"", "bad_request", &none),
            ("[]", "bad_request", &none),
            ("[\"ping\",\"x\"]", "bad_request", &none),
            (deep.as_str(), "bad_request", &none),
            ("{}", "bad_request", &json!("type")),
            (r#"{"type":null}"#, "bad_request", &json!("type")),
            (r#"{"type":5}"#, "bad_request", &json!("type")),
            (r#"{"type":["ping"]}"#, "bad_request", &json!("type")),
            (r#"{"type":"dance"}"#, "bad_request", &json!("type")),
            (r#"{"type":"PING"}"#, "bad_request", &json!("type")),
            (r#"{"type":"\ud800"}"#, "bad_request", &json!("type")),
            (r#"{"type":"ping"} {"type":"ping"}"#, "bad_request", &none),
            (r#"{"type":"ping","type":"ping"}"#, "bad_request", &json!("type")),
            (r#"{"type":"request"}"#, "bad_request", &json!("id")),
            (r#"{"type":"request","id":5,"method":"agents.list"}"#, "bad_request", &json!("id")),
            (r#"{"type":"request","id":"","method":"agents.list"}"#, "bad_request", &json!("id")),
            (r#"{"type":"subscribe"}"#, "bad_request", &json!("channels")),
            (r#"{"type":"subscribe","channels":[]}"#, "bad_request", &json!("channels")),
            (r#"{"type":"subscribe","channels":"app:x"}"#, "bad_request", &json!("channels")),
            (r#"{"type":"subscribe","channels":["app:x",5]}"#, "bad_request", &json!("channels[1]")),
            (r#"{"type":"subscribe","channels":["app:x"],"since":5}"#, "bad_request", &json!("since")),
            (r#"{"type":"subscribe","channels":["app:x"],"id":5}"#, "bad_request", &json!("id")),
            (r#"{"type":"unsubscribe","channels":{}}"#, "bad_request", &json!("channels")),
            (r#"{"type":"publish","channel":"app:x"}"#, "bad_request", &json!("event")),
            (r#"{"type":"publish","channel":5,"event":"e"}"#, "bad_request", &json!("channel")),
            (r#"{"type":"publish","channel":"app:x","event":5}"#, "bad_request", &json!("event")),
            (r#"{"type":"publish","channel":"app:x","event":"e","id":{}}"#, "bad_request", &json!("id")),
        ] {
            client.send_text(text).await;
            let error = client.next().await;
            let shown: String = text.chars().take(80).collect();
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{shown}: {error}");
            assert_eq!(&error["details"]["field"], field, "{shown}: {error}");
            assert!(error["message"].as_str().is_some_and(|m| !m.is_empty() && m.len() < 300), "{shown}: {error}");
        }
        let request =
            |params: &str| format!(r#"{{"type":"request","id":"r","method":"messages.send","params":{params}}}"#);
        let known = r#""sessionId":"sess_01930000000070008000000000000000""#;
        for (params, field) in [
            (format!(r#"{{{known},"content":"\ud800"}}"#), "content"),
            (format!(r#"{{{known},"content":"a","content":"b"}}"#), "content"),
            (format!(r#"{{{known},"content":{deep}}}"#), "content"),
            (format!(r#"{{{known},"content":1e999}}"#), "content"),
            (format!(r#"{{{known},"content":"x","model":12345678901234567890123}}"#), "model"),
        ] {
            client.send_text(&request(&params)).await;
            let answer = client.next().await;
            let shown: String = params.chars().take(120).collect();
            assert_eq!(
                (&answer["id"], &answer["error"]["code"]),
                (&json!("r"), &json!("bad_request")),
                "{shown}: {answer}"
            );
            assert_eq!(answer["error"]["details"]["field"].as_str().unwrap_or_default(), field, "{shown}: {answer}");
        }
        let long = json!({"type": "request", "id": "x".repeat(129), "method": "agents.list"});
        client.send(long).await;
        let error = client.next().await;
        assert_eq!((&error["type"], &error["details"]["field"]), (&json!("error"), &json!("id")), "{error}");
        assert!(error["id"].is_null(), "{error}");
        client.send_message(Message::binary(vec![0, 159, 146, 150])).await;
        assert_eq!(client.next().await["code"], "bad_request");
        // Unknown fields and odd spellings of known ones are no fault.
        client.send_text(" {\"more\":[1e999],\"t\\u0079pe\":\"\\u0070ing\",\"id\":{}} ").await;
        assert_eq!(client.next().await, json!({"type": "pong"}));
        client.call("agents.list", json!({"unknown": {"deep": [null]}})).await;
    });
}

#[test]
fn a_frame_that_breaks_the_protocol_closes_with_its_code() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let text = |bytes: Vec<u8>| Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true));
        for (message, code) in [
            (text(vec![b'{', 0xff, b'}']), 1007),
            (text(vec![0xed, 0xa0, 0x80]), 1007),
            (Message::text("x".repeat(10 << 20)), 1009),
            (Message::binary(vec![0; 10 << 20]), 1009),
        ] {
            let mut client = connected(&hub).await;
            client.throw(message).await;
            assert_eq!(client.until_closed().await, code);
        }
        // Nobody else noticed.
        connected(&hub).await.until_pong().await;
    });
}

#[test]
fn a_frame_as_large_as_allowed_is_taken() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .set("SWITCHBOARD_LIMITS__FRAME_BYTES", 65_536)
                .set("SWITCHBOARD_LIMITS__MESSAGE_BYTES", 60_000),
        );
        let mut client = connected(&hub).await;
        let frame = |bytes: usize| {
            let empty = json!({"type": "ping", "pad": ""}).to_string();
            json!({"type": "ping", "pad": "x".repeat(bytes - empty.len())}).to_string()
        };
        client.send_text(&frame(65_536)).await;
        assert_eq!(client.next().await["type"], "pong");
        client.throw(Message::text(frame(65_537))).await;
        assert_eq!(client.until_closed().await, 1009);
    });
}

#[test]
fn what_is_too_large_or_unknown_says_so() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = connected(&hub).await;
        let session = client.session().await;
        for (method, params, code, field) in [
            ("nothing.at_all", json!({}), "unknown_method", Value::Null),
            ("sessions.create2", json!({}), "unknown_method", Value::Null),
            ("", json!({}), "unknown_method", Value::Null),
            ("sessions.create", json!({"title": "x".repeat(513)}), "too_large", Value::Null),
            ("sessions.create", json!({"agent": "nobody"}), "bad_request", json!("agent")),
            ("sessions.create", json!({"projectId": " "}), "bad_request", json!("projectId")),
            ("sessions.create", json!({"idempotencyKey": ""}), "bad_request", json!("idempotencyKey")),
            ("sessions.list", json!({"limit": 0}), "bad_request", json!("limit")),
            ("sessions.list", json!({"limit": 201}), "bad_request", json!("limit")),
            ("sessions.list", json!({"limit": -1}), "bad_request", json!("limit")),
            ("sessions.list", json!({"limit": 1u64 << 40}), "bad_request", json!("limit")),
            ("sessions.list", json!({"cursor": "x'; drop table"}), "bad_request", json!("cursor")),
            ("projects.list", json!({"cursor": "x"}), "bad_request", json!("cursor")),
            ("projects.create", json!({"name": " "}), "bad_request", json!("name")),
            ("messages.send", json!({"sessionId": session, "content": " \n"}), "bad_request", json!("content")),
            (
                "messages.send",
                json!({"sessionId": session, "content": "x".repeat((1 << 20) + 1)}),
                "too_large",
                Value::Null,
            ),
            ("messages.list", json!({"sessionId": session, "before": "x"}), "bad_request", json!("before")),
            ("messages.list", json!({"sessionId": "sess_1"}), "not_found", Value::Null),
            ("messages.retry", json!({"sessionId": session}), "conflict", Value::Null),
            ("messages.stop", json!({"sessionId": session, "turnId": "x"}), "bad_request", json!("turnId")),
            (
                "todos.update",
                json!({"sessionId": session, "todos": [{"content": ""}]}),
                "bad_request",
                json!("todos[0].content"),
            ),
            ("usage.get", json!({"period": "year"}), "bad_request", json!("period")),
            (
                "channels.history",
                json!({"channel": "app:x", "since": {"epoch": "e", "seq": -1}}),
                "bad_request",
                json!("since.seq"),
            ),
            ("tools.approve", json!({}), "bad_request", json!("requestId")),
            ("agents.get", json!({"agent": "nobody"}), "not_found", Value::Null),
        ] {
            let answer = client.ask(method, params.clone()).await;
            let shown: String = params.to_string().chars().take(80).collect();
            assert_eq!(answer["error"]["code"], code, "{method} {shown}: {answer}");
            assert_eq!(answer["error"]["details"]["field"], field, "{method} {shown}: {answer}");
        }
    });
}

/// Required parameters with values that could stand there, and all properties of a method's parameters.
fn shape(params: &Value, session: &str) -> (Value, Vec<(String, Value)>) {
    let properties = params["properties"].as_object().cloned().unwrap_or_default();
    let mut good = json!({});
    for name in params["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        good[name] = match name {
            "sessionId" => json!(session),
            "todos" => json!([]),
            "channel" => json!("app:x"),
            _ => json!("x"),
        };
    }
    (good, properties.into_iter().collect())
}

/// Every method with every parameter of every wrong kind: an answer that names it, never silence, never `internal`.
#[test]
fn every_parameter_of_every_method_is_checked() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut client = connected(&hub).await;
        let session = client.session().await;
        let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        let mut checked = 0;
        for method in protocol::methods::METHODS {
            let (good, properties) = shape(&schema["$defs"][method.params], &session);
            for params in [json!([]), json!([session]), json!([session, session]), json!("x"), json!(5), json!(true)] {
                let answer = client.ask(method.name, params.clone()).await;
                assert_eq!(answer["error"]["code"], "bad_request", "{} {params}: {answer}", method.name);
                assert_eq!(answer["error"]["details"]["field"], "params", "{} {params}: {answer}", method.name);
            }
            for params in [json!({}), json!(null)] {
                let answer = client.ask(method.name, params.clone()).await;
                let required = good.as_object().is_some_and(|g| !g.is_empty()) || method.params == "ToolDecision";
                let code = if required { json!("bad_request") } else { Value::Null };
                assert_eq!(answer["error"]["code"], code, "{} {params}: {answer}", method.name);
                let named = answer["error"]["details"]["field"].is_string();
                assert_eq!(named, required, "{} {params}: {answer}", method.name);
            }
            for (name, property) in properties {
                for wrong in [json!(7.5), json!({"x": 1}), json!([[1]]), json!(true), json!(u64::MAX), json!(-1)] {
                    let free = property["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("object")));
                    if wrong.is_boolean() && property.to_string().contains("boolean") || wrong.is_object() && free {
                        continue;
                    }
                    let mut params = good.clone();
                    params[&name] = wrong.clone();
                    let answer = client.ask(method.name, params.clone()).await;
                    assert_eq!(answer["error"]["code"], "bad_request", "{} {params}: {answer}", method.name);
                    let field = answer["error"]["details"]["field"].as_str().unwrap_or_default().to_owned();
                    assert!(field.starts_with(&name), "{} {params}: {answer}", method.name);
                    checked += 1;
                }
            }
        }
        assert!(checked > 300, "only {checked} parameters");
        client.call("sessions.get", json!({"sessionId": session})).await;
    });
}
