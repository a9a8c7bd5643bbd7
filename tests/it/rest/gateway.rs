//! The gateway's wire at the root: its paths, its shapes, its words.

use serde_json::json;

use super::{hub, member};
use crate::support::{Http, run};

#[test]
fn a_session_is_made_shown_and_deleted() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let made = alice.post("/sessions", json!({"channel": "telegram", "workDir": "/srv/bot"})).await;
        assert_eq!(made.status, 201);
        let made = made.json();
        assert_eq!(made.as_object().map(|o| o.len()), Some(3), "{made}");
        assert_eq!(made["channel"], "telegram");
        assert!(made["createdAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{made}");
        let path = format!("/sessions/{}", made["id"].as_str().expect("an id"));
        let shown = alice.ok("GET", &path, json!(null)).await;
        assert_eq!((&shown["id"], &shown["channel"]), (&made["id"], &made["channel"]));
        assert_eq!(shown["messageCount"], 0);
        alice.ok("POST", &format!("{path}/messages"), json!({"content": "hello"})).await;
        assert_eq!(alice.ok("GET", &path, json!(null)).await["messageCount"], 2);
        let gone = alice.delete(&path).await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
        let after = alice.get(&path).await;
        assert_eq!((after.status, after.code().as_str()), (404, "not_found"));
        assert_eq!(after.json()["error"], "Session not found");
    });
}

#[test]
fn others_are_told_so_in_this_wires_words() {
    run(async {
        let hub = hub();
        let (alice, bob) = (member(&hub, "alice"), member(&hub, "bob"));
        let path = format!("/sessions/{}", alice.session().await);
        for (method, path, body) in [
            ("GET", path.clone(), ""),
            ("DELETE", path.clone(), ""),
            ("GET", format!("{path}/messages"), ""),
            ("POST", format!("{path}/messages"), "{\"content\":\"hi\"}"),
        ] {
            let answer = bob.send(method, &path, &[], body.as_bytes()).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{method} {path}");
            assert_eq!(answer.json()["error"], "Forbidden");
        }
        let nobody = Http::anonymous(&hub.address).get(&path).await;
        assert_eq!((nobody.status, nobody.code().as_str()), (401, "unauthorized"));
        assert!(nobody.json()["error"].is_string(), "{nobody:?}");
    });
}

#[test]
fn case_24_another_organizations_session_is_no_session() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let theirs = alice.session().await;
        alice.ok("POST", &format!("/sessions/{theirs}/messages"), json!({"content": "hello"})).await;
        // The same user's name elsewhere is somebody else, and an owner there is nobody here.
        let mallory = Http::new(&hub.address, &hub.token("alice", "other", "owner"));
        let unknown = "sess_0193000000007000800000000000000a";
        let turn = "turn_0193000000007000800000000000000a";
        for (method, path, body) in [
            ("GET", "/sessions/{}", ""),
            ("DELETE", "/sessions/{}", ""),
            ("GET", "/sessions/{}/messages", ""),
            ("POST", "/sessions/{}/messages", "{\"content\":\"hi\"}"),
            ("GET", "/api/v1/sessions/{}", ""),
            ("PATCH", "/api/v1/sessions/{}", "{\"title\":\"mine\"}"),
            ("DELETE", "/api/v1/sessions/{}", ""),
            ("POST", "/api/v1/sessions/{}/archive", ""),
            ("POST", "/api/v1/sessions/{}/pause", ""),
            ("POST", "/api/v1/sessions/{}/messages", "{\"content\":\"hi\"}"),
            ("POST", "/api/v1/sessions/{}/messages?wait=true", "{\"content\":\"hi\"}"),
            ("GET", "/api/v1/sessions/{}/messages", ""),
            ("GET", "/api/v1/sessions/{}/todos", ""),
            ("PUT", "/api/v1/sessions/{}/todos", "{\"todos\":[]}"),
            ("GET", "/api/v1/sessions/{}/approvals", ""),
            ("POST", "/api/v1/sessions/{}/stop", ""),
            ("POST", "/api/v1/sessions/{}/retry", "{}"),
            ("GET", "/api/v1/sessions/{}/turns/TURN", ""),
        ] {
            let ask = async |id: &str| {
                let path = path.replace("{}", id).replace("TURN", turn);
                mallory.send(method, &path, &[], body.as_bytes()).await
            };
            let (foreign, absent) = (ask(&theirs).await, ask(unknown).await);
            assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"), "{method} {path}");
            assert_eq!((foreign.status, foreign.without_id()), (absent.status, absent.without_id()), "{method} {path}");
        }
    });
}

#[test]
fn tools_are_listed_and_details_are_for_the_hubs_administrators() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let tools = alice.ok("GET", "/tools", json!(null)).await;
        let fetch = tools["tools"].as_array().and_then(|all| all.iter().find(|tool| tool["name"] == "http_fetch"));
        assert_eq!(fetch.expect("the tool")["inputSchema"]["type"], "object");
        let refused = alice.get("/health/detailed").await;
        assert_eq!((refused.status, refused.json()["error"].as_str()), (403, Some("Forbidden")));
        assert_eq!(Http::anonymous(&hub.address).get("/health/detailed").await.status, 401);
        let operator = Http::new(&hub.address, &hub.token("root", "default", "owner"));
        let details = operator.get("/health/detailed").await;
        if details.status == 200 {
            let details = details.json();
            assert_eq!((&details["status"], &details["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
            assert!(details["uptime"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{details}");
            let rss = details["memory"]["rss"].as_u64().expect("bytes");
            assert!(rss > 1 << 20 && rss <= details["memory"]["peakRss"].as_u64().expect("bytes"), "{details}");
        }
    });
}
