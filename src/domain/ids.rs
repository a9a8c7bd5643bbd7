//! Identifiers, time and where both come from: the edges hand them in, so that tests can hold them.

use std::fmt;
use std::sync::Arc;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here; negative where `earlier` is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 with milliseconds and `Z`.
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }
}

/// Where new ids and the time come from.
pub trait Source {
    fn now(&self) -> Timestamp;
    /// 128 bits, rising with time (UUIDv7 outside tests).
    fn next_id(&mut self) -> u128;
}

/// The clock and the generator of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSource;

impl Source for SystemSource {
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_millis())
    }

    fn next_id(&mut self) -> u128 {
        uuid::Uuid::now_v7().as_u128()
    }
}

/// A text that is no id of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of this kind")
    }
}

impl std::error::Error for NotAnId {}

/// Exactly 32 lower-case hexadecimal digits: one spelling for each id, so that no twin of a name exists.
fn parse_hex(text: &str) -> Result<u128, NotAnId> {
    let spelled = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !spelled {
        return Err(NotAnId);
    }
    u128::from_str_radix(text, 16).map_err(|_| NotAnId)
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn mint(source: &mut dyn Source) -> Self {
                Self(source.next_id())
            }

            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                parse_hex(text.strip_prefix($prefix).ok_or(NotAnId)?).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A conversation; `sess_` because that is what it is called on the wires.
    ConversationId,
    "sess_"
);
id!(MessageId, "msg_");
id!(PartId, "part_");
id!(TurnId, "turn_");
id!(ApprovalId, "appr_");
id!(
    /// An answer to an approval that is kept.
    RuleId,
    "rule_"
);
id!(ProjectId, "prj_");
id!(KeyId, "key_");
id!(DeviceId, "dev_");
id!(
    /// One execution of an action.
    ExecutionId,
    "exec_"
);

macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest name, in bytes.
            pub const MAX: usize = 200;

            /// 1 to 200 bytes without control characters: it is used in channel names and logs.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                let fits = !text.is_empty() && text.len() <= Self::MAX && !text.chars().any(char::is_control);
                if fits { Ok(Self(text.into())) } else { Err(NotAnId) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The tenant. Its text may come from a foreign token.
    OrganizationId
);
name!(
    /// A user within an organization. Its text may come from a foreign token.
    UserId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = ConversationId(0x0193_0000_0000_7000_8000_0000_0000_00ab);
        let text = id.to_string();
        assert_eq!(text, "sess_01930000000070008000000000 0000ab".replace(' ', ""));
        assert_eq!(ConversationId::parse(&text), Ok(id));
        for twin in
            [text.to_uppercase(), format!("{text} "), text.replace("sess_", "msg_"), text[..36].into(), "sess_*".into()]
        {
            assert_eq!(ConversationId::parse(&twin), Err(NotAnId), "{twin}");
        }
    }

    #[test]
    fn names_have_no_control_characters() {
        assert!(UserId::parse("a\nb").is_err());
        assert!(UserId::parse("").is_err());
        assert!(UserId::parse(&"x".repeat(201)).is_err());
        assert!(UserId::parse("auth0|5f7c8ec7c33c6c004bbafe82").is_ok());
    }
}
