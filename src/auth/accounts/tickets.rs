//! Tickets: a credential for an address that can carry none in its head, good once and for seconds.

use secrecy::{ExposeSecret, SecretString};

use super::{Accounts, Caller, fault_of};
use crate::auth::keys;
use crate::domain::account::Ticket;
use crate::domain::ids::{Source, SystemSource, Timestamp};
use crate::domain::policy::{self, Operation};
use crate::error::Fault;

/// A ticket as it is handed out.
pub struct TicketMade {
    /// 32 random bytes in base64url; only its hash is kept.
    pub ticket: SecretString,
    pub expires_at: Timestamp,
}

/// The longest path a ticket is for, in bytes.
const LONGEST_ROUTE: usize = 200;

impl Accounts {
    /// A ticket for the caller, at this path alone and, where the request had an Origin, from that Origin alone.
    ///
    /// Not written down in the audit log: it gives nothing that its maker does not have, and whoever shows a console
    /// makes one a minute.
    pub async fn create_ticket(&self, caller: &Caller, route: &str, origin: Option<&str>) -> Result<TicketMade, Fault> {
        policy::allow(&caller.principal, Operation::TicketCreate)?;
        let plain = route.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b));
        if !route.starts_with('/') || route.len() > LONGEST_ROUTE || !plain {
            return Err(Fault::field("route", "must be the path of an address of this hub, such as /ws"));
        }
        let ticket = keys::generate("")?;
        let now = SystemSource.now();
        let seconds = i64::try_from(self.config.auth.ticket_seconds).unwrap_or(i64::MAX);
        let expires_at = now.plus_millis(seconds.saturating_mul(1000));
        let row = Ticket {
            hash: keys::hash(ticket.expose_secret()),
            principal: (*caller.principal).clone(),
            route: route.to_owned(),
            origin: origin.map(str::to_owned),
            created_at: now,
            expires_at,
        };
        self.store.put_ticket(row).await.map_err(fault_of)?;
        Ok(TicketMade { ticket, expires_at })
    }
}
