//! Whether a user was ever here.

use diesel::prelude::*;

use super::schema::hub_session::dsl::{hub_session, organization_id, user_id};
use super::{Store, StoreFault};
use crate::domain::ids::{OrganizationId, UserId};

impl Store {
    /// Whether a browser ever signed in as this user, also where that session has ended since.
    pub async fn has_signed_in(&self, organization: &OrganizationId, user: &UserId) -> Result<bool, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| {
            let theirs = hub_session.filter(organization_id.eq(organization)).filter(user_id.eq(user));
            Ok(theirs.count().get_result::<i64>(c)? > 0)
        })
        .await
    }
}
