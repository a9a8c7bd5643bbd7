//! Who somebody is says the verified credential alone: not the body, not the address, not a header; and who it does
//! not name is nobody.

use serde_json::{Value, json};

use super::scene::{Scene, assert_refused};
use crate::handshake::{now, signed};
use crate::limits::raw::{knock, send};
use crate::support::{Client, Http, HubOptions, run};

/// What a client could say of itself, in every spelling that another server believed.
fn claimed() -> Value {
    json!({
        "organizationId": "rival", "organization": "rival", "org": "rival", "tenantId": "rival", "orgId": "rival",
        "userId": "bystander", "user": "bystander", "sub": "bystander", "ownerId": "bystander", "by": "bystander",
        "role": "owner", "userRole": "owner", "roles": ["owner"], "permissions": ["*"], "scopes": ["operator.admin"],
        "scope": "*", "hubAdmin": true, "hub_admin": true, "isAdmin": true,
        "principal": {"organization": "rival", "user": "bystander", "role": "owner", "hubAdmin": true},
        "context": {"organizationId": "rival", "userId": "bystander", "role": "owner"},
    })
}

fn with_claims(mut body: Value) -> Value {
    let own = body.clone();
    body = claimed();
    for (name, value) in own.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

const HEADERS: [(&str, &str); 8] = [
    ("x-organization-id", "rival"),
    ("x-tenant-id", "rival"),
    ("x-user-id", "bystander"),
    ("x-user", "bystander"),
    ("x-role", "owner"),
    ("x-user-role", "owner"),
    ("x-scopes", "operator.admin"),
    ("x-hub-admin", "true"),
];

#[test]
fn case_10_what_a_client_says_of_itself_counts_for_nothing() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let address = scene.address().to_owned();
        let token = scene.token();
        let bearer = format!("Bearer {token}");
        let headers: Vec<_> = HEADERS
            .into_iter()
            .chain([("authorization", bearer.as_str()), ("content-type", "application/json")])
            .collect();
        let query = "role=owner&userId=bystander&organization=rival&org=rival&permissions=*&hubAdmin=true";
        let me = send(&address, "GET", &format!("/api/v1/session?{query}"), &headers, "").await;
        let shown = ["organization", "user", "role", "hubAdmin"].map(|name| me.body[name].clone());
        assert_eq!(json!(shown), json!(["acme", "ann", "member", false]), "{}", me.body);
        let made = send(
            &address,
            "POST",
            &format!("/api/v1/sessions?{query}"),
            &headers,
            &with_claims(json!({"title": "mine"})).to_string(),
        )
        .await;
        let shown = ["organizationId", "userId", "visibility"].map(|name| made.body[name].clone());
        assert_eq!(json!(shown), json!(["acme", "ann", "private"]), "{}", made.body);
        let session = made.body["id"].clone();
        // On a socket: in the parameters, and in the frame itself.
        let mut client = Client::connect(&address, &format!("{token}&{query}")).await;
        let mut frame = with_claims(json!({"type": "request", "id": "r", "method": "sessions.update"}));
        frame["params"] = with_claims(json!({"sessionId": session, "title": "still mine"}));
        client.send(frame).await;
        let answer = client.find(|f| f["id"] == "r").await;
        assert_eq!(
            (&answer["result"]["userId"], &answer["result"]["organizationId"]),
            (&json!("ann"), &json!("acme")),
            "{answer}"
        );
        let mut frame = with_claims(json!({"type": "request", "id": "s", "method": "sessions.get"}));
        frame["params"] = with_claims(json!({"sessionId": scene.session}));
        client.send(frame).await;
        assert_eq!(client.find(|f| f["id"] == "s").await["error"]["code"], "forbidden");
        client
            .send(with_claims(json!({"type": "subscribe", "channels": ["user:bystander", "org:rival"], "id": "t"})))
            .await;
        let refused = client.find(|f| f["id"] == "t" && f["type"] == "response").await["result"]["refused"].take();
        assert_eq!(refused, json!({"user:bystander": "forbidden", "org:rival": "not_found"}));
        // Administration stays closed, whatever is claimed.
        for path in ["/api/v1/admin/users", "/api/v1/admin/organizations", "/health/detailed"] {
            let answer = send(&address, "GET", &format!("{path}?{query}"), &headers, "").await;
            assert_refused(&answer, 403, "forbidden", path);
        }
        // Another organization has to be one that the credential is for.
        let elsewhere = send(&address, "GET", "/api/v1/session?organizationId=rival", &headers, "").await;
        assert_refused(&elsewhere, 403, "forbidden", "organizationId");
        let elsewhere = knock("127.0.0.1", &address, &format!("/ws?token={token}&organizationId=rival"), &[]).await;
        assert_refused(&elsewhere.expect_err("not its own"), 403, "forbidden", "organizationId");
        let gone =
            Http::new(&address, &token).delete(&format!("/api/v1/sessions/{}", session.as_str().expect("an id"))).await;
        assert_eq!(gone.status, 200);
        let mut rows = ["admin.users.list", "admin.organizations.list", "health.detailed", "session.get", "/ws"]
            .map(|what| (what, "forbidden"))
            .to_vec();
        rows.extend([("sessions.get", "forbidden"), ("channels.subscribe", "forbidden")]);
        rows.push(("channels.subscribe", "not_found"));
        scene.unharmed(&rows, &[&token]).await;
    });
}

/// The token is good: signed, in time. It does not say who or where, and nobody makes that up.
#[test]
fn case_26_a_missing_user_or_organization_is_never_made_up() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let address = scene.address().to_owned();
        let soon = now() + 3600;
        let long = "x".repeat(201);
        let mut tokens = vec![
            json!({"exp": soon}),
            json!({"sub": "ann", "exp": soon}),
            json!({"org": "acme", "exp": soon}),
            json!({"sub": "ann", "tenant": "acme", "exp": soon}),
        ];
        for nothing in [
            json!(""),
            json!(null),
            json!(0),
            json!(7),
            json!(true),
            json!([]),
            json!({}),
            json!([""]),
            json!(long),
            json!("a\u{0}b"),
            json!("a\nb"),
        ] {
            tokens.push(json!({"sub": "ann", "org": nothing, "exp": soon}));
            tokens.push(json!({"sub": nothing, "org": "acme", "exp": soon}));
            tokens.push(json!({"sub": "ann", "organizationIds": nothing, "exp": soon}));
        }
        for claims in &tokens {
            let token = signed(claims);
            let path = format!("/ws?token={token}");
            let answer = knock("127.0.0.1", &address, &path, &HEADERS).await;
            assert_refused(&answer.expect_err("nobody came in"), 401, "unauthorized", &claims.to_string());
            let bearer = format!("Bearer {token}");
            let headers: Vec<_> = HEADERS.into_iter().chain([("authorization", bearer.as_str())]).collect();
            for path in
                ["/api/v1/session", "/api/v1/session?organizationId=demo", "/api/v1/session?organizationId=acme"]
            {
                let answer = send(&address, "GET", path, &headers, "").await;
                assert!([401, 403].contains(&answer.status), "{path} {claims}: {}", answer.body);
            }
        }
        // Nor is somebody who shows nothing taken for somebody.
        for path in ["/api/v1/session", "/api/v1/session?organizationId=demo&userId=ann"] {
            assert_refused(&send(&address, "GET", path, &HEADERS, "").await, 401, "unauthorized", path);
        }
        // Nothing was made on the way: the scene counts organizations and users.
        let rows = [("/ws", "unauthorized"), ("session.get", "forbidden"), ("session.get", "unauthorized")];
        scene.unharmed(&rows, &[]).await;
    });
}
