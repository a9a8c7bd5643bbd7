//! The same key with the same body has one effect and one answer; with another body it is a conflict.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{hub, member};
use crate::support::{Answer, Client, Http, run};

#[test]
fn fifty_at_once_are_one_message_and_one_answer() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.session().await;
        for path in [format!("/sessions/{session}/messages"), format!("/api/v1/sessions/{session}/messages?wait=true")]
        {
            let key = [("Idempotency-Key", path.as_str())];
            let all = join_all((0..50).map(|_| alice.send("POST", &path, &key, b"{\"content\":\"once\"}"))).await;
            for answer in &all {
                assert_eq!((answer.status, answer.text()), (200, all[0].text()));
            }
            let other = alice.send("POST", &path, &key, b"{\"content\":\"twice\"}").await;
            assert_eq!((other.status, other.code().as_str()), (409, "conflict"));
            // Also later, and streamed.
            let again = alice.send("POST", &path, &key, b"{ \"content\": \"once\" }").await;
            assert_eq!(again.text(), all[0].text());
            let streamed = alice.stream(&path, &key, json!({"content": "once"})).await.all().await;
            assert_eq!(streamed.last().expect("an end").0, "message_complete");
        }
        let shown = alice.ok("GET", &format!("/sessions/{session}"), json!(null)).await;
        assert_eq!(shown["messageCount"], 4, "two prompts and their answers");
    });
}

#[test]
fn sessions_projects_and_retries_are_made_once() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.session().await;
        alice.ok("POST", &format!("/sessions/{session}/messages"), json!({"content": "one"})).await;
        for (path, body, other) in [
            ("/sessions".to_owned(), json!({"channel": "a"}), json!({"channel": "b"})),
            ("/api/v1/sessions".to_owned(), json!({"title": "a"}), json!({"title": "b"})),
            ("/api/v1/projects".to_owned(), json!({"name": "a"}), json!({"name": "b"})),
            (format!("/api/v1/sessions/{session}/retry"), json!({}), json!({"model": "other"})),
        ] {
            let key = [("Idempotency-Key", path.as_str())];
            let send =
                async |body: &serde_json::Value| alice.send("POST", &path, &key, body.to_string().as_bytes()).await;
            let all = join_all((0..50).map(|_| send(&body))).await;
            for answer in &all {
                assert!([201, 202].contains(&answer.status), "{path}: {answer:?}");
                assert_eq!(answer.text(), all[0].text(), "{path}");
            }
            assert_eq!(send(&other).await.code(), "conflict", "{path}");
            // Another user's same key is another key.
            let bob = Http::new(&hub.address, &hub.token("bob", "acme", "member"));
            let theirs = bob.send("POST", &path, &key, other.to_string().as_bytes()).await;
            assert_ne!(theirs.status, 409, "{path}: {theirs:?}");
            assert_ne!(theirs.text(), all[0].text(), "{path}");
        }
        let shown = alice.ok("GET", &format!("/sessions/{session}"), json!(null)).await;
        assert_eq!(shown["messageCount"], 3, "the retry made one answer more");
    });
}

#[test]
fn header_and_body_are_the_same_key() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let body = json!({"title": "a", "idempotencyKey": "k1"}).to_string();
        let first = alice.send("POST", "/api/v1/sessions", &[], body.as_bytes()).await;
        let second = alice.send("POST", "/api/v1/sessions", &[("Idempotency-Key", "k1")], b"{\"title\":\"a\"}").await;
        assert_eq!((first.status, first.text()), (201, second.text()));
        let differ = alice.send("POST", "/api/v1/sessions", &[("Idempotency-Key", "k2")], body.as_bytes()).await;
        assert_eq!((differ.status, differ.code().as_str()), (400, "bad_request"));
        let long = "k".repeat(129);
        let long = alice.send("POST", "/api/v1/sessions", &[("Idempotency-Key", long.as_str())], b"{}").await;
        assert_eq!((long.status, long.code().as_str()), (400, "bad_request"));
    });
}

/// Sends it with a key.
async fn keyed(http: &Http, path: &str, key: &str, body: &Value) -> Answer {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    http.send("POST", path, &[("Idempotency-Key", key)], text.as_bytes()).await
}

#[test]
fn what_an_administrator_does_is_done_once() {
    run(async {
        let hub = hub();
        let root = Http::new(&hub.address, &hub.token("root", "default", "owner"));
        let token = hub.token("alice", "default", "member");
        let mut alice = Client::connect(&hub.address, &token).await;
        alice.subscribe("org:default", None).await;
        alice.subscribe("app:deploys", None).await;
        let admin = "/api/v1/admin";
        for (path, body, other) in [
            (format!("{admin}/organizations"), json!({"id": "acme"}), json!({"id": "other"})),
            (format!("{admin}/users"), json!({"id": "bob"}), json!({"id": "bob", "role": "viewer"})),
            (format!("{admin}/users/bob/disable"), Value::Null, json!({"really": true})),
            (format!("{admin}/publish"), publication("one"), publication("two")),
            (format!("{admin}/broadcast"), json!({"message": "one"}), json!({"message": "two"})),
            (format!("{admin}/broadcast/all"), json!({"message": "one"}), json!({"message": "two"})),
        ] {
            let all = join_all((0..20).map(|_| keyed(&root, &path, &path, &body))).await;
            for answer in &all {
                assert!([200, 201].contains(&answer.status), "{path}: {answer:?}");
                assert_eq!((answer.status, answer.text()), (all[0].status, all[0].text()), "{path}");
            }
            let differs = keyed(&root, &path, &path, &other).await;
            assert_eq!((differs.status, differs.code().as_str()), (409, "conflict"), "{path}");
        }
        let told: Vec<Value> = alice.until_pong().await.iter().map(|f| f["event"].clone()).collect();
        assert_eq!(told, ["deployed", "broadcast", "broadcast"], "each once");
    });
}

fn publication(data: &str) -> Value {
    json!({"channel": "app:deploys", "event": "deployed", "data": data})
}

#[test]
fn a_session_is_steered_once() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.session().await;
        let path = format!("/api/v1/sessions/{session}/pause");
        let first = keyed(&alice, &path, "k", &Value::Null).await;
        assert_eq!((first.status, first.json()["state"].as_str()), (200, Some("paused")));
        alice.ok("POST", &format!("/api/v1/sessions/{session}/resume"), Value::Null).await;
        // The answer comes once more, and not the effect.
        assert_eq!(keyed(&alice, &path, "k", &Value::Null).await.text(), first.text());
        let now = alice.ok("GET", &format!("/api/v1/sessions/{session}"), Value::Null).await;
        assert_eq!(now["state"], "active");
    });
}

#[test]
fn what_is_shown_once_is_made_once_and_named_to_whoever_asks_again() {
    run(async {
        let hub = hub();
        let root = Http::new(&hub.address, &hub.token("root", "default", "owner"));
        let keys = "/api/v1/admin/keys";
        let wish = json!({"name": "ci"});
        let all = join_all((0..10).map(|_| keyed(&root, keys, "k", &wish))).await;
        let (made, repeated): (Vec<_>, Vec<_>) = all.iter().partition(|answer| answer.status == 201);
        assert_eq!((made.len(), repeated.len()), (1, 9), "{all:?}");
        let made = made[0].json();
        let secret = made["key"].as_str().expect("a key");
        for answer in repeated {
            assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
            assert_eq!(answer.json()["error"]["details"], json!({"id": made["id"]}));
            assert!(!answer.text().contains(secret));
        }
        let listed = root.ok("GET", keys, Value::Null).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
        let differs = keyed(&root, keys, "k", &json!({"name": "other"})).await;
        assert_eq!((differs.status, &differs.json()["error"]["details"]), (409, &Value::Null));
    });
}

#[test]
fn where_a_key_cannot_be_honoured_it_is_refused_by_name() {
    run(async {
        let hub = hub();
        let root = Http::new(&hub.address, &hub.token("root", "default", "owner"));
        for (path, body) in [
            ("/api/v1/tickets", json!({"route": "/ws"})),
            ("/api/v1/pairing/codes", json!({"deviceName": "phone"})),
            ("/pairing/codes", json!({"deviceName": "phone"})),
            ("/pairing/verify", json!({"code": "ABC123"})),
            ("/api/v1/account/password", json!({"password": "long enough to be one"})),
            ("/api/v1/admin/users", json!({"id": "bob", "password": "long enough to be one"})),
            ("/sign-out", json!({})),
        ] {
            let answer = keyed(&root, path, "k", &body).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path}: {answer:?}");
            let body = answer.json();
            let details = if body["error"].is_object() { &body["error"]["details"] } else { &body["details"] };
            assert_eq!(details["field"], "idempotency-key", "{path}");
        }
        // A request that was refused has left its key free.
        let users = "/api/v1/admin/users";
        assert_eq!(keyed(&root, users, "k", &json!({"id": ""})).await.status, 400);
        assert_eq!(keyed(&root, users, "k", &json!({"id": "bob"})).await.status, 201);
        assert_eq!(keyed(&root, users, &"k".repeat(129), &json!({"id": "ben"})).await.status, 400);
    });
}
