//! What happens around every request: its id, its log line, its numbers, headers that protect browsers, error bodies.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};

use super::fault::{fault_body, fault_of};
use super::request::routed;
use crate::error::Fault;
use crate::telemetry;

/// Follows one request through logs, audit and providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// Its header, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    /// The client's, if it is 1 to 128 visible ASCII characters; else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&REQUEST_ID).map(HeaderValue::as_bytes);
        let sane = |id: &&[u8]| (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        match given.filter(sane).and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => Self(id.into()),
            None => Self(format!("req_{:032x}", uuid::Uuid::now_v7().as_u128()).into()),
        }
    }

    /// That of a request under way.
    pub fn of_request(request: &impl HttpMessage) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(|| Self::of(request.headers()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromRequest for RequestId {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of_request(request)))
    }
}

/// Said to browsers wherever a handler did not say something of its own.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The middleware; `App::new().wrap(middleware::from_fn(around))`.
pub async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.call(request).await?.map_into_boxed_body();
    if response.status().is_client_error() || response.status().is_server_error() {
        response = explained(response, &id);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    note(&response, &id, began);
    Ok(response)
}

/// Gives an error its body, unless its handler wrote one.
fn explained(response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") || kind.starts_with("text/html") {
        return response;
    }
    let said = response.response().extensions().get::<Fault>().cloned();
    let fault = said.unwrap_or_else(|| fault_of(response.status()));
    if fault.code == crate::error::Code::Internal {
        tracing::error!(request_id = id.as_str(), message = fault.message, "a request failed");
    }
    let body = fault_body(routed(response.request()), &fault, id.as_str()).to_string();
    let mut response = response.map_body(|_, _| BoxBody::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The log line and the numbers. The path only: a query may hold a token.
fn note(response: &ServiceResponse, id: &RequestId, began: Instant) {
    let request = response.request();
    let (status, seconds) = (response.status(), began.elapsed().as_secs_f64());
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "OTHER".to_owned(),
    };
    tracing::info!(
        target: "switchboard::http",
        method,
        path = request.path(),
        status = status.as_u16(),
        ms = (seconds * 100_000.0).round() / 100.0,
        request_id = id.as_str(),
        "request"
    );
    metrics::counter!(telemetry::HTTP_REQUESTS, "method" => method, "status" => status.as_str().to_owned())
        .increment(1);
    metrics::histogram!(telemetry::HTTP_SECONDS).record(seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_taken_and_any_other_replaced() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(id(b"abc-123"), "abc-123");
        assert_eq!(id(&[b'x'; 128]), "x".repeat(128));
        for bad in [&b"two words"[..], &[b'x'; 129], b"", b"caf\xc3\xa9"] {
            assert!(id(bad).starts_with("req_"));
        }
        assert!(RequestId::of(&HeaderMap::new()).as_str().starts_with("req_"));
    }
}
