//! Executions of actions: written down before the effect, ended after it, undone once. Each step is one transaction of
//! the one writer, and counts rows: of two who want the same step, one gets it.

use diesel::prelude::*;

use super::connection::{AnyConnection, MultiBackend};
use super::fault::{CommitFault, JobFault, StoreFault};
use super::rows::{id, json, maybe, maybe_id, owned, word};
use super::schema::action_execution as execution;
use super::{Store, apply, audit};
use crate::domain::account::AuditEntry;
use crate::domain::action::{Entity, Execution, ExecutionState, UndoWish, not_undone};
use crate::domain::ids::{ConversationId, ExecutionId, OrganizationId, Timestamp, UserId};
use crate::domain::record::Idempotency;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = execution)]
struct ExecutionRow {
    organization_id: String,
    id: String,
    action: String,
    entity_type: Option<String>,
    entity_id: Option<String>,
    input: String,
    user_id: String,
    agent_of: Option<String>,
    state: String,
    result: Option<String>,
    error: Option<String>,
    request_id: String,
    created_at: i64,
    ended_at: Option<i64>,
    undo_until: Option<i64>,
    undone_at: Option<i64>,
    undone_by: Option<String>,
}

impl From<&Execution> for ExecutionRow {
    fn from(e: &Execution) -> Self {
        Self {
            organization_id: e.organization.to_string(),
            id: e.id.to_string(),
            action: e.action.clone(),
            entity_type: e.entity.as_ref().map(|entity| owned(&entity.kind)),
            entity_id: e.entity.as_ref().map(|entity| owned(&entity.id)),
            input: e.input.to_string(),
            user_id: e.user.to_string(),
            agent_of: e.agent_of.map(|id| id.to_string()),
            state: e.state.name().into(),
            result: e.result.as_ref().map(ToString::to_string),
            error: maybe(e.error.as_ref()),
            request_id: owned(&e.request_id),
            created_at: e.created_at.0,
            ended_at: e.ended_at.map(|at| at.0),
            undo_until: e.undo_until.map(|at| at.0),
            undone_at: e.undone_at.map(|at| at.0),
            undone_by: e.undone_by.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<ExecutionRow> for Execution {
    type Error = StoreFault;

    fn try_from(r: ExecutionRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&r.id, ExecutionId::parse)?,
            organization: id(&r.organization_id, OrganizationId::parse)?,
            action: r.action,
            entity: r.entity_type.zip(r.entity_id).map(|(kind, id)| Entity { kind, id }),
            input: json("an action's input", &r.input)?,
            user: id(&r.user_id, UserId::parse)?,
            agent_of: maybe_id(r.agent_of.as_ref(), ConversationId::parse)?,
            state: word("an execution's state", &r.state, ExecutionState::parse)?,
            result: r.result.map(|text| json("an action's result", &text)).transpose()?,
            error: r.error,
            request_id: r.request_id,
            created_at: Timestamp(r.created_at),
            ended_at: r.ended_at.map(Timestamp),
            undo_until: r.undo_until.map(Timestamp),
            undone_at: r.undone_at.map(Timestamp),
            undone_by: maybe_id(r.undone_by.as_ref(), UserId::parse)?,
        })
    }
}

/// How undoing ended.
#[derive(Debug, Clone, PartialEq)]
pub enum UndoEnd {
    Undone(UserId),
    /// It failed and changed nothing: it may be tried again.
    Failed(String),
    /// Nobody knows: it is not tried again.
    Unknown(String),
}

const LOST: &str = "the hub went down while it ran: nobody knows what came of it, and it is not done again";
const UNDO_LOST: &str = "the hub went down while it was undone: nobody knows what came of that";
const NEVER_BEGUN: &str = "the hub went down before it began";

fn find(c: &mut AnyConnection, organization: &str, id: &str) -> Result<Option<Execution>, StoreFault> {
    let row = execution::table
        .filter(execution::organization_id.eq(organization))
        .filter(execution::id.eq(id))
        .select(ExecutionRow::as_select());
    let row: Option<ExecutionRow> = row.first(c).optional()?;
    row.map(TryInto::try_into).transpose()
}

fn claim_undo(
    c: &mut AnyConnection,
    organization: &OrganizationId,
    wish: &UndoWish,
    at: Timestamp,
) -> Result<Option<Execution>, JobFault> {
    let organization = organization.to_string();
    let mut these = execution::table
        .filter(execution::organization_id.eq(organization.clone()))
        .filter(execution::action.eq(wish.action.clone()))
        .into_boxed::<MultiBackend>();
    if let Some(entity) = &wish.entity {
        let (kind, id) = (owned(&entity.kind), owned(&entity.id));
        these = these.filter(execution::entity_type.eq(kind)).filter(execution::entity_id.eq(id));
    }
    these = match wish.execution {
        Some(id) => these.filter(execution::id.eq(id.to_string())),
        None => {
            if wish.entity.is_none() {
                these = these.filter(execution::entity_type.is_null());
            }
            these
                .filter(execution::state.eq(ExecutionState::Completed.name()))
                .filter(execution::undo_claimed_at.is_null())
                .filter(execution::undo_until.ge(at.0))
        }
    };
    let row: Option<ExecutionRow> =
        these.order(execution::id.desc()).select(ExecutionRow::as_select()).first(c).optional()?;
    let Some(found) = row.map(Execution::try_from).transpose()? else { return Ok(None) };
    if let Some(fault) = not_undone(&found, at) {
        return Err(JobFault::Conflict(fault.message));
    }
    let free = execution::table
        .filter(execution::organization_id.eq(organization))
        .filter(execution::id.eq(found.id.to_string()))
        .filter(execution::undo_claimed_at.is_null());
    match diesel::update(free).set(execution::undo_claimed_at.eq(Some(at.0))).execute(c)? {
        1 => Ok(Some(found)),
        _ => Err(JobFault::Conflict("it is being undone".into())),
    }
}

/// What a process that died had under way.
pub(super) fn settle_left(c: &mut AnyConnection) -> Result<usize, JobFault> {
    let of = |state: ExecutionState| execution::table.filter(execution::state.eq(state.name()));
    let ended =
        |state: ExecutionState, why: &'static str| (execution::state.eq(state.name()), execution::error.eq(why));
    let never =
        diesel::update(of(ExecutionState::Pending)).set(ended(ExecutionState::Failed, NEVER_BEGUN)).execute(c)?;
    let lost = diesel::update(of(ExecutionState::Executing)).set(ended(ExecutionState::Unknown, LOST)).execute(c)?;
    let undoing = of(ExecutionState::Completed).filter(execution::undo_claimed_at.is_not_null());
    let undoing = diesel::update(undoing).set(ended(ExecutionState::Unknown, UNDO_LOST)).execute(c)?;
    Ok(never + lost + undoing)
}

impl Store {
    /// Writes an execution down that is about to begin, with who asked for it.
    ///
    /// # Errors
    /// `IdempotencyTaken` where the key has an owner, with the id of that one's execution; then nothing is written.
    pub async fn begin_execution(
        &self,
        begun: &Execution,
        once: Option<Idempotency>,
        act: AuditEntry,
    ) -> Result<(), CommitFault> {
        let (row, at) = (ExecutionRow::from(begun), begun.created_at.0);
        self.write(move |c| {
            if let Some(key) = &once {
                apply::claim(c, &row.organization_id, "", at, key)?;
            }
            diesel::insert_into(execution::table).values(&row).execute(c)?;
            audit::append(c, &act)?;
            Ok(())
        })
        .await
    }

    /// It begins now: when this returns the effect may be brought about, once.
    pub async fn start_execution(&self, organization: &OrganizationId, id: ExecutionId) -> Result<(), CommitFault> {
        let organization = organization.to_string();
        self.write(move |c| {
            let waiting = execution::table
                .filter(execution::organization_id.eq(organization))
                .filter(execution::id.eq(id.to_string()))
                .filter(execution::state.eq(ExecutionState::Pending.name()));
            match diesel::update(waiting).set(execution::state.eq(ExecutionState::Executing.name())).execute(c)? {
                1 => Ok(()),
                _ => Err(JobFault::Conflict("it was begun before".into())),
            }
        })
        .await
    }

    /// What came of one that was executing.
    pub async fn end_execution(&self, ended: &Execution, failed: Option<AuditEntry>) -> Result<(), CommitFault> {
        let row = ExecutionRow::from(ended);
        self.write(move |c| {
            let this = execution::table
                .filter(execution::organization_id.eq(&row.organization_id))
                .filter(execution::id.eq(&row.id))
                .filter(execution::state.eq(ExecutionState::Executing.name()));
            let set = (
                execution::state.eq(&row.state),
                execution::result.eq(&row.result),
                execution::error.eq(&row.error),
                execution::ended_at.eq(row.ended_at),
                execution::undo_until.eq(row.undo_until),
            );
            diesel::update(this).set(set).execute(c)?;
            if let Some(entry) = &failed {
                audit::append(c, entry)?;
            }
            Ok(())
        })
        .await
    }

    pub async fn execution(
        &self,
        organization: &OrganizationId,
        id: ExecutionId,
    ) -> Result<Option<Execution>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| find(c, &organization, &id.to_string())).await
    }

    /// Claims the execution that is to be undone, with who wants that: nobody else gets it. `None` where there is none.
    ///
    /// # Errors
    /// `Conflict` where the one named cannot be undone, or somebody is at it.
    pub async fn claim_undo(
        &self,
        organization: &OrganizationId,
        wish: &UndoWish,
        at: Timestamp,
        act: AuditEntry,
    ) -> Result<Option<Execution>, CommitFault> {
        let (organization, wish) = (organization.clone(), wish.clone());
        self.write(move |c| {
            let claimed = claim_undo(c, &organization, &wish, at)?;
            if claimed.is_some() {
                audit::append(c, &act)?;
            }
            Ok(claimed)
        })
        .await
    }

    /// How the undoing ended that was claimed before.
    pub async fn end_undo(
        &self,
        organization: &OrganizationId,
        id: ExecutionId,
        end: UndoEnd,
        at: Timestamp,
    ) -> Result<(), CommitFault> {
        let organization = organization.to_string();
        self.write(move |c| {
            let this = execution::table
                .filter(execution::organization_id.eq(organization))
                .filter(execution::id.eq(id.to_string()))
                .filter(execution::state.eq(ExecutionState::Completed.name()))
                .filter(execution::undo_claimed_at.is_not_null());
            match end {
                UndoEnd::Undone(user) => diesel::update(this)
                    .set((
                        execution::state.eq(ExecutionState::Undone.name()),
                        execution::undone_at.eq(Some(at.0)),
                        execution::undone_by.eq(Some(user.to_string())),
                        execution::error.eq(None::<String>),
                    ))
                    .execute(c)?,
                UndoEnd::Failed(why) => diesel::update(this)
                    .set((execution::undo_claimed_at.eq(None::<i64>), execution::error.eq(Some(owned(&why)))))
                    .execute(c)?,
                UndoEnd::Unknown(why) => diesel::update(this)
                    .set((execution::state.eq(ExecutionState::Unknown.name()), execution::error.eq(Some(owned(&why)))))
                    .execute(c)?,
            };
            Ok(())
        })
        .await
    }
}
