//! Credentials and rights, written into the hub's store from another process: this one.

use std::path::Path;

use switchboard::auth::keys;
use switchboard::domain::account::{ApiKey, Device, HubSession, Organization, RevokedToken, User};
use switchboard::domain::ids::{DeviceId, KeyId, OrganizationId, Source, SystemSource, UserId};
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
        let url = format!("sqlite:{}", folder.join("hub.db").display());
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

    /// Another role, or whether the user administers the hub.
    pub async fn role(&self, name: &str, org: &str, role: &str) {
        let role = Role::parse(role).expect("a role");
        let changed = self.0.set_role(&organization(org), &user(name), role, SystemSource.now()).await;
        changed.expect("it is written").expect("the user is there");
    }

    pub async fn hub_admin(&self, name: &str, org: &str) {
        self.administers(name, org, true).await;
    }

    pub async fn no_hub_admin(&self, name: &str, org: &str) {
        self.administers(name, org, false).await;
    }

    async fn administers(&self, name: &str, org: &str, whole_hub: bool) {
        let changed = self.0.set_hub_admin(&organization(org), &user(name), whole_hub, SystemSource.now()).await;
        changed.expect("it is written").expect("the user is there");
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
        self.session_for(name, org, 3_600_000).await
    }

    /// The same for so many milliseconds.
    pub async fn session_for(&self, name: &str, org: &str, millis: i64) -> String {
        let now = SystemSource.now();
        let cookie = format!("sbs_{}", KeyId::mint(&mut SystemSource));
        let row = HubSession {
            hash: keys::hash(&cookie),
            organization: organization(org),
            user: user(name),
            created_at: now,
            expires_at: now.plus_millis(millis),
            revoked_at: None,
        };
        self.0.put_session(row).await.expect("the session is written");
        cookie
    }

    /// A device's token and its id. It may what its user may.
    pub async fn device(&self, name: &str, org: &str) -> (String, DeviceId) {
        let id = DeviceId::mint(&mut SystemSource);
        // 43 characters, as every device's token has.
        let token = format!("{:a<43}", id.to_string());
        let row = Device {
            id,
            organization: organization(org),
            user: user(name),
            name: "of a test".into(),
            role: Role::Owner,
            hash: keys::hash(&token),
            created_at: SystemSource.now(),
            last_seen_at: None,
            revoked_at: None,
        };
        self.0.put_device(row).await.expect("the device is written");
        (token, id)
    }

    pub async fn revoke_device(&self, org: &str, id: DeviceId) {
        let revoked = self.0.revoke_device(&organization(org), id, SystemSource.now()).await;
        revoked.expect("the device is revoked").expect("it was there");
    }

    /// One JWT, by its `jti`.
    pub async fn revoke_token(&self, org: &str, name: &str, token: &str) {
        use base64::Engine;
        let claims = token.split('.').nth(1).expect("claims");
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("claims");
        let token = RevokedToken {
            organization: organization(org),
            token: claims["jti"].as_str().expect("a jti").into(),
            expires_at: SystemSource.now().plus_millis(3_600_000),
        };
        self.0.revoke_token(token, Some(&user(name)), SystemSource.now()).await.expect("the token is revoked");
    }

    pub async fn sign_out_everywhere(&self, org: &str, name: &str) {
        // Tokens are dated in whole seconds.
        let (now, from) = (SystemSource.now(), SystemSource.now().plus_millis(1000));
        let changed = self.0.set_tokens_from(&organization(org), &user(name), from, now).await;
        changed.expect("it is written").expect("the user is there");
    }

    pub async fn disable_user(&self, org: &str, name: &str) {
        let changed = self.0.disable_user(&organization(org), &user(name), SystemSource.now()).await;
        changed.expect("it is written").expect("the user is there");
    }

    pub async fn disable_organization(&self, org: &str) {
        let changed = self.0.disable_organization(&organization(org), SystemSource.now()).await;
        changed.expect("it is written").expect("the organization is there");
    }

    pub async fn revoke_key(&self, org: &str, id: KeyId) {
        let revoked = self.0.revoke_api_key(&organization(org), id, SystemSource.now()).await;
        revoked.expect("the key is revoked").expect("it was there");
    }
}
