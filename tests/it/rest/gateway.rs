//! The gateway's wire at the root: its paths, its shapes, its words.

use serde_json::json;

use super::{hub, member};
use crate::support::{Http, Hub, HubOptions, run};

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

/// The router reads both as the same address; so does whatever writes the error.
#[test]
fn an_error_has_the_form_of_its_address_however_that_is_spelled() {
    run(async {
        let hub = hub();
        let nobody = Http::anonymous(&hub.address);
        for path in ["/%73essions/x", "/session%73/x", "/health/%64etailed", "/%74ools"] {
            let refused = nobody.get(path).await;
            assert_eq!((refused.status, refused.json()["error"].is_string()), (401, true), "{path}: {refused:?}");
        }
        let refused = nobody.get("/api/v1/%73essions").await;
        assert_eq!((refused.status, refused.json()["error"].is_object()), (401, true), "{refused:?}");
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
        // The owner of any other organization is none of them.
        let neighbour = Http::new(&hub.address, &hub.token("olga", "acme", "owner")).get("/health/detailed").await;
        assert_eq!((neighbour.status, neighbour.code().as_str()), (403, "forbidden"));
        let details = operator.ok("GET", "/health/detailed", json!(null)).await;
        assert_eq!((&details["status"], &details["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
        assert!(details["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{details}");
        let later = operator.ok("GET", "/health/detailed", json!(null)).await;
        let (first, second) = (details["uptime"].as_f64(), later["uptime"].as_f64());
        assert!(first > Some(0.0) && second > first, "{first:?} {second:?}");
        let bytes = |name: &str| details["memory"][name].as_u64().expect("bytes");
        assert!(1 << 20 < bytes("rss") && bytes("rss") <= bytes("peakRss"), "{details}");
        assert!(bytes("peakRss") <= bytes("virtual"), "{details}");
        let names: Vec<&String> = details.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["memory", "status", "timestamp", "uptime", "version"], "nothing else is told");
    });
}

#[test]
fn a_provider_that_is_down_is_listed_and_is_no_failure() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let up = listener.local_addr().expect("an address");
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let down = gone.local_addr().expect("an address");
        drop(gone);
        let hub = Hub::start(
            HubOptions::default()
                .set("OPENAI_BASE_URL", format!("http://{up}/v1"))
                .set("OPENAI_API_KEY", "of-the-openai-api")
                .set("ANTHROPIC_BASE_URL", format!("http://{down}"))
                .set("ANTHROPIC_API_KEY", "of-the-anthropic-api"),
        );
        let anybody = Http::anonymous(&hub.address);
        let ready = anybody.get("/ready").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "down": ["anthropic"]})));
        // Whoever listens there was sent nothing.
        let (mut asked, _) = listener.accept().await.expect("the hub knocks");
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut asked, &mut bytes).await.expect("the hub leaves");
        assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    });
}
