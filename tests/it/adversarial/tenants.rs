//! What one organization has, another neither finds nor counts nor guesses.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use switchboard::domain::ids::{DeviceId, KeyId, SystemSource};

use super::scene::{Scene, refused_callers, told};
use crate::matrix::addresses;
use crate::support::{Answer, Client, Http, Hub, HubOptions, Identity, run};

/// Stands in everything that acme wrote.
const WORD: &str = "walrus";

/// What acme has: a conversation with a question that waits, in a project; a key and a device.
struct Acme {
    session: String,
    project: String,
    message: String,
    turn: String,
    request: String,
    key: String,
    device: String,
    /// Where acme's own list goes on.
    cursor: String,
}

impl Acme {
    async fn fill(hub: &Hub) -> Self {
        let store = Identity::of(&hub.folder());
        let token = hub.token("alice", "acme", "admin");
        let (_, key) = store.key("alice", "acme").await;
        let (_, device) = store.device("alice", "acme").await;
        let mut alice = Client::connect(&hub.address, &token).await;
        let fields = json!({"visibility": "organization", "projectId": WORD, "title": format!("{WORD} plans")});
        let session = alice.call("sessions.create", fields).await["id"].as_str().expect("an id").to_owned();
        alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        alice.say(&session, &format!("{WORD} todo")).await;
        alice.event("turn.ended").await;
        alice.say(&session, &format!("fetch http://{WORD}.example/")).await;
        let asked = alice.event("tool.approval_required").await;
        let messages = alice.call("messages.list", json!({"sessionId": session})).await;
        let project = alice.call("sessions.get", json!({"sessionId": session})).await["projectId"].clone();
        let first = alice.call("sessions.list", json!({"limit": 1})).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            project: text(&project),
            message: text(&messages["items"][0]["id"]),
            turn: text(&asked["turnId"]),
            request: text(&asked["requestId"]),
            key: key.to_string(),
            device: device.to_string(),
            cursor: text(&first["nextCursor"]),
            session,
        }
    }

    /// The same ids, of nothing.
    fn nobodys(&self) -> Self {
        let none = |prefix: &str| format!("{prefix}01930000000070008000000000000000");
        Self {
            session: none("sess_"),
            project: none("prj_"),
            message: none("msg_"),
            turn: none("turn_"),
            request: none("appr_"),
            key: KeyId::mint(&mut SystemSource).to_string(),
            device: DeviceId::mint(&mut SystemSource).to_string(),
            cursor: self.cursor.clone(),
        }
    }

    /// Every address that names something of somebody.
    fn addresses(&self, user: &str) -> Vec<(&'static str, String, &'static str)> {
        let Self { session, project, message, turn, request, key, device, .. } = self;
        vec![
            ("GET", format!("/sessions/{session}"), ""),
            ("DELETE", format!("/sessions/{session}"), ""),
            ("POST", format!("/sessions/{session}/messages"), "{\"content\":\"x\"}"),
            ("GET", format!("/sessions/{session}/messages?includeContent=true&before={message}"), ""),
            ("GET", format!("/api/v1/projects/{project}"), ""),
            ("GET", format!("/api/v1/sessions/{session}"), ""),
            ("PATCH", format!("/api/v1/sessions/{session}"), "{\"visibility\":\"organization\"}"),
            ("DELETE", format!("/api/v1/sessions/{session}"), ""),
            ("POST", format!("/api/v1/sessions/{session}/resume"), ""),
            ("PATCH", format!("/api/v1/sessions/{session}/messages/{message}"), "{\"content\":\"x\"}"),
            ("GET", format!("/api/v1/sessions/{session}/turns/{turn}"), ""),
            ("POST", format!("/api/v1/sessions/{session}/turns/{turn}/stop"), ""),
            ("POST", format!("/api/v1/sessions/{session}/abort"), ""),
            ("POST", format!("/api/v1/sessions/{session}/cancel"), "{}"),
            ("POST", format!("/api/v1/sessions/{session}/messages"), "{\"content\":\"x\",\"idempotencyKey\":\"k\"}"),
            ("GET", format!("/api/v1/sessions/{session}/approvals"), ""),
            ("POST", format!("/api/v1/approvals/{request}"), "{\"approved\":true}"),
            ("PATCH", format!("/devices/{device}"), "{\"name\":\"mine\"}"),
            ("DELETE", format!("/devices/{device}"), ""),
            ("DELETE", format!("/api/v1/devices/{device}"), ""),
            ("DELETE", format!("/api/v1/admin/devices/{device}"), ""),
            ("DELETE", format!("/api/v1/admin/keys/{key}"), ""),
            ("PATCH", format!("/api/v1/admin/users/{user}"), "{\"role\":\"viewer\"}"),
            ("POST", format!("/api/v1/admin/users/{user}/disable"), ""),
            ("POST", format!("/api/v1/admin/users/{user}/enable"), ""),
        ]
    }
}

/// All of the head that says something about what was asked for.
fn head(answer: &Answer) -> Vec<(String, String)> {
    let own = |name: &str| ["x-request-id", "date"].contains(&name) || name.starts_with("ratelimit");
    answer.headers.iter().filter(|(name, _)| !own(name)).cloned().collect()
}

#[test]
fn case_24_a_refusal_does_not_tell_whether_there_is_such_a_thing() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let acme = Acme::fill(&scene.hub).await;
        // An administrator elsewhere, also one of the same name.
        let rivals = ["mallory", "bystander"].map(|user| scene.hub.token(user, "rival", "owner"));
        // The folder stays when the scene is over.
        let (ledger, _folder) = (scene.hub.ledger(), scene.hub.data.clone());
        let mut tries = 0;
        for rival in rivals.map(|token| Http::new(scene.address(), &token)) {
            let (real, none) = (acme.addresses("alice"), acme.nobodys().addresses("nobody"));
            for ((method, path, body), (_, unreal, _)) in real.into_iter().zip(none) {
                let one = rival.send(method, &path, &[], body.as_bytes()).await;
                let two = rival.send(method, &unreal, &[], body.as_bytes()).await;
                assert_eq!((one.status, one.code().as_str()), (404, "not_found"), "{method} {path}: {one:?}");
                assert_eq!((one.status, one.without_id()), (two.status, two.without_id()), "{method} {path}");
                assert_eq!(head(&one), head(&two), "{method} {path}");
                tries += 2;
            }
        }
        assert_eq!(ledger.changed(), [""; 0]);
        // At home it is all as it was.
        let alice = Http::new(scene.address(), &scene.hub.token("alice", "acme", "admin"));
        for (path, id) in [
            (format!("/api/v1/sessions/{}", acme.session), &acme.session),
            ("/api/v1/approvals".into(), &acme.request),
            ("/api/v1/admin/keys".into(), &acme.key),
            ("/devices".into(), &acme.device),
        ] {
            let answer = alice.ok("GET", &path, Value::Null).await;
            assert!(answer.to_string().contains(id.as_str()) && !answer.to_string().contains("revokedAt"), "{answer}");
        }
        // Nothing of it is in acme's log, and all of it in the log of those who tried.
        let rows = refused_callers(&scene.silent(&[]).await);
        let asked = [
            "sessions.get",
            "sessions.delete",
            "channels.subscribe",
            "messages.list",
            "projects.get",
            "sessions.share",
            "sessions.resume",
            "messages.update",
            "turns.get",
            "messages.stop",
            "messages.abort",
            "messages.cancel",
            "messages.send",
            "approvals.list",
            "tools.approve",
        ];
        let mut wanted = BTreeSet::new();
        for who in ["mallory@rival", "bystander@rival"] {
            wanted.extend(told(who, &asked.map(|what| (what, "not_found"))));
        }
        assert_eq!(rows, wanted);
        let times = |line: &String| line.rsplit(' ').next().and_then(|times| times.parse::<u32>().ok());
        let counted: u32 = ledger.refused().iter().filter_map(times).sum();
        assert_eq!(counted, tries, "each of them, once");
    });
}

/// Methods that name a session.
const ON_SESSIONS: [&str; 12] = [
    "sessions.get",
    "sessions.delete",
    "sessions.archive",
    "sessions.pause",
    "sessions.resume",
    "messages.list",
    "messages.stop",
    "messages.abort",
    "messages.cancel",
    "messages.retry",
    "approvals.list",
    "todos.get",
];

#[test]
fn case_25_whatever_is_refused_to_somebody_is_written_down_by_whatever_door() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let private = scene.session.clone();
        let (mut wanted, mut refuse) = (BTreeSet::new(), Vec::new());
        for (user, organization, code) in [("ann", "acme", "forbidden"), ("ann", "rival", "not_found")] {
            let token = scene.hub.token(user, organization, "owner");
            let mut client = Client::connect(scene.address(), &token).await;
            for method in ON_SESSIONS {
                assert_eq!(client.refused(method, json!({"sessionId": private})).await, code, "{method}");
                refuse.push((method, code));
            }
            let http = Http::new(scene.address(), &token);
            let read = http.get(&format!("/api/v1/sessions/{private}/turns/turn_{:032}", 0)).await;
            assert_eq!(read.code(), code);
            let sent = http.post(&format!("/sessions/{private}/messages"), json!({"content": "x"})).await;
            assert_eq!(sent.code(), code);
            refuse.extend([("turns.get", code), ("channels.subscribe", code)]);
            let elsewhere = http.post("/api/v1/tickets", json!({"route": "/ws", "organizationId": "nowhere"})).await;
            assert_eq!(elsewhere.code(), "forbidden");
            refuse.push(("tickets.create", "forbidden"));
            wanted.extend(told(&format!("{user}@{organization}"), &refuse));
            refuse.clear();
        }
        // By the role alone, also where nothing is named; and what nobody may publish.
        let mut viewer = Client::connect(scene.address(), &scene.hub.token("vic", "acme", "viewer")).await;
        assert_eq!(viewer.refused("sessions.create", json!({})).await, "forbidden");
        viewer.send(json!({"type": "publish", "channel": "app:news", "event": "e", "data": 1, "id": "p"})).await;
        assert_eq!(viewer.find(|f| f["id"] == "p").await["code"], "forbidden");
        wanted.extend(told("vic@acme", &[("sessions.create", "forbidden"), ("channels.publish", "forbidden")]));
        // What is one's own and not there is no refusal.
        let mut owner = Client::connect(scene.address(), &scene.hub.token("olga", "acme", "member")).await;
        let own = owner.session().await;
        let nothing = json!({"sessionId": own, "turnId": "turn_01930000000070008000000000000000"});
        assert_eq!(owner.refused("messages.stop", nothing).await, "not_found");
        assert_eq!(owner.refused("agents.get", json!({"agent": "nobody"})).await, "not_found");
        assert_eq!(refused_callers(&scene.silent(&[]).await), wanted);
    });
}

/// An administrator of one organization names another in the query: of everything that is administered.
#[test]
fn case_25_an_organization_that_is_not_ones_own_is_written_down_wherever_it_is_named() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let rival = Http::new(scene.address(), &scene.hub.token("mallory", "rival", "owner"));
        let nobodys = "01930000000070008000000000000000";
        let (mut asked, mut refusals) = (0, Vec::new());
        for row in addresses::all().into_iter().filter(|row| row.named) {
            let path = row.path.replace("{sessionId}", &format!("sess_{nobodys}"));
            let path = path.replace("{requestId}", &format!("appr_{nobodys}")).replace("{channel}", "app:news");
            let path = path.replace("{connectionId}", "conn_1").replace("{id}", "bystander");
            // There is one of them.
            for organization in ["acme", "nowhere"] {
                let named = format!("{path}?organization={organization}");
                let json = [("Content-Type", "application/json")];
                let answer = rival.send(row.method, &named, &json, row.body.as_bytes()).await;
                assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{named}: {answer:?}");
                assert!(answer.text().contains("organization"), "{named}: {answer:?}");
                asked += 1;
            }
            refusals.push((row.operation, "not_found"));
        }
        assert!(asked > 50, "only {asked} were asked");
        let rows = scene.silent(&[]).await;
        assert_eq!(refused_callers(&rows), told("mallory@rival", &refusals));
        let counted = rows.iter().filter_map(|row| row.entry.details["count"].as_u64()).sum::<u64>();
        assert_eq!(counted, asked, "each of them once: {rows:#?}");
    });
}

#[test]
fn case_28_search_usage_history_and_errors_stay_within_an_organization() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let acme = Acme::fill(&scene.hub).await;
        let secrets = [
            WORD,
            "acme",
            &acme.session,
            &acme.project,
            &acme.message,
            &acme.turn,
            &acme.request,
            &acme.key,
            &acme.device,
        ];
        for user in ["mallory", "bystander"] {
            let token = scene.hub.token(user, "rival", "owner");
            let rival = Http::new(scene.address(), &token);
            let silent = |what: &str, said: &str, asked: &str| {
                for secret in secrets.iter().filter(|secret| !asked.contains(**secret)) {
                    assert!(!said.contains(*secret), "{what} tells {secret}: {said}");
                }
            };
            for query in [
                "walrus",
                "wal*",
                "\"walrus\"",
                "walrus OR x",
                "title:walrus",
                "*",
                "%25",
                "_",
                "'+OR+1=1--",
                "NEAR(walrus)",
            ] {
                let path = format!("/api/v1/sessions?q={}", query.replace(' ', "+").replace('"', "%22"));
                let answer = rival.get(&path).await;
                silent(&path, answer.text(), &path);
                if answer.status == 200 {
                    assert_eq!(answer.json()["items"], json!([]), "{path}");
                }
            }
            for path in [
                "/api/v1/sessions".to_owned(),
                format!("/api/v1/sessions?projectId={}", acme.project),
                format!("/api/v1/sessions?cursor={}", acme.cursor),
                format!("/api/v1/projects?cursor={}", acme.cursor),
                "/api/v1/projects".into(),
                "/api/v1/approvals".into(),
                "/api/v1/devices".into(),
                "/devices".into(),
                "/api/v1/admin/keys".into(),
                "/api/v1/admin/devices".into(),
                "/api/v1/admin/users".into(),
                "/api/v1/admin/audit?limit=200".into(),
                "/api/v1/admin/audit?actor=alice".into(),
            ] {
                let answer = rival.get(&path).await;
                assert!([200, 400].contains(&answer.status), "{path}: {answer:?}");
                silent(&path, answer.text(), &path);
            }
            for period in ["day", "week", "month"] {
                let used = rival.ok("GET", &format!("/api/v1/usage?period={period}"), Value::Null).await;
                assert_eq!(used["turns"], 0, "{used}");
                silent("usage", &used.to_string(), "");
            }
            // An organization that is named is either one's own or like none.
            for (real, unreal) in [
                ("/api/v1/session?organizationId=acme", "/api/v1/session?organizationId=nowhere"),
                ("/api/v1/sessions?organizationId=acme&q=walrus", "/api/v1/sessions?organizationId=nowhere&q=walrus"),
                ("/api/v1/admin/audit?organization=acme", "/api/v1/admin/audit?organization=nowhere"),
                ("/api/v1/admin/users?organization=acme", "/api/v1/admin/users?organization=nowhere"),
                ("/api/v1/admin/keys?organization=acme", "/api/v1/admin/keys?organization=nowhere"),
            ] {
                let (one, two) = (rival.get(real).await, rival.get(unreal).await);
                assert!([403, 404].contains(&one.status), "{real}: {one:?}");
                assert_eq!((one.status, one.without_id()), (two.status, two.without_id()), "{real}");
                silent(real, one.text(), real);
            }
            let mut client = Client::connect(scene.address(), &token).await;
            let channels =
                [format!("session:{}", acme.session), format!("project:{}", acme.project), "org:acme".into()];
            for (method, params) in [
                ("sessions.list", json!({"q": WORD})),
                ("sessions.list", json!({"projectId": acme.project})),
                ("messages.list", json!({"sessionId": acme.session})),
                ("messages.list", json!({"sessionId": acme.session, "before": acme.message})),
                ("approvals.list", json!({})),
                ("usage.get", json!({"period": "month"})),
                ("channels.history", json!({"channel": channels[0]})),
                ("channels.history", json!({"channel": channels[1]})),
                ("channels.presence", json!({"channel": channels[2]})),
                ("channels.history", json!({"channel": "app:news"})),
                ("channels.presence", json!({"channel": "app:news"})),
            ] {
                let answer = client.ask(method, params.clone()).await;
                silent(&format!("{method} {params}"), &answer.to_string(), &params.to_string());
            }
        }
        // Whoever names another's project as the place for a session gets one of that name.
        let mut client = Client::connect(scene.address(), &scene.hub.token("mallory", "rival", "owner")).await;
        let made = client.call("sessions.create", json!({"projectId": acme.project})).await;
        assert_ne!(made["projectId"], acme.project.as_str());
        let within = client.call("sessions.list", json!({"projectId": made["projectId"]})).await;
        assert_eq!((within["items"].as_array().map(Vec::len), &within["items"][0]["id"]), (Some(1), &made["id"]));
        scene.silent(&[]).await;
    });
}
