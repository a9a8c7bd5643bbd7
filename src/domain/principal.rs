//! Who is calling. Derived once, at the edge; travels with every command.

use super::ids::{OrganizationId, Timestamp, UserId};

/// Each with less than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Viewer,
    Member,
    Operator,
    Admin,
    Owner,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Member, Self::Operator, Self::Admin, Self::Owner];

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The exact word, as configuration and the command line write it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == word)
    }

    /// A word from a token: case does not count, other wires' names are known, anything else is `member`.
    pub fn from_claim(word: &str) -> Self {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "user" | "employee" => Self::Member,
            _ => Self::parse(&word).unwrap_or(Self::Member),
        }
    }
}

/// How a principal proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Credential {
    /// A signed token.
    Jwt {
        /// Its `jti`.
        id: Option<String>,
        /// Its `iat`.
        issued_at: Option<Timestamp>,
    },
    ApiKey {
        /// The id of the key, not the key.
        id: String,
    },
    /// A hub session, held by a cookie.
    Session {
        /// The hash of the cookie, in hexadecimal.
        id: String,
    },
    /// A paired device.
    Device { id: String },
    /// A session of somebody else's sign-in, asked about at `auth.session_url`.
    Foreign {
        /// The hash of what was asked about, in hexadecimal.
        id: String,
    },
    /// The operator at the command line of the hub's own machine.
    Operator,
    /// An agent, on behalf of its conversation's user. It opens no door.
    Agent {
        /// The conversation.
        id: String,
    },
}

impl Credential {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jwt { .. } => "jwt",
            Self::ApiKey { .. } => "api_key",
            Self::Session { .. } => "session",
            Self::Device { .. } => "device",
            Self::Foreign { .. } => "foreign",
            Self::Operator => "operator",
            Self::Agent { .. } => "agent",
        }
    }

    /// What names it among its kind; nothing secret.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Jwt { id, .. } => id.as_deref(),
            Self::ApiKey { id }
            | Self::Session { id }
            | Self::Device { id }
            | Self::Foreign { id }
            | Self::Agent { id } => Some(id),
            Self::Operator => None,
        }
    }

    /// As one line of JSON, always the same for the same credential: it is compared as text.
    pub fn store(&self) -> String {
        // Cannot fail: the fields are texts and numbers.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What `store` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Who is calling, on whose behalf, and with which rights.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    pub organization: OrganizationId,
    pub user: UserId,
    pub role: Role,
    /// Rights that concern the whole hub, beside the role.
    pub hub_admin: bool,
    /// Named by the token; they count for skills and actions only.
    pub permissions: Vec<String>,
    pub credential: Credential,
    /// When the credential ends; a socket is closed then.
    pub expires_at: Option<Timestamp>,
}
