//! Somebody's rights changed: what is remembered of them is old.

use super::Authenticator;
use crate::domain::account::Change;
use crate::domain::ids::{OrganizationId, UserId};

impl Authenticator {
    /// Asks the store again, the next time, about everybody and every credential that the change names.
    pub fn forget(&self, change: &Change) {
        let named = |organization: &OrganizationId, user: &UserId| {
            *organization == change.organization && change.user.as_ref().is_none_or(|named| named == user)
        };
        match &change.user {
            Some(user) => self.forget_user(&change.organization, user),
            None => self.users.forget_where(|user| named(&user.organization, &user.id)),
        }
        self.keys.forget_where(|key| named(&key.organization, &key.user));
        self.sessions.forget_where(|session| named(&session.organization, &session.user));
    }
}
