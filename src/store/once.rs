//! Keys of requests whose effect is no row of a conversation: taken before the effect, answered after it.

use diesel::prelude::*;

use super::Store;
use super::apply::claim;
use super::fault::CommitFault;
use super::rows::owned;
use super::schema::idempotency;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::record::Idempotency;

impl Store {
    /// Takes a key for a request that begins now.
    ///
    /// # Errors
    /// `IdempotencyTaken` where it has an owner, with what is kept of that one.
    pub async fn take_key(
        &self,
        organization: &OrganizationId,
        key: Idempotency,
        at: Timestamp,
    ) -> Result<(), CommitFault> {
        let organization = organization.to_string();
        self.write(move |c| claim(c, &organization, "", at.0, &key)).await
    }

    /// Keeps what was answered to the request that took the key; without an answer the key is free again.
    pub async fn settle_key(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        key: &str,
        answer: Option<&str>,
    ) -> Result<(), CommitFault> {
        let place = (organization.to_string(), user.to_string(), owned(key));
        let answer = answer.map(owned);
        self.write(move |c| {
            let row = idempotency::table.find(place);
            match answer {
                Some(answer) => diesel::update(row).set(idempotency::answer.eq(answer)).execute(c),
                None => diesel::delete(row).execute(c),
            }?;
            Ok(())
        })
        .await
    }
}
