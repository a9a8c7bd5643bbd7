//! How a project is made: once for each name, and once for each key.

use diesel::prelude::*;

use super::apply::claim;
use super::fault::{CommitFault, StoreFault};
use super::reads::ProjectRow;
use super::rows::owned;
use super::schema::project;
use super::{Store, insert_new};
use crate::domain::ids::UserId;
use crate::domain::record::Idempotency;
use crate::domain::settings::Project;

impl Store {
    /// Writes the project; gives the one that has the name, which is the older one if there was one.
    pub async fn create_project(&self, wanted: Project) -> Result<Project, CommitFault> {
        self.create_project_once(wanted, None).await
    }

    /// The same. The key of a request that may be repeated (whose, which, what for) is taken in the same transaction,
    /// with the project's id as its answer.
    ///
    /// # Errors
    /// `IdempotencyTaken` where the key has an owner: then nothing was written.
    pub async fn create_project_once(
        &self,
        wanted: Project,
        once: Option<(UserId, String, [u8; 32])>,
    ) -> Result<Project, CommitFault> {
        let row = ProjectRow {
            organization_id: wanted.organization.to_string(),
            id: wanted.id.to_string(),
            name: owned(&wanted.name),
            created_at: wanted.created_at.0,
        };
        let stored: ProjectRow = self
            .write(move |c| {
                insert_new!(c, project::table, &row)?;
                let stored: ProjectRow = project::table
                    .filter(project::organization_id.eq(&row.organization_id))
                    .filter(project::name.eq(&row.name))
                    .select(ProjectRow::as_select())
                    .first(c)?;
                if let Some((user, key, request)) = once {
                    let key = Idempotency { user, key, request, answer: stored.id.clone() };
                    claim(c, &row.organization_id, "", row.created_at, &key)?;
                }
                Ok(stored)
            })
            .await?;
        stored.try_into().map_err(|fault: StoreFault| CommitFault::Unavailable(fault.to_string()))
    }
}
