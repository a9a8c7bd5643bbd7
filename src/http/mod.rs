//! What is answered over plain HTTP: health, metrics, signing in and out, and errors in one shape.

mod acting;
mod ai;
mod api;
mod around;
mod browsers;
mod config;
mod described;
mod endpoint;
mod fault;
mod gateway;
mod health;
mod identity;
pub mod limit;
mod metrics;
mod once;
mod openapi;
mod page;
mod request;
mod routing;
mod runtime;
mod sign_in;
pub mod socketio;
mod waiting;

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use crate::auth::accounts::Accounts;
use crate::auth::{Authenticator, Route};
use crate::config::{Config, Live};
use crate::domain::command::Caller;
use crate::domain::ids::OrganizationId;
use crate::domain::policy::Operation;
use crate::domain::principal::Principal;
use crate::error::Fault;
use crate::limits::Limits;
use crate::telemetry::Metrics;
use crate::tuning::Tuning;

pub use around::{RequestId, around};
pub use browsers::browsers;
pub use endpoint::{Asking, Endpoint, HubHandle, table};
pub use fault::{Refusal, fault_json};
pub use health::{Check, Readiness};
pub use openapi::openapi;
pub use waiting::ReaderLimits;

/// What the routes need; one for all workers.
pub struct Edge {
    pub config: Live<Config>,
    pub tuning: Arc<Tuning>,
    pub auth: Arc<Authenticator>,
    pub accounts: Accounts,
    pub limits: Arc<Limits>,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

impl Edge {
    /// Who sent this request, by token or cookie. The request is one of that user's; asked again, it is not counted
    /// again.
    ///
    /// # Errors
    /// Those of [`Authenticator::principal`], and `rate_limited` where the user has sent too many requests or the
    /// address too many wrong credentials.
    pub async fn principal(&self, request: &HttpRequest) -> Result<Principal, Fault> {
        let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
        let head = self.auth.head(request.head(), peer);
        limit::known(request, &self.limits, head.peer, self.auth.principal(&head, Route::Rest)).await
    }

    /// Which organization is meant: see [`Accounts::organization`]. Who names another than is theirs is written down.
    async fn organization(
        &self,
        caller: &Caller,
        operation: Operation,
        named: Option<&str>,
    ) -> Result<OrganizationId, Fault> {
        let found = self.accounts.organization(&caller.principal, named).await;
        found.inspect_err(|fault| {
            if fault.missing().is_some() {
                self.auth.refused_caller(caller, operation, fault);
            }
        })
    }
}

/// All routes of this folder. The app wraps them with `middleware::from_fn(around)` and gives `web::Data<Edge>`.
pub fn routes(app: &mut web::ServiceConfig) {
    app.app_data(fault::json_errors())
        .app_data(fault::query_errors())
        .app_data(fault::path_errors())
        .configure(endpoint::mount)
        .default_service(web::to(unknown));
}

async fn unknown(request: HttpRequest) -> Result<&'static str, Refusal> {
    // The path is the client's own and goes back to it alone.
    Err(Refusal(Fault::not_found(&format!("address: {}", request.path()))))
}
