//! From a request's head to a principal: once, at the edge.
//!
//! Order of credentials: `Authorization: Bearer`, then `?token=` (sockets only), then `?ticket=`, then a cookie. The
//! first one that is there counts; if it is bad the request is refused, and no other is tried.

pub mod accounts;
pub mod first_start;
pub mod folder;
mod foreign;
mod forget;
pub mod head;
pub mod hosts;
pub mod jwt;
pub mod keys;
mod outward;
pub mod password;
mod refusals;
mod remember;
pub mod sign_in;
mod single;
mod standing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, Live};
use crate::domain::account::{ApiKey, Device, HubSession, User};
use crate::domain::command::Caller;
use crate::domain::ids::{DeviceId, OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::policy::Operation;
use crate::domain::principal::{Credential, Principal, Role};
use crate::error::{Code, Fault};
use crate::store::Store;
use crate::telemetry;

use foreign::{Foreign, Shown};
pub use head::{Head, Presented, Route};
use hosts::Hosts;
use jwt::{Claims, Jwt, Person};
use outward::Outward;
use password::Passwords;
use refusals::Refusals;
pub use refusals::UNKNOWN_ADDRESS;
use remember::Remember;

/// The cookie of the hub's own sessions.
pub const COOKIE: &str = "switchboard_session";

/// Users, keys, sessions, devices and so on that are remembered at most, each.
const REMEMBERED: usize = 10_000;

/// Knows whom to believe.
pub struct Authenticator {
    jwt: Jwt,
    foreign: Option<Foreign>,
    outward: Outward,
    passwords: Passwords,
    store: Store,
    config: Live<Config>,
    cookies: Vec<String>,
    socketio_origins: Option<Vec<String>>,
    hosts: Hosts,
    users: Remember<(OrganizationId, UserId), User>,
    keys: Remember<[u8; 32], ApiKey>,
    /// Hashes of the keys that were used since the start, by the keys' ids: there are no more of them than rows.
    key_hashes: DashMap<String, [u8; 32]>,
    sessions: Remember<[u8; 32], HubSession>,
    devices: Remember<[u8; 32], Device>,
    devices_by_id: Remember<(OrganizationId, DeviceId), Device>,
    /// Whether they are disabled.
    organizations: Remember<OrganizationId, bool>,
    /// Whether these JWTs are revoked; by what they are as credentials.
    revoked: Remember<(OrganizationId, String), bool>,
    refusals: Refusals,
}

impl Authenticator {
    /// `secret`: see [`secret`].
    pub fn new(config: impl Into<Live<Config>>, secret: &SecretString, store: Store) -> Self {
        let live = config.into();
        let config = live.get();
        let age = Duration::from_millis(config.auth.remember_ms);
        let mut cookies = vec![COOKIE.to_owned()];
        cookies.extend(config.auth.cookies.iter().cloned());
        Self {
            jwt: Jwt::new(secret, &config.auth),
            foreign: Foreign::new(&config.auth),
            outward: Outward::default(),
            passwords: Passwords::default(),
            store,
            cookies,
            socketio_origins: config.server.socketio_origins(),
            hosts: Hosts::new(&config.server),
            users: Remember::new(age, REMEMBERED),
            keys: Remember::new(age, REMEMBERED),
            key_hashes: DashMap::new(),
            sessions: Remember::new(age, REMEMBERED),
            devices: Remember::new(age, REMEMBERED),
            devices_by_id: Remember::new(age, REMEMBERED),
            organizations: Remember::new(age, REMEMBERED),
            revoked: Remember::new(age, REMEMBERED),
            refusals: Refusals::default(),
            config: live,
        }
    }

    /// What encrypts the way to issuers' keys and to `auth.session_url`. Without it none with `https` can be asked.
    pub fn with_tls(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.outward.tls = Some(tls);
        self
    }

    /// The names the hub answers to: to be checked before any credential is looked at.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The head of a request, with forwarded headers from trusted proxies alone.
    pub fn head<'a>(&self, request: &'a actix_web::dev::RequestHead, peer: std::net::SocketAddr) -> Head<'a> {
        let config = self.config.get();
        let (tls, proxies) = (config.tls.is_on(), &config.server.trusted_proxies);
        Head::new(&request.method, &request.uri, &request.headers, peer, tls, proxies)
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
        self.find_in(head, route, chosen.as_deref()).await
    }

    /// The same for one of the credential's organizations, named elsewhere than in the address.
    pub async fn find_in(&self, head: &Head<'_>, route: Route, chosen: Option<&str>) -> Result<Principal, Fault> {
        if let Some(token) = head.bearer()? {
            return self.token(token, chosen).await;
        }
        if route != Route::Rest
            && let Some(token) = head.query_value("token")?
        {
            return self.token(&token, chosen).await;
        }
        if let Some(ticket) = head.query_value("ticket")? {
            return within(self.by_ticket(head, &ticket, route).await?, chosen);
        }
        if let Some((name, cookie)) = self.named_cookie(head, route)? {
            return match (self.own(cookie, chosen).await?, &self.foreign) {
                (Some(principal), _) => Ok(principal),
                (None, Some(foreign)) if name != COOKIE => {
                    self.by_foreign(foreign, Shown::cookies(head)?, chosen).await
                }
                (None, _) => Err(Fault::new(Code::Unauthorized, "the cookie is malformed")),
            };
        }
        Err(Fault::plain(Code::Unauthorized))
    }

    /// The cookie, if one is there and the page may use it.
    pub fn cookie<'a>(&self, head: &Head<'a>, route: Route) -> Result<Option<&'a str>, Fault> {
        Ok(self.named_cookie(head, route)?.map(|(_, value)| value))
    }

    /// The same with its name.
    fn named_cookie<'a>(&self, head: &Head<'a>, route: Route) -> Result<Option<(&str, &'a str)>, Fault> {
        let Some(cookie) = head.cookie(&self.cookies) else { return Ok(None) };
        let websocket = head.headers.contains_key(actix_web::http::header::UPGRADE);
        let config = self.config.get();
        let friends = match (route, &self.socketio_origins) {
            // Any page may knock: then a cookie says nothing about who wants it.
            (Route::SocketIo, None) => return Ok(None),
            (Route::SocketIo, Some(origins)) => origins,
            _ => &config.server.origins,
        };
        head.check_origin(&config.server.public_url, friends, websocket)?;
        Ok(Some(cookie))
    }

    /// Who holds this token: a JWT, an API key, a hub session, or what `auth.session_url` knows. `chosen`: one of
    /// several organizations.
    pub async fn token(&self, token: &str, chosen: Option<&str>) -> Result<Principal, Fault> {
        if token.is_empty() {
            return Err(Fault::new(Code::Unauthorized, "the token is empty"));
        }
        match (self.own(token, chosen).await?, &self.foreign) {
            (Some(principal), _) => Ok(principal),
            (None, Some(foreign)) => self.by_foreign(foreign, Shown::bearer(token)?, chosen).await,
            (None, None) => Err(Fault::new(Code::Unauthorized, "the token is malformed")),
        }
    }

    /// Who holds a credential of one of the hub's own kinds; nothing where it looks like none of them.
    async fn own(&self, token: &str, chosen: Option<&str>) -> Result<Option<Principal>, Fault> {
        let now = SystemSource.now();
        let principal = if token.starts_with(keys::SESSION) {
            self.by_session(token, now).await?
        } else if token.starts_with(keys::API_KEY) {
            self.by_key(token, now).await?
        } else if jwt::looks_signed(token) {
            let claims = self.claims(token, chosen, now).await?;
            return self.by_claims(claims, now).await.map(Some);
        } else if standing::is_device_token(token)
            && let Some(device) = self.by_device(token, now).await?
        {
            device
        } else {
            return Ok(None);
        };
        within(principal, chosen).map(Some)
    }

    /// What a JWT that counts says.
    async fn claims(&self, token: &str, chosen: Option<&str>, now: Timestamp) -> Result<Claims, Fault> {
        self.jwt.verify(token, chosen, now, &self.outward).await
    }

    /// Whether the principal is still who it was, asked of the store at most `auth.remember_ms` ago: the same
    /// principal with its present role, or the refusal. A socket asks now and then.
    pub async fn renew(&self, principal: &Principal) -> Result<Principal, Fault> {
        let now = SystemSource.now();
        if principal.expires_at.is_some_and(|end| end <= now) {
            return Err(Fault::new(Code::Unauthorized, "the credential has expired"));
        }
        if let Credential::Foreign { id } = &principal.credential {
            return self.renew_foreign(principal, id).await;
        }
        let user = self.user(&principal.organization, &principal.user).await?;
        let mut renewed = principal.clone();
        match &principal.credential {
            credential @ Credential::Jwt { .. } => {
                self.token_counts(&user, credential).await?;
                if !user.managed {
                    return Ok(renewed);
                }
            }
            Credential::ApiKey { id } => {
                let hash = self.key_hash(&principal.organization, id).await?;
                self.key(hash, now).await?;
            }
            Credential::Device { id } => return self.renew_device(&principal.organization, id).await,
            Credential::Session { id } => {
                let hash = sign_in::session_hash(id).ok_or_else(|| Fault::plain(Code::Unauthorized))?;
                self.session(hash, now).await?;
            }
            _ => {}
        }
        renewed.role = user.role;
        renewed.hub_admin = user.managed && user.hub_admin;
        if let Credential::Jwt { .. } = principal.credential {
            // Whether its issuer is believed about that was decided when it was shown.
            renewed.hub_admin &= principal.hub_admin;
        }
        Ok(renewed)
    }

    /// Counts a refusal at a door, for the audit log. `what`: the operation's name, or the path of the door.
    pub fn refused(&self, address: IpAddr, what: &str, fault: &Fault, known: Option<&Principal>, request_id: &str) {
        if matches!(fault.code, Code::Unauthorized | Code::Forbidden | Code::NotFound | Code::RateLimited) {
            self.refusals.note(address, what, fault, known, request_id);
        }
    }

    /// The same for a caller who came in and is refused what was asked.
    pub fn refused_caller(&self, caller: &Caller, operation: Operation, fault: &Fault) {
        if let Some(address) = caller.address {
            self.refused(address, operation.name(), fault, Some(&caller.principal), &caller.request_id);
        }
    }

    /// Writes refusals down that are due, or all of them at the end. To be called every second or so.
    pub async fn write_refusals(&self, all: bool) {
        self.refusals.write(&self.store, all).await;
    }

    /// Makes and verifies the hashes of people's passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
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

/// A credential of one organization counts for that one.
fn within(principal: Principal, chosen: Option<&str>) -> Result<Principal, Fault> {
    match chosen {
        Some(chosen) if chosen != principal.organization.as_str() => {
            Err(Fault::forbidden("organizationId: the credential is not for that organization"))
        }
        _ => Ok(principal),
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
