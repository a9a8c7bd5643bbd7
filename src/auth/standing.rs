//! Whether somebody still comes in: users and organizations that were shut out, credentials that were taken back; and
//! the credentials that are more than a row of their own kind: devices and tickets.

use secrecy::SecretString;

use super::*;
use crate::domain::ids::KeyId;

/// Characters of a device's token: 32 bytes in base64url.
const DEVICE_TOKEN: usize = 43;

fn refused(sentence: &str) -> Fault {
    Fault::new(Code::Unauthorized, sentence)
}

/// What a JWT says of itself.
pub(super) struct TokenRead {
    pub id: String,
    pub user: UserId,
    pub expires_at: Timestamp,
}

/// Whether a text is built like a device's token. No other credential is: keys and sessions have a prefix, JWTs dots.
pub(super) fn is_device_token(token: &str) -> bool {
    token.len() == DEVICE_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Authenticator {
    /// Refuses users who are disabled, by themselves or with their organization.
    pub(super) async fn admitted(&self, user: &User) -> Result<(), Fault> {
        if user.disabled_at.is_some() {
            return Err(refused("the user is disabled"));
        }
        let id = &user.organization;
        let disabled = match self.organizations.get(id) {
            Some(disabled) => disabled,
            None => {
                let asked = self.organizations.asking();
                let found = self.store.organization(id).await.map_err(fault_of)?;
                let disabled = found.is_none_or(|organization| organization.disabled_at.is_some());
                self.organizations.put(asked, id.clone(), disabled);
                disabled
            }
        };
        if disabled { Err(refused("the organization is disabled")) } else { Ok(()) }
    }

    /// Refuses JWTs that were revoked one by one, or with all that their user had before some moment.
    pub(super) async fn token_counts(&self, user: &User, credential: &Credential) -> Result<(), Fault> {
        let Credential::Jwt { id, issued_at } = credential else { return Ok(()) };
        if user.tokens_from.0 > 0 && issued_at.is_none_or(|issued| issued < user.tokens_from) {
            return Err(refused("the user was signed out everywhere since the token was issued"));
        }
        let key = (user.organization.clone(), credential.store());
        let revoked = match self.revoked.get(&key) {
            Some(revoked) => revoked,
            None => {
                let asked = self.revoked.asking();
                let session = sign_in::token_session(&user.organization, &user.id, credential);
                let revoked = self.store.is_token_revoked(&key.0, id.as_deref(), session).await.map_err(fault_of)?;
                self.revoked.put(asked, key, revoked);
                revoked
            }
        };
        if revoked { Err(refused("the token was revoked")) } else { Ok(()) }
    }

    /// Nothing where no device has this token: it may be somebody else's.
    pub(super) async fn by_device(&self, token: &str, now: Timestamp) -> Result<Option<Principal>, Fault> {
        let hash = keys::hash(token);
        let device = match self.devices.get(&hash) {
            Some(device) => device,
            None => {
                let asked = self.devices.asking();
                let found = self.store.device_by_hash(hash).await.map_err(fault_of)?;
                let Some(found) = found else { return Ok(None) };
                self.devices.put(asked, hash, found.clone());
                // A note for people; whoever comes in does not wait for a store that is slow to take it.
                if found.revoked_at.is_none()
                    && let Err(fault) = self.store.touch_device(&found, now).await
                {
                    tracing::debug!(%fault, "a device's visit was not noted");
                }
                found
            }
        };
        let user = self.user(&device.organization, &device.user).await?;
        as_device(&user, &device).map(Some)
    }

    /// The principal of a device, as it is now.
    pub(super) async fn renew_device(&self, organization: &OrganizationId, id: &str) -> Result<Principal, Fault> {
        let unknown = || refused("the device is not known");
        let id = DeviceId::parse(id).map_err(|_| unknown())?;
        let key = (organization.clone(), id);
        let device = match self.devices_by_id.get(&key) {
            Some(device) => device,
            None => {
                let asked = self.devices_by_id.asking();
                let found = self.store.device(organization, id).await.map_err(fault_of)?.ok_or_else(unknown)?;
                self.devices_by_id.put(asked, key, found.clone());
                found
            }
        };
        let user = self.user(&device.organization, &device.user).await?;
        as_device(&user, &device)
    }

    /// The hash of an API key by its id, also of one that this process has not seen yet.
    pub(super) async fn key_hash(&self, organization: &OrganizationId, id: &str) -> Result<[u8; 32], Fault> {
        if let Some(hash) = self.key_hashes.get(id).map(|hash| *hash) {
            return Ok(hash);
        }
        let unknown = || refused("the API key is not known");
        let key = KeyId::parse(id).map_err(|_| unknown())?;
        let found = self.store.api_key(organization, key).await.map_err(fault_of)?.ok_or_else(unknown)?;
        self.key_hashes.insert(id.to_owned(), found.hash);
        Ok(found.hash)
    }

    /// Uses a ticket up. Whatever is wrong with how it is used, it is gone.
    pub(super) async fn by_ticket(&self, head: &Head<'_>, ticket: &str, route: Route) -> Result<Principal, Fault> {
        let taken = self.store.take_ticket(keys::hash(ticket), SystemSource.now()).await.map_err(fault_of)?;
        let ticket = taken.ok_or_else(|| refused("the ticket is not known, was used, or is too old"))?;
        if ticket.route != head.path {
            return Err(refused("the ticket is for another address"));
        }
        let origin = head.header(actix_web::http::header::ORIGIN);
        if ticket.origin.as_deref().is_some_and(|bound| origin != Some(bound)) {
            return Err(refused("the ticket is for another origin"));
        }
        // It stands in an address, which any page can have a browser send: such a request may look, and no more.
        if route == Route::Rest && !head.method.is_safe() {
            return Err(refused("a ticket only reads"));
        }
        self.renew(&ticket.principal).await
    }

    /// What a JWT that counts says of itself, if it is one of this organization.
    pub(super) async fn read_token(&self, token: &str, organization: &OrganizationId) -> Result<TokenRead, Fault> {
        let token: SecretString = token.into();
        let now = SystemSource.now();
        let claims = self.claims(token.expose_secret(), None, now).await?;
        if claims.person.organization != *organization {
            return Err(Fault::not_found("token"));
        }
        let id = claims.token_id.ok_or_else(|| Fault::field("token", "has no id (jti): sign its user out instead"))?;
        Ok(TokenRead { id, user: claims.person.user, expires_at: claims.expires_at })
    }
}

/// A device acts as its user, with what both the user has now and had when it was paired.
fn as_device(user: &User, device: &Device) -> Result<Principal, Fault> {
    if device.revoked_at.is_some() {
        return Err(refused("the device was removed"));
    }
    Ok(Principal {
        organization: device.organization.clone(),
        user: device.user.clone(),
        role: user.role.min(device.role),
        hub_admin: false,
        permissions: Vec::new(),
        credential: Credential::Device { id: device.id.to_string() },
        expires_at: None,
    })
}
