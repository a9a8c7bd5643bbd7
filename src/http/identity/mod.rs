//! Identity over HTTP: tickets, pairing and one's own devices, and the administration of who may come in.

mod account;
mod admin;
mod audit;
pub(super) mod body;
mod devices;
mod tickets;
pub(super) mod views;

use actix_web::http::Method;
use actix_web::web;

use admin::{DeviceWish, KeyWish, OrganizationChange, OrganizationWish, TokenWish, UserPatch, UserWish};
use audit::AuditWish;
use devices::{CodeShown, CodeView, CodeWish, DeviceChange, DeviceToken};
use tickets::{TicketView, TicketWish};
use views::{AuditView, DeviceView, KeyView, ListView, NewDeviceView, NewKeyView, OrganizationView, UserView};

use super::described::Described;
use super::endpoint::{Endpoint, row};
use crate::domain::policy::Operation;

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// The gateway's own addresses stand at the root; under `/api/v1` is everything.
pub(super) const ENDPOINTS: [Endpoint; 28] = [
    row(POST, "/api/v1/tickets", Operation::TicketCreate, || web::to(tickets::create)).described(|| {
        Described::new("Gives a ticket: a credential in an address, for one use within seconds.")
            .body::<TicketWish>()
            .gives::<TicketView>(201)
    }),
    row(POST, "/api/v1/account/password", Operation::SetPassword, || web::to(account::set_password)).described(|| {
        Described::new("Sets your own password; your other browsers are signed out.")
            .body::<account::PasswordWish>()
            .gives_nothing(204)
    }),
    row(POST, "/pairing/codes", Operation::PairingCreate, || web::to(devices::create_code))
        .described(|| Described::new("Makes a code that pairs one device.").body::<CodeWish>().gives::<CodeView>(201)),
    row(POST, "/api/v1/pairing/codes", Operation::PairingCreate, || web::to(devices::create_code))
        .described(|| Described::new("Makes a code that pairs one device.").body::<CodeWish>().gives::<CodeView>(201)),
    row(POST, "/pairing/verify", Operation::PairingVerify, || web::to(devices::verify_code)).described(|| {
        Described::new("Pairs this device by its code; gives its token.").body::<CodeShown>().gives::<DeviceToken>(200)
    }),
    row(POST, "/api/v1/pairing/verify", Operation::PairingVerify, || web::to(devices::verify_code)).described(|| {
        Described::new("Pairs this device by its code; gives its token.").body::<CodeShown>().gives::<DeviceToken>(200)
    }),
    row(GET, "/devices", Operation::DeviceList, || web::to(devices::list)).described(|| {
        Described::new("Lists your devices.").query::<body::Listed>(&body::PAGE).gives::<ListView<DeviceView>>(200)
    }),
    row(GET, "/api/v1/devices", Operation::DeviceList, || web::to(devices::list)).described(|| {
        Described::new("Lists your devices.").query::<body::Listed>(&body::PAGE).gives::<ListView<DeviceView>>(200)
    }),
    row(PATCH, "/devices/{id}", Operation::DeviceRename, || web::to(devices::rename))
        .described(|| Described::new("Renames one of your devices.").body::<DeviceChange>().gives::<DeviceView>(200)),
    row(PATCH, "/api/v1/devices/{id}", Operation::DeviceRename, || web::to(devices::rename))
        .described(|| Described::new("Renames one of your devices.").body::<DeviceChange>().gives::<DeviceView>(200)),
    row(DELETE, "/devices/{id}", Operation::DeviceRevoke, || web::to(devices::revoke))
        .described(|| Described::new("Removes one of your devices.").gives_nothing(204)),
    row(DELETE, "/api/v1/devices/{id}", Operation::DeviceRevoke, || web::to(devices::revoke))
        .described(|| Described::new("Removes one of your devices.").gives_nothing(204)),
    row(GET, "/api/v1/admin/organizations", Operation::AdminOrganizationList, || web::to(admin::organizations))
        .described(|| {
            Described::new("Lists the organizations of the hub.")
                .query::<body::Listed>(&body::PAGE)
                .gives::<ListView<OrganizationView>>(200)
        }),
    row(POST, "/api/v1/admin/organizations", Operation::AdminOrganizationCreate, || {
        web::to(admin::create_organization)
    })
    .described(|| {
        Described::new("Makes an organization.").body::<OrganizationWish>().gives::<OrganizationView>(201).kept()
    }),
    row(PATCH, "/api/v1/admin/organizations/{id}", Operation::AdminOrganizationDisable, || {
        web::to(admin::update_organization)
    })
    .described(|| {
        Described::new("Shuts an organization out, or lets it in again.")
            .body::<OrganizationChange>()
            .gives::<OrganizationView>(200)
    }),
    row(GET, "/api/v1/admin/users", Operation::AdminUserList, || web::to(admin::users)).described(|| {
        Described::new("Lists the users of the organization.")
            .query::<body::Listed>(&body::USERS)
            .gives::<ListView<UserView>>(200)
    }),
    row(POST, "/api/v1/admin/users", Operation::AdminUserCreate, || web::to(admin::create_user)).described(|| {
        Described::new("Makes a user.")
            .query::<body::Listed>(&body::ORGANIZATION)
            .body::<UserWish>()
            .gives::<UserView>(201)
            .kept()
    }),
    row(PATCH, "/api/v1/admin/users/{id}", Operation::AdminUserUpdate, || web::to(admin::update_user)).described(
        || {
            Described::new("Changes a role, a password or whether a user comes in.")
                .query::<body::Listed>(&body::ORGANIZATION)
                .body::<UserPatch>()
                .gives::<UserView>(200)
        },
    ),
    row(POST, "/api/v1/admin/users/{id}/disable", Operation::AdminUserDisable, || web::to(admin::disable_user))
        .described(|| {
            Described::new("Shuts a user out, or lets it in again.")
                .query::<body::Listed>(&body::ORGANIZATION)
                .gives::<UserView>(200)
                .kept()
        }),
    row(POST, "/api/v1/admin/users/{id}/enable", Operation::AdminUserDisable, || web::to(admin::enable_user))
        .described(|| {
            Described::new("Shuts a user out, or lets it in again.")
                .query::<body::Listed>(&body::ORGANIZATION)
                .gives::<UserView>(200)
                .kept()
        }),
    row(GET, "/api/v1/admin/keys", Operation::AdminKeyList, || web::to(admin::keys)).described(|| {
        Described::new("Lists the API keys of the organization.")
            .query::<body::Listed>(&body::OF_USER)
            .gives::<ListView<KeyView>>(200)
    }),
    row(POST, "/api/v1/admin/keys", Operation::AdminKeyCreate, || web::to(admin::create_key)).described(|| {
        Described::new("Makes an API key; it is shown this once.")
            .query::<body::Listed>(&body::ORGANIZATION)
            .body::<KeyWish>()
            .gives::<NewKeyView>(201)
            .shown_once()
    }),
    row(DELETE, "/api/v1/admin/keys/{id}", Operation::AdminKeyRevoke, || web::to(admin::revoke_key)).described(|| {
        Described::new("Revokes an API key.").query::<body::Listed>(&body::ORGANIZATION).gives_nothing(204)
    }),
    row(GET, "/api/v1/admin/devices", Operation::AdminDeviceList, || web::to(admin::devices)).described(|| {
        Described::new("Lists the devices of the organization.")
            .query::<body::Listed>(&body::OF_USER)
            .gives::<ListView<DeviceView>>(200)
    }),
    row(POST, "/api/v1/admin/devices", Operation::AdminDeviceCreate, || web::to(admin::create_device)).described(
        || {
            Described::new("Makes a device without a pairing code; its token is shown this once.")
                .query::<body::Listed>(&body::ORGANIZATION)
                .body::<DeviceWish>()
                .gives::<NewDeviceView>(201)
        },
    ),
    row(DELETE, "/api/v1/admin/devices/{id}", Operation::AdminDeviceRevoke, || web::to(admin::revoke_device))
        .described(|| {
            Described::new("Removes a device.").query::<body::Listed>(&body::ORGANIZATION).gives_nothing(204)
        }),
    row(POST, "/api/v1/admin/tokens/revoke", Operation::AdminTokenRevoke, || web::to(admin::revoke_token)).described(
        || {
            Described::new("Revokes one token.")
                .query::<body::Listed>(&body::ORGANIZATION)
                .body::<TokenWish>()
                .gives_nothing(204)
                .kept()
        },
    ),
    row(GET, "/api/v1/admin/audit", Operation::AdminAudit, || web::to(audit::list)).described(|| {
        Described::new("Lists who administered what, the newest first.")
            .query::<AuditWish>(&audit::WISH)
            .gives::<ListView<AuditView>>(200)
    }),
];
