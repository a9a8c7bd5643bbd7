//! Tickets for doors that take no header.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::body::need;
use crate::auth::Route;
use crate::domain::command::Caller;
use crate::domain::policy::{self, Operation};
use crate::error::Fault;
use crate::http::endpoint::Asking;
use crate::http::request::Body;
use crate::http::{Edge, Refusal};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketWish {
    /// The path of the door, such as `/ws`.
    #[schemars(required)]
    pub route: Option<String>,
    /// One of the credential's organizations, where it has several.
    pub organization_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketView {
    /// For `?ticket=` at that path, once.
    pub ticket: String,
    pub expires_at: String,
}

/// Makes a ticket for the caller: `?ticket=` at one path, once, within 30 seconds.
pub async fn create(
    request: HttpRequest,
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    Body(wish): Body<TicketWish>,
) -> Result<HttpResponse, Refusal> {
    let route = need("route", wish.route)?;
    let caller = match wish.organization_id {
        Some(other) if other != caller.principal.organization.as_str() => {
            elsewhere(&request, &edge, caller, &other).await?
        }
        _ => caller,
    };
    let origin = request.headers().get(header::ORIGIN).map(|origin| origin.to_str());
    let origin = origin.transpose().map_err(|_| Fault::field("origin", "must be text"))?;
    let made = edge.accounts.create_ticket(&caller, &route, origin).await?;
    let ticket = made.ticket.expose_secret().to_owned();
    Ok(HttpResponse::Created().json(TicketView { ticket, expires_at: made.expires_at.to_rfc3339() }))
}

/// The caller in another of the organizations that the credential is for.
async fn elsewhere(request: &HttpRequest, edge: &Edge, caller: Caller, other: &str) -> Result<Caller, Fault> {
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    let head = edge.auth.head(request.head(), peer);
    let found = edge.auth.find_in(&head, Route::Rest, Some(other)).await;
    let judged = found.and_then(|there| policy::allow(&there, Operation::TicketCreate).map(|()| there));
    let principal = judged.inspect_err(|fault| edge.auth.refused_caller(&caller, Operation::TicketCreate, fault))?;
    Ok(Caller { principal: Arc::new(principal), ..caller })
}
