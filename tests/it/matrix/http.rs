//! The matrix over HTTP: every address × role × administrator of the hub or not × kind of credential × whose thing.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use serde_json::{Value, json};
use switchboard::http::table;

use super::addresses::{self, Address, Thing};
use super::expected::{self, Outcome, ROLES, Relation};
use super::subjects::{ELSEWHERE, Found, Ground, HOME, KINDS, Kind, Subject, Target, dealt, host_token, listen};
use crate::support::{Answer, Client, Http, Kept, run_for};

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

const SESSIONS: &str = "/api/v1/sessions/";

#[test]
fn case_24_and_25_every_address_of_a_session_by_every_role_credential_and_relation() {
    walk(|row| row.path.starts_with(SESSIONS));
}

#[test]
fn case_24_and_25_every_address_of_the_api_by_every_role_credential_and_relation() {
    let others = ["/api/v1/admin/", SESSIONS];
    walk(|row| row.path.starts_with("/api/v1/") && !others.iter().any(|other| row.path.starts_with(other)));
}

#[test]
fn case_74_every_admin_route_by_every_role_credential_and_relation() {
    walk(|row| row.path.starts_with("/api/v1/admin/"));
}

fn walk(which: impl Fn(&Address) -> bool) {
    run_for(300, async {
        let ground = Ground::new(false).await;
        let rows: Vec<Address> = addresses::all().into_iter().filter(which).collect();
        assert!(!rows.is_empty());
        let (ground, rows) = (&ground, &rows);
        let known = ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]);
        let ways = KINDS.map(Way::Shown).into_iter().chain([Way::Ticket]);
        let known = known.flat_map(|(role, hub_admin)| ways.clone().map(move |way| (role, hub_admin, way)));
        let unknown = [Way::Nothing, Way::Host].map(|way| (ROLES[0], false, way));
        let lanes = dealt(known.chain(unknown)).into_iter().enumerate().map(|(number, askers)| async move {
            let mut lane = Lane::new(ground, number).await;
            for (role, hub_admin, way) in askers {
                let asker = lane.asker(role, hub_admin, way, rows).await;
                lane.try_all(&asker, rows).await;
            }
            lane.found
        });
        Found::settle(join_all(lanes).await);
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
    fn kind(&self) -> Kind {
        if let Way::Shown(kind) = self.way { kind } else { Kind::Jwt }
    }

    /// What must become of it. `named`: whether the query names the organization whose thing it is.
    fn wanted(&self, row: &Address, relation: Relation, named: bool) -> Outcome {
        let rule = expected::of(row.operation);
        match self.way {
            _ if rule.least == "anyone" => return Outcome::Allowed,
            Way::Nothing => return Outcome::Unauthorized("a valid credential is required"),
            Way::Host => return Outcome::Unauthorized("the token's signature is not valid here"),
            Way::Ticket if !row.reads() => return Outcome::Unauthorized("a ticket only reads"),
            _ => {}
        }
        if let Some(words) = rule.shuts_out(self.role, self.hub_admin, self.kind()) {
            return Outcome::Forbidden(words);
        }
        match row.thing {
            _ if named && relation == Relation::Foreign && self.hub_admin => Outcome::Allowed,
            _ if named => Outcome::NotFound("organization"),
            Thing::Session | Thing::Question => rule.on_session(self.role, self.kind(), relation),
            thing => thing.reached(relation),
        }
    }

    /// Whether it may be told what there is in another organization.
    fn sees_all(&self, row: &Address, organization: Option<&str>) -> bool {
        let rule = expected::of(row.operation);
        self.hub_admin && (rule.whose == "hub" || organization.is_some())
    }
}

/// What is asked for by one after the other, with things of its own and a connection of its own.
struct Lane<'g> {
    ground: &'g Ground,
    number: usize,
    http: Kept,
    /// What there is to ask for, until somebody has used it up.
    things: HashMap<(Thing, Relation), One>,
    /// Sockets opened so far for somebody to close.
    sockets: usize,
    found: Found,
}

/// A thing's own id, and the conversation where it is one.
#[derive(Clone)]
struct One {
    id: String,
    target: Target,
}

fn of_id(id: impl ToString) -> One {
    One { id: id.to_string(), target: Target::nobodys() }
}

fn of_target(target: Target) -> One {
    One { id: target.session.clone(), target }
}

impl<'g> Lane<'g> {
    async fn new(ground: &'g Ground, number: usize) -> Self {
        let http = Http::anonymous(&ground.hub.address).kept();
        let lane = Self { ground, number, http, things: HashMap::new(), sockets: 0, found: Found::default() };
        for organization in [HOME, ELSEWHERE] {
            ground.identity.user(&lane.watched(), organization, "viewer").await;
        }
        // Of a name that nobody has at home.
        ground.identity.user(&lane.elsewhere(), ELSEWHERE, "viewer").await;
        lane
    }

    /// A user of both organizations whom admins change.
    fn watched(&self) -> String {
        format!("watched-{}", self.number)
    }

    fn elsewhere(&self) -> String {
        format!("elsewhere-{}", self.number)
    }

    /// Somebody to ask for these; who may make no conversation is given one of each kind that is asked for.
    async fn asker(&mut self, role: &'static str, hub_admin: bool, way: Way, rows: &[Address]) -> Asker {
        // Of the one before; and what was said in a conversation shall not grow without end.
        self.things.retain(|(thing, relation), _| {
            *relation != Relation::Own && (*thing, *relation) != (Thing::Session, Relation::Shared)
        });
        let mut asker = Asker { role, hub_admin, way, subject: None };
        if matches!(way, Way::Nothing | Way::Host) {
            return asker;
        }
        let user = format!("{role}-{way:?}-{hub_admin}").replace(['(', ')'], "-").to_lowercase();
        let own = [(Thing::Session, false), (Thing::Question, true)];
        let own = own.into_iter().filter(|(thing, _)| role == "viewer" && rows.iter().any(|row| row.thing == *thing));
        let (things, with_question): (Vec<Thing>, Vec<bool>) = own.unzip();
        let (subject, owned) = self.ground.subject(user, role, asker.kind(), &with_question).await;
        if hub_admin {
            self.ground.identity.hub_admin(&subject.user, HOME).await;
        }
        let owned = things.into_iter().map(|thing| (thing, Relation::Own)).zip(owned.into_iter().map(of_target));
        self.things.extend(owned);
        asker.subject = Some(subject);
        asker
    }

    async fn try_all(&mut self, asker: &Asker, rows: &[Address]) {
        for row in rows {
            let mut told = HashMap::new();
            for relation in row.thing.relations() {
                told.insert(*relation, self.judge(asker, row, *relation, None).await);
            }
            if !(row.thing == Thing::Organization && asker.hub_admin) {
                self.alike(asker, row, told.remove(&Relation::Foreign), told.remove(&Relation::Unknown));
            }
            if row.named {
                let foreign = self.judge(asker, row, Relation::Foreign, Some(ELSEWHERE)).await;
                let unknown = self.judge(asker, row, Relation::Unknown, Some("nowhere")).await;
                self.alike(asker, row, (!asker.hub_admin).then_some(foreign), Some(unknown));
            }
        }
    }

    async fn judge(&mut self, asker: &Asker, row: &Address, relation: Relation, organization: Option<&str>) -> Answer {
        let one = self.thing(asker, row.thing, relation).await;
        let answer = self.ask(asker, row, &one, organization).await;
        let wanted = asker.wanted(row, relation, organization.is_some());
        let fits = fits(row, wanted, &answer);
        let tells = (answer.status < 300 && !asker.sees_all(row, organization)).then(|| self.tells(row, &answer));
        self.found.cells += 1;
        if !fits || tells == Some(true) {
            let Asker { role, hub_admin, way, .. } = asker;
            let Address { method, path, .. } = row;
            let (status, body) = (answer.status, String::from_utf8_lossy(&answer.body));
            let named = organization.map_or_else(String::new, |name| format!("?organization={name}"));
            let who = format!("{role} by {way:?}{}", if *hub_admin { ", administrator of the hub" } else { "" });
            let what = if fits { "tells of others".to_owned() } else { format!("not {wanted:?}") };
            self.found
                .wrong
                .push(format!("{method} {path}{named} ({relation:?}) as {who}: {what}: {status} {body:.300}"));
        }
        if answer.status < 300 && (row.method == "DELETE" || row.operation == "tools.approve") {
            self.things.remove(&(row.thing, relation));
        }
        answer
    }

    /// Whether an answer holds what is another organization's, or another user's private session.
    fn tells(&self, row: &Address, answer: &Answer) -> bool {
        let body = String::from_utf8_lossy(&answer.body);
        let private = self.things.get(&(Thing::Session, Relation::Private)).map(|one| one.id.as_str());
        let private = private.filter(|_| matches!(row.operation, "sessions.list" | "approvals.list"));
        [ELSEWHERE, r#""stranger""#].into_iter().chain(private).any(|secret| body.contains(secret))
    }

    async fn ask(&mut self, asker: &Asker, row: &Address, one: &One, organization: Option<&str>) -> Answer {
        let path = filled(row.path, one, &self.ground.projects[0]);
        let mut query: Vec<String> = organization.map(|name| format!("organization={name}")).into_iter().collect();
        let mut headers = Vec::new();
        if asker.way == Way::Host {
            headers.push(("Authorization", format!("Bearer {}", host_token())));
        }
        if let Some(subject) = &asker.subject {
            let shown = subject.headers(&self.ground.hub.address);
            match asker.way {
                Way::Ticket if expected::of(row.operation).least != "anyone" => {
                    let wish = json!({"route": path}).to_string();
                    let made = self.http.send("POST", "/api/v1/tickets", &borrowed(&shown), wish.as_bytes()).await;
                    let ticket = made.json()["ticket"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned();
                    query.push(format!("ticket={ticket}"));
                }
                Way::Ticket => {}
                _ => headers = shown,
            }
        }
        let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        let body = row.body.replace("{watched}", &self.watched());
        self.http.send(row.method, &path, &borrowed(&headers), body.as_bytes()).await
    }

    /// What there is to ask for; made where it is not there, or not there any more.
    async fn thing(&mut self, asker: &Asker, thing: Thing, relation: Relation) -> One {
        let key = (thing, relation);
        if let Some(one) = self.things.get(&key) {
            return one.clone();
        }
        let one = self.made(asker, thing, relation).await;
        self.things.insert(key, one.clone());
        one
    }

    async fn made(&mut self, asker: &Asker, thing: Thing, relation: Relation) -> One {
        let (organization, owner) = match relation {
            Relation::Foreign => (ELSEWHERE, "stranger"),
            _ => (HOME, "neighbour"),
        };
        let nobodys = |prefix: &str| of_id(Target::nobodys().session.replace("sess_", prefix));
        let ground = self.ground;
        match (thing, relation) {
            (Thing::Organization, Relation::Foreign) => of_id(ELSEWHERE),
            (Thing::Organization, _) => of_id("nowhere"),
            (Thing::User, Relation::Unknown) => of_id("nobody"),
            (Thing::User, Relation::Foreign) => of_id(self.elsewhere()),
            (Thing::User, _) => of_id(self.watched()),
            (Thing::Key, Relation::Unknown) => nobodys("key_"),
            (Thing::Key, _) => of_id(ground.identity.key(owner, organization).await.1),
            (Thing::Device | Thing::OwnDevice, Relation::Unknown) => nobodys("dev_"),
            (Thing::OwnDevice, Relation::Own) => {
                let user = asker.subject.as_ref().map_or(owner, |subject| &subject.user);
                of_id(ground.identity.device(user, HOME).await.1)
            }
            (Thing::Device | Thing::OwnDevice, _) => of_id(ground.identity.device(owner, organization).await.1),
            (Thing::Project, Relation::Unknown) => nobodys("prj_"),
            (Thing::Project, Relation::Foreign) => of_id(&ground.projects[1]),
            (Thing::Project, _) => of_id(&ground.projects[0]),
            (Thing::Session | Thing::HomeSession, _) => self.conversation(asker, relation, false).await,
            (Thing::Question | Thing::HomeQuestion, _) => self.conversation(asker, relation, true).await,
            (Thing::Connection, Relation::Unknown) => nobodys("conn_"),
            (Thing::Connection, _) => self.connection(organization).await,
            (Thing::Channel, Relation::Unknown) => of_id("app:nobodys"),
            (Thing::Channel, _) => of_id(self.channel(organization).await),
            (Thing::Nothing, _) => nobodys("none_"),
        }
    }

    /// A socket of a user who has no other one; it stays open until somebody closes it.
    async fn connection(&mut self, organization: &str) -> One {
        self.sockets += 1;
        let user = format!("socket-{}-{}", self.number, self.sockets);
        let ground = self.ground;
        let address = &ground.hub.address;
        listen(Client::connect(address, &ground.key(&user, organization, "viewer").await).await);
        let keeper = Http::new(address, &ground.key("keeper", organization, "admin").await);
        let list = keeper.ok("GET", &format!("/api/v1/admin/connections?user={user}"), Value::Null).await;
        of_id(list["items"][0]["id"].as_str().unwrap_or_else(|| panic!("it is listed: {list}")))
    }

    /// A channel of that organization alone that somebody listens to.
    async fn channel(&self, organization: &str) -> String {
        let channel = if organization == HOME { "app:here" } else { "app:there" };
        let key = self.ground.key("listener", organization, "viewer").await;
        let mut client = Client::connect(&self.ground.hub.address, &key).await;
        client.subscribe(channel, None).await;
        listen(client);
        channel.to_owned()
    }

    async fn conversation(&self, asker: &Asker, relation: Relation, with_question: bool) -> One {
        of_target(match (&asker.subject, relation) {
            (Some(subject), Relation::Own) => self.ground.own(subject, with_question).await,
            _ => self.ground.others(relation, with_question).await,
        })
    }

    /// Another organization's thing and none at all are told in the same bytes.
    fn alike(&mut self, asker: &Asker, row: &Address, foreign: Option<Answer>, unknown: Option<Answer>) {
        let (Some(foreign), Some(unknown)) = (foreign, unknown) else { return };
        if foreign.apart_from_id() != unknown.apart_from_id() {
            let (Address { method, path, .. }, Asker { role, way, .. }) = (row, asker);
            self.found
                .wrong
                .push(format!("{method} {path} as {role} by {way:?} tells what is elsewhere: {foreign:?} {unknown:?}"));
        }
    }
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The address with what it names.
fn filled(path: &str, one: &One, project: &str) -> String {
    let mut filled = String::new();
    for step in path.split('/').skip(1) {
        let name = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
        let value = match name.map(|name| name.split(':').next().unwrap_or_default()) {
            None => step,
            Some("sessionId") => &one.target.session,
            Some("messageId") => &one.target.message,
            Some("turnId") => &one.target.turn,
            Some("requestId") => &one.target.request,
            Some("projectId") if one.id.starts_with("prj_") => &one.id,
            Some("projectId") => project,
            Some("agent") => "assistant",
            Some("file") => "index.html",
            Some(_) => &one.id,
        };
        filled = format!("{filled}/{value}");
    }
    filled
}

/// The gateway's own addresses: their errors have a form of their own.
fn is_gateway(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    matches!(first, "sessions" | "tools" | "config" | "pairing" | "devices") || path == "/health/detailed"
}

/// Whether this is an answer that the operation gives where it is allowed, or exactly the refusal that is wanted.
fn fits(row: &Address, wanted: Outcome, answer: &Answer) -> bool {
    let (status, code, noun, words) = match wanted {
        Outcome::Allowed if answer.status < 400 || row.is_done(answer.status) => {
            return row.gives(answer.status, "", "");
        }
        Outcome::Allowed => {
            let body = answer.json();
            let words = body["error"]["message"].as_str().or(body["error"].as_str()).unwrap_or_default();
            return row.gives(answer.status, &answer.code(), words);
        }
        Outcome::Unauthorized(words) => (401, "unauthorized", "", words),
        Outcome::Forbidden(_) if is_gateway(row.path) => (403, "forbidden", "", "Forbidden"),
        Outcome::Forbidden(words) => (403, "forbidden", "", words),
        Outcome::NotFound(noun) => (404, "not_found", noun, ""),
    };
    let id = answer.header("x-request-id");
    let body = match is_gateway(row.path) {
        true if noun.is_empty() => json!({"error": words, "code": code, "requestId": id}),
        true => {
            let noun = format!("{}{} not found", noun[..1].to_uppercase(), &noun[1..]);
            json!({"error": noun, "code": code, "requestId": id})
        }
        false if noun.is_empty() => json!({"error": {"code": code, "message": words, "requestId": id}}),
        false => json!({"error": {"code": code, "message": format!("no such {noun}"), "requestId": id}}),
    };
    answer.status == status && id.is_some() && answer.json() == body
}
