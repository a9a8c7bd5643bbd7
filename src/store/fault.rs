//! What can go wrong with the store, and how a database's own words are sorted into it.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

use crate::domain::ids::ConversationId;

/// Why the store could not be opened or read.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreFault {
    /// It must not be used as it is: a wrong address, a second owner, a server that does not keep its word.
    Refused(String),
    /// It cannot be reached or does not answer.
    Unavailable(String),
    /// A row that nobody could have written: the text names it.
    Corrupt(String),
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(text),
            Self::Unavailable(text) => write!(f, "the store is not available: {text}"),
            Self::Corrupt(text) => write!(f, "the store holds a row that cannot be read: {text}"),
        }
    }
}

impl std::error::Error for StoreFault {}

impl From<Error> for StoreFault {
    fn from(error: Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitFault {
    /// The disk is full or cannot be written. Nothing of the batch is stored.
    Full(String),
    /// The database did not answer. Whether the batch is stored is not known.
    Unavailable(String),
    /// The key was used before: what was asked then, and what was answered. Nothing of the batch is stored.
    IdempotencyTaken { request: [u8; 32], answer: String },
    /// The user calls another conversation so, one that is not archived. Nothing of the batch is stored.
    AliasTaken(ConversationId),
    /// The batch breaks a rule of the tables, such as a part without its message. Nothing of it is stored.
    Refused(String),
    /// What is asked for cannot be had beside what is there; the text is for the caller. Nothing of it is stored.
    Conflict(String),
    /// Too much waits to be written. Nothing was queued.
    QueueFull,
}

impl fmt::Display for CommitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(text) => write!(f, "the store cannot be written: {text}"),
            Self::Unavailable(text) => write!(f, "the store is not available: {text}"),
            Self::IdempotencyTaken { .. } => f.write_str("the idempotency key was used before"),
            Self::AliasTaken(_) => f.write_str("another conversation is called so"),
            Self::Refused(text) => write!(f, "the store refused the rows: {text}"),
            Self::Conflict(text) => f.write_str(text),
            Self::QueueFull => f.write_str("too much waits to be written"),
        }
    }
}

impl std::error::Error for CommitFault {}

/// Why one job of a group failed, before it is known what that means for the others.
#[derive(Debug)]
pub(super) enum JobFault {
    Taken { request: [u8; 32], answer: String },
    AliasTaken(ConversationId),
    Refused(String),
    Conflict(String),
    Database(Error),
}

impl From<Error> for JobFault {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl JobFault {
    /// What the caller is told, and whether the transaction as a whole can go on without this job.
    pub(super) fn judge(self) -> (CommitFault, bool) {
        match self {
            Self::Taken { request, answer } => (CommitFault::IdempotencyTaken { request, answer }, true),
            Self::AliasTaken(id) => (CommitFault::AliasTaken(id), true),
            Self::Refused(text) => (CommitFault::Refused(text), true),
            Self::Conflict(text) => (CommitFault::Conflict(text), true),
            Self::Database(error) if breaks_a_rule(&error) => (CommitFault::Refused(error.to_string()), true),
            Self::Database(error) if is_full(&error) => (CommitFault::Full(error.to_string()), false),
            Self::Database(error) => (CommitFault::Unavailable(error.to_string()), false),
        }
    }
}

fn breaks_a_rule(error: &Error) -> bool {
    use DatabaseErrorKind::*;
    matches!(error, Error::DatabaseError(UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation, _))
}

/// Diesel keeps neither SQLite's result code nor PostgreSQL's SQLSTATE, so the text decides.
pub(super) fn is_full(error: &Error) -> bool {
    const WORDS: [&str; 7] = [
        "database or disk is full",
        "disk I/O error",
        "readonly database",
        "read-only",
        "No space left on device",
        "could not extend file",
        "could not write",
    ];
    match error {
        Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => true,
        Error::DatabaseError(_, information) => WORDS.iter().any(|word| information.message().contains(word)),
        _ => false,
    }
}

impl From<Error> for CommitFault {
    fn from(error: Error) -> Self {
        JobFault::Database(error).judge().0
    }
}

impl From<StoreFault> for CommitFault {
    /// For a row that was read back within a write.
    fn from(fault: StoreFault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}
