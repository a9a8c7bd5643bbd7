//! One act of administration: judged, written down, done.

use serde_json::{Value, json};

use super::{Accounts, Caller, commit_fault};
use crate::auth::fault_of;
use crate::domain::account::AuditEntry;
use crate::domain::ids::{OrganizationId, Source, SystemSource};
use crate::domain::policy::{self, Operation};
use crate::error::{Code, Fault};
use crate::store::CommitFault;

/// Who does what to whom.
pub(super) struct Act<'a> {
    caller: &'a Caller,
    operation: Operation,
    /// Absent: it concerns the whole hub.
    organization: Option<OrganizationId>,
    target: Option<String>,
    details: Value,
}

impl<'a> Act<'a> {
    /// In the caller's own organization until [`Act::within`] says otherwise.
    pub fn new(caller: &'a Caller, operation: Operation) -> Self {
        let organization = Some(caller.principal.organization.clone());
        Self { caller, operation, organization, target: None, details: json!({}) }
    }

    pub fn within(mut self, organization: &OrganizationId) -> Self {
        self.organization = Some(organization.clone());
        self
    }

    /// Of the whole hub: no organization's admin sees it in the audit log.
    pub fn of_hub(mut self) -> Self {
        self.organization = None;
        self
    }

    pub fn on(mut self, target: impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// What was asked for. Never a secret.
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    fn entry(&self, outcome: Option<&str>) -> AuditEntry {
        let principal = &self.caller.principal;
        let mut details = self.details.clone();
        // A user's name says little outside its own organization.
        if self.organization.as_ref() != Some(&principal.organization) {
            details["actorOrganization"] = Value::from(principal.organization.as_str());
        }
        AuditEntry {
            at: SystemSource.now(),
            organization: self.organization.clone(),
            actor: Some(principal.user.clone()),
            credential: Some(principal.credential.clone()),
            action: self.operation.name().to_owned(),
            target: self.target.clone(),
            details,
            outcome: outcome.map(str::to_owned),
            origin: self.caller.origin.to_string(),
            request_id: self.caller.request_id.clone(),
        }
    }
}

impl Accounts {
    /// Asks the table of rules. A refusal is written down.
    pub(super) async fn allowed(&self, act: &Act<'_>) -> Result<(), Fault> {
        self.judged(act, policy::allow(&act.caller.principal, act.operation)).await
    }

    /// Passes a verdict on; what was forbidden or does not exist for the caller is written down as refused.
    pub(super) async fn judged<T>(&self, act: &Act<'_>, verdict: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &verdict
            && matches!(fault.code, Code::Forbidden | Code::NotFound | Code::Conflict)
        {
            self.store.append_audit(act.entry(Some("refused"))).await.map_err(fault_of)?;
        }
        verdict
    }

    /// Writes the act down. When this returns it is on disk, and the effect may begin.
    pub(super) async fn write_down(&self, act: &Act<'_>) -> Result<(), Fault> {
        self.store.append_audit(act.entry(None)).await.map(drop).map_err(fault_of)
    }

    /// Changes something of the hub itself: judged, written down, done. `details` hold no secret.
    ///
    /// # Errors
    /// `forbidden` by the table of rules; what the effect came to.
    pub async fn on_the_hub<T>(
        &self,
        caller: &Caller,
        operation: Operation,
        details: Value,
        effect: impl Future<Output = Result<T, CommitFault>>,
    ) -> Result<T, Fault> {
        let act = Act::new(caller, operation).of_hub().with(details);
        self.allowed(&act).await?;
        self.write_down(&act).await?;
        self.done(&act, effect.await).await
    }

    /// Passes the effect on. One that did not happen is written down as failed.
    pub(super) async fn done<T>(&self, act: &Act<'_>, effect: Result<T, CommitFault>) -> Result<T, Fault> {
        match effect {
            Ok(value) => Ok(value),
            Err(fault) => {
                let fault = commit_fault(fault);
                self.store.append_audit(act.entry(Some("failed"))).await.map_err(fault_of)?;
                Err(fault)
            }
        }
    }
}
