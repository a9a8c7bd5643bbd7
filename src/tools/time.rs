//! `time`: what time it is.

use chrono::{DateTime, FixedOffset, SecondsFormat};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::input::Input;
use super::{Tool, ToolContext, ToolOutcome};
use crate::domain::generation::ToolSpec;
use crate::domain::tool_call::ToolPolicy;
use crate::domain::tool_policy::Remembers;

pub struct Time;

/// UTC where no offset is given.
fn offset(input: &Value) -> Result<Option<FixedOffset>, String> {
    let input = Input::of(input, "", &["offset"])?;
    let Some(text) = input.optional_text("offset")? else { return Ok(None) };
    let expected = || input.fault("offset", "expected as +HH:MM or -HH:MM, such as +02:00");
    let shape = text.len() == 6 && text.as_bytes()[3] == b':' && text.starts_with(['+', '-']);
    if !shape {
        return Err(expected());
    }
    text.parse().map(Some).map_err(|_| expected())
}

impl Tool for Time {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "time".to_owned(),
            description: "Tells the present date, time and day of the week, in UTC or at a given offset from it."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "offset": {
                        "type": "string",
                        "pattern": "^[+-][0-9]{2}:[0-9]{2}$",
                        "description": "Offset from UTC, such as +02:00. UTC where absent.",
                    },
                },
                "additionalProperties": false,
            }),
        }
    }

    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Allow
    }

    fn concurrent(&self) -> bool {
        true
    }

    fn remembers(&self) -> Remembers {
        Remembers::Tool
    }

    fn summary(&self, _input: &Value) -> String {
        "tell the time".to_owned()
    }

    fn risks(&self, _input: &Value) -> Vec<String> {
        Vec::new()
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        offset(input).map(|_| ())
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        async move {
            let offset = match offset(&input) {
                Ok(offset) => offset,
                Err(why) => return ToolOutcome::failed(why),
            };
            let now = DateTime::from_timestamp_millis(context.now.0).unwrap_or_default();
            ToolOutcome::done(match offset {
                None => format!("{}, {}", now.to_rfc3339_opts(SecondsFormat::Secs, true), now.format("%A")),
                Some(offset) => {
                    let now = now.with_timezone(&offset);
                    format!("{}, {}", now.to_rfc3339_opts(SecondsFormat::Secs, false), now.format("%A"))
                }
            })
        }
        .boxed_local()
    }
}
