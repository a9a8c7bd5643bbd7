//! API keys: made for a user, shown once, revoked.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::act::Act;
use super::users::may_touch;
use super::{Accounts, Caller, PageRequest, display_name, fault_of};
use crate::auth::keys;
use crate::domain::account::ApiKey;
use crate::domain::command::Page;
use crate::domain::ids::{KeyId, OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::policy::{self, Operation};
use crate::error::Fault;

/// A key to be made.
pub struct NewKey {
    /// Whom it acts as.
    pub user: UserId,
    pub name: String,
    /// Absent: until it is revoked.
    pub expires_at: Option<Timestamp>,
}

impl Accounts {
    /// Keys of an organization, oldest first, or of one of its users; the revoked ones too.
    pub async fn keys(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: Option<&UserId>,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, Fault> {
        policy::allow(&caller.principal, Operation::AdminKeyList)?;
        let after = page.after(|cursor| KeyId::parse(cursor).ok())?;
        let found = self.store.api_keys(organization, user, after, page.limit).await.map_err(fault_of)?;
        Ok(Page { items: found.items, next: found.next.map(|id| id.to_string()) })
    }

    /// The key as a row, and the key itself: it is not kept and cannot be shown again.
    pub async fn create_key(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        new: NewKey,
    ) -> Result<(ApiKey, SecretString), Fault> {
        let name = display_name("name", &new.name)?;
        let now = SystemSource.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(Fault::field("expiresAt", "lies in the past"));
        }
        let id = KeyId::mint(&mut SystemSource);
        let act = Act::new(caller, Operation::AdminKeyCreate).within(organization).on(id);
        let expires_at = new.expires_at.map(Timestamp::to_rfc3339);
        let act = act.with(json!({ "user": new.user.as_str(), "name": name, "expiresAt": expires_at }));
        self.allowed(&act).await?;
        let user = self.known_user(organization, &new.user).await;
        let user = self.judged(&act, user).await?;
        self.judged(&act, may_touch(&caller.principal, &user)).await?;
        let secret = keys::generate(keys::API_KEY)?;
        let key = ApiKey {
            id,
            organization: organization.clone(),
            user: user.id,
            name,
            hash: keys::hash(secret.expose_secret()),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        self.write_down(&act).await?;
        let made = self.store.put_api_key(key.clone()).await;
        self.done(&act, made).await?;
        Ok((key, secret))
    }

    /// `not_found` where the organization has no such key; one that is revoked already stays so.
    pub async fn revoke_key(&self, caller: &Caller, organization: &OrganizationId, id: &str) -> Result<(), Fault> {
        let act = Act::new(caller, Operation::AdminKeyRevoke).within(organization).on(id);
        self.allowed(&act).await?;
        let unknown = || Fault::not_found("key");
        let known = match KeyId::parse(id) {
            Ok(id) => self.store.api_key(organization, id).await.map_err(fault_of)?.ok_or_else(unknown),
            Err(_) => Err(unknown()),
        };
        let key = self.judged(&act, known).await?;
        let act = act.with(json!({ "user": key.user.as_str(), "name": key.name }));
        let user = self.known_user(organization, &key.user).await?;
        self.judged(&act, may_touch(&caller.principal, &user)).await?;
        self.write_down(&act).await?;
        let revoked = self.store.revoke_api_key(organization, key.id, SystemSource.now()).await;
        self.done(&act, revoked).await?;
        self.changed(organization, Some(&key.user));
        Ok(())
    }
}
