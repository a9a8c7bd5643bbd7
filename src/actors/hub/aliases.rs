//! Sessions by the ids that clients brought along: found, begun once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

use super::*;
use crate::domain::command::Once;
use crate::domain::record::{Batch, Idempotency};
use crate::domain::settings::ConversationState;
use crate::store::CommitFault;

/// Look-ups wait for one another, each user's in the order in which they came: what is asked of a session by its alias
/// happens in that order too.
static LOOKING: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

async fn in_order(caller: &Caller) -> MutexGuard<'static, ()> {
    let mut hasher = DefaultHasher::new();
    (&caller.principal.organization, &caller.principal.user).hash(&mut hasher);
    LOOKING[(hasher.finish() % LOOKING.len() as u64) as usize].lock().await
}

impl LocalHub {
    /// The conversation that the caller calls so. What nobody calls so, and what only others do, is not found alike.
    pub(super) async fn look_up(&self, caller: &Caller, alias: &Alias) -> Result<ConversationId, Fault> {
        let _turn = in_order(caller).await;
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let found = self.shared.store.conversation_of_alias(organization, user, alias).await.map_err(from_store)?;
        found.map(|(id, _)| id).ok_or_else(|| Fault::not_found("session"))
    }

    /// Asks a session by whichever name; the answer tells the alias that it was asked by.
    pub(super) async fn ask_named(
        &self,
        caller: Caller,
        name: SessionName,
        command: SessionCommand,
    ) -> Result<Reply, Fault> {
        let id = session_named(self, &caller, name.clone()).await?;
        let reply = self.ask(caller, id, command).await?;
        Ok(match (reply, name) {
            (Reply::Session(settings, _), SessionName::Alias(alias)) => Reply::Session(settings, Some(alias)),
            (reply, _) => reply,
        })
    }

    /// The session that the caller calls so and that is not archived.
    pub(super) async fn open_session(&self, caller: &Caller, alias: &Alias) -> Result<Option<ConversationId>, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let found = self.shared.store.conversation_of_alias(organization, user, alias).await.map_err(from_store)?;
        Ok(found.filter(|(_, state)| *state != ConversationState::Archived).map(|(id, _)| id))
    }

    /// The answer to who asked for a session by an alias that has one. The key of the request is used up by it.
    pub(super) async fn begun_before(
        &self,
        caller: &Caller,
        id: ConversationId,
        alias: &Alias,
        once: Option<&Once>,
    ) -> Result<Reply, Fault> {
        if let Some(once) = once {
            let batch = Batch {
                organization: caller.principal.organization.clone(),
                conversation: id,
                at: SystemSource.now(),
                writes: Vec::new(),
                idempotency: Some(Idempotency {
                    user: caller.principal.user.clone(),
                    key: once.key.clone(),
                    request: once.request,
                    answer: id.to_string(),
                }),
            };
            match self.shared.store.commit(batch).await {
                Ok(()) => {}
                Err(CommitFault::IdempotencyTaken { request, answer }) => {
                    return self.created_before(caller, &request, &answer, once, Some(alias)).await;
                }
                Err(fault) => return Err(crate::actors::conversation::from_commit(fault)),
            }
        }
        self.get_as(caller, id, Some(alias)).await
    }

    /// A session, as its caller calls it.
    pub(super) async fn get_as(
        &self,
        caller: &Caller,
        id: ConversationId,
        alias: Option<&Alias>,
    ) -> Result<Reply, Fault> {
        Ok(match self.ask(caller.clone(), id, SessionCommand::Get).await? {
            Reply::Session(settings, _) => Reply::Session(settings, alias.cloned()),
            reply => reply,
        })
    }

    /// A page of sessions with what the caller calls them.
    pub(super) async fn with_aliases(&self, caller: &Caller, page: Page<Settings>) -> Result<Reply, Fault> {
        let (organization, user) = (&caller.principal.organization, &caller.principal.user);
        let ids: Vec<ConversationId> = page.items.iter().map(|settings| settings.id).collect();
        let known = match ids.is_empty() {
            true => BTreeMap::new(),
            false => self.shared.store.aliases_of(organization, user, &ids).await.map_err(from_store)?,
        };
        Ok(Reply::Sessions(page, known))
    }
}
