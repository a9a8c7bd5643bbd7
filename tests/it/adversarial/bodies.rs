//! Bodies, queries and fields that no well-meaning client sends.

use serde_json::{Value, json};

use crate::support::{Client, Http, Hub, HubOptions, run};

async fn json_post(http: &Http, path: &str, body: &str) -> (u16, String) {
    let answer = http.send("POST", path, &[("Content-Type", "application/json")], body.as_bytes()).await;
    (answer.status, if answer.status < 400 { String::new() } else { answer.code() })
}

#[test]
fn case_67_bodies_that_readers_take_differently_are_refused_by_every_family() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let admin = Http::new(&hub.address, &hub.token("root", "acme", "owner"));
        let session = admin.session().await;
        let ledger = hub.ledger();
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let nested = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        for (path, field) in [
            ("/sessions".to_owned(), "channel"),
            (format!("/sessions/{session}/messages"), "content"),
            ("/api/v1/sessions".to_owned(), "title"),
            (format!("/api/v1/sessions/{session}/messages"), "content"),
            ("/api/v1/projects".to_owned(), "name"),
            ("/api/v1/tickets".to_owned(), "route"),
            ("/pairing/codes".to_owned(), "deviceName"),
            ("/pairing/verify".to_owned(), "code"),
            ("/api/v1/account/password".to_owned(), "password"),
            ("/api/v1/admin/users".to_owned(), "id"),
            ("/api/v1/admin/keys".to_owned(), "name"),
        ] {
            // Whoever asks there is nobody yet, and may not say as much.
            let wanted = |body: &str| match path == "/pairing/verify" && body.len() > 16 << 10 {
                true => (413, "too_large".to_owned()),
                false => (400, "bad_request".to_owned()),
            };
            for value in [
                deep.as_str(),
                nested.as_str(),
                objects.as_str(),
                "[[[[",
                "99999999999999999999999999",
                "1e999",
                r#""\ud800""#,
                r#""\udc00\ud800""#,
                r#""a","FIELD":"b""#,
            ] {
                let body = format!(r#"{{"{field}":{}}}"#, value.replace("FIELD", field));
                let shown: String = body.chars().take(60).collect();
                let refused = json_post(&admin, &path, &body).await;
                assert_eq!(refused, wanted(&body), "{path}: {shown}");
            }
            for body in [deep.as_str(), "null", "7", "\"x\"", "{} {}", "{\"a\":1}}"] {
                let shown: String = body.chars().take(60).collect();
                let refused = json_post(&admin, &path, body).await;
                assert_eq!(refused, wanted(body), "{path}: {shown}");
            }
        }
        assert_eq!(admin.get("/health").await.status, 200);
        assert_eq!(ledger.changed(), [""; 0]);
        // What nobody can read was asked of nobody: no right was refused.
        assert_eq!(hub.aftermath(&ledger, &[&"[".repeat(64)]), [""; 0]);
    });
}

#[test]
fn case_68_limits_and_searches_that_want_more_get_no_more() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let owner = hub.token("root", "acme", "owner");
        let alice = Http::new(&hub.address, &owner);
        let session = alice.session().await;
        alice.ok("POST", &format!("/api/v1/sessions/{session}/messages?wait=true"), json!({"content": "walrus"})).await;
        let stranger = Http::new(&hub.address, &hub.token("eve", "globex", "owner"));
        let ledger = hub.ledger();
        for path in [
            "/api/v1/sessions".to_owned(),
            "/api/v1/projects".to_owned(),
            "/api/v1/approvals".to_owned(),
            "/devices".to_owned(),
            "/api/v1/admin/users".to_owned(),
            "/api/v1/admin/audit".to_owned(),
            format!("/sessions/{session}/messages"),
            format!("/api/v1/sessions/{session}/messages"),
        ] {
            for limit in ["-1", "0", "201", "99999999999999999999", "1e3", "0x10", "1;drop table account", "NaN"] {
                let limit: String = url::form_urlencoded::byte_serialize(limit.as_bytes()).collect();
                let answer = alice.get(&format!("{path}?limit={limit}")).await;
                assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path} {limit}");
            }
        }
        assert_eq!(alice.ok("GET", "/api/v1/sessions?q=walrus", Value::Null).await["items"][0]["id"], session.as_str());
        for q in [
            "' OR 1=1 --",
            "\" OR \"\"=\"",
            "walrus' UNION SELECT * FROM account --",
            "%",
            "_",
            "*",
            "w*",
            "\"",
            "NEAR(",
            "walrus AND",
            "NOT walrus",
            "content:walrus",
            "^walrus",
            "(",
            "\0",
            "'; DROP TABLE message; --",
        ] {
            let coded: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
            for http in [&alice, &stranger] {
                let answer = http.get(&format!("/api/v1/sessions?q={coded}")).await;
                assert!(matches!(answer.status, 200 | 400), "{q}: {answer:?}");
                let found = answer.status == 200 && answer.text().contains(&session);
                assert!(!found || std::ptr::eq(http, &alice), "{q} finds another organization's");
                let answer = http.get(&format!("/api/v1/admin/users?q={coded}")).await;
                assert!(matches!(answer.status, 200 | 400), "{q}: {answer:?}");
                let whole =
                    answer.status == 200 && answer.json()["items"].as_array().is_some_and(|all| !all.is_empty());
                assert!(!whole, "{q} is in nobody's name: {answer:?}");
            }
        }
        // A word where an id stands is an id that nobody has.
        for path in ["/api/v1/sessions/search?q=walrus", "/sessions/search", "/api/v1/projects/search"] {
            let answer = alice.get(path).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
        }
        assert_eq!(alice.ok("GET", "/api/v1/sessions?q=walrus", Value::Null).await["items"][0]["id"], session.as_str());
        assert_eq!(ledger.changed(), [""; 0]);
        // A word may be a session's id that its client brought; a project's it cannot be, and nothing was looked for.
        let named = ["root@acme sessions.get not_found 2"];
        assert_eq!(hub.aftermath(&ledger, &["DROP TABLE", "UNION SELECT"]), named);
    });
}

#[test]
fn case_70_who_somebody_is_comes_from_the_credential_alone() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let http = Http::new(&hub.address, &token);
        let mut socket = Client::connect(&hub.address, &token).await;
        let bob = hub.token("bob", "acme", "member");
        let mut bob = Client::connect(&hub.address, &bob).await;
        let mut eve = Client::connect(&hub.address, &hub.token("eve", "globex", "owner")).await;
        let ledger = hub.ledger();
        let more = json!({
            "id": "sess_01930000000070008000000000000000", "user": "bob", "userId": "bob", "organization": "globex",
            "organizationId": "globex", "role": "owner", "hubAdmin": true, "hub_admin": true, "permissions": ["*"],
            "createdAt": "1970-01-01T00:00:00Z", "createdBy": "bob", "state": "archived", "messageCount": 7
        });
        let with = |own: Value| {
            let mut all = more.clone();
            for (name, value) in own.as_object().expect("an object") {
                all[name] = value.clone();
            }
            all
        };
        let rest = http.ok("POST", "/api/v1/sessions", with(json!({"title": "x"}))).await;
        let gateway = http.ok("POST", "/sessions", with(json!({"channel": "x"}))).await;
        let native = socket.call("sessions.create", with(json!({"title": "x"}))).await;
        for made in [&rest, &gateway, &native] {
            let session = made["id"].as_str().expect("an id");
            assert_ne!(session, "sess_01930000000070008000000000000000");
            let path = format!("/api/v1/sessions/{session}");
            http.ok("PATCH", &path, with(json!({"title": "mine"}))).await;
            socket.call("sessions.update", with(json!({"sessionId": session, "title": "mine"}))).await;
            let shown = http.ok("GET", &path, Value::Null).await;
            assert_eq!((&shown["title"], &shown["state"]), (&json!("mine"), &json!("active")), "{shown}");
            assert!(!shown["createdAt"].as_str().expect("a time").starts_with("1970"));
            // Not bob's, and not in eve's organization.
            assert_eq!(bob.refused("sessions.get", json!({"sessionId": session})).await, "forbidden");
            assert_eq!(eve.refused("sessions.get", json!({"sessionId": session})).await, "not_found");
            http.ok("POST", &format!("{path}/messages?wait=true"), with(json!({"content": "a", "role": "assistant"})))
                .await;
            socket.call("messages.send", with(json!({"sessionId": session, "content": "b", "role": "system"}))).await;
            let messages = socket.call("messages.list", json!({"sessionId": session})).await;
            let roles: Vec<&str> =
                messages["items"].as_array().expect("messages").iter().filter_map(|m| m["role"].as_str()).collect();
            assert_eq!(roles[..3], ["user", "assistant", "user"], "{messages}");
        }
        let made = http.ok("POST", "/api/v1/projects", with(json!({"name": "mine"}))).await;
        assert_eq!(eve.refused("projects.get", json!({"projectId": made["id"]})).await, "not_found");
        // A ticket for another organization than the credential's is none.
        let ticket = http.post("/api/v1/tickets", json!({"route": "/ws", "organizationId": "globex"})).await;
        assert_eq!(ticket.code(), "forbidden");
        let me = http.ok("GET", "/api/v1/session?role=owner&userId=bob&hubAdmin=true", Value::Null).await;
        assert_eq!(
            (&me["user"], &me["organization"], &me["role"], &me["hubAdmin"]),
            (&json!("alice"), &json!("acme"), &json!("member"), &json!(false))
        );
        // Nobody's account, key, device or organization is another than it was.
        let changed = ledger.changed();
        for untouched in ["account", "organization", "api_key", "device", "ticket", "identity_change", "hub_settings"] {
            assert!(!changed.iter().any(|table| table == untouched), "{changed:?}");
        }
        let refused = [
            "alice@acme tickets.create forbidden 1",
            "bob@acme sessions.get forbidden 3",
            "eve@globex projects.get not_found 1",
            "eve@globex sessions.get not_found 3",
        ];
        assert_eq!(hub.aftermath(&ledger, &[&token]), refused);
    });
}
