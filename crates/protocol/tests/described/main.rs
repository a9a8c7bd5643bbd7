//! What the wire is said to be, in JSON Schema, in TypeScript and in `docs/PROTOCOL.md`, is what it is.

mod document;
mod files;
mod shapes;

use std::path::PathBuf;

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A validator for `schema`, which may point into the `$defs` of the whole document.
fn validator(schema: serde_json::Value) -> jsonschema::Validator {
    let mut whole = switchboard_protocol::describe::json_schema();
    let map = whole.as_object_mut().expect("the schema is an object");
    map.remove("anyOf");
    map.insert("allOf".to_owned(), serde_json::json!([schema]));
    jsonschema::validator_for(&whole).expect("the schema compiles")
}

/// Every complaint of the validator, one per line; empty when all is well.
fn complaints(schema: serde_json::Value, instance: &serde_json::Value) -> String {
    validator(schema).iter_errors(instance).map(|e| format!("{}: {e}\n", e.instance_path())).collect()
}
