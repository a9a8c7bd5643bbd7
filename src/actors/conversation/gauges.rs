//! What conversations add to the hub's numbers.

use metrics::{counter, gauge};

use crate::domain::conversation::Conversation;
use crate::domain::event::Event;
use crate::domain::record::Write;
use crate::domain::turn::TurnState;
use crate::telemetry::{APPROVALS_PENDING, TURNS_ENDED, TURNS_RUNNING};

/// Counts what an event says has happened.
pub(super) fn count(event: &Event) {
    if let Event::TurnEnded { turn, .. } = event {
        count_end(turn.state);
    }
}

pub(super) fn count_end(state: TurnState) {
    counter!(TURNS_ENDED, "state" => state.name()).increment(1);
}

/// The ends among rows: what is settled on loading is told by no event.
pub(super) fn ends(writes: &[Write]) -> Vec<TurnState> {
    let state = |write: &Write| match write {
        Write::Turn(turn) if turn.state.has_ended() => Some(turn.state),
        _ => None,
    };
    writes.iter().filter_map(state).collect()
}

/// One conversation's part of the gauges. It is taken back when the conversation leaves memory or is loaded anew.
#[derive(Default)]
pub(super) struct Share {
    turns: usize,
    approvals: usize,
}

impl Share {
    /// As the conversation is now. Nearly always nothing has changed: then it costs two comparisons.
    pub(super) fn set(&mut self, machine: &Conversation) {
        change(TURNS_RUNNING, &mut self.turns, usize::from(machine.current().is_some()));
        change(APPROVALS_PENDING, &mut self.approvals, machine.approvals().len());
    }
}

fn change(name: &'static str, known: &mut usize, now: usize) {
    if *known != now {
        gauge!(name).increment(now as f64 - *known as f64);
        *known = now;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        change(TURNS_RUNNING, &mut self.turns, 0);
        change(APPROVALS_PENDING, &mut self.approvals, 0);
    }
}
