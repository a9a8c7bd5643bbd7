//! Channels: who may listen, what a new listener is told, presence and history, publishing.

use super::*;

impl LocalHub {
    pub(super) async fn presence(&self, caller: Caller, channel: Channel) -> Result<Reply, Fault> {
        if let Channel::Session(id) = channel {
            let place = (caller.principal.organization.clone(), id);
            return self.deliver(place, move |answer| Look::Presence { caller: caller.clone(), answer }).await;
        }
        self.may_listen(&caller, &channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &channel);
        let list = fanout::presence(&self.shared.workers, key).await;
        Ok(Reply::Presence { count: list.count, users: list.users })
    }

    pub(super) async fn history(
        &self,
        caller: Caller,
        channel: Channel,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Reply, Fault> {
        if let Channel::Session(id) = channel {
            let place = (caller.principal.organization.clone(), id);
            let make = move |answer| Look::History {
                caller: caller.clone(),
                by: By::User,
                since: since.clone(),
                limit,
                answer,
            };
            return self.deliver(place, make).await;
        }
        self.may_listen(&caller, &channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &channel);
        let found = fanout::history(&self.shared.workers, key, since, limit).await;
        Ok(told(found.unwrap_or((Position { epoch: "".into(), seq: 0 }, Some(Vec::new())))))
    }

    pub(super) async fn usage(&self, caller: &Caller, period: Period) -> Result<Reply, Fault> {
        let (from, to) = bounds(period);
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let rows = self.shared.store.usage(organization, user, from).await.map_err(from_store)?;
        Ok(Reply::Usage(UsageReport { period, from, to, rows }))
    }

    /// Whether the caller may listen to a channel that no conversation owns.
    pub(super) async fn may_listen(&self, caller: &Caller, channel: &Channel) -> Result<(), Fault> {
        policy::channel(&caller.principal, channel)?;
        if let Channel::Project(id) = channel {
            let found = self.shared.store.project(&caller.principal.organization, *id).await.map_err(from_store)?;
            found.ok_or_else(|| Fault::not_found("channel"))?;
        }
        Ok(())
    }

    pub(super) async fn attach(
        self,
        caller: Caller,
        connection: ConnectionNumber,
        listen: Listen,
    ) -> Result<(), Fault> {
        policy::allow(&caller.principal, Operation::Subscribe)?;
        if let Channel::Session(id) = listen.channel {
            let place = (caller.principal.organization.clone(), id);
            let make = move |answer| Attach { caller: caller.clone(), connection, listen: listen.clone(), answer };
            return self.deliver(place, make).await;
        }
        self.may_listen(&caller, &listen.channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &listen.channel);
        let member = Member { principal: caller.principal.clone(), greeted: listen.greeted, answers: false };
        let (workers, rules) = (&self.shared.workers, self.shared.settings.get().channel_home);
        // A snapshot is read while events go on; in the rare case that the ring did not bridge that, it is read again.
        for _ in 0..4 {
            let mut snapshot = None;
            if listen.greeted && !listen.channel.is_application() {
                let state = fanout::begin(workers, key.clone(), rules, listen.since.clone()).await;
                let state = state.ok_or_else(|| Fault::unavailable("the hub is stopping"))?;
                if !state.resumable {
                    snapshot = Some((state.position, Arc::new(self.snapshot(&caller, &listen.channel).await?)));
                }
            }
            let request = AttachRequest {
                connection,
                dialect: listen.dialect,
                member: member.clone(),
                since: listen.since.clone(),
                snapshot,
            };
            if fanout::attach(workers, key.clone(), rules, request).await {
                return Ok(());
            }
        }
        Err(Fault::unavailable("the channel is too busy to be joined; try again"))
    }

    /// The bounded document behind a channel that no conversation owns.
    pub(super) async fn snapshot(&self, caller: &Caller, channel: &Channel) -> Result<ChannelSnapshot, Fault> {
        let sessions = |query: ConversationQuery| async move {
            self.shared.store.conversations(query).await.map(|page| page.items).map_err(from_store)
        };
        let base = self.own_sessions(caller, SNAPSHOT_SESSIONS);
        Ok(match channel {
            Channel::User(user) => ChannelSnapshot::User {
                sessions: sessions(ConversationQuery { user: Some(user.clone()), ..base }).await?,
                approvals: self.pending_approvals(caller, SNAPSHOT_APPROVALS).await?,
            },
            Channel::Project(id) => {
                let all = sessions(ConversationQuery { project: Some(*id), ..base }).await?;
                ChannelSnapshot::Sessions(shared_ones(all))
            }
            _ => ChannelSnapshot::Sessions(shared_ones(sessions(base).await?)),
        })
    }

    pub(super) fn check_publish<'a>(
        &self,
        caller: &'a Caller,
        channel: &'a str,
        event: &str,
    ) -> Result<ApplicationName<'a>, Fault> {
        policy::allow(&caller.principal, Operation::Publish)?;
        checked_name(&caller.principal.organization, channel, event)
    }
}

/// What a history look-up found, as an answer.
pub(super) fn told((position, events): fanout::History) -> Reply {
    Reply::History {
        epoch: position.epoch,
        seq: position.seq,
        recovered: events.is_some(),
        events: events.unwrap_or_default(),
    }
}

/// When a period that ends now began.
pub(super) fn bounds(period: Period) -> (Timestamp, Timestamp) {
    let days = match period {
        Period::Day => 1,
        Period::Week => 7,
        Period::Month => 30,
    };
    let to = SystemSource.now();
    (to.plus_millis(-days * 86_400_000), to)
}

/// An application channel of that organization, and a name that its event may have.
pub(super) fn checked_name<'a>(
    organization: &'a OrganizationId,
    channel: &'a str,
    event: &str,
) -> Result<ApplicationName<'a>, Fault> {
    let known = match ApplicationName::parse(organization, channel) {
        Ok(known) => known,
        // A channel that is there, but is the hub's own, is another matter than a name that is none.
        Err(error) => {
            return Err(match Channel::parse(channel) {
                Ok(_) => Fault::forbidden("only app: channels can be published to"),
                Err(_) => Fault::field("channel", error),
            });
        }
    };
    if event.is_empty() || event.len() > EVENT_NAME || event.chars().any(char::is_control) {
        return Err(Fault::field("event", "1 to 128 bytes without control characters"));
    }
    if protocol::events::EVENTS.contains(&event) {
        return Err(Fault::forbidden("this is one of the hub's own event names"));
    }
    Ok(known)
}
