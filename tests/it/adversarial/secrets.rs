//! A credential in the address, or anywhere else, is in no log, no number, no error and no row.

use serde_json::json;

use super::scene::Scene;
use crate::handshake::{SECRET, now, signed};
use crate::limits::raw::{knock, send};
use crate::support::{Client, Http, HubOptions, Identity, run};

const HERE: &str = "127.0.0.1";

/// What nobody may find: whole credentials, and the part that makes a JWT count.
fn parts(tokens: &[&str]) -> Vec<String> {
    let signature = |token: &&str| token.rsplit_once('.').map(|(_, signature)| signature.to_owned());
    let whole = tokens.iter().map(|token| (*token).to_owned());
    whole.chain(tokens.iter().filter_map(signature)).collect()
}

#[test]
fn case_14_a_token_in_the_address_is_written_nowhere() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, good) = (scene.address().to_owned(), scene.token());
        let old = signed(&json!({"sub": "ann", "org": "acme", "exp": now() - 3600}));
        let http = Http::new(&address, &good);
        let mut tickets = Vec::new();
        for route in ["/ws", "/ws/client", "/api/v1/session"] {
            let made = http.ok("POST", "/api/v1/tickets", json!({"route": route})).await;
            tickets.push(made["ticket"].as_str().expect("a ticket").to_owned());
        }
        let store = Identity::of(&scene.hub.folder());
        let (key, _) = store.key("ann", "acme").await;
        let (device, _) = store.device("ann", "acme").await;
        let session = store.session("ann", "acme").await;
        let lookalike = "sk-lookalike-secret".to_owned();
        let mut answers = Vec::new();
        // What counts: it comes in and works; a turn leaves its own lines in the log.
        let (mut by_token, mut by_ticket) = (
            Client::connect(&address, &good).await,
            Client::connect_at(&address, &format!("/ws?ticket={}", tickets[0])).await,
        );
        for client in [&mut by_token, &mut by_ticket] {
            let session = client.session().await;
            client.subscribe(&format!("session:{session}"), None).await;
            client.say(&session, "hello").await;
            client.event("turn.ended").await;
            client.call("sessions.delete", json!({"sessionId": session})).await;
            client.send_text("{").await;
            client.find(|f| f["type"] == "error").await;
        }
        for credential in [&key, &device, &session] {
            Client::connect(&address, credential).await.until_pong().await;
        }
        // What does not, and what counts in another place.
        let all: Vec<&String> =
            [&good, &old, &key, &device, &session, &lookalike].into_iter().chain(&tickets).collect();
        for credential in &all {
            for path in [
                "/ws",
                "/ws/client",
                "/nowhere",
                "/health",
                "/metrics",
                "/sign-in",
                "/api/v1/session",
                "/api/v1/nothing",
                "/sessions/x",
            ] {
                for name in ["token", "ticket", "access_token", "code"] {
                    let path = format!("{path}?{name}={credential}");
                    answers.push(send(&address, "GET", &path, &[], "").await);
                    answers.extend(knock(HERE, &address, &path, &[("origin", "https://evil.example")]).await.err());
                    answers.extend(knock(HERE, &address, &path, &[("host", "evil.example")]).await.err());
                }
            }
            let cookie = format!("switchboard_session={credential}");
            let bearer = format!("Bearer {credential}x");
            for header in
                [("cookie", &cookie), ("authorization", &bearer), ("authorization", &cookie), ("x-api-key", credential)]
            {
                answers.push(send(&address, "POST", "/sessions", &[(header.0, header.1)], "").await);
                answers.extend(knock(HERE, &address, "/ws", &[(header.0, header.1)]).await.err());
            }
            let json = [("content-type", "application/json")];
            for body in
                [json!({"token": format!("{credential}x")}), json!({"code": credential}), json!({"route": credential})]
            {
                answers.push(send(&address, "POST", "/sign-in", &json, &body.to_string()).await);
                answers.push(send(&address, "POST", "/pairing/verify", &json, &body.to_string()).await);
            }
        }
        let secrets = parts(&all.iter().map(|text| text.as_str()).collect::<Vec<_>>());
        let metrics = send(&address, "GET", "/metrics", &[], "").await;
        assert_eq!(metrics.status, 200);
        for answer in answers.iter().chain([&metrics]) {
            let told = format!("{} {} {}", answer.head, answer.body, answer.text);
            for secret in secrets.iter().map(String::as_str).chain([SECRET]) {
                // The page to sign in on holds the code that it was opened with, for the browser that sent it.
                let asked_for_it = answer.head.starts_with("HTTP/1.1 200 ") && told.contains("name=\"code\"");
                assert!(asked_for_it || !told.contains(secret), "{secret} was told: {told}");
            }
        }
        drop((by_token, by_ticket));
        let audit = Http::new(&address, &scene.hub.token("boss", "default", "owner"));
        let rows = audit.get("/api/v1/admin/audit?organization=*&limit=200").await;
        assert!(rows.status == 403 || rows.status == 200, "{rows:?}");
        for secret in &secrets {
            assert!(!rows.text().contains(secret.as_str()), "{secret} is in the audit log as it is shown");
        }
        scene.silent(&secrets.iter().map(String::as_str).collect::<Vec<_>>()).await;
    });
}
