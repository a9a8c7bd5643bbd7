//! The one table of errors: code, default text, HTTP status, whether a retry can help. And the close codes.

use std::fmt;

/// What can go wrong, in the words of the wire. The same on every door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    RateLimited,
    TooLarge,
    UnknownMethod,
    Archived,
    Busy,
    Unavailable,
    Internal,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    pub code: Code,
    /// The word on the wire.
    pub name: &'static str,
    /// Said where nothing more precise is known.
    pub text: &'static str,
    pub http_status: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

const fn row(code: Code, name: &'static str, text: &'static str, http_status: u16, retryable: bool) -> ErrorRow {
    ErrorRow { code, name, text, http_status, retryable }
}

/// The table. `docs/PROTOCOL.md` prints it; a test holds the two together.
pub const ERRORS: [ErrorRow; 12] = [
    row(Code::BadRequest, "bad_request", "the request is malformed", 400, false),
    row(Code::Unauthorized, "unauthorized", "a valid credential is required", 401, false),
    row(Code::Forbidden, "forbidden", "not allowed", 403, false),
    row(Code::NotFound, "not_found", "no such thing", 404, false),
    row(Code::Conflict, "conflict", "conflicts with the present state", 409, false),
    row(Code::RateLimited, "rate_limited", "too many requests", 429, true),
    row(Code::TooLarge, "too_large", "too large", 413, false),
    row(Code::UnknownMethod, "unknown_method", "no such method", 404, false),
    row(Code::Archived, "archived", "the conversation is archived", 409, false),
    row(Code::Busy, "busy", "a turn is running", 409, true),
    row(Code::Unavailable, "unavailable", "not available at the moment", 503, true),
    row(Code::Internal, "internal", "something went wrong inside the hub", 500, true),
];

impl Code {
    pub fn row(self) -> &'static ErrorRow {
        &ERRORS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error on its way to whoever asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub code: Code,
    pub message: String,
    /// What helps a program to react: the field at fault, seconds to wait.
    pub details: Option<serde_json::Value>,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// The table's own text.
    pub fn plain(code: Code) -> Self {
        Self::new(code, code.row().text)
    }

    /// A malformed field, named as the client wrote it.
    pub fn field(field: &str, message: impl fmt::Display) -> Self {
        let mut fault = Self::new(Code::BadRequest, format!("{field}: {message}"));
        fault.details = Some(serde_json::json!({ "field": field }));
        fault
    }

    /// The answer for what does not exist and for what belongs to another organization: the two must not differ.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// What [`Fault::not_found`] said there is none of.
    pub fn missing(&self) -> Option<&str> {
        self.message.strip_prefix("no such ").filter(|_| self.code == Code::NotFound)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

/// WebSocket close codes the hub sends, and what a client does then.
pub mod close {
    /// Broke the WebSocket protocol.
    pub const PROTOCOL: u16 = 1002;
    /// Text that is not UTF-8.
    pub const INVALID_TEXT: u16 = 1007;
    /// Abuse of the limits.
    pub const ABUSE: u16 = 1008;
    /// A frame or message over the limit.
    pub const TOO_LARGE: u16 = 1009;
    /// The hub restarts: reconnect after a short, random wait.
    pub const RESTARTING: u16 = 1012;
    /// The client reads too slowly: reconnect and resume.
    pub const TOO_SLOW: u16 = 1013;
    /// The credential expired: fetch a new one, then reconnect.
    pub const EXPIRED: u16 = 4401;
    /// The credential or the right was revoked: do not reconnect.
    pub const REVOKED: u16 = 4403;
    /// A newer link of the same host took over.
    pub const REPLACED: u16 = 4409;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_code() {
        for (position, row) in ERRORS.iter().enumerate() {
            assert_eq!(row.code as usize, position, "{}", row.name);
        }
    }
    #[test]
    fn the_protocol_page_prints_the_table() {
        let page = include_str!("../docs/PROTOCOL.md");
        let section = |title: &str| {
            let (_, rest) = page.split_once(&format!("\n## {title}\n")).expect("the page has the section");
            rest.split_once("\n## ").map_or(rest, |(section, _)| section)
        };
        let rows = |title: &str| section(title).lines().filter(|l| l.starts_with("| ")).skip(1).collect::<Vec<_>>();
        let wanted = ERRORS.map(|row| {
            let retry = if row.retryable { "yes" } else { "no" };
            format!("| `{}` | {} | {} | {retry} |", row.name, row.text, row.http_status)
        });
        assert_eq!(rows("Errors"), wanted);
        let codes = rows("Close codes").iter().map(|row| row[2..6].parse().expect("a code")).collect::<Vec<u16>>();
        use close::*;
        let sent = [PROTOCOL, INVALID_TEXT, ABUSE, TOO_LARGE, RESTARTING, TOO_SLOW, EXPIRED, REVOKED, REPLACED];
        assert_eq!(codes, sent);
    }
}
