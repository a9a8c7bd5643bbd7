//! Credentials and rights, written into the hub's store from another process: this one.

use std::path::Path;

use switchboard::auth::keys;
use switchboard::domain::account::{ApiKey, HubSession, Organization, User};
use switchboard::domain::ids::{KeyId, OrganizationId, Source, SystemSource, UserId};
use switchboard::domain::principal::Role;
use switchboard::store::{Store, StoreSettings};

pub struct Identity(pub Store);

pub fn organization(name: &str) -> OrganizationId {
    OrganizationId::parse(name).expect("an organization")
}

pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user")
}

impl Identity {
    pub fn of(folder: &Path) -> Self {
        let url = format!("sqlite:{}", folder.join("hub.db").display()).into();
        Self(Store::open_shared(StoreSettings { url, pool: 1, boot: 1 }).expect("the store opens beside the hub"))
    }

    /// A user whose stored role counts.
    pub async fn user(&self, name: &str, org: &str, role: &str) {
        let now = SystemSource.now();
        let row = Organization { id: organization(org), name: org.into(), created_at: now, disabled_at: None };
        self.0.ensure_organization(row).await.expect("the organization is written");
        let role = Role::parse(role).expect("a role");
        let row = User { managed: true, ..User::new(organization(org), user(name), role, now) };
        self.0.put_user(row).await.expect("the user is written");
    }

    /// An API key and its id.
    pub async fn key(&self, name: &str, org: &str) -> (String, KeyId) {
        let id = KeyId::mint(&mut SystemSource);
        let key = format!("sb_{id}");
        let row = ApiKey {
            id,
            organization: organization(org),
            user: user(name),
            name: "of a test".into(),
            hash: keys::hash(&key),
            created_at: SystemSource.now(),
            expires_at: None,
            revoked_at: None,
        };
        self.0.put_api_key(row).await.expect("the key is written");
        (key, id)
    }

    /// A browser's session: the value of its cookie.
    pub async fn session(&self, name: &str, org: &str) -> String {
        let now = SystemSource.now();
        let cookie = format!("sbs_{}", KeyId::mint(&mut SystemSource));
        let row = HubSession {
            hash: keys::hash(&cookie),
            organization: organization(org),
            user: user(name),
            created_at: now,
            expires_at: now.plus_millis(3_600_000),
            revoked_at: None,
        };
        self.0.put_session(row).await.expect("the session is written");
        cookie
    }

    pub async fn revoke_key(&self, org: &str, id: KeyId) {
        let revoked = self.0.revoke_api_key(&organization(org), id, SystemSource.now()).await;
        revoked.expect("the key is revoked").expect("it was there");
    }
}
