//! The record of administration: appended to, read, and never changed. The tables themselves refuse a change.

use diesel::prelude::*;

use super::Store;
use super::connection::{AnyConnection, MultiBackend};
use super::fault::{CommitFault, StoreFault};
use super::pages::{asked, page};
use super::rows::{big, json, maybe, maybe_id, number, owned, word};
use super::schema::audit;
use crate::domain::account::{AuditEntry, StoredAudit};
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::Credential;
use crate::domain::record::Page;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = audit)]
struct EntryRow {
    at: i64,
    organization_id: Option<String>,
    actor: Option<String>,
    credential: Option<String>,
    action: String,
    target: Option<String>,
    details: String,
    outcome: Option<String>,
    origin: String,
    request_id: String,
}

impl From<&AuditEntry> for EntryRow {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            at: entry.at.0,
            organization_id: entry.organization.as_ref().map(ToString::to_string),
            actor: entry.actor.as_ref().map(ToString::to_string),
            credential: entry.credential.as_ref().map(Credential::store),
            action: owned(&entry.action),
            target: maybe(entry.target.as_ref()),
            details: entry.details.to_string(),
            outcome: maybe(entry.outcome.as_ref()),
            origin: owned(&entry.origin),
            request_id: owned(&entry.request_id),
        }
    }
}

/// Writes the entry into the open transaction; gives its number.
pub(super) fn append(c: &mut AnyConnection, entry: &AuditEntry) -> QueryResult<i64> {
    diesel::insert_into(audit::table).values(&EntryRow::from(entry)).returning(audit::n).get_result(c)
}

/// The entry and the number that the table gave it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = audit)]
struct AuditRow {
    n: i64,
    #[diesel(embed)]
    entry: EntryRow,
}

impl TryFrom<AuditRow> for StoredAudit {
    type Error = StoreFault;

    fn try_from(AuditRow { n, entry: row }: AuditRow) -> Result<Self, StoreFault> {
        let entry = AuditEntry {
            at: Timestamp(row.at),
            organization: maybe_id(row.organization_id.as_ref(), OrganizationId::parse)?,
            actor: maybe_id(row.actor.as_ref(), UserId::parse)?,
            credential: row.credential.map(|text| word("a credential", &text, Credential::parse)).transpose()?,
            action: row.action,
            target: row.target,
            details: json("an audit entry's details", &row.details)?,
            outcome: row.outcome,
            origin: row.origin,
            request_id: row.request_id,
        };
        Ok(Self { n: number("the number of an audit entry", n)?, entry })
    }
}

/// Which entries are asked for, newest first. What is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    pub actor: Option<UserId>,
    pub action: Option<String>,
    pub target: Option<String>,
    /// Not older than this.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
    /// The last one of the page before.
    pub before: Option<u64>,
    pub limit: usize,
}

type Boxed = audit::BoxedQuery<'static, MultiBackend>;

fn narrowed(mut rows: Boxed, query: &AuditQuery) -> Boxed {
    if let Some(actor) = &query.actor {
        rows = rows.filter(audit::actor.eq(actor.to_string()));
    }
    if let Some(action) = &query.action {
        rows = rows.filter(audit::action.eq(owned(action)));
    }
    if let Some(target) = &query.target {
        rows = rows.filter(audit::target.eq(owned(target)));
    }
    if let Some(from) = query.from {
        rows = rows.filter(audit::at.ge(from.0));
    }
    if let Some(to) = query.to {
        rows = rows.filter(audit::at.lt(to.0));
    }
    if let Some(before) = query.before {
        rows = rows.filter(audit::n.lt(big(before)));
    }
    rows
}

impl Store {
    /// Writes the entry and gives its number. When this returns it is on disk: the effect may begin.
    pub async fn append_audit(&self, entry: AuditEntry) -> Result<u64, CommitFault> {
        let n = self.write(move |c| Ok(append(c, &entry)?)).await?;
        Ok(number("the number of an audit entry", n)?)
    }

    /// One organization's entries, newest first.
    pub async fn audit(
        &self,
        organization: &OrganizationId,
        query: AuditQuery,
    ) -> Result<Page<StoredAudit, u64>, StoreFault> {
        self.audit_page(Some(organization.to_string()), query).await
    }

    /// The entries of all organizations, and those that belong to none, newest first: for the hub's administrators.
    pub async fn audit_of_hub(&self, query: AuditQuery) -> Result<Page<StoredAudit, u64>, StoreFault> {
        self.audit_page(None, query).await
    }

    async fn audit_page(
        &self,
        organization: Option<String>,
        query: AuditQuery,
    ) -> Result<Page<StoredAudit, u64>, StoreFault> {
        self.read(move |c| {
            let mut rows = narrowed(audit::table.into_boxed(), &query);
            if let Some(organization) = organization {
                rows = rows.filter(audit::organization_id.eq(organization));
            }
            let rows = rows.order(audit::n.desc()).limit(asked(query.limit)).select(AuditRow::as_select()).load(c)?;
            page(rows, query.limit, |stored: &StoredAudit| stored.n)
        })
        .await
    }
}
