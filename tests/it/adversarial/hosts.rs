//! A page whose own name was pointed at the hub asks by that name, and gets nothing: whatever else it brings.

use serde_json::json;

use super::scene::{Scene, assert_refused};
use crate::limits::raw::{knock, send};
use crate::support::{HubOptions, exchange, run};

const HERE: &str = "127.0.0.1";

/// Names under which the hub is not known, in all the spellings.
fn strange(address: &str) -> Vec<String> {
    let port = address.rsplit_once(':').expect("a port").1;
    let mut all = Vec::new();
    for name in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.evil.com",
        "evil-127-0-0-1.nip.io",
        "hub.internal.evil.example",
        "x.hub.internal",
        "hub.example.org.evil.example",
        "0.0.0.0",
        "192.168.1.5",
        "[::]",
        "2130706433",
        "0x7f000001",
        "127.1",
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost/evil.example",
        "*",
        "",
    ] {
        all.extend([name.to_owned(), format!("{name}:{port}")]);
    }
    all
}

#[test]
fn case_4_a_rebound_name_gets_nothing() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_SERVER__HOSTS", "hub.internal,192.0.2.7")
            .set("SWITCHBOARD_SERVER__PUBLIC_URL", "https://hub.example.org");
        let scene = Scene::new(options).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        let (bearer, cookie) = (format!("Bearer {token}"), format!("switchboard_session={token}"));
        let credentials =
            [("authorization", bearer.as_str()), ("cookie", &cookie), ("content-type", "application/json")];
        for host in strange(&address) {
            let origin = format!("http://{host}");
            let with = |more: &[(&'static str, &'static str)]| {
                let mut headers = vec![("host", host.clone()), ("origin", origin.clone())];
                headers.extend(credentials.iter().map(|(name, value)| (*name, (*value).to_owned())));
                headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
                headers
            };
            for (method, path, body) in [
                ("GET", "/", ""),
                ("GET", "/health", ""),
                ("GET", "/ready", ""),
                ("GET", "/metrics", ""),
                ("GET", "/sign-in", ""),
                ("GET", "/api/v1/session", ""),
                ("GET", "/nothing", ""),
                ("POST", "/sessions", "{\"channel\":\"x\"}"),
                ("OPTIONS", "/sessions", ""),
            ] {
                let headers = with(&[("access-control-request-method", "POST"), ("x-forwarded-host", "hub.internal")]);
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = send(&address, method, path, &headers, body).await;
                assert_refused(&answer, 421, "forbidden", &format!("{method} {path} at {host:?}"));
                assert!(answer.body.to_string().contains("server.hosts"), "it says what to do: {}", answer.body);
                assert!(answer.header("access-control-allow-origin").is_none(), "{}", answer.head);
            }
            for path in ["/ws", "/ws/client", "/nowhere"] {
                let headers = with(&[]);
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = knock(HERE, &address, &format!("{path}?token={token}"), &headers).await;
                assert_refused(&answer.expect_err("nobody came in"), 421, "forbidden", &format!("{path} at {host:?}"));
            }
        }
        // Names that are the hub's, whatever the port: a proxy may have another.
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]:4096", "hub.internal", "HUB.Internal:8443"]
        {
            assert_eq!(send(&address, "GET", "/health", &[("host", host)], "").await.status, 200, "{host}");
        }
        for host in ["hub.example.org", "hub.example.org:443", "192.0.2.7", address.as_str()] {
            let headers = [("host", host), ("authorization", bearer.as_str())];
            assert_eq!(send(&address, "GET", "/api/v1/session", &headers, "").await.status, 200, "{host}");
            assert!(knock(HERE, &address, "/ws", &headers).await.is_ok(), "{host}");
        }
        let rows =
            ["/", "/health", "/ready", "/metrics", "/sign-in", "/api/v1/session", "/sessions", "an unknown address"];
        let rows = rows.into_iter().chain(["/ws", "/ws/client"]).map(|what| (what, "forbidden"));
        scene.unharmed(&rows.collect::<Vec<_>>(), &[&token]).await;
    });
}

#[test]
fn case_4_the_name_is_looked_at_before_the_credential() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let made = send(&address, "POST", "/api/v1/tickets", &headers, "{\"route\":\"/ws\"}").await;
        let ticket = made.body["ticket"].as_str().expect("a ticket").to_owned();
        let path = format!("/ws?ticket={ticket}");
        let evil = [("host", "evil.example")];
        let refused = knock(HERE, &address, &path, &evil).await.expect_err("nobody came in");
        assert_refused(&refused, 421, "forbidden", "a ticket");
        // A ticket that somebody looked at would be gone.
        assert!(knock(HERE, &address, &path, &[]).await.is_ok());
        assert_eq!(
            send(&address, "GET", "/api/v1/session", &[evil[0], ("authorization", "Bearer x")], "").await.status,
            421
        );
        scene.unharmed(&[("/ws", "forbidden"), ("/api/v1/session", "forbidden")], &[&token, &ticket]).await;
    });
}

#[test]
fn case_4_there_is_one_name_and_it_is_there() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let address = scene.address().to_owned();
        let ask = async |head: String| exchange(&address, &format!("{head}connection: close\r\n\r\n")).await;
        for hosts in ["", "host: localhost\r\nhost: evil.example\r\n", "host: evil.example\r\nhost: localhost\r\n"] {
            let said = ask(format!("GET /health HTTP/1.1\r\n{hosts}")).await;
            assert!(said.starts_with("HTTP/1.1 400 "), "{hosts:?}: {said}");
        }
        // A target that names its server is believed no more than the header.
        let said = ask("GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\n".to_owned()).await;
        assert!(said.starts_with("HTTP/1.1 421 "), "{said}");
        // Probes of old know no names; no browser is one of them.
        let said = ask("GET /health HTTP/1.0\r\n".to_owned()).await;
        assert!(said.starts_with("HTTP/1.0 200 ") || said.starts_with("HTTP/1.1 200 "), "{said}");
        scene.unharmed(&[("/health", "forbidden")], &[]).await;
    });
}

/// `GET http://evil.example/ws HTTP/1.1`: what a page sends through a proxy that it was told to use.
#[test]
fn case_4_an_upgrade_whose_target_names_another_server_gets_nothing() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        for door in ["ws", "ws/client"] {
            let path = |server: &str| format!("http://{server}/{door}?token={token}");
            for server in ["evil.example", "evil.example:4096", "127.0.0.1.evil.example", "localhost@evil.example"] {
                let refused = knock(HERE, &address, &path(server), &[]).await.expect_err("nobody came in");
                assert_refused(&refused, 421, "forbidden", server);
            }
            assert!(knock(HERE, &address, &path(&address), &[]).await.is_ok(), "its own name is fine");
        }
        scene.unharmed(&[("/ws", "forbidden"), ("/ws/client", "forbidden")], &[&token]).await;
    });
}

#[test]
fn a_name_that_cannot_be_one_is_refused_at_the_start() {
    for (hosts, named) in [("https://hub.internal", "https"), ("hub:4096", "hub:4096"), ("*", "\"*\""), ("a b", "a b")]
    {
        let flags = switchboard::config::Flags::default();
        let set = [("SWITCHBOARD_SERVER__HOSTS".to_owned(), hosts.to_owned())];
        let refused = switchboard::config::load(&flags, set)
            .map(|loaded| loaded.config.server.hosts)
            .expect_err("it is refused")
            .0;
        assert!(refused.starts_with("server.hosts: ") && refused.contains(named), "{refused}");
    }
    let set = [("SWITCHBOARD_SERVER__HOSTS".to_owned(), "hub.internal,192.0.2.7,::1,2001:db8::1".to_owned())];
    let loaded = switchboard::config::load(&switchboard::config::Flags::default(), set).expect("it is fine");
    assert_eq!(json!(loaded.config.server.hosts), json!(["hub.internal", "192.0.2.7", "::1", "2001:db8::1"]));
}
