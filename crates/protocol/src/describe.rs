//! Hands the wire's types to whoever describes them: as JSON Schema, as TypeScript.

use schemars::JsonSchema;
use ts_rs::TS;

/// Sees every method with its two types.
pub trait Visit {
    fn method<P: JsonSchema + TS + 'static, R: JsonSchema + TS + 'static>(&mut self, name: &'static str);
}
