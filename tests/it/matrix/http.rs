//! The matrix over HTTP: every address × role × administrator of the hub or not × kind of credential × whose thing.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;
use switchboard::http::table;

use super::addresses::{self, Address, Thing};
use super::expected::{self, Outcome, ROLES, Relation};
use super::subjects::{AGENT_SECRET, ELSEWHERE, Ground, HOME, KINDS, Kind, Subject, Target};
use crate::support::{Answer, Client, Http, run_for};

/// A user of [`HOME`] and one of [`ELSEWHERE`] whom admins change.
const WATCHED: &str = "watched";

#[test]
fn every_address_of_the_table_is_written_down_here() {
    let real: BTreeSet<(String, &str, &str)> =
        table().iter().map(|row| (row.method.to_string(), row.path, row.operation.name())).collect();
    let written: BTreeSet<(String, &str, &str)> =
        addresses::all().iter().map(|row| (row.method.to_owned(), row.path, row.operation)).collect();
    let missing: Vec<_> = real.difference(&written).collect();
    let too_many: Vec<_> = written.difference(&real).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "not here: {missing:#?}\nnot there: {too_many:#?}");
}

#[test]
fn case_24_and_25_every_address_at_the_root_by_every_role_credential_and_relation() {
    walk(|row| !row.path.starts_with("/api/v1/"));
}

#[test]
fn case_24_and_25_every_address_of_the_api_by_every_role_credential_and_relation() {
    walk(|row| row.path.starts_with("/api/v1/") && !row.path.starts_with("/api/v1/admin/"));
}

#[test]
fn case_74_every_admin_route_by_every_role_credential_and_relation() {
    walk(|row| row.path.starts_with("/api/v1/admin/"));
}

fn walk(which: impl Fn(&Address) -> bool) {
    run_for(300, async {
        let mut grounds = Grounds::new().await;
        let rows: Vec<Address> = addresses::all().into_iter().filter(which).collect();
        assert!(!rows.is_empty());
        let mut wrong = Vec::new();
        for (role, hub_admin) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
            for way in KINDS.into_iter().map(Way::Shown).chain([Way::Ticket]) {
                let asker = grounds.asker(role, hub_admin, way).await;
                grounds.try_all(&asker, &rows, &mut wrong).await;
            }
        }
        for way in [Way::Nothing, Way::Host] {
            let nobody = Asker { role: ROLES[0], hub_admin: false, way, subject: None };
            grounds.try_all(&nobody, &rows, &mut wrong).await;
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
}

/// How a credential comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Shown(Kind),
    /// In the address; made for each request.
    Ticket,
    /// By a token of a host, which claims all that a user's could.
    Host,
    Nothing,
}

struct Asker {
    role: &'static str,
    hub_admin: bool,
    way: Way,
    subject: Option<Subject>,
}

impl Asker {
    fn is_device(&self) -> bool {
        self.way == Way::Shown(Kind::Device)
    }

    /// What must become of it. `named`: whether the query names the organization whose thing it is.
    fn wanted(&self, row: &Address, relation: Relation, named: bool) -> Outcome {
        let rule = expected::of(row.operation);
        let reads = matches!(row.method, "GET" | "HEAD");
        match self.way {
            _ if rule.least == "anyone" => return Outcome::Allowed,
            Way::Nothing | Way::Host => return Outcome::Unauthorized,
            // What stands in an address may look and no more.
            Way::Ticket if !reads => return Outcome::Unauthorized,
            _ => {}
        }
        if rule.person && self.way == Way::Shown(Kind::ApiKey) {
            return Outcome::Forbidden;
        }
        if !rule.lets_in(self.role, self.hub_admin, self.is_device()) {
            return Outcome::Forbidden;
        }
        match row.thing {
            _ if named && relation == Relation::Foreign && self.hub_admin => Outcome::Allowed,
            _ if named => Outcome::NotFound,
            Thing::Session | Thing::Question => rule.on_session(self.role, self.is_device(), relation),
            thing => thing.reached(relation),
        }
    }
}

/// A hub with something of everybody to ask for.
struct Grounds {
    ground: Ground,
    anonymous: Http,
    /// Projects of both organizations.
    projects: [String; 2],
    /// What there is to ask for, until somebody has used it up.
    things: HashMap<(Thing, Relation), Found>,
    /// Sockets opened so far for somebody to close.
    sockets: usize,
}

/// A thing's own id, and the conversation where it is one.
#[derive(Clone)]
struct Found {
    id: String,
    target: Target,
}

fn of_id(id: impl ToString) -> Found {
    Found { id: id.to_string(), target: Target::nobodys() }
}

impl Grounds {
    async fn new() -> Self {
        let mut ground = Ground::new().await;
        ground.paused = false;
        let mut projects = Vec::new();
        for organization in [HOME, ELSEWHERE] {
            ground.identity.user(WATCHED, organization, "viewer").await;
            let token = ground.hub.token("founder", organization, "member");
            let mut founder = Client::connect(&ground.hub.address, &token).await;
            let project = founder.call("projects.create", json!({"name": "matrix"})).await;
            projects.push(project["id"].as_str().expect("an id").to_owned());
        }
        let anonymous = Http::anonymous(&ground.hub.address);
        let projects = projects.try_into().expect("two of them");
        Self { ground, anonymous, projects, things: HashMap::new(), sockets: 0 }
    }

    async fn asker(&mut self, role: &'static str, hub_admin: bool, way: Way) -> Asker {
        // Of the one before.
        self.things.retain(|(_, relation), _| *relation != Relation::Own);
        let kind = if let Way::Shown(kind) = way { kind } else { Kind::Jwt };
        let user = format!("{role}-{way:?}-{hub_admin}").replace(['(', ')'], "-").to_lowercase();
        let subject = self.ground.known(user, role, kind).await;
        if hub_admin {
            self.ground.identity.hub_admin(&subject.user, HOME).await;
        }
        Asker { role, hub_admin, way, subject: Some(subject) }
    }

    async fn try_all(&mut self, asker: &Asker, rows: &[Address], wrong: &mut Vec<String>) {
        for row in rows {
            let mut unknown = None;
            let mut foreign = None;
            for relation in row.thing.relations() {
                let answer = self.judge(asker, row, *relation, None, wrong).await;
                match relation {
                    Relation::Foreign => foreign = Some(answer),
                    Relation::Unknown => unknown = Some(answer),
                    _ => {}
                }
            }
            alike(asker, row, foreign, unknown, wrong);
            if row.named {
                let foreign = self.judge(asker, row, Relation::Foreign, Some(ELSEWHERE), wrong).await;
                let unknown = self.judge(asker, row, Relation::Unknown, Some("nowhere"), wrong).await;
                let alike_wanted = !asker.hub_admin;
                alike(asker, row, alike_wanted.then_some(foreign), Some(unknown), wrong);
            }
        }
    }

    async fn judge(
        &mut self,
        asker: &Asker,
        row: &Address,
        relation: Relation,
        organization: Option<&str>,
        wrong: &mut Vec<String>,
    ) -> Answer {
        let found = self.thing(asker, row.thing, relation).await;
        let answer = self.ask(asker, row, &found, organization).await;
        let outcome = outcome(row, organization.is_some(), &answer);
        let wanted = asker.wanted(row, relation, organization.is_some());
        if outcome != Ok(wanted) {
            let Asker { role, hub_admin, way, .. } = asker;
            let Address { method, path, .. } = row;
            let (status, body) = (answer.status, String::from_utf8_lossy(&answer.body));
            let named = organization.map_or_else(String::new, |name| format!("?organization={name}"));
            let who = format!("{role} by {way:?}{}", if *hub_admin { ", administrator of the hub" } else { "" });
            wrong.push(format!(
                "{method} {path}{named} ({relation:?}) as {who}: {outcome:?}, not {wanted:?}: {status} {body:.300}"
            ));
        }
        if outcome == Ok(Outcome::Allowed) && (row.method == "DELETE" || row.operation == "tools.approve") {
            self.things.remove(&(row.thing, relation));
        }
        answer
    }

    async fn ask(&self, asker: &Asker, row: &Address, found: &Found, organization: Option<&str>) -> Answer {
        let path = filled(row.path, found, &self.projects[0]);
        let mut query: Vec<String> = organization.map(|name| format!("organization={name}")).into_iter().collect();
        let mut headers = Vec::new();
        if asker.way == Way::Host {
            headers.push(("Authorization", format!("Bearer {}", host_token())));
        }
        if let Some(subject) = &asker.subject {
            let shown = subject.headers(&self.ground.hub.address);
            match asker.way {
                Way::Ticket if expected::of(row.operation).least != "anyone" => {
                    let shown: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let wish = json!({"route": path}).to_string();
                    let made = self.anonymous.send("POST", "/api/v1/tickets", &shown, wish.as_bytes()).await;
                    let ticket = made.json()["ticket"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned();
                    query.push(format!("ticket={ticket}"));
                }
                Way::Ticket => {}
                _ => headers = shown,
            }
        }
        let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.anonymous.send(row.method, &path, &headers, row.body.as_bytes()).await
    }

    /// What there is to ask for; made where it is not there, or not there any more.
    async fn thing(&mut self, asker: &Asker, thing: Thing, relation: Relation) -> Found {
        let key = (thing, relation);
        if let Some(found) = self.things.get(&key) {
            return found.clone();
        }
        let found = self.made(asker, thing, relation).await;
        self.things.insert(key, found.clone());
        found
    }

    async fn made(&mut self, asker: &Asker, thing: Thing, relation: Relation) -> Found {
        let (organization, owner) = match relation {
            Relation::Foreign => (ELSEWHERE, "stranger"),
            _ => (HOME, "neighbour"),
        };
        let target = Target::nobodys();
        let identity = &self.ground.identity;
        match (thing, relation) {
            (Thing::Organization, Relation::Foreign) => of_id(ELSEWHERE),
            (Thing::Organization, _) => of_id("nowhere"),
            (Thing::User, Relation::Unknown) => of_id("nobody"),
            (Thing::User, Relation::Foreign) => {
                // Of a name that nobody has at home.
                identity.user("elsewhere", ELSEWHERE, "viewer").await;
                of_id("elsewhere")
            }
            (Thing::User, _) => of_id(WATCHED),
            (Thing::Key, Relation::Unknown) => of_id(target.session.replace("sess_", "key_")),
            (Thing::Key, _) => of_id(identity.key(owner, organization).await.1),
            (Thing::Device | Thing::OwnDevice, Relation::Unknown) => of_id(target.session.replace("sess_", "dev_")),
            (Thing::OwnDevice, Relation::Own) => match &asker.subject {
                Some(subject) => of_id(identity.device(&subject.user, HOME).await.1),
                None => of_id(identity.device(owner, HOME).await.1),
            },
            (Thing::Device | Thing::OwnDevice, _) => of_id(identity.device(owner, organization).await.1),
            (Thing::Project, Relation::Unknown) => of_id(target.session.replace("sess_", "prj_")),
            (Thing::Project, Relation::Foreign) => of_id(&self.projects[1]),
            (Thing::Project, _) => of_id(&self.projects[0]),
            (Thing::Session | Thing::HomeSession, _) => self.conversation(asker, relation, false).await,
            (Thing::Question | Thing::HomeQuestion, _) => self.conversation(asker, relation, true).await,
            (Thing::Connection, Relation::Unknown) => of_id(target.session.replace("sess_", "conn_")),
            (Thing::Connection, _) => self.connection(organization).await,
            (Thing::Channel, Relation::Unknown) => of_id("app:nobodys"),
            (Thing::Channel, _) => of_id(self.channel(organization).await),
            (Thing::Nothing, _) => of_id(target.session),
        }
    }

    /// A socket of a user who has no other one; it stays open until somebody closes it.
    async fn connection(&mut self, organization: &str) -> Found {
        self.sockets += 1;
        let user = format!("socket-{}", self.sockets);
        let hub = &self.ground.hub;
        listen(Client::connect(&hub.address, &hub.token(&user, organization, "viewer")).await);
        let keeper = Http::new(&hub.address, &hub.token("keeper", organization, "admin"));
        let list = keeper.ok("GET", &format!("/api/v1/admin/connections?user={user}"), serde_json::Value::Null).await;
        of_id(list["items"][0]["id"].as_str().unwrap_or_else(|| panic!("it is listed: {list}")))
    }

    /// A channel of that organization that somebody listens to.
    async fn channel(&self, organization: &str) -> String {
        let channel = format!("app:{organization}");
        let token = self.ground.hub.token("listener", organization, "viewer");
        let mut client = Client::connect(&self.ground.hub.address, &token).await;
        client.subscribe(&channel, None).await;
        listen(client);
        channel
    }

    async fn conversation(&mut self, asker: &Asker, relation: Relation, with_question: bool) -> Found {
        let target = match (&asker.subject, relation) {
            (Some(subject), Relation::Own) => {
                // A viewer had more when it was made.
                let (identity, viewer) = (&self.ground.identity, asker.role == "viewer");
                if viewer {
                    identity.role(&subject.user, HOME, "member").await;
                }
                let target = self.ground.own(subject, with_question).await;
                if viewer {
                    identity.role(&subject.user, HOME, "viewer").await;
                }
                target
            }
            (None, Relation::Own) => Target::nobodys(),
            _ => self.ground.others(relation, with_question).await,
        };
        Found { id: target.session.clone(), target }
    }
}

/// Signed with the secret of the hosts.
fn host_token() -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let claims = json!({"sub": "host-1", "hostId": "host-1", "org": HOME, "organizationId": HOME, "role": "owner",
        "hubAdmin": true, "exp": crate::handshake::now() + 3600});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(AGENT_SECRET.as_bytes())).expect("a token")
}

/// Keeps a socket open: it takes what it is sent, pings as well.
fn listen(mut client: Client) {
    tokio::task::spawn_local(async move { while client.read_on().await.is_some() {} });
}

/// The address with what it names.
fn filled(path: &str, found: &Found, project: &str) -> String {
    let mut filled = String::new();
    for step in path.split('/').skip(1) {
        let name = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
        let value = match name.map(|name| name.split(':').next().unwrap_or_default()) {
            None => step,
            Some("sessionId") => &found.target.session,
            Some("messageId") => &found.target.message,
            Some("turnId") => &found.target.turn,
            Some("requestId") => &found.target.request,
            Some("projectId") if found.id.starts_with("prj_") => &found.id,
            Some("projectId") => project,
            Some("agent") => "assistant",
            Some("file") => "index.html",
            Some(_) => &found.id,
        };
        filled = format!("{filled}/{value}");
    }
    filled
}

/// Operation, code and words of refusals that are not about who asks. Whoever may ask is answered else.
const ALL_THE_SAME: &[(&str, &str, &str)] = &[
    ("messages.stop", "conflict", "no turn is running"),
    ("messages.abort", "conflict", "no turn is running"),
    ("admin.sessions.stop", "conflict", "no turn is running"),
    ("admin.sessions.abort", "conflict", "no turn is running"),
    ("admin.organizations.create", "conflict", "an organization of that id exists"),
    ("admin.users.create", "conflict", "a user of that id exists"),
    ("messages.cancel", "conflict", "no turn runs or waits"),
];

fn is_all_the_same(row: &Address, answer: &Answer) -> bool {
    let body = answer.json();
    let words = body["error"]["message"].as_str().or(body["error"].as_str()).unwrap_or_default();
    ALL_THE_SAME.contains(&(row.operation, answer.code().as_str(), words))
}

/// What became of it, or why that cannot be told.
fn outcome(row: &Address, named: bool, answer: &Answer) -> Result<Outcome, &'static str> {
    let body = String::from_utf8_lossy(&answer.body).to_lowercase();
    match answer.status {
        401 => Ok(Outcome::Unauthorized),
        403 => Ok(Outcome::Forbidden),
        404 if body.contains("address") => Err("no such address"),
        404 if named && body.contains("organization") => Ok(Outcome::NotFound),
        404 if row.thing.noun().is_some_and(|noun| body.contains(noun)) => Ok(Outcome::NotFound),
        // Not because of who asks.
        404 | 409 if is_all_the_same(row, answer) => Ok(Outcome::Allowed),
        400 if row.partial => Ok(Outcome::Allowed),
        200..400 => Ok(Outcome::Allowed),
        _ => Err("the probe is malformed"),
    }
}

/// Another organization's thing and none at all are told in the same words.
fn alike(asker: &Asker, row: &Address, foreign: Option<Answer>, unknown: Option<Answer>, wrong: &mut Vec<String>) {
    let (Some(foreign), Some(unknown)) = (foreign, unknown) else { return };
    if row.thing == Thing::Organization && foreign.status < 300 {
        return;
    }
    let read = |answer: &Answer| (answer.status, (!answer.body.is_empty()).then(|| answer.without_id()));
    if read(&foreign) != read(&unknown) {
        let Address { method, path, .. } = row;
        wrong.push(format!("{method} {path} as {} tells what is elsewhere: {foreign:?} {unknown:?}", asker.role));
    }
}
