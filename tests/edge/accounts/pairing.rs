//! A code pairs one device, which has no more rights than who made the code, and cannot be guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use switchboard::http;

use super::{House, same};

/// Addresses are believed from a header, so that one test can come from many.
const MANY: [(&str, &str); 1] = [("SWITCHBOARD_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")];

fn verify(house: &House, code: &str, from: &str) -> crate::hub::Answer {
    house.ask_with("", "POST", "/pairing/verify", &[("X-Forwarded-For", from)], json!({ "code": code }))
}

fn code(house: &House, token: &str) -> String {
    let made = house.ask(token, "POST", "/pairing/codes", json!({ "deviceName": "phone" }));
    assert_eq!(made.status(), 201, "{}", made.0);
    made.json()["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_device_is_paired_listed_renamed_and_removed() {
    let house = House::new(&[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let (ann, bob) = (house.jwt("acme", "ann", "operator"), house.jwt("acme", "bob", "admin"));
    let made = house.ask(&ann, "POST", "/pairing/codes", json!({ "deviceName": " My phone " })).json();
    let code = made["code"].as_str().unwrap();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{code}");
    let paired = house.ask("", "POST", "/pairing/verify", json!({ "code": code.to_lowercase() })).json();
    let token = paired["token"].as_str().unwrap();
    assert!(token.len() == 43 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{token}");
    let seen = house.whoami(token).unwrap();
    assert_eq!(
        (&seen["user"], &seen["role"], &seen["credential"]),
        (&json!("ann"), &json!("operator"), &json!("device"))
    );

    let listed = house.get(&ann, "/devices").json();
    let device = &listed["items"][0];
    assert_eq!((&device["name"], listed["items"].as_array().unwrap().len()), (&json!("My phone"), 1));
    assert!(device["lastSeenAt"].is_string());
    assert_eq!(house.get(&bob, "/devices").json()["items"], json!([]));
    let path = format!("/devices/{}", device["id"].as_str().unwrap());

    // Another user's device answers like none.
    let nobodys = "/devices/dev_00000000000000000000000000000000";
    for (method, body) in [("PATCH", json!({ "name": "mine" })), ("DELETE", Value::Null)] {
        let theirs = same(&house.ask(&bob, method, &path, body.clone()));
        assert_eq!(theirs, same(&house.ask(&bob, method, nobodys, body)));
        assert_eq!(theirs.0, 404);
    }
    let renamed = house.ask(&ann, "PATCH", &path, json!({ "name": "Old phone", "user": "bob", "role": "owner" }));
    assert_eq!(
        (&renamed.json()["name"], &renamed.json()["user"], &renamed.json()["role"]),
        (&json!("Old phone"), &json!("ann"), &json!("operator"))
    );

    // Adversarial 50: with the device go its tickets.
    let ticket = house.ticket(token, "/ws");
    assert_eq!(house.ask(&ann, "DELETE", &format!("/api/v1{path}"), Value::Null).status(), 204);
    assert_eq!(house.whoami(token), Err(401));
    assert_eq!(house.knock(&format!("/ws?ticket={ticket}"), &[]), 401);
    assert_eq!(house.knock("/ws", &[("Authorization", &format!("Bearer {token}"))]), 401);
    assert_eq!(house.ask(&ann, "DELETE", &path, Value::Null).status(), 404);
    assert_eq!(house.get(&ann, "/devices").json()["items"], json!([]));
}

#[test]
fn case_44_guesses_run_out_for_an_address_however_many_it_claims_to_be() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let right = code(&house, &ann);
    let guesses: Vec<u16> = std::thread::scope(|scope| {
        let house = &house;
        // A forged header of somebody who is no trusted proxy.
        let one = |n: usize| verify(house, &format!("WRNG{n:02}"), &format!("10.9.8.{n}")).status();
        let all: Vec<_> = (0..40).map(|n| scope.spawn(move || one(n))).collect();
        all.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert_eq!(guesses.iter().filter(|status| **status == 404).count(), 5, "{guesses:?}");
    assert_eq!(guesses.iter().filter(|status| **status == 429).count(), 35);
    let waiting = verify(&house, &right, "10.9.8.99");
    assert_eq!(waiting.status(), 429, "also the right code has to wait");
    assert!(waiting.0.contains("\"retryAfter\":"), "{}", waiting.0);
}

#[test]
fn case_45_unknown_fields_switch_no_limit_off() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let live = code(&house, &ann);
    let ledger = house.ledger();
    let guess = |n: usize| {
        let body = json!({ "code": format!("WRNG{n:02}"), "admin": true, "skipLimit": true, "attempts": -1, "address": "1.2.3.4" });
        house.ask("", "POST", "/pairing/verify", body).status()
    };
    let all: Vec<u16> = (0..8).map(guess).collect();
    assert_eq!(all, [404, 404, 404, 404, 404, 429, 429, 429]);
    assert_eq!(ledger.changed(), [""; 0]);
    let refused = ["nobody pairing.verify not_found 5", "nobody pairing.verify rate_limited 3"];
    assert_eq!(house.aftermath(&ledger, &[&live, "WRNG"]), refused);
}

#[test]
fn case_46_used_expired_and_unknown_codes_answer_alike_and_of_fifty_at_once_one_wins() {
    let house = House::new(&[MANY[0], ("SWITCHBOARD_PAIRING__SECONDS", "1")]);
    let ann = house.jwt("acme", "ann", "member");
    let late = code(&house, &ann);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ledger = house.ledger();
    let expired = same(&verify(&house, &late, "10.0.1.1"));
    let unknown = same(&verify(&house, "AAAAA0", "10.0.1.2"));
    assert_eq!(expired, unknown);
    assert_eq!(expired.0, 404);
    assert!(house.get(&ann, "/devices").json()["items"].as_array().unwrap().is_empty());
    assert_eq!(house.aftermath(&ledger, &[&late, "AAAAA0"]), ["nobody pairing.verify not_found 2"]);

    let house = House::new(&MANY);
    let ann = house.jwt("acme", "ann", "member");
    let once = code(&house, &ann);
    let ledger = house.ledger();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let (house, once) = (&house, &once);
        let all: Vec<_> = (0..50).map(|n| scope.spawn(move || verify(house, once, &format!("10.0.2.{n}")))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let won = answers.iter().filter(|answer| answer.status() == 200).count();
    let lost: BTreeSet<String> =
        answers.iter().filter(|answer| answer.status() != 200).map(|answer| format!("{:?}", same(answer))).collect();
    assert_eq!((won, lost), (1, BTreeSet::from([format!("{unknown:?}")])));
    assert_eq!(house.get(&ann, "/devices").json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(ledger.changed(), ["device", "pairing_code"], "what the one who won was given");
    assert_eq!(house.aftermath(&ledger, &[&once]), ["nobody pairing.verify not_found 49"]);
}

#[test]
fn case_47_a_device_administers_nothing_and_never_has_more_than_who_paired_it() {
    let house = House::new(&[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let owner = house.jwt("default", "owner", "owner");
    let device = house.device(&owner, "phone");
    let seen = house.whoami(&device).unwrap();
    assert_eq!((&seen["role"], &seen["hubAdmin"]), (&json!("owner"), &json!(false)));
    let ledger = house.ledger();
    let (mut asked, mut wanted) = (0, BTreeMap::new());
    for endpoint in http::table() {
        let path = endpoint.path.replace("{id}", "x");
        let closed = path.starts_with("/api/v1/admin") || path.contains("pairing/codes") || path.contains("config");
        if closed {
            asked += 1;
            let answer = house.ask(&device, endpoint.method.as_str(), &path, json!({}));
            assert_eq!(answer.status(), 403, "{} {path}", endpoint.method);
            *wanted.entry(endpoint.operation.name()).or_insert(0) += 1;
        }
    }
    assert!(asked > 15, "only {asked} were asked");
    assert_eq!(ledger.changed(), [""; 0]);

    let ann = house.jwt("acme", "ann", "member");
    let device = house.device(&ann, "phone");
    house.jwt("acme", "ann", "admin");
    assert_eq!(house.whoami(&device).unwrap()["role"], "member", "a device does not rise with its user");
    house.jwt("acme", "ann", "viewer");
    assert_eq!(house.whoami(&device).unwrap()["role"], "viewer", "but falls with it");
    let by_viewer = house.ask(&ann, "POST", "/pairing/codes", json!({ "deviceName": "x" }));
    assert_eq!(by_viewer.status(), 403);
    let refusal = |(what, times): (&str, u32)| format!("owner@default {what} forbidden {times}");
    let mut wanted: Vec<String> = wanted.into_iter().map(refusal).collect();
    wanted.insert(0, "ann@acme pairing.create forbidden 1".into());
    assert_eq!(house.aftermath(&ledger, &[&device]), wanted, "each of them, once");
}

#[test]
fn case_48_a_code_carries_nothing_but_itself() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let made = house.ask(&ann, "POST", "/api/v1/pairing/codes", json!({ "deviceName": "x" })).json();
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["code", "expiresAt"]);
    // And it opens nothing but the pairing of one device.
    let code = made["code"].as_str().unwrap();
    let ledger = house.ledger();
    assert_eq!(house.whoami(code), Err(401));
    for path in [format!("/ws?token={code}"), format!("/ws?ticket={code}")] {
        assert_eq!(house.knock(&path, &[]), 401);
    }
    assert_eq!(ledger.changed(), [""; 0]);
    let refused = ["nobody /ws unauthorized 2", "nobody session.get unauthorized 1"];
    assert_eq!(house.aftermath(&ledger, &[code]), refused);
}

#[test]
fn case_49_a_devices_name_shows_what_it_is() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let long = "x".repeat(101);
    let ledger = house.ledger();
    for name in ["", " ", "a\nb", "\u{1b}[2Jcleared", "left\u{202e}right", "nul\0", &long] {
        let answer = house.ask(&ann, "POST", "/api/v1/pairing/codes", json!({ "deviceName": name }));
        assert_eq!(
            (answer.status(), &answer.json()["error"]["details"]["field"]),
            (400, &json!("deviceName")),
            "{name:?}"
        );
    }
    let answer = house.ask(&ann, "POST", "/api/v1/pairing/codes", json!({ "deviceName": 7 }));
    assert_eq!(answer.json()["error"]["details"]["field"], "deviceName");
    assert_eq!(ledger.changed(), [""; 0]);
    // Markup is text: it goes out as JSON, which no browser takes for a page.
    house.device(&ann, "<script>alert(1)</script>");
    let listed = house.get(&ann, "/devices");
    assert_eq!(listed.json()["items"][0]["name"], "<script>alert(1)</script>");
    assert_eq!(
        (listed.header("content-type"), listed.header("x-content-type-options")),
        (Some("application/json"), Some("nosniff"))
    );
    // A wrong field is no refusal; and nothing that moves a terminal's cursor or turns its text reaches a log.
    assert_eq!(house.aftermath(&ledger, &["\u{1b}", "\u{202e}", "left"]), [""; 0]);
}
