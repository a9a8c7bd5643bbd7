//! Whoever shows nothing, or something that is no credential, is nobody, and learns nothing.

use serde_json::json;

use super::scene::{Scene, assert_refused};
use crate::limits::raw::{knock, send};
use crate::support::{HubOptions, run};

const HERE: &str = "127.0.0.1";

/// Things that are there and no credential.
fn wrong(good: &str) -> Vec<String> {
    let (head, signature) = good.rsplit_once('.').expect("a JWT");
    let turned: String = signature.chars().rev().collect();
    vec![
        "x".into(),
        "null".into(),
        "undefined".into(),
        "true".into(),
        "0".into(),
        "*".into(),
        "..".into(),
        format!("{head}."),
        format!("{head}.{turned}"),
        format!("{good}x"),
        format!("{good}.{signature}"),
        "sb_not-a-key-0123456789".into(),
        "sbs_not-a-session-0123456789".into(),
        "d".repeat(43),
        "t".repeat(20_000),
    ]
}

#[test]
fn case_1_no_token_an_empty_one_and_a_wrong_one_are_no_token_at_any_socket() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, good) = (scene.address().to_owned(), scene.token());
        let own = format!("http://{address}");
        for door in ["/ws", "/ws/client"] {
            let refused = async |path: &str, headers: &[(&str, &str)]| {
                let answer = knock(HERE, &address, path, headers).await.expect_err("nobody came in");
                let shown: String = format!("{path} {headers:?}").chars().take(120).collect();
                assert_refused(&answer, 401, "unauthorized", &shown);
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            };
            refused(door, &[]).await;
            for nothing in
                ["?token=", "?token", "?ticket=", "?Token=x", "?access_token=x", "?token=&organizationId=acme"]
            {
                refused(&format!("{door}{nothing}"), &[]).await;
            }
            for scheme in ["Bearer", "Bearer ", "bearer", "", "Basic YWRtaW46YWRtaW4=", "Token x"] {
                refused(door, &[("authorization", scheme)]).await;
            }
            for token in wrong(&good) {
                refused(&format!("{door}?token={token}"), &[]).await;
                refused(&format!("{door}?ticket={token}"), &[]).await;
                refused(door, &[("authorization", &format!("Bearer {token}"))]).await;
                refused(door, &[("cookie", &format!("switchboard_session={token}")), ("origin", &own)]).await;
                // What stands first counts: a good one behind it does not make up for it.
                refused(&format!("{door}?token={good}"), &[("authorization", &format!("Bearer {token}"))]).await;
            }
            let bearer = format!("Bearer {good}");
            refused(door, &[("authorization", &bearer), ("authorization", &bearer)]).await;
        }
        assert!(knock(HERE, &address, &format!("/ws?token={good}"), &[]).await.is_ok(), "the good one is good");
        let secrets = [good.as_str(), "not-a-key", "not-a-session", "YWRtaW46YWRtaW4"];
        scene.unharmed(&[("/ws", "unauthorized"), ("/ws/client", "unauthorized")], &secrets).await;
    });
}

/// The audit log only grows: strangers must not choose what stands in it, nor how much.
#[test]
fn what_strangers_knock_at_is_one_row_whatever_they_call_it() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let address = scene.address().to_owned();
        let long = format!("/{}", "x".repeat(2000));
        for path in ["/door-1", "/door-2", "/ws/", "/%77s", "/ws/agent", &long] {
            let answer = knock(HERE, &address, path, &[]).await.expect_err("nobody came in");
            assert_refused(&answer, 404, "not_found", path);
            let answer = knock(HERE, &address, path, &[("host", "evil.example")]).await.expect_err("nobody came in");
            assert_refused(&answer, 421, "forbidden", path);
        }
        let rows = [("an unknown address", "not_found"), ("an unknown address", "forbidden")];
        scene.unharmed(&rows, &["door-1", "door-2", "%77s", "xxxx"]).await;
    });
}

#[test]
fn case_1_no_token_an_empty_one_and_a_wrong_one_are_no_token_over_http() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, good) = (scene.address().to_owned(), scene.token());
        let own = format!("http://{address}");
        let foreign = format!("/api/v1/sessions/{}", scene.session);
        for (method, path, body) in [
            ("POST", "/sessions", "{\"channel\":\"x\"}"),
            ("GET", "/api/v1/session", ""),
            ("POST", "/api/v1/projects", "{\"name\":\"x\"}"),
            ("DELETE", foreign.as_str(), ""),
        ] {
            let refused = async |path: &str, headers: &[(&str, &str)]| {
                let headers: Vec<_> =
                    [("content-type", "application/json")].into_iter().chain(headers.to_vec()).collect();
                let answer = send(&address, method, path, &headers, body).await;
                assert_refused(&answer, 401, "unauthorized", &format!("{method} {path}"));
            };
            refused(path, &[]).await;
            // In an address a token would reach logs and histories: here none is looked for.
            refused(&format!("{path}?token={good}"), &[]).await;
            refused(&format!("{path}?access_token={good}"), &[]).await;
            for header in ["x-api-key", "x-auth-token", "sec-websocket-protocol"] {
                refused(path, &[(header, &good)]).await;
            }
            for token in wrong(&good) {
                refused(path, &[("authorization", &format!("Bearer {token}"))]).await;
                refused(path, &[("cookie", &format!("switchboard_session={token}")), ("origin", &own)]).await;
            }
        }
        let rows = ["sessions.create", "session.get", "projects.create", "sessions.delete"];
        let rows = rows.map(|action| (action, "unauthorized"));
        scene.unharmed(&rows, &[&good, "not-a-key", "not-a-session"]).await;
    });
}

/// Addresses at which other servers talk about themselves.
const ELSEWHERE_OPEN: [&str; 19] = [
    "/debug",
    "/debug/pprof",
    "/debug/pprof/heap",
    "/debug/vars",
    "/actuator",
    "/actuator/env",
    "/server-status",
    "/status",
    "/console",
    "/admin",
    "/env",
    "/.env",
    "/.git/config",
    "/config.json",
    "/metrics/",
    "/health/",
    "/health/detailed/",
    "/api/v1/debug",
    "/dashboard",
];

#[test]
fn case_76_nobody_reads_the_hubs_inside() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, member) = (scene.address().to_owned(), format!("Bearer {}", scene.token()));
        let relayed = ("x-forwarded-for", "203.0.113.9");
        let ask = async |path: &str, headers: &[(&str, &str)]| send(&address, "GET", path, headers, "").await;
        // This machine may read the numbers; nobody who comes through a proxy may.
        for headers in
            [vec![relayed], vec![("forwarded", "for=203.0.113.9")], vec![relayed, ("x-forwarded-for", "127.0.0.1")]]
        {
            assert_refused(&ask("/metrics", &headers).await, 401, "unauthorized", "/metrics");
            let known: Vec<_> = headers.into_iter().chain([("authorization", member.as_str())]).collect();
            assert_refused(&ask("/metrics", &known).await, 403, "forbidden", "/metrics");
        }
        for headers in [vec![], vec![relayed], vec![("authorization", "Bearer x")]] {
            assert_refused(&ask("/health/detailed", &headers).await, 401, "unauthorized", "/health/detailed");
        }
        assert_refused(&ask("/health/detailed", &[("authorization", &member)]).await, 403, "forbidden", "a member");
        for path in
            ["/api/v1/admin/users", "/api/v1/admin/audit", "/api/v1/admin/organizations", "/api/v1/config", "/config"]
        {
            assert_refused(&ask(path, &[]).await, 401, "unauthorized", path);
        }
        for path in ELSEWHERE_OPEN {
            for headers in [vec![], vec![("authorization", member.as_str())]] {
                let answer = ask(path, &headers).await;
                assert_refused(&answer, 404, "not_found", path);
            }
        }
        // What anybody may know is that it lives, and no more.
        let health = ask("/health", &[relayed]).await;
        let fields: Vec<_> = health.body.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["status", "timestamp"], "{}", health.body);
        assert_eq!(ask("/ready", &[relayed]).await.body, json!({"ready": true}));
        for answer in [health, ask("/nothing", &[]).await] {
            assert!(answer.header("server").is_none() && answer.header("x-powered-by").is_none(), "{}", answer.head);
        }
        let rows = [
            ("metrics", "unauthorized"),
            ("metrics", "forbidden"),
            ("health.detailed", "unauthorized"),
            ("health.detailed", "forbidden"),
            ("admin.users.list", "unauthorized"),
            ("admin.audit", "unauthorized"),
            ("admin.organizations.list", "unauthorized"),
            ("config.get", "unauthorized"),
        ];
        scene.unharmed(&rows, &[member.trim_start_matches("Bearer ")]).await;
    });
}
