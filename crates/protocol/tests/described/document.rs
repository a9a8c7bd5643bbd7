//! `docs/PROTOCOL.md` shows only frames that exist, in full, and leaves none out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchboard_protocol::describe::{Described, Visit, json_schema, visit_all};
use switchboard_protocol::events::EVENTS;
use switchboard_protocol::frames::{ClientFrame, ServerFrame};
use switchboard_protocol::methods::{METHODS, Published, SubscribeOutcome, UnsubscribeOutcome};

use crate::{complaints, root};

/// One literal frame of the document.
struct Example {
    /// The line on which its block begins.
    line: usize,
    from_client: bool,
    frame: Value,
}

fn document() -> String {
    fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("docs/PROTOCOL.md can be read")
}

/// All frames in the blocks marked `json client` and `json server`; a block of any other JSON is an error.
fn examples(text: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open: Option<(usize, bool, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line) {
            (None, "```json client") => open = Some((number, true, String::new())),
            (None, "```json server") => open = Some((number, false, String::new())),
            (None, other) => assert!(!other.starts_with("```"), "line {number}: a block nobody checks: {other}"),
            (Some((line, from_client, body)), "```") => {
                let before = found.len();
                for frame in serde_json::Deserializer::from_str(body).into_iter::<Value>() {
                    let frame = frame.unwrap_or_else(|e| panic!("line {line}: {e}"));
                    found.push(Example { line: *line, from_client: *from_client, frame });
                }
                assert!(found.len() > before, "line {line}: an empty block");
                open = None;
            }
            (Some((_, _, body)), other) => {
                body.push_str(other);
                body.push('\n');
            }
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    found
}

/// Reads `value` as `T`, writes it again and demands the same: a misspelt or forgotten field does not survive that.
fn survives<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let written = serde_json::to_value(&read).map_err(|e| e.to_string())?;
    if written == *value { Ok(()) } else { Err(format!("it reads as {written}")) }
}

type Check = fn(&Value) -> Result<(), String>;

/// How params, results and event data are checked, by name.
#[derive(Default)]
struct Checks {
    params: BTreeMap<&'static str, Check>,
    results: BTreeMap<&'static str, Check>,
    events: BTreeMap<&'static str, Check>,
}

impl Visit for Checks {
    fn method<P: Described, R: Described>(&mut self, name: &'static str) {
        self.params.insert(name, survives::<P>);
        self.results.insert(name, survives::<R>);
    }

    fn event<D: Described>(&mut self, name: &'static str) {
        self.events.insert(name, survives::<D>);
    }
}

impl Checks {
    fn all() -> Self {
        let mut checks = Self::default();
        visit_all(&mut checks);
        checks.results.insert("subscribe", survives::<SubscribeOutcome>);
        checks.results.insert("unsubscribe", survives::<UnsubscribeOutcome>);
        checks.results.insert("publish", survives::<Published>);
        checks
    }
}

/// Panics where `value` does not pass `check` or the schema at `pointer`.
fn hold(at: usize, what: &str, check: Check, pointer: Value, value: &Value) {
    if let Err(why) = check(value) {
        panic!("line {at}: {what}: {why}\n{value}");
    }
    let said = complaints(pointer, value);
    assert!(said.is_empty(), "line {at}: {what}: the schema says\n{said}{value}");
}

fn text<'a>(frame: &'a Value, field: &str) -> Option<&'a str> {
    frame.get(field).and_then(Value::as_str)
}

#[test]
fn every_example_is_a_frame_of_the_wire() {
    let (checks, schema) = (Checks::all(), json_schema());
    // What each id in the document asked for: the method, or the type of the frame.
    let mut asked: BTreeMap<String, String> = BTreeMap::new();
    for Example { line, from_client, frame } in examples(&document()) {
        let kind = text(&frame, "type").unwrap_or_else(|| panic!("line {line}: no type")).to_owned();
        let (check, name): (Check, _) = if from_client {
            (survives::<ClientFrame>, "ClientFrame")
        } else {
            (survives::<ServerFrame>, "ServerFrame")
        };
        hold(line, &kind, check, json!({"$ref": format!("#/$defs/{name}")}), &frame);
        if from_client {
            if let Some(id) = text(&frame, "id") {
                asked.insert(id.to_owned(), text(&frame, "method").unwrap_or(&kind).to_owned());
            }
            if let Some(method) = text(&frame, "method") {
                let check = checks.params.get(method).unwrap_or_else(|| panic!("line {line}: no method {method}"));
                let params = frame.get("params").cloned().unwrap_or_else(|| json!({}));
                hold(line, method, *check, schema["x-methods"][method]["params"].clone(), &params);
            }
        } else if kind == "response" {
            let id = text(&frame, "id").expect("a response has an id");
            let method = asked.get(id).unwrap_or_else(|| panic!("line {line}: nobody asked {id}"));
            let Some(result) = frame.get("result") else { continue };
            let told = match schema["x-methods"].get(method) {
                Some(types) => types["result"].clone(),
                None => schema["x-outcomes"][method].clone(),
            };
            hold(line, method, checks.results[method.as_str()], told, result);
        } else if kind == "event" {
            let event = text(&frame, "event").expect("an event has a name");
            let Some(check) = checks.events.get(event) else {
                let channel = text(&frame, "channel").expect("an event has a channel");
                assert!(channel.starts_with("app:"), "line {line}: {event} is no event of the hub");
                continue;
            };
            hold(line, event, *check, schema["x-events"][event].clone(), &frame["data"]);
        }
    }
}

#[test]
fn every_frame_method_and_event_has_an_example() {
    let (text_of_it, schema) = (document(), json_schema());
    let all = examples(&text_of_it);
    let shown = |from_client: bool, field: &str| -> BTreeSet<String> {
        let of_that_side = all.iter().filter(|e| e.from_client == from_client);
        of_that_side.filter_map(|e| text(&e.frame, field)).map(str::to_owned).collect()
    };
    for (side, name) in [(true, "ClientFrame"), (false, "ServerFrame")] {
        let kinds = schema["$defs"][name]["oneOf"].as_array().expect("one of the frames");
        assert!(kinds.len() > 6, "the schema lists the frames of {name}");
        for kind in kinds {
            let kind = kind["properties"]["type"]["const"].as_str().expect("a type");
            assert!(shown(side, "type").contains(kind), "no example of {name} {kind}");
        }
    }
    let answered: BTreeSet<String> = {
        let results = all.iter().filter(|e| e.frame.get("result").is_some()).filter_map(|e| text(&e.frame, "id"));
        let ids: BTreeSet<&str> = results.collect();
        let asking = all.iter().filter(|e| e.from_client && text(&e.frame, "id").is_some_and(|id| ids.contains(id)));
        asking.filter_map(|e| text(&e.frame, "method")).map(str::to_owned).collect()
    };
    for method in METHODS {
        assert!(text_of_it.contains(&format!("\n#### `{}`\n", method.name)), "{} has no section", method.name);
        assert!(answered.contains(method.name), "no example of {} with its result", method.name);
    }
    let described = schema["x-events"].as_object().expect("a map");
    for event in EVENTS {
        assert!(text_of_it.contains(&format!("`{event}`")), "{event} is not mentioned");
        assert!(!described.contains_key(*event) || shown(false, "event").contains(*event), "no example of {event}");
    }
}
