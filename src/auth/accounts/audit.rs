//! Reading the record of administration. Nothing in here changes it, and the store's tables refuse to.

use super::{Accounts, Caller, PageRequest, fault_of};
use crate::domain::account::StoredAudit;
use crate::domain::command::Page;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::policy::{self, Operation};
use crate::error::Fault;
use crate::store::AuditQuery;

/// Which entries are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor: Option<UserId>,
    /// An operation's name, such as `admin.users.update`.
    pub action: Option<String>,
    pub target: Option<String>,
    /// Not older than this.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
}

impl Accounts {
    /// Newest first. `organization`: absent for all of the hub, with what belongs to no organization; for its
    /// administrators.
    pub async fn audit(
        &self,
        caller: &Caller,
        organization: Option<&OrganizationId>,
        filter: AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredAudit>, Fault> {
        policy::allow(&caller.principal, Operation::AdminAudit)?;
        let before = page.after(|cursor| cursor.parse().ok())?;
        let AuditFilter { actor, action, target, from, to } = filter;
        let query = AuditQuery { actor, action, target, from, to, before, limit: page.limit };
        let found = match organization {
            Some(organization) => self.store.audit(organization, query).await,
            None if caller.principal.hub_admin => self.store.audit_of_hub(query).await,
            None => return Err(Fault::forbidden("only administrators of the hub may do this")),
        };
        let found = found.map_err(fault_of)?;
        Ok(Page { items: found.items, next: found.next.map(|n| n.to_string()) })
    }
}
