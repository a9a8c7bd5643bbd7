//! Things that events and answers tell of, for the tests of the namespaces.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::approval::{Approval, ApprovalState};
use crate::domain::conversation::Snapshot;
use crate::domain::event::{Event, PresenceList};
use crate::domain::generation::{ThinkingLevel, ToolOutput};
use crate::domain::ids::{ApprovalId, MessageId, OrganizationId, PartId, TurnId, UserId};
use crate::domain::message::{Author, Message, MessageState, Part, PartBody};
use crate::domain::session_info::{ContextUse, RoutingDecision, SessionInfo, Tally};
use crate::domain::settings::{ConversationState, Settings, Visibility};
use crate::domain::spending::{Refusal, Unit};
use crate::domain::tool_call::{ToolCall, ToolCallState};
use crate::domain::usage::Usage;

pub const CONVERSATION: ConversationId = ConversationId(1);
pub const SESSION: &str = "sess_00000000000000000000000000000001";

pub fn acme() -> OrganizationId {
    OrganizationId::parse("acme").expect("a name")
}

pub fn ann() -> UserId {
    UserId::parse("ann").expect("a name")
}

/// An event at place 7 of a channel, as the doors are given it.
pub fn numbered(event: Event) -> Numbered {
    let channel = ChannelKey::new(acme(), &Channel::Session(CONVERSATION));
    Numbered { channel, epoch: "e0".into(), seq: 7, from_seq: 7, at: Timestamp(0), event }
}

/// Payloads of frames.
pub fn texts(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8(frame.payload_bytes().to_vec()).expect("text")).collect()
}

pub fn raw(value: serde_json::Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

pub fn settings() -> Settings {
    Settings {
        id: CONVERSATION,
        organization: acme(),
        user: ann(),
        project: None,
        title: String::new(),
        state: ConversationState::Active,
        visibility: Visibility::Private,
        agent: "assistant".into(),
        model: None,
        thinking: ThinkingLevel::Low,
        tags: Vec::new(),
        context: Default::default(),
        channel: None,
        entity: None,
        next_turn_no: 1,
        usage: Usage { input: 10, output: 5, cache_read: 3, cache_write: 2, cost: Some(1_500) },
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub fn turn(state: TurnState) -> Turn {
    Turn {
        id: TurnId(2),
        no: 1,
        state,
        message: MessageId(3),
        answer: Some(MessageId(4)),
        user: ann(),
        model: None,
        routing: None,
        steps: 1,
        usage: Usage::default(),
        retry_of: None,
        receipt: None,
        error: None,
        refusal: None,
        correlation_id: "req".into(),
        created_at: Timestamp(0),
        started_at: None,
        ended_at: Some(Timestamp(0)),
    }
}

/// A turn that failed for lack of money.
pub fn refused() -> Turn {
    let refusal = Refusal {
        budget: "daily".into(),
        unit: Unit::Tokens,
        limit: 10,
        used: 10,
        held: 0,
        asked: 5,
        renews: Timestamp(60_000),
    };
    let error = refusal.fault(Timestamp(0)).message;
    Turn { error: Some(error), refusal: Some(Box::new(refusal)), ..turn(TurnState::Failed) }
}

pub fn said_by(author: Author) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(if author == Author::User { 3 } else { 4 }),
        turn: TurnId(2),
        turn_no: 1,
        index: 0,
        author,
        user: None,
        state: MessageState::Complete,
        superseded: false,
        provider: Some("demo".into()),
        model: Some("demo-1".into()),
        usage: None,
        created_at: Timestamp(0),
        parts: Vec::new(),
    })
}

pub fn call(state: ToolCallState) -> Arc<Part> {
    let input = json!({ "city": "Köln" });
    let call = ToolCall { provider_id: "c".into(), tool: "weather".into(), input, state, approval: None, bound: None };
    Arc::new(Part { id: PartId(5), index: 0, body: PartBody::ToolCall(call) })
}

pub fn result() -> Arc<Part> {
    let result = ToolOutput { call_id: "c".into(), output: "rain".into(), is_error: false };
    Arc::new(Part { id: PartId(6), index: 1, body: PartBody::ToolResult { call: PartId(5), result } })
}

pub fn approval() -> Arc<Approval> {
    Arc::new(Approval {
        id: ApprovalId(9),
        turn: TurnId(2),
        call: PartId(5),
        tool: "weather".into(),
        summary: String::new(),
        risks: Vec::new(),
        input: json!({}),
        remembers: crate::domain::tool_policy::Remembers::Never,
        correlation_id: "req".into(),
        state: ApprovalState::Pending,
        requested_at: Timestamp(0),
        deadline: Timestamp(0),
        decision: None,
    })
}

pub fn info() -> Arc<SessionInfo> {
    Arc::new(SessionInfo {
        provider: "demo".into(),
        model: "demo-1".into(),
        thinking: ThinkingLevel::Low,
        levels: vec![ThinkingLevel::Off, ThinkingLevel::Low],
        agent: "assistant".into(),
        routing: None,
    })
}

pub fn routed() -> Arc<SessionInfo> {
    let routing = RoutingDecision {
        model: "demo-1".into(),
        provider: "demo".into(),
        rule_name: "short".into(),
        reason: "the message is short".into(),
    };
    Arc::new(SessionInfo { routing: Some(routing), ..(*info()).clone() })
}

pub fn tally() -> Arc<Tally> {
    Arc::new(Tally {
        totals: settings().usage,
        provider: "demo".into(),
        model: "demo-1".into(),
        thinking: ThinkingLevel::Low,
        context: ContextUse { tokens: Some(250), window: 1_000 },
    })
}

pub fn ended(turn: Turn) -> Event {
    Event::TurnEnded { conversation: CONVERSATION, turn: Arc::new(turn), tally: tally() }
}

pub fn part(kind: crate::domain::event::Growing, text: &str) -> Event {
    Event::Delta {
        conversation: CONVERSATION,
        turn: TurnId(2),
        message: MessageId(4),
        part: PartId(5),
        kind,
        offset: 0,
        text: text.into(),
    }
}

pub fn created(part: Arc<Part>) -> Event {
    Event::PartCreated { conversation: CONVERSATION, turn: TurnId(2), message: MessageId(4), part }
}

pub fn changed(part: Arc<Part>) -> Event {
    Event::PartChanged { conversation: CONVERSATION, turn: TurnId(2), message: MessageId(4), part }
}

pub fn started(turn: Turn) -> Event {
    let (provider, model) = ("demo".into(), "demo-1".into());
    Event::TurnStarted { conversation: CONVERSATION, turn: Arc::new(turn), provider, model }
}

pub fn updated(info: Option<Arc<SessionInfo>>, paused: Option<bool>) -> Event {
    Event::SessionUpdated { settings: Arc::new(settings()), deleted: false, info, paused }
}

/// Events that no namespace has a word for.
pub fn silent() -> Vec<Event> {
    use crate::domain::agent::AgentStatus;
    let conversation = CONVERSATION;
    vec![
        Event::MessageCreated { conversation, message: said_by(Author::Assistant) },
        Event::MessageUpdated { conversation, message: said_by(Author::User) },
        Event::TurnQueued { conversation, turn: Arc::new(turn(TurnState::Queued)), position: 1 },
        created(result()),
        changed(call(ToolCallState::Executing)),
        updated(None, None),
        Event::SessionUpdated { settings: Arc::new(settings()), deleted: true, info: None, paused: None },
        Event::ApprovalRequired { conversation, approval: approval() },
        Event::ApprovalResolved { conversation, approval: approval() },
        Event::AgentStatusChanged { conversation, agent: "a".into(), status: AgentStatus::Idle, turn: None },
        Event::TodosUpdated { todos: Arc::new([]) },
        Event::PresenceJoined { user: Some(ann()), count: 1 },
        Event::PresenceLeft { user: None, count: 0 },
        ended(turn(TurnState::Cancelled)),
    ]
}

/// What a channel says of itself first; with the newest turn, where it is given.
pub fn greeting(recovered: bool, last: Option<Turn>) -> Greeting {
    let snapshot = Snapshot {
        settings: settings(),
        messages: vec![(*said_by(Author::Assistant)).clone()],
        more: false,
        turn: None,
        turns: last.into_iter().collect(),
        queue: Vec::new(),
        approvals: vec![(*approval()).clone()],
        todos: Vec::new(),
        status: crate::domain::agent::AgentStatus::Idle,
    };
    let snapshot = ChannelSnapshot::Session { snapshot: Box::new(snapshot), presence: PresenceList::default() };
    let channel = ChannelKey::new(acme(), &Channel::Session(CONVERSATION));
    Greeting { channel, epoch: "e1".into(), seq: 3, recovered, snapshot: Some(Arc::new(snapshot)) }
}

/// What an organization's channel says of itself first.
pub fn organization() -> Greeting {
    let channel = ChannelKey::new(acme(), &Channel::Organization(acme()));
    Greeting { channel, epoch: "e1".into(), seq: 3, recovered: false, snapshot: None }
}
