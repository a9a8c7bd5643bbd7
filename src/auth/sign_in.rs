//! Sessions of browsers, and the rows behind tokens and keys.

use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::domain::account::RevokedToken;

/// A session that just began.
pub struct SignedIn {
    /// The cookie's value; only its hash is kept.
    pub secret: SecretString,
    pub organization: OrganizationId,
    pub user: UserId,
}

impl Authenticator {
    /// Uses up a link's code and begins a session.
    pub async fn sign_in(&self, code: &str) -> Result<SignedIn, Fault> {
        let now = SystemSource.now();
        let taken = self.store.use_sign_in_link(keys::hash(code), now).await.map_err(fault_of)?;
        let Some((organization, user)) = taken else {
            return Err(Fault::new(
                Code::Unauthorized,
                "this link was used before or is too old; `switchboard token --user NAME` makes a token, which signs in \
                 too",
            ));
        };
        self.begin_session(organization, user, now).await
    }

    /// A new session of a user who has proved to be one.
    pub(super) async fn begin_session(
        &self,
        organization: OrganizationId,
        user: UserId,
        now: Timestamp,
    ) -> Result<SignedIn, Fault> {
        let secret = keys::generate(keys::SESSION)?;
        let lifetime = i64::try_from(self.config.get().auth.session_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        let hash = keys::hash(secret.expose_secret());
        let session = HubSession {
            hash,
            organization: organization.clone(),
            user: user.clone(),
            created_at: now,
            expires_at: now.plus_millis(lifetime),
            revoked_at: None,
        };
        self.store.put_session(session).await.map_err(fault_of)?;
        Ok(SignedIn { secret, organization, user })
    }

    /// A browser that keeps a token in its cookie has a session too, so that it is signed out with all others. It ends
    /// with the token.
    pub async fn begin_token_session(&self, principal: &Principal, expires_at: Timestamp) -> Result<(), Fault> {
        let session = HubSession {
            hash: token_session(&principal.organization, &principal.user, &principal.credential),
            organization: principal.organization.clone(),
            user: principal.user.clone(),
            created_at: SystemSource.now(),
            expires_at,
            revoked_at: None,
        };
        self.store.put_session(session).await.map_err(fault_of)
    }

    /// Ends a session, or revokes the token that a browser was signed in by. Anything else in the cookie is left alone:
    /// it is not ours to end.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), Fault> {
        if jwt::looks_signed(cookie) {
            return self.sign_out_token(cookie).await;
        }
        if !cookie.starts_with(keys::SESSION) {
            return Ok(());
        }
        let hash = keys::hash(cookie);
        self.sessions.forget(&hash);
        self.store.revoke_session(hash, SystemSource.now()).await.map_err(fault_of)?;
        self.sessions.forget(&hash);
        Ok(())
    }

    /// A token without a name ends by itself, or with its user's tokens; one that does not count has ended.
    async fn sign_out_token(&self, token: &str) -> Result<(), Fault> {
        let now = SystemSource.now();
        let claims = match self.claims(token, None, now).await {
            Ok(claims) => claims,
            Err(fault) if fault.code == Code::Unauthorized => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let Some(id) = claims.token_id else { return Ok(()) };
        let organization = claims.person.organization;
        let credential = Credential::Jwt { id: Some(id.clone()), issued_at: claims.issued_at };
        let key = (organization.clone(), credential.store());
        let revoked = RevokedToken { organization, token: id, expires_at: claims.expires_at };
        self.store.revoke_token(revoked, Some(&claims.person.user), now).await.map_err(fault_of)?;
        self.revoked.forget(&key);
        Ok(())
    }

    pub(super) async fn by_session(&self, token: &str, now: Timestamp) -> Result<Principal, Fault> {
        let hash = keys::hash(token);
        let session = self.session(hash, now).await?;
        let user = self.user(&session.organization, &session.user).await?;
        let credential = Credential::Session { id: session_id(&hash) };
        Ok(stored(user, credential, Some(session.expires_at)))
    }

    pub(super) async fn by_key(&self, token: &str, now: Timestamp) -> Result<Principal, Fault> {
        let key = self.key(keys::hash(token), now).await?;
        let user = self.user(&key.organization, &key.user).await?;
        Ok(stored(user, Credential::ApiKey { id: key.id.to_string() }, key.expires_at))
    }

    /// A verified token creates its user, and its organization where that is allowed.
    pub(super) async fn by_claims(&self, claims: Claims, now: Timestamp) -> Result<Principal, Fault> {
        let credential = Credential::Jwt { id: claims.token_id, issued_at: claims.issued_at };
        self.by_person(claims.person, credential, Some(claims.expires_at), now).await
    }

    /// So does a session of another application.
    pub(super) async fn by_foreign(
        &self,
        foreign: &Foreign,
        shown: Shown,
        chosen: Option<&str>,
    ) -> Result<Principal, Fault> {
        let (key, person) = foreign.who(shown, chosen, &self.outward).await?;
        let credential = Credential::Foreign { id: session_id(&key) };
        self.by_person(person, credential, None, SystemSource.now()).await
    }

    /// What the other application says of the session now.
    pub(super) async fn renew_foreign(&self, principal: &Principal, id: &str) -> Result<Principal, Fault> {
        let (Some(foreign), Some(key)) = (&self.foreign, session_hash(id)) else {
            return Err(Fault::plain(Code::Unauthorized));
        };
        let person = foreign.again(key, principal.organization.as_str(), &self.outward).await?;
        if person.user != principal.user {
            return Err(Fault::new(Code::Unauthorized, "the session is another user's now"));
        }
        self.by_person(person, principal.credential.clone(), None, SystemSource.now()).await
    }

    async fn by_person(
        &self,
        person: Person,
        credential: Credential,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Principal, Fault> {
        let key = (person.organization.clone(), person.user.clone());
        let user = match self.users.get(&key) {
            Some(user) => user,
            None => {
                let asked = self.users.asking();
                let user = self.known_or_new(&person, now).await?;
                self.users.put(asked, key, user.clone());
                user
            }
        };
        self.admitted(&user).await?;
        self.token_counts(&user, &credential).await?;
        Ok(Principal {
            organization: person.organization,
            user: person.user,
            role: if user.managed { user.role } else { person.role },
            hub_admin: user.managed && user.hub_admin && person.may_be_hub_admin,
            permissions: person.permissions,
            credential,
            expires_at,
        })
    }

    async fn known_or_new(&self, person: &Person, now: Timestamp) -> Result<User, Fault> {
        let (organization, user) = (&person.organization, &person.user);
        if let Some(known) = self.store.user(organization, user).await.map_err(fault_of)? {
            return Ok(known);
        }
        if self.store.organization(organization).await.map_err(fault_of)?.is_none() {
            if !person.may_create_organization {
                return Err(Fault::forbidden("the token's organization does not exist here"));
            }
            first_start::ensure_organization(&self.store, organization, now).await?;
        }
        let fresh = User::new(organization.clone(), user.clone(), person.role, now);
        self.store.ensure_user(fresh).await.map_err(fault_of)
    }

    /// The row of a user who must exist and may come in.
    pub(super) async fn user(&self, organization: &OrganizationId, user: &UserId) -> Result<User, Fault> {
        let key = (organization.clone(), user.clone());
        let known = match self.users.get(&key) {
            Some(known) => known,
            None => {
                let asked = self.users.asking();
                let found = self.store.user(organization, user).await.map_err(fault_of)?;
                let found = found.ok_or_else(|| Fault::new(Code::Unauthorized, "the user does not exist any more"))?;
                self.users.put(asked, key, found.clone());
                found
            }
        };
        self.admitted(&known).await?;
        Ok(known)
    }

    pub(super) async fn session(&self, hash: [u8; 32], now: Timestamp) -> Result<HubSession, Fault> {
        let session = match self.sessions.get(&hash) {
            Some(session) => session,
            None => {
                let asked = self.sessions.asking();
                let found = self.store.session_by_hash(hash).await.map_err(fault_of)?;
                let found = found.ok_or_else(|| Fault::new(Code::Unauthorized, "the session is not known"))?;
                self.sessions.put(asked, hash, found.clone());
                found
            }
        };
        alive("session", session.revoked_at, Some(session.expires_at), now)?;
        Ok(session)
    }

    pub(super) async fn key(&self, hash: [u8; 32], now: Timestamp) -> Result<ApiKey, Fault> {
        let key = match self.keys.get(&hash) {
            Some(key) => key,
            None => {
                let asked = self.keys.asking();
                let found = self.store.api_key_by_hash(hash).await.map_err(fault_of)?;
                let found = found.ok_or_else(|| Fault::new(Code::Unauthorized, "the API key is not known"))?;
                self.key_hashes.insert(found.id.to_string(), hash);
                self.keys.put(asked, hash, found.clone());
                found
            }
        };
        alive("API key", key.revoked_at, key.expires_at, now)?;
        Ok(key)
    }
}

fn alive(what: &str, revoked: Option<Timestamp>, expires: Option<Timestamp>, now: Timestamp) -> Result<(), Fault> {
    if revoked.is_some() {
        return Err(Fault::new(Code::Unauthorized, format!("the {what} was revoked")));
    }
    if expires.is_some_and(|end| end <= now) {
        return Err(Fault::new(Code::Unauthorized, format!("the {what} has expired")));
    }
    Ok(())
}

/// Who is known by a row: the stored role counts.
fn stored(user: User, credential: Credential, expires_at: Option<Timestamp>) -> Principal {
    Principal {
        organization: user.organization,
        user: user.id,
        role: user.role,
        hub_admin: user.managed && user.hub_admin,
        permissions: Vec::new(),
        credential,
        expires_at,
    }
}

/// The session's name in principals and logs: the hash in hexadecimal, from which nobody gets the cookie.
pub(super) fn session_id(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of the session of a browser that a token signed in: made from what names the token, so that a socket that
/// was opened with it finds it too.
pub(super) fn token_session(organization: &OrganizationId, user: &UserId, credential: &Credential) -> [u8; 32] {
    keys::hash(&format!("token\n{organization}\n{user}\n{}", credential.store()))
}

/// The session that a credential is, or that a browser has by it.
pub(super) fn session_of(principal: &Principal) -> Option<[u8; 32]> {
    match &principal.credential {
        Credential::Session { id } => session_hash(id),
        token @ Credential::Jwt { .. } => Some(token_session(&principal.organization, &principal.user, token)),
        _ => None,
    }
}

pub(super) fn session_hash(id: &str) -> Option<[u8; 32]> {
    let mut hash = [0u8; 32];
    if id.len() != 64 || !id.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_name_leads_back_to_its_hash() {
        let hash = keys::hash("sbs_x");
        assert_eq!(session_hash(&session_id(&hash)), Some(hash));
        assert_eq!(session_hash("zz"), None);
        assert_eq!(session_hash(&"z".repeat(64)), None);
    }
}
