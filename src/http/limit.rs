//! The limits of plain HTTP: who has asked too often is told so before anything is done, and everybody how much is left.
//!
//! A request belongs to the user who vouches for it, from the moment on which a route asks who that is; one that shows
//! no credential belongs to its address from the start, and one whose credential nobody asked for at the end.

use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{JsonPayloadError, PayloadError};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};

use super::fault::json_errors;
use super::request::pattern;
use super::socketio::is_of_session;
use super::{Edge, Refusal};
use crate::domain::principal::Principal;
use crate::error::{Code, Fault};
use crate::limits::{Decision, Limits, Stranger, Via, whole_seconds};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// What a request was charged to: its last budget is the one that its answer tells of.
#[derive(Clone, Copy)]
struct Charged(Decision);

/// Who sent the request, remembered while it is answered.
#[derive(Clone)]
struct Known(Result<Principal, Fault>);

/// Largest request body, in bytes; above it 413.
pub fn bodies(bytes: usize) -> impl Fn(&mut web::ServiceConfig) + Clone {
    move |app| {
        app.app_data(web::PayloadConfig::new(bytes)).app_data(json_errors().limit(bytes));
    }
}

/// Who has sent too many requests: a refusal of somebody who is known.
struct Spent(Principal);

/// Whose budget of requests is spent, where that is why this one was refused.
pub(super) fn spent(request: &HttpRequest) -> Option<Principal> {
    request.extensions().get::<Spent>().map(|Spent(principal)| principal.clone())
}

/// Asks `find` who sent the request, once, and takes it from that user's budget. Nobody is asked where the address has
/// shown too many credentials that were wrong.
pub(super) async fn known(
    request: &HttpRequest,
    limits: &Limits,
    address: IpAddr,
    find: impl Future<Output = Result<Principal, Fault>>,
) -> Result<Principal, Fault> {
    if let Some(Known(found)) = request.extensions().get::<Known>() {
        return found.clone();
    }
    let found = match limits.look(Stranger::Refused, address, Instant::now()) {
        Decision::Refused { limit, retry_after } => {
            let refused = Decision::Refused { limit, retry_after };
            request.extensions_mut().insert(Charged(refused));
            refused.or_fault("refused", "too many wrong credentials").and(Err(Fault::plain(Code::RateLimited)))
        }
        _ => find.await,
    };
    let now = Instant::now();
    let found = match found {
        Ok(principal) => {
            let decision = limits.request(&principal, now);
            request.extensions_mut().insert(Charged(decision));
            let left = decision.or_fault("requests", "too many requests");
            if left.is_err() {
                request.extensions_mut().insert(Spent(principal.clone()));
            }
            left.map(|()| principal)
        }
        Err(fault) => {
            if fault.code == Code::Unauthorized && shows_credential(request.headers()) {
                limits.stranger(Stranger::Refused, address, now);
            }
            Err(fault)
        }
    };
    request.extensions_mut().insert(Known(found.clone()));
    found
}

impl Edge {
    /// Takes one message from a user's budget for REST; the answer tells what is left of it. Before anything is done.
    ///
    /// # Errors
    /// `rate_limited` with `details.retryAfter`, in whole seconds.
    pub fn message(&self, request: &HttpRequest, principal: &Principal) -> Result<(), Fault> {
        let decision = self.limits.message_at(principal, Via::Rest, Instant::now());
        request.extensions_mut().insert(Charged(decision));
        decision.or_fault("messages", "too many messages")
    }
}

/// The middleware, within [`super::around`].
pub async fn limited(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let known = request.app_data::<web::Data<Edge>>().cloned().zip(request.peer_addr());
    let Some((edge, peer)) = known else {
        let fault = Fault::internal("the connection has no peer, or the routes no edge");
        return Ok(request.into_response(Refusal(fault).error_response()));
    };
    if let Some(refusal) = unreadable(&request) {
        return Ok(request.into_response(refusal));
    }
    if is_of_session(request.request()) {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let address = edge.auth.head(request.head(), peer).peer;
    let budget = budget(&request);
    if budget != Stranger::Request || !shows_credential(request.headers()) {
        let decision = edge.limits.stranger(budget, address, Instant::now());
        request.extensions_mut().insert(Charged(decision));
        if let Err(fault) = decision.or_fault(budget.name(), "too many requests") {
            return Ok(told(request.into_response(Refusal(fault).error_response()), decision));
        }
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    if came_too_slowly(&response) {
        response = response.into_response(HttpResponse::new(StatusCode::REQUEST_TIMEOUT));
    }
    let charged = response.request().extensions().get::<Charged>().copied();
    let Charged(decision) = charged.unwrap_or_else(|| Charged(edge.limits.stranger(budget, address, Instant::now())));
    // What has been done is not taken back; what was only asked for, in somebody else's name, is.
    let harmless = !response.status().is_success() || [Method::GET, Method::HEAD].contains(response.request().method());
    if charged.is_none()
        && harmless
        && let Err(fault) = decision.or_fault(budget.name(), "too many requests")
    {
        return Ok(told(response.into_response(Refusal(fault).error_response()), decision));
    }
    Ok(told(response, decision))
}

/// Whose budget a request is taken from while nobody vouches for it.
fn budget(request: &ServiceRequest) -> Stranger {
    match pattern(request.request()).as_deref() {
        Some("/sign-in") if request.method() == Method::POST => Stranger::SignIn,
        Some("/health" | "/ready" | "/") => Stranger::Plain,
        Some(path) if path.starts_with("/page/") => Stranger::Plain,
        _ => Stranger::Request,
    }
}

/// Whether there is something in the head that may turn out to be a credential.
pub fn shows_credential(headers: &header::HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE)
}

/// A body that would first have to be unpacked: a few bytes could become gigabytes.
fn unreadable(request: &ServiceRequest) -> Option<HttpResponse> {
    let packed = |value: &HeaderValue| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if !request.headers().get_all(header::CONTENT_ENCODING).any(packed) {
        return None;
    }
    let fault = Fault::field("content-encoding", "bodies are sent as they are, not compressed");
    let mut response = HttpResponse::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    response.extensions_mut().insert(fault);
    Some(response)
}

/// Whether a route waited in vain for the rest of the body.
fn came_too_slowly(response: &ServiceResponse<BoxBody>) -> bool {
    let Some(error) = response.response().error() else { return false };
    let payload = match error.as_error::<JsonPayloadError>() {
        Some(JsonPayloadError::Payload(payload)) => Some(payload),
        _ => error.as_error::<PayloadError>(),
    };
    let late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    matches!(payload, Some(PayloadError::Incomplete(Some(error))) if late(error))
}

/// Puts what is left, and when there is more, into the head of an answer.
fn told<B>(mut response: ServiceResponse<B>, decision: Decision) -> ServiceResponse<B> {
    let said = response.response().extensions().get::<Fault>().and_then(again);
    let (limit, remaining, reset) = match (said, decision) {
        // A budget of its own, such as that of messages, has run out.
        (Some((limit, seconds)), _) => (limit, 0, seconds),
        (None, Decision::Off) => return response,
        (None, Decision::Allowed { limit, remaining, reset }) => (Some(limit), remaining, whole_seconds(reset)),
        (None, Decision::Refused { limit, retry_after }) => (Some(limit), 0, whole_seconds(retry_after)),
    };
    let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    if limited {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(reset));
    }
    if let Some(limit) = limit {
        headers.insert(LIMIT, HeaderValue::from(limit));
    }
    headers.insert(REMAINING, HeaderValue::from(remaining));
    headers.insert(RESET, HeaderValue::from(reset));
    response
}

/// Limit and seconds of a fault that says when to come back.
fn again(fault: &Fault) -> Option<(Option<u32>, u64)> {
    let details = fault.details.as_ref().filter(|_| fault.code == Code::RateLimited)?;
    let limit = details["limit"].as_u64().and_then(|limit| u32::try_from(limit).ok());
    Some((limit, details["retryAfter"].as_u64()?))
}
