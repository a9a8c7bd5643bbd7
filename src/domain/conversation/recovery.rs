//! What becomes of a conversation that comes back to life: after a crash, a restart, or a rest.

use super::*;
use crate::domain::record::Stored;

/// An approval that waits leaves at least this much time to answer it after a restart.
const LEAST_LEFT: i64 = 10_000;

impl Conversation {
    /// Rebuilds the machine from its rows and settles what was cut off. The outcome's writes are to be committed before
    /// the first number is given; none of its events is sent, because the snapshot holds them.
    pub fn recover(stored: Stored, rules: Rules, source: &mut dyn Source) -> (Self, Outcome) {
        let mut conversation = Self::new(stored.settings, rules);
        // Words of a life before this one may still be under way: no number of that life comes again.
        conversation.next_run = (source.next_id() as Run) << 16;
        conversation.messages = stored.messages;
        conversation.shown = conversation.last_answered();
        conversation.more = stored.more;
        conversation.approvals = stored.approvals;
        conversation.todos = stored.todos;
        for turn in stored.turns {
            if turn.state.has_ended() {
                conversation.ended.push(turn);
            } else {
                conversation.live.push(turn);
            }
        }
        conversation.live.sort_by_key(|t| t.no);
        let mut out = Outcome::default();
        conversation.close_cut_parts(&stored.open_parts, &mut out);
        conversation.settle_current(&mut out, source);
        conversation.start_next(&mut out, source);
        conversation.settle_status(&mut out);
        out.events.clear();
        (conversation, out)
    }

    /// Text that was still growing is whole now: one row instead of a tail.
    fn close_cut_parts(&self, open: &[PartId], out: &mut Outcome) {
        for message in &self.messages {
            for part in message.parts.iter().filter(|p| open.contains(&p.id)) {
                out.writes.push(Write::Part { message: message.id, part: part.clone() });
            }
        }
    }

    fn settle_current(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let Some(turn) = self.current().cloned() else {
            // An approval without its turn can only be a leftover.
            return self.settle_approvals_on_stop(out, source);
        };
        let Some(answer) = turn.answer else { return };
        self.work = Some(Work::new(turn.id, answer, turn.correlation_id.clone()));
        for call in self.calls_in(ToolCallState::Executing) {
            let text = "unknown: the hub went down while the tool ran; it may or may not have had its effect";
            self.settle_call(call, ToolCallState::Unknown, text, true, out, source);
        }
        if turn.state == TurnState::AwaitingApproval {
            return self.go_on_waiting(out, source);
        }
        self.cancel_unstarted("cancelled: the hub went down before the tool ran", out, source);
        self.settle_approvals_on_stop(out, source);
        self.end_turn(TurnState::Interrupted, out, source);
    }

    /// The turn waits for a human as before; what was granted may run.
    fn go_on_waiting(&mut self, out: &mut Outcome, source: &mut dyn Source) {
        let least = source.now().plus_millis(LEAST_LEFT);
        for approval in self.approvals.iter_mut().filter(|a| a.deadline < least) {
            approval.deadline = least;
            out.writes.push(Write::Approval(approval.clone()));
        }
        out.effects.extend(self.approvals.iter().map(|a| Effect::WakeAt(a.deadline)));
        // A tool whose concurrency is no longer known runs alone.
        self.exclusive = self.calls_in(ToolCallState::Approved);
        self.exclusive.extend(self.calls_in(ToolCallState::Awaiting));
        self.advance(out, source);
    }
}
