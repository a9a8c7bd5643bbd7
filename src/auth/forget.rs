//! Somebody's rights changed: what is remembered of them is old.

use super::Authenticator;
use crate::domain::account::Change;
use crate::domain::ids::{OrganizationId, UserId};

impl Authenticator {
    /// Asks the store again, the next time, about everybody and every credential that the change names. An answer that
    /// is on its way at this moment is not remembered.
    pub fn forget(&self, change: &Change) {
        let named = |organization: &OrganizationId, user: &UserId| {
            *organization == change.organization && change.user.as_ref().is_none_or(|named| named == user)
        };
        self.users.forget_where(|(organization, user), _| named(organization, user));
        self.keys.forget_where(|_, key| named(&key.organization, &key.user));
        self.sessions.forget_where(|_, session| named(&session.organization, &session.user));
        self.devices.forget_where(|_, device| named(&device.organization, &device.user));
        self.devices_by_id.forget_where(|_, device| named(&device.organization, &device.user));
        // Whose token it is stands in the token alone.
        self.revoked.forget_where(|(organization, _), _| *organization == change.organization);
        self.organizations.forget(&change.organization);
    }
}
