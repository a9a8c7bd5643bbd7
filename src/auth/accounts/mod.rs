//! The administration of who may come in: organizations, users, keys, devices, tickets, and the record of it all.
//! REST and the command line ask here alike.
//!
//! Every act is judged, then written down, then done: the audit row is on disk before the effect begins. An attempt that
//! is refused is written down too.

mod act;
mod audit;
mod devices;
mod guesses;
mod keys;
mod once;
mod organizations;
mod own_password;
mod pairing;
mod text;
mod tickets;
mod tokens;
mod users;

use std::sync::Arc;

use super::password::Passwords;
use super::{Authenticator, fault_of};
use crate::config::Config;
use crate::domain::account::Change;
use crate::domain::command::{Caller, PageRequest, name_cursor, name_of_cursor};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::principal::{Principal, Role};
use crate::error::{Code, Fault};
use crate::store::{CommitFault, Store};

pub use audit::AuditFilter;
pub use guesses::Guesses;
pub use keys::NewKey;
pub use pairing::{CODE_ALPHABET, PairingMade, random_code};
pub use text::display_name;
pub use tickets::TicketMade;
pub use tokens::WhichToken;
pub use users::{NewUser, UserChange};

/// Administers identities.
pub struct Accounts {
    store: Store,
    config: Arc<Config>,
    passwords: Passwords,
    guesses: Guesses,
    /// The one that remembers in this process; the command line has none, and a hub that runs hears of its changes by
    /// the store.
    auth: Option<Arc<Authenticator>>,
}

impl Accounts {
    pub fn new(store: Store, config: Arc<Config>, auth: Option<Arc<Authenticator>>) -> Self {
        let guesses = Guesses::new(config.pairing.code_length, config.pairing.seconds);
        Self { store, config, passwords: Passwords::default(), guesses, auth }
    }

    /// What is remembered of a user (or of all) of an organization is old. Open sockets hear of it by the store.
    fn changed(&self, organization: &OrganizationId, user: Option<&UserId>) {
        if let Some(auth) = &self.auth {
            auth.forget(&Change { n: 0, organization: organization.clone(), user: user.cloned() });
        }
    }

    /// Which organization is meant: the caller's own, or the one that an administrator of the hub names. Anybody
    /// else's does not exist.
    pub async fn organization(&self, principal: &Principal, named: Option<&str>) -> Result<OrganizationId, Fault> {
        let Some(named) = named.filter(|named| *named != principal.organization.as_str()) else {
            return Ok(principal.organization.clone());
        };
        let unknown = || Fault::not_found("organization");
        if !principal.hub_admin {
            return Err(unknown());
        }
        let organization = OrganizationId::parse(named).map_err(|_| unknown())?;
        match self.store.organization(&organization).await.map_err(fault_of)? {
            Some(known) => Ok(known.id),
            None => Err(unknown()),
        }
    }
}

/// Where somebody stands among users: whoever administers the hub is like an owner everywhere.
fn rank(principal: &Principal) -> Role {
    if principal.hub_admin { Role::Owner } else { principal.role }
}

/// What the store's refusal of a write is to who asked.
fn commit_fault(fault: CommitFault) -> Fault {
    match fault {
        CommitFault::Conflict(sentence) => Fault::new(Code::Conflict, sentence),
        other => fault_of(other),
    }
}

/// A user's id from outside.
pub fn user_id(field: &str, text: &str) -> Result<UserId, Fault> {
    UserId::parse(text).map_err(|_| Fault::field(field, "must be 1 to 200 bytes of printable text"))
}

/// An organization's id from outside.
pub fn organization_id(field: &str, text: &str) -> Result<OrganizationId, Fault> {
    OrganizationId::parse(text).map_err(|_| Fault::field(field, "must be 1 to 200 bytes of printable text"))
}

/// A role's word from outside.
pub fn role(field: &str, word: &str) -> Result<Role, Fault> {
    let known = Role::parse(&word.to_ascii_lowercase());
    known.ok_or_else(|| Fault::field(field, "must be one of owner, admin, operator, member, viewer"))
}
