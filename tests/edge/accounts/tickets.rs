//! A ticket opens one door, once, within seconds, for whom it was made.

use serde_json::{Value, json};

use super::House;
use crate::hub::Hub;

#[test]
fn a_ticket_opens_its_door_as_the_one_who_made_it() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "operator");
    let ticket = house.ticket(&ann, "/api/v1/session");
    assert_eq!(ticket.len(), 43);
    let seen = house.get("", &format!("/api/v1/session?ticket={ticket}")).json();
    assert_eq!(
        (&seen["organization"], &seen["user"], &seen["role"]),
        (&json!("acme"), &json!("ann"), &json!("operator"))
    );
    assert_eq!(seen["credential"], "jwt");
    let ticket = house.ticket(&ann, "/ws");
    assert_eq!(house.knock(&format!("/ws?ticket={ticket}"), &[]), 101);
}

#[test]
fn a_ticket_is_for_a_path_and_says_which_field_is_wrong() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    for body in [
        json!({}),
        json!({ "route": "ws" }),
        json!({ "route": "/ws?x" }),
        json!({ "route": 7 }),
        json!({ "route": "/é" }),
    ] {
        let answer = house.ask(&ann, "POST", "/api/v1/tickets", body.clone());
        assert_eq!(answer.status(), 400, "{body}");
        assert_eq!(answer.json()["error"]["details"]["field"], "route", "{body}");
    }
    assert_eq!(house.ask("", "POST", "/api/v1/tickets", json!({ "route": "/ws" })).status(), 401);
    let foreign = house.ask(&ann, "POST", "/api/v1/tickets", json!({ "route": "/ws", "organizationId": "other" }));
    assert_eq!(foreign.status(), 403);
}

#[test]
fn case_51_of_fifty_uses_at_once_exactly_one_wins() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let path = format!("/ws?ticket={}", house.ticket(&ann, "/ws"));
    let mut all: Vec<u16> = std::thread::scope(|scope| {
        let uses: Vec<_> = (0..50).map(|_| scope.spawn(|| house.knock(&path, &[]))).collect();
        uses.into_iter().map(|one| one.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert_eq!((all[0], all.iter().filter(|status| **status == 401).count()), (101, 49));
}

#[test]
fn case_51_not_at_another_door_from_another_page_for_another_organization_or_too_late() {
    let house = House::new(&[("SWITCHBOARD_AUTH__TICKET_SECONDS", "1")]);
    let ann = house.jwt("acme", "ann", "member");
    let elsewhere = house.ticket(&ann, "/ws/client");
    assert_eq!(house.knock(&format!("/ws?ticket={elsewhere}"), &[]), 401);
    assert_eq!(house.knock(&format!("/ws/client?ticket={elsewhere}"), &[]), 401, "a try uses it up");

    let page = [("Origin", "https://panel.example")];
    let bound = || {
        let made = house.ask_with(&ann, "POST", "/api/v1/tickets", &page, json!({ "route": "/ws" }));
        format!("/ws?ticket={}", made.json()["ticket"].as_str().unwrap())
    };
    assert_eq!(house.knock(&bound(), &[("Origin", "https://panel.example.evil")]), 401);
    assert_eq!(house.knock(&bound(), &[]), 401);
    assert_eq!(house.knock(&bound(), &page), 101);

    let foreign = house.ticket(&ann, "/ws");
    assert_eq!(house.knock(&format!("/ws?ticket={foreign}&organizationId=other"), &[]), 403);
    // A ticket in an address is no credential of whoever sends another one.
    let bob = house.jwt("other", "bob", "member");
    let seen = house.get(&bob, &format!("/api/v1/session?ticket={}", house.ticket(&ann, "/api/v1/session"))).json();
    assert_eq!(seen["user"], "bob");

    let late = house.ticket(&ann, "/ws");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(house.knock(&format!("/ws?ticket={late}"), &[]), 401);
}

#[test]
fn over_rest_a_ticket_only_reads() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let ticket = house.ticket(&ann, "/pairing/codes");
    let answer = house.ask("", "POST", &format!("/pairing/codes?ticket={ticket}"), json!({ "deviceName": "x" }));
    assert_eq!(answer.status(), 401);
}

#[test]
fn case_52_a_ticket_ends_with_what_it_was_made_with() {
    let house = House::new(&[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let code = house.hub.code().unwrap();
    let signed_in = house.hub.send("POST", "/sign-in", &[], &json!({ "code": code }).to_string());
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let own = format!("http://{}", house.hub.address);
    let headers = [("Cookie", cookie.as_str()), ("Origin", own.as_str())];
    let made = house.ask_with("", "POST", "/api/v1/tickets", &headers, json!({ "route": "/ws" }));
    let ticket = made.json()["ticket"].as_str().unwrap().to_owned();
    assert_eq!(house.ask_with("", "POST", "/sign-out", &headers, Value::Null).status(), 204);
    let first = house.ledger();
    assert_eq!(house.knock(&format!("/ws?ticket={ticket}"), &[("Origin", &own)]), 401);
    assert_eq!(first.changed(), ["ticket"], "a try uses it up");

    let owner = house.jwt("default", "owner", "owner");
    let ann = house.jwt("acme", "ann", "member");
    let key = house
        .ask(&owner, "POST", "/api/v1/admin/keys?organization=acme", json!({ "user": "ann", "name": "ci" }))
        .json();
    let by_key = house.ticket(key["key"].as_str().unwrap(), "/ws");
    let revoke = format!("/api/v1/admin/keys/{}?organization=acme", key["id"].as_str().unwrap());
    assert_eq!(house.ask(&owner, "DELETE", &revoke, Value::Null).status(), 204);
    let ledger = house.ledger();
    assert_eq!(house.knock(&format!("/ws?ticket={by_key}"), &[]), 401);
    assert_eq!(ledger.changed(), [""; 0], "it went with the key");

    let by_token = house.ticket(&ann, "/ws");
    let gone = house.ask(&owner, "POST", "/api/v1/admin/users/ann/disable?organization=acme", Value::Null);
    assert_eq!(gone.status(), 200);
    let ledger = house.ledger();
    assert_eq!(house.knock(&format!("/ws?ticket={by_token}"), &[]), 401);
    assert_eq!(ledger.changed(), [""; 0]);
    let secrets = [&cookie, &ticket, &by_key, &by_token].map(String::as_str);
    assert_eq!(house.aftermath(&first, &secrets), ["nobody /ws unauthorized 3"]);
}

/// A million from where tickets come from: no two alike, and no place in them that is worth a guess.
#[test]
fn case_53_a_million_tickets_and_no_two_alike() {
    use secrecy::ExposeSecret;
    const MANY: usize = 1_000_000;
    let mut seen = std::collections::HashSet::with_capacity(MANY);
    let mut places = [[0u32; 128]; 43];
    for _ in 0..MANY {
        let ticket = switchboard::auth::keys::generate("").unwrap();
        let ticket: [u8; 43] = ticket.expose_secret().as_bytes().try_into().unwrap();
        for (place, letter) in places.iter_mut().zip(ticket) {
            place[usize::from(letter)] += 1;
        }
        assert!(seen.insert(ticket), "one came twice");
    }
    for (n, place) in places.iter().enumerate() {
        // Of 32 bytes the last character says four bits, every other one six.
        let letters: u32 = if n == 42 { 16 } else { 64 };
        let even = MANY as u32 / letters;
        let found: Vec<u32> = place.iter().copied().filter(|count| *count > 0).collect();
        assert_eq!(found.len() as u32, letters, "place {n}");
        // Eight standard deviations and more: not in the life of this world.
        assert!(found.iter().all(|count| count.abs_diff(even) < even / 10), "place {n}: {found:?}");
    }
}

#[test]
fn case_52_no_ticket_is_good_after_a_restart() {
    let house = House::new(&[("SWITCHBOARD_AUTH__TICKET_SECONDS", "300")]);
    let owner = house.jwt("default", "owner", "owner");
    let key = house.ask(&owner, "POST", "/api/v1/admin/keys", json!({ "name": "ci" })).json();
    let key = key["key"].as_str().unwrap();
    let (used, unused) = (house.ticket(key, "/ws"), house.ticket(key, "/ws"));
    assert_eq!(house.knock(&format!("/ws?ticket={used}"), &[]), 101);
    let House { hub, data } = house;
    drop(hub);
    let house = House { hub: Hub::start(&data.path(), &[]), data };
    let ledger = house.ledger();
    assert_eq!(house.knock(&format!("/ws?ticket={used}"), &[]), 401);
    assert_eq!(house.knock(&format!("/ws?ticket={unused}"), &[]), 401);
    assert_eq!(ledger.changed(), [""; 0]);
    // The credential that made them is as good as before.
    let fresh = house.ticket(key, "/ws");
    assert_eq!(house.knock(&format!("/ws?ticket={fresh}"), &[]), 101);
    assert_eq!(house.aftermath(&ledger, &[&used, &unused, &fresh]), ["nobody /ws unauthorized 2"]);
}
