//! Taking back a single JWT.

use serde_json::json;

use super::act::Act;
use super::users::may_touch;
use super::{Accounts, Caller, fault_of, rank};
use crate::domain::account::{RevokedToken, User};
use crate::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use crate::domain::policy::Operation;
use crate::domain::principal::{Principal, Role};
use crate::error::{Code, Fault};

/// The longest a token of the hub counts, milliseconds: ten years.
const LONGEST_LIFE: i64 = 3650 * 86_400_000;

/// Which token is meant.
pub enum WhichToken {
    /// Its `jti`: for owners, see [`Accounts::revoke_token`].
    Id(String),
    /// The whole of it.
    Token(String),
}

impl Accounts {
    /// Writes down that a token is about to be made for a user. Only the command line makes tokens.
    pub async fn record_token(&self, caller: &Caller, user: &User, ttl_seconds: i64) -> Result<(), Fault> {
        let act = Act::new(caller, Operation::AdminTokenCreate).within(&user.organization).on(&user.id);
        let act = act.with(json!({ "role": user.role.name(), "hubAdmin": user.hub_admin, "seconds": ttl_seconds }));
        self.allowed(&act).await?;
        self.write_down(&act).await
    }

    /// The token is refused from now on. One that does not count anyway is left alone.
    ///
    /// # Errors
    /// `forbidden` where the token's user stands above the caller; by name for everybody but owners, and for owners too
    /// where users of their organization administer the hub.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        which: WhichToken,
    ) -> Result<(), Fault> {
        let now = SystemSource.now();
        let act = Act::new(caller, Operation::AdminTokenRevoke).within(organization);
        let (id, user, expires_at) = match which {
            WhichToken::Id(id) if id.is_empty() || id.len() > 200 => {
                return Err(Fault::field("tokenId", "must be 1 to 200 bytes"));
            }
            WhichToken::Id(id) => (id, None, now.plus_millis(LONGEST_LIFE)),
            WhichToken::Token(token) => {
                let auth = self.auth.as_ref().ok_or_else(|| Fault::internal("nobody here reads tokens"))?;
                let read = auth.read_token(&token, organization).await;
                let read = self.judged(&act, read.map_err(|fault| unreadable(&fault))).await?;
                (read.id, Some(read.user), read.expires_at)
            }
        };
        let act = act.on(&id).with(json!({ "user": user.as_ref().map(UserId::as_str) }));
        self.allowed(&act).await?;
        match &user {
            None => {
                let above = self.store.has_hub_admin(organization).await.map_err(fault_of)?;
                self.judged(&act, may_name(&caller.principal, above)).await?;
            }
            Some(user) => {
                if let Ok(known) = self.known_user(organization, user).await {
                    self.judged(&act, may_touch(&caller.principal, &known)).await?;
                }
            }
        }
        self.write_down(&act).await?;
        let revoked = RevokedToken { organization: organization.clone(), token: id, expires_at };
        let effect = self.store.revoke_token(revoked, user.as_ref(), now).await;
        self.done(&act, effect).await?;
        self.changed(organization, user.as_ref());
        Ok(())
    }
}

/// Whose token a name belongs to is not known here, and names stand in the audit log: only those whom nobody stands
/// above take a token back by its name alone. `above`: one of that organization's users administers the hub, and stands
/// above its owners.
fn may_name(principal: &Principal, above: bool) -> Result<(), Fault> {
    match rank(principal) {
        Role::Owner if above && !principal.hub_admin => Err(Fault::forbidden(
            "tokenId: it may be the token of a user who administers the hub; show the token itself",
        )),
        Role::Owner => Ok(()),
        _ => Err(Fault::forbidden("tokenId: needs the role owner; show the token itself")),
    }
}

fn unreadable(fault: &Fault) -> Fault {
    if fault.code == Code::Unauthorized { Fault::field("token", &fault.message) } else { fault.clone() }
}
