//! Who may open a socket, and which door it leads to.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::socketio;
use super::watch::{Told, confirm};
use crate::actors::connection::{ConnectionActor, ConnectionKit};
use crate::actors::socketio::EngineKit;
use crate::actors::standing;
use crate::auth::hosts::MISDIRECTED;
use crate::auth::{Authenticator, Head, Route, UNKNOWN_ADDRESS};
use crate::config::Config;
use crate::domain::command::Caller;
use crate::domain::principal::Principal;
use crate::doors::engine::PATH as SOCKETIO;
use crate::error::{Code, Fault};
use crate::http::limit::shows_credential;
use crate::http::{RequestId, fault_json};
use crate::limits::{Limits, Stranger};
use crate::transport::{Admitted, Doorkeeper, Opener, Refusal, SocketLimits, UpgradeRequest};

/// The raw-socket doors, by path.
const NATIVE_PATHS: [&str; 2] = ["/ws", "/ws/client"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub struct HubDoorkeeper {
    pub config: Arc<Config>,
    pub auth: Arc<Authenticator>,
    pub kit: Rc<ConnectionKit>,
    pub engine: Rc<EngineKit>,
    pub limits: Rc<SocketLimits>,
    pub told: Told,
}

fn refusal(fault: &Fault, status: u16, request_id: &str) -> Refusal {
    let body = fault_json(fault, request_id).to_string();
    let mut headers = Vec::new();
    headers.extend(HeaderValue::from_str(request_id).ok().map(|value| (REQUEST_ID, value)));
    if status == 401 {
        headers.push((actix_http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    }
    if let Some(seconds) = fault.details.as_ref().and_then(|details| details["retryAfter"].as_u64()) {
        headers.push((actix_http::header::RETRY_AFTER, HeaderValue::from(seconds)));
    }
    Refusal { status, body: Bytes::from(body), headers }
}

/// Whether a query has a parameter of that name.
fn names(query: &str, name: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name)
}

/// Who knocks. Nobody's credential is looked at where an address has shown too
/// many wrong ones; who shows none is a stranger, and one too many is told so.
async fn admitted(auth: &Authenticator, limits: &Limits, head: &Head<'_>) -> Result<Principal, Fault> {
    let shown = shows_credential(head.headers) || ["token", "ticket"].iter().any(|name| names(head.query, name));
    if shown {
        limits.look(Stranger::Refused, head.peer, Instant::now()).or_fault("refused", "too many wrong credentials")?;
    }
    let found = match NATIVE_PATHS.contains(&head.path) {
        true => auth.principal(head, Route::Socket).await,
        false => Err(Fault::not_found("socket address")),
    };
    let now = Instant::now();
    if let Err(fault) = &found {
        limits.stranger(Stranger::Request, head.peer, now).or_fault("strangers", "too many requests")?;
        if shown && fault.code == Code::Unauthorized {
            limits.stranger(Stranger::Refused, head.peer, now);
        }
    }
    found
}

impl Doorkeeper for HubDoorkeeper {
    fn admit(&self, request: UpgradeRequest) -> LocalBoxFuture<'static, Result<Admitted, Refusal>> {
        let (auth, kit, limits) = (self.auth.clone(), self.kit.clone(), self.limits.clone());
        let (config, told, engine) = (self.config.clone(), self.told.clone(), self.engine.clone());
        Box::pin(async move {
            let request_id = RequestId::of(&actix_web::http::header::HeaderMap::from_iter(
                request.headers.iter().map(|(name, value)| (name.clone(), value.clone())),
            ));
            let refuse = |fault: &Fault| refusal(fault, fault.code.row().http_status, request_id.as_str());
            let (uri, trusted) = (&request.uri, &config.server.trusted_proxies);
            let head = Head::new(&request.method, uri, &request.headers, request.peer, request.secure, trusted);
            // As it stands in the list: a stranger's words are not for the audit log.
            let mut doors = NATIVE_PATHS.into_iter().chain([SOCKETIO]);
            let door = doors.find(|path| *path == head.path).unwrap_or(UNKNOWN_ADDRESS);
            let version = actix_web::http::Version::HTTP_11;
            let note = |fault: &Fault, known| auth.refused(head.peer, door, fault, known, request_id.as_str());
            auth.hosts().check(head.headers, uri, version, Some(request.local)).map_err(|fault| {
                note(&fault, None);
                match fault.code {
                    Code::Forbidden => refusal(&fault, MISDIRECTED, request_id.as_str()),
                    _ => refuse(&fault),
                }
            })?;
            let id = HeaderValue::from_str(request_id.as_str()).ok();
            let headers = id.map(|id| (REQUEST_ID, id)).into_iter().collect();
            if door == SOCKETIO {
                let admitted = socketio::admit(&engine, &auth, &head, (request.peer, request_id.as_str())).await;
                let open = admitted.map_err(|refused| match refused {
                    socketio::Refused::Misused(what) => socketio::Refused::misuse(what),
                    socketio::Refused::Fault(fault) => {
                        auth.refused(head.peer, door, &fault, None, request_id.as_str());
                        refuse(&fault)
                    }
                })?;
                return Ok(Admitted { open, limits: engine.limits.clone(), headers });
            }
            let before = told.number();
            let principal = admitted(&auth, &kit.limits, &head).await.map_err(|fault| {
                note(&fault, None);
                refuse(&fault)
            })?;
            let place = kit.limits.connect(&principal, Instant::now()).map_err(|fault| {
                note(&fault, Some(&principal));
                refuse(&fault)
            })?;
            let caller = Caller {
                principal: Arc::new(principal),
                request_id: request_id.as_str().to_owned(),
                origin: format!("{door} from {}", head.peer).into(),
                address: Some(head.peer),
            };
            let open = Opener::here(move |socket| {
                let principal = caller.principal.clone();
                ConnectionActor::open(kit, caller, place, socket);
                // Rights changed while the handshake was under way, perhaps these.
                if told.number() != before {
                    standing::review(&principal.organization, Some(&principal.user), &confirm(&auth));
                }
            });
            Ok(Admitted { open, limits, headers })
        })
    }
}
