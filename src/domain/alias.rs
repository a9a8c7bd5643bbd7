//! What a caller calls a session: the hub's id, or an id that its client brought along.

use std::fmt;
use std::sync::Arc;

use super::channel::{BadChannel, Channel};
use super::ids::{ConversationId, NotAnId};

/// An id that a client brought along. It means something to one user of one organization, and nothing to anybody else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(Arc<str>);

impl Alias {
    /// The longest one, in bytes.
    pub const MAX: usize = 128;

    /// 1 to 128 printable characters of ASCII, no spaces. Nothing that begins like a hub's id in whatever case, and
    /// nothing that a channel's name cannot hold: no wildcard (`*`, `>`), no two dots in a row.
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'>'));
        let prefix = ConversationId::PREFIX;
        let like_the_hubs = text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        let fits = (1..=Self::MAX).contains(&text.len());
        if fits && printable && !like_the_hubs && !text.contains("..") { Ok(Self(text.into())) } else { Err(NotAnId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session as its caller names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionName {
    Id(ConversationId),
    Alias(Alias),
}

impl SessionName {
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        ConversationId::parse(text).map(Self::Id).or_else(|_| Alias::parse(text).map(Self::Alias))
    }
}

impl From<ConversationId> for SessionName {
    fn from(id: ConversationId) -> Self {
        Self::Id(id)
    }
}

/// A channel as its caller names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelName {
    Known(Channel),
    /// The session of that alias.
    Session(Alias),
}

impl ChannelName {
    pub fn parse(name: &str) -> Result<Self, BadChannel> {
        match name.strip_prefix("session:").map(SessionName::parse) {
            Some(Ok(SessionName::Alias(alias))) => Ok(Self::Session(alias)),
            _ => Channel::parse(name).map(Self::Known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_printable_and_never_like_an_id_of_the_hub() {
        let id = ConversationId(7).to_string();
        for good in ["a", "7", "3f2b8c1e-52c0-4b6d-9a68-0a5f7a6a2b11", "chat/2026:07#1?x=%20", &"x".repeat(128)] {
            assert_eq!(Alias::parse(good).map(|alias| alias.to_string()).as_deref(), Ok(good));
            assert_eq!(SessionName::parse(good), Alias::parse(good).map(SessionName::Alias));
        }
        assert_eq!(SessionName::parse(&id), Ok(SessionName::Id(ConversationId(7))));
        for bad in [
            "",
            "a b",
            "a\0",
            "a\n",
            "\u{7f}",
            "\u{430}",
            "*",
            "a>",
            "../a",
            "sess_",
            "sess_x",
            "SESS_x",
            &id,
            &id.to_uppercase(),
            &format!("{id}0"),
            &"x".repeat(129),
        ] {
            assert_eq!(Alias::parse(bad), Err(NotAnId), "{bad:?}");
        }
    }

    #[test]
    fn a_channel_is_named_by_an_alias_as_well() {
        let id = ConversationId(7);
        assert_eq!(ChannelName::parse(&format!("session:{id}")), Ok(ChannelName::Known(Channel::Session(id))));
        let alias = Alias::parse("a:b").expect("an alias");
        assert_eq!(ChannelName::parse("session:a:b"), Ok(ChannelName::Session(alias)));
        for bad in ["session:", "session:*", "session:SESS_7", "Session:a", "user:", "host:a"] {
            assert!(ChannelName::parse(bad).is_err(), "{bad}");
        }
    }
}
