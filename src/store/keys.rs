//! API keys, and the hub's own secrets. A key is kept as its hash, a secret as it is.

use diesel::prelude::*;

use super::changes::Whose;
use super::fault::{CommitFault, StoreFault};
use super::pages::{asked, page};
use super::rows::{hash, id, owned};
use super::schema::{api_key, secret};
use super::tickets::drop_tickets;
use super::{Store, insert_new, upsert};
use crate::domain::account::ApiKey;
use crate::domain::ids::{KeyId, OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::principal::Credential;
use crate::domain::record::Page;

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = api_key, primary_key(organization_id, id), treat_none_as_null = true)]
struct KeyRow {
    organization_id: String,
    id: String,
    user_id: String,
    name: String,
    hash: Vec<u8>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl From<&ApiKey> for KeyRow {
    fn from(k: &ApiKey) -> Self {
        Self {
            organization_id: k.organization.to_string(),
            id: k.id.to_string(),
            user_id: k.user.to_string(),
            name: owned(&k.name),
            hash: k.hash.to_vec(),
            created_at: k.created_at.0,
            expires_at: k.expires_at.map(|at| at.0),
            revoked_at: k.revoked_at.map(|at| at.0),
        }
    }
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = StoreFault;

    fn try_from(row: KeyRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&row.id, KeyId::parse)?,
            organization: id(&row.organization_id, OrganizationId::parse)?,
            user: id(&row.user_id, UserId::parse)?,
            name: row.name,
            hash: hash(row.hash)?,
            created_at: Timestamp(row.created_at),
            expires_at: row.expires_at.map(Timestamp),
            revoked_at: row.revoked_at.map(Timestamp),
        })
    }
}

impl Store {
    /// Writes the key, new or known. Its user must exist.
    pub async fn put_api_key(&self, key: ApiKey) -> Result<(), CommitFault> {
        let row = KeyRow::from(&key);
        let done = self.change(SystemSource.now(), move |c| {
            upsert!(c, api_key::table, (api_key::organization_id, api_key::id), &row)?;
            Ok(Some(((), Whose { organization: row.organization_id, user: Some(row.user_id) })))
        });
        done.await.map(drop)
    }

    /// The key, also where it is revoked or expired: that is for the caller to judge.
    pub async fn api_key_by_hash(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreFault> {
        self.read(move |c| {
            let row: Option<KeyRow> = api_key::table
                .filter(api_key::hash.eq(hash.to_vec()))
                .select(KeyRow::as_select())
                .first(c)
                .optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// The key, also where it is revoked or expired.
    pub async fn api_key(&self, organization: &OrganizationId, key: KeyId) -> Result<Option<ApiKey>, StoreFault> {
        let wanted = (organization.to_string(), key.to_string());
        self.read(move |c| {
            let row: Option<KeyRow> = api_key::table.find(wanted).select(KeyRow::as_select()).first(c).optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// Keys of an organization, or of one of its users, oldest first.
    pub async fn api_keys(
        &self,
        organization: &OrganizationId,
        user: Option<&UserId>,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Page<ApiKey, KeyId>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.map(ToString::to_string));
        self.read(move |c| {
            let mut query = api_key::table
                .filter(api_key::organization_id.eq(organization))
                .select(KeyRow::as_select())
                .into_boxed();
            if let Some(user) = user {
                query = query.filter(api_key::user_id.eq(user));
            }
            if let Some(after) = after {
                query = query.filter(api_key::id.gt(after.to_string()));
            }
            let rows: Vec<KeyRow> = query.order(api_key::id).limit(asked(limit)).load(c)?;
            page(rows, limit, |k: &ApiKey| k.id)
        })
        .await
    }

    /// The revoked key; tickets made with it are gone. `None` where the organization has no such key, or it was revoked before.
    pub async fn revoke_api_key(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        now: Timestamp,
    ) -> Result<Option<ApiKey>, CommitFault> {
        let organization = organization.to_string();
        let row = self.change(now, move |c| {
            let of = api_key::table.find((organization.clone(), key.to_string()));
            let live = of.clone().filter(api_key::revoked_at.is_null());
            if diesel::update(live).set(api_key::revoked_at.eq(now.0)).execute(c)? == 0 {
                return Ok(None);
            }
            let row: KeyRow = of.select(KeyRow::as_select()).first(c)?;
            let made_with = Credential::ApiKey { id: row.id.clone() };
            drop_tickets(c, &organization, &row.user_id, Some(&made_with))?;
            let whose = Whose { organization, user: Some(row.user_id.clone()) };
            Ok(Some((row, whose)))
        });
        Ok(row.await?.map(TryInto::try_into).transpose()?)
    }

    /// The hub's own key of that name: the stored one, or `fresh` if there is none yet. All callers get the same.
    pub async fn secret(&self, name: &str, fresh: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, CommitFault> {
        let name = name.to_owned();
        self.write(move |c| {
            let row = (secret::name.eq(name.clone()), secret::value.eq(fresh), secret::created_at.eq(now.0));
            insert_new!(c, secret::table, row)?;
            Ok(secret::table.find(name).select(secret::value).first(c)?)
        })
        .await
    }
}
