//! The audit log, read.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::page;
use super::views::{AuditView, ListView};
use crate::auth::accounts::{AuditFilter, user_id};
use crate::domain::ids::Timestamp;
use crate::domain::policy::Operation;
use crate::error::Fault;
use crate::http::endpoint::Asking;
use crate::http::request::{Kind, Parameter, parameter};
use crate::http::{Edge, Refusal};

/// Which entries are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct AuditWish {
    pub cursor: Option<String>,
    #[schemars(with = "Option<u16>", range(min = 1, max = 200))]
    pub limit: Option<String>,
    /// For administrators of the hub: another organization, or `*` for all with what belongs to none.
    pub organization: Option<String>,
    pub actor: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    /// Not older than this, as `2026-01-01T00:00:00Z`.
    pub from: Option<String>,
    /// Older than this.
    pub to: Option<String>,
}

pub static WISH: [Parameter; 8] = [
    parameter("cursor", Kind::Text),
    parameter("limit", Kind::Whole),
    parameter("organization", Kind::Text),
    parameter("actor", Kind::Text),
    parameter("action", Kind::Text),
    parameter("target", Kind::Text),
    parameter("from", Kind::Text),
    parameter("to", Kind::Text),
];

fn time(field: &str, text: Option<&String>) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let read = chrono::DateTime::parse_from_rfc3339(text);
    read.map(|at| Some(Timestamp(at.timestamp_millis())))
        .map_err(|_| Fault::field(field, "must be a time such as 2026-01-01T00:00:00Z"))
}

/// Who did what, newest first: an organization's own entries; all of the hub's for its administrators with
/// `organization=*`.
pub async fn list(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    query: web::Query<AuditWish>,
) -> Result<HttpResponse, Refusal> {
    let filter = AuditFilter {
        actor: query.actor.as_deref().map(|actor| user_id("actor", actor)).transpose()?,
        action: query.action.clone(),
        target: query.target.clone(),
        from: time("from", query.from.as_ref())?,
        to: time("to", query.to.as_ref())?,
    };
    let organization = match query.organization.as_deref() {
        Some("*") if caller.principal.hub_admin => None,
        named => Some(edge.organization(&caller, Operation::AdminAudit, named).await?),
    };
    let page = page(query.cursor.clone(), query.limit.as_deref())?;
    let found = edge.accounts.audit(&caller, organization.as_ref(), filter, &page).await?;
    Ok(HttpResponse::Ok().json(ListView::<AuditView>::of(found)))
}
