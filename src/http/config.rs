//! The configuration that counts, and its change while the hub runs.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::described::Described;
use super::endpoint::{Asking, Endpoint, row};
use super::request::Fields;
use super::{Edge, Refusal};
use crate::config;
use crate::domain::policy::Operation;
use crate::tuning::Shown;

pub(super) const ENDPOINTS: [Endpoint; 4] = [
    row(Method::GET, "/config", Operation::ConfigGet, || web::to(get)).described(shown),
    row(Method::PATCH, "/config", Operation::ConfigUpdate, || web::to(patch)).described(changed),
    row(Method::GET, "/api/v1/config", Operation::ConfigGet, || web::to(get)).described(shown),
    row(Method::PATCH, "/api/v1/config", Operation::ConfigUpdate, || web::to(patch)).described(changed),
];

fn shown() -> Described {
    Described::new("The configuration that counts, without secrets").gives::<ConfigView>(200)
}

fn changed() -> Described {
    Described::new("Change settings while the hub runs, by a JSON merge patch; all of it or nothing")
        .body::<ConfigPatch>()
        .gives::<ConfigView>(200)
}

/// The configuration, a member for each section of the file; a secret that is set shows as `********`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigView {
    /// What can be changed while the hub runs.
    pub runtime: RuntimeView,
    #[serde(flatten)]
    pub sections: BTreeMap<String, Map<String, Value>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RuntimeView {
    /// Keys that a patch may change, such as `log.level`.
    pub changeable: Vec<String>,
    /// Those of them that were changed so, and are kept over a restart.
    pub stored: Vec<String>,
    /// Those that the environment or a flag has set, which beats what is stored; and by what name.
    pub pinned: BTreeMap<String, String>,
}

impl From<Shown> for ConfigView {
    fn from(Shown { loaded, stored }: Shown) -> Self {
        let section = |(name, value)| match value {
            Value::Object(section) => Some((name, section)),
            _ => None,
        };
        Self {
            sections: loaded.shown().into_iter().filter_map(section).collect(),
            runtime: RuntimeView {
                changeable: loaded.changeable(),
                stored: stored.0.into_keys().collect(),
                pinned: loaded.pinned(),
            },
        }
    }
}

/// What a patch may hold; `null` takes a stored value away, so that the file's counts again.
struct ConfigPatch;

impl JsonSchema for ConfigPatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConfigPatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut sections = json!({});
        for (key, schema) in config::changeable() {
            let mut place = &mut sections;
            let mut names = key.split('.').peekable();
            while let Some(name) = names.next() {
                let under = if name == "*" { "additionalProperties" } else { "properties" };
                place["type"] = "object".into();
                place = if name == "*" { &mut place[under] } else { &mut place[under][name] };
                if names.peek().is_none() {
                    *place = schema.clone();
                }
            }
        }
        closed(&mut sections);
        sections.try_into().unwrap_or_default()
    }
}

/// What is not named is refused.
fn closed(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Object(members)) = object.get_mut("properties") {
        members.values_mut().for_each(closed);
        object.insert("additionalProperties".into(), false.into());
    } else if let Some(member) = object.get_mut("additionalProperties") {
        closed(member);
    }
}

async fn get(Asking(_): Asking, edge: web::Data<Edge>) -> HttpResponse {
    HttpResponse::Ok().json(ConfigView::from(edge.tuning.shown().await))
}

async fn patch(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let fields = Fields::of_body(&request, payload).await?;
    let patch: Map<String, Value> = fields.parse().map_err(Refusal)?;
    let shown = edge.tuning.change(&edge.accounts, &caller, &patch).await.map_err(Refusal)?;
    Ok(HttpResponse::Ok().json(ConfigView::from(shown)))
}
