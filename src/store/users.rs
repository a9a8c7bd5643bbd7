//! Users of an organization: what they may do, and whether they come in at all.

use diesel::prelude::*;

use super::changes::{Whose, one_at_a_time};
use super::connection::AnyConnection;
use super::fault::{CommitFault, JobFault, StoreFault};
use super::pages::{asked, page};
use super::rows::{clean, id, owned, word};
use super::schema::{account, pairing_code};
use super::tickets::drop_tickets;
use super::{Store, insert_new, upsert};
use crate::domain::account::User;
use crate::domain::ids::{OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::domain::record::Page;

diesel::define_sql_function!(fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text);

/// Without the password, which leaves the table for nobody but the door that checks it.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = account)]
struct UserRow {
    organization_id: String,
    id: String,
    role: String,
    managed: bool,
    hub_admin: bool,
    created_at: i64,
    disabled_at: Option<i64>,
    tokens_from: i64,
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
            disabled_at: u.disabled_at.map(|at| at.0),
            tokens_from: u.tokens_from.0,
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
            disabled_at: row.disabled_at.map(Timestamp),
            tokens_from: Timestamp(row.tokens_from),
        })
    }
}

/// What is written over; what is absent stays.
#[derive(AsChangeset, Default)]
#[diesel(table_name = account)]
struct UserChanges {
    role: Option<String>,
    managed: Option<bool>,
    hub_admin: Option<bool>,
    disabled_at: Option<Option<i64>>,
    password: Option<Option<String>>,
    tokens_from: Option<i64>,
}

/// Which users of an organization are asked for, by id.
#[derive(Debug, Clone, Default)]
pub struct UserQuery {
    /// Only those whose id holds this; ASCII case does not count.
    pub text: Option<String>,
    /// The last one of the page before.
    pub after: Option<UserId>,
    pub limit: usize,
}

fn row_of(c: &mut AnyConnection, organization: &str, user: &str) -> QueryResult<Option<UserRow>> {
    account::table.find((organization, user)).select(UserRow::as_select()).first(c).optional()
}

/// Owners whom the hub itself made such and who may come in.
fn owners(c: &mut AnyConnection, organization: &str) -> QueryResult<i64> {
    let owners = account::table
        .filter(account::organization_id.eq(organization))
        .filter(account::role.eq(Role::Owner.name()))
        .filter(account::managed.eq(true))
        .filter(account::disabled_at.is_null());
    owners.count().get_result(c)
}

/// Runs `write`, and refuses it where it took the organization's last owner.
fn keeping_an_owner<T>(
    c: &mut AnyConnection,
    organization: &str,
    write: impl FnOnce(&mut AnyConnection) -> Result<T, JobFault>,
) -> Result<T, JobFault> {
    let before = owners(c, organization)?;
    let value = write(c)?;
    if before > 0 && owners(c, organization)? == 0 {
        return Err(JobFault::Conflict("the organization's last owner stays its owner".into()));
    }
    Ok(value)
}

impl Store {
    /// Writes the user; a known one gets role, `managed` and `hub_admin` and nothing else. The organization must exist.
    /// `Conflict` where that would take its last owner.
    pub async fn put_user(&self, user: User) -> Result<(), CommitFault> {
        let row = UserRow::from(&user);
        let done = self.change(SystemSource.now(), move |c| {
            keeping_an_owner(c, &row.organization_id, |c| {
                let rights = UserChanges {
                    role: Some(row.role.clone()),
                    managed: Some(row.managed),
                    hub_admin: Some(row.hub_admin),
                    ..UserChanges::default()
                };
                Ok(upsert!(c, account::table, (account::organization_id, account::id), &row, &rights)?)
            })?;
            Ok(Some(((), Whose { organization: row.organization_id, user: Some(row.id) })))
        });
        done.await.map(drop)
    }

    /// Writes the user if there is none of that id. Gives the one that is stored, which may have another role or be
    /// disabled.
    pub async fn ensure_user(&self, user: User) -> Result<User, CommitFault> {
        let (_, stored) = self.insert_user(user).await?;
        stored.ok_or_else(|| CommitFault::Unavailable("the user vanished while it was written".into()))
    }

    /// `Conflict` where one of that id is there. The organization must exist.
    pub async fn create_user(&self, user: User) -> Result<(), CommitFault> {
        match self.insert_user(user).await? {
            (true, _) => Ok(()),
            (false, _) => Err(CommitFault::Conflict("a user of that id exists".into())),
        }
    }

    /// Whether it is new, and what is stored.
    async fn insert_user(&self, user: User) -> Result<(bool, Option<User>), CommitFault> {
        let row = UserRow::from(&user);
        let (new, stored) = self
            .write(move |c| {
                one_at_a_time(c)?;
                let new = insert_new!(c, account::table, &row)? == 1;
                Ok((new, row_of(c, &row.organization_id, &row.id)?))
            })
            .await?;
        Ok((new, stored.map(TryInto::try_into).transpose()?))
    }

    pub async fn user(&self, organization: &OrganizationId, user: &UserId) -> Result<Option<User>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| row_of(c, &organization, &user)?.map(TryInto::try_into).transpose()).await
    }

    /// Whether one of the organization's users administers the hub; one who is disabled counts.
    pub async fn has_hub_admin(&self, organization: &OrganizationId) -> Result<bool, StoreFault> {
        let wanted = organization.to_string();
        self.read(move |c| {
            let admins = account::table.filter(account::organization_id.eq(wanted)).filter(account::hub_admin.eq(true));
            Ok(admins.count().get_result::<i64>(c)? > 0)
        })
        .await
    }

    pub async fn users(
        &self,
        organization: &OrganizationId,
        query: UserQuery,
    ) -> Result<Page<User, UserId>, StoreFault> {
        let wanted = organization.to_string();
        self.read(move |c| {
            let mut rows =
                account::table.filter(account::organization_id.eq(wanted)).select(UserRow::as_select()).into_boxed();
            if let Some(after) = query.after {
                rows = rows.filter(account::id.gt(after.to_string()));
            }
            if let Some(text) = &query.text {
                rows = rows.filter(lower(account::id).like(holding(text)).escape('!'));
            }
            let rows: Vec<UserRow> = rows.order(account::id).limit(asked(query.limit)).load(c)?;
            page(rows, query.limit, |u: &User| u.id.clone())
        })
        .await
    }

    /// The hub's own role from now on, whatever a token claims. `None` where there is no such user; `Conflict` where
    /// the organization would lose its last owner.
    pub async fn set_role(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        role: Role,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let changes = move |_: &UserRow| UserChanges {
            role: Some(role.name().into()),
            managed: Some(true),
            ..UserChanges::default()
        };
        self.change_user(organization, user, now, changes).await
    }

    /// `None` where there is no such user. Who gets the right is the hub's own user from now on, with the stored role.
    pub async fn set_hub_admin(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        hub_admin: bool,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let changes = move |_: &UserRow| UserChanges {
            hub_admin: Some(hub_admin),
            managed: hub_admin.then_some(true),
            ..UserChanges::default()
        };
        self.change_user(organization, user, now, changes).await
    }

    /// From now on the user does not come in; tickets and pairing codes are gone at once. `None` where there is no such
    /// user; `Conflict` where it is the organization's last owner.
    pub async fn disable_user(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let changes = move |known: &UserRow| UserChanges {
            disabled_at: Some(Some(known.disabled_at.unwrap_or(now.0))),
            ..UserChanges::default()
        };
        self.change_user(organization, user, now, changes).await
    }

    /// What was revoked before stays revoked.
    pub async fn enable_user(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let changes = |_: &UserRow| UserChanges { disabled_at: Some(None), ..UserChanges::default() };
        self.change_user(organization, user, now, changes).await
    }

    /// JWTs issued before `from` are refused from now on; an earlier `from` than the stored one changes nothing.
    pub async fn set_tokens_from(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let changes = move |known: &UserRow| UserChanges {
            tokens_from: Some(known.tokens_from.max(from.0)),
            ..UserChanges::default()
        };
        self.change_user(organization, user, now, changes).await
    }

    /// `phc`: the hash in PHC form, or `None` for no password.
    pub async fn set_password(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        phc: Option<String>,
        now: Timestamp,
    ) -> Result<Option<User>, CommitFault> {
        let phc = phc.as_deref().map(owned);
        let changes = move |_: &UserRow| UserChanges { password: Some(phc), ..UserChanges::default() };
        self.change_user(organization, user, now, changes).await
    }

    /// The hash in PHC form. `None` where there is no such user or no password.
    pub async fn password(&self, organization: &OrganizationId, user: &UserId) -> Result<Option<String>, StoreFault> {
        let key = (organization.to_string(), user.to_string());
        self.read(move |c| Ok(account::table.find(key).select(account::password).first(c).optional()?.flatten())).await
    }

    async fn change_user(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        now: Timestamp,
        changes: impl FnOnce(&UserRow) -> UserChanges + Send + 'static,
    ) -> Result<Option<User>, CommitFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        let row = self.change(now, move |c| {
            let Some(known) = row_of(c, &organization, &user)? else { return Ok(None) };
            let changes = changes(&known);
            keeping_an_owner(c, &organization, |c| {
                Ok(diesel::update(account::table.find((&organization, &user))).set(&changes).execute(c)?)
            })?;
            if changes.disabled_at.flatten().is_some() {
                forget_what_waits(c, &organization, &user)?;
            }
            let row = row_of(c, &organization, &user)?.ok_or(diesel::NotFound)?;
            Ok(Some((row, Whose { organization, user: Some(user) })))
        });
        Ok(row.await?.map(TryInto::try_into).transpose()?)
    }
}

/// Tickets and pairing codes of a user who does not come in any more.
fn forget_what_waits(c: &mut AnyConnection, organization: &str, user: &str) -> QueryResult<()> {
    drop_tickets(c, organization, user, None)?;
    let codes = pairing_code::table
        .filter(pairing_code::organization_id.eq(organization))
        .filter(pairing_code::user_id.eq(user));
    diesel::delete(codes).execute(c).map(drop)
}

/// A pattern for what holds `text` anywhere, with `!` as its escape.
fn holding(text: &str) -> String {
    let text = clean(text).to_ascii_lowercase();
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}
