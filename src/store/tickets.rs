//! Tickets: each is used once, and gone with its use. A ticket is kept as its hash.

use diesel::prelude::*;

use super::Store;
use super::connection::AnyConnection;
use super::fault::{CommitFault, StoreFault};
use super::rows::{corrupt, hash, id, maybe, owned, word};
use super::schema::ticket;
use crate::domain::account::Ticket;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::{Credential, Principal, Role};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = ticket)]
struct TicketRow {
    hash: Vec<u8>,
    organization_id: String,
    user_id: String,
    credential: String,
    role: String,
    hub_admin: bool,
    permissions: String,
    credential_expires_at: Option<i64>,
    route: String,
    origin: Option<String>,
    created_at: i64,
    expires_at: i64,
}

impl From<&Ticket> for TicketRow {
    fn from(t: &Ticket) -> Self {
        let principal = &t.principal;
        Self {
            hash: t.hash.to_vec(),
            organization_id: principal.organization.to_string(),
            user_id: principal.user.to_string(),
            credential: principal.credential.store(),
            role: principal.role.name().into(),
            hub_admin: principal.hub_admin,
            permissions: serde_json::Value::from(principal.permissions.clone()).to_string(),
            credential_expires_at: principal.expires_at.map(|at| at.0),
            route: owned(&t.route),
            origin: maybe(t.origin.as_ref()),
            created_at: t.created_at.0,
            expires_at: t.expires_at.0,
        }
    }
}

impl TryFrom<TicketRow> for Ticket {
    type Error = StoreFault;

    fn try_from(row: TicketRow) -> Result<Self, StoreFault> {
        let permissions = serde_json::from_str(&row.permissions);
        let principal = Principal {
            organization: id(&row.organization_id, OrganizationId::parse)?,
            user: id(&row.user_id, UserId::parse)?,
            role: word("a role", &row.role, Role::parse)?,
            hub_admin: row.hub_admin,
            permissions: permissions.map_err(|_| corrupt("a list of permissions", &row.permissions))?,
            credential: word("a credential", &row.credential, Credential::parse)?,
            expires_at: row.credential_expires_at.map(Timestamp),
        };
        Ok(Self {
            hash: hash(row.hash)?,
            principal,
            route: row.route,
            origin: row.origin,
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
        })
    }
}

impl Store {
    /// A new ticket. Its user must exist.
    pub async fn put_ticket(&self, ticket: Ticket) -> Result<(), CommitFault> {
        let row = TicketRow::from(&ticket);
        self.write(move |c| Ok(diesel::insert_into(ticket::table).values(&row).execute(c).map(drop)?)).await
    }

    /// Takes the ticket away: of many at once one gets it. `None` where it is unknown, used or expired. Whether its
    /// principal still may come in, and this way, is for the caller to judge.
    pub async fn take_ticket(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Ticket>, CommitFault> {
        let row: Option<TicketRow> = self
            .write(move |c| {
                let of = ticket::table.find(hash.to_vec());
                let row: Option<TicketRow> = of.clone().select(TicketRow::as_select()).first(c).optional()?;
                // Another process may have taken it since it was read.
                let taken = diesel::delete(of).execute(c)? == 1;
                Ok(row.filter(|row| taken && row.expires_at > now.0))
            })
            .await?;
        Ok(row.map(TryInto::try_into).transpose()?)
    }

    /// Takes back the tickets that a user made, all or those made with one credential. Gives how many.
    pub async fn drop_tickets(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        credential: Option<&Credential>,
    ) -> Result<usize, CommitFault> {
        let (organization, user, credential) = (organization.to_string(), user.to_string(), credential.cloned());
        self.write(move |c| Ok(drop_tickets(c, &organization, &user, credential.as_ref())?)).await
    }
}

/// Makes all tickets void: what an earlier run of the hub gave out is good for nothing now.
pub(super) fn spoil(c: &mut AnyConnection) -> QueryResult<usize> {
    diesel::delete(ticket::table).execute(c)
}

/// Within a transaction, where the credential or the user is revoked in it.
pub(super) fn drop_tickets(
    c: &mut AnyConnection,
    organization: &str,
    user: &str,
    credential: Option<&Credential>,
) -> QueryResult<usize> {
    let theirs = ticket::table.filter(ticket::organization_id.eq(organization)).filter(ticket::user_id.eq(user));
    match credential {
        Some(credential) => diesel::delete(theirs.filter(ticket::credential.eq(credential.store()))).execute(c),
        None => diesel::delete(theirs).execute(c),
    }
}
