//! The hub's one handle, as doors and routes hold it: who may, where it lives, and the answer.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::conversation::{Ask, Attach, ConversationActor, LEAVING, Look};
use super::registry::{Directory, Place, Registry, Resolve};
use super::{Shared, with_kit};
use crate::domain::agent::ModelInfo;
use crate::domain::channel::{Channel, ChannelKey, Position};
use crate::domain::command::{
    ApprovalRef, Caller, Command, NewSession, Page, PageRequest, Period, Reply, SessionCommand, UsageReport,
};
use crate::domain::event::{ChannelSnapshot, Event};
use crate::domain::generation::ThinkingLevel;
use crate::domain::hub::{ConnectionNumber, DialectId, Hub, Listen, LocalFuture};
use crate::domain::ids::{ApprovalId, ConversationId, ProjectId, Source, SystemSource};
use crate::domain::policy::{self, Permission};
use crate::domain::record::{Batch, Fact, Idempotency, Write};
use crate::domain::settings::{ConversationState, Project, Settings, Visibility};
use crate::domain::usage::Usage;
use crate::error::{Code, Fault};
use crate::fanout::{self, AttachRequest, Member};
use crate::store::{CommitFault, ConversationQuery};

/// Sessions in the snapshot of a list.
const SNAPSHOT_SESSIONS: usize = 50;
/// Approvals in it.
const SNAPSHOT_APPROVALS: usize = 100;
/// The longest name of an event that a client publishes.
const EVENT_NAME: usize = 128;

/// Held while somebody's session of a channel is made.
static FIRST_OF_CHANNEL: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The hub within this process. Cheap to clone; one on each worker.
#[derive(Clone)]
pub struct LocalHub {
    shared: Shared,
    registry: Addr<Registry>,
    directory: Directory,
    worker: usize,
}

impl LocalHub {
    pub fn new(shared: Shared, registry: Addr<Registry>, directory: Directory, worker: usize) -> Self {
        Self { shared, registry, directory, worker }
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The conversation's home, started if it is not in memory.
    async fn resolve(&self, place: Place) -> Result<Addr<ConversationActor>, Fault> {
        if let Some(known) = self.directory.get(&place).map(|a| a.clone())
            && known.connected()
        {
            return Ok(known);
        }
        let found = self.registry.send(Resolve { place, worker: self.worker }).await;
        found.ok().flatten().ok_or_else(|| Fault::unavailable("the hub is starting or stopping"))
    }

    /// Hands a letter to the conversation. One that has just left memory is started again.
    async fn deliver<M, R>(
        &self,
        place: Place,
        make: impl Fn(oneshot::Sender<Result<R, Fault>>) -> M,
    ) -> Result<R, Fault>
    where
        M: Message<Result = ()> + Send + 'static,
        ConversationActor: Handler<M>,
    {
        for _ in 0..3 {
            let home = self.resolve(place.clone()).await?;
            let (answer, answered) = oneshot::channel();
            match home.try_send(make(answer)) {
                Ok(()) => match answered.await {
                    Ok(Err(fault)) if fault.message == LEAVING => continue,
                    Ok(answer) => return answer,
                    Err(_) => {
                        return Err(Fault::unavailable("the session went away before it answered; ask again"));
                    }
                },
                Err(SendError::Full(_)) => return Err(Fault::unavailable("the session has too much to do")),
                Err(SendError::Closed(_)) => drop(self.directory.remove_if(&place, |_, a| *a == home)),
            };
        }
        Err(Fault::unavailable(LEAVING))
    }

    async fn ask(&self, caller: Caller, id: ConversationId, command: SessionCommand) -> Result<Reply, Fault> {
        let place = (caller.principal.organization.clone(), id);
        self.deliver(place, move |answer| Ask { caller: caller.clone(), command: command.clone(), answer }).await
    }

    async fn carry_out(self, caller: Caller, command: Command) -> Result<Reply, Fault> {
        match command {
            Command::Session(id, command) => self.ask(caller, id, command).await,
            Command::SessionCreate(new) => self.create_session(&caller, new).await,
            Command::SessionOfChannel(channel) => self.session_of_channel(&caller, channel).await,
            Command::SessionList { project, state, search, page } => {
                policy::require(&caller.principal, Permission::Read)?;
                match search {
                    Some(text) => self.search_sessions(&caller, &text, page).await,
                    None => self.list_sessions(&caller, project, state, page).await,
                }
            }
            Command::ProjectCreate { name } => {
                policy::require(&caller.principal, Permission::Create)?;
                self.project_named(&caller, &name).await.map(Reply::Project)
            }
            Command::ProjectList(page) => {
                policy::require(&caller.principal, Permission::Read)?;
                self.list_projects(&caller, page).await
            }
            Command::ProjectGet(id) => {
                policy::require(&caller.principal, Permission::Read)?;
                let found = self.shared.store.project(&caller.principal.organization, id).await.map_err(from_store)?;
                found.map(Reply::Project).ok_or_else(|| Fault::not_found("project"))
            }
            Command::ApprovalList(page) => {
                policy::require(&caller.principal, Permission::Read)?;
                self.pending_approvals(&caller, page.limit)
                    .await
                    .map(|items| Reply::Approvals(Page { items, next: None }))
            }
            Command::ApprovalDecide { which, approved, reason } => {
                let id = self.conversation_of(&caller, which).await?;
                self.ask(caller, id, SessionCommand::Decide { which, approved, reason }).await
            }
            Command::Presence(channel) => self.presence(caller, channel).await,
            Command::History { channel, since, limit } => self.history(caller, channel, since, limit).await,
            Command::Usage(period) => {
                policy::require(&caller.principal, Permission::Read)?;
                self.usage(&caller, period).await
            }
            Command::AgentList | Command::AgentGet(_) | Command::ToolList | Command::ModelList => {
                policy::require(&caller.principal, Permission::Read)?;
                self.catalog(command)
            }
        }
    }

    /// What configuration offers.
    fn catalog(&self, command: Command) -> Result<Reply, Fault> {
        let settings = &self.shared.settings;
        Ok(match command {
            Command::AgentGet(name) => {
                Reply::Agent(settings.agent(&name).cloned().ok_or_else(|| Fault::not_found("agent"))?)
            }
            Command::ToolList => {
                let agent = settings.default_agent().cloned();
                let policies = agent.as_ref().map(|a| a.tools.as_slice()).unwrap_or_default();
                let tools = with_kit(|kit| {
                    let policy = |name: &str, tool: &dyn crate::tools::Tool| {
                        policies.iter().find(|(n, _)| n == name).map_or(tool.default_policy(), |(_, p)| *p)
                    };
                    kit.tools.iter().map(|(name, tool)| (tool.spec(), policy(name, &**tool))).collect()
                });
                Reply::Tools(tools.unwrap_or_default())
            }
            Command::ModelList => {
                let models = with_kit(|kit| {
                    let info = |p: &std::rc::Rc<dyn crate::providers::Provider>| {
                        let name = p.name().to_owned();
                        p.models()
                            .iter()
                            .map(move |m| ModelInfo {
                                id: m.id.clone(),
                                provider: name.clone(),
                                thinking_levels: m.thinking.clone(),
                            })
                            .collect::<Vec<_>>()
                    };
                    kit.providers.iter().flat_map(info).collect()
                });
                Reply::Models(models.unwrap_or_default())
            }
            _ => Reply::Agents(settings.agents.clone()),
        })
    }

    async fn project_named(&self, caller: &Caller, name: &str) -> Result<Project, Fault> {
        let wanted = Project {
            id: ProjectId::mint(&mut SystemSource),
            organization: caller.principal.organization.clone(),
            name: name.trim().to_owned(),
            created_at: SystemSource.now(),
        };
        self.shared.store.create_project(wanted).await.map_err(super::conversation::from_commit)
    }

    /// A project by id or name. A name that is new makes a project; an id that is unknown is none of the caller's.
    async fn project_of(&self, caller: &Caller, text: &str) -> Result<ProjectId, Fault> {
        let organization = &caller.principal.organization;
        match ProjectId::parse(text) {
            Ok(id) => {
                let found = self.shared.store.project(organization, id).await.map_err(from_store)?;
                match found {
                    Some(project) => Ok(project.id),
                    // The wire says: an unknown one is created in the caller's organization. Its id is the hub's to give.
                    None => self.project_named(caller, text).await.map(|p| p.id),
                }
            }
            Err(_) if text.trim().is_empty() => Err(Fault::field("projectId", "is empty")),
            Err(_) => self.project_named(caller, text).await.map(|p| p.id),
        }
    }

    async fn create_session(&self, caller: &Caller, new: NewSession) -> Result<Reply, Fault> {
        policy::require(&caller.principal, Permission::Create)?;
        let settings = &self.shared.settings;
        let agent = match &new.agent {
            Some(name) => settings.agent(name).ok_or_else(|| Fault::field("agent", "no such agent"))?,
            None => settings.default_agent().ok_or_else(|| Fault::unavailable("no agent is configured"))?,
        };
        let (organization, user) = (caller.principal.organization.clone(), caller.principal.user.clone());
        if let Some(once) = &new.once {
            let known = self.shared.store.idempotency(&organization, &user, &once.key).await.map_err(from_store)?;
            if let Some(known) = known {
                return self.created_before(caller, &known.request, &known.answer, once).await;
            }
        }
        let project = match &new.project {
            Some(text) => Some(self.project_of(caller, text).await?),
            None => None,
        };
        let now = SystemSource.now();
        let row = Settings {
            id: ConversationId::mint(&mut SystemSource),
            organization: organization.clone(),
            user: user.clone(),
            project,
            title: new.title.unwrap_or_default(),
            state: ConversationState::Active,
            visibility: new.visibility.unwrap_or(Visibility::Private),
            agent: agent.name.clone(),
            model: new.model,
            thinking: new.thinking.unwrap_or(ThinkingLevel::Off),
            channel: new.channel,
            next_turn_no: 1,
            usage: Usage::default(),
            created_at: now,
            updated_at: now,
        };
        let answer = row.id.to_string();
        let idempotency = new.once.as_ref().map(|once| Idempotency {
            user: user.clone(),
            key: once.key.clone(),
            request: once.request,
            answer,
        });
        let fact = Fact { kind: "session.created", turn: None, by: Some(user.clone()), refs: serde_json::json!({}) };
        let writes = vec![Write::Conversation(row.clone()), Write::Fact(fact)];
        let batch = Batch { organization: organization.clone(), conversation: row.id, at: now, writes, idempotency };
        match (self.shared.store.commit(batch).await, &new.once) {
            (Ok(()), _) => {}
            (Err(CommitFault::IdempotencyTaken { request, answer }), Some(once)) => {
                return self.created_before(caller, &request, &answer, once).await;
            }
            (Err(fault), _) => return Err(super::conversation::from_commit(fault)),
        }
        self.announce_session(&row);
        Ok(Reply::Session(Box::new(row)))
    }

    fn announce_session(&self, row: &Settings) {
        let event = Event::SessionUpdated { settings: Arc::new(row.clone()), deleted: false };
        let tell = |channel: Channel| {
            let key = ChannelKey::new(row.organization.clone(), &channel);
            fanout::announce(&self.shared.workers, key, event.clone());
        };
        tell(Channel::User(row.user.clone()));
        if let Some(project) = row.project.filter(|_| row.visibility == Visibility::Organization) {
            tell(Channel::Project(project));
        }
    }

    async fn created_before(
        &self,
        caller: &Caller,
        request: &[u8; 32],
        answer: &str,
        once: &crate::domain::command::Once,
    ) -> Result<Reply, Fault> {
        let conflict = || Fault::new(Code::Conflict, "the idempotency key was used for another request");
        if *request != once.request {
            return Err(conflict());
        }
        let id = ConversationId::parse(answer).map_err(|_| conflict())?;
        self.ask(caller.clone(), id, SessionCommand::Get).await
    }

    async fn session_of_channel(&self, caller: &Caller, channel: &'static str) -> Result<Reply, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let find = async || self.shared.store.find_by_channel(organization, user, channel).await.map_err(from_store);
        if let Some(id) = find().await? {
            return self.ask(caller.clone(), id, SessionCommand::Get).await;
        }
        // Two sockets that talk at the same moment get one session: the second to come here finds the first one's.
        let _first = FIRST_OF_CHANNEL.lock().await;
        match find().await? {
            Some(id) => self.ask(caller.clone(), id, SessionCommand::Get).await,
            None => {
                let new = NewSession { channel: Some(channel.to_owned()), ..NewSession::default() };
                self.create_session(caller, new).await
            }
        }
    }

    async fn list_sessions(
        &self,
        caller: &Caller,
        project: Option<ProjectId>,
        state: Option<ConversationState>,
        page: PageRequest,
    ) -> Result<Reply, Fault> {
        let cursor = page.cursor.as_deref().map(ConversationId::parse).transpose();
        let query = ConversationQuery {
            project,
            status: state,
            cursor: cursor.map_err(|_| Fault::field("cursor", "not one that the hub gave"))?,
            ..self.own_sessions(caller, page.limit)
        };
        let found = self.shared.store.conversations(query).await.map_err(from_store)?;
        Ok(Reply::Sessions(Page { items: found.items, next: found.next.map(|id| id.to_string()) }))
    }

    fn own_sessions(&self, caller: &Caller, limit: usize) -> ConversationQuery {
        ConversationQuery {
            organization: caller.principal.organization.clone(),
            viewer: caller.principal.user.clone(),
            see_all: false,
            project: None,
            status: None,
            user: None,
            cursor: None,
            limit,
        }
    }

    async fn search_sessions(&self, caller: &Caller, text: &str, page: PageRequest) -> Result<Reply, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let hits = self.shared.store.search(organization, user, text, page.limit).await.map_err(from_store)?;
        let mut items: Vec<Settings> = Vec::new();
        for hit in hits {
            if items.iter().any(|s| s.id == hit.conversation) {
                continue;
            }
            items.extend(self.shared.store.conversation(organization, hit.conversation).await.map_err(from_store)?);
        }
        Ok(Reply::Sessions(Page { items, next: None }))
    }

    async fn list_projects(&self, caller: &Caller, page: PageRequest) -> Result<Reply, Fault> {
        let cursor = page.cursor.as_deref().map(ProjectId::parse).transpose();
        let cursor = cursor.map_err(|_| Fault::field("cursor", "not one that the hub gave"))?;
        let organization = &caller.principal.organization;
        let found = self.shared.store.projects(organization, cursor, page.limit).await.map_err(from_store)?;
        Ok(Reply::Projects(Page { items: found.items, next: found.next.map(|id| id.to_string()) }))
    }

    async fn pending_approvals(
        &self,
        caller: &Caller,
        limit: usize,
    ) -> Result<Vec<(ConversationId, crate::domain::approval::Approval)>, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let mut all = self.shared.store.pending_approvals(organization, user, false).await.map_err(from_store)?;
        all.truncate(limit);
        Ok(all)
    }

    /// Which conversation an approval belongs to.
    async fn conversation_of(&self, caller: &Caller, which: ApprovalRef) -> Result<ConversationId, Fault> {
        let organization = &caller.principal.organization;
        let found = match which {
            ApprovalRef::Request(id) => self.approval(organization, id).await?,
            ApprovalRef::Call(call) => {
                self.shared.store.approval_of_call(organization, call).await.map_err(from_store)?
            }
        };
        found.ok_or_else(|| Fault::not_found("approval"))
    }

    async fn approval(
        &self,
        organization: &crate::domain::ids::OrganizationId,
        id: ApprovalId,
    ) -> Result<Option<ConversationId>, Fault> {
        Ok(self
            .shared
            .store
            .approval(organization, id)
            .await
            .map_err(from_store)?
            .map(|(conversation, _)| conversation))
    }

    async fn presence(&self, caller: Caller, channel: Channel) -> Result<Reply, Fault> {
        if let Channel::Session(id) = channel {
            let place = (caller.principal.organization.clone(), id);
            return self.deliver(place, move |answer| Look::Presence { caller: caller.clone(), answer }).await;
        }
        self.may_listen(&caller, &channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &channel);
        let list = fanout::presence(&self.shared.workers, key).await;
        Ok(Reply::Presence { count: list.count, users: list.users })
    }

    async fn history(
        &self,
        caller: Caller,
        channel: Channel,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Reply, Fault> {
        if let Channel::Session(id) = channel {
            let place = (caller.principal.organization.clone(), id);
            let make = move |answer| Look::History { caller: caller.clone(), since: since.clone(), limit, answer };
            return self.deliver(place, make).await;
        }
        self.may_listen(&caller, &channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &channel);
        let found = fanout::history(&self.shared.workers, key, since, limit).await;
        let (position, events) = found.unwrap_or((Position { epoch: "".into(), seq: 0 }, Some(Vec::new())));
        Ok(Reply::History {
            epoch: position.epoch,
            seq: position.seq,
            recovered: events.is_some(),
            events: events.unwrap_or_default(),
        })
    }

    async fn usage(&self, caller: &Caller, period: Period) -> Result<Reply, Fault> {
        let days = match period {
            Period::Day => 1,
            Period::Week => 7,
            Period::Month => 30,
        };
        let to = SystemSource.now();
        let from = to.plus_millis(-days * 86_400_000);
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let rows = self.shared.store.usage(organization, user, from).await.map_err(from_store)?;
        Ok(Reply::Usage(UsageReport { period, from, to, rows }))
    }

    /// Whether the caller may listen to a channel that no conversation owns.
    async fn may_listen(&self, caller: &Caller, channel: &Channel) -> Result<(), Fault> {
        policy::channel(&caller.principal, channel)?;
        if let Channel::Project(id) = channel {
            let found = self.shared.store.project(&caller.principal.organization, *id).await.map_err(from_store)?;
            found.ok_or_else(|| Fault::not_found("channel"))?;
        }
        Ok(())
    }

    async fn attach(self, caller: Caller, connection: ConnectionNumber, listen: Listen) -> Result<(), Fault> {
        if let Channel::Session(id) = listen.channel {
            let place = (caller.principal.organization.clone(), id);
            let make = move |answer| Attach { caller: caller.clone(), connection, listen: listen.clone(), answer };
            return self.deliver(place, make).await;
        }
        self.may_listen(&caller, &listen.channel).await?;
        let key = ChannelKey::new(caller.principal.organization.clone(), &listen.channel);
        let member = Member { principal: caller.principal.clone(), greeted: listen.greeted, answers: false };
        let (workers, ring) = (&self.shared.workers, self.shared.settings.app_ring);
        // A snapshot is read while events go on; in the rare case that the ring did not bridge that, it is read again.
        for _ in 0..4 {
            let mut snapshot = None;
            if listen.greeted && !listen.channel.is_application() {
                let state = fanout::begin(workers, key.clone(), ring, listen.since.clone()).await;
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
            if fanout::attach(workers, key.clone(), ring, request).await {
                return Ok(());
            }
        }
        Err(Fault::unavailable("the channel is too busy to be joined; try again"))
    }

    /// The bounded document behind a channel that no conversation owns.
    async fn snapshot(&self, caller: &Caller, channel: &Channel) -> Result<ChannelSnapshot, Fault> {
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

    fn check_publish(&self, caller: &Caller, channel: &str, event: &str) -> Result<ChannelKey, Fault> {
        policy::require(&caller.principal, Permission::Publish)?;
        let organization = caller.principal.organization.clone();
        let key = match ChannelKey::application(organization, channel) {
            Ok(key) => key,
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
        Ok(key)
    }
}

fn shared_ones(sessions: Vec<Settings>) -> Vec<Settings> {
    sessions.into_iter().filter(|s| s.visibility == Visibility::Organization).collect()
}

fn from_store(fault: crate::store::StoreFault) -> Fault {
    super::conversation::from_store(fault)
}

impl Hub for LocalHub {
    fn call(&self, caller: Caller, command: Command) -> LocalFuture<Result<Reply, Fault>> {
        Box::pin(self.clone().carry_out(caller, command))
    }

    fn listen(&self, caller: Caller, connection: ConnectionNumber, listen: Listen) -> LocalFuture<Result<(), Fault>> {
        Box::pin(self.clone().attach(caller, connection, listen))
    }

    fn unlisten(&self, connection: ConnectionNumber, caller: &Caller, channel: &Channel, dialect: DialectId) -> bool {
        let key = ChannelKey::new(caller.principal.organization.clone(), channel);
        fanout::unlisten(connection, &key, dialect)
    }

    fn publish(
        &self,
        caller: &Caller,
        channel: &str,
        event: &str,
        data: Arc<str>,
        confirm: bool,
    ) -> Result<Option<LocalFuture<Result<Position, Fault>>>, Fault> {
        let key = self.check_publish(caller, channel, event)?;
        let event = Event::Application { name: event.into(), data };
        let (workers, ring) = (&self.shared.workers, self.shared.settings.app_ring);
        if !confirm {
            fanout::publish(workers, key, event, ring, None);
            return Ok(None);
        }
        let (answer, position) = oneshot::channel();
        fanout::publish(workers, key, event, ring, Some(answer));
        Ok(Some(Box::pin(async move { position.await.map_err(|_| Fault::unavailable("the hub is stopping")) })))
    }
}
