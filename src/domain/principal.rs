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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Jwt,
    /// The id of the key, not the key.
    ApiKey(String),
    /// A hub session, held by a cookie.
    Session(String),
    Ticket,
}

impl Credential {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey(_) => "api_key",
            Self::Session(_) => "session",
            Self::Ticket => "ticket",
        }
    }

    /// As one line of JSON, always the same for the same credential: it is compared as text.
    pub fn store(&self) -> String {
        let id = match self {
            Self::Jwt | Self::Ticket => None,
            Self::ApiKey(id) | Self::Session(id) => Some(id),
        };
        serde_json::json!({ "kind": self.name(), "id": id }).to_string()
    }

    /// What `store` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let id = || value.get("id").and_then(serde_json::Value::as_str).map(str::to_owned);
        match value.get("kind")?.as_str()? {
            "jwt" => Some(Self::Jwt),
            "api_key" => id().map(Self::ApiKey),
            "session" => id().map(Self::Session),
            "ticket" => Some(Self::Ticket),
            _ => None,
        }
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
