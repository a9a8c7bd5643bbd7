//! Requests that are repeated with a key: it is taken before anything is done, and what was answered is kept with it.

use super::{Accounts, Caller, fault_of};
use crate::domain::command::Once;
use crate::domain::ids::{Source, SystemSource};
use crate::domain::record::Idempotency;
use crate::error::{Code, Fault};
use crate::store::CommitFault;

impl Accounts {
    /// Takes the key of a request. `Some`: the same request took it before; what was kept of its answer, which is empty
    /// where nobody knows what came of it.
    ///
    /// # Errors
    /// `conflict` where another request has the key.
    pub async fn take_key(&self, caller: &Caller, once: &Once) -> Result<Option<String>, Fault> {
        let principal = &caller.principal;
        let (user, key, request) = (principal.user.clone(), once.key.clone(), once.request);
        let row = Idempotency { user, key, request, answer: String::new() };
        match self.store.take_key(&principal.organization, row, SystemSource.now()).await {
            Ok(()) => Ok(None),
            Err(CommitFault::IdempotencyTaken { request, answer }) if request == once.request => Ok(Some(answer)),
            Err(CommitFault::IdempotencyTaken { .. }) => {
                Err(Fault::new(Code::Conflict, "the idempotency key was used for another request"))
            }
            Err(fault) => Err(fault_of(fault)),
        }
    }

    /// Keeps what was answered; without an answer, because nothing was done, the key is free again.
    pub async fn settle_key(&self, caller: &Caller, once: &Once, answer: Option<&str>) -> Result<(), Fault> {
        let principal = &caller.principal;
        let settled = self.store.settle_key(&principal.organization, &principal.user, &once.key, answer).await;
        settled.map_err(fault_of)
    }
}
