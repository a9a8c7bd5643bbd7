//! Who is connected to this worker: one standing for each credential in use, shared by all its sockets.
//!
//! A connection takes its principal from its standing at every frame, so that a change of role holds from the next
//! command on. What a credential lost is found out by asking about it again, once for all of its sockets.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::expiry;
use crate::domain::command::Caller;
use crate::domain::hub::{ConnectionNumber, LocalFuture};
use crate::domain::ids::{OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::principal::{Credential, Principal};
use crate::error::{Code, Fault, close};
use crate::fanout;
use crate::transport::{Close, ConnectionId, with_connection};

/// Credentials that are asked about at the same time.
const AT_ONCE: usize = 16;

/// How long a credential that something happened to may stay unconfirmed while nobody can be asked.
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// How often it is tried to ask.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks whether a principal is still who it was: the same with its present rights, or the refusal.
pub type Confirm = Rc<dyn Fn(Arc<Principal>) -> LocalFuture<Result<Principal, Fault>>>;

/// A credential in use on this worker.
pub struct Standing {
    principal: RefCell<Arc<Principal>>,
    sockets: RefCell<Vec<Entered>>,
    /// Since when it could not be asked about.
    unconfirmed: Cell<Option<Instant>>,
}

/// A socket of a standing.
struct Entered {
    connection: ConnectionNumber,
    /// Door and address.
    origin: Arc<str>,
    since: Timestamp,
}

/// An open socket of this worker, as the administration sees it.
#[derive(Debug, Clone)]
pub struct OpenSocket {
    pub connection: ConnectionNumber,
    pub principal: Arc<Principal>,
    /// Door and address.
    pub origin: Arc<str>,
    pub since: Timestamp,
    pub subscriptions: usize,
    pub queued_bytes: usize,
}

type Key = (OrganizationId, UserId);

thread_local! {
    static STANDINGS: RefCell<AHashMap<Key, Vec<Rc<Standing>>>> = RefCell::default();
}

/// A new socket of this worker. Sockets with the same credential share one standing.
pub fn enter(caller: &Caller, connection: ConnectionNumber) -> Rc<Standing> {
    let principal = &caller.principal;
    STANDINGS.with_borrow_mut(|standings| {
        let key = (principal.organization.clone(), principal.user.clone());
        let all = standings.entry(key).or_default();
        let known = all.iter().find(|standing| standing.principal.borrow().as_ref() == principal.as_ref());
        let standing = match known {
            Some(known) => known.clone(),
            None => {
                let principal = RefCell::new(principal.clone());
                let new = Standing { principal, sockets: RefCell::default(), unconfirmed: Cell::new(None) };
                all.reserve_exact(1);
                all.push(Rc::new(new));
                all[all.len() - 1].clone()
            }
        };
        let mut sockets = standing.sockets.borrow_mut();
        // Most credentials have one socket.
        if sockets.is_empty() {
            sockets.reserve_exact(1);
        }
        sockets.push(Entered { connection, origin: caller.origin.clone(), since: SystemSource.now() });
        drop(sockets);
        standing
    })
}

/// The socket is gone.
pub fn leave(standing: &Rc<Standing>, connection: ConnectionNumber) {
    let mut sockets = standing.sockets.borrow_mut();
    if let Some(at) = sockets.iter().position(|socket| socket.connection == connection) {
        sockets.swap_remove(at);
    }
    let deserted = sockets.is_empty();
    drop(sockets);
    if !deserted {
        return;
    }
    STANDINGS.with_borrow_mut(|standings| {
        let principal = standing.principal();
        let key = (principal.organization.clone(), principal.user.clone());
        if let Some(all) = standings.get_mut(&key) {
            all.retain(|other| !Rc::ptr_eq(other, standing));
            if all.is_empty() {
                standings.remove(&key);
            }
        }
    });
}

/// Asks about all credentials of a user, or of a whole organization, that are in use on this worker, and draws the
/// consequences: closed with 4401 or 4403, or other rights from now on.
pub fn review(organization: &OrganizationId, user: Option<&UserId>, confirm: &Confirm) {
    let named: Vec<Rc<Standing>> = STANDINGS.with_borrow(|standings| match user {
        Some(user) => standings.get(&(organization.clone(), user.clone())).cloned().unwrap_or_default(),
        None => standings.iter().filter(|((o, _), _)| o == organization).flat_map(|(_, all)| all.clone()).collect(),
    });
    ask_about(named, confirm);
}

/// Asks about all sessions of other applications that are in use on this worker: nobody tells the hub when one ends.
pub fn review_foreign(confirm: &Confirm) {
    let foreign =
        |standing: &&Rc<Standing>| matches!(standing.principal.borrow().credential, Credential::Foreign { .. });
    let all = STANDINGS.with_borrow(|standings| standings.values().flatten().filter(foreign).cloned().collect());
    ask_about(all, confirm);
}

fn ask_about(named: Vec<Rc<Standing>>, confirm: &Confirm) {
    if named.is_empty() {
        return;
    }
    let confirm = confirm.clone();
    actix_rt::spawn(async move {
        let all = futures_util::stream::iter(named);
        all.for_each_concurrent(AT_ONCE, |standing| standing.confirmed(confirm.clone())).await;
    });
}

/// A connection that is no socket, among those of its credential for as long as this is held.
pub struct Stay {
    standing: Rc<Standing>,
    connection: ConnectionNumber,
    end: Option<Timestamp>,
}

impl Stay {
    pub fn begin(caller: &Caller, connection: ConnectionNumber) -> Self {
        let end = caller.principal.expires_at;
        if let Some(at) = end {
            expiry::watch(at, connection);
        }
        Self { standing: enter(caller, connection), connection, end }
    }

    /// Gives a caller the rights of now.
    pub fn refresh(&self, caller: &mut Caller) {
        self.standing.refresh(caller);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        leave(&self.standing, self.connection);
        if let Some(at) = self.end {
            expiry::forget(at, self.connection);
        }
    }
}

/// Open sockets of an organization on this worker, or of one of its users, in the order of their numbers: at most
/// `limit` of those above `after`.
pub fn open_sockets(
    organization: &OrganizationId,
    user: Option<&UserId>,
    after: Option<ConnectionNumber>,
    limit: usize,
) -> Vec<OpenSocket> {
    STANDINGS.with_borrow(|standings| {
        let wanted = |key: &Key| key.0 == *organization && user.is_none_or(|user| key.1 == *user);
        let mut numbers = Vec::new();
        for standing in standings.iter().filter(|(key, _)| wanted(key)).flat_map(|(_, all)| all) {
            let sockets = standing.sockets.borrow();
            let behind =
                sockets.iter().map(|s| s.connection).filter(|number| after.is_none_or(|after| *number > after));
            numbers.extend(behind.map(|number| (number, standing)));
        }
        numbers.sort_unstable_by_key(|(number, _)| *number);
        numbers.into_iter().filter_map(|(number, standing)| standing.open_socket(number)).take(limit).collect()
    })
}

/// One of them. `None` where that organization has no such socket on this worker.
pub fn open_socket(organization: &OrganizationId, connection: ConnectionNumber) -> Option<OpenSocket> {
    let mut found = open_sockets(organization, None, connection.checked_sub(1), 1);
    found.pop().filter(|socket| socket.connection == connection)
}

impl Standing {
    /// Who it is now.
    pub fn principal(&self) -> Arc<Principal> {
        self.principal.borrow().clone()
    }

    /// Gives a caller the rights of now.
    pub fn refresh(&self, caller: &mut Caller) {
        let present = self.principal.borrow();
        if !Arc::ptr_eq(&present, &caller.principal) {
            caller.principal = present.clone();
        }
    }

    fn numbers(&self) -> Vec<ConnectionNumber> {
        self.sockets.borrow().iter().map(|socket| socket.connection).collect()
    }

    /// `None` where it is closing.
    fn open_socket(&self, connection: ConnectionNumber) -> Option<OpenSocket> {
        let sockets = self.sockets.borrow();
        let socket = sockets.iter().find(|socket| socket.connection == connection)?;
        let queued = with_connection(ConnectionId(connection), |o| o.is_open().then(|| o.queued_bytes())).flatten();
        Some(OpenSocket {
            connection,
            principal: self.principal(),
            origin: socket.origin.clone(),
            since: socket.since,
            subscriptions: fanout::listens_to(connection),
            queued_bytes: queued?,
        })
    }

    async fn confirmed(self: Rc<Self>, confirm: Confirm) {
        match self.verdict(confirm).await {
            Some(Ok((before, after))) => self.go_on(&before, after),
            Some(Err(close)) => self.close(&close),
            None => {}
        }
    }

    /// Asks until somebody answers: who it was and who it is now, or how its sockets are closed. Nothing where another
    /// question is under way, or nobody is left.
    async fn verdict(&self, confirm: Confirm) -> Option<Result<(Arc<Principal>, Principal), Close>> {
        let waits = self.unconfirmed.get().is_some();
        loop {
            let before = self.principal();
            match confirm(before.clone()).await {
                Ok(after) => {
                    self.unconfirmed.set(None);
                    return Some(Ok((before, after)));
                }
                Err(fault) if matches!(fault.code, Code::Unavailable | Code::Internal) => {
                    if self.since(&fault, &before).elapsed() >= UNCONFIRMED {
                        return Some(Err(Close::new(close::RESTARTING, "the credential could not be confirmed")));
                    }
                }
                Err(fault) => {
                    let expired = before.expires_at.is_some_and(|end| end <= SystemSource.now());
                    tracing::info!(
                        organization = %before.organization, user = %before.user, %fault,
                        sockets = self.sockets.borrow().len(), "a credential is no longer good; its sockets are closed"
                    );
                    return Some(Err(match expired {
                        true => Close::new(close::EXPIRED, "the credential has expired"),
                        false => Close::new(close::REVOKED, "revoked"),
                    }));
                }
            }
            // Somebody else's turn to try; the sockets stay for as long.
            if waits || self.sockets.borrow().is_empty() {
                return None;
            }
            actix_rt::time::sleep(AGAIN).await;
        }
    }

    /// Since when nobody could say; the log hears of it once.
    fn since(&self, fault: &Fault, principal: &Principal) -> Instant {
        self.unconfirmed.get().unwrap_or_else(|| {
            let (organization, user) = (&principal.organization, &principal.user);
            tracing::warn!(%organization, %user, %fault, "a credential cannot be confirmed; trying again");
            let now = Instant::now();
            self.unconfirmed.set(Some(now));
            now
        })
    }

    /// The credential is good. What it may do holds from the next command on, and for what it listens to.
    fn go_on(&self, before: &Arc<Principal>, after: Principal) {
        if **before != after {
            *self.principal.borrow_mut() = Arc::new(after);
        }
        let present = self.principal();
        for socket in self.numbers() {
            fanout::renew(socket, &present);
        }
    }

    fn close(&self, close: &Close) {
        for socket in self.numbers() {
            with_connection(ConnectionId(socket), |outbound| outbound.close(close.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::Role;

    fn alice(credential: Credential) -> Caller {
        let principal = Arc::new(Principal {
            organization: OrganizationId::parse("acme").unwrap(),
            user: UserId::parse("alice").unwrap(),
            role: Role::Member,
            hub_admin: false,
            permissions: Vec::new(),
            credential,
            expires_at: None,
        });
        Caller { principal, request_id: "1".into(), origin: "/ws from 127.0.0.1".into(), address: None }
    }

    /// Answers with what `say` says about the question of that number; the numbers that were asked.
    fn answering(say: impl Fn(usize) -> Result<Role, Fault> + 'static) -> (Confirm, Rc<Cell<usize>>) {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let confirm: Confirm = Rc::new(move |principal: Arc<Principal>| {
            count.set(count.get() + 1);
            let said = say(count.get()).map(|role| Principal { role, ..(*principal).clone() });
            Box::pin(async move { said })
        });
        (confirm, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_store_for_a_minute_the_sockets_are_sent_away_to_come_again() {
        let standing = enter(&alice(Credential::Operator), 1);
        let (confirm, asked) = answering(|_| Err(Fault::unavailable("the store does not answer")));
        let began = Instant::now();
        let close = standing.verdict(confirm.clone()).await.expect("a verdict").expect_err("closed");
        assert_eq!(close.code, close::RESTARTING);
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        assert_eq!(asked.get(), 61, "once a second");
        leave(&standing, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_comes_back_in_time_costs_nobody_a_socket() {
        let standing = enter(&alice(Credential::Operator), 1);
        let dead = |fault: &str| Err(Fault::unavailable(fault));
        let (confirm, _) = answering(move |n| if n < 60 { dead("not yet") } else { Ok(Role::Viewer) });
        let (before, after) = standing.verdict(confirm).await.expect("a verdict").expect("it is good");
        assert_eq!((before.role, after.role), (Role::Member, Role::Viewer));
        assert!(standing.unconfirmed.get().is_none(), "the minute begins anew");
        // While somebody asks already, one more question is one, not a minute of them.
        standing.unconfirmed.set(Some(Instant::now()));
        let (confirm, asked) = answering(move |_| dead("not yet"));
        assert!(standing.verdict(confirm).await.is_none());
        assert_eq!(asked.get(), 1);
        leave(&standing, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_left_is_nobody_to_ask_for() {
        let standing = enter(&alice(Credential::Operator), 1);
        leave(&standing, 1);
        let (confirm, asked) = answering(|_| Err(Fault::unavailable("not yet")));
        assert!(standing.verdict(confirm).await.is_none());
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_of_other_applications_are_asked_about_and_no_others() {
        let local = tokio::task::LocalSet::new();
        let run = local.run_until(async {
            let foreign = enter(&alice(Credential::Foreign { id: "f".into() }), 1);
            let own = enter(&alice(Credential::Operator), 2);
            let (confirm, asked) = answering(|_| Ok(Role::Viewer));
            review_foreign(&confirm);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(asked.get(), 1);
            assert_eq!((foreign.principal().role, own.principal().role), (Role::Viewer, Role::Member));
            leave(&foreign, 1);
            leave(&own, 2);
            review_foreign(&confirm);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(asked.get(), 1, "nobody is there any more");
        });
        run.await;
    }
}
