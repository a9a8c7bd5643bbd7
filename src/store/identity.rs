//! Organizations, users and what proves who someone is. A secret is kept as its hash, except for the hub's own keys.

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::connection::AnyConnection;
use super::fault::{CommitFault, StoreFault};
use super::rows::{corrupt, id, owned, word};
use super::schema::{account, api_key, hub_session, organization, secret, sign_in_link};
use super::{Store, insert_new, upsert};
use crate::domain::ids::{KeyId, OrganizationId, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::domain::record::{ApiKey, HubSession, Organization, SignInLink, User};

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = organization)]
struct OrganizationRow {
    id: String,
    name: String,
    created_at: i64,
}

impl From<&Organization> for OrganizationRow {
    fn from(o: &Organization) -> Self {
        Self { id: o.id.to_string(), name: owned(&o.name), created_at: o.created_at.0 }
    }
}

impl TryFrom<OrganizationRow> for Organization {
    type Error = StoreFault;

    fn try_from(row: OrganizationRow) -> Result<Self, StoreFault> {
        let id = id(&row.id, OrganizationId::parse)?;
        Ok(Self { id, name: row.name, created_at: Timestamp(row.created_at) })
    }
}

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = account, primary_key(organization_id, id))]
struct UserRow {
    organization_id: String,
    id: String,
    role: String,
    managed: bool,
    hub_admin: bool,
    created_at: i64,
}

impl From<&User> for UserRow {
    fn from(u: &User) -> Self {
        Self {
            organization_id: u.organization.to_string(),
            id: u.id.to_string(),
            role: u.role.name().into(),
            managed: u.managed,
            hub_admin: u.hub_admin,
            created_at: u.created_at.0,
        }
    }
}

impl TryFrom<UserRow> for User {
    type Error = StoreFault;

    fn try_from(row: UserRow) -> Result<Self, StoreFault> {
        Ok(Self {
            organization: id(&row.organization_id, OrganizationId::parse)?,
            id: id(&row.id, UserId::parse)?,
            role: word("a role", &row.role, Role::parse)?,
            managed: row.managed,
            hub_admin: row.hub_admin,
            created_at: Timestamp(row.created_at),
        })
    }
}

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

fn hash(bytes: Vec<u8>) -> Result<[u8; 32], StoreFault> {
    bytes.try_into().map_err(|bytes: Vec<u8>| corrupt("the length of a hash", &bytes.len()))
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

#[derive(Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = hub_session, primary_key(hash), treat_none_as_null = true)]
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

/// How many there are in the whole hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub organizations: u64,
    pub users: u64,
}

fn user_row(c: &mut AnyConnection, organization: &str, user: &str) -> QueryResult<Option<UserRow>> {
    account::table.find((organization, user)).select(UserRow::as_select()).first(c).optional()
}

impl Store {
    /// Writes the organization, new or known.
    pub async fn put_organization(&self, organization: Organization) -> Result<(), CommitFault> {
        let row = OrganizationRow::from(&organization);
        self.write(move |c| Ok(upsert!(c, organization::table, organization::id, &row).map(drop)?)).await
    }

    /// Writes the organization if there is none of that id. Says whether it is new.
    pub async fn ensure_organization(&self, organization: Organization) -> Result<bool, CommitFault> {
        let row = OrganizationRow::from(&organization);
        self.write(move |c| Ok(insert_new!(c, organization::table, &row)? == 1)).await
    }

    pub async fn organization(&self, organization: &OrganizationId) -> Result<Option<Organization>, StoreFault> {
        let wanted = organization.to_string();
        self.read(move |c| {
            let row: Option<OrganizationRow> =
                organization::table.find(wanted).select(OrganizationRow::as_select()).first(c).optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// All of the hub, for its administrators.
    pub async fn organizations(&self) -> Result<Vec<Organization>, StoreFault> {
        self.read(|c| {
            let rows: Vec<OrganizationRow> =
                organization::table.order(organization::id).select(OrganizationRow::as_select()).load(c)?;
            rows.into_iter().map(TryInto::try_into).collect()
        })
        .await
    }

    /// Writes the user, new or known. The organization must exist.
    pub async fn put_user(&self, user: User) -> Result<(), CommitFault> {
        let row = UserRow::from(&user);
        self.write(move |c| Ok(upsert!(c, account::table, (account::organization_id, account::id), &row).map(drop)?))
            .await
    }

    /// Writes the user if there is none of that id. Gives the one that is stored, which may have another role.
    pub async fn ensure_user(&self, user: User) -> Result<User, CommitFault> {
        let row = UserRow::from(&user);
        let stored: Option<UserRow> = self
            .write(move |c| {
                insert_new!(c, account::table, &row)?;
                Ok(user_row(c, &row.organization_id, &row.id)?)
            })
            .await?;
        let stored = stored.ok_or_else(|| CommitFault::Unavailable("the user vanished while it was written".into()))?;
        stored.try_into().map_err(|fault: StoreFault| CommitFault::Unavailable(fault.to_string()))
    }

    pub async fn user(&self, organization: &OrganizationId, user: &UserId) -> Result<Option<User>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| user_row(c, &organization, &user)?.map(TryInto::try_into).transpose()).await
    }

    pub async fn users(&self, organization: &OrganizationId) -> Result<Vec<User>, StoreFault> {
        let wanted = organization.to_string();
        self.read(move |c| {
            let rows: Vec<UserRow> = account::table
                .filter(account::organization_id.eq(wanted))
                .order(account::id)
                .select(UserRow::as_select())
                .load(c)?;
            rows.into_iter().map(TryInto::try_into).collect()
        })
        .await
    }

    /// Both read at one moment; the first user of a hub becomes its owner.
    pub async fn counts(&self) -> Result<Counts, StoreFault> {
        self.read(|c| {
            super::connection::on_snapshot(c, |c| {
                let organizations: i64 = organization::table.select(count_star()).first(c)?;
                let users: i64 = account::table.select(count_star()).first(c)?;
                let [organizations, users] = [organizations, users].map(|n| u64::try_from(n).unwrap_or(0));
                Ok(Counts { organizations, users })
            })
        })
        .await
    }

    /// Writes the key, new or known. Its user must exist.
    pub async fn put_api_key(&self, key: ApiKey) -> Result<(), CommitFault> {
        let row = KeyRow::from(&key);
        self.write(move |c| Ok(upsert!(c, api_key::table, (api_key::organization_id, api_key::id), &row).map(drop)?))
            .await
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

    /// An organization's keys, oldest first.
    pub async fn api_keys(&self, organization: &OrganizationId) -> Result<Vec<ApiKey>, StoreFault> {
        let wanted = organization.to_string();
        self.read(move |c| {
            let rows: Vec<KeyRow> = api_key::table
                .filter(api_key::organization_id.eq(wanted))
                .order(api_key::id)
                .select(KeyRow::as_select())
                .load(c)?;
            rows.into_iter().map(TryInto::try_into).collect()
        })
        .await
    }

    /// `false` where the organization has no such key, or it was revoked before.
    pub async fn revoke_api_key(
        &self,
        organization: &OrganizationId,
        key: KeyId,
        now: Timestamp,
    ) -> Result<bool, CommitFault> {
        let organization = organization.to_string();
        self.write(move |c| {
            let of = api_key::table.find((organization, key.to_string())).filter(api_key::revoked_at.is_null());
            Ok(diesel::update(of).set(api_key::revoked_at.eq(now.0)).execute(c)? == 1)
        })
        .await
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
        let whose = id(&organization, OrganizationId::parse).and_then(|o| Ok((o, id(&user, UserId::parse)?)));
        whose.map(Some).map_err(|fault| CommitFault::Unavailable(fault.to_string()))
    }

    pub async fn put_session(&self, session: HubSession) -> Result<(), CommitFault> {
        let row = SessionRow {
            hash: session.hash.to_vec(),
            organization_id: session.organization.to_string(),
            user_id: session.user.to_string(),
            created_at: session.created_at.0,
            expires_at: session.expires_at.0,
            revoked_at: session.revoked_at.map(|at| at.0),
        };
        self.write(move |c| Ok(upsert!(c, hub_session::table, hub_session::hash, &row).map(drop)?)).await
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
        self.write(move |c| {
            let of = hub_session::table.find(hash.to_vec()).filter(hub_session::revoked_at.is_null());
            Ok(diesel::update(of).set(hub_session::revoked_at.eq(now.0)).execute(c)? == 1)
        })
        .await
    }
}
