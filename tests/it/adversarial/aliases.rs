//! Ids that clients bring along: each user's own, on every door, and never a hint of anybody else's.

use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::{Client, Http, Hub, HubOptions, run};

const OWN: &str = "3f2b8c1e-52c0-4b6d-9a68-0a5f7a6a2b11";

async fn begun(client: &mut Client, alias: &str) -> String {
    let made = client.call("sessions.create", json!({"sessionId": alias})).await;
    assert_eq!(made["alias"], alias, "{made}");
    made["id"].as_str().filter(|id| id.starts_with("sess_")).unwrap_or_else(|| panic!("{made}")).to_owned()
}

#[test]
fn an_id_of_the_clients_own_is_good_on_every_door() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let id = begun(&mut client, OWN).await;
        // Sockets: methods, channels, the flat form.
        let channel = format!("session:{OWN}");
        client.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
        let answer = client.find(|f| f["type"] == "response" && f["id"] == "s").await;
        assert_eq!(answer["result"], json!({"subscribed": [channel], "refused": {}}));
        client.call("messages.send", json!({"sessionId": OWN, "content": "hello"})).await;
        let ended = client.find(|f| f["event"] == "turn.ended").await;
        assert_eq!(ended["channel"], format!("session:{id}"), "the hub's own name stands on the wire");
        let present = client.call("channels.presence", json!({"channel": channel})).await;
        assert_eq!(present, json!({"count": 1, "users": ["alice"]}));
        let history = client.call("channels.history", json!({"channel": channel})).await;
        assert!(history["events"].as_array().is_some_and(|events| !events.is_empty()), "{history}");
        let listed = client.call("messages.list", json!({"sessionId": OWN})).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(listed["items"][0]["sessionId"], id.as_str());
        client.send(json!({"type": "unsubscribe", "channels": [channel], "id": "u"})).await;
        let answer = client.find(|f| f["type"] == "response" && f["id"] == "u").await;
        assert_eq!(answer["result"], json!({"unsubscribed": [channel]}));
        client.send(json!({"type": "message", "content": "hello", "sessionId": OWN})).await;
        let complete = client.find(|f| f["type"] == "message_complete").await;
        assert_eq!(complete["sessionId"], id.as_str());
        // REST, in both wires' words.
        let http = Http::new(&hub.address, &token);
        let shown = http.ok("GET", &format!("/api/v1/sessions/{OWN}"), Value::Null).await;
        assert_eq!((&shown["id"], &shown["alias"]), (&json!(id), &json!(OWN)));
        let answered = http.post(&format!("/api/v1/sessions/{OWN}/messages?wait=true"), json!({"content": "x"})).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        let turn = answered.json()["turnId"].clone();
        let path = format!("/api/v1/sessions/{OWN}/turns/{}", turn.as_str().expect("an id"));
        assert_eq!(http.ok("GET", &path, Value::Null).await["turn"]["id"], turn);
        let gateway = http.ok("GET", &format!("/sessions/{OWN}"), Value::Null).await;
        assert_eq!((&gateway["id"], &gateway["messageCount"]), (&json!(id), &json!(6)));
        let answered = http.post(&format!("/sessions/{OWN}/messages"), json!({"content": "x"})).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        assert_eq!(http.get(&format!("/sessions/{OWN}/messages")).await.status, 200);
        // Lists tell it too; by the hub's id the session is the same one.
        let listed = http.ok("GET", "/api/v1/sessions", Value::Null).await;
        assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["alias"]), (&json!(id), &json!(OWN)));
        assert_eq!(client.call("sessions.get", json!({"sessionId": id})).await["id"], id.as_str());
        // REST begins one as well, and finds the same.
        let again = http.post("/api/v1/sessions", json!({"sessionId": OWN, "title": "not this one"})).await;
        assert_eq!((again.status, &again.json()["id"], &again.json()["title"]), (201, &json!(id), &json!("hello")));
    });
}

/// Requests that name a session, each with what is asked.
const REQUESTS: [(&str, &str); 12] = [
    ("sessions.get", "{}"),
    ("sessions.update", "{\"title\":\"taken\"}"),
    ("sessions.archive", "{}"),
    ("sessions.pause", "{}"),
    ("sessions.resume", "{}"),
    ("sessions.delete", "{}"),
    ("messages.send", "{\"content\":\"taken\"}"),
    ("messages.list", "{}"),
    ("messages.stop", "{}"),
    ("todos.get", "{}"),
    ("todos.update", "{\"todos\":[]}"),
    ("approvals.list", "{}"),
];

#[test]
fn case_27_an_id_that_somebody_else_brought_is_like_one_that_nobody_brought() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let address = scene.address().to_owned();
        let mut alice = Client::connect(&address, &scene.hub.token("alice", "acme", "member")).await;
        let id = begun(&mut alice, OWN).await;
        // For all of acme to see: what it is called is alice's own matter still.
        alice.call("sessions.update", json!({"sessionId": OWN, "visibility": "organization"})).await;
        alice.subscribe("user:alice", None).await;
        for (user, organization) in [("bob", "acme"), ("eve", "acme"), ("alice", "rival"), ("mallory", "rival")] {
            let role = if user == "eve" { "owner" } else { "member" };
            let token = scene.hub.token(user, organization, role);
            let (mut client, http) = (Client::connect(&address, &token).await, Http::new(&address, &token));
            for (method, fields) in REQUESTS {
                let named = async |client: &mut Client, name: &str| {
                    let mut params: Value = serde_json::from_str(fields).expect("JSON");
                    params["sessionId"] = json!(name);
                    client.ask(method, params).await["error"].take()
                };
                let theirs = named(&mut client, OWN).await;
                assert_eq!(theirs["code"], "not_found", "{method} as {user} of {organization}");
                let nobodys = named(&mut client, "3f2b8c1e-0000-4b6d-9a68-0a5f7a6a2b11").await;
                let unknown = named(&mut client, "sess_01930000000070008000000000000000").await;
                assert_eq!((&theirs, &theirs), (&nobodys, &unknown), "{method} as {user} of {organization}");
            }
            for (kind, channel) in [("subscribe", "channels"), ("channels.presence", "channel")] {
                let name = format!("session:{OWN}");
                if kind == "subscribe" {
                    client.send(json!({"type": kind, channel: [name], "id": "s"})).await;
                    let answer = client.find(|f| f["type"] == "response" && f["id"] == "s").await;
                    assert_eq!(answer["result"]["refused"], json!({name: "not_found"}));
                } else {
                    assert_eq!(client.refused(kind, json!({channel: name})).await, "not_found");
                }
            }
            client.take_waiting();
            for path in ["/api/v1/sessions/{}", "/sessions/{}", "/sessions/{}/messages", "/api/v1/sessions/{}/todos"] {
                let (theirs, nobodys) =
                    (http.get(&path.replace("{}", OWN)).await, http.get(&path.replace("{}", "nobodys")).await);
                assert_eq!((theirs.status, theirs.without_id()), (404, nobodys.without_id()), "{path}");
            }
            // What they may see of it does not say what alice calls it.
            let seen = client.call("sessions.list", json!({})).await.to_string();
            assert_eq!((seen.contains(&id), seen.contains(OWN)), (organization == "acme", false), "{seen}");
            // The same id is theirs to use, and is another session.
            let own = begun(&mut client, OWN).await;
            assert_ne!(own, id);
            client.call("messages.send", json!({"sessionId": OWN, "content": "mine"})).await;
            let named = client.call("sessions.get", json!({"sessionId": OWN})).await;
            assert_eq!((&named["id"], &named["userId"]), (&json!(own), &json!(user)));
            client.call("sessions.delete", json!({"sessionId": OWN})).await;
        }
        let kept = alice.call("sessions.get", json!({"sessionId": OWN})).await;
        assert_eq!((&kept["id"], &kept["title"], &kept["state"]), (&json!(id), &json!(""), &json!("active")));
        assert_eq!(alice.call("messages.list", json!({"sessionId": OWN})).await["items"], json!([]));
        let rows = scene.silent(&[]).await;
        assert!(rows.iter().all(|row| !format!("{:?}", row.entry).contains(OWN)), "{rows:#?}");
    });
}

#[test]
fn an_event_does_not_tell_what_somebody_calls_a_session() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let (one, two) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut alice = Client::connect(&hub.address, &one).await;
        let made = alice.call("sessions.create", json!({"sessionId": OWN, "visibility": "organization"})).await;
        let id = made["id"].as_str().expect("an id");
        let mut bob = Client::connect(&hub.address, &two).await;
        let first = bob.subscribe(&format!("session:{id}"), None).await;
        assert!(!first.to_string().contains(OWN), "{first}");
        alice.call("sessions.update", json!({"sessionId": OWN, "title": "x"})).await;
        let told = bob.find(|f| f["event"] == "session.updated").await;
        assert!(!told.to_string().contains(OWN), "{told}");
    });
}

#[test]
fn fifty_at_once_begin_one_session() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(Client::connect(&hub.address, &token).await);
        }
        for n in 0..5 {
            for client in &mut clients {
                let request = json!({"type": "request", "id": format!("r{n}"), "method": "sessions.create",
                    "params": {"sessionId": OWN}});
                client.send(request).await;
            }
        }
        let mut ids = std::collections::BTreeSet::new();
        for client in &mut clients {
            for _ in 0..5 {
                let answer = client.find(|f| f["type"] == "response").await;
                assert_eq!(answer["result"]["alias"], OWN, "{answer}");
                ids.insert(answer["result"]["id"].as_str().expect("an id").to_owned());
            }
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        let listed = clients[0].call("sessions.list", json!({})).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    });
}

#[test]
fn an_archived_session_is_skipped_and_a_deleted_one_frees_its_name() {
    run(async {
        let mut hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let first = begun(&mut client, OWN).await;
        client.call("sessions.archive", json!({"sessionId": OWN})).await;
        // Until there is another one, the name still leads to it.
        assert_eq!(client.call("sessions.get", json!({"sessionId": OWN})).await["state"], "archived");
        assert_eq!(client.refused("messages.send", json!({"sessionId": OWN, "content": "x"})).await, "archived");
        let second = begun(&mut client, OWN).await;
        assert_ne!(first, second);
        assert_eq!(client.call("sessions.get", json!({"sessionId": OWN})).await["id"], second.as_str());
        assert_eq!(client.call("sessions.get", json!({"sessionId": first})).await["state"], "archived");
        // A crash forgets no name.
        hub.kill();
        hub.revive();
        let mut client = Client::connect(&hub.address, &token).await;
        assert_eq!(begun(&mut client, OWN).await, second);
        client.call("sessions.delete", json!({"sessionId": OWN})).await;
        assert_eq!(client.refused("sessions.get", json!({"sessionId": OWN})).await, "not_found");
        let third = begun(&mut client, OWN).await;
        assert!(![first, second].contains(&third));
    });
}

#[test]
fn what_is_no_name_for_a_session_is_refused_by_its_field() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let id = client.session().await;
        let long = "x".repeat(129);
        for name in
            ["", " ", "a b", "a\0b", "a\nb", "\u{430}", "*", "../x", &id, &id.to_uppercase(), "sess_mine", &long]
        {
            let answer = client.ask("sessions.create", json!({"sessionId": name})).await;
            let error = &answer["error"];
            assert_eq!((&error["code"], &error["details"]["field"]), (&json!("bad_request"), &json!("sessionId")));
            // Elsewhere it names nothing, like any other text.
            if name != id {
                assert_eq!(client.refused("sessions.get", json!({"sessionId": name})).await, "not_found", "{name:?}");
            }
        }
        let longest = "x".repeat(128);
        begun(&mut client, &longest).await;
    });
}

#[test]
fn a_key_with_an_id_of_ones_own_is_used_up_once() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let id = begun(&mut client, OWN).await;
        let keyed = json!({"sessionId": OWN, "idempotencyKey": "k"});
        for _ in 0..2 {
            let found = client.call("sessions.create", keyed.clone()).await;
            assert_eq!((&found["id"], &found["alias"]), (&json!(id), &json!(OWN)));
        }
        let other = json!({"sessionId": "other", "idempotencyKey": "k"});
        assert_eq!(client.refused("sessions.create", other).await, "conflict");
        assert_eq!(client.refused("sessions.get", json!({"sessionId": "other"})).await, "not_found");
    });
}
