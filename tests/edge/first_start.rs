//! The first start: folder, secrets, owner, and a link that works once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::hub::{Data, Hub, run, text};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_data_folder_and_all_in_it_is_for_its_owner_alone() {
    let data = Data::new();
    let _hub = Hub::start(&data.path(), &[]);
    assert_eq!(mode(&data.path()), 0o700);
    assert_eq!(mode(&data.path().join("secrets")), 0o700);
    let mut seen = 0;
    for folder in [data.path(), data.path().join("secrets")] {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            assert_eq!(mode(&entry), 0o600, "{}", entry.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "a secret and a database at least");
}

#[test]
fn the_link_is_looked_at_freely_and_used_once() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    let code = hub.code().expect("the first start prints a link");
    for _ in 0..3 {
        let page = hub.get(&format!("/sign-in?code={code}"), &[("Accept", "text/html")]);
        assert_eq!(page.status(), 200);
        assert!(page.header("set-cookie").is_none());
        assert!(page.body().contains("method=\"post\"") && page.body().contains(&code));
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let own = format!("http://{}", hub.address);
    let foreign = hub.send("POST", "/sign-in", &[form, ("Origin", "http://evil.example")], &format!("code={code}"));
    assert_eq!(foreign.error().0, "forbidden");
    let used = hub.send("POST", "/sign-in", &[form, ("Origin", &own)], &format!("code={code}"));
    assert_eq!((used.status(), used.header("location")), (303, Some("/")));
    let cookie = used.header("set-cookie").unwrap();
    for word in ["switchboard_session=", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let again = hub.send("POST", "/sign-in", &[form], &format!("code={code}"));
    assert_eq!(again.status(), 401);
    assert!(again.error().1.contains("used before"), "{}", again.0);
    let shown = hub.send("POST", "/sign-in", &[form, ("Accept", "text/html")], &format!("code={code}"));
    assert!(shown.status() == 401 && shown.body().contains("<p>this link was used before"));

    let cookie = cookie.split(';').next().unwrap();
    let me = hub.get("/api/v1/session", &[("Cookie", cookie)]).json();
    assert_eq!((&me["user"], &me["role"], &me["hubAdmin"]), (&"owner".into(), &"owner".into(), &true.into()));
    let out = hub.send("POST", "/sign-out", &[("Cookie", cookie), ("Origin", &own)], "");
    assert_eq!(out.status(), 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(hub.get("/api/v1/session", &[("Cookie", cookie)]).error().0, "unauthorized");
}

#[test]
fn a_token_signs_a_browser_in_too() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    assert!(hub.get("/sign-in", &[]).body().contains("name=\"token\""));
    let token = data.token(&["--user", "ann", "--role", "operator"]);
    let answer = hub.send("POST", "/sign-in", &[], &format!("token={token}"));
    assert_eq!(answer.status(), 303);
    let cookie = answer.header("set-cookie").unwrap();
    let age: u64 = cookie.split("Max-Age=").nth(1).unwrap().parse().unwrap();
    // As long as the token counts, with what clocks may differ by.
    assert!((3500..=3605).contains(&age), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(hub.get("/api/v1/session", &[("Cookie", cookie)]).json()["role"], "operator");
    assert_eq!(hub.send("POST", "/sign-in", &[], "token=nonsense").error().0, "unauthorized");
    assert_eq!(hub.send("POST", "/sign-in", &[], &format!("token={token}&code=x")).error().0, "bad_request");
}

#[test]
fn twenty_hands_on_one_link_are_one_sign_in() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    let body = format!("{{\"code\":\"{}\"}}", hub.code().unwrap());
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| hub.send("POST", "/sign-in", &[], &body).status())).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [303, 401].contains(status)), "{answers:?}");
}

#[test]
fn a_later_start_prints_a_new_link_until_one_was_used() {
    let data = Data::new();
    let first = Hub::start(&data.path(), &[]);
    let old = first.code().unwrap();
    first.stop();
    let second = Hub::start(&data.path(), &[]);
    let new = second.code().expect("nobody signed in yet");
    assert_ne!(old, new);
    assert_eq!(second.send("POST", "/sign-in", &[], &format!("code={new}")).status(), 303);
    second.stop();
    let third = Hub::start(&data.path(), &[]);
    assert_eq!(third.code(), None);
    assert!(third.log().contains("switchboard token --user owner"));
}

#[test]
fn a_folder_begun_by_the_token_command_still_gets_its_owner() {
    let data = Data::new();
    data.token(&["--user", "ann"]);
    let hub = Hub::start(&data.path(), &[]);
    let answer = hub.send("POST", "/sign-in", &[], &format!("code={}", hub.code().unwrap()));
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(hub.get("/api/v1/session", &[("Cookie", &cookie)]).json()["hubAdmin"], true);
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let data = Data::new();
    data.token(&["--user", "ann"]);
    let secret = data.path().join("secrets/jwt");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "--user", "ann"]] {
        let data = data.arg();
        let done = run(&[arguments, &["--data", &data]].concat(), &[]);
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stderr).contains("chmod 600"), "{}", text(&done.stderr));
    }
}
