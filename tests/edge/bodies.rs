//! What comes in with a request: refused alike by all families of addresses, with the field at fault.

use serde_json::json;

use crate::accounts::House;

#[test]
fn a_body_that_is_no_json_by_its_type_is_415() {
    let house = House::new(&[]);
    let admin = house.jwt("acme", "admin", "admin");
    let bearer = format!("Bearer {admin}");
    for (path, body) in [
        ("/api/v1/tickets", r#"{"route":"/ws"}"#),
        ("/pairing/codes", r#"{"deviceName":"phone"}"#),
        ("/pairing/verify", r#"{"code":"AAAAAA"}"#),
        ("/api/v1/account/password", r#"{"password":"correct horse battery"}"#),
        ("/api/v1/admin/users", r#"{"id":"bob"}"#),
        ("/api/v1/admin/keys", r#"{"name":"ci"}"#),
        ("/api/v1/admin/devices", r#"{"name":"wall"}"#),
        ("/api/v1/admin/publish", r#"{"channel":"app:x","event":"y"}"#),
        ("/api/v1/admin/broadcast", r#"{"message":"hello"}"#),
        ("/sessions", r#"{"channel":"x"}"#),
    ] {
        for kind in ["application/x-www-form-urlencoded", "text/plain"] {
            let headers = [("Content-Type", kind), ("Authorization", bearer.as_str())];
            let refused = house.hub.send("POST", path, &headers, body);
            assert_eq!(refused.status(), 415, "{path}: {}", refused.0);
        }
    }
}

#[test]
fn a_field_that_is_missing_or_twice_is_named_on_every_door() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    let field = |path: &str, body: &str| {
        let bearer = format!("Bearer {ann}");
        let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
        let refused = house.hub.send("POST", path, &headers, body);
        assert_eq!(refused.status(), 400, "{path}: {}", refused.0);
        let body = refused.json();
        let details = if body["error"].is_object() { &body["error"]["details"] } else { &body["details"] };
        details["field"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(field("/sessions", "{}"), "channel");
    assert_eq!(field("/sessions", r#"{"channel":"a","channel":"b"}"#), "channel");
    assert_eq!(field("/api/v1/projects", "{}"), "name");
    assert_eq!(field("/pairing/codes", r#"{"deviceName":"a","deviceName":"b"}"#), "deviceName");
    let session = house.ask(&ann, "POST", "/api/v1/sessions", json!({})).json();
    let messages = format!("/api/v1/sessions/{}/messages", session["id"].as_str().unwrap());
    assert_eq!(field(&messages, "{}"), "content");
    assert_eq!(field(&messages, r#"{"content":"x","attachments":[{"type":"file"}]}"#), "attachments[0].name");
}

#[test]
fn an_empty_search_finds_all() {
    let house = House::new(&[]);
    let ann = house.jwt("acme", "ann", "member");
    house.ask(&ann, "POST", "/api/v1/sessions", json!({ "title": "notes" }));
    for path in ["/api/v1/sessions", "/api/v1/sessions?q=", "/api/v1/sessions?q=+"] {
        let found = house.get(&ann, path).json();
        assert_eq!(found.as_array().or_else(|| found["items"].as_array()).unwrap().len(), 1, "{path}: {found}");
    }
    assert!(!house.get(&ann, "/api/v1/sessions?q=walrus").0.contains("notes"));
}
