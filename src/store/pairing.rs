//! Codes that pair a device. A code is kept as its hash.

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::devices::DeviceRow;
use super::fault::{CommitFault, JobFault, StoreFault};
use super::rows::owned;
use super::schema::{account, device, organization, pairing_code};
use super::{Store, audit};
use crate::domain::account::{AuditEntry, Device, PairingCode};
use crate::domain::ids::{DeviceId, Timestamp};

/// Organization, user, role and device name of a code.
type Meant = (String, String, String, String);

fn may_come_in(c: &mut AnyConnection, organization: &str, user: &str) -> QueryResult<bool> {
    let found: i64 = account::table
        .inner_join(organization::table)
        .filter(account::organization_id.eq(organization))
        .filter(account::id.eq(user))
        .filter(account::disabled_at.is_null())
        .filter(organization::disabled_at.is_null())
        .count()
        .get_result(c)?;
    Ok(found == 1)
}

impl Store {
    /// A new code. Its user must exist. `Refused` where there is the same code already: the caller draws another one.
    pub async fn put_pairing_code(&self, code: PairingCode) -> Result<(), CommitFault> {
        self.write(move |c| {
            diesel::insert_into(pairing_code::table)
                .values((
                    pairing_code::hash.eq(code.hash.to_vec()),
                    pairing_code::organization_id.eq(code.organization.to_string()),
                    pairing_code::user_id.eq(code.user.to_string()),
                    pairing_code::role.eq(code.role.name()),
                    pairing_code::device_name.eq(owned(&code.device_name)),
                    pairing_code::created_at.eq(code.created_at.0),
                    pairing_code::expires_at.eq(code.expires_at.0),
                ))
                .execute(c)?;
            Ok(())
        })
        .await
    }

    /// Uses the code up and makes the device it was made for, in one transaction: of many at once one wins. `None`
    /// where the code is unknown, expired or used, or its user does not come in any more. What `record` says of the
    /// device is written into the audit log in that transaction: there is no device without its row.
    pub async fn use_pairing_code(
        &self,
        hash: [u8; 32],
        now: Timestamp,
        device: DeviceId,
        token_hash: [u8; 32],
        record: impl FnOnce(&Device) -> AuditEntry + Send + 'static,
    ) -> Result<Option<Device>, CommitFault> {
        self.write(move |c| {
            let of = pairing_code::table.find(hash.to_vec());
            let live = of.clone().filter(pairing_code::used_at.is_null()).filter(pairing_code::expires_at.gt(now.0));
            if diesel::update(live).set(pairing_code::used_at.eq(now.0)).execute(c)? == 0 {
                return Ok(None);
            }
            let meant =
                (pairing_code::organization_id, pairing_code::user_id, pairing_code::role, pairing_code::device_name);
            let (organization_id, user_id, role, name): Meant = of.select(meant).first(c)?;
            if !may_come_in(c, &organization_id, &user_id)? {
                return Ok(None);
            }
            let row = DeviceRow {
                organization_id,
                id: device.to_string(),
                user_id,
                name,
                role,
                hash: token_hash.to_vec(),
                created_at: now.0,
                last_seen_at: None,
                revoked_at: None,
            };
            diesel::insert_into(device::table).values(&row).execute(c)?;
            let made = Device::try_from(row).map_err(|fault| JobFault::Refused(fault.to_string()))?;
            audit::append(c, &record(&made))?;
            Ok(Some(made))
        })
        .await
    }

    /// Codes of the whole hub that would pair a device now.
    pub async fn live_pairing_codes(&self, now: Timestamp) -> Result<u64, StoreFault> {
        self.read(move |c| {
            let live =
                pairing_code::table.filter(pairing_code::used_at.is_null()).filter(pairing_code::expires_at.gt(now.0));
            let count: i64 = live.count().get_result(c)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    /// No code of the whole hub pairs a device any more. Gives how many it were.
    pub async fn spoil_pairing_codes(&self) -> Result<usize, CommitFault> {
        self.write(|c| Ok(diesel::delete(pairing_code::table.filter(pairing_code::used_at.is_null())).execute(c)?))
            .await
    }
}
