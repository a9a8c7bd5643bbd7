//! How identities look over HTTP. No hash and no secret is among it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::account::{ApiKey, Device, Organization, StoredAudit, User};
use crate::domain::command::Page;
use crate::domain::ids::Timestamp;

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
#[serde(rename_all = "camelCase")]
pub struct ListView<T> {
    pub items: Vec<T>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> ListView<T> {
    pub fn of<S>(page: Page<S>) -> Self
    where
        T: for<'a> From<&'a S>,
    {
        Self { items: page.items.iter().map(T::from).collect(), next_cursor: page.next }
    }
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(Timestamp::to_rfc3339)
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationView {
    pub id: String,
    pub name: String,
    pub created_at: String,
    /// Since when nobody of it comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
}

impl From<&Organization> for OrganizationView {
    fn from(o: &Organization) -> Self {
        Self {
            id: o.id.to_string(),
            name: o.name.clone(),
            created_at: o.created_at.to_rfc3339(),
            disabled_at: time(o.disabled_at),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    pub organization: String,
    pub id: String,
    /// The stored role. It counts where `managed` is true; else the one that the user's token claims.
    pub role: String,
    pub managed: bool,
    pub hub_admin: bool,
    pub created_at: String,
    /// Since when this user does not come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
}

impl From<&User> for UserView {
    fn from(u: &User) -> Self {
        Self {
            organization: u.organization.to_string(),
            id: u.id.to_string(),
            role: u.role.name().into(),
            managed: u.managed,
            hub_admin: u.hub_admin,
            created_at: u.created_at.to_rfc3339(),
            disabled_at: time(u.disabled_at),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    pub id: String,
    /// Whom it acts as.
    pub user: String,
    pub name: String,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

impl From<&ApiKey> for KeyView {
    fn from(k: &ApiKey) -> Self {
        Self {
            id: k.id.to_string(),
            user: k.user.to_string(),
            name: k.name.clone(),
            created_at: k.created_at.to_rfc3339(),
            expires_at: time(k.expires_at),
            revoked_at: time(k.revoked_at),
        }
    }
}

/// A key that was just made.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyView {
    #[serde(flatten)]
    pub row: KeyView,
    /// The key itself. It is shown this once.
    pub key: String,
}

/// A device that was just made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewDeviceView {
    pub id: String,
    /// The device's own credential. It is shown this once.
    pub token: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    pub id: String,
    pub user: String,
    pub name: String,
    /// The user's role when the device was paired: it never has more.
    pub role: String,
    pub created_at: String,
    /// To the minute, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

impl From<&Device> for DeviceView {
    fn from(d: &Device) -> Self {
        Self {
            id: d.id.to_string(),
            user: d.user.to_string(),
            name: d.name.clone(),
            role: d.role.name().into(),
            created_at: d.created_at.to_rfc3339(),
            last_seen_at: time(d.last_seen_at),
            revoked_at: time(d.revoked_at),
        }
    }
}

/// How somebody proved who it was, in the audit log: never the proof.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CredentialView {
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Rises with every entry, with gaps.
    pub n: u64,
    pub at: String,
    /// Absent: it concerns the whole hub, or nobody knows whose it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialView>,
    /// The operation's name.
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub details: serde_json::Value,
    /// Absent: allowed, and begun after this was written. `refused`; `failed`: allowed, and it did not happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Address and door.
    pub origin: String,
    pub request_id: String,
}

impl From<&StoredAudit> for AuditView {
    fn from(stored: &StoredAudit) -> Self {
        let e = &stored.entry;
        let credential = e.credential.as_ref().map(|credential| CredentialView {
            kind: credential.name().into(),
            id: credential.id().map(str::to_owned),
        });
        Self {
            n: stored.n,
            at: e.at.to_rfc3339(),
            organization: e.organization.as_ref().map(ToString::to_string),
            actor: e.actor.as_ref().map(ToString::to_string),
            credential,
            action: e.action.clone(),
            target: e.target.clone(),
            details: e.details.clone(),
            outcome: e.outcome.clone(),
            origin: e.origin.clone(),
            request_id: e.request_id.clone(),
        }
    }
}
