//! Answers to approvals that are kept: listed for their user, and taken back.

use serde_json::json;

use super::*;
use crate::actors::conversation::from_commit;
use crate::domain::act::Act;
use crate::domain::ids::RuleId;

impl LocalHub {
    pub(super) async fn list_rules(&self, caller: &Caller, page: PageRequest) -> Result<Reply, Fault> {
        let after = page.after(|text| RuleId::parse(text).ok())?;
        let principal = &caller.principal;
        let found = self.shared.store.approval_rules(&principal.organization, &principal.user, after, page.limit).await;
        let found = found.map_err(from_store)?;
        Ok(Reply::Rules(Page { items: found.items, next: found.next.map(|id| id.to_string()) }))
    }

    /// Somebody else's rule does not exist.
    pub(super) async fn revoke_rule(&self, caller: &Caller, rule: RuleId) -> Result<Reply, Fault> {
        let principal = &caller.principal;
        let entry = Act::new(caller, Operation::RuleRevoke).on(rule).with(json!({})).entry(None);
        let gone = self.shared.store.revoke_approval_rule(&principal.organization, &principal.user, rule, entry).await;
        match gone.map_err(from_commit)? {
            true => Ok(Reply::Deleted),
            false => Err(Fault::not_found("rule")),
        }
    }
}
