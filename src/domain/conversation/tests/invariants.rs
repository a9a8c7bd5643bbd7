//! What holds after every step, whatever happened.

use std::collections::BTreeSet;

use super::*;
use crate::domain::approval::ApprovalState;
use crate::domain::generation::{AssistantContent, Prompt, PromptMessage};

impl Driver {
    /// Memory and rows say the same.
    pub fn rows_hold(&self) {
        let mut stored = self.rows.load();
        let mut memory = self.conversation.messages().to_vec();
        if self.conversation.more {
            let forgotten = stored.messages.len() - memory.len();
            stored.messages.drain(..forgotten);
        }
        // The seal of a part that still grows is written when the part closes.
        if let Some(open) = self.conversation.work.as_ref().and_then(|w| w.open.as_ref()) {
            for part in stored.messages.iter_mut().chain(&mut memory).flat_map(|m| &mut m.parts) {
                if let PartBody::Thinking { signature, .. } = &mut part.body
                    && part.id == open.part
                {
                    *signature = None;
                }
            }
        }
        assert_eq!(stored.messages, memory, "messages as rows and in memory");
        assert_eq!(stored.settings, self.conversation.settings);
        let by_no = |turns: Vec<Turn>| -> Vec<Turn> {
            let mut turns = turns;
            turns.sort_by_key(|t| t.no);
            turns
        };
        let (ended, live): (Vec<Turn>, Vec<Turn>) = stored.turns.into_iter().partition(|t| t.state.has_ended());
        assert_eq!(by_no(live), self.conversation.live);
        if self.rows.turns.len() <= ENDED_TURNS {
            assert_eq!(by_no(ended), by_no(self.conversation.ended.clone()));
        }
        assert_eq!(stored.todos, self.conversation.todos);
        let mut approvals = self.conversation.approvals.clone();
        approvals.sort_by_key(|a| a.id);
        assert_eq!(stored.approvals, approvals);
        self.facts_hold();
        let mut sum = Usage::default();
        self.rows.turns.values().for_each(|t| sum.add(&t.usage));
        assert_eq!(sum, self.conversation.settings.usage, "a conversation's usage is that of its turns");
    }

    /// Each turn ends once and starts at most once.
    fn facts_hold(&self) {
        let of = |kind: &str| -> Vec<TurnId> {
            self.rows.facts.iter().filter(|f| f.kind == kind).filter_map(|f| f.turn).collect()
        };
        let (started, ended) = (of("turn.started"), of("turn.ended"));
        assert_eq!(started.iter().collect::<BTreeSet<_>>().len(), started.len());
        let once: BTreeSet<TurnId> = ended.iter().copied().collect();
        assert_eq!(once.len(), ended.len());
        let rows: BTreeSet<TurnId> = self.rows.turns.values().filter(|t| t.state.has_ended()).map(|t| t.id).collect();
        assert_eq!(once, rows);
        let numbers: BTreeSet<u32> = self.rows.turns.values().map(|t| t.no).collect();
        assert_eq!(numbers.len(), self.rows.turns.len(), "a turn's number is its own");
    }

    pub fn holds(&self) {
        let conversation = &self.conversation;
        let messages = conversation.messages();
        assert!(messages.is_sorted_by_key(|m| (m.turn_no, m.index)));
        let at_work: Vec<&Turn> = conversation.live.iter().filter(|t| t.state != TurnState::Queued).collect();
        assert!(at_work.len() <= 1, "one turn at work");
        assert!(conversation.live.iter().all(|t| !t.state.has_ended()));
        assert!(conversation.ended.iter().all(|t| t.state.has_ended()));
        assert_eq!(conversation.work.as_ref().map(|w| w.turn), at_work.first().map(|t| t.id));
        assert_eq!(conversation.status() == AgentStatus::Idle, at_work.is_empty());
        let compacting = conversation.compaction.is_some();
        if conversation.settings.state == ConversationState::Active && at_work.is_empty() && !compacting {
            assert!(conversation.live.is_empty(), "a queued turn was left behind");
        }
        for message in messages {
            self.calls_hold(message, at_work.first().map(|t| t.id));
        }
        for approval in conversation.approvals() {
            assert_eq!(approval.state, ApprovalState::Pending);
            assert_eq!(conversation.call(approval.call).expect("its call").state, ToolCallState::Awaiting);
            assert!(self.wakes.iter().any(|at| *at <= approval.deadline), "somebody looks at its deadline");
        }
        let executing = conversation.calls_in(ToolCallState::Executing);
        assert!(executing.len() < 2 || !executing.iter().any(|c| conversation.exclusive.contains(c)), "runs alone");
        // Something is under way for whoever is at work: it cannot hang.
        if let Some(work) = &conversation.work {
            let granted = !conversation.calls_in(ToolCallState::Approved).is_empty();
            let waits = !self.tools.is_empty() || !conversation.approvals.is_empty() || granted;
            assert!(work.upstream || waits, "a turn hangs");
            assert_eq!(work.upstream, self.upstream.is_some() || self.closing.is_some());
            assert_eq!(executing.len(), self.tools.len());
        } else {
            assert_eq!(self.upstream.is_some(), compacting);
            assert!(compacting || self.asking.is_empty(), "somebody was forgotten");
        }
    }

    /// Every call has at most one result, and exactly one once it is settled or its turn has ended.
    fn calls_hold(&self, message: &Message, at_work: Option<TurnId>) {
        for (position, part) in message.parts.iter().enumerate() {
            assert_eq!(usize::from(part.index), position);
            match &part.body {
                PartBody::ToolCall(call) => {
                    let answers = |p: &&Part| matches!(&p.body, PartBody::ToolResult { call, .. } if *call == part.id);
                    let results = message.parts[position..].iter().filter(answers).count();
                    assert_eq!(results, usize::from(call.state.is_settled()), "{call:?}");
                    assert!(call.state.is_settled() || Some(message.turn) == at_work, "unsettled at the end: {call:?}");
                }
                PartBody::ToolResult { call, result } => {
                    let known = message.parts[..position].iter().find(|p| p.id == *call).expect("an orphan result");
                    let PartBody::ToolCall(known) = &known.body else { panic!("a result of no call") };
                    assert_eq!(known.provider_id, result.call_id);
                }
                _ => {}
            }
        }
        let state = message.state;
        assert!(state != MessageState::Streaming || Some(message.turn) == at_work, "streams without a turn");
    }
}

/// A tool runs because its policy allows it or because a human granted this very call.
pub fn may_run(driver: &Driver, call: PartId) {
    let row = driver.rows.call(call);
    match row.approval {
        None => assert_eq!(driver.policies.get(&call), Some(&ToolPolicy::Allow), "nobody allowed it"),
        Some(id) => {
            let approval = &driver.rows.approvals[&id];
            assert_eq!(approval.state, ApprovalState::Approved);
            assert_eq!((approval.call, &approval.input), (call, &row.input));
            assert!(approval.decision.as_ref().is_some_and(|d| d.by.is_some()), "a human's grant");
        }
    }
}

/// A turn's first request ends with its own question; nothing in it is out of the context.
pub fn prompt_asks(driver: &Driver, prompt: &Prompt) {
    let conversation = &driver.conversation;
    let turn = conversation.current().expect("a turn at work");
    let question = conversation.message(turn.message).expect("its prompt");
    if conversation.answer().is_some_and(|a| a.parts.is_empty()) {
        let [.., PromptMessage::User(content)] = prompt.messages.as_slice() else { panic!("{prompt:?}") };
        assert_eq!(content.len(), question.parts.len());
    }
    let start = conversation.settings.context.turn_no;
    let within = |m: &Message| (start..=turn.no).contains(&m.turn_no) || m.id == turn.message;
    let read = |m: &&Message| m.author == Author::User && within(m) && m.state == MessageState::Complete;
    let questions = prompt.messages.iter().filter(|m| matches!(m, PromptMessage::User(_))).count();
    assert_eq!(questions, conversation.messages().iter().filter(read).count());
}

/// The rules that providers refuse a request by.
pub fn prompt_is_valid(prompt: &Prompt) {
    assert!(matches!(prompt.messages.first(), Some(PromptMessage::User(_))), "begins with the user: {prompt:?}");
    assert!(!matches!(prompt.messages.last(), Some(PromptMessage::Assistant(_))), "it is the model's turn: {prompt:?}");
    let mut asked: Vec<String> = Vec::new();
    for message in &prompt.messages {
        if let PromptMessage::ToolResults(results) = message {
            let mut given: Vec<String> = results.iter().map(|r| r.call_id.clone()).collect();
            given.sort();
            assert_eq!(std::mem::take(&mut asked), given, "one result for each call: {prompt:?}");
            assert!(!given.is_empty());
            continue;
        }
        assert!(asked.is_empty(), "calls without results: {prompt:?}");
        match message {
            PromptMessage::User(content) => assert!(!content.is_empty()),
            PromptMessage::Assistant(content) => {
                assert!(!content.is_empty());
                for content in content {
                    match content {
                        AssistantContent::Text(text) => assert!(!text.is_empty()),
                        AssistantContent::Thinking { signature, .. } => assert!(signature.is_some(), "unsealed"),
                        AssistantContent::ToolCall { id, .. } => asked.push(id.clone()),
                    }
                }
                asked.sort();
                assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "an id twice: {prompt:?}");
            }
            PromptMessage::ToolResults(_) => {}
        }
    }
    assert!(asked.is_empty());
}
