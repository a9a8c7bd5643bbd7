//! The hub's things in the native wire's words.

use protocol::{events as we, model as w};

use crate::domain::admin::Notice;
use crate::domain::agent::{AgentProfile, AgentStatus, ModelInfo};
use crate::domain::alias::Alias;
use crate::domain::approval::{Approval, ApprovalState};
use crate::domain::approval_rule::{ApprovalRule, RuleScope};
use crate::domain::canonical;
use crate::domain::command::Period;
use crate::domain::event::{ChannelSnapshot, PresenceList};
use crate::domain::generation::{ThinkingLevel, ToolSpec};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::message::{Attachment, AttachmentKind, Author, Message, MessageState, Part, PartBody};
use crate::domain::session_info::{RoutingDecision, SessionInfo};
use crate::domain::settings::{ConversationState, Project, Settings, Todo, TodoState, Visibility};
use crate::domain::slash::{ArgInfo, CommandInfo, CommandManifest, CommandResult};
use crate::domain::spending::Refusal;
use crate::domain::tool_call::{ToolCallState, ToolPolicy};
use crate::domain::turn::{Receipt, Turn, TurnState};
use crate::domain::usage::Usage;

/// Two enums with the same words: the second is the wire's.
macro_rules! same_words {
    ($($name:ident: $from:ty => $to:ty { $($variant:ident),+ })*) => {
        $(pub fn $name(value: $from) -> $to {
            match value { $(<$from>::$variant => <$to>::$variant),+ }
        })*
    };
}

same_words! {
    session_state: ConversationState => w::SessionState { Active, Paused, Archived }
    visibility: Visibility => w::Visibility { Private, Organization }
    thinking: ThinkingLevel => w::ThinkingLevel { Off, Minimal, Low, Medium, High, Xhigh }
    message_state: MessageState => w::MessageState { Queued, Streaming, Complete, Stopped, Interrupted, Failed, Cancelled }
    call_state: ToolCallState => w::ToolCallState {
        Requested, Awaiting, Approved, Executing, Succeeded, Failed, Denied, Expired, Cancelled, Unknown
    }
    turn_state: TurnState => w::TurnState {
        Queued, Running, AwaitingApproval, Stopping, Completed, Stopped, Aborted, Cancelled, Failed, Interrupted
    }
    approval_state: ApprovalState => w::ApprovalState { Pending, Approved, Denied, Expired, Cancelled }
    todo_state: TodoState => w::TodoState { Pending, InProgress, Completed, Cancelled }
    todo_state_in: w::TodoState => TodoState { Pending, InProgress, Completed, Cancelled }
    agent_state: AgentStatus => w::AgentState { Idle, Thinking, Responding, CallingTool, AwaitingApproval, Stopping }
    rule_scope: RuleScope => w::RuleScope { Arguments, Tool }
    rule_scope_in: w::RuleScope => RuleScope { Arguments, Tool }
    policy: ToolPolicy => w::ToolPolicy { Allow, Ask, Deny }
    period: Period => protocol::methods::Period { Day, Week, Month }
    attachment_kind: AttachmentKind => w::AttachmentKind { File, Image }
    attachment_kind_in: w::AttachmentKind => AttachmentKind { File, Image }
    session_state_in: w::SessionState => ConversationState { Active, Paused, Archived }
    visibility_in: w::Visibility => Visibility { Private, Organization }
    thinking_in: w::ThinkingLevel => ThinkingLevel { Off, Minimal, Low, Medium, High, Xhigh }
}

pub fn usage(usage: &Usage) -> w::Usage {
    w::Usage {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        total: usage.total(),
        cost: usage.cost.map(dollars),
    }
}

/// The one place where money becomes a fraction.
pub fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

pub fn project(project: &Project) -> w::Project {
    w::Project { id: project.id.to_string(), name: project.name.clone(), created_at: project.created_at.to_rfc3339() }
}

/// A session as everybody who may see it is told of it.
pub fn session(settings: &Settings) -> w::Session {
    own_session(settings, None)
}

/// A session, told to the one who calls it so.
pub fn own_session(settings: &Settings, alias: Option<&Alias>) -> w::Session {
    w::Session {
        id: settings.id.to_string(),
        alias: alias.map(Alias::to_string),
        organization_id: settings.organization.to_string(),
        user_id: settings.user.to_string(),
        project_id: settings.project.map(|p| p.to_string()),
        title: settings.title.clone(),
        state: session_state(settings.state),
        visibility: visibility(settings.visibility),
        agent: settings.agent.clone(),
        model: settings.model.clone(),
        thinking_level: thinking(settings.thinking),
        tags: settings.tags.clone(),
        channel: settings.channel.clone(),
        usage: usage(&settings.usage),
        created_at: settings.created_at.to_rfc3339(),
        updated_at: settings.updated_at.to_rfc3339(),
    }
}

pub fn message(conversation: ConversationId, message: &Message) -> w::Message {
    w::Message {
        id: message.id.to_string(),
        session_id: conversation.to_string(),
        turn_id: message.turn.to_string(),
        role: match message.author {
            Author::User => w::Role::User,
            Author::Assistant => w::Role::Assistant,
        },
        state: message_state(message.state),
        superseded: message.superseded,
        user_id: message.user.as_ref().map(UserId::to_string),
        provider: message.provider.clone(),
        model: message.model.clone(),
        usage: message.usage.as_ref().map(usage),
        created_at: message.created_at.to_rfc3339(),
        parts: message.parts.iter().map(|p| part(message.id, p)).collect(),
    }
}

pub fn part(message: MessageId, part: &Part) -> w::Part {
    let body = match &part.body {
        PartBody::Text { text } => w::PartBody::Text { text: text.clone() },
        PartBody::Thinking { text, .. } => w::PartBody::Thinking { text: text.clone() },
        PartBody::ToolCall(call) => w::PartBody::ToolCall {
            tool_call_id: part.id.to_string(),
            name: call.tool.clone(),
            input: call.input.clone(),
            state: call_state(call.state),
            request_id: call.approval.map(|a| a.to_string()),
        },
        PartBody::ToolResult { call, result } => w::PartBody::ToolResult {
            tool_call_id: call.to_string(),
            output: result.output.clone(),
            is_error: result.is_error,
        },
        PartBody::Attachment(a) => w::PartBody::Attachment {
            kind: attachment_kind(a.kind),
            name: a.name.clone(),
            media_type: a.media_type.clone(),
            url: a.url.clone(),
            data: a.data.clone(),
        },
    };
    w::Part { id: part.id.to_string(), message_id: message.to_string(), index: part.index, body }
}

pub fn attachment_in(attachment: w::Attachment) -> Attachment {
    Attachment {
        kind: attachment_kind_in(attachment.kind),
        name: attachment.name,
        media_type: attachment.media_type,
        url: attachment.url,
        data: attachment.data,
    }
}

pub fn receipt(receipt: &Receipt, used: &Usage) -> w::Receipt {
    w::Receipt {
        closed_at: receipt.closed_at.to_rfc3339(),
        bytes_after: receipt.bytes_after,
        kept_bytes: receipt.kept_bytes,
        usage: usage(used),
    }
}

fn refusal(refusal: &Refusal) -> w::BudgetRefusal {
    let shown = |amount: u64| refusal.shown(amount).as_f64().unwrap_or_default();
    w::BudgetRefusal {
        budget: refusal.budget.clone(),
        unit: refusal.unit.name().to_owned(),
        limit: shown(refusal.limit),
        used: shown(refusal.used),
        held: shown(refusal.held),
        asked: shown(refusal.asked),
        renews_at: refusal.renews.to_rfc3339(),
    }
}

pub fn turn(turn: &Turn) -> w::Turn {
    w::Turn {
        id: turn.id.to_string(),
        state: turn_state(turn.state),
        message_id: turn.message.to_string(),
        answer_id: turn.answer.map(|a| a.to_string()),
        user_id: turn.user.to_string(),
        model: turn.model.clone(),
        usage: (turn.steps > 0).then(|| usage(&turn.usage)),
        receipt: turn.receipt.as_ref().map(|r| receipt(r, &turn.usage)),
        error: turn.error.clone(),
        refusal: turn.refusal.as_deref().map(refusal),
        routing_decision: turn.routing.as_deref().map(routing_decision),
        retry_of: turn.retry_of.map(|t| t.to_string()),
        created_at: turn.created_at.to_rfc3339(),
        started_at: turn.started_at.map(|t| t.to_rfc3339()),
        ended_at: turn.ended_at.map(|t| t.to_rfc3339()),
    }
}

pub fn manifest(manifest: &CommandManifest) -> w::CommandManifest {
    w::CommandManifest { commands: manifest.commands.iter().map(command).collect(), version: manifest.version }
}

fn command(command: &CommandInfo) -> w::CommandInfo {
    let arg = |arg: &ArgInfo| w::ArgInfo {
        name: arg.name.clone(),
        kind: if arg.values.is_empty() { "string" } else { "enum" }.to_owned(),
        optional: arg.optional,
        values: arg.values.clone(),
        description: arg.description.clone(),
    };
    w::CommandInfo {
        name: command.name.clone(),
        description: command.description.clone(),
        aliases: command.aliases.clone(),
        args: command.args.iter().map(arg).collect(),
        scope: command.scope.name().to_owned(),
    }
}

pub fn command_result(result: &CommandResult) -> w::CommandResult {
    w::CommandResult {
        command: result.command.clone(),
        success: result.success,
        message: result.message.clone(),
        data: result.data.clone(),
    }
}

pub fn approval_details(approval: &Approval) -> w::ApprovalDetails {
    w::ApprovalDetails {
        tool: approval.tool.clone(),
        summary: approval.summary.clone(),
        risks: approval.risks.clone(),
        input: approval.input.clone(),
        arguments: canonical::text(&approval.input),
        digest: approval.digest().to_string(),
        remember: RuleScope::ALL.into_iter().filter(|s| s.within(approval.remembers)).map(rule_scope).collect(),
    }
}

pub fn approval_rule(rule: &ApprovalRule) -> w::ApprovalRule {
    w::ApprovalRule {
        id: rule.id.to_string(),
        agent: rule.agent.clone(),
        tool: rule.tool.clone(),
        scope: rule_scope(rule.scope),
        approved: rule.approved,
        input: rule.input.clone(),
        arguments: canonical::text(&rule.input),
        digest: rule.digest.to_string(),
        request_id: rule.request.to_string(),
        created_at: rule.created_at.to_rfc3339(),
    }
}

pub fn approval(conversation: ConversationId, approval: &Approval) -> w::ApprovalRequest {
    w::ApprovalRequest {
        request_id: approval.id.to_string(),
        correlation_id: approval.correlation_id.clone(),
        session_id: conversation.to_string(),
        turn_id: approval.turn.to_string(),
        tool_call_id: approval.call.to_string(),
        tool_name: approval.tool.clone(),
        request: approval_details(approval),
        state: approval_state(approval.state),
        requested_at: approval.requested_at.to_rfc3339(),
        deadline: approval.deadline.to_rfc3339(),
    }
}

pub fn approval_resolved(conversation: ConversationId, approval: &Approval) -> we::ApprovalResolved {
    let decision = approval.decision.as_ref();
    we::ApprovalResolved {
        request_id: approval.id.to_string(),
        session_id: conversation.to_string(),
        tool_call_id: approval.call.to_string(),
        approved: approval.state == ApprovalState::Approved,
        state: approval_state(approval.state),
        reason: decision.and_then(|d| d.reason.clone()),
        by: decision.and_then(|d| d.by.as_ref()).map(UserId::to_string),
        at: decision.map_or(approval.requested_at, |d| d.at).to_rfc3339(),
    }
}

pub fn todo(todo: &Todo) -> w::Todo {
    w::Todo { id: todo.id.clone(), content: todo.content.clone(), state: todo_state(todo.state) }
}

pub fn agent(profile: &AgentProfile) -> w::Agent {
    w::Agent {
        id: profile.name.clone(),
        description: profile.description.clone(),
        provider: profile.provider.clone(),
        model: profile.model.clone(),
        tools: profile.tools.iter().map(|(name, _)| name.clone()).collect(),
        entity_types: profile.entity_types.clone(),
        default: profile.default,
    }
}

pub fn tool(spec: &ToolSpec, policy_of: ToolPolicy) -> w::Tool {
    w::Tool {
        name: spec.name.clone(),
        description: spec.description.clone(),
        input_schema: spec.input_schema.clone(),
        policy: policy(policy_of),
    }
}

pub fn model(info: &ModelInfo) -> w::Model {
    w::Model {
        id: info.id.clone(),
        provider: info.provider.clone(),
        thinking_levels: info.thinking_levels.iter().copied().map(thinking).collect(),
    }
}

pub fn broadcast(notice: &Notice, by: Option<&UserId>, everyone: bool) -> we::Broadcast {
    we::Broadcast {
        message: notice.message.clone(),
        data: notice.data.clone(),
        scope: if everyone { we::BroadcastScope::Hub } else { we::BroadcastScope::Organization },
        by: by.map(UserId::to_string),
    }
}

pub fn presence(list: &PresenceList) -> w::Presence {
    let users = list.users.as_ref().map(|users| users.iter().map(UserId::to_string).collect());
    w::Presence { count: list.count, users }
}

pub fn session_info(info: &SessionInfo) -> w::SessionInfo {
    w::SessionInfo {
        provider: info.provider.clone(),
        model: info.model.clone(),
        thinking_level: thinking(info.thinking),
        available_thinking_levels: info.levels.iter().map(|level| thinking(*level)).collect(),
        agent: info.agent.clone(),
        routing_decision: info.routing.as_ref().map(routing_decision),
    }
}

pub fn routing_decision(decision: &RoutingDecision) -> w::RoutingDecision {
    w::RoutingDecision {
        model: decision.model.clone(),
        provider: decision.provider.clone(),
        rule_name: decision.rule_name.clone(),
        reason: decision.reason.clone(),
    }
}

pub fn turn_ended(turn: &Turn) -> we::TurnEnded {
    we::TurnEnded {
        turn_id: turn.id.to_string(),
        state: turn_state(turn.state),
        usage: (turn.steps > 0).then(|| usage(&turn.usage)),
        receipt: turn.receipt.as_ref().map(|r| receipt(r, &turn.usage)),
        error: turn.error.clone(),
        refusal: turn.refusal.as_deref().map(refusal),
    }
}

pub fn snapshot(snapshot: &ChannelSnapshot) -> protocol::frames::Snapshot {
    use protocol::frames::Snapshot as Wire;
    match snapshot {
        ChannelSnapshot::Session { snapshot: s, presence: who } => {
            let id = s.settings.id;
            Wire::Session(Box::new(we::SessionSnapshot {
                session: session(&s.settings),
                messages: s.messages.iter().map(|m| message(id, m)).collect(),
                more: s.more,
                before: s.messages.first().filter(|_| s.more).map(|m| m.id.to_string()),
                turn: s.turn.as_ref().map(turn),
                turns: s.turns.iter().map(turn).collect(),
                queue: s.queue.iter().map(turn).collect(),
                approvals: s.approvals.iter().map(|a| approval(id, a)).collect(),
                todos: s.todos.iter().map(todo).collect(),
                presence: presence(who),
                status: agent_state(s.status),
            }))
        }
        ChannelSnapshot::User { sessions, approvals } => Wire::User(we::UserSnapshot {
            sessions: sessions.iter().map(session).collect(),
            approvals: approvals.iter().map(|(id, a)| approval(*id, a)).collect(),
        }),
        ChannelSnapshot::Sessions(sessions) => {
            Wire::Sessions(we::SessionsSnapshot { sessions: sessions.iter().map(session).collect() })
        }
    }
}
