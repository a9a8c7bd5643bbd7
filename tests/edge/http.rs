//! Health, readiness, metrics, request ids, errors in one shape, and what the log holds.

use switchboard::telemetry::METRICS;

use crate::hub::{Data, Hub};

#[test]
fn health_and_ready_answer_anybody() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    let health = hub.get("/health", &[("Authorization", "Bearer nonsense")]);
    assert_eq!((health.status(), health.json()["status"].as_str()), (200, Some("ok")));
    assert!(health.json()["timestamp"].as_str().unwrap().ends_with('Z'));
    let ready = hub.get("/ready", &[]);
    assert_eq!((ready.status(), ready.body()), (200, "{\"ready\":true}"));
    assert_eq!(hub.send("HEAD", "/health", &[], "").status(), 200);
}

#[test]
fn a_request_has_an_id_that_comes_back() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    assert_eq!(hub.get("/health", &[("X-Request-Id", "trace-7")]).header("x-request-id"), Some("trace-7"));
    let long = "x".repeat(129);
    for bad in [long.as_str(), "two words", ""] {
        let made = hub.get("/health", &[("X-Request-Id", bad)]);
        assert!(made.header("x-request-id").unwrap().starts_with("req_"), "{bad}");
    }
    let (_, log) = hub.stop();
    assert!(
        log.lines().any(|line| line.contains("\"request_id\":\"trace-7\"") && line.contains("\"path\":\"/health\""))
    );
}

#[test]
fn errors_have_one_shape() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    for (method, path, status, code) in [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/health", 405, "unknown_method"),
        ("GET", "/sign-out", 405, "unknown_method"),
        ("GET", "/api/v1/session", 401, "unauthorized"),
        ("POST", "/sign-in", 400, "bad_request"),
        ("GET", "/sign-in?code=a&code=b", 400, "bad_request"),
    ] {
        let answer = hub.send(method, path, &[], "");
        assert_eq!((answer.status(), answer.error().0.as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").is_some());
    }
}

#[test]
fn metrics_are_for_this_machine_and_for_administrators() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    hub.get("/api/v1/session?token=abc", &[]);
    let metrics = hub.get("/metrics", &[]);
    assert_eq!(metrics.status(), 200);
    assert!(
        metrics.body().contains("switchboard_http_requests_total{method=\"GET\",status=\"401\"} 1"),
        "{}",
        metrics.0
    );
    for name in metrics.body().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(METRICS.iter().any(|row| row.name == name), "{name} is not in the table");
    }
    let member = format!("Bearer {}", data.token(&["--user", "ann"]));
    let owner = format!("Bearer {}", data.token(&["--user", "owner"]));
    let relayed = ("X-Forwarded-For", "192.0.2.7");
    assert_eq!(hub.get("/metrics", &[relayed]).error().0, "unauthorized");
    assert_eq!(hub.get("/metrics", &[relayed, ("Authorization", &member)]).error().0, "forbidden");
    assert_eq!(hub.get("/metrics", &[relayed, ("Authorization", &owner)]).status(), 200);
    for header in ["Via", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host"] {
        assert_eq!(hub.get("/metrics", &[(header, "192.0.2.7")]).error().0, "unauthorized", "{header}");
    }
}

#[test]
fn behind_a_proxy_that_says_nothing_metrics_ask_for_a_credential() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[("SWITCHBOARD_SERVER__PUBLIC_URL", "https://hub.example.org")]);
    // As nginx passes it on where nobody told it to say more: from this machine, under the name of its upstream.
    assert_eq!(hub.get("/metrics", &[]).error().0, "unauthorized");
    let owner = format!("Bearer {}", data.token(&["--user", "owner"]));
    assert_eq!(hub.get("/metrics", &[("Authorization", &owner)]).status(), 200);
}

#[test]
fn no_secret_and_no_token_reaches_the_log() {
    let data = Data::new();
    let environment = [
        ("SWITCHBOARD_LOG__LEVEL", "trace"),
        ("OPENAI_API_KEY", "sk-0123456789-not-for-logs"),
        ("AGENT_JWT_SECRET", "0123456789-not-for-logs-0123456789-x"),
    ];
    let hub = Hub::start(&data.path(), &environment);
    let token = data.token(&["--user", "ann"]);
    let bearer = format!("Bearer {token}");
    let code = hub.code().unwrap();
    assert_eq!(hub.get("/api/v1/session", &[("Authorization", &bearer)]).status(), 200);
    for path in ["/api/v1/session", "/nothing", "/health", "/metrics", "/sign-in"] {
        hub.get(&format!("{path}?token={token}"), &[]);
        hub.get(&format!("{path}?token={token}"), &[("Authorization", "Bearer wrong-0123456789"), ("Cookie", &token)]);
    }
    let answer = hub.send("POST", &format!("/sign-in?code={code}"), &[], &format!("code={code}"));
    let cookie = answer.header("set-cookie").unwrap().split([';', '=']).nth(1).unwrap().to_owned();
    hub.get("/api/v1/session", &[("Cookie", &format!("switchboard_session={cookie}"))]);
    let secret = std::fs::read_to_string(data.path().join("secrets/jwt")).unwrap();
    let (_, log) = hub.stop();
    assert!(log.contains("\"path\":\"/nothing\""), "the log holds the requests");
    for (what, text) in [
        ("token", token.as_str()),
        ("its signature", token.rsplit('.').next().unwrap()),
        ("a wrong token", "wrong-0123456789"),
        ("cookie", &cookie),
        ("secret", secret.trim()),
        ("configured secrets", "not-for-logs"),
    ] {
        assert!(!log.contains(text), "{what} stands in the log: {log}");
    }
    // The link itself is printed, once and for whoever sits there.
    assert_eq!(log.matches(&code).count(), 1);
    assert!(
        log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "every line is JSON: {log}"
    );
}
