//! Paired devices: everybody's own, and an organization's for its admins.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::act::Act;
use super::users::may_touch;
use super::{Accounts, Caller, PageRequest, display_name, fault_of, rank};
use crate::auth::keys;
use crate::domain::account::Device;
use crate::domain::command::Page;
use crate::domain::ids::{DeviceId, OrganizationId, Source, SystemSource, UserId};
use crate::domain::policy::{self, Operation};
use crate::error::Fault;

fn unknown() -> Fault {
    Fault::not_found("device")
}

impl Accounts {
    /// The caller's own that are paired now.
    pub async fn own_devices(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Device>, Fault> {
        policy::allow(&caller.principal, Operation::DeviceList)?;
        let principal = &caller.principal;
        let mut found = self.devices_of(&principal.organization, Some(&principal.user), page).await?;
        found.items.retain(|device| device.revoked_at.is_none());
        Ok(found)
    }

    pub async fn rename_device(&self, caller: &Caller, id: &str, name: &str) -> Result<Device, Fault> {
        let name = display_name("name", name)?;
        let act = Act::new(caller, Operation::DeviceRename).on(id).with(json!({ "name": name }));
        self.allowed(&act).await?;
        let device = self.own_device(caller, id).await;
        let device = self.judged(&act, device).await?;
        self.write_down(&act).await?;
        let renamed = self.store.rename_device(&device.organization, device.id, &name).await;
        self.done(&act, renamed).await?.ok_or_else(unknown)
    }

    /// Another user's device does not exist for the caller.
    pub async fn revoke_own_device(&self, caller: &Caller, id: &str) -> Result<(), Fault> {
        let act = Act::new(caller, Operation::DeviceRevoke).on(id);
        self.allowed(&act).await?;
        let device = self.own_device(caller, id).await;
        let device = self.judged(&act, device).await?;
        self.revoke(act.with(json!({ "name": device.name })), device).await
    }

    /// Devices of an organization, oldest first, or of one of its users; the revoked ones too.
    pub async fn devices(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: Option<&UserId>,
        page: &PageRequest,
    ) -> Result<Page<Device>, Fault> {
        policy::allow(&caller.principal, Operation::AdminDeviceList)?;
        self.devices_of(organization, user, page).await
    }

    /// For admins: a device of a user who does not stand above them, without a pairing code. The device as a row, and its
    /// token, which is not kept and cannot be shown again. It never has more than the caller has now.
    pub async fn create_device(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: &UserId,
        name: &str,
    ) -> Result<(Device, SecretString), Fault> {
        let name = display_name("name", name)?;
        let id = DeviceId::mint(&mut SystemSource);
        let act = Act::new(caller, Operation::AdminDeviceCreate).within(organization).on(id);
        let act = act.with(json!({ "user": user.as_str(), "name": name }));
        self.allowed(&act).await?;
        let user = self.known_user(organization, user).await;
        let user = self.judged(&act, user).await?;
        self.judged(&act, may_touch(&caller.principal, &user)).await?;
        let token = keys::generate("")?;
        let device = Device {
            id,
            organization: organization.clone(),
            user: user.id,
            name,
            role: user.role.min(rank(&caller.principal)),
            hash: keys::hash(token.expose_secret()),
            created_at: SystemSource.now(),
            last_seen_at: None,
            revoked_at: None,
        };
        self.write_down(&act).await?;
        let made = self.store.put_device(device.clone()).await;
        self.done(&act, made).await?;
        Ok((device, token))
    }

    /// For admins: anybody's of the organization who does not stand above them.
    pub async fn revoke_device(&self, caller: &Caller, organization: &OrganizationId, id: &str) -> Result<(), Fault> {
        let act = Act::new(caller, Operation::AdminDeviceRevoke).within(organization).on(id);
        self.allowed(&act).await?;
        let device = self.device(organization, id).await;
        let device = self.judged(&act, device).await?;
        let act = act.with(json!({ "user": device.user.as_str(), "name": device.name }));
        let user = self.known_user(organization, &device.user).await?;
        self.judged(&act, may_touch(&caller.principal, &user)).await?;
        self.revoke(act, device).await
    }

    async fn revoke(&self, act: Act<'_>, device: Device) -> Result<(), Fault> {
        self.write_down(&act).await?;
        let revoked = self.store.revoke_device(&device.organization, device.id, SystemSource.now()).await;
        self.done(&act, revoked).await?;
        self.changed(&device.organization, Some(&device.user));
        Ok(())
    }

    async fn devices_of(
        &self,
        organization: &OrganizationId,
        user: Option<&UserId>,
        page: &PageRequest,
    ) -> Result<Page<Device>, Fault> {
        let after = page.after(|cursor| DeviceId::parse(cursor).ok())?;
        let found = self.store.devices(organization, user, after, page.limit).await.map_err(fault_of)?;
        Ok(Page { items: found.items, next: found.next.map(|id| id.to_string()) })
    }

    async fn device(&self, organization: &OrganizationId, id: &str) -> Result<Device, Fault> {
        let id = DeviceId::parse(id).map_err(|_| unknown())?;
        self.store.device(organization, id).await.map_err(fault_of)?.ok_or_else(unknown)
    }

    async fn own_device(&self, caller: &Caller, id: &str) -> Result<Device, Fault> {
        let device = self.device(&caller.principal.organization, id).await?;
        let own = device.user == caller.principal.user && device.revoked_at.is_none();
        if own { Ok(device) } else { Err(unknown()) }
    }
}
