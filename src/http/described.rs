//! What is said of an endpoint in the OpenAPI document: beside its row, from the very types that it reads and writes.

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::once::Keyed;
use super::request::{Kind, Parameter};

/// Gives a type's schema, with what it refers to put into the generator.
type Make = fn(&mut SchemaGenerator) -> Schema;

fn named<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

const JSON: &str = "application/json";

/// A description in the making.
pub struct Described {
    pub(super) summary: &'static str,
    query: Vec<(&'static [Parameter], Make)>,
    body: Option<Make>,
    answers: Vec<(u16, &'static str, Option<Make>)>,
    pub(super) keyed: Keyed,
    paged: bool,
}

impl Described {
    pub fn new(summary: &'static str) -> Self {
        Self { summary, query: Vec::new(), body: None, answers: Vec::new(), keyed: Keyed::Refused, paged: false }
    }

    /// Parameters of the query; what each holds is said by the field of that name in `T`, where there is one.
    pub(super) fn query<T: JsonSchema>(mut self, parameters: &'static [Parameter]) -> Self {
        self.query.push((parameters, inline::<T>));
        self
    }

    /// A JSON body. What the address names is not in it.
    pub fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(inline::<T>);
        self
    }

    /// A JSON answer.
    pub fn gives<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answers.push((status, JSON, Some(named::<T>)));
        self
    }

    /// An answer of another kind.
    pub fn gives_text(mut self, status: u16, media_type: &'static str) -> Self {
        self.answers.push((status, media_type, None));
        self
    }

    /// An answer without a body.
    pub fn gives_nothing(mut self, status: u16) -> Self {
        self.answers.push((status, "", None));
        self
    }

    /// Takes an `Idempotency-Key`; the handler sees to it.
    pub fn keyed(mut self) -> Self {
        self.keyed = Keyed::ByHandler;
        self
    }

    /// Takes an `Idempotency-Key`; the answer, which holds no secret, is kept for the next request with it.
    pub fn kept(mut self) -> Self {
        self.keyed = Keyed::Kept;
        self
    }

    /// Takes an `Idempotency-Key`; the answer shows a secret this once, and the next request hears of its `id`.
    pub fn shown_once(mut self) -> Self {
        self.keyed = Keyed::ShownOnce;
        self
    }

    /// Says where the next page begins.
    pub fn paged(mut self) -> Self {
        self.paged = true;
        self
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the query has a parameter of that name.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.query.iter().any(|(parameters, _)| parameters.iter().any(|parameter| parameter.name == name))
    }

    /// The query's parameters as OpenAPI has them.
    pub(super) fn parameters(&self, generator: &mut SchemaGenerator) -> Vec<Value> {
        let mut all = Vec::new();
        for (parameters, make) in &self.query {
            let of = make(generator).to_value();
            for parameter in *parameters {
                let mut schema = of["properties"][parameter.field].clone();
                if schema.is_null() {
                    schema = match parameter.kind {
                        Kind::Text => json!({ "type": "string" }),
                        Kind::Whole => json!({ "type": "integer" }),
                        Kind::Flag => json!({ "type": "boolean" }),
                    };
                }
                without_null(&mut schema);
                let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
                let mut said = json!({ "name": parameter.name, "in": "query", "required": false, "schema": schema });
                if let Some(about) = about {
                    said["description"] = about;
                }
                all.push(said);
            }
        }
        all
    }

    /// The body as OpenAPI has it; `address` are the names that stand in the address.
    pub(super) fn request_body(&self, generator: &mut SchemaGenerator, address: &[&str]) -> Option<Value> {
        let mut schema = self.body?(generator).to_value();
        for name in address {
            if let Some(properties) = schema["properties"].as_object_mut() {
                properties.remove(*name);
            }
            if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|field| field != name);
            }
        }
        let required = schema["required"].as_array().is_some_and(|fields| !fields.is_empty());
        Some(json!({ "required": required, "content": { JSON: { "schema": schema } } }))
    }

    /// The answers where all went well, by status.
    pub(super) fn responses(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut all = Map::new();
        for (status, media_type, make) in &self.answers {
            let answer = all.entry(status.to_string()).or_insert_with(|| json!({ "description": text_of(*status) }));
            if !media_type.is_empty() {
                let schema = make.map_or_else(|| json!({ "type": "string" }), |make| make(generator).to_value());
                let described = &mut answer["content"][*media_type]["schema"];
                *described = match described.take() {
                    Value::Null => schema,
                    another => json!({ "anyOf": [another, schema] }),
                };
            }
            if self.paged {
                let cursor = json!({ "type": "string" });
                answer["headers"] = json!({
                    "x-next-cursor": { "description": "where the next page begins", "schema": cursor },
                    "link": { "description": "the next page, rel=\"next\"", "schema": cursor },
                });
            }
        }
        all
    }
}

/// A parameter of a query is there or not; it is never null.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array_mut() {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let one = schema["anyOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null").cloned());
    if let (Some(one), Some(schema)) = (one, schema.as_object_mut()) {
        schema.remove("anyOf");
        schema.extend(one.as_object().cloned().unwrap_or_default());
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("default");
        schema.retain(|_, value| !value.is_null());
    }
}

pub(super) fn text_of(status: u16) -> &'static str {
    actix_web::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("answer")
}
