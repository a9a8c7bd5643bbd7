//! `/metrics` in Prometheus text: for this machine where no proxy is in front, and for whoever administers
//! the hub.

use std::net::IpAddr;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::described::Described;
use super::endpoint::{Endpoint, caller, row};
use super::{Edge, Refusal};
use crate::auth::Head;
use crate::auth::hosts::name_of;
use crate::domain::policy::Operation;
use crate::error::Fault;

/// Anybody may knock: this machine is let in without a credential, others are asked for one.
pub(super) const ENDPOINTS: [Endpoint; 1] = [row(Method::GET, "/metrics", Operation::MetricsHere, || web::to(metrics))
    .described(|| {
        Described::new("What is measured, as Prometheus reads it; for this machine and for the hub's administrators")
            .gives_text(200, "text/plain")
    })];

pub(super) async fn metrics(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    let head = edge.auth.head(request.head(), peer);
    // A proxy in front may pass strangers on without a word of it: where one is expected nobody is at this machine.
    let in_front = !edge.config.get().server.public_url.is_empty();
    let here = head.local && !in_front && names_this_machine(&head);
    if !here {
        caller(&request, Operation::Metrics).await?;
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, kind)).body(edge.metrics.render()))
}

/// A proxy of this machine may pass strangers on without a word, but it passes on the name that they asked for.
fn names_this_machine(head: &Head<'_>) -> bool {
    let Some(host) = head.header(header::HOST) else { return true };
    let name = name_of(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}
