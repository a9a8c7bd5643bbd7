//! The matrix over `/ws`: methods and channels.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use protocol::frames::{ApprovalResponse, ClientFrame, FlatMessage};
use serde_json::{Value, json};
use switchboard::domain::channel::ChannelKind;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::expected::{self, Expected, Outcome, RELATIONS, ROLES, Relation};
use super::subjects::{ELSEWHERE, Found, Ground, HOME, KINDS, Kind, Subject, Target, dealt, host_token, listen};
use crate::support::{Client, Http, run_for};

/// How a socket comes to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Shown,
    ByTicket,
    /// By somebody who administers the whole hub besides.
    ByHubAdmin,
}

/// Every role by every credential; a ticket for a socket is all that its maker is.
fn askers() -> impl Iterator<Item = (&'static str, Kind, Opened)> {
    let shown = KINDS.map(|kind| (kind, Opened::Shown)).into_iter();
    let ways = shown.chain([(Kind::Jwt, Opened::ByTicket), (Kind::Jwt, Opened::ByHubAdmin)]);
    ROLES.into_iter().flat_map(move |role| ways.clone().map(move |(kind, opened)| (role, kind, opened)))
}

/// A call of the method that is whole: what is wrong with it can only be who asks.
fn params(method: &str, target: &Target, subject: &Subject) -> Value {
    let Target { session, message, request, call, .. } = target;
    match method {
        "projects.create" => json!({"name": "matrix"}),
        "sessions.create" => json!({"title": "matrix"}),
        "agents.get" => json!({"agent": "assistant"}),
        "usage.get" => json!({"period": "day"}),
        "projects.list" | "sessions.list" | "agents.list" | "tools.list" | "models.list" | "commands.list" => json!({}),
        "commands.execute" => json!({"sessionId": session, "command": "/status"}),
        "skills.execute" => json!({"skillId": "nothing"}),
        "actions.preview" | "actions.execute" | "actions.undo" => json!({"actionId": "nothing"}),
        "skills.list" | "actions.list" => json!({}),
        "sessions.update" => json!({"sessionId": session, "title": "seen"}),
        "messages.send" => json!({"sessionId": session, "content": "x"}),
        "messages.update" => json!({"sessionId": session, "messageId": message, "content": "y"}),
        "messages.list" | "approvals.list" | "todos.get" => json!({"sessionId": session}),
        "todos.update" => json!({"sessionId": session, "todos": [{"id": "1", "content": "x", "state": "pending"}]}),
        "tools.approve" => json!({"requestId": request}),
        "tools.reject" => json!({"toolCallId": call}),
        "channels.presence" | "channels.history" => json!({"channel": format!("user:{}", subject.user)}),
        "approvals.revoke" => json!({"ruleId": "rule_01930000000070008000000000000000"}),
        _ => json!({"sessionId": session}),
    }
}

/// Method, code and words where the conversations of this walk leave nothing to do: their turn waits. Whoever may ask
/// is answered just that.
const NOTHING_TO_DO: [(&str, &str, &str); 8] = [
    ("messages.stop", "conflict", "no turn is running"),
    ("messages.abort", "conflict", "no turn is running"),
    ("messages.retry", "busy", "a turn is running"),
    ("skills.execute", "not_found", "no such skill"),
    ("actions.preview", "not_found", "no such action"),
    ("actions.execute", "not_found", "no such action"),
    ("actions.undo", "not_found", "no such action"),
    ("approvals.revoke", "not_found", "no such rule"),
];

/// Whether a response is exactly what is wanted.
fn fits(method: &str, wanted: Outcome, response: &Value) -> bool {
    let (code, words) = match wanted {
        Outcome::Allowed => match NOTHING_TO_DO.iter().find(|row| row.0 == method) {
            None => return response["result"].is_object() && response["error"].is_null(),
            Some((_, code, words)) => (*code, (*words).to_owned()),
        },
        Outcome::Forbidden(words) => ("forbidden", words.to_owned()),
        Outcome::NotFound(noun) => ("not_found", format!("no such {noun}")),
        Outcome::Unauthorized(words) => ("unauthorized", words.to_owned()),
    };
    response["result"].is_null() && response["error"] == json!({"code": code, "message": words})
}

/// Whether what the method concerns is different when it has been done.
fn uses_up(method: &str) -> bool {
    let ends = ["sessions.archive", "sessions.delete", "sessions.resume", "messages.cancel"];
    ends.contains(&method) || asks_a_human(method)
}

fn asks_a_human(method: &str) -> bool {
    matches!(method, "tools.approve" | "tools.reject")
}

/// Methods on conversations, and all others but `projects.get`.
fn methods() -> (Vec<Expected>, Vec<Expected>) {
    let all = protocol::methods::METHODS.iter().map(|method| expected::of(method.name));
    let all = all.filter(|row| row.operation != "projects.get");
    all.partition(|row| row.whose.starts_with("session-") && row.operation != "sessions.list")
}

/// What a client may send, and the walk that tries it: a new kind of frame needs one.
fn walk_of(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Request(_) => "methods",
        ClientFrame::Subscribe(_) | ClientFrame::Publish(_) => "channels",
        ClientFrame::Message(_) | ClientFrame::ApprovalResponse(_) => "flat",
        ClientFrame::Unsubscribe(_) | ClientFrame::Ping => "they name nothing of anybody's",
    }
}

/// What is asked for by one after the other, with conversations of its own.
struct Lane<'g> {
    ground: &'g Ground,
    /// By whose they are and whether a question waits in them, until somebody has used them up.
    targets: HashMap<(Relation, bool), Target>,
    found: Found,
}

/// Somebody at an open socket.
struct Asker {
    role: &'static str,
    opened: Opened,
    subject: Subject,
    client: Client,
}

impl Asker {
    fn who(&self) -> String {
        format!("{} by {:?}, {:?}", self.role, self.subject.kind, self.opened)
    }

    /// Waits until a flat frame has done its work, which is to say this or to decide what waits; what the hub said
    /// against it, or nothing.
    async fn flat_done(&mut self, target: &Target, said: Option<&String>) -> Value {
        loop {
            let done = match said {
                None => {
                    let list = self.client.call("approvals.list", json!({"sessionId": target.session})).await;
                    list["items"].as_array().is_some_and(Vec::is_empty)
                }
                Some(text) => {
                    let list = self.client.call("messages.list", json!({"sessionId": target.session})).await;
                    list.to_string().contains(text)
                }
            };
            let refused = self.client.take_waiting().into_iter().find(|frame| frame["type"] == "error");
            if done || refused.is_some() {
                return refused.unwrap_or_default();
            }
        }
    }

    /// A call of the method; the response, and its text without the request's id.
    async fn ask(&mut self, method: &str, params: Value) -> (Value, String) {
        let response = self.client.ask(method, params).await;
        let id = response["id"].as_str().expect("an id").to_owned();
        (response, self.client.newest.replace(&id, ""))
    }
}

impl<'g> Lane<'g> {
    fn new(ground: &'g Ground) -> Self {
        Self { ground, targets: HashMap::new(), found: Found::default() }
    }

    async fn asker(&mut self, (role, kind, opened): (&'static str, Kind, Opened)) -> Asker {
        self.targets.retain(|(relation, _), _| *relation != Relation::Own);
        let own: &[bool] = if role == "viewer" { &[false, true] } else { &[] };
        let user = format!("{role}-{kind:?}-{opened:?}").to_lowercase();
        let (subject, owned) = self.ground.subject(user, role, kind, own).await;
        for (with_question, target) in own.iter().zip(owned) {
            self.targets.insert((Relation::Own, *with_question), target);
        }
        if opened == Opened::ByHubAdmin {
            self.ground.identity.hub_admin(&subject.user, HOME).await;
        }
        let address = &self.ground.hub.address;
        let client = match opened {
            Opened::ByTicket => {
                let http = Http::new(address, &subject.secret);
                let made = http.ok("POST", "/api/v1/tickets", json!({"route": "/ws"})).await;
                let ticket = made["ticket"].as_str().expect("a ticket");
                Client::connect_at(address, &format!("/ws?ticket={ticket}")).await
            }
            _ => subject.connect(address).await,
        };
        Asker { role, opened, subject, client }
    }

    async fn target(&mut self, asker: &Asker, relation: Relation, with_question: bool) -> Target {
        let key = (relation, with_question);
        if let Some(target) = self.targets.get(&key) {
            return target.clone();
        }
        let target = match relation {
            Relation::Own => self.ground.own(&asker.subject, with_question).await,
            _ => self.ground.others(relation, with_question).await,
        };
        self.targets.insert(key, target.clone());
        target
    }

    fn judge(&mut self, asker: &Asker, (method, about): (&str, &str), wanted: Outcome, said: &Value) {
        self.found.cells += 1;
        let text = said.to_string();
        let private = self.targets.get(&(Relation::Private, false)).map(|target| target.session.as_str());
        let private = private.filter(|_| said["result"].is_object());
        let tells = [ELSEWHERE, "stranger"].into_iter().chain(private).any(|secret| text.contains(secret));
        let fits = fits(method, wanted, said);
        if tells || !fits {
            let what = if fits { "tells of others".to_owned() } else { format!("not {wanted:?}") };
            self.found.wrong.push(format!("{method} ({about}) as {}: {what}: {text}", asker.who()));
        }
    }

    fn alike(&mut self, asker: &Asker, method: &str, elsewhere: Option<String>, nowhere: Option<String>) {
        if elsewhere.is_none() || elsewhere != nowhere {
            let said = format!("{method} as {} tells what is elsewhere: {elsewhere:?} {nowhere:?}", asker.who());
            self.found.wrong.push(said);
        }
    }

    async fn try_methods(&mut self, asker: &mut Asker) {
        let (on_sessions, others) = methods();
        for row in &others {
            let params = params(row.operation, &Target::nobodys(), &asker.subject);
            let (said, _) = asker.ask(row.operation, params).await;
            let hub_admin = asker.opened == Opened::ByHubAdmin;
            let wanted = row.on_nothing(asker.role, hub_admin, asker.subject.kind);
            self.judge(asker, (row.operation, "nothing of anybody's"), wanted, &said);
        }
        self.try_projects(asker).await;
        for row in &on_sessions {
            let with_question = asks_a_human(row.operation);
            let mut told = HashMap::new();
            for relation in RELATIONS {
                let target = self.target(asker, relation, with_question).await;
                let params = params(row.operation, &target, &asker.subject);
                let (said, text) = asker.ask(row.operation, params).await;
                let wanted = row.on_session(asker.role, asker.subject.kind, relation);
                self.judge(asker, (row.operation, &format!("{relation:?}")), wanted, &said);
                told.insert(relation, text);
                if wanted == Outcome::Allowed && uses_up(row.operation) {
                    self.targets.remove(&(relation, with_question));
                }
            }
            self.alike(asker, row.operation, told.remove(&Relation::Foreign), told.remove(&Relation::Unknown));
        }
    }

    /// The flat form: nothing answers what is done, so that what it did is looked for.
    async fn try_flat(&mut self, asker: &mut Asker) {
        let (watch, steer) = (expected::of("sessions.get"), expected::of("messages.send"));
        let approve = expected::of("tools.approve");
        for (relation, with_question) in
            RELATIONS.into_iter().flat_map(|relation| [(relation, false), (relation, true)])
        {
            let target = self.target(asker, relation, with_question).await;
            let content = format!("flat {}", self.found.cells);
            let frame = match with_question {
                true => ClientFrame::ApprovalResponse(ApprovalResponse {
                    request_id: target.request.clone(),
                    approved: false,
                    reason: None,
                    remember: None,
                }),
                false => ClientFrame::Message(FlatMessage {
                    content: content.clone(),
                    attachments: None,
                    session_id: Some(target.session.clone()),
                }),
            };
            assert_eq!(walk_of(&frame), "flat");
            let (role, kind) = (asker.role, asker.subject.kind);
            let wanted = match with_question {
                true => approve.on_session(role, kind, relation),
                // Whoever sends listens from then on: that is judged first.
                false => match watch.on_session(role, kind, relation) {
                    Outcome::Allowed => steer.on_session(role, kind, relation),
                    refused => refused,
                },
            };
            asker.client.take_waiting();
            asker.client.send(serde_json::to_value(&frame).expect("JSON")).await;
            let refused = match wanted {
                Outcome::Allowed => Value::Null,
                Outcome::Forbidden(words) => json!({"type": "error", "code": "forbidden", "message": words}),
                Outcome::NotFound(noun) => {
                    json!({"type": "error", "code": "not_found", "message": format!("no such {noun}")})
                }
                Outcome::Unauthorized(words) => panic!("nobody who is in is asked who it is: {words}"),
            };
            let mut told = if refused.is_null() {
                asker.flat_done(&target, (!with_question).then_some(&content)).await
            } else {
                asker.client.find(|f| f["type"] == "error").await
            };
            // A refusal names the session that the frame named.
            if !with_question && told["sessionId"] == target.session.as_str() {
                told.as_object_mut().map(|told| told.remove("sessionId"));
            }
            self.found.cells += 1;
            if told != refused {
                let who = asker.who();
                self.found.wrong.push(format!("{frame:?} ({relation:?}) as {who}: not {wanted:?}: {told}"));
            }
            if wanted == Outcome::Allowed && with_question {
                self.targets.remove(&(relation, true));
            }
        }
    }

    async fn try_projects(&mut self, asker: &mut Asker) {
        let [own, foreign] = &self.ground.projects;
        let unknown = Target::nobodys().session.replace("sess_", "prj_");
        let none = Outcome::NotFound("project");
        let mut told = Vec::new();
        for (project, wanted) in [(own, Outcome::Allowed), (foreign, none), (&unknown, none)] {
            let (said, text) = asker.ask("projects.get", json!({"projectId": project})).await;
            self.judge(asker, ("projects.get", project), wanted, &said);
            told.push(text);
        }
        self.alike(asker, "projects.get", Some(told.swap_remove(1)), told.pop());
    }
}

#[test]
fn case_24_and_25_methods_by_every_role_credential_and_relation() {
    run_for(300, async {
        let ground = Ground::new(true).await;
        let ground = &ground;
        let lanes = dealt(askers()).into_iter().map(|askers| async move {
            let mut lane = Lane::new(ground);
            for one in askers {
                let mut asker = lane.asker(one).await;
                lane.try_methods(&mut asker).await;
                lane.try_flat(&mut asker).await;
            }
            lane.found
        });
        Found::settle(join_all(lanes).await);
    });
}

#[test]
fn case_24_and_25_no_socket_opens_without_a_credential_of_a_user() {
    run_for(60, async {
        let ground = Ground::new(true).await;
        let address = &ground.hub.address;
        let malformed = "a.b.c".to_owned();
        for (path, token) in [("/ws", None), ("/ws", Some(host_token())), ("/ws", Some(malformed))]
            .into_iter()
            .chain([(&*format!("/ws?token={}", host_token()), None), ("/ws?ticket=none", None)])
        {
            let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
            if let Some(token) = token {
                let token = format!("Bearer {token}").parse().expect("a header");
                request.headers_mut().insert("authorization", token);
            }
            match tokio_tungstenite::connect_async(request).await {
                Err(Error::Http(answer)) => assert_eq!(answer.status(), 401, "{path}: {answer:?}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    });
}

/// What becomes of a subscription to a channel, kind by kind; those of conversations are judged as these are.
fn channels(subject: &Subject, [project, foreign]: &[String; 2]) -> Vec<(String, Outcome)> {
    let another = Outcome::Forbidden("not your channel");
    let none = Outcome::NotFound("channel");
    vec![
        (format!("user:{}", subject.user), Outcome::Allowed),
        ("user:neighbour".into(), another),
        ("user:stranger".into(), another),
        ("user:nobody".into(), another),
        (format!("org:{HOME}"), Outcome::Allowed),
        (format!("org:{ELSEWHERE}"), none),
        ("org:nowhere".into(), none),
        (format!("project:{project}"), Outcome::Allowed),
        (format!("project:{foreign}"), none),
        (Target::nobodys().session.replace("sess_", "project:prj_"), none),
        ("app:matrix".into(), Outcome::Allowed),
    ]
}

/// Whether a subscription, a look at who listens, a look at what was told and a publication come to what they must.
async fn try_channel(lane: &mut Lane<'_>, asker: &mut Asker, channel: &str, wanted: Outcome) {
    let refused = match wanted {
        Outcome::Allowed => json!({}),
        Outcome::Forbidden(_) => json!({channel: "forbidden"}),
        _ => json!({channel: "not_found"}),
    };
    asker.client.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
    let said = asker.client.find(|f| f["type"] == "response" && f["id"] == "s").await;
    let told = &said["result"]["refused"];
    let told = if told.is_null() { json!({}) } else { told.clone() };
    lane.found.cells += 1;
    if told != refused || !said["error"].is_null() {
        lane.found.wrong.push(format!("subscribe {channel} as {}: not {refused}: {said}", asker.who()));
    }
    for method in ["channels.presence", "channels.history"] {
        let (said, _) = asker.ask(method, json!({"channel": channel})).await;
        lane.found.cells += 1;
        let tells = ["stranger", "of elsewhere"].iter().any(|secret| said.to_string().contains(secret));
        if !fits(method, wanted, &said) || tells {
            lane.found.wrong.push(format!("{method} {channel} as {}: not {wanted:?}: {said}", asker.who()));
        }
    }
    let rule = expected::of("channels.publish");
    let wanted = match rule.shuts_out(asker.role, false, asker.subject.kind) {
        Some(words) => Outcome::Forbidden(words),
        None if channel.starts_with("app:") => Outcome::Allowed,
        None => Outcome::Forbidden("only app: channels can be published to"),
    };
    let publish = json!({"type": "publish", "channel": channel, "event": "x", "data": 1, "id": "p"});
    asker.client.send(publish).await;
    let said = asker.client.find(|f| f["id"] == "p").await;
    lane.found.cells += 1;
    let fits = match wanted {
        Outcome::Forbidden(words) => {
            let told = if said["type"] == "error" { &said } else { &said["error"] };
            told["code"] == "forbidden" && told["message"] == words
        }
        _ => said["type"] == "response" && said["error"].is_null(),
    };
    if !fits {
        lane.found.wrong.push(format!("publish to {channel} as {}: not {wanted:?}: {said}", asker.who()));
    }
}

#[test]
fn case_18_channels_by_every_role_credential_and_relation() {
    run_for(300, async {
        let ground = Ground::new(true).await;
        let ground = &ground;
        // Channels of one name in two organizations are two.
        let token = ground.hub.token("stranger", ELSEWHERE, "member");
        let mut stranger = Client::connect(&ground.hub.address, &token).await;
        stranger.subscribe("app:matrix", None).await;
        let secret =
            json!({"type": "publish", "channel": "app:matrix", "event": "x", "data": "of elsewhere", "id": "p"});
        stranger.send(secret).await;
        stranger.find(|f| f["id"] == "p").await;
        listen(stranger);
        let lanes = dealt(askers()).into_iter().map(|askers| async move {
            let mut lane = Lane::new(ground);
            for one in askers {
                let mut asker = lane.asker(one).await;
                let mut rows = channels(&asker.subject, &ground.projects);
                for relation in RELATIONS {
                    let target = lane.target(&asker, relation, false).await;
                    let watch = expected::of("sessions.get").on_session(asker.role, asker.subject.kind, relation);
                    rows.push((format!("session:{}", target.session), watch));
                }
                let kind = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
                let written: BTreeSet<String> = rows.iter().map(|(name, _)| kind(name)).collect();
                let real: BTreeSet<String> = ChannelKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
                assert_eq!(written, real, "a kind of channel without a row");
                for (channel, wanted) in rows {
                    try_channel(&mut lane, &mut asker, &channel, wanted).await;
                }
            }
            lane.found
        });
        Found::settle(join_all(lanes).await);
    });
}
