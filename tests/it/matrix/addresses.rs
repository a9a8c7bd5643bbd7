//! Every HTTP address, written down a second time: what is asked there, and whose thing it names.

use super::expected::{Outcome, Relation};

/// Methods · address · operation · whose thing stands in it · a body that is whole, if there is one.
///
/// Things: `-` none; `session` a conversation, `question` one that waits in it; `own-device` of the caller;
/// `user`, `key`, `device` of the organization, for its admins; `home-session`, `home-question` of anybody in the
/// organization, for its admins; `project` of the organization; `organization` of the hub; `nobody's:NOUN`
/// something of which only an unknown one can be named. `+named`: the query's `organization` names another one.
/// `+partial`: the body is not whole, and `bad_request` is the answer to who may ask.
///
/// Addresses are tried from top to bottom: what ends a credential stands at the end.
const ADDRESSES: &str = r#"
GET|HEAD /health                health          -
GET|HEAD /ready                 ready           -
GET     /health/detailed        health.detailed -
GET     /metrics                metrics.here    -
GET     /sign-in                sign_in         -
POST    /sign-in                sign_in         -+partial {}
GET     /api/v1/session         session.get     -
POST    /api/v1/account/password password.set   -+partial {"password":"short"}
GET     /api/openapi.json       describe        -
GET     /api/docs               describe        -
GET     /api/docs/{file:.*}     describe        -
POST    /api/v1/tickets         tickets.create  -  {"route":"/ws"}
POST    /pairing/codes          pairing.create  -+partial {}
POST    /api/v1/pairing/codes   pairing.create  -+partial {}
POST    /pairing/verify         pairing.verify  -+partial {}
POST    /api/v1/pairing/verify  pairing.verify  -+partial {}
GET     /devices                devices.list    -
GET     /api/v1/devices         devices.list    -
PATCH   /devices/{id}           devices.rename  own-device {"name":"matrix"}
PATCH   /api/v1/devices/{id}    devices.rename  own-device {"name":"matrix"}
DELETE  /devices/{id}           devices.revoke  own-device
DELETE  /api/v1/devices/{id}    devices.revoke  own-device

POST    /sessions                           sessions.create -  {"channel":"matrix"}
GET     /sessions/{sessionId}               sessions.get    session
POST    /sessions/{sessionId}/messages      messages.send   session {"content":"x"}
GET     /sessions/{sessionId}/messages      messages.list   session
DELETE  /sessions/{sessionId}               sessions.delete session
GET     /tools                              tools.list      -
GET     /api/v1/projects                    projects.list   -
POST    /api/v1/projects                    projects.create -  {"name":"matrix"}
GET     /api/v1/projects/{projectId}        projects.get    project
GET     /api/v1/sessions                    sessions.list   -
POST    /api/v1/sessions                    sessions.create -  {"title":"matrix"}
GET     /api/v1/sessions/{sessionId}        sessions.get    session
PATCH   /api/v1/sessions/{sessionId}        sessions.update session {"title":"seen"}
POST    /api/v1/sessions/{sessionId}/messages messages.send session {"content":"x"}
GET     /api/v1/sessions/{sessionId}/messages messages.list session
PATCH   /api/v1/sessions/{sessionId}/messages/{messageId} messages.update session {"content":"y"}
POST    /api/v1/sessions/{sessionId}/pause  sessions.pause  session
POST    /api/v1/sessions/{sessionId}/resume sessions.resume session
POST    /api/v1/sessions/{sessionId}/stop   messages.stop   session {}
POST    /api/v1/sessions/{sessionId}/abort  messages.abort  session {}
POST    /api/v1/sessions/{sessionId}/cancel messages.cancel session {}
POST    /api/v1/sessions/{sessionId}/retry  messages.retry  session {}
GET     /api/v1/sessions/{sessionId}/turns/{turnId}        turns.get       session
POST    /api/v1/sessions/{sessionId}/turns/{turnId}/stop   messages.stop   session
POST    /api/v1/sessions/{sessionId}/turns/{turnId}/abort  messages.abort  session
POST    /api/v1/sessions/{sessionId}/turns/{turnId}/cancel messages.cancel session
POST    /api/v1/sessions/{sessionId}/turns/{turnId}/retry  messages.retry  session {}
GET     /api/v1/sessions/{sessionId}/todos     todos.get      session
PUT     /api/v1/sessions/{sessionId}/todos     todos.update   session {"todos":[]}
GET     /api/v1/sessions/{sessionId}/approvals approvals.list session
POST    /api/v1/sessions/{sessionId}/archive   sessions.archive session
DELETE  /api/v1/sessions/{sessionId}           sessions.delete  session
GET     /api/v1/approvals                   approvals.list  -
POST    /api/v1/approvals/{requestId}       tools.approve   question {"approved":true}
GET     /api/v1/agents                      agents.list     -
GET     /api/v1/agents/{agent}              agents.get      -
GET     /api/v1/models                      models.list     -
GET     /api/v1/tools                       tools.list      -
GET     /api/v1/usage                       usage.get       -

GET     /api/v1/admin/organizations         admin.organizations.list    -
POST    /api/v1/admin/organizations         admin.organizations.create  -  {"id":"made"}
PATCH   /api/v1/admin/organizations/{id}    admin.organizations.disable organization {"disabled":false}
GET     /api/v1/admin/users                 admin.users.list    -+named
POST    /api/v1/admin/users                 admin.users.create  -+named {"id":"made"}
PATCH   /api/v1/admin/users/{id}            admin.users.update  user+named {"role":"viewer"}
POST    /api/v1/admin/users/{id}/disable    admin.users.disable user+named
POST    /api/v1/admin/users/{id}/enable     admin.users.disable user+named
GET     /api/v1/admin/keys                  admin.keys.list     -+named
POST    /api/v1/admin/keys                  admin.keys.create   -+named {"name":"matrix","user":"watched"}
DELETE  /api/v1/admin/keys/{id}             admin.keys.revoke   key+named
GET     /api/v1/admin/devices               admin.devices.list  -+named
POST    /api/v1/admin/devices               admin.devices.create -+named {"name":"matrix","user":"watched"}
DELETE  /api/v1/admin/devices/{id}          admin.devices.revoke device+named
POST    /api/v1/admin/tokens/revoke         admin.tokens.revoke -+named+partial {}
GET     /api/v1/admin/audit                 admin.audit         -+named
GET     /config                             config.get      -
GET     /api/v1/config                      config.get      -
PATCH   /config                             config.update   -  {}
PATCH   /api/v1/config                      config.update   -  {}
GET     /api/v1/admin/connections           admin.connections.list  -+named
DELETE  /api/v1/admin/connections/{connectionId} admin.connections.close nobody's:connection+named
GET     /api/v1/admin/channels              admin.channels.list     -+named
GET     /api/v1/admin/channels/{channel}/subscribers admin.channels.get     nobody's:channel+named
GET     /api/v1/admin/channels/{channel}/history     admin.channels.history nobody's:channel+named
POST    /api/v1/admin/publish               admin.publish           -+named {"channel":"app:matrix","event":"seen","data":{}}
POST    /api/v1/admin/broadcast             admin.broadcast         -+named {"message":"matrix"}
POST    /api/v1/admin/broadcast/all         admin.broadcast_all     -  {"message":"matrix"}
GET     /api/v1/admin/sessions              admin.sessions.list     -+named
GET     /api/v1/admin/sessions/{sessionId}/messages admin.sessions.read  home-session+named
POST    /api/v1/admin/sessions/{sessionId}/stop     admin.sessions.stop  home-session+named
POST    /api/v1/admin/sessions/{sessionId}/abort    admin.sessions.abort home-session+named
GET     /api/v1/admin/approvals             admin.approvals.list    -+named
POST    /api/v1/admin/approvals/{requestId} admin.approvals.decide  home-question+named {"approved":true}
GET     /api/v1/admin/usage                 admin.usage             -+named
POST    /api/v1/admin/reload                admin.reload            -

GET|POST /socket.io/           socketio        -+partial

GET|HEAD /                      page
GET|HEAD /page/style.css        page
GET|HEAD /page/icon.svg         page
GET|HEAD /page/app.js           page
GET|HEAD /page/badge.js         page
GET|HEAD /page/composer.js      page
GET|HEAD /page/conversation.js  page
GET|HEAD /page/dom.js           page
GET|HEAD /page/growing.js       page
GET|HEAD /page/link.js          page
GET|HEAD /page/sidebar.js       page
GET|HEAD /page/thread.js        page
GET|HEAD /page/tool.js          page
POST    /sign-out               sign_out        -
"#;

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
    /// Only an unknown one is asked for, by this noun.
    Nobodys(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Address {
    pub method: &'static str,
    pub path: &'static str,
    pub operation: &'static str,
    pub thing: Thing,
    /// The query's `organization` may name another one.
    pub named: bool,
    /// `bad_request` is the answer to who may ask.
    pub partial: bool,
    pub body: &'static str,
}

pub fn all() -> Vec<Address> {
    ADDRESSES.lines().filter(|line| !line.is_empty()).flat_map(row).collect()
}

fn row(line: &'static str) -> Vec<Address> {
    let (head, body) = line.find(" {\"").or(line.find(" {}")).map_or((line, ""), |at| (&line[..at], &line[at + 1..]));
    let words: Vec<&str> = head.split_whitespace().collect();
    let (methods, path, operation, flags) = match words[..] {
        [methods, path, operation] => (methods, path, operation, "-"),
        [methods, path, operation, flags] => (methods, path, operation, flags),
        _ => panic!("not a row: {line}"),
    };
    let mut flags = flags.split('+');
    let thing = thing(flags.next().unwrap_or_default());
    let flags: Vec<&str> = flags.collect();
    let (named, partial) = (flags.contains(&"named"), flags.contains(&"partial"));
    let one = |method| Address { method, path, operation, thing, named, partial, body };
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
        other => Thing::Nobodys(other.strip_prefix("nobody's:").unwrap_or_else(|| panic!("no such thing: {other}"))),
    }
}

impl Thing {
    /// What an answer calls it that knows none.
    pub fn noun(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Session | Self::HomeSession => Some("session"),
            Self::Question | Self::HomeQuestion => Some("approval"),
            Self::OwnDevice | Self::Device => Some("device"),
            Self::User => Some("user"),
            Self::Key => Some("key"),
            Self::Project => Some("project"),
            Self::Organization => Some("organization"),
            Self::Nobodys(noun) => Some(noun),
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
            Self::User | Self::Key | Self::Device | Self::Project => &[Shared, Foreign, Unknown],
            Self::Organization => &[Foreign, Unknown],
            Self::Nobodys(_) => &[Unknown],
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
        if reached { Outcome::Allowed } else { Outcome::NotFound }
    }
}
