//! Requests under way end with the credential that began them; their turns go on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::hub;
use crate::limits::raw::answer;
use crate::support::{Client, Http, Hub, HubOptions, Identity, run};

/// How long a request may outlive its credential.
const PROMISE: Duration = Duration::from_secs(1);

/// Somebody who talks with a credential and listens with another one.
struct Talk {
    http: Http,
    session: String,
    watcher: Client,
}

async fn talk(hub: &Hub, identity: &Identity, credential: &str) -> Talk {
    let http = Http::new(&hub.address, credential);
    let session = http.session().await;
    let mut watcher = Client::connect(&hub.address, &identity.key("alice", "acme").await.0).await;
    watcher.subscribe(&format!("session:{session}"), None).await;
    Talk { http, session, watcher }
}

/// The last event of a stream that its credential's end has cut, and whether the turn runs on.
async fn cut(talk: &mut Talk, take_back: impl Future<Output = ()>, promise: Duration) -> Value {
    let path = format!("/sessions/{}/messages", talk.session);
    let mut events = talk.http.stream(&path, &[], json!({"content": "slow long 5000"})).await;
    assert_eq!(events.status, 200);
    events.next().await.expect("an event");
    take_back.await;
    let all = timeout(promise, events.all()).await.expect("it ends within the time that was promised");
    let (name, data) = all.last().expect("an end");
    assert_eq!(name, "error", "{data}");
    let running = talk.watcher.call("sessions.get", json!({"sessionId": talk.session})).await;
    assert_eq!(running["id"], talk.session.as_str());
    // It says more: nobody has stopped it.
    talk.watcher.take_waiting();
    talk.watcher.event("part.updated").await;
    data.clone()
}

#[test]
fn case_11_a_stream_ends_within_a_second_of_what_took_its_credential_back() {
    run(async {
        let hub = hub();
        let identity = Identity::of(&hub.folder());
        identity.user("alice", "acme", "member").await;
        // One of alice's that nothing happens to.
        let mut other = talk(&hub, &identity, &identity.key("alice", "acme").await.0).await;
        let path = format!("/api/v1/sessions/{}/messages", other.session);
        let mut untouched = other.http.stream(&path, &[], json!({"content": "slow long 5000"})).await;

        let (key, id) = identity.key("alice", "acme").await;
        let mut by_key = talk(&hub, &identity, &key).await;
        let end = cut(&mut by_key, identity.revoke_key("acme", id), PROMISE).await;
        assert_eq!(end["code"], "unauthorized", "{end}");
        assert!(end["turnId"].as_str().is_some_and(|turn| turn.starts_with("turn_")), "{end}");
        let refused = by_key.http.get("/api/v1/session").await;
        assert_eq!(refused.status, 401);

        let (device, id) = identity.device("alice", "acme").await;
        let mut by_device = talk(&hub, &identity, &device).await;
        let end = cut(&mut by_device, identity.revoke_device("acme", id), PROMISE).await;
        assert_eq!(end["code"], "unauthorized", "{end}");

        // It ends by itself.
        let short = identity.session_for("alice", "acme", 3000).await;
        let mut expiring = talk(&hub, &identity, &short).await;
        let end = cut(&mut expiring, async {}, Duration::from_secs(3) + PROMISE).await;
        assert_eq!((&end["code"], &end["message"]), (&json!("unauthorized"), &json!("the credential expired")));

        untouched.next().await.expect("it goes on");
        other.watcher.take_waiting();
        other.watcher.event("part.updated").await;
        identity.disable_user("acme", "alice").await;
        let all = timeout(PROMISE, untouched.all()).await.expect("all of hers end");
        assert_eq!(all.last().expect("an end").1["code"], "unauthorized");
    });
}

#[test]
fn case_11_a_request_that_waits_is_answered_when_its_credential_is_taken_back() {
    run(async {
        let hub = hub();
        let identity = Identity::of(&hub.folder());
        identity.user("alice", "acme", "member").await;
        for path in ["/sessions/{}/messages", "/api/v1/sessions/{}/messages?wait=true"] {
            let (key, id) = identity.key("alice", "acme").await;
            let mut talk = talk(&hub, &identity, &key).await;
            let path = path.replace("{}", &talk.session);
            let waits = talk.http.post(&path, json!({"content": "slow long 5000"}));
            let revoke = async {
                let turn = talk.watcher.event("turn.started").await["turnId"].clone();
                identity.revoke_key("acme", id).await;
                (turn, tokio::time::Instant::now())
            };
            let (answer, (turn, revoked)) = tokio::join!(waits, revoke);
            assert!(revoked.elapsed() < PROMISE, "{:?}", revoked.elapsed());
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{answer:?}");
            let body = answer.json();
            let details = if body["error"].is_object() { &body["error"]["details"] } else { &body["details"] };
            assert_eq!(details["turnId"], turn, "{body}");
            talk.watcher.event("part.updated").await;
        }
    });
}

/// A request whose head was good, and half of whose body is there.
async fn half_sent(hub: &Hub, key: &str, (method, path, body): (&str, &str, &str)) -> TcpStream {
    let mut socket = TcpStream::connect(&hub.address).await.expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{}",
        hub.address,
        body.len(),
        &body[..body.len() / 2]
    );
    socket.write_all(head.as_bytes()).await.expect("it is sent");
    // One worker: who asks later, on another connection, is answered after that head was judged.
    for _ in 0..2 {
        assert_eq!(Http::new(&hub.address, key).get("/api/v1/session").await.status, 200);
    }
    socket
}

/// What changes something, and what shows whether it did.
const CHANGES: [(&str, &str, &str); 9] = [
    ("PATCH", "/config", r#"{"log":{"level":"error"}}"#),
    ("PATCH", "/api/v1/config", r#"{"log":{"level":"debug"}}"#),
    ("POST", "/api/v1/admin/users", r#"{"id":"mole","role":"owner"}"#),
    ("PATCH", "/api/v1/admin/users/bob", r#"{"role":"owner"}"#),
    ("POST", "/api/v1/admin/keys", r#"{"user":"bob","name":"backdoor"}"#),
    ("POST", "/api/v1/admin/tokens/revoke", r#"{"token":"TOKEN"}"#),
    ("POST", "/api/v1/admin/broadcast", r#"{"message":"hello"}"#),
    ("POST", "/api/v1/sessions/SESSION/messages", r#"{"content":"late"}"#),
    ("POST", "/api/v1/sessions", r#"{"title":"late","visibility":"organization"}"#),
];

#[test]
fn case_11_a_credential_that_ends_before_the_body_is_there_changes_nothing() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 1));
        let identity = Identity::of(&hub.folder());
        for (user, role) in [("alice", "owner"), ("bob", "viewer")] {
            identity.user(user, "acme", role).await;
        }
        identity.hub_admin("alice", "acme").await;
        let alice = Http::new(&hub.address, &identity.key("alice", "acme").await.0);
        let made = alice.ok("POST", "/api/v1/sessions", json!({"visibility": "organization"})).await;
        let session = made["id"].as_str().expect("an id").to_owned();
        let token = hub.token("carol", "acme", "member");
        let look = async || {
            let mut seen = Vec::new();
            for path in ["/config", "/api/v1/admin/users", "/api/v1/admin/keys?user=bob", "/api/v1/sessions"] {
                seen.push(alice.ok("GET", path, Value::Null).await);
            }
            seen.push(alice.ok("GET", &format!("/api/v1/sessions/{session}/messages"), Value::Null).await);
            seen.push(json!(Http::new(&hub.address, &token).get("/api/v1/session").await.status));
            seen
        };
        for (n, (method, path, body)) in CHANGES.into_iter().enumerate() {
            let (path, body) = (path.replace("SESSION", &session), body.replace("TOKEN", &token));
            for (disable, code) in [(true, "unauthorized"), (false, "forbidden")] {
                let user = format!("user-{n}-{code}");
                identity.user(&user, "acme", "owner").await;
                identity.hub_admin(&user, "acme").await;
                let key = identity.key(&user, "acme").await.0;
                let mut socket = half_sent(&hub, &key, (method, &path, &body)).await;
                match disable {
                    true => identity.disable_user("acme", &user).await,
                    false => {
                        identity.role(&user, "acme", "viewer").await;
                        identity.no_hub_admin(&user, "acme").await;
                    }
                }
                let asks = Http::new(&hub.address, &key);
                let heard = async || match disable {
                    true => asks.get("/api/v1/session").await.status == 401,
                    false => {
                        let who = asks.ok("GET", "/api/v1/session", Value::Null).await;
                        who["role"] == "viewer" && who["hubAdmin"] == false
                    }
                };
                while !heard().await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let before = look().await;
                socket.write_all(&body.as_bytes()[body.len() / 2..]).await.expect("it is sent");
                let refused = answer(&mut socket).await;
                let status = if disable { 401 } else { 403 };
                assert_eq!((refused.status, refused.code()), (status, code), "{method} {path}: {}", refused.text);
                assert_eq!(look().await, before, "{method} {path} as {user}");
            }
        }
        // A credential that stays good is good for a slow body, too.
        let body = r#"{"channel":"slow"}"#;
        let key = identity.key("alice", "acme").await.0;
        let mut socket = half_sent(&hub, &key, ("POST", "/sessions", body)).await;
        socket.write_all(&body.as_bytes()[body.len() / 2..]).await.expect("it is sent");
        assert_eq!(answer(&mut socket).await.status, 201);
    });
}
