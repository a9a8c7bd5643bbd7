//! Reading a tool's input, with sentences that name the field at fault.

use serde_json::{Map, Value};

/// An object and where it stands in the input: empty, or such as `todos[2].`.
pub struct Input<'a> {
    fields: &'a Map<String, Value>,
    path: String,
}

impl<'a> Input<'a> {
    /// Fails on what is no object and on fields that are not `known`.
    pub fn of(value: &'a Value, path: &str, known: &[&str]) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            let place = if path.is_empty() { "the input" } else { path.trim_end_matches('.') };
            return Err(format!("{place}: an object is expected"));
        };
        if let Some(stray) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            let stray: String = stray.chars().take(80).collect();
            return Err(format!("{path}{stray}: no such field; there are: {}", known.join(", ")));
        }
        Ok(Self { fields, path: path.to_owned() })
    }

    /// A text, or nothing where the field is absent or null.
    pub fn optional_text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "a text is expected")),
        }
    }

    pub fn text(&self, name: &str) -> Result<&'a str, String> {
        self.optional_text(name)?.ok_or_else(|| self.fault(name, "is required"))
    }

    pub fn list(&self, name: &str) -> Result<&'a [Value], String> {
        match self.fields.get(name) {
            Some(Value::Array(items)) => Ok(items),
            None => Err(self.fault(name, "is required")),
            Some(_) => Err(self.fault(name, "a list is expected")),
        }
    }

    pub fn fault(&self, name: &str, why: impl std::fmt::Display) -> String {
        format!("{}{name}: {why}", self.path)
    }
}
