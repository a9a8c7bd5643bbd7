//! The operator's words: the same administration at the command line, heard by a hub that runs.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::House;
use crate::hub::{Data, run, switchboard, text};

fn at(data: &Data, arguments: &[&str]) -> Output {
    let data = data.arg();
    let mut all = arguments.to_vec();
    all.extend(["--data", &data]);
    run(&all, &[])
}

fn said(data: &Data, arguments: &[&str]) -> String {
    let done = at(data, arguments);
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", text(&done.stderr));
    text(&done.stdout).to_owned()
}

fn refused(data: &Data, arguments: &[&str]) -> (i32, String) {
    let done = at(data, arguments);
    assert_eq!(text(&done.stdout), "", "{arguments:?}");
    (done.status.code().unwrap(), text(&done.stderr).to_owned())
}

#[test]
fn users_organizations_and_keys_are_administered_without_a_hub_that_runs() {
    let data = Data::new();
    assert!(said(&data, &["org", "add", "acme", "--name", "Acme Inc"]).contains("Acme Inc"));
    said(&data, &["user", "add", "ann", "--org", "acme", "--role", "admin"]);
    let users: Value = serde_json::from_str(&said(&data, &["user", "list", "--org", "acme", "--json"])).unwrap();
    assert_eq!(
        (&users[0]["id"], &users[0]["role"], &users[0]["hubAdmin"]),
        (&json!("ann"), &json!("admin"), &json!(false))
    );
    said(&data, &["user", "set", "ann", "--org", "acme", "--role", "viewer", "--hub-admin"]);
    said(&data, &["user", "disable", "ann", "--org", "acme"]);
    let users: Value = serde_json::from_str(&said(&data, &["user", "list", "--org", "acme", "--json"])).unwrap();
    assert_eq!(
        (&users[0]["role"], &users[0]["hubAdmin"], users[0]["disabledAt"].is_string()),
        (&json!("viewer"), &json!(true), true)
    );
    said(&data, &["user", "enable", "ann", "--org", "acme"]);
    said(&data, &["user", "sign-out", "ann", "--org", "acme"]);

    let key = said(&data, &["key", "add", "--user", "ann", "--org", "acme", "--name", "ci", "--ttl", "90d"]);
    assert!(key.starts_with("sb_") && key.len() == 47 && key.ends_with('\n'), "{key:?}");
    let keys: Value = serde_json::from_str(&said(&data, &["key", "list", "--org", "acme", "--json"])).unwrap();
    let id = keys[0]["id"].as_str().unwrap();
    said(&data, &["key", "revoke", id, "--org", "acme"]);
    let table = said(&data, &["key", "list", "--org", "acme"]);
    assert!(
        table.lines().next().unwrap().starts_with("KEY") && table.contains(id) && !table.contains(key.trim()),
        "{table}"
    );

    let record: Value = serde_json::from_str(&said(&data, &["audit", "--org", "acme", "--json"])).unwrap();
    let actions: Vec<_> =
        record.as_array().unwrap().iter().rev().map(|entry| entry["action"].as_str().unwrap()).collect();
    let wanted = [
        "admin.users.create",
        "admin.users.update",
        "admin.users.disable",
        "admin.users.disable",
        "admin.users.update",
        "admin.keys.create",
        "admin.keys.revoke",
    ];
    assert_eq!(actions, wanted);
    assert!(record.as_array().unwrap().iter().all(|entry| entry["credential"]["kind"] == "operator"));
    let newest: Value = serde_json::from_str(&said(
        &data,
        &["audit", "--limit", "1", "--json", "--action", "admin.organizations.create"],
    ))
    .unwrap();
    assert_eq!(newest[0]["target"], "acme");
}

#[test]
fn wrong_use_is_2_and_what_cannot_be_is_1() {
    let data = Data::new();
    said(&data, &["user", "add", "ann"]);
    for arguments in [
        &["user"][..],
        &["user", "add"],
        &["user", "add", "ann", "--role", "emperor"],
        &["user", "set", "ann"],
        &["key", "add", "--user", "ann"],
        &["key", "add", "--user", "ann", "--name", "x", "--ttl", "soon"],
        &["audit", "--limit", "0"],
    ] {
        assert_eq!(refused(&data, arguments).0, 2, "{arguments:?}");
    }
    for (arguments, word) in [
        (&["user", "add", "ann"][..], "exists"),
        (&["user", "set", "nobody", "--role", "admin"], "no such user"),
        (&["user", "list", "--org", "nowhere"], "no such organization"),
        (&["user", "set", "owner", "--role", "member"], "last owner"),
        (&["key", "revoke", "key_1"], "no such key"),
        (&["key", "add", "--user", "ann", "--name", "a\nb"], "name"),
        (&["org", "add", "default"], "exists"),
    ] {
        let (code, sentence) = refused(&data, arguments);
        assert!(code == 1 && sentence.contains(word), "{arguments:?}: {code} {sentence}");
    }
}

#[test]
fn a_password_comes_by_standard_input_and_stays_out_of_sight() {
    let data = Data::new();
    said(&data, &["user", "add", "ann"]);
    let set = |password: &str| {
        let folder = data.arg();
        let mut child = switchboard(&["user", "password", "ann", "--data", &folder], &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(set("short\n").status.code(), Some(1));
    let done = set("correct horse battery\n");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let record = said(&data, &["audit", "--json"]);
    assert!(record.contains(r#""password":"set""#) && !record.contains("horse"), "{record}");
    said(&data, &["user", "password", "ann", "--remove"]);
}

#[test]
fn a_running_hub_hears_of_it_within_a_moment() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let key = said(&house.data, &["key", "add", "--user", "ann", "--org", "acme", "--name", "ci"]);
    let key = key.trim();
    assert_eq!(house.whoami(key).unwrap()["role"], "member");
    said(&house.data, &["user", "set", "ann", "--org", "acme", "--role", "operator"]);
    let soon = |wanted: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(20);
        while !wanted() {
            assert!(Instant::now() < until, "the hub did not hear of it");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    soon(&|| house.whoami(key).is_ok_and(|seen| seen["role"] == "operator"));
    said(&house.data, &["user", "disable", "ann", "--org", "acme"]);
    soon(&|| house.whoami(key) == Err(401) && house.whoami(&ann) == Err(401));
}

#[test]
fn who_runs_the_hub_is_said_by_the_operator() {
    let data = Data::new();
    let hub_admin = |user: &str, org: &str| {
        let users: Value = serde_json::from_str(&said(&data, &["user", "list", "--org", org, "--json"])).unwrap();
        let found = users.as_array().unwrap().iter().find(|row| row["id"] == user).unwrap().clone();
        found["hubAdmin"].as_bool().unwrap()
    };
    data.token(&["--user", "ann", "--org", "acme", "--role", "owner"]);
    assert!(!hub_admin("ann", "acme"), "an owner elsewhere does not run the hub");
    data.token(&["--user", "bob", "--role", "owner"]);
    assert!(hub_admin("bob", "default"), "an owner of the first organization does");
    data.token(&["--user", "cleo", "--org", "acme", "--hub-admin"]);
    assert!(hub_admin("cleo", "acme"));
    said(&data, &["user", "set", "cleo", "--org", "acme", "--hub-admin=false"]);
    assert!(!hub_admin("cleo", "acme"));
    let record: Value =
        serde_json::from_str(&said(&data, &["audit", "--json", "--action", "admin.tokens.create"])).unwrap();
    let made: Vec<_> = record.as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    assert_eq!(made, ["cleo", "bob", "ann"]);
}

#[test]
fn a_terminal_obeys_nothing_that_came_from_elsewhere() {
    const SECRET: &str = "a secret for tests that has 32 bytes and more";
    let house = House::new(&[("SWITCHBOARD_JWT_SECRET", SECRET)]);
    let claims = json!({ "sub": "a\u{202e}nna", "org": "acme", "exp": 4_000_000_000u64 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    assert!(house.whoami(&token).is_ok());
    let table = said(&house.data, &["user", "list", "--org", "acme"]);
    assert!(!table.contains('\u{202e}') && table.contains(r"a\u{202e}nna"), "{table:?}");
}
