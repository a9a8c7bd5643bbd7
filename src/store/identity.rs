//! Organizations.

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::changes::{Whose, one_at_a_time};
use super::fault::{CommitFault, JobFault, StoreFault};
use super::pages::{asked, page};
use super::rows::{id, owned};
use super::schema::{account, organization};
use super::{Store, insert_new, upsert};
use crate::domain::account::Organization;
use crate::domain::ids::{OrganizationId, Timestamp};
use crate::domain::record::Page;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = organization)]
struct OrganizationRow {
    id: String,
    name: String,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl From<&Organization> for OrganizationRow {
    fn from(o: &Organization) -> Self {
        Self {
            id: o.id.to_string(),
            name: owned(&o.name),
            created_at: o.created_at.0,
            disabled_at: o.disabled_at.map(|at| at.0),
        }
    }
}

impl TryFrom<OrganizationRow> for Organization {
    type Error = StoreFault;

    fn try_from(row: OrganizationRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&row.id, OrganizationId::parse)?,
            name: row.name,
            created_at: Timestamp(row.created_at),
            disabled_at: row.disabled_at.map(Timestamp),
        })
    }
}

/// How many there are in the whole hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub organizations: u64,
    pub users: u64,
}

impl Store {
    /// Writes the organization; a known one gets the name and nothing else.
    pub async fn put_organization(&self, organization: Organization) -> Result<(), CommitFault> {
        let row = OrganizationRow::from(&organization);
        self.write(move |c| {
            one_at_a_time(c)?;
            let renamed = organization::name.eq(row.name.clone());
            Ok(upsert!(c, organization::table, organization::id, &row, renamed).map(drop)?)
        })
        .await
    }

    /// Writes the organization if there is none of that id. Says whether it is new.
    pub async fn ensure_organization(&self, organization: Organization) -> Result<bool, CommitFault> {
        let row = OrganizationRow::from(&organization);
        self.write(move |c| {
            one_at_a_time(c)?;
            Ok(insert_new!(c, organization::table, &row)? == 1)
        })
        .await
    }

    /// `Conflict` where one of that id is there.
    pub async fn create_organization(&self, organization: Organization) -> Result<(), CommitFault> {
        match self.ensure_organization(organization).await? {
            true => Ok(()),
            false => Err(CommitFault::Conflict("an organization of that id exists".into())),
        }
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

    /// All of the hub, for its administrators, by id.
    pub async fn organizations(
        &self,
        after: Option<&OrganizationId>,
        limit: usize,
    ) -> Result<Page<Organization, OrganizationId>, StoreFault> {
        let after = after.map(ToString::to_string);
        self.read(move |c| {
            let mut query = organization::table.select(OrganizationRow::as_select()).into_boxed();
            if let Some(after) = after {
                query = query.filter(organization::id.gt(after));
            }
            let rows: Vec<OrganizationRow> = query.order(organization::id).limit(asked(limit)).load(c)?;
            page(rows, limit, |o: &Organization| o.id.clone())
        })
        .await
    }

    /// From now on nobody of it comes in. `None` where there is no such organization.
    pub async fn disable_organization(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<Option<Organization>, CommitFault> {
        self.set_disabled(organization, Some(now), now).await
    }

    pub async fn enable_organization(
        &self,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Result<Option<Organization>, CommitFault> {
        self.set_disabled(organization, None, now).await
    }

    async fn set_disabled(
        &self,
        organization: &OrganizationId,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Organization>, CommitFault> {
        let wanted = organization.to_string();
        let row = self.change(now, move |c| {
            let found = organization::table.find(wanted.clone());
            let known: Option<OrganizationRow> =
                found.clone().select(OrganizationRow::as_select()).first(c).optional()?;
            let Some(mut row) = known else { return Ok::<_, JobFault>(None) };
            // Disabled twice is disabled since the first time.
            row.disabled_at = at.map(|at| row.disabled_at.unwrap_or(at.0));
            diesel::update(found).set(organization::disabled_at.eq(row.disabled_at)).execute(c)?;
            Ok(Some((row, Whose { organization: wanted, user: None })))
        });
        Ok(row.await?.map(TryInto::try_into).transpose()?)
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
}
