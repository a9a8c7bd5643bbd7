//! What people ask of a conversation: send, edit, cancel, retry, pause, archive, settings, todos.

use std::sync::Arc;

use super::*;
use crate::domain::agent::BusyPolicy;
use crate::domain::generation::ThinkingLevel;
use crate::domain::message::{Attachment, Author, MessageState};
use crate::domain::settings::Visibility;
use crate::error::{Code, Fault};

/// A message to the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    pub user: UserId,
    pub content: String,
    pub attachments: Vec<Attachment>,
    pub model: Option<String>,
    /// What to do while a turn runs; the agent's own policy where absent.
    pub busy: Option<BusyPolicy>,
    pub correlation_id: String,
}

/// A change of the conversation's own row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    pub title: Option<String>,
    pub agent: Option<String>,
    /// `Some(None)` clears the override.
    pub model: Option<Option<String>>,
    pub thinking: Option<ThinkingLevel>,
    pub visibility: Option<Visibility>,
    /// The whole list.
    pub tags: Option<Vec<String>>,
}

/// A title is the first line of the first message, cut here.
const TITLE_CHARS: usize = 60;

impl Conversation {
    /// A new message: its turn starts, or waits. Gives the message and the turn.
    pub fn send(&mut self, send: Send, source: &mut dyn Source) -> Result<(MessageId, TurnId, Outcome), Fault> {
        self.refuse_if_archived()?;
        let policy = send.busy.unwrap_or(self.rules.agent.busy);
        let busy = self.current().is_some();
        if busy && policy == BusyPolicy::Reject {
            return Err(Fault::plain(Code::Busy));
        }
        let waits = busy || self.settings.state != ConversationState::Active;
        if waits && self.queued().count() >= self.rules.queue_turns {
            return Err(Fault::new(Code::Busy, format!("{} turns wait already", self.rules.queue_turns)));
        }
        let mut out = Outcome::default();
        let now = source.now();
        if self.settings.title.is_empty() {
            let line = send.content.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
            self.settings.title = line.chars().take(TITLE_CHARS).collect();
        }
        let mut turn = self.add_turn(&send, None, source);
        turn.routing = self.routed(&send.content, send.attachments.len(), &send.user).map(Box::new);
        let (message_id, turn_id) = (turn.message, turn.id);
        let message = self.user_message(&turn, send, source);
        out.writes.push(Write::Message(message.clone()));
        for part in &message.parts {
            out.writes.push(Write::Part { message: message.id, part: part.clone() });
        }
        out.events
            .push(Event::MessageCreated { conversation: self.conversation(), message: Arc::new(message.clone()) });
        self.insert_message(message);
        if busy && policy == BusyPolicy::Interrupt {
            self.begin_stop(StopKind::Stop, None, &mut out, source);
        }
        self.place_turn(turn, &mut out, source);
        self.touch_settings(now, &mut out);
        self.settle_status(&mut out);
        Ok((message_id, turn_id, out))
    }

    fn add_turn(&mut self, send: &Send, retry_of: Option<&Turn>, source: &mut dyn Source) -> Turn {
        let no = self.settings.next_turn_no;
        self.settings.next_turn_no += 1;
        Turn {
            id: TurnId::mint(source),
            no,
            state: TurnState::Queued,
            message: retry_of.map_or_else(|| MessageId::mint(source), |t| t.message),
            answer: None,
            user: send.user.clone(),
            model: send.model.clone(),
            routing: None,
            steps: 0,
            usage: Usage::default(),
            retry_of: retry_of.map(|t| t.id),
            receipt: None,
            error: None,
            refusal: None,
            correlation_id: send.correlation_id.clone(),
            created_at: source.now(),
            started_at: None,
            ended_at: None,
        }
    }

    fn user_message(&self, turn: &Turn, send: Send, source: &mut dyn Source) -> Message {
        let mut bodies = Vec::with_capacity(1 + send.attachments.len());
        if !send.content.is_empty() || send.attachments.is_empty() {
            bodies.push(PartBody::Text { text: send.content });
        }
        bodies.extend(send.attachments.into_iter().map(PartBody::Attachment));
        let part = |(index, body)| Part { id: PartId::mint(source), index: index as u16, body };
        let parts = bodies.into_iter().enumerate().map(part).collect();
        Message {
            id: turn.message,
            turn: turn.id,
            turn_no: turn.no,
            index: 0,
            author: Author::User,
            user: Some(send.user),
            state: MessageState::Queued,
            superseded: false,
            provider: None,
            model: None,
            usage: None,
            created_at: turn.created_at,
            parts,
        }
    }

    /// A new turn starts at once where nothing is at work, else it waits and says so.
    fn place_turn(&mut self, turn: Turn, out: &mut Outcome, source: &mut dyn Source) {
        let id = turn.id;
        let refs = serde_json::json!({ "messageId": turn.message.to_string(), "state": "queued" });
        out.writes.push(Self::fact("turn.queued", Some(id), Some(turn.user.clone()), refs));
        out.writes.push(Write::Turn(turn.clone()));
        self.live.push(turn.clone());
        let before = out.events.len();
        self.start_next(out, source);
        let started = self.work.as_ref().is_some_and(|w| w.turn == id);
        if !started {
            let position = self.queued().count() as u32;
            let event = Event::TurnQueued { conversation: self.conversation(), turn: Arc::new(turn), position };
            out.events.insert(before, event);
        }
    }

    pub(super) fn queued(&self) -> impl Iterator<Item = &Turn> {
        self.live.iter().filter(|t| t.state == TurnState::Queued)
    }

    pub(super) fn refuse_if_archived(&self) -> Result<(), Fault> {
        match self.settings.state {
            ConversationState::Archived => Err(Fault::plain(Code::Archived)),
            _ => Ok(()),
        }
    }

    /// Edits the text of a message whose turn still waits.
    pub fn edit(
        &mut self,
        message: MessageId,
        content: String,
        source: &mut dyn Source,
    ) -> Result<(Arc<Message>, Outcome), Fault> {
        self.refuse_if_archived()?;
        let known = self.message(message).ok_or_else(|| Fault::not_found("message"))?;
        if known.state != MessageState::Queued {
            return Err(Fault::new(Code::Conflict, "only a message whose turn still waits can be edited"));
        }
        let conversation = self.conversation();
        let Some(known) = self.message_mut(message) else { return Err(Fault::not_found("message")) };
        let mut out = Outcome::default();
        let body = PartBody::Text { text: content };
        let part = match known.parts.iter_mut().find(|p| matches!(p.body, PartBody::Text { .. })) {
            Some(part) => {
                part.body = body;
                part.clone()
            }
            // So far there were attachments only.
            None => {
                let part = Part { id: PartId::mint(source), index: known.parts.len() as u16, body };
                known.parts.push(part.clone());
                part
            }
        };
        out.writes.push(Write::Part { message, part });
        let changed = Arc::new(known.clone());
        let refs = serde_json::json!({ "messageId": message.to_string() });
        out.writes.push(Self::fact("message.updated", Some(changed.turn), changed.user.clone(), refs));
        out.events.push(Event::MessageUpdated { conversation, message: changed.clone() });
        Ok((changed, out))
    }

    /// Takes a queued turn out; a running one is stopped. `asker` is answered once it has ended.
    pub fn cancel(&mut self, turn: Option<TurnId>, asker: Asker, source: &mut dyn Source) -> Result<Outcome, Fault> {
        let target = match turn {
            Some(id) => self.turn(id).map(|t| t.id).ok_or_else(|| Fault::not_found("turn"))?,
            None => self
                .current()
                .or_else(|| self.live.last())
                .map(|t| t.id)
                .ok_or_else(|| Fault::new(Code::Conflict, "no turn runs or waits"))?,
        };
        if self.turn(target).is_some_and(|t| t.state == TurnState::Queued) {
            let mut out = Outcome::default();
            self.cancel_queued(target, &mut out, source);
            out.effects.push(Effect::Answer { asker, answer: self.ended_answer(target) });
            return Ok(out);
        }
        self.stop(Some(target), StopKind::Stop, asker, source)
    }

    /// `queued → cancelled`.
    pub(super) fn cancel_queued(&mut self, id: TurnId, out: &mut Outcome, source: &mut dyn Source) {
        let Some(at) = self.live.iter().position(|t| t.id == id && t.state == TurnState::Queued) else { return };
        let mut turn = self.live.remove(at);
        turn.state = TurnState::Cancelled;
        turn.ended_at = Some(source.now());
        let conversation = self.conversation();
        if turn.retry_of.is_none()
            && let Some(message) = self.message_mut(turn.message)
        {
            message.state = MessageState::Cancelled;
            out.writes.push(Write::Message(message.clone()));
            out.events.push(Event::MessageUpdated { conversation, message: Arc::new(message.clone()) });
        }
        self.record_end(turn, out);
    }

    /// Writes and announces the end of a turn, and remembers it.
    pub(super) fn record_end(&mut self, turn: Turn, out: &mut Outcome) {
        let refs = serde_json::json!({ "state": turn.state.name() });
        out.writes.push(Self::fact("turn.ended", Some(turn.id), None, refs));
        out.writes.push(Write::Turn(turn.clone()));
        let tally = Arc::new(self.tally(&turn));
        out.events.push(Event::TurnEnded { conversation: self.conversation(), turn: Arc::new(turn.clone()), tally });
        self.ended.push(turn);
        if self.ended.len() > ENDED_TURNS {
            self.ended.remove(0);
        }
    }

    pub(super) fn ended_answer(&self, id: TurnId) -> Answer {
        let (state, receipt, usage) = match self.turn(id) {
            Some(turn) => (turn.state, turn.receipt, turn.usage),
            None => (TurnState::Cancelled, None, Usage::default()),
        };
        Answer::Ended { turn: id, state, receipt, usage }
    }

    /// The newest turn that has ended and had begun: the one that may be repeated.
    pub(super) fn newest_ended(&self) -> Option<&Turn> {
        self.ended.iter().rev().find(|t| t.state != TurnState::Cancelled)
    }

    /// Repeats the newest turn with the same prompt; once it starts, the old answer leaves the model's context.
    pub fn retry(
        &mut self,
        turn: Option<TurnId>,
        user: UserId,
        model: Option<String>,
        correlation_id: String,
        source: &mut dyn Source,
    ) -> Result<(MessageId, TurnId, Outcome), Fault> {
        self.refuse_if_archived()?;
        if !self.live.is_empty() {
            return Err(Fault::plain(Code::Busy));
        }
        let Some(old) = self.newest_ended().cloned() else {
            return Err(Fault::new(Code::Conflict, "there is no turn to retry"));
        };
        if turn.is_some_and(|id| id != old.id) {
            let known = turn.is_some_and(|id| self.turn(id).is_some());
            return Err(match known {
                true => Fault::new(Code::Conflict, "only the newest turn can be retried"),
                false => Fault::not_found("turn"),
            });
        }
        let mut out = Outcome::default();
        let send = Send {
            user,
            content: String::new(),
            attachments: Vec::new(),
            model: model.or_else(|| old.model.clone()),
            busy: None,
            correlation_id,
        };
        let mut turn = self.add_turn(&send, Some(&old), source);
        turn.routing = self.routed_again(turn.message, &turn.user).map(Box::new);
        let ids = (turn.message, turn.id);
        self.place_turn(turn, &mut out, source);
        self.touch_settings(source.now(), &mut out);
        self.settle_status(&mut out);
        Ok((ids.0, ids.1, out))
    }

    /// Takes messages into the queue from now on, and starts no turn. All are told, also where it was paused already.
    pub fn pause(&mut self, source: &mut dyn Source) -> Result<Outcome, Fault> {
        self.refuse_if_archived()?;
        let mut out = Outcome::default();
        self.turn_over(ConversationState::Paused, "session.paused", source.now(), &mut out);
        Ok(out)
    }

    fn turn_over(&mut self, state: ConversationState, fact: &'static str, now: Timestamp, out: &mut Outcome) {
        if self.settings.state != state {
            self.settings.state = state;
            self.settings.updated_at = now;
            out.writes.push(Self::fact(fact, None, None, serde_json::json!({})));
            out.writes.push(Write::Conversation(self.settings.clone()));
        }
        out.events.push(Event::SessionUpdated {
            settings: Arc::new(self.settings.clone()),
            deleted: false,
            info: None,
            paused: Some(state == ConversationState::Paused),
        });
    }

    /// Starts what waits. All are told, also where it was not paused.
    pub fn resume(&mut self, source: &mut dyn Source) -> Result<Outcome, Fault> {
        self.refuse_if_archived()?;
        let mut out = Outcome::default();
        self.turn_over(ConversationState::Active, "session.resumed", source.now(), &mut out);
        self.start_next(&mut out, source);
        self.settle_status(&mut out);
        Ok(out)
    }

    /// Read-only from now on. Aborts what runs and drops what waits. `asker` is answered in every case, once all has
    /// ended: after that nothing is written any more, and the conversation may be deleted.
    pub fn archive(&mut self, asker: Asker, source: &mut dyn Source) -> Outcome {
        let mut out = Outcome::default();
        if let Some(work) = &mut self.work {
            work.archive_askers.push(asker);
        } else {
            out.effects.push(Effect::Answer { asker, answer: Answer::Archived });
        }
        if self.settings.state == ConversationState::Archived {
            return out;
        }
        // First the state: nothing may start any more.
        self.settings.state = ConversationState::Archived;
        out.writes.push(Self::fact("session.archived", None, None, serde_json::json!({})));
        let waiting: Vec<TurnId> = self.queued().map(|t| t.id).collect();
        for turn in waiting {
            self.cancel_queued(turn, &mut out, source);
        }
        self.begin_stop(StopKind::Abort, None, &mut out, source);
        self.drop_compaction(&mut out);
        self.touch_settings(source.now(), &mut out);
        self.settle_status(&mut out);
        out
    }

    /// Changes the conversation's own row. What is so already changes nothing and is told to nobody.
    pub fn change(&mut self, change: Change, source: &mut dyn Source) -> Result<Outcome, Fault> {
        self.refuse_if_archived()?;
        self.refuse_unknown_level(&change)?;
        let mut out = Outcome::default();
        let before = self.settings.clone();
        if let Some(title) = change.title {
            self.settings.title = title;
        }
        if let Some(agent) = change.agent {
            self.settings.agent = agent;
        }
        if let Some(model) = change.model {
            self.settings.model = model;
        }
        if let Some(thinking) = change.thinking {
            self.settings.thinking = thinking;
        }
        if let Some(visibility) = change.visibility {
            self.settings.visibility = visibility;
        }
        if let Some(tags) = change.tags {
            self.settings.tags = tags;
        }
        let of_session = |s: &Settings| (s.agent.clone(), s.model.clone(), s.thinking);
        if of_session(&self.settings) != of_session(&before) {
            self.touch_session(source.now(), &mut out);
        } else if self.settings != before {
            self.touch_settings(source.now(), &mut out);
        }
        Ok(out)
    }

    /// Replaces the list of todos.
    pub fn replace_todos(&mut self, todos: Vec<Todo>) -> Result<Outcome, Fault> {
        self.refuse_if_archived()?;
        let mut out = Outcome::default();
        self.put_todos(todos, &mut out);
        Ok(out)
    }

    pub(super) fn put_todos(&mut self, todos: Vec<Todo>, out: &mut Outcome) {
        self.todos = todos;
        out.writes.push(Write::Todos(self.todos.clone()));
        out.events.push(Event::TodosUpdated { todos: self.todos.as_slice().into() });
    }
}
