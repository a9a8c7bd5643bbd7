//! One act that is written down, of administration or an answer to an approval: who does what to whom.

use serde_json::{Value, json};

use super::account::AuditEntry;
use super::command::Caller;
use super::ids::{OrganizationId, Source, SystemSource};
use super::policy::Operation;

/// Who does what to whom.
pub struct Act<'a> {
    pub caller: &'a Caller,
    pub operation: Operation,
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

    /// The row: `outcome` absent where it is allowed and about to begin, `refused`, or `failed`.
    pub fn entry(&self, outcome: Option<&str>) -> AuditEntry {
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
