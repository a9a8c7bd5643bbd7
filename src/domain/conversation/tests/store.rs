//! Rows in memory: what a batch writes, and what comes back after a crash. Refuses what a database would refuse.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::account::AuditEntry;
use crate::domain::approval::ApprovalState;
use crate::domain::ids::ApprovalId;
use crate::domain::record::Stored;

#[derive(Debug, Default)]
pub struct Rows {
    pub settings: Option<Settings>,
    pub turns: BTreeMap<TurnId, Turn>,
    /// Without their parts.
    pub messages: BTreeMap<MessageId, Message>,
    pub parts: BTreeMap<PartId, (MessageId, Part)>,
    pub tails: BTreeMap<PartId, String>,
    pub approvals: BTreeMap<ApprovalId, Approval>,
    pub todos: Vec<Todo>,
    pub indexed: BTreeSet<MessageId>,
    pub facts: Vec<Fact>,
    pub audit: Vec<AuditEntry>,
}

impl Rows {
    /// One transaction.
    pub fn commit(&mut self, writes: Vec<Write>) {
        for write in writes {
            self.write(write);
        }
        for (message, _) in self.parts.values() {
            assert!(self.messages.contains_key(message), "a part without its message");
        }
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Conversation(settings) => self.settings = Some(settings),
            Write::DeleteConversation => *self = Self::default(),
            Write::Turn(turn) => {
                if let Some(old) = self.turns.get(&turn.id) {
                    let legal = old.state == turn.state || old.state.may_become(turn.state);
                    assert!(legal, "turn: {:?} to {:?}", old.state, turn.state);
                    assert_eq!(old.no, turn.no);
                }
                self.turns.insert(turn.id, turn);
            }
            Write::Message(message) => {
                let parts = Vec::new();
                self.messages.insert(message.id, Message { parts, ..message });
            }
            Write::Part { message, part } => {
                self.check_call(&part);
                self.tails.remove(&part.id);
                self.parts.insert(part.id, (message, part));
            }
            Write::Tail { part, text } => {
                assert!(self.parts.contains_key(&part), "a tail without its part");
                self.tails.entry(part).or_default().push_str(&text);
            }
            Write::ApprovalRule(rule) => unreachable!("the machine keeps no answers: {rule:?}"),
            Write::Approval(approval) => {
                if let Some(old) = self.approvals.get(&approval.id) {
                    assert_eq!(old.state, ApprovalState::Pending, "a decision is final");
                    assert_eq!(old.input, approval.input);
                }
                self.approvals.insert(approval.id, approval);
            }
            Write::Todos(todos) => self.todos = todos,
            Write::Index(message) => {
                self.indexed.insert(message);
            }
            Write::Fact(fact) => self.facts.push(fact),
            Write::Audit(entry) => self.audit.push(*entry),
            Write::Alias { .. } => panic!("what a session is called is no matter of the machine"),
        }
    }

    fn check_call(&self, part: &Part) {
        let PartBody::ToolCall(new) = &part.body else { return };
        let old = match self.parts.get(&part.id).map(|(_, p)| &p.body) {
            Some(PartBody::ToolCall(old)) => {
                assert_eq!(old.input, new.input, "what was asked for is what runs");
                old.state
            }
            _ => ToolCallState::Requested,
        };
        assert!(old == new.state || old.may_become(new.state), "call: {old:?} to {:?}", new.state);
    }

    /// All that a restart finds.
    pub fn load(&self) -> Stored {
        let mut messages: Vec<Message> = self.messages.values().cloned().collect();
        messages.sort_by_key(|m| (m.turn_no, m.index));
        for message in &mut messages {
            let own = self.parts.values().filter(|(m, _)| *m == message.id);
            message.parts = own.map(|(_, p)| self.folded(p)).collect();
            message.parts.sort_by_key(|p| p.index);
            for (position, part) in message.parts.iter().enumerate() {
                assert_eq!(usize::from(part.index), position, "parts without gap or repeat in {message:?}");
            }
        }
        let mut turns: Vec<Turn> = self.turns.values().cloned().collect();
        turns.sort_by_key(|t| (t.ended_at.is_none(), t.ended_at, t.no));
        let ended = turns.iter().filter(|t| t.state.has_ended()).count();
        turns.drain(..ended.saturating_sub(ENDED_TURNS));
        Stored {
            settings: self.settings.clone().expect("a conversation"),
            messages,
            more: false,
            turns,
            approvals: self.approvals.values().filter(|a| a.state == ApprovalState::Pending).cloned().collect(),
            todos: self.todos.clone(),
            open_parts: self.tails.keys().copied().collect(),
        }
    }

    fn folded(&self, part: &Part) -> Part {
        let mut part = part.clone();
        if let (PartBody::Text { text } | PartBody::Thinking { text, .. }, Some(tail)) =
            (&mut part.body, self.tails.get(&part.id))
        {
            text.push_str(tail);
        }
        part
    }

    /// The state of a call as committed.
    pub fn call(&self, id: PartId) -> &ToolCall {
        match &self.parts.get(&id).expect("a call").1.body {
            PartBody::ToolCall(call) => call,
            other => panic!("no call: {other:?}"),
        }
    }
}
