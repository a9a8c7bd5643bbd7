//! The OpenAPI document at `/api/openapi.json`, made of the table of endpoints and of the types behind it; and a page
//! to browse it at `/api/docs`, all of which is part of the program.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use protocol::rest::{ApiError, GatewayError};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::Refusal;
use super::described::{Described, text_of};
use super::endpoint::{Endpoint, row, table};
use super::fault::is_gateway;
use super::once::Keyed;
use crate::domain::policy::{Least, Operation};
use crate::error::Fault;

pub(super) const ENDPOINTS: [Endpoint; 3] = [
    row(Method::GET, "/api/openapi.json", Operation::Describe, || web::to(document))
        .described(|| Described::new("This document").gives_text(200, "application/json")),
    row(Method::GET, "/api/docs", Operation::Describe, || web::to(docs))
        .described(|| Described::new("A page to browse this document").gives_nothing(308)),
    row(Method::GET, "/api/docs/{file:.*}", Operation::Describe, || web::to(docs_file))
        .described(|| Described::new("A file of that page").gives_text(200, "text/html")),
];

/// The page runs its own scripts and asks this hub alone; its style sheets are made as it runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi().into());

async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type(header::ContentType::json()).body(DOCUMENT.clone())
}

async fn docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/api/docs/")).finish()
}

async fn docs_file(path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'_>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("/api/openapi.json")));
    let file = utoipa_swagger_ui::serve(&path, CONFIG.clone())
        .map_err(|error| Fault::internal(error.to_string()))?
        .ok_or_else(|| Fault::not_found("file"))?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(file.bytes.into_owned()))
}

/// The whole document as text: the same for the same program, whatever the order of a map in this build.
pub fn openapi() -> String {
    let mut text = serde_json::to_string_pretty(&sorted(build(&table()))).unwrap_or_default();
    text.push('\n');
    text
}

fn build(table: &[Endpoint]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let errors = json!({
        "api": generator.subschema_for::<ApiError>(),
        "gateway": generator.subschema_for::<GatewayError>(),
    });
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for endpoint in table {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let error = if is_gateway(endpoint.path) { &errors["gateway"] } else { &errors["api"] };
        paths.entry(address(endpoint.path)).or_default().insert(method, operation(endpoint, error, &mut generator));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchboard",
            "description": "A self-hosted, real-time hub for AI agents. What streams is on the sockets: see the \
                            protocol's own page.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JWT, an API key or the token of a paired device.",
                },
                "cookie": { "type": "apiKey", "in": "cookie", "name": crate::auth::COOKIE },
            },
        },
    })
}

/// The address as OpenAPI writes it: without patterns.
fn address(path: &str) -> String {
    path.replace(":.*}", "}")
}

/// The names within the braces.
fn names(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split(['}', ':']).next()).collect()
}

fn about_key(keyed: Keyed) -> Option<&'static str> {
    match keyed {
        Keyed::Refused => None,
        Keyed::ByHandler | Keyed::Kept => {
            Some("The same key with the same request has one effect and one answer; with another: 409.")
        }
        Keyed::ShownOnce => {
            Some("The same key once more: 409, with the id of what was made in `details`: the answer is shown once.")
        }
    }
}

fn operation(endpoint: &Endpoint, error: &Value, generator: &mut SchemaGenerator) -> Value {
    let described = endpoint.described.map_or_else(|| Described::new(""), |described| described());
    let names = names(endpoint.path);
    let rule = endpoint.operation.rule();
    let mut parameters: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(described.parameters(generator));
    if let Some(about) = about_key(described.keyed) {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": about,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        }));
    }
    let mut responses = described.responses(generator);
    let named = !names.is_empty() || described.asks_for("organization");
    for status in refusals(endpoint, &described, named) {
        let answer = json!({ "description": text_of(status), "content": { "application/json": { "schema": error } } });
        responses.entry(status.to_string()).or_insert(answer);
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": described.summary,
        "tags": [rule.name.split('.').next().unwrap_or_default()],
        "security": security(rule.least),
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = described.request_body(generator, &names) {
        operation["requestBody"] = body;
    }
    operation
}

/// How it may end otherwise.
fn refusals(endpoint: &Endpoint, described: &Described, named: bool) -> Vec<u16> {
    let changes = ![Method::GET, Method::HEAD].contains(&endpoint.method);
    let known = endpoint.operation.rule().least != Least::Anyone;
    let rows = [
        (400, true),
        (401, known || endpoint.operation != Operation::Page),
        (403, known || changes || endpoint.operation == Operation::MetricsHere),
        (404, named || described.has_body()),
        (409, changes),
        (413, described.has_body()),
        (415, changes),
        // Another name than the hub's own in `Host`.
        (421, true),
        (429, true),
        (503, true),
    ];
    rows.into_iter().filter(|(_, may)| *may).map(|(status, _)| status).collect()
}

fn security(least: Least) -> Value {
    match least {
        Least::Anyone => json!([]),
        _ => json!([{ "bearer": [] }, { "cookie": [] }]),
    }
}

/// `POST /api/v1/sessions/{sessionId}/pause` is `postApiV1SessionsSessionIdPause`.
fn operation_id(endpoint: &Endpoint) -> String {
    let mut id = endpoint.method.as_str().to_ascii_lowercase();
    for word in endpoint.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, sorted(value))).collect::<BTreeMap<_, _>>().into_iter().collect()
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&openapi()).expect("JSON")
    }

    #[test]
    fn every_row_is_described_and_nothing_else_is() {
        let undescribed: Vec<String> = table()
            .iter()
            .filter(|row| row.described.is_none_or(|described| described().summary.is_empty()))
            .map(|row| format!("{} {}", row.method, row.path))
            .collect();
        assert_eq!(undescribed, [""; 0], "rows without a description");
        let rows: BTreeSet<(String, String)> =
            table().iter().map(|row| (address(row.path), row.method.as_str().to_ascii_lowercase())).collect();
        let document = document();
        let told: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods").keys();
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        assert_eq!(told, rows);
    }

    /// Every `$ref`, wherever it stands.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_the_structure_of_openapi_3_1() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            assert!(path.starts_with('/') && !path.contains(':'), "{path}");
            for (method, operation) in methods.as_object().expect("methods") {
                let place = format!("{method} {path}");
                assert!(["get", "head", "post", "put", "patch", "delete"].contains(&method.as_str()), "{place}");
                assert!(ids.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{place}");
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let mut seen = BTreeSet::new();
                for parameter in &parameters {
                    let key = (parameter["in"].to_string(), parameter["name"].to_string());
                    assert!(seen.insert(key), "{place}: {parameter} twice");
                    assert!(parameter["schema"].is_object() && parameter["required"].is_boolean(), "{place}");
                }
                let named = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
                assert_eq!(named, path.matches('{').count(), "{place}");
                let responses = operation["responses"].as_object().expect("responses");
                let good = |status: &String| status.starts_with('2') || status.starts_with('3');
                assert!(responses.keys().any(good), "{place}: nothing where all goes well");
                for (status, response) in responses {
                    assert!(status.len() == 3 && response["description"].is_string(), "{place} {status}");
                }
                for scheme in operation["security"].as_array().expect("security") {
                    for name in scheme.as_object().expect("a scheme").keys() {
                        assert!(document["components"]["securitySchemes"][name].is_object(), "{place}: {name}");
                    }
                }
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for to in found {
            let pointer = to.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
        }
    }

    #[test]
    fn the_copy_in_the_repository_is_the_documents() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, openapi()).expect("it is written");
        }
        let copy = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(copy == openapi(), "docs/openapi.json is not what the program says: `make openapi` renews it");
    }
}
