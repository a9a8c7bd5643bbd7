//! Users of an organization: their roles, whether they come in, and how they are thrown out everywhere.

use secrecy::SecretString;
use serde_json::json;

use super::act::Act;
use super::{Accounts, Caller, PageRequest, fault_of, name_cursor, name_of_cursor, rank};
use crate::auth::password;
use crate::domain::account::User;
use crate::domain::command::Page;
use crate::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use crate::domain::policy::{self, Operation};
use crate::domain::principal::{Principal, Role};
use crate::error::Fault;
use crate::store::UserQuery;

/// A user to be made, managed by the hub from the start.
pub struct NewUser {
    pub id: UserId,
    pub role: Role,
    pub hub_admin: bool,
    pub password: Option<SecretString>,
}

/// What is to be changed; what is absent stays.
#[derive(Default)]
pub struct UserChange {
    /// The stored role counts from now on, whatever a foreign token claims.
    pub role: Option<Role>,
    pub hub_admin: Option<bool>,
    pub disabled: Option<bool>,
    /// A new password, or none any more. Browsers that are signed in, by whatever means, are signed out.
    pub password: Option<Option<SecretString>>,
    /// Ends the user's browser sessions, tickets, and all tokens issued so far. Keys and devices stay.
    pub sign_out: bool,
}

impl UserChange {
    fn is_empty(&self) -> bool {
        self.role.is_none()
            && self.hub_admin.is_none()
            && self.disabled.is_none()
            && self.password.is_none()
            && !self.sign_out
    }

    /// Its row in the table of rules.
    fn operation(&self) -> Operation {
        if self.disabled.is_some() { Operation::AdminUserDisable } else { Operation::AdminUserUpdate }
    }

    fn details(&self, known: &User) -> serde_json::Value {
        let mut details = json!({});
        if let Some(role) = self.role {
            details["role"] = json!({ "from": known.role.name(), "to": role.name() });
        }
        if let Some(hub_admin) = self.hub_admin {
            details["hubAdmin"] = json!({ "from": known.hub_admin, "to": hub_admin });
        }
        if let Some(disabled) = self.disabled {
            details["disabled"] = json!({ "from": known.disabled_at.is_some(), "to": disabled });
        }
        if let Some(password) = &self.password {
            details["password"] = json!(if password.is_some() { "set" } else { "removed" });
        }
        if self.sign_out {
            details["signOut"] = json!(true);
        }
        details
    }
}

/// Nobody changes who stands above, or gives what they do not have.
fn may_change(principal: &Principal, known: &User, change: &UserChange) -> Result<(), Fault> {
    may_touch(principal, known)?;
    may_give(principal, change.role, change.hub_admin)
}

/// Whether this user's things are the caller's to administer.
pub(super) fn may_touch(principal: &Principal, known: &User) -> Result<(), Fault> {
    if known.hub_admin && !principal.hub_admin {
        return Err(Fault::forbidden("this user administers the hub: only another one who does may do this"));
    }
    if known.role > rank(principal) {
        return Err(Fault::forbidden("this user's role is above your own"));
    }
    Ok(())
}

fn may_give(principal: &Principal, role: Option<Role>, hub_admin: Option<bool>) -> Result<(), Fault> {
    if role.is_some_and(|role| role > rank(principal)) {
        return Err(Fault::forbidden("role: above your own"));
    }
    if hub_admin.is_some() && !principal.hub_admin {
        return Err(Fault::forbidden("hubAdmin: only who administers the hub may give or take it"));
    }
    Ok(())
}

impl Accounts {
    /// `text`: only those whose id holds it; case does not count.
    pub async fn users(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        text: Option<String>,
        page: &PageRequest,
    ) -> Result<Page<User>, Fault> {
        policy::allow(&caller.principal, Operation::AdminUserList)?;
        let after = page.after(|cursor| UserId::parse(&name_of_cursor(cursor)?).ok())?;
        let query = UserQuery { text, after, limit: page.limit };
        let found = self.store.users(organization, query).await.map_err(fault_of)?;
        Ok(Page { items: found.items, next: found.next.map(|id| name_cursor(id.as_str())) })
    }

    /// `conflict` where there is one of that id; `forbidden` for a password given through anything but the sign-in of
    /// a person.
    pub async fn create_user(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        new: NewUser,
    ) -> Result<User, Fault> {
        if let Some(password) = &new.password {
            password::check(password)?;
        }
        let act = Act::new(caller, Operation::AdminUserCreate).within(organization).on(&new.id);
        let act = act.with(json!({ "role": new.role.name(), "hubAdmin": new.hub_admin }));
        self.allowed(&act).await?;
        let gives = may_give(&caller.principal, Some(new.role), new.hub_admin.then_some(true));
        self.judged(&act, gives).await?;
        if new.password.is_some() {
            self.judged(&act, policy::allow(&caller.principal, Operation::AdminPasswordSet)).await?;
        }
        let hash = match new.password {
            Some(password) => Some(self.passwords.hash(password).await?),
            None => None,
        };
        self.write_down(&act).await?;
        let now = SystemSource.now();
        let fresh = User::new(organization.clone(), new.id, new.role, now);
        let fresh = User { managed: true, hub_admin: new.hub_admin, ..fresh };
        let made = self.store.create_user(fresh.clone()).await;
        self.done(&act, made).await?;
        if hash.is_some() {
            let set = self.store.set_password(organization, &fresh.id, hash, now).await;
            self.done(&act, set).await?;
        }
        self.changed(organization, Some(&fresh.id));
        Ok(fresh)
    }

    /// `not_found` for whoever is not of that organization; `conflict` for its last owner; `forbidden` for a password
    /// set through anything but the sign-in of a person. Anybody who may change the user may take its password away.
    pub async fn update_user(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: &UserId,
        mut change: UserChange,
    ) -> Result<User, Fault> {
        if change.is_empty() {
            return Err(Fault::field(
                "role",
                "nothing is to be changed: name one of role, hubAdmin, disabled, password, signOut",
            ));
        }
        if let Some(Some(password)) = &change.password {
            password::check(password)?;
        }
        let act = Act::new(caller, change.operation()).within(organization).on(user);
        self.allowed(&act).await?;
        let known = self.known_user(organization, user).await;
        let known = self.judged(&act, known).await?;
        let act = act.with(change.details(&known));
        self.judged(&act, may_change(&caller.principal, &known, &change)).await?;
        if matches!(change.password, Some(Some(_))) {
            self.judged(&act, policy::allow(&caller.principal, Operation::AdminPasswordSet)).await?;
        }
        let hash = match change.password.take() {
            Some(Some(password)) => Some(Some(self.passwords.hash(password).await?)),
            Some(None) => Some(None),
            None => None,
        };
        self.write_down(&act).await?;
        let effect = self.carry_out(&known, &change, hash).await;
        // Also after half of it.
        self.changed(organization, Some(user));
        self.done(&act, effect).await?;
        self.known_user(organization, user).await
    }

    /// What takes rights away comes first.
    async fn carry_out(
        &self,
        known: &User,
        change: &UserChange,
        hash: Option<Option<String>>,
    ) -> Result<(), crate::store::CommitFault> {
        let (store, now) = (&self.store, SystemSource.now());
        let (organization, user) = (&known.organization, &known.id);
        if change.disabled == Some(true) {
            store.disable_user(organization, user, now).await?;
        }
        if let Some(role) = change.role {
            store.set_role(organization, user, role, now).await?;
        }
        if let Some(hub_admin) = change.hub_admin {
            store.set_hub_admin(organization, user, hub_admin, now).await?;
        }
        let new_password = hash.is_some();
        if let Some(hash) = hash {
            store.set_password(organization, user, hash, now).await?;
        }
        if change.sign_out {
            store.set_tokens_from(organization, user, now, now).await?;
            store.drop_tickets(organization, user, None).await?;
        }
        if change.sign_out || new_password {
            store.revoke_sessions(organization, user, None, now).await?;
        }
        if change.disabled == Some(false) {
            store.enable_user(organization, user, now).await?;
        }
        Ok(())
    }

    pub(super) async fn known_user(&self, organization: &OrganizationId, user: &UserId) -> Result<User, Fault> {
        let known = self.store.user(organization, user).await.map_err(fault_of)?;
        known.ok_or_else(|| Fault::not_found("user"))
    }
}
