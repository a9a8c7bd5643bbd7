//! Sessions and projects: found, listed, searched, begun.

use std::sync::Arc;

use super::*;
use crate::domain::command::Once;
use crate::domain::generation::ThinkingLevel;
use crate::domain::record::{Batch, Fact, Idempotency, Write};
use crate::domain::settings::{ContextStart, ConversationState, Entity};
use crate::domain::usage::Usage;
use crate::store::{CommitFault, EntityQuery};

/// What kind of door begins sessions about entities.
const ENTITY_CHANNEL: &str = "ai";

impl LocalHub {
    pub(super) async fn project_named(&self, caller: &Caller, name: &str) -> Result<Project, Fault> {
        self.create_project(caller, name, None).await
    }

    /// The project of that name, made if there is none; with a key: the one that its first use gave.
    pub(super) async fn create_project(
        &self,
        caller: &Caller,
        name: &str,
        once: Option<Once>,
    ) -> Result<Project, Fault> {
        let organization = &caller.principal.organization;
        let wanted = Project {
            id: ProjectId::mint(&mut SystemSource),
            organization: caller.principal.organization.clone(),
            name: name.trim().to_owned(),
            created_at: SystemSource.now(),
        };
        let user = caller.principal.user.clone();
        let key = once.as_ref().map(|once| (user, once.key.clone(), once.request));
        let conflict = || Fault::new(Code::Conflict, "the idempotency key was used for another request");
        match (self.shared.store.create_project_once(wanted, key).await, once) {
            (Err(CommitFault::IdempotencyTaken { request, answer }), Some(once)) => {
                let id = ProjectId::parse(&answer).ok().filter(|_| request == once.request).ok_or_else(conflict)?;
                let found = self.shared.store.project(organization, id).await.map_err(from_store)?;
                found.ok_or_else(conflict)
            }
            (made, _) => made.map_err(crate::actors::conversation::from_commit),
        }
    }

    /// A project by id or name. A name that is new makes a project; an id that is unknown is none of the caller's.
    pub(super) async fn project_of(&self, caller: &Caller, text: &str) -> Result<ProjectId, Fault> {
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

    pub(super) async fn create_session(&self, caller: &Caller, new: NewSession) -> Result<Reply, Fault> {
        let settings = self.shared.settings.get();
        let kind = new.entity.as_ref().map(|entity| entity.kind.as_str());
        let agent = settings.agent_for(new.agent.as_deref(), kind)?;
        let (organization, user) = (caller.principal.organization.clone(), caller.principal.user.clone());
        if let Some(once) = &new.once {
            let known = self.shared.store.idempotency(&organization, &user, &once.key).await.map_err(from_store)?;
            if let Some(known) = known {
                let alias = new.alias.as_ref();
                return self.created_before(caller, &known.request, &known.answer, once, alias).await;
            }
        }
        if let Some(alias) = &new.alias
            && let Some(id) = self.open_session(caller, alias).await?
        {
            return self.begun_before(caller, id, alias, new.once.as_ref()).await;
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
            tags: new.tags,
            context: ContextStart::default(),
            channel: new.channel,
            entity: new.entity,
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
        let mut writes = vec![Write::Conversation(row.clone()), Write::Fact(fact)];
        let called = new.alias.clone().map(|alias| Write::Alias { user: user.clone(), alias });
        writes.extend(called);
        let batch = Batch { organization: organization.clone(), conversation: row.id, at: now, writes, idempotency };
        match (self.shared.store.commit(batch).await, &new.once) {
            (Ok(()), _) => {}
            (Err(CommitFault::IdempotencyTaken { request, answer }), Some(once)) => {
                return self.created_before(caller, &request, &answer, once, new.alias.as_ref()).await;
            }
            // Of many at the same moment one begins it, and the others find that one's.
            (Err(CommitFault::AliasTaken(id)), once) => {
                let alias = new.alias.as_ref().ok_or_else(|| Fault::plain(Code::Internal))?;
                return self.begun_before(caller, id, alias, once.as_ref()).await;
            }
            (Err(fault), _) => return Err(crate::actors::conversation::from_commit(fault)),
        }
        self.announce_session(&row);
        Ok(Reply::Session(Box::new(row), new.alias))
    }

    pub(super) fn announce_session(&self, row: &Settings) {
        let event = Event::updated(Arc::new(row.clone()));
        let tell = |channel: Channel| {
            let key = ChannelKey::new(row.organization.clone(), &channel);
            fanout::announce(&self.shared.workers, key, event.clone());
        };
        tell(Channel::User(row.user.clone()));
        if let Some(project) = row.project.filter(|_| row.visibility == Visibility::Organization) {
            tell(Channel::Project(project));
        }
    }

    pub(super) async fn created_before(
        &self,
        caller: &Caller,
        request: &[u8; 32],
        answer: &str,
        once: &Once,
        alias: Option<&Alias>,
    ) -> Result<Reply, Fault> {
        let conflict = || Fault::new(Code::Conflict, "the idempotency key was used for another request");
        if *request != once.request {
            return Err(conflict());
        }
        let id = ConversationId::parse(answer).map_err(|_| conflict())?;
        self.get_as(caller, id, alias).await
    }

    pub(super) async fn session_of_channel(&self, caller: &Caller, channel: &'static str) -> Result<Reply, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let find = async || self.shared.store.find_by_channel(organization, user, channel).await.map_err(from_store);
        let new = NewSession { channel: Some(channel.to_owned()), ..NewSession::default() };
        self.found_or_new(caller, find, new).await
    }

    pub(super) async fn session_of_entity(
        &self,
        caller: &Caller,
        entity: Option<Entity>,
        agent: Option<&str>,
    ) -> Result<Reply, Fault> {
        let settings = self.shared.settings.get();
        let agent = settings.agent_for(agent, entity.as_ref().map(|entity| entity.kind.as_str()))?.name.clone();
        let query = EntityQuery {
            organization: caller.principal.organization.clone(),
            user: caller.principal.user.clone(),
            channel: ENTITY_CHANNEL,
            entity: entity.clone(),
            agent: agent.clone(),
        };
        let find = async || self.shared.store.find_by_entity(query.clone()).await.map_err(from_store);
        let channel = Some(ENTITY_CHANNEL.to_owned());
        let new = NewSession { channel, entity, agent: Some(agent), ..NewSession::default() };
        self.found_or_new(caller, find, new).await
    }

    /// The session that `find` finds, else a new one.
    async fn found_or_new(
        &self,
        caller: &Caller,
        find: impl AsyncFn() -> Result<Option<ConversationId>, Fault>,
        new: NewSession,
    ) -> Result<Reply, Fault> {
        if let Some(id) = find().await? {
            return self.ask(caller.clone(), id, SessionCommand::Get).await;
        }
        // Two sockets that talk at the same moment get one session: the second to come here finds the first one's.
        let _first = FIRST.lock().await;
        match find().await? {
            Some(id) => self.ask(caller.clone(), id, SessionCommand::Get).await,
            None => self.create_session(caller, new).await,
        }
    }

    pub(super) async fn list_sessions(
        &self,
        caller: &Caller,
        (project, state): (Option<ProjectId>, Option<ConversationState>),
        (entity_type, entity_id): (Option<String>, Option<String>),
        page: PageRequest,
    ) -> Result<Reply, Fault> {
        let cursor = page.cursor.as_deref().map(ConversationId::parse).transpose();
        let query = ConversationQuery {
            project,
            status: state,
            entity_type,
            entity_id,
            cursor: cursor.map_err(|_| Fault::field("cursor", "not one that the hub gave"))?,
            ..self.own_sessions(caller, page.limit)
        };
        let found = self.shared.store.conversations(query).await.map_err(from_store)?;
        let page = Page { items: found.items, next: found.next.map(|id| id.to_string()) };
        self.with_aliases(caller, page).await
    }

    pub(super) fn own_sessions(&self, caller: &Caller, limit: usize) -> ConversationQuery {
        ConversationQuery {
            organization: caller.principal.organization.clone(),
            viewer: caller.principal.user.clone(),
            see_all: false,
            project: None,
            status: None,
            user: None,
            entity_type: None,
            entity_id: None,
            cursor: None,
            limit,
        }
    }

    pub(super) async fn search_sessions(&self, caller: &Caller, text: &str, page: PageRequest) -> Result<Reply, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let hits = self.shared.store.search(organization, user, text, page.limit).await.map_err(from_store)?;
        let mut items: Vec<Settings> = Vec::new();
        for hit in hits {
            if items.iter().any(|s| s.id == hit.conversation) {
                continue;
            }
            items.extend(self.shared.store.conversation(organization, hit.conversation).await.map_err(from_store)?);
        }
        self.with_aliases(caller, Page { items, next: None }).await
    }

    pub(super) async fn list_projects(&self, caller: &Caller, page: PageRequest) -> Result<Reply, Fault> {
        let cursor = page.cursor.as_deref().map(ProjectId::parse).transpose();
        let cursor = cursor.map_err(|_| Fault::field("cursor", "not one that the hub gave"))?;
        let organization = &caller.principal.organization;
        let found = self.shared.store.projects(organization, cursor, page.limit).await.map_err(from_store)?;
        Ok(Reply::Projects(Page { items: found.items, next: found.next.map(|id| id.to_string()) }))
    }
}
