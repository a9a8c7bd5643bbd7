//! Paired devices. A token is kept as its hash.

use diesel::BoolExpressionMethods;
use diesel::prelude::*;

use super::Store;
use super::changes::Whose;
use super::fault::{CommitFault, StoreFault};
use super::pages::{asked, page};
use super::rows::{hash, id, owned, word};
use super::schema::device;
use super::tickets::drop_tickets;
use crate::domain::account::Device;
use crate::domain::ids::{DeviceId, OrganizationId, Timestamp, UserId};
use crate::domain::principal::{Credential, Role};
use crate::domain::record::Page;

/// How old the note of a device's last visit may be, milliseconds.
const SEEN_EVERY: i64 = 60_000;

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = device)]
pub(super) struct DeviceRow {
    pub organization_id: String,
    pub id: String,
    pub user_id: String,
    pub name: String,
    pub role: String,
    pub hash: Vec<u8>,
    pub created_at: i64,
    pub last_seen_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

impl From<&Device> for DeviceRow {
    fn from(d: &Device) -> Self {
        Self {
            organization_id: d.organization.to_string(),
            id: d.id.to_string(),
            user_id: d.user.to_string(),
            name: owned(&d.name),
            role: d.role.name().into(),
            hash: d.hash.to_vec(),
            created_at: d.created_at.0,
            last_seen_at: d.last_seen_at.map(|at| at.0),
            revoked_at: d.revoked_at.map(|at| at.0),
        }
    }
}

impl TryFrom<DeviceRow> for Device {
    type Error = StoreFault;

    fn try_from(row: DeviceRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&row.id, DeviceId::parse)?,
            organization: id(&row.organization_id, OrganizationId::parse)?,
            user: id(&row.user_id, UserId::parse)?,
            name: row.name,
            role: word("a role", &row.role, Role::parse)?,
            hash: hash(row.hash)?,
            created_at: Timestamp(row.created_at),
            last_seen_at: row.last_seen_at.map(Timestamp),
            revoked_at: row.revoked_at.map(Timestamp),
        })
    }
}

impl Store {
    /// A new device. Its user must exist.
    pub async fn put_device(&self, device: Device) -> Result<(), CommitFault> {
        let row = DeviceRow::from(&device);
        self.write(move |c| Ok(diesel::insert_into(device::table).values(&row).execute(c).map(drop)?)).await
    }

    /// The device, also where it is revoked: that is for the caller to judge.
    pub async fn device_by_hash(&self, hash: [u8; 32]) -> Result<Option<Device>, StoreFault> {
        self.read(move |c| {
            let row: Option<DeviceRow> = device::table
                .filter(device::hash.eq(hash.to_vec()))
                .select(DeviceRow::as_select())
                .first(c)
                .optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// The device, also where it is revoked.
    pub async fn device(&self, organization: &OrganizationId, device: DeviceId) -> Result<Option<Device>, StoreFault> {
        let wanted = (organization.to_string(), device.to_string());
        self.read(move |c| {
            let row: Option<DeviceRow> =
                device::table.find(wanted).select(DeviceRow::as_select()).first(c).optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// Devices of an organization, or of one of its users, oldest first, the revoked ones too.
    pub async fn devices(
        &self,
        organization: &OrganizationId,
        user: Option<&UserId>,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Page<Device, DeviceId>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.map(ToString::to_string));
        self.read(move |c| {
            let mut query = device::table
                .filter(device::organization_id.eq(organization))
                .select(DeviceRow::as_select())
                .into_boxed();
            if let Some(user) = user {
                query = query.filter(device::user_id.eq(user));
            }
            if let Some(after) = after {
                query = query.filter(device::id.gt(after.to_string()));
            }
            let rows: Vec<DeviceRow> = query.order(device::id).limit(asked(limit)).load(c)?;
            page(rows, limit, |d: &Device| d.id)
        })
        .await
    }

    /// The renamed device. `None` where the organization has no such device, or it is revoked.
    pub async fn rename_device(
        &self,
        organization: &OrganizationId,
        device: DeviceId,
        name: &str,
    ) -> Result<Option<Device>, CommitFault> {
        let (wanted, name) = ((organization.to_string(), device.to_string()), owned(name));
        let row: Option<DeviceRow> = self
            .write(move |c| {
                let of = device::table.find(wanted);
                let live = of.clone().filter(device::revoked_at.is_null());
                if diesel::update(live).set(device::name.eq(name)).execute(c)? == 0 {
                    return Ok(None);
                }
                Ok(Some(of.select(DeviceRow::as_select()).first(c)?))
            })
            .await?;
        Ok(row.map(TryInto::try_into).transpose()?)
    }

    /// The revoked device; tickets made with it are gone. `None` where the organization has no such device, or it was revoked before.
    pub async fn revoke_device(
        &self,
        organization: &OrganizationId,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<Option<Device>, CommitFault> {
        let organization = organization.to_string();
        let row = self.change(now, move |c| {
            let of = device::table.find((organization.clone(), device.to_string()));
            let live = of.clone().filter(device::revoked_at.is_null());
            if diesel::update(live).set(device::revoked_at.eq(now.0)).execute(c)? == 0 {
                return Ok(None);
            }
            let row: DeviceRow = of.select(DeviceRow::as_select()).first(c)?;
            let made_with = Credential::Device { id: row.id.clone() };
            drop_tickets(c, &organization, &row.user_id, Some(&made_with))?;
            let whose = Whose { organization, user: Some(row.user_id.clone()) };
            Ok(Some((row, whose)))
        });
        Ok(row.await?.map(TryInto::try_into).transpose()?)
    }

    /// Notes that the device was here, unless it was noted less than a minute ago; then nothing is written. Says
    /// whether it was noted.
    pub async fn touch_device(&self, device: &Device, now: Timestamp) -> Result<bool, CommitFault> {
        if device.last_seen_at.is_some_and(|at| now.since(at) < SEEN_EVERY) {
            return Ok(false);
        }
        let wanted = (device.organization.to_string(), device.id.to_string());
        self.write(move |c| {
            // What the caller remembers may be older than what is stored.
            let old = device::last_seen_at.is_null().or(device::last_seen_at.le(now.0.saturating_sub(SEEN_EVERY)));
            let of = device::table.find(wanted).filter(old);
            Ok(diesel::update(of).set(device::last_seen_at.eq(now.0)).execute(c)? == 1)
        })
        .await
    }
}
