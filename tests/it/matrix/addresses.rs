//! Every HTTP address, written down a second time: what is asked there, and whose thing it names.

use super::expected::{Outcome, Relation};

/// Methods · address · the statuses of what is done, `-` where the probe leaves nothing to do · operation · whose thing
/// stands in it · a body, if there is one. What else whoever may ask is answered stands in [`OTHERWISE`].
///
/// Things: `-` none; `session` a conversation, `question` one that waits in it; `own-device` of the caller;
/// `user`, `key`, `device` of the organization, for its admins; `home-session`, `home-question` of anybody in the
/// organization, for its admins; `connection`, `channel` of the organization, for its admins; `project` of the
/// organization; `organization` of the hub. `+named`: the query's `organization` names another one.
/// `{watched}` in a body: a user whom admins change.
///
/// Addresses are tried from top to bottom: what ends a credential stands at the end.
const ADDRESSES: &str = r#"
GET|HEAD /health                  200 health          -
GET|HEAD /ready                   200 ready           -
GET      /health/detailed         200 health.detailed -
GET      /metrics                 200 metrics.here    -
GET      /sign-in                 200 sign_in         -
POST     /sign-in                 -   sign_in         - {}
GET      /api/v1/session          200 session.get     -
POST     /api/v1/account/password -   password.set    - {"password":"short"}
GET      /api/openapi.json        200 describe        -
GET      /api/docs                308 describe        -
GET      /api/docs/{file:.*}      200 describe        -
POST     /api/v1/tickets          201 tickets.create  - {"route":"/ws"}
POST     /pairing/codes           -   pairing.create  - {}
POST     /api/v1/pairing/codes    -   pairing.create  - {}
POST     /pairing/verify          -   pairing.verify  - {}
POST     /api/v1/pairing/verify   -   pairing.verify  - {}
GET      /devices                 200 devices.list    -
GET      /api/v1/devices          200 devices.list    -
PATCH    /devices/{id}            200 devices.rename  own-device {"name":"matrix"}
PATCH    /api/v1/devices/{id}     200 devices.rename  own-device {"name":"matrix"}
DELETE   /devices/{id}            204 devices.revoke  own-device
DELETE   /api/v1/devices/{id}     204 devices.revoke  own-device

POST   /sessions                                          201     sessions.create  - {"channel":"matrix"}
GET    /sessions/{sessionId}                              200     sessions.get     session
POST   /sessions/{sessionId}/messages                     200|202 messages.send    session {"content":"x"}
GET    /sessions/{sessionId}/messages                     200     messages.list    session
DELETE /sessions/{sessionId}                              204     sessions.delete  session
GET    /tools                                             200     tools.list       -
GET    /api/v1/projects                                   200     projects.list    -
POST   /api/v1/projects                                   201     projects.create  - {"name":"matrix"}
GET    /api/v1/projects/{projectId}                       200     projects.get     project
GET    /api/v1/sessions                                   200     sessions.list    -
POST   /api/v1/sessions                                   201     sessions.create  - {"title":"matrix"}
GET    /api/v1/sessions/{sessionId}                       200     sessions.get     session
PATCH  /api/v1/sessions/{sessionId}                       200     sessions.update  session {"title":"seen"}
POST   /api/v1/sessions/{sessionId}/messages              202     messages.send    session {"content":"x"}
GET    /api/v1/sessions/{sessionId}/messages              200     messages.list    session
PATCH  /api/v1/sessions/{sessionId}/messages/{messageId}  200     messages.update  session {"content":"y"}
POST   /api/v1/sessions/{sessionId}/pause                 200     sessions.pause   session
POST   /api/v1/sessions/{sessionId}/resume                200     sessions.resume  session
POST   /api/v1/sessions/{sessionId}/stop                  200     messages.stop    session {}
POST   /api/v1/sessions/{sessionId}/abort                 200     messages.abort   session {}
POST   /api/v1/sessions/{sessionId}/cancel                200     messages.cancel  session {}
POST   /api/v1/sessions/{sessionId}/retry                 202     messages.retry   session {}
GET    /api/v1/sessions/{sessionId}/turns/{turnId}        200     turns.get        session
POST   /api/v1/sessions/{sessionId}/turns/{turnId}/stop   200     messages.stop    session
POST   /api/v1/sessions/{sessionId}/turns/{turnId}/abort  200     messages.abort   session
POST   /api/v1/sessions/{sessionId}/turns/{turnId}/cancel 200     messages.cancel  session
POST   /api/v1/sessions/{sessionId}/turns/{turnId}/retry  202     messages.retry   session {}
GET    /api/v1/sessions/{sessionId}/todos                 200     todos.get        session
PUT    /api/v1/sessions/{sessionId}/todos                 200     todos.update     session {"todos":[]}
GET    /api/v1/sessions/{sessionId}/approvals             200     approvals.list   session
POST   /api/v1/sessions/{sessionId}/archive               200     sessions.archive session
DELETE /api/v1/sessions/{sessionId}                       200     sessions.delete  session
GET    /api/v1/approvals                                  200     approvals.list   -
POST   /api/v1/approvals/{requestId}                      200     tools.approve    question {"approved":true}
GET    /api/v1/agents                                     200     agents.list      -
GET    /api/v1/agents/{agent}                             200     agents.get       -
GET    /api/v1/models                                     200     models.list      -
GET    /api/v1/tools                                      200     tools.list       -
GET    /api/v1/usage                                      200     usage.get        -
GET    /api/v1/commands                                   200     commands.list    -
POST   /api/v1/sessions/{sessionId}/commands              200     commands.execute session {"command":"/status"}
GET    /api/v1/ai/conversations                           200     sessions.list    -
POST   /api/v1/ai/conversations                           201     sessions.create  - {"title":"matrix"}
GET    /api/v1/ai/conversations/search                    -       sessions.list    -
GET    /api/v1/ai/conversations/{sessionId}               200     sessions.get     session
PATCH  /api/v1/ai/conversations/{sessionId}               200     sessions.update  session {"title":"seen"}
POST   /api/v1/ai/conversations/{sessionId}/pause         201     sessions.pause   session
POST   /api/v1/ai/conversations/{sessionId}/resume        201     sessions.resume  session
POST   /api/v1/ai/conversations/{sessionId}/stop          201     messages.stop    session
POST   /api/v1/ai/conversations/{sessionId}/abort         201     messages.abort   session
POST   /api/v1/ai/conversations/{sessionId}/archive       201     sessions.archive session
DELETE /api/v1/ai/conversations/{sessionId}               200     sessions.delete  session
GET    /api/v1/ai/agents                                  200     agents.list      -
GET    /api/v1/ai/agents/{agent}/suggestions              200     agents.get       -
GET    /api/v1/ai/usage                                   200     usage.get        -
POST   /api/v1/routing/explain                            200     routing.explain  - {"content":"x"}
GET    /api/v1/ai/skills                                  200     skills.list      -
POST   /api/v1/ai/skills/{skillId}/execute                -       skills.execute   - {"input":{}}
GET    /api/v1/ai/actions                                 200     actions.list     -
POST   /api/v1/ai/actions/{actionId}/preview              -       actions.preview  - {"input":{}}
POST   /api/v1/ai/actions/{actionId}/execute              -       actions.execute  - {"input":{}}
POST   /api/v1/ai/actions/{actionId}/undo                 -       actions.undo     - {}
GET    /api/v1/approvals/rules                            200     approvals.rules  -
DELETE /api/v1/approvals/rules/{ruleId}                   -       approvals.revoke -

GET    /api/v1/admin/organizations                  200 admin.organizations.list    -
POST   /api/v1/admin/organizations                  201 admin.organizations.create  - {"id":"made"}
PATCH  /api/v1/admin/organizations/{id}             200 admin.organizations.disable organization {"disabled":false}
GET    /api/v1/admin/users                          200 admin.users.list            -+named
POST   /api/v1/admin/users                          201 admin.users.create          -+named {"id":"made"}
PATCH  /api/v1/admin/users/{id}                     200 admin.users.update          user+named {"role":"viewer"}
POST   /api/v1/admin/users/{id}/disable             200 admin.users.disable         user+named
POST   /api/v1/admin/users/{id}/enable              200 admin.users.disable         user+named
GET    /api/v1/admin/keys                           200 admin.keys.list             -+named
POST   /api/v1/admin/keys                           201 admin.keys.create           -+named {"name":"matrix","user":"{watched}"}
DELETE /api/v1/admin/keys/{id}                      204 admin.keys.revoke           key+named
GET    /api/v1/admin/devices                        200 admin.devices.list          -+named
POST   /api/v1/admin/devices                        201 admin.devices.create        -+named {"name":"matrix","user":"{watched}"}
DELETE /api/v1/admin/devices/{id}                   204 admin.devices.revoke        device+named
POST   /api/v1/admin/tokens/revoke                  -   admin.tokens.revoke         -+named {}
GET    /api/v1/admin/audit                          200 admin.audit                 -+named
GET    /config                                      200 config.get                  -
GET    /api/v1/config                               200 config.get                  -
PATCH  /config                                      200 config.update               - {}
PATCH  /api/v1/config                               200 config.update               - {}
GET    /api/v1/admin/connections                    200 admin.connections.list      -+named
DELETE /api/v1/admin/connections/{connectionId}     204 admin.connections.close     connection+named
GET    /api/v1/admin/channels                       200 admin.channels.list         -+named
GET    /api/v1/admin/channels/{channel}/subscribers 200 admin.channels.get          channel+named
GET    /api/v1/admin/channels/{channel}/history     200 admin.channels.history      channel+named
POST   /api/v1/admin/publish                        200 admin.publish               -+named {"channel":"app:matrix","event":"seen","data":{}}
POST   /api/v1/admin/broadcast                      200 admin.broadcast             -+named {"message":"matrix"}
POST   /api/v1/admin/broadcast/all                  200 admin.broadcast_all         - {"message":"matrix"}
GET    /api/v1/admin/sessions                       200 admin.sessions.list         -+named
GET    /api/v1/admin/sessions/{sessionId}/messages  200 admin.sessions.read         home-session+named
POST   /api/v1/admin/sessions/{sessionId}/stop      200 admin.sessions.stop         home-session+named
POST   /api/v1/admin/sessions/{sessionId}/abort     200 admin.sessions.abort        home-session+named
GET    /api/v1/admin/approvals                      200 admin.approvals.list        -+named
POST   /api/v1/admin/approvals/{requestId}          200 admin.approvals.decide      home-question+named {"approved":true}
GET    /api/v1/admin/usage                          200 admin.usage                 -+named
POST   /api/v1/admin/reload                         200 admin.reload                -

GET|HEAD /                     200 page     -
GET|HEAD /page/style.css       200 page     -
GET|HEAD /page/icon.svg        200 page     -
GET|HEAD /page/app.js          200 page     -
GET|HEAD /page/badge.js        200 page     -
GET|HEAD /page/composer.js     200 page     -
GET|HEAD /page/conversation.js 200 page     -
GET|HEAD /page/dom.js          200 page     -
GET|HEAD /page/growing.js      200 page     -
GET|HEAD /page/link.js         200 page     -
GET|HEAD /page/sidebar.js      200 page     -
GET|HEAD /page/thread.js       200 page     -
GET|HEAD /page/tool.js         200 page     -
POST     /sign-out             204 sign_out -
GET|POST /socket.io/                                      400     socketio         -
"#;

/// Operation, code and words of what whoever may ask is refused for another reason: what the probe leaves out, what is
/// there already, and turns that a demo answers faster or slower.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("messages.stop", "conflict", "no turn is running"),
    ("messages.abort", "conflict", "no turn is running"),
    ("admin.sessions.stop", "conflict", "no turn is running"),
    ("admin.sessions.abort", "conflict", "no turn is running"),
    ("messages.cancel", "conflict", "no turn runs or waits"),
    ("messages.retry", "conflict", "only the newest turn can be retried"),
    ("messages.retry", "busy", "a turn is running"),
    ("messages.update", "conflict", "only a message whose turn still waits can be edited"),
    ("admin.organizations.create", "conflict", "an organization of that id exists"),
    ("sign_in", "bad_request", "code: either code, token or password must be there, as a form or as JSON"),
    ("pairing.create", "bad_request", "deviceName: must be there"),
    ("pairing.verify", "bad_request", "code: must be there"),
    ("password.set", "bad_request", "password: must have at least 12 characters"),
    ("admin.tokens.revoke", "bad_request", "tokenId: either tokenId or token must be there"),
    ("admin.users.create", "conflict", "a user of that id exists"),
    ("sessions.list", "bad_request", "q: must be there"),
    ("skills.execute", "not_found", "no such skill"),
    ("actions.preview", "not_found", "no such action"),
    ("actions.execute", "not_found", "no such action"),
    ("actions.undo", "not_found", "no such action"),
    ("approvals.revoke", "not_found", "no such rule"),
];

/// Whose thing an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    Nothing,
    Session,
    Question,
    OwnDevice,
    User,
    Key,
    Device,
    HomeSession,
    HomeQuestion,
    Project,
    Organization,
    /// An open socket.
    Connection,
    /// An application channel that somebody listens to.
    Channel,
}

#[derive(Debug, Clone, Copy)]
pub struct Address {
    pub method: &'static str,
    pub path: &'static str,
    pub operation: &'static str,
    pub thing: Thing,
    /// What it is when it is done.
    pub done: &'static str,
    /// The query's `organization` may name another one.
    pub named: bool,
    pub body: &'static str,
}

pub fn all() -> Vec<Address> {
    ADDRESSES.lines().filter(|line| !line.is_empty()).flat_map(row).collect()
}

fn row(line: &'static str) -> Vec<Address> {
    let (head, body) = line.find(" {\"").or(line.find(" {}")).map_or((line, ""), |at| (&line[..at], &line[at + 1..]));
    let words: Vec<&str> = head.split_whitespace().collect();
    let (methods, path, done, operation, flags) = match words[..] {
        [methods, path, done, operation] => (methods, path, done, operation, "-"),
        [methods, path, done, operation, flags] => (methods, path, done, operation, flags),
        _ => panic!("not a row: {line}"),
    };
    let (thing_word, named) = flags.strip_suffix("+named").map_or((flags, false), |word| (word, true));
    let thing = thing(thing_word);
    let one = |method| Address { method, path, operation, thing, done, named, body };
    methods.split('|').map(one).collect()
}

fn thing(word: &'static str) -> Thing {
    match word {
        "-" => Thing::Nothing,
        "session" => Thing::Session,
        "question" => Thing::Question,
        "own-device" => Thing::OwnDevice,
        "user" => Thing::User,
        "key" => Thing::Key,
        "device" => Thing::Device,
        "home-session" => Thing::HomeSession,
        "home-question" => Thing::HomeQuestion,
        "project" => Thing::Project,
        "organization" => Thing::Organization,
        "connection" => Thing::Connection,
        "channel" => Thing::Channel,
        other => panic!("no such thing: {other}"),
    }
}

impl Thing {
    /// What an answer calls it that knows none.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Session | Self::HomeSession => "session",
            Self::Question | Self::HomeQuestion => "approval",
            Self::OwnDevice | Self::Device => "device",
            Self::User => "user",
            Self::Key => "key",
            Self::Project => "project",
            Self::Organization => "organization",
            Self::Connection => "connection",
            Self::Channel => "channel",
        }
    }

    /// Whose it may be.
    pub fn relations(self) -> &'static [Relation] {
        use Relation::{Foreign, Own, Private, Shared, Unknown};
        match self {
            Self::Nothing => &[Own],
            Self::Session | Self::Question => &[Own, Private, Shared, Foreign, Unknown],
            Self::OwnDevice => &[Own, Private, Foreign, Unknown],
            Self::HomeSession | Self::HomeQuestion => &[Private, Shared, Foreign, Unknown],
            Self::User | Self::Key | Self::Device | Self::Project | Self::Connection | Self::Channel => {
                &[Shared, Foreign, Unknown]
            }
            Self::Organization => &[Foreign, Unknown],
        }
    }

    /// What becomes of it for somebody who may ask; conversations are judged by their own rule.
    pub fn reached(self, relation: Relation) -> Outcome {
        let reached = match self {
            Self::OwnDevice => relation == Relation::Own,
            // The hub's administrators alone come so far.
            Self::Organization => relation != Relation::Unknown,
            _ => !matches!(relation, Relation::Foreign | Relation::Unknown),
        };
        if reached { Outcome::Allowed } else { Outcome::NotFound(self.noun()) }
    }
}

impl Address {
    pub fn reads(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// Whether what was asked for is done with that status.
    pub fn is_done(&self, status: u16) -> bool {
        let status = status.to_string();
        self.done.split('|').any(|done| done == status)
    }

    /// Whether this is an answer of the operation to somebody who may ask.
    pub fn gives(&self, status: u16, code: &str, words: &str) -> bool {
        self.is_done(status) || OTHERWISE.contains(&(self.operation, code, words))
    }
}
