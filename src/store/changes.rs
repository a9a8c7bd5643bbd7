//! Whose rights changed: written in the transaction that changes them, read by every process of the hub.

use diesel::connection::SimpleConnection;
use diesel::dsl::max;
use diesel::prelude::*;

use super::Store;
use super::connection::AnyConnection;
use super::fault::{CommitFault, JobFault, StoreFault};
use super::rows::{big, id, maybe_id, number};
use super::schema::identity_change;
use crate::domain::account::Change;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};

/// Changes given at once.
const AT_ONCE: i64 = 1000;
/// Key of the advisory lock: the bytes of `switchid`.
const LOCK: i64 = 0x7377_6974_6368_6964;

/// Whom a change concerns.
pub(super) struct Whose {
    pub organization: String,
    /// Absent: everybody of the organization.
    pub user: Option<String>,
}

/// Until the transaction ends, no other process changes an identity. On PostgreSQL a number is drawn before its commit:
/// without this a later number could be seen first, and who reads on from there would never see the earlier one. To be
/// taken before any row is locked: then two processes cannot wait for each other.
pub(super) fn one_at_a_time(c: &mut AnyConnection) -> QueryResult<()> {
    match c {
        // Who writes there has the database for itself.
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(c) => c.batch_execute(&format!("select pg_advisory_xact_lock({LOCK})")),
    }
}

impl Store {
    /// Runs `write` in one transaction with the row that tells of it; `None` says that nothing was changed.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        now: Timestamp,
        write: impl FnOnce(&mut AnyConnection) -> Result<Option<(T, Whose)>, JobFault> + Send + 'static,
    ) -> Result<Option<T>, CommitFault> {
        let done = self.write(move |c| {
            one_at_a_time(c)?;
            let Some((value, whose)) = write(c)? else { return Ok(None) };
            diesel::insert_into(identity_change::table)
                .values((
                    identity_change::at.eq(now.0),
                    identity_change::organization_id.eq(whose.organization),
                    identity_change::user_id.eq(whose.user),
                ))
                .execute(c)?;
            Ok(Some(value))
        });
        let done = done.await?;
        if done.is_some() {
            self.0.changed.notify_one();
        }
        Ok(done)
    }

    /// Waits until somebody's rights were changed through this handle or a clone of it. For one listener; what other
    /// processes change is only in the rows.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Changes of the whole hub after `n`, oldest first, at most 1,000.
    pub async fn changes_after(&self, n: u64) -> Result<Vec<Change>, StoreFault> {
        self.read(move |c| {
            let rows: Vec<(i64, String, Option<String>)> = identity_change::table
                .filter(identity_change::n.gt(big(n)))
                .order(identity_change::n)
                .limit(AT_ONCE)
                .select((identity_change::n, identity_change::organization_id, identity_change::user_id))
                .load(c)?;
            let change = |(n, organization, user): (i64, String, Option<String>)| {
                Ok(Change {
                    n: number("the number of a change", n)?,
                    organization: id(&organization, OrganizationId::parse)?,
                    user: maybe_id(user.as_ref(), UserId::parse)?,
                })
            };
            rows.into_iter().map(change).collect()
        })
        .await
    }

    /// The number of the newest change of the whole hub; 0 where there was none yet.
    pub async fn newest_change(&self) -> Result<u64, StoreFault> {
        self.read(|c| {
            let newest: Option<i64> = identity_change::table.select(max(identity_change::n)).first(c)?;
            number("the number of a change", newest.unwrap_or(0))
        })
        .await
    }
}
