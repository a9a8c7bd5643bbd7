//! A client as anybody would write it: it takes one snapshot and then only events.

use super::*;

#[derive(Debug)]
pub struct Client {
    pub seen: Snapshot,
}

impl Client {
    pub fn new(seen: Snapshot) -> Self {
        Self { seen }
    }

    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::MessageCreated { message, .. } => {
                assert!(!self.seen.messages.iter().any(|m| m.id == message.id), "created twice");
                self.seen.messages.push(Message::clone(message));
                self.seen.messages.sort_by_key(|m| (m.turn_no, m.index));
            }
            Event::MessageUpdated { message, .. } => {
                let known = self.message(message.id);
                if known.author == Author::Assistant {
                    // All that it says has been heard before.
                    assert_eq!(unsealed(&known.parts), unsealed(&message.parts));
                }
                *known = Message::clone(message);
            }
            Event::PartCreated { message, part, .. } => {
                let known = self.message(*message);
                assert_eq!(usize::from(part.index), known.parts.len());
                known.parts.push(Part::clone(part));
            }
            Event::Delta { message, part, kind, text, .. } => {
                let last = self.message(*message).parts.last_mut().expect("a part that grows");
                assert_eq!(last.id, *part, "only the last part grows");
                match (&mut last.body, kind) {
                    (PartBody::Text { text: known }, Growing::Text) => known.push_str(text),
                    (PartBody::Thinking { text: known, .. }, Growing::Thinking) => known.push_str(text),
                    (body, kind) => panic!("{kind:?} of {body:?}"),
                }
            }
            Event::PartChanged { message, part, .. } => {
                let known = self.message(*message).parts.iter_mut().find(|p| p.id == part.id).expect("a known part");
                *known = Part::clone(part);
            }
            Event::SessionUpdated { settings, .. } => self.seen.settings = Settings::clone(settings),
            Event::ApprovalRequired { approval, .. } => self.seen.approvals.push(Approval::clone(approval)),
            Event::ApprovalResolved { approval, .. } => {
                assert!(self.seen.approvals.iter().any(|a| a.id == approval.id), "resolved once");
                self.seen.approvals.retain(|a| a.id != approval.id);
            }
            Event::AgentStatusChanged { status, turn, .. } => self.status(*status, *turn),
            Event::TurnQueued { turn, position, .. } => {
                self.seen.queue.push(Turn::clone(turn));
                assert_eq!(*position as usize, self.seen.queue.len());
            }
            Event::TurnStarted { turn, .. } => {
                assert!(self.seen.turn.is_none(), "one turn at a time");
                self.seen.queue.retain(|t| t.id != turn.id);
                self.seen.turn = Some(Turn::clone(turn));
            }
            Event::TurnEnded { turn, .. } => self.ended(turn),
            Event::TodosUpdated { todos } => self.seen.todos = todos.to_vec(),
            other => panic!("not from here: {other:?}"),
        }
    }

    fn status(&mut self, status: AgentStatus, turn: Option<TurnId>) {
        assert_ne!(self.seen.status, status, "said only where it changed");
        self.seen.status = status;
        assert_eq!(self.seen.turn.as_ref().map(|t| t.id), turn);
        if let Some(turn) = &mut self.seen.turn {
            turn.state = match status {
                AgentStatus::AwaitingApproval => TurnState::AwaitingApproval,
                AgentStatus::Stopping => TurnState::Stopping,
                _ => TurnState::Running,
            };
        }
    }

    fn ended(&mut self, turn: &Turn) {
        let known = self.seen.queue.len() + usize::from(self.seen.turn.is_some());
        self.seen.queue.retain(|t| t.id != turn.id);
        if self.seen.turn.as_ref().is_some_and(|t| t.id == turn.id) {
            self.seen.turn = None;
        }
        assert_eq!(self.seen.queue.len() + usize::from(self.seen.turn.is_some()), known - 1, "ended once");
        self.seen.turns.push(turn.clone());
        if self.seen.turns.len() > ENDED_TURNS {
            self.seen.turns.remove(0);
        }
    }

    fn message(&mut self, id: MessageId) -> &mut Message {
        self.seen.messages.iter_mut().find(|m| m.id == id).expect("a known message")
    }
}

/// Seals are between the hub and the provider: no event tells them.
pub fn unsealed(parts: &[Part]) -> Vec<Part> {
    let mut parts = parts.to_vec();
    for part in &mut parts {
        if let PartBody::Thinking { signature, .. } = &mut part.body {
            *signature = None;
        }
    }
    parts
}

/// What events can tell: the counters of a turn at work are told when it ends.
pub fn shown(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for message in &mut snapshot.messages {
        message.parts = unsealed(&message.parts);
    }
    if let Some(turn) = &mut snapshot.turn {
        (turn.usage, turn.steps, turn.receipt) = (Usage::default(), 0, None);
        // A fallback is told by who answers, and why at the end.
        turn.routing = None;
        snapshot.settings.usage = Usage::default();
        // Between a grant and the batch that runs it the row says that the turn waits.
        if turn.state == TurnState::AwaitingApproval && snapshot.approvals.is_empty() {
            turn.state = TurnState::Running;
        }
    }
    snapshot
}
