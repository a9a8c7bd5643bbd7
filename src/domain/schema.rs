//! JSON Schema of what comes in: an input is of its kind before anything is done with it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Code, Fault};

/// Characters of a sentence about what is wrong: it may quote the input.
const LONGEST: usize = 300;

/// A schema that was read and makes sense. Nothing is fetched for it: what it refers to stands in it.
#[derive(Clone)]
pub struct Schema {
    value: Arc<Value>,
    validator: Arc<jsonschema::Validator>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Schema {
    /// # Errors
    /// A sentence: what is no schema, or none of an object.
    pub fn of_object(value: Value) -> Result<Self, String> {
        if value.get("type").and_then(Value::as_str) != Some("object") {
            return Err("is not the schema of an object: \"type\" must be \"object\"".to_owned());
        }
        Self::new(value)
    }

    /// # Errors
    /// A sentence: what is no schema.
    pub fn new(value: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&value).map_err(|error| short(&error.to_string()))?;
        Ok(Self { value: Arc::new(value), validator: Arc::new(validator) })
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether `value` is as the schema wants it; `field` is what the client calls it.
    ///
    /// # Errors
    /// `bad_request`, with the first field that is wrong.
    pub fn check(&self, field: &str, value: &Value) -> Result<(), Fault> {
        let Some(error) = self.validator.iter_errors(value).next() else { return Ok(()) };
        let place = error.instance_path().to_string().replace('/', ".");
        let place: String = format!("{field}{place}").chars().take(LONGEST).collect();
        Err(Fault::field(&place, short(&error.to_string())))
    }

    /// The same as a sentence.
    ///
    /// # Errors
    /// The sentence that names the field.
    pub fn judge(&self, field: &str, value: &Value) -> Result<(), String> {
        self.check(field, value).map_err(|fault| fault.message)
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

/// What an operator wrote as a schema.
///
/// # Errors
/// `bad_request` with what is wrong.
pub fn read(field: &str, text: &str) -> Result<Schema, Fault> {
    let value = serde_json::from_str(text).map_err(|error| Fault::field(field, format!("is not JSON: {error}")))?;
    Schema::of_object(value).map_err(|why| Fault::new(Code::BadRequest, format!("{field}: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_field_at_fault_is_named_as_the_client_calls_it() {
        let schema = Schema::of_object(json!({
            "type": "object",
            "required": ["title"],
            "additionalProperties": false,
            "properties": {
                "title": { "type": "string", "maxLength": 3 },
                "tags": { "type": "array", "items": { "type": "string" } },
            },
        }))
        .expect("a schema");
        assert_eq!(schema.check("input", &json!({"title": "abc", "tags": ["x"]})), Ok(()));
        for (value, field) in [
            (json!({}), "input"),
            (json!([]), "input"),
            (json!({"title": 7}), "input.title"),
            (json!({"title": "abcd"}), "input.title"),
            (json!({"title": "a", "tags": ["x", 1]}), "input.tags.1"),
            (json!({"title": "a", "other": 1}), "input"),
        ] {
            let fault = schema.check("input", &value).expect_err("refused");
            assert_eq!(fault.details, Some(json!({ "field": field })), "{fault}");
            assert!(fault.message.chars().count() < 400, "{fault}");
        }
    }

    #[test]
    fn what_is_no_schema_of_an_object_is_refused() {
        for text in ["", "7", "[]", "{}", r#"{"type":"string"}"#, r#"{"type":"object","required":7}"#] {
            assert!(read("tools.x.input_schema", text).is_err(), "{text}");
        }
        // Nothing is fetched.
        let far = r#"{"type":"object","properties":{"a":{"$ref":"http://127.0.0.1:9/schema.json"}}}"#;
        assert!(read("tools.x.input_schema", far).is_err());
    }
}
