//! Who may come in and how they prove it: organizations, users, credentials, and the record of their administration.
//! Of every secret only the SHA-256 is here.

use super::ids::{DeviceId, KeyId, OrganizationId, Timestamp, UserId};
use super::principal::{Credential, Principal, Role};

/// An organization, as a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub created_at: Timestamp,
    /// Since when nobody of it comes in.
    pub disabled_at: Option<Timestamp>,
}

/// A user of an organization, as a row. `managed`: the hub's own role counts, not a token's claim.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub organization: OrganizationId,
    pub id: UserId,
    pub role: Role,
    pub managed: bool,
    pub hub_admin: bool,
    pub created_at: Timestamp,
    /// Since when this user does not come in, by no credential.
    pub disabled_at: Option<Timestamp>,
    /// JWTs issued before are refused; 0 where there is no such limit.
    pub tokens_from: Timestamp,
}

impl User {
    /// Active, not `managed`, no administrator of the hub.
    pub fn new(organization: OrganizationId, id: UserId, role: Role, created_at: Timestamp) -> Self {
        let tokens_from = Timestamp(0);
        Self { organization, id, role, managed: false, hub_admin: false, created_at, disabled_at: None, tokens_from }
    }
}

/// An API key: only its hash is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub organization: OrganizationId,
    pub user: UserId,
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A link that signs a user in once. Only the hash of what it carries is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct SignInLink {
    /// SHA-256 of the link's secret.
    pub hash: [u8; 32],
    pub organization: OrganizationId,
    pub user: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A browser that is signed in. Only the hash of its cookie is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct HubSession {
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    pub organization: OrganizationId,
    pub user: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A paired device. It acts as its user, with at most the role it was paired with.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub id: DeviceId,
    pub organization: OrganizationId,
    pub user: UserId,
    pub name: String,
    /// The user's role when the code was made: an upper bound.
    pub role: Role,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub created_at: Timestamp,
    /// To the minute, about.
    pub last_seen_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A code that pairs one device, once.
#[derive(Debug, Clone, PartialEq)]
pub struct PairingCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    pub organization: OrganizationId,
    pub user: UserId,
    pub role: Role,
    pub device_name: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Stands for a principal on one route, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticket {
    /// SHA-256 of the ticket.
    pub hash: [u8; 32],
    /// Who asked for it, with the credential that asked.
    pub principal: Principal,
    pub route: String,
    /// The only Origin that may use it, where the request had one.
    pub origin: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// One JWT that is refused although it has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RevokedToken {
    pub organization: OrganizationId,
    /// The token's `jti`.
    pub token: String,
    /// When the token ends by itself, and this may be forgotten.
    pub expires_at: Timestamp,
}

/// Somebody's rights changed: what is remembered of them is old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rises in the order of the changes, over all processes of the hub; not gapless.
    pub n: u64,
    pub organization: OrganizationId,
    /// Absent: everybody of the organization.
    pub user: Option<UserId>,
}

/// One act of administration, or one refusal, as it is written down before it has an effect.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// Absent: the whole hub, or a stranger.
    pub organization: Option<OrganizationId>,
    pub actor: Option<UserId>,
    /// Absent for a stranger.
    pub credential: Option<Credential>,
    /// The operation's name.
    pub action: String,
    pub target: Option<String>,
    /// No secrets.
    pub details: serde_json::Value,
    /// Absent: allowed. `refused`: not.
    pub outcome: Option<String>,
    /// Address and door.
    pub origin: String,
    pub request_id: String,
}

/// An entry as it is read back: `n` rises with every entry, not gapless.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAudit {
    pub n: u64,
    pub entry: AuditEntry,
}
