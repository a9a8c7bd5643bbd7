//! The configuration over HTTP: what it shows, and what no request changes.

use serde_json::{Value, json};

use crate::support::{Http, Hub, HubOptions, run};

const SECRETS: [&str; 5] = [
    "Zq7-signs-tokens-0123456789-0123456789",
    "Wv3-signs-hosts-0123456789-0123456789",
    "Kx9-openai-key",
    "Jm4-anthropic-key",
    "Hb6-of-the-query",
];

fn hub() -> Hub {
    let options = HubOptions::default().limited();
    let options = options
        .set("SWITCHBOARD_JWT_SECRET", SECRETS[0])
        .set("AGENT_JWT_SECRET", SECRETS[1])
        .set("OPENAI_API_KEY", SECRETS[2])
        .set("ANTHROPIC_API_KEY", SECRETS[3])
        .config("[auth]\nsession_url = \"https://app.example/session?key=Hb6-of-the-query\"");
    Hub::start(options)
}

fn token(hub: &Hub, user: &str, organization: &str, role: &str) -> String {
    // The command line signs with the secret that the hub was given.
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["token", "--user", user, "--org", organization, "--role", role, "--data"])
        .arg(hub.folder())
        .env_clear()
        .env("SWITCHBOARD_JWT_SECRET", SECRETS[0])
        .output()
        .expect("the command line runs");
    String::from_utf8(program.stdout).expect("a token").trim().to_owned()
}

#[test]
fn case_75_no_request_changes_what_is_run_who_comes_in_or_where_credentials_go() {
    run(async {
        let hub = hub();
        let root = Http::new(&hub.address, &token(&hub, "root", "default", "owner"));
        let before = root.ok("GET", "/config", json!(null)).await;
        for (patch, field) in [
            // What runs something.
            (json!({"tools": {"time": {"policy": "allow"}}}), "tools.time.policy"),
            (json!({"tools": {"http_fetch": {"allow_hosts": ["*"]}}}), "tools.http_fetch.allow_hosts"),
            (json!({"tools": {"http_fetch": {"allow_private": ["127.0.0.1:80"]}}}), "tools.http_fetch.allow_private"),
            (json!({"tools": {"shell": {"command": "sh"}}}), "tools.shell.command"),
            (json!({"agents": {"assistant": {"tools": ["http_fetch"]}}}), "agents.assistant.tools"),
            (json!({"agents": {"assistant": {"cliPath": "/bin/sh"}}}), "agents.assistant.cliPath"),
            (json!({"agents": {"evil": {"model": "x"}}}), "agents.evil"),
            // Where something is sent.
            (json!({"providers": {"openai": {"base_url": "http://127.0.0.1:1"}}}), "providers.openai.base_url"),
            (json!({"providers": {"openai": {"api_key": "x"}}}), "providers.openai.api_key"),
            (json!({"auth": {"session_url": "https://evil.example"}}), "auth.session_url"),
            (json!({"database": {"url": "sqlite:/tmp/x"}}), "database.url"),
            (json!({"server": {"data": "/tmp"}}), "server.data"),
            // Who comes in.
            (json!({"auth": {"jwt_secret": "0123456789012345678901234567890123456789"}}), "auth.jwt_secret"),
            (json!({"auth": {"roles": {"user": "owner"}}}), "auth.roles.user"),
            (json!({"auth": {"cookies": ["x"]}}), "auth.cookies"),
            (json!({"server": {"trusted_proxies": ["0.0.0.0/0"]}}), "server.trusted_proxies"),
            (json!({"server": {"listen": "0.0.0.0:1"}}), "server.listen"),
            (json!({"server": {"public_url": "https://evil.example"}}), "server.public_url"),
            (json!({"server": {"socketio_origins": "*"}}), "server.socketio_origins"),
            (json!({"tls": {"certificate": "/etc/passwd"}}), "tls.certificate"),
            // What counts from the next start.
            (json!({"limits": {"frame_bytes": 9999}}), "limits.frame_bytes"),
            (json!({"limits": {"frame_bytes": null}}), "limits.frame_bytes"),
            (json!({"log": {"format": "text"}}), "log.format"),
            // What is nothing.
            (json!({"nothing": 1}), "nothing"),
            (json!({"runtime": {"changeable": ["tools.time.policy"]}}), "runtime"),
            (json!({"log.level": "debug"}), "log.level"),
            (json!({"": {"level": "debug"}}), ""),
            (json!({"__proto__": {"level": "debug"}}), "__proto__"),
            (json!({"log": {"levels": "debug"}}), "log.levels"),
            (json!({"log": {"level": {"level": "debug"}}}), "log.level"),
            (json!({"log": "debug"}), "log"),
            (json!({"log": null}), "log"),
            // What does not fit.
            (json!({"log": {"level": "loud"}}), "log.level"),
            (json!({"log": {"level": 3}}), "log.level"),
            (json!({"limits": {"queue_turns": "7"}}), "limits.queue_turns"),
            (json!({"limits": {"queue_turns": 0}}), "limits.queue_turns"),
            (json!({"limits": {"queue_turns": -1}}), "limits.queue_turns"),
            (json!({"limits": {"queue_turns": 1.5}}), "limits.queue_turns"),
            (json!({"limits": {"queue_turns": 1e300}}), "limits.queue_turns"),
            (json!({"limits": {"frames_per_second": u64::MAX}}), "limits.frames_per_second"),
            (json!({"server": {"origins": "https://a.example"}}), "server.origins"),
            (json!({"server": {"origins": [1]}}), "server.origins"),
            (json!({"server": {"origins": ["null"]}}), "server.origins"),
            (json!({"server": {"origins": ["*"]}}), "server.origins"),
            (json!({"agents": {"assistant": {"provider": "other"}}}), "agents.assistant.provider"),
            (json!({"agents": {"assistant": {"busy": "explode"}}}), "agents.assistant.busy"),
        ] {
            // One wrong field, and nothing of the rest is done.
            let mut whole = json!({"approvals": {"grace_seconds": 77}, "log": {"level": "debug"}});
            for (section, members) in patch.as_object().expect("an object") {
                match (whole[section].as_object_mut(), members.as_object()) {
                    (Some(there), Some(more)) => there.extend(more.clone()),
                    _ => whole[section] = members.clone(),
                }
            }
            for (address, body) in [("/config", &patch), ("/api/v1/config", &whole)] {
                let answer = root.send("PATCH", address, &[], body.to_string().as_bytes()).await;
                assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}: {}", answer.text());
                let body = answer.json();
                let (details, said) = match address {
                    "/config" => (&body["details"], &body["error"]),
                    _ => (&body["error"]["details"], &body["error"]["message"]),
                };
                assert_eq!(details["field"], field, "{body}");
                assert!(said.as_str().is_some_and(|said| said.starts_with(field)), "{body}");
            }
        }
        for body in ["", "[]", "null", "{\"log\":", "{\"log\":{},\"log\":{}}", "\u{0}"] {
            let answer = root.send("PATCH", "/config", &[], body.as_bytes()).await;
            assert_eq!(answer.status, if body.is_empty() { 200 } else { 400 }, "{body}");
        }
        assert_eq!(root.send("PATCH", "/config", &[("Content-Type", "text/plain")], b"{}").await.status, 415);
        assert_eq!(root.ok("GET", "/api/v1/config", json!(null)).await, before, "nothing was changed");
        let audit = root.ok("GET", "/api/v1/admin/audit?organization=*&action=config.update", json!(null)).await;
        assert_eq!(audit["items"], json!([]), "nothing was begun");
    });
}

#[test]
fn case_75_the_configuration_is_for_the_hubs_administrators_and_tells_no_secret() {
    run(async {
        let hub = hub();
        let root = Http::new(&hub.address, &token(&hub, "root", "default", "owner"));
        for address in ["/config", "/api/v1/config"] {
            for (user, organization, role) in [
                ("olga", "acme", "owner"),
                ("adam", "acme", "admin"),
                ("adam", "default", "admin"),
                ("alice", "default", "member"),
            ] {
                let other = Http::new(&hub.address, &token(&hub, user, organization, role));
                for (method, body) in [("GET", ""), ("PATCH", "{\"log\":{\"level\":\"debug\"}}")] {
                    let refused = other.send(method, address, &[], body.as_bytes()).await;
                    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{user} {address}");
                }
            }
            assert_eq!(Http::anonymous(&hub.address).get(address).await.status, 401);
            let shown = root.get(address).await;
            for secret in SECRETS {
                assert!(!shown.text().contains(&secret[..4]), "{secret}: {}", shown.text());
            }
            let shown = shown.json();
            let mask = Value::from("********");
            for place in [
                "/auth/jwt_secret",
                "/auth/agent_jwt_secret",
                "/providers/openai/api_key",
                "/providers/anthropic/api_key",
            ] {
                assert_eq!(shown.pointer(place), Some(&mask), "{place}");
            }
            assert_eq!(shown["auth"]["session_url"], "https://app.example/session?********");
            assert_eq!(shown["auth"]["issuers"], json!({}), "nobody's issuer is not shown");
            assert_eq!(shown["limits"]["messages_per_minute"], 10);
        }
    });
}
