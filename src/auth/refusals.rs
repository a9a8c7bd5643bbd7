//! Refusals at the doors, on their way into the audit log: counted in memory, written by a task, so that whoever knocks
//! a thousand times is a row a minute and costs no write of their own.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::domain::account::AuditEntry;
use crate::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use crate::domain::principal::Principal;
use crate::error::Fault;
use crate::store::Store;

/// Kinds of refusals that are counted apart; what comes beyond them is counted together.
const MOST: usize = 1000;
/// Where somebody was refused at no address of the hub's: what a stranger asks for is not for a log that only grows.
pub const UNKNOWN_ADDRESS: &str = "an unknown address";
/// One row for each kind in this time.
const EACH: Duration = Duration::from_secs(60);

#[derive(PartialEq, Eq, Hash)]
struct Kind {
    /// Absent for those that are counted together.
    address: Option<IpAddr>,
    /// Where somebody is known: one address may be that of many people, and a row belongs to one organization.
    who: Option<(OrganizationId, UserId)>,
    what: String,
    code: &'static str,
}

struct Count {
    /// Not written down yet.
    open: u64,
    written: Option<Instant>,
    /// The first of them.
    entry: AuditEntry,
}

/// Who was refused where, until it is written down.
#[derive(Default)]
pub struct Refusals {
    counts: Mutex<HashMap<Kind, Count>>,
    /// Due, and not handed to the store yet: whoever writes may be stopped between two rows, and another goes on.
    waiting: Mutex<VecDeque<AuditEntry>>,
}

impl Refusals {
    fn counts(&self) -> MutexGuard<'_, HashMap<Kind, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal. `what`: the operation's name, or the path of a door. `principal`: where somebody is known.
    pub fn note(&self, address: IpAddr, what: &str, fault: &Fault, principal: Option<&Principal>, request_id: &str) {
        let code = fault.code.name();
        let who = principal.map(|principal| (principal.organization.clone(), principal.user.clone()));
        let mut kind = Kind { address: Some(address), who, what: what.to_owned(), code };
        let mut counts = self.counts();
        if counts.len() >= MOST && !counts.contains_key(&kind) {
            kind = Kind { address: None, who: None, what: String::new(), code };
        }
        match counts.get_mut(&kind) {
            Some(count) if count.open > 0 => count.open += 1,
            Some(count) => {
                count.entry = entry(&kind, fault, principal, request_id);
                count.open = 1;
            }
            None => {
                let entry = entry(&kind, fault, principal, request_id);
                counts.insert(kind, Count { open: 1, written: None, entry });
            }
        }
    }

    /// What is due: the first refusal of a kind at once, the ones after it together once a minute is over.
    fn due(&self, now: Instant, all: bool) -> Vec<AuditEntry> {
        let mut due = Vec::new();
        self.counts().retain(|_, count| {
            let over = count.written.is_none_or(|written| now.duration_since(written) >= EACH);
            if !over && !all {
                return true;
            }
            if count.open == 0 {
                return false;
            }
            let mut entry = count.entry.clone();
            entry.details["count"] = json!(count.open);
            due.push(entry);
            (count.open, count.written) = (0, Some(now));
            true
        });
        due
    }

    /// Writes down what is due; `all`: also what is not, at the end. What the store does not take is lost, and the log
    /// says so: nobody waits for it.
    pub async fn write(&self, store: &Store, all: bool) {
        let queue = || self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.due(Instant::now(), all);
        queue().extend(due);
        let next = || queue().pop_front();
        while let Some(entry) = next() {
            let action = entry.action.clone();
            if let Err(fault) = store.append_audit(entry).await {
                tracing::warn!(%fault, action, "a refusal could not be written down");
            }
        }
    }
}

fn entry(kind: &Kind, fault: &Fault, principal: Option<&Principal>, request_id: &str) -> AuditEntry {
    let alone = kind.address.is_some();
    let principal = principal.filter(|_| alone);
    AuditEntry {
        at: SystemSource.now(),
        organization: principal.map(|principal| principal.organization.clone()),
        actor: principal.map(|principal| principal.user.clone()),
        credential: principal.map(|principal| principal.credential.clone()),
        action: if alone { kind.what.clone() } else { "others".into() },
        target: None,
        details: json!({ "code": kind.code, "reason": if alone { fault.message.as_str() } else { "many" } }),
        outcome: Some("refused".into()),
        origin: kind.address.map_or_else(|| "many".into(), |address| address.to_string()),
        request_id: request_id.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::{Credential, Role};
    use crate::error::Code;

    fn knock(refusals: &Refusals, address: u8, times: usize) {
        for n in 0..times {
            let fault = Fault::plain(Code::Unauthorized);
            refusals.note([10, 0, 0, address].into(), "/ws", &fault, None, &format!("req_{n}"));
        }
    }

    #[test]
    fn a_thousand_knocks_are_one_row_at_once_and_one_a_minute() {
        let refusals = Refusals::default();
        let begin = Instant::now();
        knock(&refusals, 1, 1000);
        let first = refusals.due(begin, false);
        assert_eq!(first.len(), 1);
        assert_eq!((&first[0].details["count"], first[0].request_id.as_str()), (&json!(1000), "req_0"));
        knock(&refusals, 1, 7);
        assert!(refusals.due(begin + Duration::from_secs(59), false).is_empty());
        assert_eq!(refusals.due(begin + EACH, false)[0].details["count"], json!(7));
        assert!(refusals.due(begin + EACH * 3, false).is_empty());
        assert!(refusals.counts().is_empty(), "what is over is forgotten");
    }

    #[test]
    fn who_shares_an_address_has_a_row_of_their_own_organization() {
        let refusals = Refusals::default();
        for (organization, user) in [("acme", "ann"), ("rival", "eve"), ("acme", "bob"), ("acme", "ann")] {
            let principal = Principal {
                organization: OrganizationId::parse(organization).expect("an organization"),
                user: UserId::parse(user).expect("a user"),
                role: Role::Viewer,
                hub_admin: false,
                permissions: Vec::new(),
                credential: Credential::Operator,
                expires_at: None,
            };
            let fault = Fault::plain(Code::Forbidden);
            refusals.note([10, 0, 0, 1].into(), "admin.users.list", &fault, Some(&principal), "r");
        }
        let due = refusals.due(Instant::now(), false);
        let said = |entry: &AuditEntry| {
            let text = |name: Option<String>| name.unwrap_or_default();
            let (organization, actor) = (entry.organization.as_ref(), entry.actor.as_ref());
            (
                text(organization.map(|o| o.to_string())),
                text(actor.map(|a| a.to_string())),
                entry.details["count"].clone(),
            )
        };
        let mut rows: Vec<_> = due.iter().map(said).collect();
        rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let row = |organization: &str, user: &str, count: u64| (organization.to_owned(), user.to_owned(), json!(count));
        assert_eq!(rows, [row("acme", "ann", 2), row("acme", "bob", 1), row("rival", "eve", 1)]);
    }

    #[test]
    fn a_flood_of_addresses_costs_bounded_memory() {
        let refusals = Refusals::default();
        for n in 0..10_000u32 {
            let fault = Fault::plain(Code::Unauthorized);
            refusals.note(IpAddr::from(n.to_be_bytes()), "/ws", &fault, None, "r");
        }
        assert!(refusals.counts().len() <= MOST + 1);
        let counted: u64 = refusals.due(Instant::now(), false).iter().filter_map(|e| e.details["count"].as_u64()).sum();
        assert_eq!(counted, 10_000);
    }
}
