//! A browser's cookie serves the hub's own pages and its friends', and nobody else's.

use super::scene::{Scene, assert_refused};
use crate::limits::raw::{Answer, knock, send};
use crate::support::{HubOptions, run};

const HERE: &str = "127.0.0.1";
const FRIEND: &str = "https://panel.example.org";

fn options() -> HubOptions {
    HubOptions::default().config(&format!("[server]\norigins = [\"{FRIEND}\"]"))
}

/// Pages that are nobody's friends, however near their names are.
fn foreign(address: &str) -> Vec<String> {
    let port = address.rsplit_once(':').expect("a port").1;
    [
        "https://evil.example",
        "null",
        "",
        "*",
        "file://",
        "https://panel.example.org.evil.example",
        "https://evil.example/https://panel.example.org",
        "https://panel.example.org@evil.example",
        "https://panel.example.org:444",
        "http://panel.example.org",
        "https://notpanel.example.org",
        "https://sub.panel.example.org",
        "http://127.evil.com",
        "http://127.0.0.1.evil.com",
        "https://evil.example, https://panel.example.org",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("http://127.evil.com:{port}"),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.2:{port}"),
        format!("https://{address}"),
        format!("http://{address}@evil.example"),
    ])
    .collect()
}

/// All that a page could try with the cookie of its visitor.
async fn tries(address: &str, cookie: &str, more: &[(&str, &str)]) -> Vec<(&'static str, Answer)> {
    let headers: Vec<_> =
        [("cookie", cookie), ("content-type", "application/json")].into_iter().chain(more.to_vec()).collect();
    let refused = async |path| knock(HERE, address, path, &headers).await.expect_err("nobody came in");
    vec![
        ("a socket", refused("/ws").await),
        ("a socket", refused("/ws/client").await),
        ("POST", send(address, "POST", "/sessions", &headers, "{\"channel\":\"x\"}").await),
        ("PATCH", send(address, "PATCH", "/api/v1/sessions/sess_1", &headers, "{\"title\":\"x\"}").await),
        ("ticket", send(address, "POST", "/api/v1/tickets", &headers, "{\"route\":\"/ws\"}").await),
        ("sign-in", send(address, "POST", "/sign-in", &headers, "{\"code\":\"x\"}").await),
        ("sign-out", send(address, "POST", "/sign-out", &headers, "").await),
    ]
}

const ROWS: [(&str, &str); 7] = [
    ("/ws", "forbidden"),
    ("/ws/client", "forbidden"),
    ("/sessions", "forbidden"),
    ("/api/v1/sessions/{sessionId}", "forbidden"),
    ("/api/v1/tickets", "forbidden"),
    ("/sign-in", "forbidden"),
    ("/sign-out", "forbidden"),
];

#[test]
fn case_2_a_foreign_page_may_not_use_the_cookie() {
    run(async {
        let scene = Scene::new(options()).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        let cookie = format!("switchboard_session={token}");
        for origin in foreign(&address) {
            for (what, answer) in tries(&address, &cookie, &[("origin", &origin)]).await {
                assert_refused(&answer, 403, "forbidden", &format!("{what} from {origin:?}"));
                assert_eq!(answer.header("access-control-allow-origin"), None, "{origin:?}");
                assert_eq!(answer.header("set-cookie"), None, "{origin:?}");
            }
            let read = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
            assert_refused(&send(&address, "GET", "/api/v1/sessions", &read, "").await, 403, "forbidden", &origin);
        }
        // Two origins are none.
        let twice = [("cookie", cookie.as_str()), ("origin", FRIEND), ("origin", "https://evil.example")];
        assert_refused(&knock(HERE, &address, "/ws", &twice).await.expect_err("two"), 403, "forbidden", "two origins");
        assert_refused(&send(&address, "GET", "/api/v1/sessions", &twice, "").await, 403, "forbidden", "two origins");
        // Nobody knows which page a socket without an Origin is for; a program has no cookie.
        let bare = knock(HERE, &address, "/ws", &[("cookie", &cookie)]).await.expect_err("no origin");
        assert_refused(&bare, 403, "forbidden", "no Origin");
        for (what, answer) in tries(&address, &cookie, &[]).await {
            if !["sign-in"].contains(&what) {
                assert_refused(&answer, 403, "forbidden", &format!("{what} without Origin"));
            }
        }
        // The hub's own page and its friend may.
        for origin in [format!("http://{address}"), FRIEND.to_owned(), format!("{FRIEND}:443")] {
            let socket = knock(HERE, &address, "/ws", &[("cookie", &cookie), ("origin", &origin)]).await;
            assert!(socket.is_ok(), "{origin}");
        }
        // A token is no cookie: no page has it but by being given it.
        let bearer = format!("Bearer {token}");
        for headers in [
            vec![("authorization", bearer.as_str())],
            vec![("authorization", &bearer), ("origin", "https://evil.example")],
        ] {
            assert!(knock(HERE, &address, "/ws", &headers).await.is_ok());
            assert_eq!(send(&address, "GET", "/api/v1/sessions", &headers, "").await.status, 200);
        }
        let mut rows = ROWS.to_vec();
        rows.extend([
            ("sessions.list", "forbidden"),
            ("sessions.create", "forbidden"),
            ("sessions.update", "forbidden"),
        ]);
        rows.extend([("tickets.create", "forbidden"), ("sign_in", "unauthorized"), ("sign_out", "forbidden")]);
        scene.unharmed(&rows, &[&token]).await;
    });
}

/// To a browser another port of one name is the same site: it sends the cookie along, `SameSite` or not.
#[test]
fn case_3_a_page_of_the_same_site_and_another_port_is_foreign() {
    run(async {
        let scene = Scene::new(options()).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        let cookie = format!("switchboard_session={token}");
        let port: u16 = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
        for other in [port - 1, port + 1, 80, 3000] {
            let origin = format!("http://127.0.0.1:{other}");
            for more in [vec![("origin", origin.as_str())], vec![("origin", &origin), ("sec-fetch-site", "same-site")]]
            {
                for (what, answer) in tries(&address, &cookie, &more).await {
                    assert_refused(&answer, 403, "forbidden", &format!("{what} from {origin}"));
                }
            }
        }
        // What such a page loads as an image or a script has no Origin, and says where it comes from.
        for site in ["same-site", "cross-site"] {
            let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", site)];
            assert_refused(&send(&address, "GET", "/api/v1/sessions", &headers, "").await, 403, "forbidden", site);
        }
        let mut rows = ROWS.to_vec();
        rows.push(("sessions.list", "forbidden"));
        scene.unharmed(&rows, &[&token]).await;
    });
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(&format!("access-control-{name}")).unwrap_or_default()
}

#[test]
fn a_friend_may_ask_and_read() {
    run(async {
        let scene = Scene::new(options()).await;
        let (address, token) = (scene.address().to_owned(), scene.token());
        let wish = [
            ("origin", FRIEND),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "authorization"),
        ];
        for path in ["/sessions/x", "/api/v1/sessions", "/nothing"] {
            let preflight = send(&address, "OPTIONS", path, &wish, "").await;
            assert_eq!(preflight.status, 204, "{}", preflight.head);
            assert_eq!(header(&preflight, "allow-origin"), FRIEND);
            assert_eq!(header(&preflight, "allow-credentials"), "true");
            assert_eq!(header(&preflight, "allow-methods"), "GET, HEAD, POST, PUT, PATCH, DELETE");
            let allowed: Vec<_> = header(&preflight, "allow-headers").split(", ").collect();
            assert_eq!(allowed, ["authorization", "content-type", "idempotency-key", "x-request-id"]);
            assert_eq!(preflight.header("vary"), Some("Origin"));
        }
        let cookie = format!("switchboard_session={token}");
        let bearer = format!("Bearer {token}");
        let by_cookie = [("origin", FRIEND), ("cookie", &cookie)];
        let by_token = [("origin", FRIEND), ("authorization", &bearer)];
        let nobody = [("origin", FRIEND), ("authorization", "Bearer x")];
        for (headers, status) in [(&by_cookie, 200), (&by_token, 200), (&nobody, 401)] {
            let answer = send(&address, "GET", "/api/v1/sessions", headers, "").await;
            assert_eq!(answer.status, status, "{}", answer.head);
            assert_eq!((header(&answer, "allow-origin"), header(&answer, "allow-credentials")), (FRIEND, "true"));
            assert_eq!(answer.header("vary"), Some("Origin"));
            for name in ["x-request-id", "x-next-cursor", "link", "retry-after", "ratelimit-remaining"] {
                assert!(header(&answer, "expose-headers").split(", ").any(|exposed| exposed == name), "{name}");
            }
        }
        // A page that nobody named: no preflight, and an answer that it may not read.
        let evil = [("origin", "https://evil.example"), wish[1], wish[2]];
        let refused = send(&address, "OPTIONS", "/api/v1/sessions", &evil, "").await;
        assert_refused(&refused, 403, "forbidden", "a preflight");
        let health = send(&address, "GET", "/health", &evil[..1], "").await;
        for answer in [&refused, &health] {
            assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
            assert_eq!(answer.header("vary"), Some("Origin"));
        }
        let bare = send(&address, "GET", "/health", &[], "").await;
        assert!(!bare.head.to_lowercase().contains("access-control"), "{}", bare.head);
        scene.unharmed(&[("/api/v1/sessions", "forbidden"), ("sessions.list", "unauthorized")], &[&token]).await;
    });
}

#[test]
fn a_friend_is_told_when_to_come_back() {
    run(async {
        let hub = crate::support::Hub::start(options().set("SWITCHBOARD_LIMITS__STRANGERS_PER_MINUTE", 1));
        let ask = async || send(&hub.address, "GET", "/api/v1/session", &[("origin", FRIEND)], "").await;
        ask().await;
        let limited = ask().await;
        limited.assert_limited();
        assert_eq!(header(&limited, "allow-origin"), FRIEND);
    });
}
