//! Single JWTs that are refused although they have not ended.

use diesel::prelude::*;

use super::changes::Whose;
use super::fault::{CommitFault, StoreFault};
use super::rows::{id, owned};
use super::schema::{hub_session, revoked_token};
use super::{Store, upsert};
use crate::domain::account::RevokedToken;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};

impl Store {
    /// Refuses the token from now on. The organization must exist. `user`: whose token it is, where that is known.
    pub async fn revoke_token(
        &self,
        revoked: RevokedToken,
        user: Option<&UserId>,
        now: Timestamp,
    ) -> Result<(), CommitFault> {
        let user = user.map(ToString::to_string);
        let done = self.change(now, move |c| {
            let organization = revoked.organization.to_string();
            let end = revoked_token::expires_at.eq(revoked.expires_at.0);
            let row = (
                revoked_token::organization_id.eq(organization.clone()),
                revoked_token::token_id.eq(owned(&revoked.token)),
                end,
            );
            let key = (revoked_token::organization_id, revoked_token::token_id);
            upsert!(c, revoked_token::table, key, row, end)?;
            Ok(Some(((), Whose { organization, user })))
        });
        done.await.map(drop)
    }

    /// Whether a token was taken back: by its `jti`, where it has one, or with the browser that it signed in, whose
    /// session has this hash.
    pub async fn is_token_revoked(
        &self,
        organization: &OrganizationId,
        token: Option<&str>,
        session: [u8; 32],
    ) -> Result<bool, StoreFault> {
        let wanted = token.map(|token| (organization.to_string(), owned(token)));
        self.read(move |c| {
            if let Some(wanted) = wanted
                && revoked_token::table.find(wanted).count().get_result::<i64>(c)? > 0
            {
                return Ok(true);
            }
            let ended = hub_session::table.find(session.to_vec()).filter(hub_session::revoked_at.is_not_null());
            Ok(ended.count().get_result::<i64>(c)? > 0)
        })
        .await
    }

    /// Tokens of the whole hub that are revoked and have not ended by themselves.
    pub async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<RevokedToken>, StoreFault> {
        self.read(move |c| {
            let rows: Vec<(String, String, i64)> = revoked_token::table
                .filter(revoked_token::expires_at.gt(now.0))
                .select((revoked_token::organization_id, revoked_token::token_id, revoked_token::expires_at))
                .load(c)?;
            let revoked = |(organization, token, expires_at): (String, String, i64)| {
                let organization = id(&organization, OrganizationId::parse)?;
                Ok(RevokedToken { organization, token, expires_at: Timestamp(expires_at) })
            };
            rows.into_iter().map(revoked).collect()
        })
        .await
    }
}
