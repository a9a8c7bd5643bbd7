//! What browsers are held to: the name they ask the hub by, and the page they ask for. Pages of other origins are let
//! read and change something where `server.origins` names them (CORS), and nowhere else.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError, web};

use super::fault::Status;
use super::request::pattern;
use super::{Edge, Refusal, RequestId};
use crate::auth::UNKNOWN_ADDRESS;
use crate::auth::hosts::MISDIRECTED;
use crate::doors::engine::PATH as SOCKETIO;
use crate::error::{Code, Fault};
use crate::transport::LocalAddress;

/// What a friendly page may ask with.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// What it may say besides what every page may.
const HEADERS: &str = "authorization, content-type, idempotency-key, x-request-id";
/// What it may read besides what every page may.
const EXPOSED: &str = "x-request-id, x-next-cursor, link, location, retry-after, ratelimit-limit, \
                       ratelimit-remaining, ratelimit-reset";
/// Seconds for which a browser need not ask again: short, since an origin may be struck off the list.
const MAX_AGE: &str = "600";

/// The middleware, within [`super::around`] and around all else: nobody's credential has been looked at yet.
pub async fn browsers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(edge) = request.app_data::<web::Data<Edge>>().cloned() else {
        let fault = Fault::internal("the routes have no edge");
        return Ok(request.into_response(Refusal(fault).error_response()));
    };
    let page = match looked_at(&request, &edge) {
        Ok(page) => page,
        Err(refused) => return Ok(varied(request.into_response(refused.error_response()))),
    };
    let response = match &page {
        Some(_) if is_preflight(&request) => request.into_response(welcome()),
        _ => next.call(request).await?.map_into_boxed_body(),
    };
    let mut response = varied(response);
    if let Some(page) = page {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page.origin);
        if page.with_cookie {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    Ok(response)
}

/// A page that may read the answer.
struct Page {
    origin: HeaderValue,
    /// Its browser may send the hub's cookies along.
    with_cookie: bool,
}

/// The friendly page that asks, where one does; or the refusal, written down.
fn looked_at(request: &ServiceRequest, edge: &Edge) -> Result<Option<Page>, Error> {
    let Some(peer) = request.peer_addr() else {
        return Err(Refusal(Fault::internal("the connection has no peer")).into());
    };
    let head = edge.auth.head(request.head(), peer);
    let written = |fault: &Fault| {
        let pattern = pattern(request.request());
        let what = pattern.as_deref().unwrap_or(UNKNOWN_ADDRESS);
        edge.auth.refused(head.peer, what, fault, None, RequestId::of_request(request).as_str());
    };
    let local = request.conn_data::<LocalAddress>().map(|local| local.0);
    if let Err(fault) = edge.auth.hosts().check(request.headers(), request.uri(), request.version(), local) {
        written(&fault);
        return Err(match fault.code {
            Code::Forbidden => Status(MISDIRECTED, fault).into(),
            _ => Refusal(fault).into(),
        });
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(None) };
    let server = &edge.config.get().server;
    let friends = match head.path == SOCKETIO {
        true => server.socketio_origins(),
        false => Some(server.origins.clone()),
    };
    // Any page may ask: then its cookies count for nothing.
    let Some(friends) = friends else { return Ok(Some(Page { origin: origin.clone(), with_cookie: false })) };
    match head.check_origin(&server.public_url, &friends, false) {
        Ok(()) => Ok(Some(Page { origin: origin.clone(), with_cookie: true })),
        // Other pages may ask what anybody may: they are not let read the answer. A token is no page's by itself.
        Err(_) if !is_preflight(request) && (is_safe(request.method()) || has_token(request)) => Ok(None),
        Err(fault) => {
            written(&fault);
            Err(Refusal(fault).into())
        }
    }
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Other schemes are sent by browsers by themselves.
fn has_token(request: &ServiceRequest) -> bool {
    let value = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    value.and_then(|value| value.get(..7)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// The answer to a friendly page that asks whether it may ask.
fn welcome() -> HttpResponse {
    HttpResponse::build(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
        .finish()
}

/// Says to caches that another page may get another answer.
fn varied(mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}
