//! Channel names: what one may subscribe to, spelled in exactly one way.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::ids::{ConversationId, OrganizationId, ProjectId, UserId};

/// A name that no channel can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChannel(&'static str);

impl fmt::Display for BadChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadChannel {}

/// The longest name, in bytes.
pub const MAX_NAME: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Channel {
    Session(ConversationId),
    Project(ProjectId),
    User(UserId),
    Organization(OrganizationId),
    /// The text after `app:`.
    Application(Arc<str>),
}

/// The kinds of channels, by the word before the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    Session,
    Project,
    User,
    Organization,
    Application,
}

impl ChannelKind {
    pub const ALL: [Self; 5] = [Self::Session, Self::Project, Self::User, Self::Organization, Self::Application];

    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Project => "project",
            Self::User => "user",
            Self::Organization => "org",
            Self::Application => "app",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }
}

/// Some of the kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelKinds([bool; ChannelKind::ALL.len()]);

impl ChannelKinds {
    pub fn holds(self, kind: ChannelKind) -> bool {
        self.0[kind as usize]
    }
}

impl FromIterator<ChannelKind> for ChannelKinds {
    fn from_iter<I: IntoIterator<Item = ChannelKind>>(kinds: I) -> Self {
        let mut all = Self::default();
        kinds.into_iter().for_each(|kind| all.0[kind as usize] = true);
        all
    }
}

impl Channel {
    pub fn parse(name: &str) -> Result<Self, BadChannel> {
        if name.len() > MAX_NAME {
            return Err(BadChannel("a channel's name has at most 256 bytes"));
        }
        let Some((kind, rest)) = name.split_once(':') else {
            return Err(BadChannel("a channel's name is a kind, a colon and an id"));
        };
        match kind {
            "session" => ConversationId::parse(rest).map(Self::Session).map_err(|_| BadChannel("not a session id")),
            "project" => ProjectId::parse(rest).map(Self::Project).map_err(|_| BadChannel("not a project id")),
            "user" => UserId::parse(rest).map(Self::User).map_err(|_| BadChannel("not a user id")),
            "org" => {
                OrganizationId::parse(rest).map(Self::Organization).map_err(|_| BadChannel("not an organization id"))
            }
            "app" => application_name(rest).map(Self::Application),
            "host" => Err(BadChannel("host channels are not offered yet")),
            _ => Err(BadChannel("no such kind of channel: session, project, user, org and app are known")),
        }
    }

    /// Whether its events come from clients.
    pub fn is_application(&self) -> bool {
        matches!(self, Self::Application(_))
    }
}

/// Letters, digits and `_ . : - /` of ASCII: no wildcard, no path step, no look-alike.
fn application_name(rest: &str) -> Result<Arc<str>, BadChannel> {
    check_application(rest).map(|()| rest.into())
}

fn check_application(rest: &str) -> Result<(), BadChannel> {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-' | b'/');
    let dots = |two: &[u8]| two == b"..";
    if rest.len() > MAX_NAME - 4 {
        return Err(BadChannel("a channel's name has at most 256 bytes"));
    }
    if rest.is_empty() || !rest.bytes().all(known) || rest.as_bytes().windows(2).any(dots) {
        return Err(BadChannel("an app channel's name has letters, digits and _ . : - / and no two dots in a row"));
    }
    Ok(())
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Organization(id) => write!(f, "org:{id}"),
            Self::Application(name) => write!(f, "app:{name}"),
        }
    }
}

/// A channel of an organization: two organizations' `app:x` are two channels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelKey(Arc<KeyInner>);

#[derive(PartialEq, Eq, Debug)]
struct KeyInner {
    organization: OrganizationId,
    name: Box<str>,
}

impl ChannelKey {
    pub fn new(organization: OrganizationId, channel: &Channel) -> Self {
        Self(Arc::new(KeyInner { organization, name: channel.to_string().into() }))
    }

    pub fn organization(&self) -> &OrganizationId {
        &self.0.organization
    }

    /// Its kind; keys are made of channels that were parsed, so that there always is one.
    pub fn kind(&self) -> Option<ChannelKind> {
        self.0.name.split_once(':').and_then(|(word, _)| ChannelKind::parse(word))
    }

    /// Whether its events come from clients.
    pub fn is_application(&self) -> bool {
        self.0.name.starts_with("app:")
    }

    /// The name as it stands on the wire.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

/// What a table of channels can be asked by: a key, or a name that no key was made of.
pub trait Named {
    fn organization(&self) -> &OrganizationId;

    /// The name as it stands on the wire.
    fn name(&self) -> &str;
}

impl Named for ChannelKey {
    fn organization(&self) -> &OrganizationId {
        &self.0.organization
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.organization().hash(state);
        self.name().hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.organization() == other.organization()
    }
}

impl Eq for dyn Named + '_ {}

/// As its [`Named`] does: a table is asked by either.
impl Hash for ChannelKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self as &dyn Named).hash(state);
    }
}

impl<'a> Borrow<dyn Named + 'a> for ChannelKey {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

/// An application channel by its whole name, checked: the hot path of publishing.
#[derive(Clone, Copy, Debug)]
pub struct ApplicationName<'a> {
    organization: &'a OrganizationId,
    name: &'a str,
}

impl<'a> ApplicationName<'a> {
    /// # Errors
    /// The name is none of an application channel.
    pub fn parse(organization: &'a OrganizationId, name: &'a str) -> Result<Self, BadChannel> {
        let rest = name.strip_prefix("app:").ok_or(BadChannel("only app: channels can be published to"))?;
        check_application(rest)?;
        Ok(Self { organization, name })
    }
}

impl Named for ApplicationName<'_> {
    fn organization(&self) -> &OrganizationId {
        self.organization
    }

    fn name(&self) -> &str {
        self.name
    }
}

impl From<ApplicationName<'_>> for ChannelKey {
    fn from(known: ApplicationName<'_>) -> Self {
        Self(Arc::new(KeyInner { organization: known.organization.clone(), name: known.name.into() }))
    }
}

/// Where a subscriber stopped hearing a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub epoch: Arc<str>,
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_one_spelling() {
        let id = "sess_0193000000007000800000000000000a";
        for name in [&format!("session:{id}"), "app:a", "app:team/one:two", "user:auth0|x", "org:acme"] {
            assert_eq!(Channel::parse(name).map(|c| c.to_string()).as_deref(), Ok(name), "{name}");
        }
        let long = format!("app:{}", "x".repeat(10_000));
        for name in [
            "session:*",
            ">",
            "app:>",
            "app:*",
            "app:",
            "app:a\0b",
            "app:../x",
            "APP:x",
            "app:\u{430}",
            "session:SESS_1",
            "",
            ":",
            "session:sess_0193000000007000800000000000000A",
            "nothing:x",
            long.as_str(),
        ] {
            assert!(Channel::parse(name).is_err(), "{name}");
        }
    }
}
