//! The flat form on `/ws`: talk without subscribing. Each frame also carries `sessionId` and `turnId`.

use protocol::frames as wf;

use crate::domain::approval::Approval;
use crate::domain::channel::ChannelKey;
use crate::domain::event::{ChannelSnapshot, Event, Greeting, Growing, Numbered};
use crate::domain::ids::{ConversationId, TurnId};
use crate::domain::message::PartBody;
use crate::domain::tool_call::ToolCallState;
use crate::domain::turn::{Turn, TurnState};
use crate::doors::{Dialect, Encoded, frame, words};
use crate::error::Fault;
use crate::framing::Frame;

/// `text_delta`, `tool_call_start`, …
pub struct Flat;

impl Dialect for Flat {
    fn name(&self) -> &'static str {
        "flat"
    }

    fn event(&self, event: &Numbered) -> Encoded {
        let wire = match &event.event {
            Event::Delta { conversation, turn, kind: Growing::Text, text, .. } => {
                wf::ServerFrame::TextDelta(wf::TextDelta {
                    delta: text.to_string(),
                    session_id: conversation.to_string(),
                    turn_id: turn.to_string(),
                })
            }
            Event::PartCreated { conversation, turn, part, .. } => match &part.body {
                PartBody::ToolCall(call) => wf::ServerFrame::ToolCallStart(wf::ToolCallStart {
                    id: part.id.to_string(),
                    name: call.tool.clone(),
                    summary: None,
                    session_id: conversation.to_string(),
                    turn_id: turn.to_string(),
                }),
                _ => return Encoded::Nothing,
            },
            Event::PartChanged { conversation, turn, part, .. } => match &part.body {
                PartBody::ToolCall(call) if call.state.is_settled() => {
                    wf::ServerFrame::ToolCallResult(wf::ToolCallResult {
                        id: part.id.to_string(),
                        name: call.tool.clone(),
                        success: call.state == ToolCallState::Succeeded,
                        session_id: conversation.to_string(),
                        turn_id: turn.to_string(),
                    })
                }
                _ => return Encoded::Nothing,
            },
            Event::ApprovalRequired { conversation, approval } => question(*conversation, approval),
            Event::TurnEnded { conversation, turn, .. } => match end(*conversation, turn) {
                Some(wire) => wire,
                None => return Encoded::Nothing,
            },
            _ => return Encoded::Nothing,
        };
        Encoded::One(frame(&wire))
    }

    /// A flat socket knows no greeting; what waits for an answer is asked again.
    fn greeting(&self, greeting: &Greeting) -> Vec<Frame> {
        match greeting.snapshot.as_deref() {
            Some(ChannelSnapshot::Session { snapshot, .. }) => {
                let id = snapshot.settings.id;
                snapshot.approvals.iter().map(|a| frame(&question(id, a))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The turn that was cut off has ended for this wire too.
    fn restarted(&self, greeting: &Greeting) -> Vec<Frame> {
        match greeting.snapshot.as_deref() {
            Some(ChannelSnapshot::Session { snapshot, .. }) => {
                let id = snapshot.settings.id;
                let cut = snapshot.turns.last().filter(|t| t.state == TurnState::Interrupted);
                cut.and_then(|turn| end(id, turn)).iter().map(frame).collect()
            }
            _ => Vec::new(),
        }
    }

    fn ended(&self, _: &ChannelKey, fault: &Fault) -> Option<Frame> {
        Some(flat_error(fault, None, None))
    }
}

fn question(conversation: ConversationId, approval: &Approval) -> wf::ServerFrame {
    wf::ServerFrame::ApprovalRequest(wf::FlatApprovalRequest {
        request_id: approval.id.to_string(),
        correlation_id: approval.correlation_id.clone(),
        tool_call_id: approval.call.to_string(),
        tool_name: approval.tool.clone(),
        request: words::approval_details(approval),
        session_id: conversation.to_string(),
        turn_id: approval.turn.to_string(),
    })
}

/// How a turn's end shows: once. A turn that never started has nothing to complete.
pub(super) fn end(conversation: ConversationId, turn: &Turn) -> Option<wf::ServerFrame> {
    match turn.state {
        TurnState::Completed | TurnState::Stopped | TurnState::Aborted => {
            Some(wf::ServerFrame::MessageComplete(wf::MessageComplete {
                usage: words::usage(&turn.usage),
                session_id: conversation.to_string(),
                turn_id: turn.id.to_string(),
            }))
        }
        TurnState::Failed | TurnState::Interrupted => {
            let message = turn.error.clone().unwrap_or_else(|| "the turn was interrupted".to_owned());
            let refusal = turn.refusal.as_ref().map(|refusal| refusal.fault(turn.ended_at.unwrap_or(refusal.renews)));
            let (code, details) = match refusal {
                Some(fault) => (fault.code.name(), fault.details),
                None => (turn.state.name(), None),
            };
            Some(wf::ServerFrame::Error(wf::ErrorFrame {
                code: Some(code.to_owned()),
                message,
                channel: None,
                id: None,
                details,
                session_id: Some(conversation.to_string()),
                turn_id: Some(turn.id.to_string()),
            }))
        }
        _ => None,
    }
}

/// An error for a flat socket.
pub fn flat_error(fault: &Fault, conversation: Option<ConversationId>, turn: Option<TurnId>) -> Frame {
    frame(&wf::ServerFrame::Error(wf::ErrorFrame {
        code: Some(fault.code.name().to_owned()),
        message: fault.message.clone(),
        channel: None,
        id: None,
        details: fault.details.clone(),
        session_id: conversation.map(|c| c.to_string()),
        turn_id: turn.map(|t| t.to_string()),
    }))
}
