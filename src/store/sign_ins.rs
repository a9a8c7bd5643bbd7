//! Browsers: links that sign a user in once, and sessions.

use diesel::prelude::*;

use super::changes::Whose;
use super::fault::{CommitFault, StoreFault};
use super::rows::{hash, id};
use super::schema::{hub_session, sign_in_link};
use super::{Store, insert_new};
use crate::domain::account::{HubSession, SignInLink};
use crate::domain::ids::{OrganizationId, Timestamp, UserId};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = hub_session)]
struct SessionRow {
    hash: Vec<u8>,
    organization_id: String,
    user_id: String,
    created_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<SessionRow> for HubSession {
    type Error = StoreFault;

    fn try_from(row: SessionRow) -> Result<Self, StoreFault> {
        Ok(Self {
            hash: hash(row.hash)?,
            organization: id(&row.organization_id, OrganizationId::parse)?,
            user: id(&row.user_id, UserId::parse)?,
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
            revoked_at: row.revoked_at.map(Timestamp),
        })
    }
}

impl Store {
    /// Whether a browser ever signed in as this user, also where that session has ended since.
    pub async fn has_signed_in(&self, organization: &OrganizationId, user: &UserId) -> Result<bool, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| {
            let theirs = hub_session::table
                .filter(hub_session::organization_id.eq(organization))
                .filter(hub_session::user_id.eq(user));
            Ok(theirs.count().get_result::<i64>(c)? > 0)
        })
        .await
    }

    pub async fn put_sign_in_link(&self, link: SignInLink) -> Result<(), CommitFault> {
        self.write(move |c| {
            diesel::insert_into(sign_in_link::table)
                .values((
                    sign_in_link::hash.eq(link.hash.to_vec()),
                    sign_in_link::organization_id.eq(link.organization.to_string()),
                    sign_in_link::user_id.eq(link.user.to_string()),
                    sign_in_link::created_at.eq(link.created_at.0),
                    sign_in_link::expires_at.eq(link.expires_at.0),
                ))
                .execute(c)?;
            Ok(())
        })
        .await
    }

    /// Uses the link up. `None` where it is unknown, expired or used.
    pub async fn use_sign_in_link(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<(OrganizationId, UserId)>, CommitFault> {
        let used: Option<(String, String)> = self
            .write(move |c| {
                let fresh = sign_in_link::table
                    .find(hash.to_vec())
                    .filter(sign_in_link::used_at.is_null())
                    .filter(sign_in_link::expires_at.gt(now.0));
                if diesel::update(fresh).set(sign_in_link::used_at.eq(now.0)).execute(c)? == 0 {
                    return Ok(None);
                }
                let whose = (sign_in_link::organization_id, sign_in_link::user_id);
                Ok(Some(sign_in_link::table.find(hash.to_vec()).select(whose).first(c)?))
            })
            .await?;
        let Some((organization, user)) = used else { return Ok(None) };
        Ok(Some((id(&organization, OrganizationId::parse)?, id(&user, UserId::parse)?)))
    }

    /// A new session. One that is known already stays as it is: what has ended does not begin again.
    pub async fn put_session(&self, session: HubSession) -> Result<(), CommitFault> {
        let row = SessionRow {
            hash: session.hash.to_vec(),
            organization_id: session.organization.to_string(),
            user_id: session.user.to_string(),
            created_at: session.created_at.0,
            expires_at: session.expires_at.0,
            revoked_at: session.revoked_at.map(|at| at.0),
        };
        self.write(move |c| Ok(insert_new!(c, hub_session::table, &row).map(drop)?)).await
    }

    /// The session, also where it is revoked or expired: that is for the caller to judge.
    pub async fn session_by_hash(&self, hash: [u8; 32]) -> Result<Option<HubSession>, StoreFault> {
        self.read(move |c| {
            let row: Option<SessionRow> =
                hub_session::table.find(hash.to_vec()).select(SessionRow::as_select()).first(c).optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// `false` where there is no such session, or it was revoked before.
    pub async fn revoke_session(&self, hash: [u8; 32], now: Timestamp) -> Result<bool, CommitFault> {
        let revoked = self.change(now, move |c| {
            let of = hub_session::table.find(hash.to_vec());
            let live = of.clone().filter(hub_session::revoked_at.is_null());
            if diesel::update(live).set(hub_session::revoked_at.eq(now.0)).execute(c)? == 0 {
                return Ok(None);
            }
            let (organization, user) = of.select((hub_session::organization_id, hub_session::user_id)).first(c)?;
            Ok(Some(((), Whose { organization, user: Some(user) })))
        });
        Ok(revoked.await?.is_some())
    }

    /// Ends all sessions of a user, but the one whose hash is `keep`. Gives how many.
    pub async fn revoke_sessions(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        keep: Option<[u8; 32]>,
        now: Timestamp,
    ) -> Result<usize, CommitFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        let revoked = self.change(now, move |c| {
            let live = hub_session::table
                .filter(hub_session::organization_id.eq(organization.clone()))
                .filter(hub_session::user_id.eq(user.clone()))
                .filter(hub_session::revoked_at.is_null())
                // No hash is empty.
                .filter(hub_session::hash.ne(keep.map_or_else(Vec::new, Vec::from)));
            let ended = diesel::update(live).set(hub_session::revoked_at.eq(now.0)).execute(c)?;
            Ok((ended > 0).then_some((ended, Whose { organization, user: Some(user) })))
        });
        Ok(revoked.await?.unwrap_or(0))
    }
}
