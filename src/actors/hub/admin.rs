//! The administration of what runs: seen, written down, done. Whoever asks has the role for it; here is looked whether
//! the organization is theirs, and every act is on disk in the audit log before it begins.

use std::sync::LazyLock;

use serde_json::json;

use super::channels::{bounds, checked_name, told};
use super::*;
use crate::actors::standing::{self, OpenSocket};
use crate::domain::act::Act;
use crate::domain::admin::{
    AdminCommand, AdminReply, Connected, LiveState, LiveTurn, Notice, OrganizationUsage, Subscription, Told,
};
use crate::domain::command::{Keep, name_cursor, name_of_cursor};
use crate::domain::conversation::StopKind;
use crate::domain::ids::{MessageId, TurnId, UserId};
use crate::doors::DIALECTS;
use crate::error::close;
use crate::transport::{Close, ConnectionId, with_connection};

/// The longest reason of a close, in bytes: what a Close frame holds.
const REASON: usize = 123;
/// The longest message of a broadcast, in bytes, and its data.
const NOTICE: usize = 4096;
const NOTICE_DATA: usize = 64 << 10;

/// Names of connections hold it: a number of another life of the hub is nobody's now.
static LIFE: LazyLock<Arc<str>> = LazyLock::new(fanout::new_epoch);

const CONNECTION: &str = "conn_";

fn connection_name(connection: ConnectionNumber) -> String {
    format!("{CONNECTION}{}{connection:016x}", &**LIFE)
}

fn connection_of(name: &str) -> Option<ConnectionNumber> {
    let number = name.strip_prefix(CONNECTION)?.strip_prefix(&**LIFE)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    // One spelling: no sign, no upper case, no missing zeros.
    (connection_name(number) == name).then_some(number)
}

fn connected(socket: OpenSocket) -> Connected {
    let (door, address) = socket.origin.rsplit_once(" from ").unwrap_or((&socket.origin, ""));
    Connected {
        id: connection_name(socket.connection),
        organization: socket.principal.organization.clone(),
        user: socket.principal.user.clone(),
        role: socket.principal.role,
        credential: socket.principal.credential.name(),
        door: door.to_owned(),
        address: address.to_owned(),
        since: socket.since,
        subscriptions: socket.subscriptions,
        queued_bytes: socket.queued_bytes,
    }
}

/// Of one more than a page holds: the page, and the name of its last one if there are more.
fn cut<T>(mut items: Vec<T>, limit: usize, name: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(name);
    Page { items, next }
}

impl LocalHub {
    pub(super) async fn administer(
        self,
        caller: Caller,
        organization: OrganizationId,
        command: AdminCommand,
    ) -> Result<Reply, Fault> {
        if !policy::administers(&caller.principal, &organization) {
            return Err(Fault::not_found("organization"));
        }
        let act = Act::new(&caller, command.operation()).within(&organization);
        let reply = match command {
            AdminCommand::Connections { user, page } => self.connections(&organization, user, &page).await?,
            AdminCommand::Disconnect { connection, reason } => {
                self.disconnect(act, &organization, connection, reason).await?
            }
            AdminCommand::Channels { prefix, page } => self.channels(&organization, &prefix, &page).await?,
            AdminCommand::Subscribers { channel, page } => {
                self.subscribers(&caller, organization, &channel, &page).await?
            }
            AdminCommand::Publish { channel, event, data } => {
                self.publish_as_admin(act, &organization, (&channel, &event), data).await?
            }
            AdminCommand::Broadcast(notice) => self.broadcast(act, Some(&organization), notice).await?,
            AdminCommand::BroadcastAll(notice) => self.broadcast(act.of_hub(), None, notice).await?,
            AdminCommand::Turns { which, user, page } => self.live_turns(&organization, which, user, &page).await?,
            AdminCommand::Usage(period) => self.usage_of_all(&organization, period).await?,
            AdminCommand::Reload => self.reload(act.of_hub()).await?,
            AdminCommand::History { channel, limit } => {
                return self.history_as_admin(act, organization, channel, limit).await;
            }
            AdminCommand::Messages { session, before, limit } => {
                return self.read_session(act, (organization, session), before, limit).await;
            }
            AdminCommand::Stop { session, turn, kind } => {
                return self.end_turn(act, (organization, session), turn, kind).await;
            }
            AdminCommand::Approvals(page) => return self.all_approvals(act, &organization, &page).await,
            AdminCommand::Decide { request, approved, reason } => {
                return self.decide(act, organization, request, approved, reason).await;
            }
        };
        Ok(Reply::Admin(reply))
    }

    /// Writes the act down. When this returns it is on disk.
    pub(super) async fn write_down(&self, act: &Act<'_>, outcome: Option<&str>) -> Result<(), Fault> {
        let written = self.shared.store.append_audit(act.entry(outcome)).await;
        written.map(drop).map_err(crate::actors::conversation::from_commit)
    }

    /// Passes on what there is; what there is not is written down as refused.
    async fn known<T>(&self, act: &Act<'_>, found: Result<T, Fault>) -> Result<T, Fault> {
        if found.as_ref().is_err_and(|fault| fault.code == Code::NotFound) {
            self.write_down(act, Some("refused")).await?;
        }
        found
    }

    /// Writes the act down, then does it. One that did not happen is written down as failed.
    async fn done<T>(&self, act: &Act<'_>, effect: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.write_down(act, None).await?;
        let done = effect.await;
        if done.is_err() {
            self.write_down(act, Some("failed")).await?;
        }
        done
    }

    async fn connections(
        &self,
        organization: &OrganizationId,
        user: Option<UserId>,
        page: &PageRequest,
    ) -> Result<AdminReply, Fault> {
        let (after, limit) = (page.after(connection_of)?, page.limit + 1);
        let organization = organization.clone();
        let here = move || standing::open_sockets(&organization, user.as_ref(), after, limit);
        let mut all: Vec<OpenSocket> = self.shared.workers.ask_all(here).await.into_iter().flatten().collect();
        all.sort_unstable_by_key(|socket| socket.connection);
        all.truncate(limit);
        let all = all.into_iter().map(connected).collect();
        Ok(AdminReply::Connections(cut(all, page.limit, |connected: &Connected| connected.id.clone())))
    }

    async fn disconnect(
        &self,
        act: Act<'_>,
        organization: &OrganizationId,
        name: String,
        reason: Option<String>,
    ) -> Result<AdminReply, Fault> {
        let reason = reason.unwrap_or_else(|| "disconnected by an administrator".to_owned());
        if reason.len() > REASON || reason.chars().any(char::is_control) {
            return Err(Fault::field("reason", format!("at most {REASON} bytes without control characters")));
        }
        let number = connection_of(&name);
        // Whatever else was asked for goes into no row.
        let act = act.on(number.map_or_else(|| "unknown".to_owned(), connection_name));
        let found = match number {
            Some(number) => {
                let organization = organization.clone();
                let look = move || standing::open_socket(&organization, number);
                self.shared.workers.ask(ConnectionId(number).worker(), look).await.flatten()
            }
            None => None,
        };
        let found = self.known(&act, found.ok_or_else(|| Fault::not_found("connection"))).await?;
        let act = act.with(json!({ "user": found.principal.user.as_str(), "reason": reason }));
        let number = found.connection;
        self.done(&act, async {
            let close = Close { code: close::REVOKED, reason: reason.into() };
            let end = move || with_connection(ConnectionId(number), |outbound| outbound.close(close));
            // Gone by itself in the meantime is gone.
            self.shared.workers.ask(ConnectionId(number).worker(), end).await;
            Ok(AdminReply::Disconnected)
        })
        .await
    }

    async fn channels(
        &self,
        organization: &OrganizationId,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<AdminReply, Fault> {
        let after = page.after(name_of_cursor)?;
        let found = fanout::channels(&self.shared.workers, organization, prefix, after, page.limit + 1).await;
        Ok(AdminReply::Channels(cut(found, page.limit, |channel| name_cursor(&channel.channel))))
    }

    async fn subscribers(
        &self,
        caller: &Caller,
        organization: OrganizationId,
        channel: &Channel,
        page: &PageRequest,
    ) -> Result<AdminReply, Fault> {
        let cursor = |text: &str| {
            let (connection, dialect) = text.split_once('.')?;
            Some((connection_of(connection)?, dialect.parse::<u8>().ok()?))
        };
        let (after, limit) = (page.after(cursor)?, page.limit + 1);
        let found = match channel {
            Channel::Session(id) => {
                let make = |answer| Look::Subscribers { caller: caller.clone(), after, limit, answer };
                self.deliver((organization, *id), make).await?
            }
            other => {
                let key = ChannelKey::new(organization, other);
                let found = fanout::subscribers(&self.shared.workers, key, after, limit).await;
                found.ok_or_else(|| Fault::not_found("channel"))?
            }
        };
        let named = |s: &fanout::Subscriber| format!("{}.{}", connection_name(s.connection), s.dialect.0);
        let Page { items, next } = cut(found, page.limit, named);
        let subscription = |s: fanout::Subscriber| Subscription {
            connection: connection_name(s.connection),
            user: s.principal.user.clone(),
            role: s.principal.role,
            wire: DIALECTS.get(usize::from(s.dialect.0)).map_or("", |dialect| dialect.name()),
        };
        Ok(AdminReply::Subscribers(Page { items: items.into_iter().map(subscription).collect(), next }))
    }

    /// What the ring of a channel holds. It may be what a private conversation says: reading it is an act.
    async fn history_as_admin(
        &self,
        act: Act<'_>,
        organization: OrganizationId,
        channel: Channel,
        limit: usize,
    ) -> Result<Reply, Fault> {
        let act = act.on(&channel);
        if let Channel::Session(id) = channel {
            let place = self.there(&act, (organization, id)).await?;
            let caller = act.caller;
            let make = |answer| {
                let by = By::Administration;
                Look::History { caller: caller.clone(), by, since: None, limit, answer }
            };
            return self.done(&act, self.deliver(place, make)).await;
        }
        let workers = &self.shared.workers;
        let key = ChannelKey::new(organization, &channel);
        let there = fanout::subscribers(workers, key.clone(), None, 0).await;
        self.known(&act, there.ok_or_else(|| Fault::not_found("channel"))).await?;
        let read = async {
            let found = fanout::history(workers, key, None, limit).await;
            found.map(told).ok_or_else(|| Fault::not_found("channel"))
        };
        self.done(&act, read).await
    }

    async fn publish_as_admin(
        &self,
        act: Act<'_>,
        organization: &OrganizationId,
        (channel, event): (&str, &str),
        data: Arc<str>,
    ) -> Result<AdminReply, Fault> {
        let name = checked_name(organization, channel, event)?;
        let act = act.on(channel).with(json!({ "event": event, "bytes": data.len() }));
        self.done(&act, async {
            let event = Event::Application { name: event.into(), data };
            let (answer, position) = oneshot::channel();
            let rules = self.shared.settings.get().channel_home;
            fanout::publish(&self.shared.workers, name, event, rules, Some(answer));
            position.await.map(AdminReply::Published).map_err(|_| Fault::unavailable("the hub is stopping"))
        })
        .await
    }

    /// To one organization, or to each.
    async fn broadcast(
        &self,
        act: Act<'_>,
        only: Option<&OrganizationId>,
        notice: Notice,
    ) -> Result<AdminReply, Fault> {
        if notice.message.trim().is_empty() || notice.message.len() > NOTICE {
            return Err(Fault::field("message", format!("1 to {NOTICE} bytes")));
        }
        if notice.data.as_ref().is_some_and(|data| data.to_string().len() > NOTICE_DATA) {
            return Err(Fault::field("data", format!("at most {NOTICE_DATA} bytes")));
        }
        let principal = &act.caller.principal;
        let by = only.filter(|only| **only == principal.organization).map(|_| principal.user.clone());
        let act = act.with(json!({ "message": notice.message }));
        self.done(&act, async {
            let event = Event::Broadcast { notice: Arc::new(notice), by, everyone: only.is_none() };
            Ok(AdminReply::Told(self.tell(only, event).await))
        })
        .await
    }

    async fn tell(&self, only: Option<&OrganizationId>, event: Event) -> Told {
        fanout::tell_organizations(&self.shared.workers, only, event).await
    }

    async fn live_turns(
        &self,
        organization: &OrganizationId,
        which: Option<LiveState>,
        user: Option<UserId>,
        page: &PageRequest,
    ) -> Result<AdminReply, Fault> {
        let after = page.after(|cursor| TurnId::parse(cursor).ok())?;
        let found = self.shared.store.live_turns(organization, which, user, after, page.limit).await;
        let found = found.map_err(from_store)?;
        let items = found.items.into_iter().map(|(settings, turn)| LiveTurn { settings, turn }).collect();
        Ok(AdminReply::Turns(Page { items, next: found.next.map(|id| id.to_string()) }))
    }

    /// The conversation is there.
    async fn there(&self, act: &Act<'_>, place: Place) -> Result<Place, Fault> {
        let row = self.shared.store.conversation(&place.0, place.1).await.map_err(from_store)?;
        self.known(act, row.ok_or_else(|| Fault::not_found("session"))).await?;
        Ok(place)
    }

    async fn read_session(
        &self,
        act: Act<'_>,
        place: Place,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Reply, Fault> {
        let act = act.on(place.1);
        let place = self.there(&act, place).await?;
        let command = SessionCommand::Messages { before, limit };
        self.done(&act, self.ask_by(By::Administration, act.caller.clone(), place, command)).await
    }

    async fn end_turn(&self, act: Act<'_>, place: Place, turn: Option<TurnId>, kind: StopKind) -> Result<Reply, Fault> {
        let details = turn.map_or_else(|| json!({}), |turn| json!({ "turn": turn.to_string() }));
        let act = act.on(place.1).with(details);
        let place = self.there(&act, place).await?;
        let command = SessionCommand::Stop(turn, kind);
        self.done(&act, self.ask_by(By::Administration, act.caller.clone(), place, command)).await
    }

    /// All questions that wait. They show what private conversations are about: reading them is an act.
    async fn all_approvals(
        &self,
        act: Act<'_>,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Reply, Fault> {
        let after = page.after(|cursor| ApprovalId::parse(cursor).ok())?;
        self.done(&act, async {
            let found = self.shared.store.all_pending_approvals(organization, after, page.limit).await;
            let found = found.map_err(from_store)?;
            Ok(Reply::Approvals(Page { items: found.items, next: found.next.map(|id| id.to_string()) }))
        })
        .await
    }

    /// The way of every decision: the first counts, and all are told.
    async fn decide(
        &self,
        act: Act<'_>,
        organization: OrganizationId,
        request: ApprovalId,
        approved: bool,
        reason: Option<String>,
    ) -> Result<Reply, Fault> {
        check_reason(reason.as_deref())?;
        let act = act.on(request);
        let found = self.approval(&organization, request).await?;
        let id = self.known(&act, found.ok_or_else(|| Fault::not_found("approval"))).await?;
        let details = json!({ "approved": approved, "reason": reason, "session": id.to_string() });
        let act = act.with(details);
        let command =
            SessionCommand::Decide { which: ApprovalRef::Request(request), approved, reason, keep: Keep::default() };
        self.done(&act, self.ask_by(By::Administration, act.caller.clone(), (organization, id), command)).await
    }

    async fn usage_of_all(&self, organization: &OrganizationId, period: Period) -> Result<AdminReply, Fault> {
        let (from, to) = bounds(period);
        let cells = self.shared.store.usage_of_organization(organization, from).await.map_err(from_store)?;
        Ok(AdminReply::Usage(OrganizationUsage { period, from, to, cells }))
    }

    async fn reload(&self, act: Act<'_>) -> Result<AdminReply, Fault> {
        self.done(&act, async {
            let reloaded = (self.shared.reload)().await?;
            self.tell(None, Event::SystemReload).await;
            Ok(AdminReply::Reloaded(reloaded))
        })
        .await
    }
}
