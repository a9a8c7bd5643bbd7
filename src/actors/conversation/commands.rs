//! Commands of people: allowed, decided by the machine, answered when they are on disk.

use super::life::{from_commit, from_store};
use super::*;
use crate::actors::spending::Till;
use crate::domain::approval::Approval;
use crate::domain::command::{ApprovalRef, NewMessage, Once, Page, Status};
use crate::domain::conversation::{Outcome, Send, SettingsChange};
use crate::domain::hub::LocalFuture;
use crate::domain::ids::{MessageId, TurnId, UserId};
use crate::domain::record::Idempotency;
use crate::domain::settings::ConversationState;
use crate::domain::turn::TurnState;
use crate::error::Code;
use crate::store::CommitFault;

impl ConversationActor {
    pub(super) fn ask(&mut self, ask: Ask, context: &mut Context<Self>) {
        let Ask { caller, by, command, answer } = ask;
        let access = command.access();
        let checked = match command {
            SessionCommand::Get
            | SessionCommand::Messages { .. }
            | SessionCommand::CountMessages
            | SessionCommand::Turn(_) => self.readable(&caller, by).map(|_| ()),
            _ => self.allowed(&caller, by, access).map(|_| ()),
        };
        if let Err(fault) = checked {
            let _ = answer.send(Err(fault));
            return;
        }
        match command {
            SessionCommand::Get => {
                let row = self.readable(&caller, by).map(|row| Reply::Session(Box::new(row.clone()), None));
                let _ = answer.send(row);
            }
            SessionCommand::Send(NewMessage { once: Some(once), .. })
            | SessionCommand::Retry { once: Some(once), .. }
                if once.key.is_empty() =>
            {
                let _ = answer.send(Err(Fault::field("idempotencyKey", "is empty")));
            }
            SessionCommand::Send(new) => {
                let once = new.once.clone();
                let look = self.look(&caller, (&new.content, new.attachments.len()), new.model.as_deref());
                let send = |actor: &mut Self, caller: &Caller| actor.begin_send(caller, new);
                self.begin_once(caller, (once, look), answer, context, send);
            }
            SessionCommand::Retry { turn, model, once } => {
                let look = self.look(&caller, ("", 0), model.as_deref());
                let retry = move |actor: &mut Self, caller: &Caller| actor.begin_retry(caller, turn, model);
                self.begin_once(caller, (once, look), answer, context, retry);
            }
            SessionCommand::Messages { before, limit } => self.messages(before, limit, answer),
            SessionCommand::CountMessages => self.count_messages(answer),
            SessionCommand::Turn(turn) => self.turn(turn, answer),
            SessionCommand::Delete => self.delete(answer, context),
            other => match self.decide((&caller, by), other) {
                Ok(Decided::Now(reply)) => drop(answer.send(Ok(reply))),
                Ok(Decided::After(outcome, reply)) => self.drive(outcome, context, move |_, _, result| {
                    let _ = answer.send(result.map(|()| reply).map_err(from_commit));
                }),
                Ok(Decided::Granted(outcome, reply)) => self.drive(outcome, context, move |actor, context, result| {
                    let committed = result.is_ok();
                    let _ = answer.send(result.map(|()| reply).map_err(from_commit));
                    if committed {
                        actor.after_grant(context);
                    }
                }),
                Ok(Decided::Later(asker, outcome)) => {
                    if let Ok(live) = self.live() {
                        live.askers.insert(asker, answer);
                    }
                    self.drive(outcome, context, |_, _, _| {});
                }
                Ok(Decided::Read(read)) => drop(actix_rt::spawn(async move { drop(answer.send(read.await)) })),
                Err(fault) => drop(answer.send(Err(fault))),
            },
        }
    }

    fn decide(&mut self, (caller, by): (&Caller, By), command: SessionCommand) -> Result<Decided, Fault> {
        let settings = self.shared.settings.get();
        let place = self.place.clone();
        let live = self.live()?;
        let source = &mut SystemSource;
        let session = |live: &Live| Reply::Session(Box::new(live.machine.settings.clone()), None);
        Ok(match command {
            SessionCommand::Change(change) => {
                refuse_unknown_agent(&settings, &change)?;
                // What is told of the change tells of the new agent. An archived conversation takes no change.
                if live.machine.settings.state != ConversationState::Archived
                    && let Some(rules) = settings.rules(change.agent.as_ref().unwrap_or(&live.machine.settings.agent))
                {
                    live.machine.set_rules(rules);
                }
                let outcome = live.machine.change(change, source)?;
                Decided::After(outcome, session(live))
            }
            SessionCommand::Archive => {
                let asker = live.next_asker();
                Decided::Later(asker, live.machine.archive(asker, source))
            }
            SessionCommand::Pause => Decided::After(live.machine.pause(source)?, session(live)),
            SessionCommand::Resume => Decided::After(live.machine.resume(source)?, session(live)),
            SessionCommand::Edit { message, content } => {
                let (message, outcome) = live.machine.edit(message, content, source)?;
                Decided::After(outcome, Reply::Message(place.1, message))
            }
            SessionCommand::Cancel(turn) => {
                let asker = live.next_asker();
                Decided::Later(asker, live.machine.cancel(turn, asker, source)?)
            }
            SessionCommand::Stop(turn, kind) => {
                let asker = live.next_asker();
                Decided::Later(asker, live.machine.stop(turn, kind, asker, source)?)
            }
            SessionCommand::Halt => {
                let asker = live.next_asker();
                Decided::Later(asker, live.machine.halt(&caller.principal.user, asker, source))
            }
            SessionCommand::Info => Decided::Now(Reply::Info(place.1, Arc::new(live.machine.info(None)))),
            SessionCommand::Think(word) => {
                let outcome = live.machine.think(&word, source)?;
                Decided::After(outcome, Reply::Info(place.1, Arc::new(live.machine.info(None))))
            }
            SessionCommand::Clear => {
                let outcome = live.machine.clear(caller.principal.user.clone(), source)?;
                Decided::After(outcome, session(live))
            }
            SessionCommand::Compact => {
                let asker = live.next_asker();
                Decided::Later(asker, live.machine.compact(asker)?)
            }
            SessionCommand::Status => Decided::Now(Reply::Status(Box::new(status(live)))),
            SessionCommand::Todos => Decided::Now(Reply::Todos(live.machine.todos().to_vec())),
            SessionCommand::TodosReplace(todos) => {
                let outcome = live.machine.replace_todos(todos.clone())?;
                Decided::After(outcome, Reply::Todos(todos))
            }
            SessionCommand::Approvals => {
                let items = live.machine.approvals().iter().map(|a| (place.1, a.clone())).collect();
                Decided::Now(Reply::Approvals(Page { items, next: None }))
            }
            SessionCommand::Decide { which, approved, reason, keep } => {
                return self.decide_approval((caller, by), (which, approved, reason), keep);
            }
            // Handled before.
            SessionCommand::Get
            | SessionCommand::Send(_)
            | SessionCommand::Retry { .. }
            | SessionCommand::Messages { .. }
            | SessionCommand::CountMessages
            | SessionCommand::Turn(_)
            // The hub's own business: it is other commands by the time it comes here.
            | SessionCommand::Execute { .. }
            | SessionCommand::Delete => {
                return Err(Fault::plain(Code::Internal));
            }
        })
    }

    /// Asks the budgets whether a new turn has a chance. `None` where none applies.
    fn look(
        &self,
        caller: &Caller,
        (text, attachments): (&str, usize),
        model: Option<&str>,
    ) -> Option<LocalFuture<Result<(), Fault>>> {
        let State::Live(live) = &self.state else { return None };
        let (machine, user) = (&live.machine, &caller.principal.user);
        let till = Till::of(&self.shared, || {
            let decided = machine.routed(text, attachments, user);
            let target = machine.choice(model, decided.as_ref()).target;
            self.spender(Some(user), &target.provider, &target.model)
        })?;
        let text = text.to_owned();
        Some(Box::pin(async move { till.look(&text).await }))
    }

    /// Begins a turn. A request that may be repeated is looked up first; then its key goes into the same transaction.
    fn begin_once(
        &mut self,
        caller: Caller,
        (once, look): (Option<Once>, Option<LocalFuture<Result<(), Fault>>>),
        answer: Answerer,
        context: &mut Context<Self>,
        begin: impl FnOnce(&mut Self, &Caller) -> Result<(Reply, Outcome), Fault> + 'static,
    ) {
        if once.is_none() && look.is_none() {
            return self.begin_now(&caller, None, answer, context, begin);
        }
        let store = self.shared.store.clone();
        let (organization, user) = (self.place.0.clone(), caller.principal.user.clone());
        let asked = async move {
            if let Some(once) = &once
                && let Some(known) = store.idempotency(&organization, &user, &once.key).await.map_err(from_store)?
            {
                // The first answer counts, whatever the budgets say by now.
                return Ok(Err(answered(&known.request, &known.answer, once)));
            }
            match look {
                Some(look) => look.await.map(|()| Ok(once)),
                None => Ok(Ok(once)),
            }
        };
        let then = asked.into_actor(self).map(move |found, actor, context| match found {
            Ok(Ok(once)) => {
                actor.guarded(context, |actor, context| actor.begin_now(&caller, once, answer, context, begin));
            }
            Ok(Err(known)) => drop(answer.send(known)),
            Err(fault) => drop(answer.send(Err(fault))),
        });
        context.wait(then);
    }

    fn begin_now(
        &mut self,
        caller: &Caller,
        once: Option<Once>,
        answer: Answerer,
        context: &mut Context<Self>,
        begin: impl FnOnce(&mut Self, &Caller) -> Result<(Reply, Outcome), Fault>,
    ) {
        let (reply, outcome) = match begin(self, caller) {
            Ok(decided) => decided,
            Err(fault) => return drop(answer.send(Err(fault))),
        };
        let idempotency = once.as_ref().map(|once| idempotency(&caller.principal.user, once, &reply));
        let done = move |_: &mut Self, _: &mut Context<Self>, result: Result<(), CommitFault>| {
            crate::failpoint::reach("send.answer");
            let _ = answer.send(match (result, once) {
                (Ok(()), _) => Ok(reply),
                // Another conversation took the key in the same moment.
                (Err(CommitFault::IdempotencyTaken { request, answer }), Some(once)) => {
                    answered(&request, &answer, &once)
                }
                (Err(fault), _) => Err(from_commit(fault)),
            });
        };
        self.drive_once(outcome, idempotency, context, Box::new(done));
    }

    fn begin_send(&mut self, caller: &Caller, new: NewMessage) -> Result<(Reply, Outcome), Fault> {
        let live = self.live()?;
        let yields = new.yields && live.machine.settings.model.is_some();
        let send = Send {
            user: caller.principal.user.clone(),
            content: new.content,
            attachments: new.attachments,
            model: new.model.filter(|_| !yields),
            busy: new.busy,
            correlation_id: caller.request_id.clone(),
        };
        let (message, turn, outcome) = live.machine.send(send, &mut SystemSource)?;
        live.note_role(turn, caller.principal.role);
        Ok((sent(live, message, turn), outcome))
    }

    fn begin_retry(
        &mut self,
        caller: &Caller,
        turn: Option<TurnId>,
        model: Option<String>,
    ) -> Result<(Reply, Outcome), Fault> {
        let (user, request) = (caller.principal.user.clone(), caller.request_id.clone());
        let live = self.live()?;
        let (message, turn, outcome) = live.machine.retry(turn, user, model, request, &mut SystemSource)?;
        live.note_role(turn, caller.principal.role);
        Ok((sent(live, message, turn), outcome))
    }

    fn messages(&mut self, before: Option<MessageId>, limit: usize, answer: Answerer) {
        let store = self.shared.store.clone();
        let (organization, id) = self.place.clone();
        actix_rt::spawn(async move {
            let found = store.messages(&organization, id, before, limit).await.map_err(from_store);
            let page = found.and_then(|page| page.ok_or_else(|| Fault::not_found("message")));
            let _ = answer.send(page.map(|page| {
                let next = page.next.map(|id| id.to_string());
                Reply::Messages(id, Page { items: page.items, next })
            }));
        });
    }

    fn count_messages(&mut self, answer: Answerer) {
        let store = self.shared.store.clone();
        let (organization, id) = self.place.clone();
        actix_rt::spawn(async move {
            let count = store.count_messages(&organization, id).await.map_err(from_store);
            let _ = answer.send(count.map(Reply::Count));
        });
    }

    fn turn(&mut self, turn: TurnId, answer: Answerer) {
        let store = self.shared.store.clone();
        let (organization, id) = self.place.clone();
        actix_rt::spawn(async move {
            let found = store.turn(&organization, id, turn).await.map_err(from_store);
            let found = found.and_then(|found| found.ok_or_else(|| Fault::not_found("turn")));
            let _ = answer.send(found.map(|(turn, said)| Reply::Turn(id, Box::new(turn), said.map(Box::new))));
        });
    }

    /// Aborts what runs, then deletes.
    fn delete(&mut self, answer: Answerer, context: &mut Context<Self>) {
        let Ok(live) = self.live() else { return };
        if let Some((_, waiting)) = &mut live.deleting {
            return waiting.push(answer);
        }
        let asker = live.next_asker();
        live.deleting = Some((asker, vec![answer]));
        let outcome = live.machine.archive(asker, &mut SystemSource);
        self.drive(outcome, context, |_, _, _| {});
    }

    pub(super) fn history(
        &mut self,
        (caller, by): (&Caller, By),
        since: Option<&Position>,
        limit: usize,
    ) -> Result<Reply, Fault> {
        self.allowed(caller, by, Access::Watch)?;
        let Some((home, live)) = self.both() else { return Err(Fault::unavailable("the session is being loaded")) };
        let machine = &live.machine;
        let text_of = |message, part| machine.part_text(message, part);
        let found = home.history(since, limit, SystemSource.now(), &text_of);
        let recovered = found.is_some();
        let events = found.unwrap_or_default();
        let Position { epoch, seq } = home.position();
        Ok(Reply::History { epoch, seq, recovered, events })
    }
}

/// What a command came to.
pub(super) enum Decided {
    Now(Reply),
    /// Once it is on disk.
    After(Outcome, Reply),
    /// The same, and then the tool may start.
    Granted(Outcome, Reply),
    /// When the machine says so.
    Later(Asker, Outcome),
    /// From the store.
    Read(LocalFuture<Result<Reply, Fault>>),
}

impl Live {
    pub(super) fn next_asker(&mut self) -> Asker {
        self.next_asker += 1;
        self.next_asker
    }
}

fn status(live: &Live) -> Status {
    let machine = &live.machine;
    let waiting = machine.live_turns().iter().filter(|turn| turn.state == TurnState::Queued).count();
    Status {
        info: machine.info(None),
        context: machine.context_now(),
        chosen: machine.settings.model.is_some(),
        settings: machine.settings.clone(),
        turn: machine.current().map(|turn| turn.state),
        queued: waiting,
    }
}

fn refuse_unknown_agent(settings: &crate::actors::HubSettings, change: &SettingsChange) -> Result<(), Fault> {
    match &change.agent {
        Some(agent) if settings.agent(agent).is_none() => Err(Fault::field("agent", "no such agent")),
        _ => Ok(()),
    }
}

fn sent(live: &Live, message: MessageId, turn: TurnId) -> Reply {
    let begun = live.machine.turn(turn);
    let state = begun.map_or(TurnState::Queued, |t| t.state);
    let info = Some(Arc::new(live.machine.info_of_turn(turn)));
    Reply::Sent { message, turn, state, info }
}

fn idempotency(user: &UserId, once: &Once, reply: &Reply) -> Idempotency {
    let answer = match reply {
        Reply::Sent { message, turn, state, .. } => {
            serde_json::json!({ "message": message.to_string(), "turn": turn.to_string(), "state": state.name() })
        }
        _ => serde_json::Value::Null,
    };
    Idempotency { user: user.clone(), key: once.key.clone(), request: once.request, answer: answer.to_string() }
}

/// The answer that the first try got, if this is the same request.
fn answered(request: &[u8; 32], answer: &str, once: &Once) -> Result<Reply, Fault> {
    if *request != once.request {
        return Err(Fault::new(Code::Conflict, "the idempotency key was used for another request"));
    }
    let value: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let parsed = MessageId::parse(text("message")).ok().zip(TurnId::parse(text("turn")).ok());
    let (message, turn) =
        parsed.ok_or_else(|| Fault::new(Code::Conflict, "the idempotency key was used for another request"))?;
    let state = TurnState::parse(text("state")).unwrap_or(TurnState::Queued);
    Ok(Reply::Sent { message, turn, state, info: None })
}

/// Somebody was first: what holds.
pub(super) async fn settled(store: crate::store::Store, place: Place, which: ApprovalRef) -> Result<Reply, Fault> {
    let found: Option<Approval> = match which {
        ApprovalRef::Request(id) => {
            store.approval(&place.0, id).await.map_err(from_store)?.filter(|(c, _)| *c == place.1).map(|(_, a)| a)
        }
        ApprovalRef::Call(call) => {
            let all = store.approvals(&place.0, place.1).await.map_err(from_store)?;
            all.into_iter().find(|a| a.call == call)
        }
    };
    match found {
        Some(approval) => Ok(Reply::Decided { applied: false, approval: Arc::new(approval), rule: None }),
        None => Err(Fault::not_found("approval")),
    }
}
