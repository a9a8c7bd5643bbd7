//! Organizations: for the administrators of the hub.

use serde_json::json;

use super::act::Act;
use super::{Accounts, Caller, PageRequest, display_name, fault_of, name_cursor, name_of_cursor};
use crate::domain::account::Organization;
use crate::domain::command::Page;
use crate::domain::ids::{OrganizationId, Source, SystemSource};
use crate::domain::policy::{self, Operation};
use crate::domain::principal::Credential;
use crate::error::Fault;

impl Accounts {
    pub async fn organizations(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Organization>, Fault> {
        policy::allow(&caller.principal, Operation::AdminOrganizationList)?;
        let after = page.after(|cursor| OrganizationId::parse(&name_of_cursor(cursor)?).ok())?;
        let found = self.store.organizations(after.as_ref(), page.limit).await.map_err(fault_of)?;
        Ok(Page { items: found.items, next: found.next.map(|id| name_cursor(id.as_str())) })
    }

    /// `conflict` where there is one of that id. Without a name it is called by its id.
    pub async fn create_organization(
        &self,
        caller: &Caller,
        id: OrganizationId,
        name: Option<&str>,
    ) -> Result<Organization, Fault> {
        let name = name.map(|name| display_name("name", name)).transpose()?.unwrap_or_else(|| id.to_string());
        let act = Act::new(caller, Operation::AdminOrganizationCreate).of_hub().on(&id).with(json!({ "name": name }));
        self.allowed(&act).await?;
        self.write_down(&act).await?;
        let fresh = Organization { id, name, created_at: SystemSource.now(), disabled_at: None };
        let made = self.store.create_organization(fresh.clone()).await;
        self.done(&act, made).await?;
        Ok(fresh)
    }

    /// Nobody of a disabled organization comes in. One's own stays: it could not be enabled again.
    pub async fn set_organization_disabled(
        &self,
        caller: &Caller,
        id: &OrganizationId,
        disabled: bool,
    ) -> Result<Organization, Fault> {
        let act = Act::new(caller, Operation::AdminOrganizationDisable).of_hub().on(id);
        let act = act.with(json!({ "disabled": disabled }));
        self.allowed(&act).await?;
        let own = *id == caller.principal.organization && caller.principal.credential != Credential::Operator;
        let own = own && disabled;
        let verdict = if own { Err(Fault::forbidden("one's own organization stays enabled")) } else { Ok(()) };
        self.judged(&act, verdict).await?;
        let known = self.store.organization(id).await.map_err(fault_of)?;
        self.judged(&act, known.ok_or_else(|| Fault::not_found("organization"))).await?;
        self.write_down(&act).await?;
        let now = SystemSource.now();
        let effect = match disabled {
            true => self.store.disable_organization(id, now).await,
            false => self.store.enable_organization(id, now).await,
        };
        let changed = self.done(&act, effect).await?;
        self.changed(id, None);
        changed.ok_or_else(|| Fault::not_found("organization"))
    }
}
