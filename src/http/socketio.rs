//! Long polling of Engine.IO: sessions are begun, polled and posted to. Who may do what a session decides, namespace
//! by namespace; a WebSocket comes in another way.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::Method;
use actix_web::http::header;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use schemars::JsonSchema;

use super::described::Described;
use super::endpoint::{Endpoint, row};
use super::limit::{known, shows_credential};
use super::request::{Kind, Parameter, parameter};
use super::{Edge, Refusal, RequestId};
use crate::auth::{Authenticator, Head, Route};
use crate::domain::hub::LocalFuture;
use crate::domain::policy::Operation;
use crate::domain::principal::Principal;
use crate::doors::engine::{Engine, Misuse, PATH, Polled, Transport, Visitor, Wanted, wanted};
use crate::error::{Code, Fault};
use crate::limits::{Limits, Stranger};

pub(super) const ENDPOINTS: [Endpoint; 2] = [
    row(Method::GET, PATH, Operation::SocketIo, || web::to(poll)).described(|| {
        Described::new("Socket.IO: begin a session of Engine.IO 4, or wait for its packets")
            .query::<SessionQuery>(&QUERY)
            .gives_text(200, TEXT)
            .gives::<EngineError>(400)
    }),
    row(Method::POST, PATH, Operation::SocketIo, || web::to(post)).described(|| {
        Described::new("Socket.IO: send packets to a session of Engine.IO 4")
            .query::<SessionQuery>(&QUERY)
            .gives_text(200, "text/html")
            .gives::<EngineError>(400)
            .gives_text(413, "application/json")
    }),
];

static QUERY: [Parameter; 3] =
    [parameter("EIO", Kind::Text), parameter("transport", Kind::Text), parameter("sid", Kind::Text)];

/// What is said of the query in the OpenAPI document.
#[derive(JsonSchema)]
#[allow(dead_code)] // read by its schema alone
struct SessionQuery {
    /// The version of Engine.IO: 4.
    #[serde(rename = "EIO")]
    eio: String,
    /// Here `polling`.
    transport: String,
    /// The session; without it a new one is begun.
    sid: Option<String>,
}

/// In the words of the stock server.
#[derive(JsonSchema)]
#[allow(dead_code)] // read by its schema alone
struct EngineError {
    code: u8,
    message: String,
}

const TEXT: &str = "text/plain; charset=UTF-8";

/// The sessions, as this worker reaches them.
#[derive(Clone)]
pub struct EngineHandle(pub Rc<dyn Engine>);

fn engine(request: &HttpRequest) -> Result<&Rc<dyn Engine>, Refusal> {
    let handle = request.app_data::<EngineHandle>().map(|handle| &handle.0);
    handle.ok_or_else(|| Refusal(Fault::internal("the app has no sessions of Engine.IO")))
}

/// What a request that is none for polling is told.
fn polling(request: &HttpRequest) -> Result<Wanted, Misuse> {
    match wanted(request.query_string())? {
        Wanted { transport: Transport::WebSocket, .. } => Err(Misuse::BadRequest),
        wanted => Ok(wanted),
    }
}

fn misused(what: Misuse) -> HttpResponse {
    HttpResponse::BadRequest().content_type("application/json").body(what.json())
}

fn packets(body: impl Into<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body(body.into())
}

fn answer(polled: Polled) -> Result<HttpResponse, Error> {
    Ok(match polled {
        Polled::Packets(body) => packets(body),
        Polled::Taken => HttpResponse::Ok().content_type("text/html").body("ok"),
        Polled::Misused(what) => misused(what),
        Polled::TooMany => {
            return Err(Refusal(Fault::new(Code::TooLarge, "too many packets in one payload")).into());
        }
    })
}

async fn poll(edge: web::Data<Edge>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let engine = engine(&request)?;
    match polling(&request) {
        Ok(Wanted { sid: Some(sid), .. }) => answer(engine.poll(&sid).await),
        Ok(Wanted { sid: None, .. }) => {
            let visitor = visitor(&edge, &request).await.map_err(Refusal)?;
            Ok(packets(engine.begin(visitor).map_err(Refusal)?))
        }
        Err(what) => Ok(misused(what)),
    }
}

async fn post(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Error> {
    let engine = engine(&request)?;
    let sid = match polling(&request) {
        Ok(Wanted { sid, .. }) => sid,
        Err(what) => return Ok(misused(what)),
    };
    let Some(sid) = sid else { return Ok(misused(Misuse::BadMethod)) };
    let Some(room) = engine.room(&sid) else { return Ok(misused(Misuse::UnknownSession)) };
    let too_large = || Refusal(Fault::new(Code::TooLarge, format!("the payload is longer than {room} bytes")));
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > room as u64) {
        return Err(too_large().into());
    }
    let body = payload.to_bytes_limited(room).await.map_err(|_| too_large())??;
    answer(engine.post(&sid, body).await)
}

/// Who begins a session. Nobody has to vouch for them yet; who asks too often is refused.
async fn visitor(edge: &Edge, request: &HttpRequest) -> Result<Visitor, Fault> {
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    let head = edge.auth.head(request.head(), peer);
    let id = RequestId::of_request(request);
    let principal = match shows(&head) {
        true => known(request, &edge.limits, head.peer, edge.auth.principal(&head, Route::SocketIo)).await,
        false => Err(Fault::plain(Code::Unauthorized)),
    };
    let principal = seen(&edge.auth, &head, id.as_str(), principal)?;
    Ok(Visitor {
        principal,
        organization: head.query_value("organizationId")?,
        address: head.peer,
        peer,
        request_id: id.as_str().to_owned(),
    })
}

/// The same for a WebSocket, which no middleware has seen.
///
/// # Errors
/// `rate_limited`, where the address begins too many.
pub async fn visitor_of_socket(
    auth: &Authenticator,
    limits: &Limits,
    head: &Head<'_>,
    (peer, request_id): (std::net::SocketAddr, &str),
) -> Result<Visitor, Fault> {
    let principal = match shows(head) {
        true => checked(limits, head.peer, auth.principal(head, Route::SocketIo)).await,
        false => Err(Fault::plain(Code::Unauthorized)),
    };
    if principal.is_err() {
        limits.stranger(Stranger::Request, head.peer, Instant::now()).or_fault("strangers", "too many requests")?;
    }
    let principal = seen(auth, head, request_id, principal)?;
    let organization = head.query_value("organizationId")?;
    Ok(Visitor { principal, organization, address: head.peer, peer, request_id: request_id.to_owned() })
}

/// Whose token it is that somebody shows when connecting to a namespace. A wrong one counts against the address.
///
/// # Errors
/// Those of [`Authenticator::token`]; `rate_limited` where the address has shown too many wrong ones.
pub fn vouch(
    auth: &Arc<Authenticator>,
    limits: &Arc<Limits>,
    visitor: Visitor,
    token: String,
) -> LocalFuture<Result<Principal, Fault>> {
    let (auth, limits) = (auth.clone(), limits.clone());
    Box::pin(async move {
        let find = auth.token(&token, visitor.organization.as_deref());
        let found = checked(&limits, visitor.address, find).await;
        found.inspect_err(|fault| auth.refused(visitor.address, PATH, fault, None, &visitor.request_id))
    })
}

fn shows(head: &Head<'_>) -> bool {
    let named = |name: &str| url::form_urlencoded::parse(head.query.as_bytes()).any(|(key, _)| key == name);
    shows_credential(head.headers) || named("token") || named("ticket")
}

/// Nobody's credential is looked at where the address has shown too many wrong ones.
async fn checked(
    limits: &Limits,
    address: std::net::IpAddr,
    find: impl Future<Output = Result<Principal, Fault>>,
) -> Result<Principal, Fault> {
    limits.look(Stranger::Refused, address, Instant::now()).or_fault("refused", "too many wrong credentials")?;
    let found = find.await;
    if found.as_ref().is_err_and(|fault| fault.code == Code::Unauthorized) {
        limits.stranger(Stranger::Refused, address, Instant::now());
    }
    found
}

/// A credential that is not good is none: another one may be shown when connecting to a namespace. Too many of them,
/// or nobody to ask about them, is the end.
fn seen(
    auth: &Authenticator,
    head: &Head<'_>,
    request_id: &str,
    found: Result<Principal, Fault>,
) -> Result<Result<Arc<Principal>, Fault>, Fault> {
    match found {
        Ok(principal) => Ok(Ok(Arc::new(principal))),
        Err(fault) if matches!(fault.code, Code::Unauthorized | Code::Forbidden) => {
            if shows(head) {
                auth.refused(head.peer, PATH, &fault, None, request_id);
            }
            Ok(Err(fault))
        }
        Err(fault) => Err(fault),
    }
}

/// Whether a request is of a session that is there: those are limited by what the session is sent.
pub(super) fn is_of_session(request: &HttpRequest) -> bool {
    let handle = request.app_data::<EngineHandle>();
    let sid = || wanted(request.query_string()).ok()?.sid;
    handle.zip(sid()).is_some_and(|(handle, sid)| handle.0.room(&sid).is_some())
}
