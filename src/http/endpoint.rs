//! The table of endpoints: every address has an operation, and with it a rule. One place asks who is calling.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};

use super::described::Described;
use super::once::{Keyed, once};
use super::{Edge, Refusal, RequestId};
use crate::domain::command::Caller;
use crate::domain::hub::Hub;
use crate::domain::policy::{self, Least, Operation};
use crate::domain::principal::Principal;
use crate::error::{Code, Fault};

/// What somebody may send whom nobody vouches for, in bytes: a code, a token or a password.
const STRANGERS_BODY: usize = 16 << 10;

/// An address, what is asked there, and who answers.
#[derive(Clone)]
pub struct Endpoint {
    pub method: Method,
    /// As actix writes it: `/sessions/{id}`.
    pub path: &'static str,
    pub operation: Operation,
    /// The handler without its method; made anew for each worker.
    pub handler: fn() -> actix_web::Route,
    /// What the OpenAPI document says of it; a row without fails a test.
    pub described: Option<fn() -> Described>,
}

impl Endpoint {
    pub const fn described(mut self, described: fn() -> Described) -> Self {
        self.described = Some(described);
        self
    }
}

/// A row of a family's table: `row(Method::GET, "/health", Operation::Health, || web::to(health))`.
pub const fn row(
    method: Method,
    path: &'static str,
    operation: Operation,
    handler: fn() -> actix_web::Route,
) -> Endpoint {
    Endpoint { method, path, operation, handler, described: None }
}

/// All routes, family by family.
pub fn table() -> Vec<Endpoint> {
    let mut all = Vec::new();
    all.extend(super::health::ENDPOINTS);
    all.extend(super::metrics::ENDPOINTS);
    all.extend(super::sign_in::ENDPOINTS);
    all.extend(super::identity::ENDPOINTS);
    all.extend(super::config::ENDPOINTS);
    all.extend(super::runtime::ENDPOINTS);
    all.extend(super::openapi::ENDPOINTS);
    all.extend(super::gateway::ENDPOINTS);
    all.extend(super::routing::ENDPOINTS);
    all.extend(super::ai::ENDPOINTS);
    all.extend(super::api::endpoints());
    all.extend(super::acting::ENDPOINTS);
    all.extend(super::socketio::ENDPOINTS);
    all.extend_from_slice(super::page::ENDPOINTS);
    all
}

/// Puts the table's rows into the app. Rows of one address become one resource, so that a wrong method is told as one.
pub fn mount(app: &mut web::ServiceConfig) {
    let mut rest = table();
    while let Some(path) = rest.first().map(|endpoint| endpoint.path) {
        let mut resource = web::resource(path);
        let allowed = rest.iter().filter(|endpoint| endpoint.path == path).map(|endpoint| endpoint.method.as_str());
        let allowed = allowed.collect::<Vec<_>>().join(", ");
        for route in rest.extract_if(.., |endpoint| endpoint.path == path) {
            let operation = route.operation;
            let keyed = route.described.map_or(Keyed::Refused, |described| described().keyed);
            let admitted = from_fn(move |request, next| admit((operation, keyed), request, next));
            resource = resource.route((route.handler)().method(route.method).wrap(admitted));
        }
        app.service(resource.default_service(web::to(move || wrong_method(allowed.clone()))));
    }
}

async fn wrong_method(allowed: String) -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allowed)).finish()
}

/// Lets a request through to its handler, with its caller, if the rule allows.
async fn admit(
    (operation, keyed): (Operation, Keyed),
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match admitted(operation, &mut request).await {
        Ok(()) => once(keyed, request, next).await,
        // A response, not an error: what is around every request must see it.
        Err(error) => Ok(request.error_response(error)),
    }
}

/// Asks who it is by the head of the request. What changes something is here whole before it begins, and then it is
/// asked again: a body may take `limits.body_seconds`, and whoever sends it may have lost the right meanwhile.
async fn admitted(operation: Operation, request: &mut ServiceRequest) -> Result<(), Error> {
    // How much a session may be sent, it says itself.
    if operation == Operation::SocketIo {
        return Ok(());
    }
    let anyone = operation.rule().least == Least::Anyone;
    if anyone && request.method().is_safe() {
        return Ok(());
    }
    let edge = edge(request.request()).map_err(Refusal)?;
    let asks = if anyone { None } else { Some(caller(request.request(), operation).await.map_err(Refusal)?) };
    let changes = !request.method().is_safe();
    if changes {
        let longest = edge.config.get().limits.frame_bytes;
        complete(request, if anyone { longest.min(STRANGERS_BODY) } else { longest }).await?;
    }
    let Some(mut caller) = asks else { return Ok(()) };
    if changes {
        caller.principal = Arc::new(still(&edge, operation, &caller).await.map_err(Refusal)?);
    }
    request.extensions_mut().insert(operation);
    request.extensions_mut().insert(Asking(caller));
    Ok(())
}

/// Reads the body to its end; handlers find it there.
///
/// # Errors
/// 413 above `limit` bytes, as soon as it is told or seen; what the connection came to.
async fn complete(request: &mut ServiceRequest, limit: usize) -> Result<(), Error> {
    let too_large = || Refusal(Fault::new(Code::TooLarge, format!("the body is longer than {limit} bytes")));
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limit as u64) {
        return Err(too_large().into());
    }
    let body = request.extract::<web::Payload>().await?.to_bytes_limited(limit).await;
    // The connection's own error as it is: what is around every request tells a late body from a broken one.
    let body = body.map_err(|_| too_large())??;
    request.set_payload(Payload::from(body));
    Ok(())
}

/// Who asks, as it is now: the same credential with its present rights.
async fn still(edge: &Edge, operation: Operation, caller: &Caller) -> Result<Principal, Fault> {
    let present = edge.auth.renew(&caller.principal).await;
    let judged = present.and_then(|present| policy::allow(&present, operation).map(|()| present));
    judged.inspect_err(|fault| edge.auth.refused_caller(caller, operation, fault))
}

pub(super) fn edge(request: &HttpRequest) -> Result<web::Data<Edge>, Fault> {
    request.app_data::<web::Data<Edge>>().cloned().ok_or_else(|| Fault::internal("the app has no edge"))
}

/// Who asks, if the operation's rule lets them; who is refused is written down.
pub(super) async fn caller(request: &HttpRequest, operation: Operation) -> Result<Caller, Fault> {
    let edge = edge(request)?;
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    let head = edge.auth.head(request.head(), peer);
    let id = RequestId::of_request(request);
    let refused = |fault: &Fault, known: Option<&Principal>| {
        edge.auth.refused(head.peer, operation.name(), fault, known, id.as_str());
    };
    let found = edge.principal(request).await;
    let principal = found.inspect_err(|fault| refused(fault, super::limit::spent(request).as_ref()))?;
    policy::allow(&principal, operation).inspect_err(|fault| refused(fault, Some(&principal)))?;
    Ok(Caller {
        principal: Arc::new(principal),
        request_id: id.as_str().to_owned(),
        origin: format!("{} {} from {}", request.method(), where_from(request), head.peer).into(),
        address: Some(head.peer),
    })
}

/// The address as the table has it: without the ids that were asked for.
fn where_from(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| "unknown address".to_owned())
}

/// Who asks: for handlers whose rule asks for a credential.
#[derive(Debug, Clone)]
pub struct Asking(pub Caller);

impl FromRequest for Asking {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        ready(
            known.ok_or_else(|| Refusal(Fault::internal("the route lets anybody in, and its handler asks who")).into()),
        )
    }
}

/// The hub of this worker.
#[derive(Clone)]
pub struct HubHandle(pub Rc<dyn Hub>);

impl FromRequest for HubHandle {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.app_data::<Self>().cloned();
        ready(known.ok_or_else(|| Refusal(Fault::internal("the app has no hub")).into()))
    }
}
