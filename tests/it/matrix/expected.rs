//! Who may do what, written down a second time: from what the hub promises, not from its own table.

use super::subjects::Kind;

/// Operation · least role, `anyone` or `hub` · whether a paired device may (`person`: nor an API key) · whose thing it
/// concerns.
///
/// `session-watch|steer|govern|approve`: a conversation. `own`, `organization`, `channel`, `hub`: as they say.
const EXPECTED: &str = "
health                     anyone  device  hub
ready                      anyone  device  hub
page                       anyone  device  hub
describe                   anyone  device  hub
socketio                   anyone  device  hub
sign_in                    anyone  device  hub
sign_out                   anyone  device  own
metrics.here               anyone  device  hub
metrics                    hub     device  hub
health.detailed            hub     device  hub
session.get                viewer  device  own
password.set               viewer  person  own
tickets.create             viewer  device  own
pairing.create             member  -       own
pairing.verify             anyone  device  hub
devices.list               viewer  device  own
devices.rename             viewer  -       own
devices.revoke             viewer  -       own
config.get                 hub     -       hub
config.update              hub     -       hub
channels.subscribe         viewer  device  channel
channels.publish           member  device  channel
projects.create            member  device  organization
projects.list              viewer  device  organization
projects.get               viewer  device  organization
sessions.create            member  device  own
sessions.list              viewer  device  session-watch
sessions.get               viewer  device  session-watch
sessions.update            member  device  session-steer
sessions.share             member  device  session-govern
sessions.archive           member  device  session-govern
sessions.pause             member  device  session-steer
sessions.resume            member  device  session-steer
sessions.delete            member  device  session-govern
messages.send              member  device  session-steer
messages.update            member  device  session-steer
messages.cancel            member  device  session-steer
messages.stop              member  device  session-steer
messages.abort             member  device  session-steer
messages.retry             member  device  session-steer
messages.list              viewer  device  session-watch
agents.list                viewer  device  organization
agents.get                 viewer  device  organization
tools.list                 viewer  device  organization
tools.approve              member  device  session-approve
tools.reject               member  device  session-approve
approvals.list             viewer  device  session-watch
todos.get                  viewer  device  session-watch
todos.update               member  device  session-steer
models.list                viewer  device  organization
commands.list              viewer  device  organization
commands.execute           member  device  session-steer
routing.explain            viewer  device  own
channels.presence          viewer  device  channel
channels.history           viewer  device  channel
usage.get                  viewer  device  own
skills.list                viewer  device  organization
skills.execute             member  device  organization
actions.list               viewer  device  organization
actions.preview            member  device  organization
actions.execute            member  device  organization
actions.undo               member  device  organization
admin.connections.list     admin   -       organization
admin.connections.close    admin   -       organization
admin.channels.list        admin   -       organization
admin.channels.get         admin   -       organization
admin.channels.history     admin   -       organization
admin.publish              admin   -       organization
admin.broadcast            admin   -       organization
admin.broadcast_all        hub     -       hub
admin.sessions.list        admin   -       organization
admin.sessions.read        admin   -       organization
admin.sessions.stop        admin   -       organization
admin.sessions.abort       admin   -       organization
admin.approvals.list       admin   -       organization
admin.approvals.decide     admin   -       organization
admin.organizations.list   hub     -       hub
admin.organizations.create hub     -       hub
admin.organizations.disable hub    -       hub
admin.users.list           admin   -       organization
admin.users.create         admin   -       organization
admin.users.update         admin   -       organization
admin.users.disable        admin   -       organization
admin.users.password       admin   person  organization
admin.keys.list            admin   -       organization
admin.keys.create          admin   -       organization
admin.keys.revoke          admin   -       organization
admin.devices.list         admin   -       organization
admin.devices.create       admin   -       organization
admin.devices.revoke       admin   -       organization
admin.tokens.revoke        admin   -       organization
admin.tokens.create        hub     -       hub
turns.get                  viewer  device  session-watch
admin.usage                admin   -       organization
admin.reload               hub     -       hub
admin.audit                admin   -       organization
approvals.rules            viewer  device  own
approvals.revoke           viewer  device  own
";

/// Weakest first.
pub const ROLES: [&str; 5] = ["viewer", "member", "operator", "admin", "owner"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub operation: &'static str,
    pub least: &'static str,
    pub device: bool,
    /// Only somebody who signed in.
    pub person: bool,
    pub whose: &'static str,
}

pub fn all() -> Vec<Expected> {
    let row = |line: &'static str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [operation, least, device, whose] = words[..] else { panic!("not a row: {line}") };
        Expected { operation, least, device: device == "device", person: device == "person", whose }
    };
    EXPECTED.lines().filter(|line| !line.is_empty()).map(row).collect()
}

pub fn of(operation: &str) -> Expected {
    all().into_iter().find(|row| row.operation == operation).unwrap_or_else(|| panic!("{operation} is not expected"))
}

/// Whose conversation it is, seen from who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    Own,
    /// Another user's of the same organization, for that user alone.
    Private,
    /// Another user's, shown to the organization.
    Shared,
    /// Another organization's.
    Foreign,
    /// Nobody's: there is no such thing.
    Unknown,
}

pub const RELATIONS: [Relation; 5] =
    [Relation::Own, Relation::Private, Relation::Shared, Relation::Foreign, Relation::Unknown];

/// What becomes of a question. The words are those of the native wire; the gateway's have a form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// One of the answers that the operation gives.
    Allowed,
    Forbidden(&'static str),
    /// There is none of this noun.
    NotFound(&'static str),
    /// Asked who it is.
    Unauthorized(&'static str),
}

pub const PRIVATE: &str = "this session is private";

fn rank(role: &str) -> usize {
    ROLES.iter().position(|known| *known == role).expect("a role")
}

fn needs(role: &str) -> &'static str {
    match role {
        "viewer" => "needs the role viewer or more",
        "member" => "needs the role member or more",
        "admin" => "needs the role admin or more",
        other => panic!("nothing needs the role {other}"),
    }
}

impl Expected {
    /// Why the caller is nobody who may ask at all; nothing where it is.
    pub fn shuts_out(&self, role: &str, hub_admin: bool, kind: Kind) -> Option<&'static str> {
        let device = kind == Kind::Device;
        match self.least {
            _ if device && !self.device => Some("a paired device may not do this: sign in"),
            _ if kind == Kind::ApiKey && self.person => Some("an API key may not do this: sign in"),
            "anyone" => None,
            // A device never administers the hub.
            "hub" => (!hub_admin || device).then_some("only administrators of the hub may do this"),
            least => (rank(role) < rank(least)).then(|| needs(least)),
        }
    }

    /// What becomes of it when it concerns nothing that is somebody's.
    pub fn on_nothing(&self, role: &str, hub_admin: bool, kind: Kind) -> Outcome {
        self.shuts_out(role, hub_admin, kind).map_or(Outcome::Allowed, Outcome::Forbidden)
    }

    /// What becomes of it when it concerns a conversation. Administering the hub gives nothing there.
    pub fn on_session(&self, role: &str, kind: Kind, relation: Relation) -> Outcome {
        if let Some(words) = self.shuts_out(role, false, kind) {
            return Outcome::Forbidden(words);
        }
        let admin = rank(role) >= rank("admin");
        match (relation, self.whose) {
            (Relation::Foreign | Relation::Unknown, "session-approve") => Outcome::NotFound("approval"),
            (Relation::Foreign | Relation::Unknown, _) => Outcome::NotFound("session"),
            (Relation::Private, _) => Outcome::Forbidden(PRIVATE),
            (Relation::Own, _) | (Relation::Shared, "session-watch" | "session-steer") => Outcome::Allowed,
            (Relation::Shared, "session-govern" | "session-approve") if admin => Outcome::Allowed,
            (Relation::Shared, "session-govern") => {
                Outcome::Forbidden("only the session's user, admins and owners may do this")
            }
            (Relation::Shared, "session-approve") => {
                Outcome::Forbidden("only the session's user, admins and owners may approve")
            }
            (_, other) => panic!("{} concerns {other}, no conversation", self.operation),
        }
    }
}
