//! Admins administer their own organization, up to their own role; administrators of the hub all of it.

use serde_json::{Value, json};

use super::{House, same};

const NOW: (&str, &str) = ("SWITCHBOARD_AUTH__REMEMBER_MS", "0");

#[test]
fn an_api_key_is_made_shown_once_used_and_revoked() {
    let house = House::new(&[NOW]);
    let boss = house.jwt("acme", "boss", "admin");
    house.jwt("acme", "ann", "operator");
    let made = house.ask(
        &boss,
        "POST",
        "/api/v1/admin/keys",
        json!({ "user": "ann", "name": "ci", "expiresAt": "2999-01-01T00:00:00Z" }),
    );
    assert_eq!(made.status(), 201, "{}", made.0);
    let made = made.json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("sb_"));
    let seen = house.whoami(key).unwrap();
    assert_eq!(
        (&seen["user"], &seen["role"], &seen["credential"]),
        (&json!("ann"), &json!("operator"), &json!("api_key"))
    );
    let listed = house.get(&boss, "/api/v1/admin/keys?user=ann");
    assert!(!listed.0.contains(key), "a key is shown once");
    assert_eq!(listed.json()["items"][0]["name"], "ci");
    let path = format!("/api/v1/admin/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(house.ask(&boss, "DELETE", &path, Value::Null).status(), 204);
    assert_eq!(house.whoami(key), Err(401));
    assert!(house.get(&boss, "/api/v1/admin/keys").json()["items"][0]["revokedAt"].is_string());
    for (body, field) in [
        (json!({ "user": "ann" }), "name"),
        (json!({ "user": "ann", "name": "a\nb" }), "name"),
        (json!({ "user": "ann", "name": "x", "expiresAt": "soon" }), "expiresAt"),
        (json!({ "user": "ann", "name": "x", "expiresAt": "2001-01-01T00:00:00Z" }), "expiresAt"),
    ] {
        let answer = house.ask(&boss, "POST", "/api/v1/admin/keys", body);
        assert_eq!((answer.status(), &answer.json()["error"]["details"]["field"]), (400, &json!(field)));
    }
}

#[test]
fn an_admin_does_not_reach_another_organization_and_learns_nothing_of_it() {
    let house = House::new(&[NOW]);
    let boss = house.jwt("acme", "boss", "owner");
    let other = house.jwt("other", "eve", "owner");
    let key = house.ask(&other, "POST", "/api/v1/admin/keys", json!({ "name": "theirs" })).json();
    house.device(&other, "phone");
    let device = house.get(&other, "/api/v1/admin/devices").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let key = key["id"].as_str().unwrap().to_owned();
    let (no_key, no_device) = ("key_00000000000000000000000000000000", "dev_00000000000000000000000000000000");
    for (method, theirs, nothing, body) in [
        ("GET", "/api/v1/admin/users?organization=other", "/api/v1/admin/users?organization=nowhere", Value::Null),
        ("GET", "/api/v1/admin/audit?organization=other", "/api/v1/admin/audit?organization=nowhere", Value::Null),
        ("GET", "/api/v1/admin/audit?organization=*", "/api/v1/admin/audit?organization=nowhere", Value::Null),
        ("PATCH", "/api/v1/admin/users/eve", "/api/v1/admin/users/nobody", json!({ "role": "viewer" })),
        ("POST", "/api/v1/admin/users/eve/disable", "/api/v1/admin/users/nobody/disable", Value::Null),
        ("DELETE", &format!("/api/v1/admin/keys/{key}"), &format!("/api/v1/admin/keys/{no_key}"), Value::Null),
        (
            "DELETE",
            &format!("/api/v1/admin/devices/{device}"),
            &format!("/api/v1/admin/devices/{no_device}"),
            Value::Null,
        ),
        (
            "POST",
            "/api/v1/admin/keys?organization=other",
            "/api/v1/admin/keys?organization=nowhere",
            json!({ "name": "x" }),
        ),
        ("POST", "/api/v1/admin/tokens/revoke", "/api/v1/admin/tokens/revoke", json!({ "token": other })),
    ] {
        let answer = same(&house.ask(&boss, method, theirs, body.clone()));
        assert_eq!(answer.0, 404, "{method} {theirs}: {answer:?}");
        assert_eq!(answer, same(&house.ask(&boss, method, nothing, body)), "{method} {theirs}");
    }
    assert_eq!(house.whoami(&other).unwrap()["role"], "owner");
    assert_eq!(house.get(&boss, "/api/v1/admin/organizations").status(), 403);
    let listed = house.get(&boss, "/api/v1/admin/users").json();
    assert_eq!(
        listed["items"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["boss"]
    );
    // Who runs the hub names any.
    let owner = house.jwt("default", "owner", "owner");
    assert_eq!(house.get(&owner, "/api/v1/admin/users?organization=other").json()["items"][0]["id"], "eve");
    assert_eq!(house.get(&owner, "/api/v1/admin/users?organization=nowhere").status(), 404);
}

#[test]
fn nobody_gives_more_than_they_have_or_touches_who_stands_above() {
    let house = House::new(&[NOW]);
    let admin = house.jwt("acme", "admin", "admin");
    let owner = house.jwt("acme", "owner", "owner");
    house.jwt("acme", "ann", "member");
    let patch = |token: &str, user: &str, body: Value| {
        house.ask(token, "PATCH", &format!("/api/v1/admin/users/{user}"), body).status()
    };
    assert_eq!(patch(&admin, "ann", json!({ "role": "owner" })), 403);
    assert_eq!(patch(&admin, "ann", json!({ "hubAdmin": true })), 403);
    assert_eq!(
        patch(&owner, "owner", json!({ "hubAdmin": true })),
        403,
        "an organization's owner does not run the hub"
    );
    assert_eq!(patch(&admin, "owner", json!({ "role": "viewer" })), 403);
    assert_eq!(patch(&admin, "owner", json!({ "signOut": true })), 403);
    assert_eq!(patch(&admin, "owner", json!({ "password": "a long enough password" })), 403);
    assert_eq!(patch(&admin, "owner", json!({ "disabled": true })), 403);
    let key = house.ask(&admin, "POST", "/api/v1/admin/keys", json!({ "user": "owner", "name": "x" }));
    assert_eq!(key.status(), 403);
    let made = house.ask(&admin, "POST", "/api/v1/admin/users", json!({ "id": "new", "role": "owner" }));
    assert_eq!(made.status(), 403);
    assert_eq!(house.whoami(&owner).unwrap()["role"], "owner");
    // The last owner stays.
    assert_eq!(patch(&owner, "owner", json!({ "role": "admin" })), 409);
    assert_eq!(patch(&owner, "owner", json!({ "disabled": true })), 409);
    assert_eq!(patch(&owner, "ann", json!({ "role": "owner" })), 200);
    assert_eq!(patch(&owner, "owner", json!({ "role": "admin" })), 200);
    assert_eq!(house.whoami(&owner).unwrap()["role"], "admin", "at once, with the same token");
    assert_eq!(patch(&owner, "ann", json!({})), 400);
    assert_eq!(patch(&owner, "ann", json!({ "role": "emperor" })), 400);
}

#[test]
fn case_70_fields_that_are_not_asked_for_change_nothing() {
    let house = House::new(&[]);
    let admin = house.jwt("acme", "admin", "admin");
    let body = json!({ "id": "new", "organization": "other", "organizationId": "other", "managed": false, "hub_admin": true,
        "createdAt": "1970-01-01T00:00:00Z", "userId": "owner", "disabledAt": "1970-01-01T00:00:00Z" });
    let ledger = house.ledger();
    let made = house.ask(&admin, "POST", "/api/v1/admin/users", body).json();
    assert_eq!(
        (&made["organization"], &made["managed"], &made["hubAdmin"]),
        (&json!("acme"), &json!(true), &json!(false))
    );
    assert!(made.get("disabledAt").is_none() && !made["createdAt"].as_str().unwrap().starts_with("1970"));
    assert_eq!(made["role"], "member");
    // The one user, and nobody elsewhere.
    assert_eq!(ledger.changed(), ["account"]);
    assert_eq!(house.aftermath(&ledger, &[]), [""; 0]);
}

#[test]
fn who_is_disabled_comes_in_by_no_credential_until_enabled() {
    let house = House::new(&[NOW]);
    let admin = house.jwt("acme", "admin", "admin");
    let ann = house.jwt("acme", "ann", "member");
    let key = house.ask(&admin, "POST", "/api/v1/admin/keys", json!({ "user": "ann", "name": "x" })).json();
    let credentials = [ann.clone(), key["key"].as_str().unwrap().to_owned(), house.device(&ann, "phone")];
    let all = || credentials.iter().map(|one| house.whoami(one).map(drop)).collect::<Vec<_>>();
    assert_eq!(all(), [Ok(()), Ok(()), Ok(())]);
    let disabled = house.ask(&admin, "POST", "/api/v1/admin/users/ann/disable", Value::Null);
    assert!(disabled.json()["disabledAt"].is_string());
    assert_eq!(all(), [Err(401), Err(401), Err(401)]);
    assert_eq!(house.knock("/ws", &[("Authorization", &format!("Bearer {ann}"))]), 401);
    house.ask(&admin, "POST", "/api/v1/admin/users/ann/enable", Value::Null);
    assert_eq!(all(), [Ok(()), Ok(()), Ok(())]);

    let owner = house.jwt("default", "owner", "owner");
    let set = |disabled: bool| {
        house.ask(&owner, "PATCH", "/api/v1/admin/organizations/acme", json!({ "disabled": disabled }))
    };
    assert_eq!(set(true).status(), 200);
    assert_eq!(all(), [Err(401), Err(401), Err(401)]);
    assert_eq!(set(false).status(), 200);
    assert_eq!(all(), [Ok(()), Ok(()), Ok(())]);
    let own = house.ask(&owner, "PATCH", "/api/v1/admin/organizations/default", json!({ "disabled": true }));
    assert_eq!(own.status(), 403, "one's own could not be enabled again");
}

#[test]
fn a_token_is_taken_back_by_itself_by_name_or_with_all_others() {
    let house = House::new(&[NOW]);
    let admin = house.jwt("acme", "admin", "admin");
    let (one, two, three) =
        (house.jwt("acme", "ann", "member"), house.jwt("acme", "ann", "member"), house.jwt("acme", "ann", "member"));
    let revoke = |body: Value| house.ask(&admin, "POST", "/api/v1/admin/tokens/revoke", body).status();
    assert_eq!(revoke(json!({ "token": one })), 204);
    assert_eq!((house.whoami(&one), house.whoami(&two).is_ok()), (Err(401), true));
    let owner = house.jwt("acme", "owner", "owner");
    let by_name = json!({ "tokenId": name_of(&two) });
    assert_eq!(house.ask(&owner, "POST", "/api/v1/admin/tokens/revoke", by_name).status(), 204);
    assert_eq!((house.whoami(&two), house.whoami(&three).is_ok()), (Err(401), true));
    assert_eq!(revoke(json!({})), 400);
    assert_eq!(revoke(json!({ "token": "nonsense" })), 400);
    let key = house.ask(&admin, "POST", "/api/v1/admin/keys", json!({ "user": "ann", "name": "x" })).json();
    let out = house.ask(&admin, "PATCH", "/api/v1/admin/users/ann", json!({ "signOut": true }));
    assert_eq!(out.status(), 200);
    assert_eq!(house.whoami(&three), Err(401));
    assert!(house.whoami(key["key"].as_str().unwrap()).is_ok(), "keys are no sign-ins");
    assert!(house.whoami(&admin).is_ok());
}

/// A token's `jti`.
fn name_of(token: &str) -> Value {
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["jti"].clone()
}

#[test]
fn an_admin_ends_no_token_of_an_owner() {
    let house = House::new(&[NOW]);
    let (admin, owner) = (house.jwt("acme", "admin", "admin"), house.jwt("acme", "owner", "owner"));
    let revoke = |body: Value| house.ask(&admin, "POST", "/api/v1/admin/tokens/revoke", body).status();
    assert_eq!(revoke(json!({ "token": owner })), 403);
    assert_eq!(revoke(json!({ "tokenId": name_of(&owner) })), 403);
    assert!(house.whoami(&owner).is_ok());
    let record = house.get(&owner, "/api/v1/admin/audit?action=admin.tokens.revoke").json();
    let outcomes: Vec<&Value> = record["items"].as_array().unwrap().iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "refused"], "{record}");
}

/// Whose token a name belongs to the hub does not know: where it may be that of somebody above, nobody below ends it.
#[test]
fn an_owner_ends_no_token_of_who_administers_the_hub() {
    let house = House::new(&[NOW]);
    let (owner, ann) = (house.jwt("acme", "owner", "owner"), house.jwt("acme", "ann", "member"));
    let root = house.data.token(&["--org", "acme", "--user", "root", "--role", "member", "--hub-admin"]);
    let revoke = |who: &str, body: Value| house.ask(who, "POST", "/api/v1/admin/tokens/revoke", body).status();
    assert_eq!(revoke(&owner, json!({ "token": root })), 403);
    assert_eq!(revoke(&owner, json!({ "tokenId": name_of(&root) })), 403);
    assert_eq!(revoke(&owner, json!({ "tokenId": name_of(&ann) })), 403, "a name does not tell whose it is");
    assert_eq!((house.whoami(&root).is_ok(), house.whoami(&ann).is_ok()), (true, true));
    let record = house.get(&owner, "/api/v1/admin/audit?action=admin.tokens.revoke").json();
    let outcomes: Vec<&Value> = record["items"].as_array().unwrap().iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "refused", "refused"], "{record}");
    // What is shown whole is known, and elsewhere nobody stands above an owner.
    assert_eq!(revoke(&owner, json!({ "token": ann })), 204);
    let (other, eve) = (house.jwt("other", "owner", "owner"), house.jwt("other", "eve", "member"));
    assert_eq!(revoke(&other, json!({ "tokenId": name_of(&eve) })), 204);
    let root = house.data.token(&["--org", "acme", "--user", "root", "--role", "admin", "--hub-admin"]);
    assert_eq!(revoke(&root, json!({ "tokenId": name_of(&owner) })), 204);
    assert_eq!([&ann, &eve, &owner].map(|token| house.whoami(token)), [Err(401), Err(401), Err(401)]);
}

#[test]
fn an_api_key_gives_nobody_a_password() {
    let house = House::new(&[NOW]);
    let owner = house.jwt("acme", "owner", "owner");
    house.jwt("acme", "ann", "member");
    let key = house.ask(&owner, "POST", "/api/v1/admin/keys", json!({ "name": "ci" })).json();
    let key = key["key"].as_str().unwrap();
    let password = "a long enough password";
    let sign_in = |user: &str| {
        let body = json!({ "organization": "acme", "user": user, "password": password }).to_string();
        house.hub.send("POST", "/sign-in", &[], &body).status()
    };
    let users = "/api/v1/admin/users";
    for (method, path, body) in [
        ("PATCH", format!("{users}/ann"), json!({ "password": password })),
        ("PATCH", format!("{users}/ann"), json!({ "password": password, "role": "admin", "disabled": false })),
        ("PATCH", format!("{users}/owner"), json!({ "password": password })),
        ("POST", users.to_owned(), json!({ "id": "new", "password": password })),
    ] {
        let refused = house.ask(key, method, &path, body.clone());
        assert_eq!((refused.status(), refused.error().0.as_str()), (403, "forbidden"), "{path} {body}");
    }
    assert_eq!(["ann", "owner", "new"].map(sign_in), [401, 401, 401]);
    let known = house.get(&owner, users).json();
    let known: Vec<_> = known["items"].as_array().unwrap().iter().map(|user| [&user["id"], &user["role"]]).collect();
    assert_eq!(known, [["ann", "member"], ["owner", "owner"]], "half of a change is none");
    let record = house.get(&owner, "/api/v1/admin/audit").json();
    let refused = record["items"].as_array().unwrap().iter().filter(|row| row["outcome"] == "refused");
    let refused: Vec<_> = refused.map(|row| [&row["action"], &row["credential"]["kind"]]).collect();
    let (change, create) = ("admin.users.update", "admin.users.create");
    let wanted = [create, change, "admin.users.disable", change].map(|action| [action, "api_key"]);
    assert_eq!(refused, wanted, "{record}");
    assert!(!record.to_string().contains(password));
    // All else is as it was; and taking a way in away gives none.
    assert_eq!(house.ask(key, "POST", users, json!({ "id": "new" })).status(), 201);
    assert_eq!(house.ask(key, "PATCH", &format!("{users}/new"), json!({ "role": "operator" })).status(), 200);
    assert_eq!(house.ask(&owner, "PATCH", &format!("{users}/new"), json!({ "password": password })).status(), 200);
    assert_eq!(sign_in("new"), 303);
    assert_eq!(house.ask(key, "PATCH", &format!("{users}/new"), json!({ "password": null })).status(), 200);
    assert_eq!(sign_in("new"), 401);
}

#[test]
fn a_device_is_made_without_a_code_and_has_no_more_than_its_maker() {
    let house = House::new(&[NOW]);
    let (admin, owner) = (house.jwt("acme", "admin", "admin"), house.jwt("acme", "owner", "owner"));
    house.jwt("acme", "ann", "member");
    let make = |token: &str, body: Value| house.ask(token, "POST", "/api/v1/admin/devices", body);
    let made = make(&admin, json!({ "user": "ann", "name": " wall " }));
    assert_eq!(made.status(), 201, "{}", made.0);
    let made = made.json();
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["id", "token"]);
    let token = made["token"].as_str().unwrap();
    let seen = house.whoami(token).unwrap();
    assert_eq!([&seen["user"], &seen["role"], &seen["credential"]], ["ann", "member", "device"]);
    // It stays what it was made as, and makes none itself.
    house.jwt("acme", "ann", "owner");
    assert_eq!(house.whoami(token).unwrap()["role"], "member");
    assert_eq!(make(token, json!({ "user": "ann", "name": "x" })).status(), 403);
    let own = make(&owner, json!({ "name": "mine" })).json();
    assert_eq!(house.whoami(own["token"].as_str().unwrap()).unwrap()["role"], "owner");

    assert_eq!(make(&admin, json!({ "user": "owner", "name": "x" })).status(), 403);
    assert_eq!(make(&admin, json!({ "user": "nobody", "name": "x" })).status(), 404);
    for body in [json!({ "user": "ann" }), json!({ "user": "ann", "name": " " })] {
        let refused = make(&admin, body);
        assert_eq!((refused.status(), &refused.json()["error"]["details"]["field"]), (400, &json!("name")));
    }
    let record = house.get(&owner, "/api/v1/admin/audit?action=admin.devices.create").json();
    // The device's own try was refused at the door, and is counted there.
    let judged = record["items"].as_array().unwrap().iter().filter(|row| row["details"]["user"].is_string());
    let rows: Vec<(&Value, &Value)> = judged.map(|row| (&row["outcome"], &row["details"]["user"])).collect();
    let (refused, done) = (json!("refused"), Value::Null);
    let (ann, nobody, owner_row) = (json!("ann"), json!("nobody"), json!("owner"));
    assert_eq!(rows, [(&refused, &nobody), (&refused, &owner_row), (&done, &owner_row), (&done, &ann)], "{record}");
    assert!(!record.to_string().contains(token));

    let path = format!("/api/v1/admin/devices/{}", made["id"].as_str().unwrap());
    assert_eq!(house.ask(&owner, "DELETE", &path, Value::Null).status(), 204);
    assert_eq!(house.whoami(token), Err(401));
}

#[test]
fn lists_come_in_pages() {
    let house = House::new(&[]);
    let admin = house.jwt("acme", "admin", "admin");
    for user in ["a1", "a2", "a3", "b1"] {
        assert_eq!(house.ask(&admin, "POST", "/api/v1/admin/users", json!({ "id": user })).status(), 201);
    }
    assert_eq!(house.ask(&admin, "POST", "/api/v1/admin/users", json!({ "id": "a1" })).status(), 409);
    let mut seen = Vec::new();
    let mut path = "/api/v1/admin/users?limit=2".to_owned();
    loop {
        let page = house.get(&admin, &path).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        path = format!("/api/v1/admin/users?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["a1", "a2", "a3", "admin", "b1"]);
    let found = house.get(&admin, "/api/v1/admin/users?q=A&limit=200").json();
    assert_eq!(found["items"].as_array().unwrap().len(), 4);
    for (query, field) in [("limit=0", "limit"), ("limit=-1", "limit"), ("limit=201", "limit"), ("cursor=!", "cursor")]
    {
        let answer = house.get(&admin, &format!("/api/v1/admin/users?{query}"));
        assert_eq!((answer.status(), &answer.json()["error"]["details"]["field"]), (400, &json!(field)), "{query}");
    }
    let drop_table = house.get(&admin, "/api/v1/admin/users?q=%27%3B%20drop%20table%20account%3B--");
    assert_eq!(drop_table.json()["items"], json!([]));
}

#[test]
fn case_74_administration_is_closed_to_everybody_below() {
    let house = House::new(&[]);
    let tokens = [String::new(), house.jwt("acme", "op", "operator"), house.jwt("acme", "viewer", "viewer")];
    for endpoint in switchboard::http::table().into_iter().filter(|endpoint| endpoint.path.starts_with("/api/v1/admin"))
    {
        let path = endpoint.path.replace("{id}", "x");
        for token in &tokens {
            let wanted = if token.is_empty() { 401 } else { 403 };
            assert_eq!(house.ask(token, endpoint.method.as_str(), &path, json!({})).status(), wanted, "{path}");
        }
    }
}
