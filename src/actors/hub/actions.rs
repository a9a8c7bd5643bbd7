//! Actions: shown, done once, written down before and after, undone once.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::actors::ActionCalls;
use crate::actors::conversation::from_commit;
use crate::domain::act::Act;
use crate::domain::action::{
    Action, ActionAnswer, ActionPreview, ActionWish, Backend, Effect, Entity, Execution, ExecutionState, UndoWish,
    holds,
};
use crate::domain::command::Once;
use crate::domain::conversation::SettingsChange;
use crate::domain::ids::ExecutionId;
use crate::domain::record::Idempotency;
use crate::store::{CommitFault, UndoEnd};
use crate::tools::http_call::{CallAnswer, CallFault, HttpCall};

/// How often the end of an execution is tried to be written, and how long is waited before the second try.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Characters of an error that is kept.
const ERROR: usize = 2000;

/// How an effect's end is written: who failed to write it has it done again by nobody.
const UNWRITTEN: &str = "it was carried out, and what came of it could not be written down";

impl LocalHub {
    pub(super) fn list_actions(&self, caller: &Caller, kind: Option<&str>) -> Reply {
        let settings = self.shared.settings.get();
        let offered = |action: &&Arc<Action>| {
            holds(&caller.principal.permissions, &action.permissions) && kind.is_none_or(|kind| action.is_for(kind))
        };
        Reply::Actions(settings.actions.iter().filter(offered).cloned().collect())
    }

    fn action(&self, id: &str) -> Result<Arc<Action>, Fault> {
        self.shared.settings.get().action(id).cloned().ok_or_else(|| Fault::not_found("action"))
    }

    pub(super) async fn show_action(&self, caller: &Caller, wish: &ActionWish) -> Result<Reply, Fault> {
        let action = self.action(&wish.action)?;
        action.permitted(&caller.principal)?;
        action.fits(&wish.input, wish.entity.as_ref())?;
        Ok(Reply::ActionPreview(Box::new(self.look(caller, &action, wish).await?)))
    }

    /// What it would do, for an agent: whoever is asked about it has the permissions.
    pub(in crate::actors) async fn look_for_agent(
        &self,
        caller: &Caller,
        wish: &ActionWish,
    ) -> Result<ActionPreview, Fault> {
        let action = self.action(&wish.action)?;
        action.fits(&wish.input, wish.entity.as_ref())?;
        self.look(caller, &action, wish).await
    }

    async fn look(&self, caller: &Caller, action: &Action, wish: &ActionWish) -> Result<ActionPreview, Fault> {
        let on = wish.entity.as_ref().map_or_else(String::new, |entity| format!(" ({} {})", entity.kind, entity.id));
        let mut preview = ActionPreview {
            action: action.id.clone(),
            name: action.name.clone(),
            summary: format!("{}{on}", action.name),
            risks: action.risks(),
            input: wish.input.clone(),
            entity: wish.entity.clone(),
            request: None,
            details: None,
        };
        match action.backend {
            Backend::Http => {
                let calls = calls(action)?;
                let scope = scope(caller, wish, None);
                let shown = calls.execute.shown(&scope);
                preview.request = Some(shown.map_err(|why| Fault::field("input", why))?);
                if let Some(call) = &calls.preview {
                    preview.details = Some(ask_for_preview(call, &scope, caller).await?);
                }
            }
            Backend::RenameConversation => {
                let (id, now) = self.titled(caller, wish).await?;
                let to = wish.input["title"].as_str().unwrap_or_default();
                preview.summary = format!("rename the conversation {id} from {now:?} to {to:?}");
                preview.details = Some(json!({ "from": now, "to": to }));
            }
        }
        Ok(preview)
    }

    /// The conversation that is the entity, and its title.
    async fn titled(&self, caller: &Caller, wish: &ActionWish) -> Result<(ConversationId, String), Fault> {
        let name = wish.entity.as_ref().map_or("", |entity| &entity.id);
        let name = SessionName::parse(name).map_err(|_| Fault::not_found("session"))?;
        match self.ask_named(caller.clone(), name, SessionCommand::Get).await? {
            Reply::Session(settings, _) => Ok((settings.id, settings.title)),
            _ => Err(Fault::plain(Code::Internal)),
        }
    }

    pub(super) async fn execute_action(
        &self,
        caller: Caller,
        wish: ActionWish,
        skip_preview: bool,
        once: Option<Once>,
    ) -> Result<Reply, Fault> {
        let action = self.action(&wish.action)?;
        action.permitted(&caller.principal)?;
        action.fits(&wish.input, wish.entity.as_ref())?;
        if let Some(once) = &once {
            let (organization, user) = (&caller.principal.organization, &caller.principal.user);
            let known = self.shared.store.idempotency(organization, user, &once.key).await.map_err(from_store)?;
            if let Some(known) = known {
                return self.executed_before(&caller, &known.request, &known.answer, once).await.map(done);
            }
        }
        if action.requires_preview && !skip_preview {
            let preview = self.look(&caller, &action, &wish).await?;
            return Ok(Reply::Action(ActionAnswer::PreviewRequired(Box::new(preview))));
        }
        self.perform(caller, action, wish, None, once).await.map(done)
    }

    /// An agent's call that a human has seen and approved, or that needs neither preview nor permission.
    pub(in crate::actors) async fn execute_for_agent(
        &self,
        caller: Caller,
        agent_of: ConversationId,
        wish: ActionWish,
    ) -> Result<Execution, Fault> {
        let action = self.action(&wish.action)?;
        action.fits(&wish.input, wish.entity.as_ref())?;
        self.perform(caller, action, wish, Some(agent_of), None).await
    }

    /// By itself: whoever hangs up in the middle does not leave it half done.
    async fn perform(
        &self,
        caller: Caller,
        action: Arc<Action>,
        wish: ActionWish,
        agent_of: Option<ConversationId>,
        once: Option<Once>,
    ) -> Result<Execution, Fault> {
        let hub = self.clone();
        let performed = actix_rt::spawn(async move { hub.perform_here(&caller, &action, wish, agent_of, once).await });
        performed.await.unwrap_or_else(|_| Err(Fault::plain(Code::Internal)))
    }

    async fn perform_here(
        &self,
        caller: &Caller,
        action: &Action,
        wish: ActionWish,
        agent_of: Option<ConversationId>,
        once: Option<Once>,
    ) -> Result<Execution, Fault> {
        let store = &self.shared.store;
        let execution = pending(caller, action, &wish, agent_of);
        let act = Act::new(caller, Operation::ActionExecute).on(execution.id).with(execution.details());
        let key = once.as_ref().map(|once| Idempotency {
            user: caller.principal.user.clone(),
            key: once.key.clone(),
            request: once.request,
            answer: execution.id.to_string(),
        });
        match (store.begin_execution(&execution, key, act.entry(None)).await, &once) {
            (Ok(()), _) => {}
            (Err(CommitFault::IdempotencyTaken { request, answer }), Some(once)) => {
                return self.executed_before(caller, &request, &answer, once).await;
            }
            (Err(fault), _) => return Err(from_commit(fault)),
        }
        crate::failpoint::reach("action.begun");
        store.start_execution(&execution.organization, execution.id).await.map_err(from_commit)?;
        crate::failpoint::reach("action.executing");
        let effect = AssertUnwindSafe(self.bring_about(caller, action, &wish, execution.id)).catch_unwind().await;
        let effect = effect.unwrap_or_else(|_| Effect::Unknown("the hub's own part of it panicked".to_owned()));
        crate::failpoint::reach("action.done");
        let ended = execution.ended(effect, action.undo_for, SystemSource.now());
        let failed = ended.state != ExecutionState::Completed;
        let failed = failed.then(|| act.with(ended.details()).entry(Some("failed")));
        insist(|| store.end_execution(&ended, failed.clone())).await?;
        Ok(ended)
    }

    /// What the key's first request came to, as it stands now.
    async fn executed_before(
        &self,
        caller: &Caller,
        request: &[u8; 32],
        answer: &str,
        once: &Once,
    ) -> Result<Execution, Fault> {
        let conflict = || Fault::new(Code::Conflict, "the idempotency key was used for another request");
        let id = ExecutionId::parse(answer).ok().filter(|_| *request == once.request).ok_or_else(conflict)?;
        let found = self.shared.store.execution(&caller.principal.organization, id).await.map_err(from_store)?;
        found.ok_or_else(conflict)
    }

    /// The effect, once.
    async fn bring_about(&self, caller: &Caller, action: &Action, wish: &ActionWish, id: ExecutionId) -> Effect {
        match action.backend {
            Backend::Http => {
                let calls = match calls(action) {
                    Ok(calls) => calls,
                    Err(fault) => return Effect::Failed(fault.message),
                };
                let more = id.to_string();
                send(&calls.execute, &scope(caller, wish, Some((id, &Value::Null))), caller, Some(more)).await
            }
            Backend::RenameConversation => {
                let title = wish.input["title"].as_str().unwrap_or_default().to_owned();
                let renamed = async {
                    let (conversation, from) = self.titled(caller, wish).await?;
                    self.rename(caller, conversation, &title).await?;
                    Ok(json!({ "sessionId": conversation.to_string(), "from": from, "to": title }))
                };
                renamed.await.map_or_else(|fault: Fault| Effect::Failed(fault.message), Effect::Done)
            }
        }
    }

    async fn rename(&self, caller: &Caller, conversation: ConversationId, title: &str) -> Result<(), Fault> {
        let change = SettingsChange { title: Some(title.to_owned()), ..SettingsChange::default() };
        self.ask(caller.clone(), conversation, SessionCommand::Change(change)).await.map(drop)
    }

    pub(super) async fn undo_action(&self, caller: Caller, wish: UndoWish) -> Result<Reply, Fault> {
        let action = self.action(&wish.action)?;
        action.permitted(&caller.principal)?;
        if action.undo_for.is_none() {
            return Err(Fault::new(Code::Conflict, "this action cannot be undone"));
        }
        let hub = self.clone();
        let undone = actix_rt::spawn(async move { hub.undo_here(&caller, &action, &wish).await });
        let undone = undone.await.unwrap_or_else(|_| Err(Fault::plain(Code::Internal)))?;
        Ok(Reply::ActionUndone(Box::new(undone)))
    }

    async fn undo_here(&self, caller: &Caller, action: &Action, wish: &UndoWish) -> Result<Execution, Fault> {
        let (store, organization) = (&self.shared.store, &caller.principal.organization);
        let entity = wish.entity.as_ref().map(|entity| json!({ "type": entity.kind, "id": entity.id }));
        let act = Act::new(caller, Operation::ActionUndo).with(json!({ "action": action.id, "entity": entity }));
        let act = act.on(wish.execution.map_or_else(|| action.id.clone(), |id| id.to_string()));
        let claimed = store.claim_undo(organization, wish, SystemSource.now(), act.entry(None)).await;
        let Some(mut execution) = claimed.map_err(from_commit)? else {
            return Err(match wish.execution {
                Some(_) => Fault::not_found("execution"),
                None => Fault::new(Code::Conflict, "there is nothing that can still be undone"),
            });
        };
        crate::failpoint::reach("action.undoing");
        let effect = AssertUnwindSafe(self.take_back(caller, action, &execution)).catch_unwind().await;
        let effect = effect.unwrap_or_else(|_| Effect::Unknown("the hub's own part of it panicked".to_owned()));
        crate::failpoint::reach("action.undone");
        let (user, at) = (caller.principal.user.clone(), SystemSource.now());
        let (end, answer) = match effect {
            Effect::Done(_) => (UndoEnd::Undone(user.clone()), Ok(())),
            Effect::Failed(why) => {
                let fault = Fault::unavailable(format!("it was not undone: {why}"));
                (UndoEnd::Failed(short(&why)), Err(fault))
            }
            Effect::Unknown(why) => {
                let fault = Fault::new(Code::Conflict, format!("nobody knows whether it was undone: {why}"));
                (UndoEnd::Unknown(short(&why)), Err(fault))
            }
        };
        insist(|| store.end_undo(organization, execution.id, end.clone(), at)).await?;
        if answer.is_err() {
            self.write_down(&act, Some("failed")).await?;
        }
        answer?;
        (execution.state, execution.undone_at, execution.undone_by) = (ExecutionState::Undone, Some(at), Some(user));
        Ok(execution)
    }

    async fn take_back(&self, caller: &Caller, action: &Action, execution: &Execution) -> Effect {
        let wish = ActionWish {
            action: execution.action.clone(),
            input: execution.input.clone(),
            entity: execution.entity.clone(),
        };
        let result = execution.result.clone().unwrap_or_default();
        match action.backend {
            Backend::Http => {
                let call = calls(action).ok().and_then(|calls| calls.undo.clone());
                let Some(call) = call else { return Effect::Failed("this action cannot be undone".to_owned()) };
                send(&call, &scope(caller, &wish, Some((execution.id, &result))), caller, None).await
            }
            Backend::RenameConversation => {
                let [from, to] = ["from", "to"].map(|key| result[key].as_str().unwrap_or_default());
                let back = async {
                    let id = ConversationId::parse(result["sessionId"].as_str().unwrap_or_default());
                    let id = id.map_err(|_| Fault::not_found("session"))?;
                    let known = Entity { kind: "conversation".to_owned(), id: id.to_string() };
                    let (_, now) = self.titled(caller, &ActionWish { entity: Some(known), ..wish.clone() }).await?;
                    if now != to {
                        return Err(Fault::new(Code::Conflict, "it was renamed again since"));
                    }
                    self.rename(caller, id, from).await
                };
                back.await.map_or_else(|fault: Fault| Effect::Failed(fault.message), |()| Effect::Done(Value::Null))
            }
        }
    }

    /// Whether somebody may let an agent do this: the permissions that it needs are those of who approves.
    pub(super) async fn may_grant(
        &self,
        caller: &Caller,
        (organization, conversation): &Place,
        which: ApprovalRef,
    ) -> Result<(), Fault> {
        let settings = self.shared.settings.get();
        let actions = settings.actions.iter().filter(|action| !action.permissions.is_empty());
        let actions = actions.map(|action| (action.tool_name(), action.permissions.clone()));
        let skills = settings.skills.iter().filter(|skill| !skill.permissions.is_empty());
        let skills = skills.map(|skill| (skill.tool_name(), skill.permissions.clone()));
        let guarded: Vec<(String, Vec<String>)> = actions.chain(skills).collect();
        if guarded.is_empty() {
            return Ok(());
        }
        let store = &self.shared.store;
        let tool = match which {
            ApprovalRef::Request(id) => {
                store.approval(organization, id).await.map_err(from_store)?.map(|(_, a)| a.tool)
            }
            ApprovalRef::Call(call) => {
                let user = &caller.principal.user;
                let all = store.pending_approvals(organization, user, true).await.map_err(from_store)?;
                let this = |(of, asked): &&(ConversationId, crate::domain::approval::Approval)| {
                    of == conversation && asked.call == call
                };
                all.iter().find(this).map(|(_, asked)| asked.tool.clone())
            }
        };
        let needed = tool.and_then(|tool| guarded.into_iter().find(|(name, _)| *name == tool));
        let missing = needed.into_iter().flat_map(|(_, needed)| needed);
        let missing = missing.into_iter().find(|needed| !caller.principal.permissions.contains(needed));
        match missing {
            None => Ok(()),
            Some(missing) => Err(Fault::forbidden(format!("to approve this needs the permission {missing}"))),
        }
    }
}

fn done(execution: Execution) -> Reply {
    Reply::Action(ActionAnswer::Done(Box::new(execution)))
}

fn pending(caller: &Caller, action: &Action, wish: &ActionWish, agent_of: Option<ConversationId>) -> Execution {
    Execution {
        id: ExecutionId::mint(&mut SystemSource),
        organization: caller.principal.organization.clone(),
        action: action.id.clone(),
        entity: wish.entity.clone(),
        input: wish.input.clone(),
        user: caller.principal.user.clone(),
        agent_of,
        state: ExecutionState::Pending,
        result: None,
        error: None,
        request_id: caller.request_id.clone(),
        created_at: SystemSource.now(),
        ended_at: None,
        undo_until: None,
        undone_at: None,
        undone_by: None,
    }
}

fn calls(action: &Action) -> Result<Rc<ActionCalls>, Fault> {
    let found = with_kit(|kit| kit.calls.get(&action.id).cloned()).flatten();
    found.ok_or_else(|| Fault::unavailable("this action counts from the hub's next start"))
}

/// What the places of a request are filled from.
fn scope(caller: &Caller, wish: &ActionWish, of: Option<(ExecutionId, &Value)>) -> Value {
    let entity = wish.entity.as_ref().map(|entity| json!({ "type": entity.kind, "id": entity.id }));
    json!({
        "input": wish.input,
        "entity": entity,
        "organization": caller.principal.organization.as_str(),
        "user": caller.principal.user.as_str(),
        "execution": of.map(|(id, _)| id.to_string()),
        "result": of.map(|(_, result)| result),
    })
}

async fn ask_for_preview(call: &HttpCall, scope: &Value, caller: &Caller) -> Result<Value, Fault> {
    let request = call.request(scope).map_err(|why| Fault::field("input", why))?;
    let failed = |why: String| Fault::unavailable(format!("the preview failed: {}", short(&why)));
    match call.send(request, &[("x-request-id", caller.request_id.clone())]).await {
        Ok(answer) if answer.is_success() => Ok(answer.body),
        Ok(answer) => Err(failed(answer.told())),
        Err(fault) => Err(failed(fault.into_text())),
    }
}

/// Sends the one request. `key` tells the other side that a second one with it would be the same.
async fn send(call: &HttpCall, scope: &Value, caller: &Caller, key: Option<String>) -> Effect {
    let request = match call.request(scope) {
        Ok(request) => request,
        Err(why) => return Effect::Failed(short(&why)),
    };
    let mut more = vec![("x-request-id", caller.request_id.clone())];
    more.extend(key.map(|key| ("idempotency-key", key)));
    let judge = |answer: CallAnswer| match answer.is_success() {
        true => Effect::Done(answer.as_value()),
        false => Effect::Failed(short(&answer.told())),
    };
    match call.send(request, &more).await {
        Ok(answer) => judge(answer),
        Err(CallFault::NotSent(why)) => Effect::Failed(short(&why)),
        Err(CallFault::Unanswered(why)) => Effect::Unknown(short(&why)),
    }
}

fn short(text: &str) -> String {
    text.chars().take(ERROR).collect()
}

/// Writes what came of an effect: nothing else may be done about it any more.
async fn insist<F: Future<Output = Result<(), CommitFault>>>(write: impl Fn() -> F) -> Result<(), Fault> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match write().await {
            Ok(()) => return Ok(()),
            Err(fault) => tracing::warn!(%fault, "what came of an action was not written; trying again"),
        }
        actix_rt::time::sleep(pause).await;
        pause *= 2;
    }
    write().await.map_err(|fault| {
        tracing::error!(%fault, "what came of an action could not be written: the next start calls it unknown");
        Fault::unavailable(UNWRITTEN)
    })
}
