//! One's own password.

use secrecy::SecretString;
use serde_json::json;

use super::act::Act;
use super::{Accounts, Caller, fault_of};
use crate::auth::{password, sign_in};
use crate::domain::ids::{Source, SystemSource};
use crate::domain::policy::Operation;
use crate::domain::principal::{Credential, Principal};
use crate::error::Fault;
use crate::store::CommitFault;

impl Accounts {
    /// Sets the caller's own password. `current` is the one until now, where there is one. The caller's other browsers
    /// are signed out, and its tickets are gone.
    ///
    /// # Errors
    /// `forbidden` where `current` is not right; for a first password through anything but a session of the hub, as it
    /// would outlive the credential that set it; and for the first password of a user whom another issuer vouches for,
    /// as it would outlive what that issuer says.
    pub async fn set_own_password(
        &self,
        caller: &Caller,
        current: Option<SecretString>,
        password: SecretString,
    ) -> Result<(), Fault> {
        password::check(&password)?;
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let act = Act::new(caller, Operation::SetPassword).on(user).with(json!({ "password": "set" }));
        self.allowed(&act).await?;
        let known = self.known_user(organization, user).await?;
        let kept = self.store.password(organization, user).await.map_err(fault_of)?;
        let verdict = match kept {
            None if known.managed && by_browser(&caller.principal) => Ok(()),
            None if known.managed => Err(Fault::forbidden(
                "a first password needs a signed-in browser: sign in with a link, or ask an admin",
            )),
            None => Err(Fault::forbidden("this user signs in elsewhere: its first password is an admin's to give")),
            Some(kept) => {
                let current = current.ok_or_else(|| Fault::field("current", "the password until now must be there"))?;
                let right = self.passwords.verify(current, Some(kept)).await?;
                if right { Ok(()) } else { Err(Fault::forbidden("current: not the password until now")) }
            }
        };
        self.judged(&act, verdict).await?;
        let hash = self.passwords.hash(password).await?;
        self.write_down(&act).await?;
        let effect = self.replace_own(caller, hash).await;
        // Also after half of it.
        self.changed(organization, Some(user));
        self.done(&act, effect).await
    }

    async fn replace_own(&self, caller: &Caller, hash: String) -> Result<(), CommitFault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let keep = sign_in::session_of(&caller.principal);
        let now = SystemSource.now();
        self.store.set_password(organization, user, Some(hash), now).await?;
        self.store.revoke_sessions(organization, user, keep, now).await?;
        self.store.drop_tickets(organization, user, None).await.map(drop)
    }
}

fn by_browser(principal: &Principal) -> bool {
    matches!(principal.credential, Credential::Session { .. })
}
