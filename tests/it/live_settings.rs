//! Settings that are changed while the hub runs count at once, for everybody, and after a restart.

use serde_json::{Value, json};
use switchboard::domain::ids::{Source, SystemSource};

use crate::support::{Http, Hub, HubOptions, Identity, run};

/// A hub with two workers whose limits are those of its configuration, but for one.
fn hub(config: &str) -> Hub {
    let options = HubOptions::default().limited().set("SWITCHBOARD_SERVER__WORKERS", 2).config(config);
    Hub::start(options.set("SWITCHBOARD_LIMITS__REQUESTS_PER_MINUTE", 0))
}

/// Whoever runs the hub.
fn root(hub: &Hub) -> Http {
    Http::new(&hub.address, &hub.token("root", "default", "owner"))
}

async fn patched(root: &Http, patch: Value) -> Value {
    root.ok("PATCH", "/config", patch).await
}

#[test]
fn a_limit_counts_at_once_and_the_files_again_when_it_is_taken_away() {
    run(async {
        let hub = hub("[limits]\nmessages_per_minute = 3");
        let root = root(&hub);
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let session = alice.session().await;
        let path = format!("/api/v1/sessions/{session}/messages");
        // Each request is a connection of its own, for one of the workers or the other.
        let send = async || alice.post(&path, json!({"content": "hi"})).await;
        patched(&root, json!({"limits": {"messages_per_minute": 1}})).await;
        assert_eq!([send().await.status, send().await.status], [202, 429]);
        patched(&root, json!({"limits": {"messages_per_minute": 0}})).await;
        for _ in 0..8 {
            let answer = send().await;
            assert!(answer.status == 202 && answer.header("ratelimit-limit").is_none(), "{answer:?}");
        }
        let shown = patched(&root, json!({"limits": {"messages_per_minute": null}})).await;
        assert_eq!((&shown["limits"]["messages_per_minute"], &shown["runtime"]["stored"]), (&json!(3), &json!([])));
        let bob = Http::new(&hub.address, &hub.token("bob", "acme", "member"));
        let path = format!("/api/v1/sessions/{}/messages", bob.session().await);
        for status in [202, 202, 202, 429] {
            assert_eq!(bob.post(&path, json!({"content": "hi"})).await.status, status);
        }
    });
}

#[test]
fn agents_and_sessions_that_are_open_follow() {
    run(async {
        let hub = hub("");
        let root = root(&hub);
        let alice = Http::new(&hub.address, &hub.token("alice", "acme", "member"));
        let session = alice.session().await;
        alice.ok("POST", &format!("/api/v1/sessions/{session}/pause"), json!(null)).await;
        let path = format!("/api/v1/sessions/{session}/messages");
        assert_eq!(alice.post(&path, json!({"content": "one"})).await.status, 202);
        patched(&root, json!({"limits": {"queue_turns": 1}, "agents": {"assistant": {"model": "demo-two"}}})).await;
        let full = alice.post(&path, json!({"content": "two"})).await;
        assert_eq!((full.code().as_str(), full.status), ("busy", 409), "it is the session that was open before");
        for _ in 0..8 {
            assert_eq!(alice.ok("GET", "/api/v1/agents/assistant", json!(null)).await["model"], "demo-two");
        }
        patched(&root, json!({"limits": {"queue_turns": null}})).await;
        assert_eq!(alice.post(&path, json!({"content": "two"})).await.status, 202);
    });
}

#[test]
fn the_level_of_the_log_and_the_friends_of_the_page_follow() {
    run(async {
        let hub = hub("");
        let root = root(&hub);
        let identity = Identity::of(&hub.folder());
        identity.user("alice", "acme", "member").await;
        let cookie = format!("switchboard_session={}", identity.session("alice", "acme").await);
        let anybody = Http::anonymous(&hub.address);
        let headers = [("Cookie", cookie.as_str()), ("Origin", "https://panel.example")];
        assert_eq!(anybody.send("GET", "/api/v1/session", &headers, b"").await.status, 403);
        let both = json!({"server": {"origins": ["https://panel.example"]}, "log": {"level": "error"}});
        patched(&root, both).await;
        for _ in 0..8 {
            assert_eq!(anybody.send("GET", "/api/v1/session", &headers, b"").await.status, 200);
        }
        anybody.send("GET", "/health", &[("X-Request-Id", "while-silent")], b"").await;
        patched(&root, json!({"log": {"level": "info"}, "server": {"origins": []}})).await;
        anybody.send("GET", "/health", &[("X-Request-Id", "while-told")], b"").await;
        hub.logged("while-told").await;
        assert!(!hub.log().iter().any(|line| line.contains("while-silent")));
        assert_eq!(anybody.send("GET", "/api/v1/session", &headers, b"").await.status, 403);
    });
}

#[test]
fn what_is_stored_survives_beats_the_file_and_is_beaten_by_the_environment() {
    run(async {
        let options = HubOptions::default().limited().config("[log]\nlevel = \"warn\"\n[limits]\nwait_seconds = 9");
        // At `warn` the hub would not say where it listens.
        let options = options.set("SWITCHBOARD_LOG__LEVEL", "info");
        let mut hub = Hub::start(options.clone());
        let shown = patched(&root(&hub), json!({"limits": {"wait_seconds": 11, "queue_turns": 7}})).await;
        assert_eq!(shown["runtime"]["stored"], json!(["limits.queue_turns", "limits.wait_seconds"]));
        assert_eq!(shown["runtime"]["pinned"], json!({"log.level": "SWITCHBOARD_LOG__LEVEL"}));
        hub = hub.kill_and_restart();
        let shown = root(&hub).ok("GET", "/api/v1/config", json!(null)).await;
        assert_eq!((&shown["limits"]["wait_seconds"], &shown["limits"]["queue_turns"]), (&json!(11), &json!(7)));
        hub.revive_with(options.clone().set("SWITCHBOARD_LIMITS__WAIT_SECONDS", 13));
        let shown = root(&hub).ok("GET", "/config", json!(null)).await;
        assert_eq!((&shown["limits"]["wait_seconds"], &shown["limits"]["queue_turns"]), (&json!(13), &json!(7)));
        let pinned = root(&hub).send("PATCH", "/config", &[], br#"{"limits":{"wait_seconds":5}}"#).await;
        assert_eq!((pinned.status, &pinned.json()["details"]["field"]), (409, &json!("limits.wait_seconds")));
        assert!(pinned.text().contains("SWITCHBOARD_LIMITS__WAIT_SECONDS"), "{pinned:?}");
        // Nothing of it was lost on the way.
        hub.revive_with(options);
        let shown = root(&hub).ok("GET", "/config", json!(null)).await;
        assert_eq!(shown["limits"]["wait_seconds"], 11);
    });
}

#[test]
fn a_change_is_written_down_before_and_heard_from_another_process() {
    run(async {
        let hub = hub("");
        let root = root(&hub);
        let answer =
            root.send("PATCH", "/config", &[("X-Request-Id", "change-1")], br#"{"limits":{"wait_seconds":21}}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // Media type of merge patches.
        let merge = [("Content-Type", "application/merge-patch+json")];
        assert_eq!(
            root.send("PATCH", "/api/v1/config", &merge, br#"{"limits":{"wait_seconds":null}}"#).await.status,
            200
        );
        let audit = root.ok("GET", "/api/v1/admin/audit?organization=*&action=config.update", json!(null)).await;
        let rows = audit["items"].as_array().expect("rows");
        let told = |row: &Value| (row["details"]["changed"].clone(), row["actor"].clone(), row["outcome"].clone());
        let rows: Vec<_> = rows.iter().map(told).collect();
        let row = |value: Value| (json!({"limits.wait_seconds": value}), json!("root"), Value::Null);
        assert_eq!(rows, [row(json!(null)), row(json!(21))]);
        // The same store, from this process.
        let store = Identity::of(&hub.folder()).0;
        let (n, _) = store.hub_settings_after(0).await.expect("an answer").expect("a document");
        let document =
            json!({"limits.wait_seconds": 33, "providers.openai.base_url": "http://127.0.0.1:1", "no.such": 1});
        store.put_hub_settings(n, &document, SystemSource.now()).await.expect("it is stored");
        let shown = loop {
            // Bounded by the test's own limit.
            let shown = root.ok("GET", "/config", json!(null)).await;
            if shown["limits"]["wait_seconds"] == 33 {
                break shown;
            }
        };
        assert_eq!(
            shown["providers"]["openai"]["base_url"], "https://api.openai.com/v1",
            "what may not be changed is not"
        );
        hub.logged("a stored setting does not count: no.such").await;
    });
}
