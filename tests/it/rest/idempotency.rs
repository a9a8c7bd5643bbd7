//! The same key with the same body has one effect and one answer; with another body it is a conflict.

use futures_util::future::join_all;
use serde_json::json;

use super::{hub, member};
use crate::support::{Http, run};

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
