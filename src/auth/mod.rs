//! From a request's head to a principal: once, at the edge.
//!
//! Order of credentials: `Authorization: Bearer`, then `?token=` (sockets only), then a cookie. The first one that is
//! there counts; if it is bad the request is refused, and no other is tried.

pub mod first_start;
pub mod folder;
mod forget;
pub mod head;
pub mod jwt;
pub mod keys;
mod remember;
pub mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;
use crate::domain::account::{ApiKey, HubSession, User};
use crate::domain::ids::{OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::principal::{Credential, Principal, Role};
use crate::error::{Code, Fault};
use crate::store::Store;
use crate::telemetry;

pub use head::{Head, Presented, Route};
use jwt::{Claims, Jwt};
use remember::Remember;

/// The cookie of the hub's own sessions.
pub const COOKIE: &str = "switchboard_session";

/// Users, keys and sessions that are remembered at most, each.
const REMEMBERED: usize = 10_000;

/// Knows whom to believe.
pub struct Authenticator {
    jwt: Jwt,
    store: Store,
    config: Arc<Config>,
    cookies: Vec<String>,
    socketio_origins: Option<Vec<String>>,
    users: Remember<(OrganizationId, UserId), User>,
    keys: Remember<[u8; 32], ApiKey>,
    /// Hashes of the keys that were used since the start, by the keys' ids: there are no more of them than rows.
    key_hashes: DashMap<String, [u8; 32]>,
    sessions: Remember<[u8; 32], HubSession>,
}

impl Authenticator {
    /// `secret`: see [`secret`].
    pub fn new(config: Arc<Config>, secret: &SecretString, store: Store) -> Self {
        let age = Duration::from_millis(config.auth.remember_ms);
        let mut cookies = vec![COOKIE.to_owned()];
        cookies.extend(config.auth.cookies.iter().cloned());
        Self {
            jwt: Jwt::new(secret, &config.auth),
            store,
            cookies,
            socketio_origins: config.server.socketio_origins(),
            users: Remember::new(age, REMEMBERED),
            keys: Remember::new(age, REMEMBERED),
            key_hashes: DashMap::new(),
            sessions: Remember::new(age, REMEMBERED),
            config,
        }
    }

    /// The head of a request, with forwarded headers from trusted proxies alone.
    pub fn head<'a>(&self, request: &'a actix_web::dev::RequestHead, peer: std::net::SocketAddr) -> Head<'a> {
        let tls = self.config.tls.is_on();
        Head::new(&request.method, &request.uri, &request.headers, peer, tls, &self.config.server.trusted_proxies)
    }

    /// Who sent this request, or why nobody knows: `unauthorized` without a good credential, `forbidden` for a foreign
    /// page's cookie or a foreign organization, `unavailable` when the store does not answer.
    pub async fn principal(&self, head: &Head<'_>, route: Route) -> Result<Principal, Fault> {
        let found = self.find(head, route).await;
        if let Err(fault) = &found {
            metrics::counter!(telemetry::REFUSALS, "code" => fault.code.name()).increment(1);
        }
        found
    }

    async fn find(&self, head: &Head<'_>, route: Route) -> Result<Principal, Fault> {
        let chosen = head.query_value("organizationId")?;
        if let Some(token) = head.bearer()? {
            return self.token(token, chosen.as_deref()).await;
        }
        if route != Route::Rest
            && let Some(token) = head.query_value("token")?
        {
            return self.token(&token, chosen.as_deref()).await;
        }
        if let Some(cookie) = self.cookie(head, route)? {
            return self.token(cookie, chosen.as_deref()).await;
        }
        Err(Fault::plain(Code::Unauthorized))
    }

    /// The cookie, if one is there and the page may use it.
    pub fn cookie<'a>(&self, head: &Head<'a>, route: Route) -> Result<Option<&'a str>, Fault> {
        let Some(cookie) = head.cookie(&self.cookies) else { return Ok(None) };
        let websocket = head.headers.contains_key(actix_web::http::header::UPGRADE);
        let friends = match (route, &self.socketio_origins) {
            // Any page may knock: then a cookie says nothing about who wants it.
            (Route::SocketIo, None) => return Ok(None),
            (Route::SocketIo, Some(origins)) => origins,
            _ => &self.config.server.origins,
        };
        head.check_origin(&self.config.server.public_url, friends, websocket)?;
        Ok(Some(cookie))
    }

    /// Who holds this token: a JWT, an API key or a hub session. `chosen`: one of a JWT's organizations.
    pub async fn token(&self, token: &str, chosen: Option<&str>) -> Result<Principal, Fault> {
        let now = SystemSource.now();
        let principal = if token.starts_with(keys::SESSION) {
            self.by_session(token, now).await?
        } else if token.starts_with(keys::API_KEY) {
            self.by_key(token, now).await?
        } else if token.is_empty() {
            return Err(Fault::new(Code::Unauthorized, "the token is empty"));
        } else {
            return self.by_claims(self.jwt.verify(token, chosen, now)?, now).await;
        };
        match chosen {
            Some(chosen) if chosen != principal.organization.as_str() => {
                Err(Fault::forbidden("organizationId: the credential is not for that organization"))
            }
            _ => Ok(principal),
        }
    }

    /// Whether the principal is still who it was, asked of the store at most `auth.remember_ms` ago: the same
    /// principal with its present role, or the refusal. A socket asks now and then.
    pub async fn renew(&self, principal: &Principal) -> Result<Principal, Fault> {
        let now = SystemSource.now();
        if principal.expires_at.is_some_and(|end| end <= now) {
            return Err(Fault::new(Code::Unauthorized, "the credential has expired"));
        }
        let user = self.user(&principal.organization, &principal.user).await?;
        let mut renewed = principal.clone();
        match &principal.credential {
            Credential::Jwt { .. } if !user.managed => return Ok(renewed),
            Credential::ApiKey { id } => {
                let hash = self.key_hashes.get(id).map(|hash| *hash);
                self.key(hash.ok_or_else(|| Fault::plain(Code::Unauthorized))?, now).await?;
            }
            Credential::Session { id } => {
                let hash = sign_in::session_hash(id).ok_or_else(|| Fault::plain(Code::Unauthorized))?;
                self.session(hash, now).await?;
            }
            _ => {}
        }
        renewed.role = user.role;
        renewed.hub_admin = user.managed && user.hub_admin;
        Ok(renewed)
    }

    /// Forgets what is remembered of a user: its row was changed here.
    pub fn forget_user(&self, organization: &OrganizationId, user: &UserId) {
        self.users.forget(&(organization.clone(), user.clone()));
    }

    /// A token for a user, for `ttl_seconds`.
    pub fn mint(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        role: Role,
        ttl_seconds: i64,
    ) -> Result<String, Fault> {
        self.jwt.mint(organization, user, role, SystemSource.now(), ttl_seconds)
    }
}

/// The secret of the hub's own tokens: as configured, else the one in the data folder, which is made if missing.
pub fn secret(config: &Config) -> Result<SecretString, String> {
    if config.auth.jwt_secret.expose_secret().is_empty() {
        return folder::jwt_secret(&config.server.data);
    }
    Ok(config.auth.jwt_secret.clone())
}

/// What a caller is told when the store did not do its part; the cause goes to the log.
fn fault_of(error: impl std::fmt::Display) -> Fault {
    tracing::error!(%error, "the store failed");
    Fault::unavailable("the store does not answer at the moment")
}
