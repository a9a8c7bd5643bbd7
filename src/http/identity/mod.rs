//! Identity over HTTP: tickets, pairing and one's own devices, and the administration of who may come in.

mod admin;
mod audit;
mod body;
mod devices;
mod tickets;
mod views;

use actix_web::http::Method;
use actix_web::web;

use super::endpoint::{Endpoint, row};
use crate::domain::policy::Operation;

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// The gateway's own addresses stand at the root; under `/api/v1` is everything.
pub(super) const ENDPOINTS: [Endpoint; 26] = [
    row(POST, "/api/v1/tickets", Operation::TicketCreate, || web::to(tickets::create)),
    row(POST, "/pairing/codes", Operation::PairingCreate, || web::to(devices::create_code)),
    row(POST, "/api/v1/pairing/codes", Operation::PairingCreate, || web::to(devices::create_code)),
    row(POST, "/pairing/verify", Operation::PairingVerify, || web::to(devices::verify_code)),
    row(POST, "/api/v1/pairing/verify", Operation::PairingVerify, || web::to(devices::verify_code)),
    row(GET, "/devices", Operation::DeviceList, || web::to(devices::list)),
    row(GET, "/api/v1/devices", Operation::DeviceList, || web::to(devices::list)),
    row(PATCH, "/devices/{id}", Operation::DeviceRename, || web::to(devices::rename)),
    row(PATCH, "/api/v1/devices/{id}", Operation::DeviceRename, || web::to(devices::rename)),
    row(DELETE, "/devices/{id}", Operation::DeviceRevoke, || web::to(devices::revoke)),
    row(DELETE, "/api/v1/devices/{id}", Operation::DeviceRevoke, || web::to(devices::revoke)),
    row(GET, "/api/v1/admin/organizations", Operation::AdminOrganizationList, || web::to(admin::organizations)),
    row(POST, "/api/v1/admin/organizations", Operation::AdminOrganizationCreate, || {
        web::to(admin::create_organization)
    }),
    row(PATCH, "/api/v1/admin/organizations/{id}", Operation::AdminOrganizationDisable, || {
        web::to(admin::update_organization)
    }),
    row(GET, "/api/v1/admin/users", Operation::AdminUserList, || web::to(admin::users)),
    row(POST, "/api/v1/admin/users", Operation::AdminUserCreate, || web::to(admin::create_user)),
    row(PATCH, "/api/v1/admin/users/{id}", Operation::AdminUserUpdate, || web::to(admin::update_user)),
    row(POST, "/api/v1/admin/users/{id}/disable", Operation::AdminUserDisable, || web::to(admin::disable_user)),
    row(POST, "/api/v1/admin/users/{id}/enable", Operation::AdminUserDisable, || web::to(admin::enable_user)),
    row(GET, "/api/v1/admin/keys", Operation::AdminKeyList, || web::to(admin::keys)),
    row(POST, "/api/v1/admin/keys", Operation::AdminKeyCreate, || web::to(admin::create_key)),
    row(DELETE, "/api/v1/admin/keys/{id}", Operation::AdminKeyRevoke, || web::to(admin::revoke_key)),
    row(GET, "/api/v1/admin/devices", Operation::AdminDeviceList, || web::to(admin::devices)),
    row(DELETE, "/api/v1/admin/devices/{id}", Operation::AdminDeviceRevoke, || web::to(admin::revoke_device)),
    row(POST, "/api/v1/admin/tokens/revoke", Operation::AdminTokenRevoke, || web::to(admin::revoke_token)),
    row(GET, "/api/v1/admin/audit", Operation::AdminAudit, || web::to(audit::list)),
];
