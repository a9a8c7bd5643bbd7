//! What was asked of the hub, for the record of what it refuses: one place for all doors.

use super::*;
use crate::actors::Refused;

/// What belongs to somebody: who is told that there is none may have named another's. Of other things, such as a turn of
/// one's own conversation, that is an answer like any other.
const THINGS: [&str; 5] = ["session", "channel", "project", "approval", "organization"];

/// Something that was asked and may be refused.
pub(super) struct Question {
    caller: Caller,
    operation: Operation,
    /// The administration writes down itself what it looks for in vain.
    administers: bool,
    refused: Refused,
}

impl Question {
    pub(super) fn new(shared: &Shared, caller: &Caller, operation: Operation) -> Self {
        Self { caller: caller.clone(), operation, administers: false, refused: shared.refused.clone() }
    }

    pub(super) fn of(shared: &Shared, caller: &Caller, command: &Command) -> Self {
        let administers = matches!(command, Command::Admin(..));
        Self { administers, ..Self::new(shared, caller, command.operation()) }
    }

    /// Passes the answer on. A refusal is told.
    pub(super) fn answered<T>(self, answer: Result<T, Fault>) -> Result<T, Fault> {
        answer.inspect_err(|fault| {
            if self.is_refused_by(fault) {
                (self.refused)(&self.caller, self.operation, fault);
            }
        })
    }

    fn is_refused_by(&self, fault: &Fault) -> bool {
        fault.code == Code::Forbidden
            || fault.missing().is_some_and(|what| match self.administers {
                true => what == "organization",
                false => THINGS.contains(&what),
            })
    }
}
