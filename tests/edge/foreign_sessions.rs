//! Sessions of another application: what it is asked, how often, and what its answer makes of somebody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use actix_web::http::Method;
use switchboard::auth::Route;

use crate::answers::{Answers, with};
use crate::credentials::Edge;
use crate::hub::{Data, Hub};

const ANN: &str = r#"{"session":{"id":"s","activeOrganizationId":"active"},"user":{"id":"ann","name":"Ann","role":"admin","organizationIds":["o","p"]}}"#;
const COOKIES: &str = "app.session=s3cret; theme=dark";

fn settings<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("SWITCHBOARD_AUTH__SESSION_URL", url),
        ("SWITCHBOARD_AUTH__COOKIES", "app.session"),
        ("SWITCHBOARD_AUTH__SESSION__CREATE_ORGANIZATIONS", "true"),
    ];
    all.extend(more);
    all
}

fn field(asked: &str, name: &str) -> Option<String> {
    let line = asked.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")))?;
    line.split_once(": ").map(|(_, value)| value.to_owned())
}

#[test]
fn a_session_of_another_application_signs_its_user_in() {
    let app = Answers::start(ANN);
    let data = Data::new();
    let hub = Hub::start(&data.path(), &settings(&app.url("/api/auth/get-session"), &[]));
    let get = |path: &str, cookies: &str| hub.get(path, &[("Cookie", cookies)]);
    let me = get("/api/v1/session", COOKIES).json();
    let words = [&me["user"], &me["organization"], &me["role"], &me["credential"]];
    assert_eq!(words, ["ann", "o", "admin", "foreign"]);
    assert_eq!(me["hubAdmin"], false);
    let asked = &app.asked()[0];
    assert!(asked.starts_with("GET /api/auth/get-session HTTP/1.1\r\n"), "{asked}");
    assert_eq!(field(asked, "cookie").as_deref(), Some(COOKIES));
    assert_eq!(field(asked, "authorization"), None);
    // Remembered, also for another of the user's organizations.
    assert_eq!(get("/api/v1/session?organizationId=p", COOKIES).json()["organization"], "p");
    assert_eq!(get("/api/v1/session?organizationId=active", COOKIES).json()["organization"], "active");
    assert_eq!(get("/api/v1/session?organizationId=q", COOKIES).status(), 403);
    assert_eq!(app.count(), 1);
    // The whole of what was sent is the credential: another cookie beside it is another question.
    assert_eq!(get("/api/v1/session", "app.session=s3cret; theme=light").status(), 200);
    assert_eq!(app.count(), 2);
    let (_, log) = hub.stop();
    assert!(!log.contains("s3cret"), "no credential in a log");
}

#[test]
fn a_bearer_that_is_no_token_of_the_hubs_is_asked_about_without_the_cookies() {
    let app = Answers::start(ANN);
    let data = Data::new();
    let hub = Hub::start(&data.path(), &settings(&app.url("/"), &[]));
    let headers = [("Authorization", "Bearer s3cret"), ("Cookie", COOKIES)];
    assert_eq!(hub.get("/api/v1/session", &headers).json()["user"], "ann");
    let asked = &app.asked()[0];
    assert_eq!(field(asked, "authorization").as_deref(), Some("Bearer s3cret"));
    assert_eq!(field(asked, "cookie"), None, "a page could have put the token there");
    // What looks like one of the hub's own kinds is never shown to anybody.
    let own = data.token(&["--user", "bob"]);
    let spoiled = format!("{own}x");
    for token in ["sb_unknown", "sbs_unknown", &spoiled, "a.e30.c"] {
        let answer = hub.get("/api/v1/session", &[("Authorization", &format!("Bearer {token}"))]);
        assert_eq!(answer.status(), 401, "{token}");
    }
    assert_eq!(hub.get("/api/v1/session", &[("Authorization", &format!("Bearer {own}"))]).status(), 200);
    assert_eq!(app.count(), 1);
}

#[test]
fn the_hubs_own_cookie_is_shown_to_nobody() {
    let app = Answers::start(ANN);
    let data = Data::new();
    let hub = Hub::start(&data.path(), &settings(&app.url("/"), &[]));
    let get = |cookies: &str| hub.get("/api/v1/session", &[("Cookie", cookies)]).status();
    assert_eq!(get("switchboard_session=whatever"), 401);
    assert_eq!(get("theme=dark"), 401, "none of the named cookies is there");
    assert_eq!(app.count(), 0);
    // An empty one is none.
    assert_eq!(get("switchboard_session=; app.session=s"), 200);
    assert_eq!(field(&app.asked()[0], "cookie").as_deref(), Some("app.session=s"));
}

#[test]
fn who_has_no_session_there_has_none_here_and_cannot_make_the_hub_ask_again() {
    for (answer, status) in [
        (with("200 OK", "null"), 401),
        (with("200 OK", "{\"user\":null}"), 401),
        (with("401 Unauthorized", "{}"), 401),
        (with("404 Not Found", "{}"), 401),
        (with("500 Internal Server Error", "{}"), 503),
        (with("200 OK", "<html>"), 503),
        (with("200 OK", &format!("{{\"x\":\"{}\"}}", "x".repeat(300_000))), 503),
        ("HTTP/1.1 302 Found\r\nlocation: /sign-in\r\ncontent-length: 0\r\n\r\n".into(), 503),
        (String::new(), 503),
    ] {
        let app = Answers::start("");
        app.say_raw(answer.as_str());
        let data = Data::new();
        let hub = Hub::start(&data.path(), &settings(&app.url("/"), &[]));
        for _ in 0..10 {
            let said = hub.get("/api/v1/session", &[("Cookie", COOKIES)]);
            assert_eq!(said.status(), status, "{answer:.60}");
            assert_eq!(said.error().0, if status == 401 { "unauthorized" } else { "unavailable" });
        }
        assert_eq!(app.count(), 1, "{answer:.60}");
    }
}

#[test]
fn many_requests_with_one_session_are_one_question() {
    let app = Answers::start(ANN);
    let data = Data::new();
    let hub = Hub::start(&data.path(), &settings(&app.url("/"), &[]));
    let hold = app.hold();
    std::thread::scope(|scope| {
        let get = || hub.get("/api/v1/session", &[("Cookie", COOKIES)]).status();
        let all: Vec<_> = (0..20).map(|_| scope.spawn(get)).collect();
        while app.count() == 0 {
            std::thread::yield_now();
        }
        drop(hold);
        assert!(all.into_iter().all(|one| one.join().unwrap() == 200));
    });
    assert_eq!(app.count(), 1);
}

#[actix_web::test]
async fn a_foreign_page_gets_nobody_asked() {
    let app = Answers::start(ANN);
    let url = app.url("/");
    let edge = Edge::new(&settings(&url, &[])).await;
    let cookie = ("cookie", COOKIES);
    for origin in ["http://evil.example", "null", "http://hub.example.evil.example"] {
        let fault = edge.socket("/ws", &[cookie, ("origin", origin)]).await.unwrap_err();
        assert_eq!(fault.code.name(), "forbidden", "{origin}");
    }
    let posted = edge.ask(Method::POST, "/", &[cookie, ("host", "hub.example")], Route::Rest).await;
    assert_eq!(posted.unwrap_err().code.name(), "forbidden");
    assert_eq!(app.count(), 0);
    assert!(edge.socket("/ws", &[cookie, ("origin", "http://hub.example")]).await.is_ok());
    // A token in the address does not take the browser's cookies along.
    app.say("null");
    let lured = edge.socket("/ws?token=junk", &[cookie, ("origin", "http://evil.example")]).await;
    assert_eq!(lured.unwrap_err().code.name(), "unauthorized");
    assert_eq!(field(&app.asked()[1], "cookie"), None);
}

#[actix_web::test]
async fn a_renewed_principal_is_asked_about_again() {
    let app = Answers::start(ANN);
    let url = app.url("/");
    let edge = Edge::new(&settings(&url, &[("SWITCHBOARD_AUTH__SESSION__SECONDS", "0")])).await;
    let ann = edge.rest("/?organizationId=p", &[("cookie", COOKIES)]).await.unwrap();
    let row = edge.store.user(&ann.organization, &ann.user).await.unwrap().unwrap();
    assert!(!row.managed && !row.hub_admin, "known by somebody else's word alone");
    app.say(&ANN.replace("\"admin\"", "\"viewer\""));
    assert_eq!(edge.auth.renew(&ann).await.unwrap().role.name(), "viewer");
    // Out of the organization, another's session, signed out.
    app.say(&ANN.replace("\"p\"", "\"q\""));
    assert_eq!(edge.auth.renew(&ann).await.unwrap_err().code.name(), "forbidden");
    app.say(&ANN.replace("\"ann\"", "\"eve\""));
    assert_eq!(edge.auth.renew(&ann).await.unwrap_err().code.name(), "unauthorized");
    app.say("null");
    assert_eq!(edge.auth.renew(&ann).await.unwrap_err().code.name(), "unauthorized");
    assert_eq!(app.count(), 5);
    let other = Edge::new(&settings(&url, &[])).await;
    assert_eq!(other.auth.renew(&ann).await.unwrap_err().code.name(), "unauthorized", "never shown to this one");
}

#[actix_web::test]
async fn it_speaks_for_the_organizations_of_the_configuration() {
    let app = Answers::start(ANN);
    let url = app.url("/");
    let more = [
        ("SWITCHBOARD_AUTH__SESSION__ORGANIZATIONS", "p"),
        ("SWITCHBOARD_AUTH__SESSION__CREATE_ORGANIZATIONS", "false"),
    ];
    let edge = Edge::new(&settings(&url, &more)).await;
    assert_eq!(edge.rest("/", &[("cookie", COOKIES)]).await.unwrap().organization.as_str(), "p");
    let chosen = edge.rest("/?organizationId=o", &[("cookie", COOKIES)]).await;
    assert_eq!(chosen.unwrap_err().code.name(), "forbidden");
    let strict = Edge::new(&settings(&url, &[("SWITCHBOARD_AUTH__SESSION__CREATE_ORGANIZATIONS", "false")])).await;
    assert_eq!(strict.rest("/", &[("cookie", COOKIES)]).await.unwrap_err().code.name(), "forbidden");
    assert_eq!(strict.store.counts().await.unwrap().users, 0);
}

#[test]
fn a_socket_ends_soon_after_the_session_it_was_opened_with() {
    let app = Answers::start(ANN);
    let data = Data::new();
    // Remembered for a second, and asked about again every five.
    let more = [("SWITCHBOARD_AUTH__SESSION__SECONDS", "1")];
    let hub = Hub::start(&data.path(), &settings(&app.url("/"), &more));
    let mut socket = TcpStream::connect(hub.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nCookie: {COOKIES}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        hub.address
    );
    socket.write_all(handshake.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    // Asked about once more while it lasts, and the socket stays.
    let asked = app.count();
    while app.count() == asked {
        std::thread::sleep(Duration::from_millis(20));
    }
    app.say("null");
    // Nothing is changed here: nobody tells the hub.
    let mut close: Vec<u8> = Vec::new();
    let mut bytes = [0; 256];
    while !close.windows(2).any(|code| code == 4403u16.to_be_bytes()) {
        let read = socket.read(&mut bytes).expect("a close within half a minute");
        assert!(read > 0, "closed without a code: {close:?}");
        close.extend(&bytes[..read]);
    }
    assert_eq!(close[0], 0x88, "the first thing that it hears: {close:?}");
}
