//! Everybody changes the own password, who knows the present one.

use serde_json::{Value, json};

use super::House;
use crate::hub::Answer;

const FIRST: &str = "correct horse battery";
const SECOND: &str = "incorrect horse battery";
const PATH: &str = "/api/v1/account/password";

/// An admin gives the first one.
fn first(house: &House, admin: &str, user: &str) {
    let given = house.ask(admin, "PATCH", &format!("/api/v1/admin/users/{user}"), json!({ "password": FIRST }));
    assert_eq!(given.status(), 200, "{}", given.0);
}

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split([';', '=']).nth(1).unwrap().to_owned()
}

fn sign_in(house: &House, user: &str, password: &str) -> Result<String, u16> {
    let body = json!({ "user": user, "organization": "acme", "password": password });
    let answer = house.ask("", "POST", "/sign-in", body);
    match answer.status() {
        303 => Ok(cookie(&answer)),
        status => Err(status),
    }
}

#[test]
fn the_present_one_is_asked_for_and_other_browsers_are_signed_out() {
    let house = House::new(&[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let admin = house.jwt("acme", "admin", "admin");
    let ann = house.jwt("acme", "ann", "member");
    let set = |token: &str, body: Value| house.ask(token, "POST", PATH, body).status();
    assert_eq!(set("", json!({ "password": FIRST })), 401);
    assert_eq!(set(&ann, json!({ "password": "short" })), 400);
    assert_eq!(set(&ann, json!({})), 400);
    assert_eq!(sign_in(&house, "ann", FIRST), Err(401));
    // There is none yet, and neither a token nor a key gives the first one: it would outlive them.
    let key = house.ask(&admin, "POST", "/api/v1/admin/keys", json!({ "user": "ann", "name": "bot" })).json();
    assert_eq!(set(&ann, json!({ "password": FIRST })), 403);
    assert_eq!(set(key["key"].as_str().unwrap(), json!({ "password": FIRST })), 403);
    assert_eq!(sign_in(&house, "ann", FIRST), Err(401));
    first(&house, &admin, "ann");
    let (here, there) = (sign_in(&house, "ann", FIRST).unwrap(), sign_in(&house, "ann", FIRST).unwrap());
    let ticket = house.ticket(&there, "/ws");

    let device = house.device(&ann, "phone");
    assert_eq!(set(&device, json!({ "current": FIRST, "password": SECOND })), 403);
    assert_eq!(set(key["key"].as_str().unwrap(), json!({ "current": FIRST, "password": SECOND })), 403);
    assert_eq!(set(&here, json!({ "password": SECOND })), 400);
    assert_eq!(set(&here, json!({ "current": "something else", "password": SECOND })), 403);
    assert!(house.whoami(&there).is_ok() && sign_in(&house, "ann", SECOND) == Err(401), "nothing has changed");
    assert_eq!(set(&here, json!({ "current": FIRST, "password": SECOND, "user": "admin" })), 204);
    assert_eq!(house.whoami(&here).unwrap()["user"], "ann", "this one stays");
    assert_eq!(house.whoami(&there), Err(401));
    assert_eq!(house.knock(&format!("/ws?ticket={ticket}"), &[]), 401);
    assert_eq!(sign_in(&house, "ann", FIRST), Err(401));
    assert!(sign_in(&house, "ann", SECOND).is_ok());
    assert!(house.whoami(&ann).is_ok() && house.whoami(&device).is_ok(), "no browsers");

    let record = house.get(&admin, "/api/v1/admin/audit?action=password.set&actor=ann").json();
    let outcomes: Vec<Option<&str>> =
        record["items"].as_array().unwrap().iter().map(|entry| entry["outcome"].as_str()).collect();
    // The device's and the key's were refused at the door, and are counted there.
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_none()).count(), 1, "{record}");
    assert!(outcomes.contains(&Some("refused")), "{record}");
    let House { hub, data: _data } = house;
    let (_, log) = hub.stop();
    assert!(!log.contains("horse") && !record.to_string().contains("horse"));
}

#[test]
fn guesses_at_the_present_one_run_out_and_nobody_elses() {
    let house = House::new(&[("SWITCHBOARD_LIMITS__SIGN_INS_PER_MINUTE", "3")]);
    let admin = house.jwt("acme", "admin", "admin");
    let (ann, bob) = (house.jwt("acme", "ann", "member"), house.jwt("acme", "bob", "member"));
    first(&house, &admin, "ann");
    first(&house, &admin, "bob");
    let guess = || house.ask(&ann, "POST", PATH, json!({ "current": "a guess of mine", "password": SECOND }));
    assert_eq!([guess().status(), guess().status(), guess().status()], [403, 403, 403]);
    let refused = guess();
    assert_eq!(refused.status(), 429);
    assert!(refused.header("retry-after").is_some());
    // Also with the right one: who guesses is not told.
    assert_eq!(house.ask(&ann, "POST", PATH, json!({ "current": FIRST, "password": SECOND })).status(), 429);
    assert_eq!(house.ask(&bob, "POST", PATH, json!({ "current": FIRST, "password": SECOND })).status(), 204);
}

#[test]
fn a_browser_that_came_by_a_link_gives_itself_the_first_one() {
    let house = House::new(&[]);
    let code = house.hub.code().expect("the first start prints a link");
    let answer = house.ask("", "POST", "/sign-in", json!({ "code": code }));
    let cookie = cookie(&answer);
    assert_eq!(house.ask(&cookie, "POST", PATH, json!({ "password": FIRST })).status(), 204);
    let body = json!({ "user": "owner", "organization": "default", "password": FIRST });
    assert_eq!(house.ask("", "POST", "/sign-in", body).status(), 303);
}

#[test]
fn browsers_that_signed_in_with_a_token_are_signed_out_too() {
    let house = House::new(&[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let admin = house.jwt("acme", "admin", "admin");
    let browser = || {
        let token = house.jwt("acme", "ann", "member");
        let answer = house.ask("", "POST", "/sign-in", json!({ "token": token }));
        assert_eq!(answer.status(), 303, "{}", answer.0);
        cookie(&answer)
    };
    let own = format!("http://{}", house.hub.address);
    let asked = |cookie: &str, method: &str, path: &str, body: Value| {
        let cookie = format!("switchboard_session={cookie}");
        house.ask_with("", method, path, &[("Cookie", &cookie), ("Origin", &own)], body).status()
    };
    let whoami = |cookie: &str| asked(cookie, "GET", "/api/v1/session", Value::Null);
    // An admin's change spares none.
    let early = browser();
    let program = house.jwt("acme", "ann", "member");
    assert_eq!(whoami(&early), 200);
    first(&house, &admin, "ann");
    assert_eq!(whoami(&early), 401);
    assert_eq!(house.ask("", "POST", "/sign-in", json!({ "token": early })).status(), 401, "nor does it come back");
    // One's own spares the one that asks.
    let (here, there) = (browser(), browser());
    assert_eq!((whoami(&here), whoami(&there)), (200, 200));
    assert_eq!(asked(&here, "POST", PATH, json!({ "current": FIRST, "password": SECOND })), 204);
    assert_eq!((whoami(&here), whoami(&there)), (200, 401));
    assert!(house.whoami(&program).is_ok(), "no browser");
}
