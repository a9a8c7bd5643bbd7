//! One act of administration: judged, written down, done.

use serde_json::Value;

use super::{Accounts, commit_fault};
use crate::auth::fault_of;
pub(super) use crate::domain::act::Act;
use crate::domain::command::Caller;
use crate::domain::policy::{self, Operation};
use crate::error::{Code, Fault};
use crate::store::CommitFault;

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
