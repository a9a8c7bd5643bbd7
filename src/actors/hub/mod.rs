//! The hub's one handle, as doors and routes hold it: who may, where it lives, and the answer.

mod actions;
mod admin;
mod aliases;
mod channels;
mod question;
mod rules;
mod sessions;
mod skills;
mod slash;

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::actors::conversation::{Ask, Attach, ConversationActor, LEAVING, Look, from_store};
use crate::actors::registry::{Directory, Place, Registry, Resolve};
use crate::actors::{Shared, standing, with_kit};
use crate::domain::agent::ModelInfo;
use crate::domain::alias::{Alias, SessionName};
use crate::domain::approval::check_reason;
use crate::domain::channel::{ApplicationName, Channel, ChannelKey, Position};
use crate::domain::command::{
    ApprovalRef, Caller, Command, NewSession, Page, PageRequest, Period, Reply, SessionCommand, UsageReport,
};
use crate::domain::event::{ChannelSnapshot, Event};
use crate::domain::generation::Model;
use crate::domain::hub::{ConnectionNumber, DialectId, Hub, Listen, LocalFuture, Stay, channel_named, session_named};
use crate::domain::ids::{ApprovalId, ConversationId, OrganizationId, ProjectId, Source, SystemSource, Timestamp};
use crate::domain::policy::{self, By, Operation};
use crate::domain::settings::{Project, Settings, Visibility};
use crate::error::{Code, Fault};
use crate::fanout::{self, AttachRequest, Member};
use crate::store::ConversationQuery;
use question::Question;

/// Sessions in the snapshot of a list.
const SNAPSHOT_SESSIONS: usize = 50;
/// Approvals in it.
const SNAPSHOT_APPROVALS: usize = 100;
/// The longest name of an event that a client publishes.
const EVENT_NAME: usize = 128;

/// Held while somebody's session of a channel or about an entity is made.
static FIRST: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

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
        self.ask_by(By::User, caller, place, command).await
    }

    async fn ask_by(&self, by: By, caller: Caller, place: Place, command: SessionCommand) -> Result<Reply, Fault> {
        if let SessionCommand::Decide { reason, .. } = &command {
            check_reason(reason.as_deref())?;
        }
        if let SessionCommand::Decide { which, approved: true, .. } = &command {
            self.may_grant(&caller, &place, *which).await?;
        }
        let make = move |answer| Ask { caller: caller.clone(), by, command: command.clone(), answer };
        self.deliver(place, make).await
    }

    async fn carry_out(self, caller: Caller, command: Command) -> Result<Reply, Fault> {
        policy::allow(&caller.principal, command.operation())?;
        match command {
            Command::Session(name, SessionCommand::Execute { command, args }) => {
                self.execute(caller, name, &command, args.as_deref()).await.map(Reply::Executed)
            }
            Command::Session(name, command) => self.ask_named(caller, name, command).await,
            Command::SessionCreate(new) => self.create_session(&caller, new).await,
            Command::SessionOfChannel(channel) => self.session_of_channel(&caller, channel).await,
            Command::SessionOfEntity { entity, agent } => {
                self.session_of_entity(&caller, entity, agent.as_deref()).await
            }
            Command::SessionList { project, state, entity_type, entity_id, search, page } => match search {
                Some(text) => self.search_sessions(&caller, &text, page).await,
                None => self.list_sessions(&caller, (project, state), (entity_type, entity_id), page).await,
            },
            Command::ProjectCreate { name, once } => {
                self.create_project(&caller, &name, once).await.map(Reply::Project)
            }
            Command::ProjectList(page) => self.list_projects(&caller, page).await,
            Command::ProjectGet(id) => {
                let found = self.shared.store.project(&caller.principal.organization, id).await.map_err(from_store)?;
                found.map(Reply::Project).ok_or_else(|| Fault::not_found("project"))
            }
            Command::ApprovalList(page) => self
                .pending_approvals(&caller, page.limit)
                .await
                .map(|items| Reply::Approvals(Page { items, next: None })),
            Command::ApprovalDecide { which, approved, reason, keep } => {
                let id = self.conversation_of(&caller, which).await?;
                self.ask(caller, id, SessionCommand::Decide { which, approved, reason, keep }).await
            }
            Command::RuleList(page) => self.list_rules(&caller, page).await,
            Command::RuleRevoke(rule) => self.revoke_rule(&caller, rule).await,
            Command::Presence(channel) => {
                let channel = channel_named(&self, &caller, channel).await?;
                self.presence(caller, channel).await
            }
            Command::History { channel, since, limit } => {
                let channel = channel_named(&self, &caller, channel).await?;
                self.history(caller, channel, since, limit).await
            }
            Command::Admin(organization, command) => self.administer(caller, organization, *command).await,
            Command::Usage(period) => self.usage(&caller, period).await,
            Command::SkillList => Ok(self.list_skills(&caller)),
            Command::SkillExecute { skill, input, entity, once } => {
                self.execute_skill(caller, (skill, input, entity), once).await
            }
            Command::ActionList(kind) => Ok(self.list_actions(&caller, kind.as_deref())),
            Command::ActionPreview(wish) => self.show_action(&caller, &wish).await,
            Command::ActionExecute { wish, skip_preview, once } => {
                self.execute_action(caller, wish, skip_preview, once).await
            }
            Command::ActionUndo(wish) => self.undo_action(caller, wish).await,
            Command::CommandList => Ok(Reply::Commands(Arc::new(self.manifest(&caller)))),
            Command::RoutingExplain(question) => self.explain(caller, question).await,
            Command::AgentList | Command::AgentGet(_) | Command::ToolList | Command::ModelList => {
                self.catalog(&caller, command)
            }
        }
    }

    /// What configuration offers.
    fn catalog(&self, caller: &Caller, command: Command) -> Result<Reply, Fault> {
        let settings = self.shared.settings.get();
        Ok(match command {
            Command::AgentGet(name) => {
                Reply::Agent(settings.agent(&name).cloned().ok_or_else(|| Fault::not_found("agent"))?)
            }
            Command::ToolList => {
                let book = &settings.tool_book;
                let tools = with_kit(|kit| kit.tools.all(&caller.principal.organization)).unwrap_or_default();
                let shown = |tool: &std::rc::Rc<dyn crate::tools::Tool>| {
                    let spec = tool.spec();
                    let policy = book.base(&spec.name, tool.default_policy());
                    (spec, policy)
                };
                Reply::Tools(tools.iter().map(shown).collect())
            }
            Command::ModelList => {
                let models = with_kit(|kit| {
                    let info = |p: &std::rc::Rc<dyn crate::providers::Provider>| {
                        let name = p.name().to_owned();
                        p.models()
                            .iter()
                            .filter(|m| m.id != Model::OTHERS)
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
}

fn shared_ones(sessions: Vec<Settings>) -> Vec<Settings> {
    sessions.into_iter().filter(|s| s.visibility == Visibility::Organization).collect()
}

impl Hub for LocalHub {
    fn call(&self, caller: Caller, command: Command) -> LocalFuture<Result<Reply, Fault>> {
        let question = Question::of(&self.shared, &caller, &command);
        let answer = self.clone().carry_out(caller, command);
        Box::pin(async move { question.answered(answer.await) })
    }

    fn find(&self, caller: &Caller, alias: Alias) -> LocalFuture<Result<ConversationId, Fault>> {
        let (hub, caller) = (self.clone(), caller.clone());
        Box::pin(async move { hub.look_up(&caller, &alias).await })
    }

    fn stay(&self, caller: &Caller, connection: ConnectionNumber) -> Stay {
        Box::new(standing::Stay::begin(caller, connection))
    }

    fn listen(&self, caller: Caller, connection: ConnectionNumber, listen: Listen) -> LocalFuture<Result<(), Fault>> {
        let question = Question::new(&self.shared, &caller, Operation::Subscribe);
        let attached = self.clone().attach(caller, connection, listen);
        Box::pin(async move { question.answered(attached.await) })
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
        let checked = self.check_publish(caller, channel, event);
        // Published things are many and go by fast: nothing is kept for one that is not refused.
        let channel = match checked {
            Ok(channel) => channel,
            refused => return Question::new(&self.shared, caller, Operation::Publish).answered(refused.map(|_| None)),
        };
        let event = Event::Application { name: event.into(), data };
        let (workers, rules) = (&self.shared.workers, self.shared.settings.get().channel_home);
        if !confirm {
            fanout::publish(workers, channel, event, rules, None);
            return Ok(None);
        }
        let (answer, position) = oneshot::channel();
        fanout::publish(workers, channel, event, rules, Some(answer));
        Ok(Some(Box::pin(async move { position.await.map_err(|_| Fault::unavailable("the hub is stopping")) })))
    }
}
