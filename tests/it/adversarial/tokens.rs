//! Forged tokens and tokens without a good time, at the doors themselves.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::scene::{Scene, assert_refused};
use crate::handshake::{SECRET, now, signed};
use crate::limits::raw::{knock, send};
use crate::signers::{Signer, set};
use crate::support::{HubOptions, run};

const HERE: &str = "127.0.0.1";
const ISSUER: &str = "https://id.example.org";
const AUDIENCE: &str = "switchboard";

/// A scene on whose hub a foreign issuer with these keys may speak for acme.
async fn scene(signers: &[&Signer], folder: &tempfile::TempDir) -> Scene {
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, set(signers)).expect("it is written");
    let options = HubOptions::default()
        .set("SWITCHBOARD_AUTH__ISSUERS__ID__ISSUER", ISSUER)
        .set("SWITCHBOARD_AUTH__ISSUERS__ID__AUDIENCE", AUDIENCE)
        .set("SWITCHBOARD_AUTH__ISSUERS__ID__ORGANIZATIONS", "acme")
        .set("SWITCHBOARD_AUTH__ISSUERS__ID__JWKS", keys.display());
    Scene::new(options).await
}

fn foreign(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "org": "acme", "exp": now() + 3600});
    change(&mut claims);
    claims
}

fn own(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({"sub": "ann", "org": "acme", "role": "owner", "exp": now() + 3600});
    change(&mut claims);
    claims
}

fn hmac(algorithm: Algorithm, kid: Option<&str>, claims: &Value, secret: &[u8]) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, &EncodingKey::from_secret(secret)).expect("a token")
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}.")
}

/// Every door refuses every one of them, and the good ones come in.
async fn refused_everywhere(scene: Scene, good: &[String], tokens: &[String]) {
    let address = scene.address().to_owned();
    for (n, token) in tokens.iter().enumerate() {
        let (bearer, cookie) = (format!("Bearer {token}"), format!("switchboard_session={token}"));
        let (own, what) = (format!("http://{address}"), format!("token {n}: {token}"));
        let json = ("content-type", "application/json");
        for (path, headers) in [
            (format!("/ws?token={token}"), vec![]),
            ("/ws".to_owned(), vec![("authorization", bearer.as_str())]),
            ("/ws".to_owned(), vec![("cookie", cookie.as_str()), ("origin", own.as_str())]),
        ] {
            let answer = knock(HERE, &address, &path, &headers).await.expect_err("nobody came in");
            assert_refused(&answer, 401, "unauthorized", &what);
        }
        for (method, path, body) in
            [("GET", "/api/v1/session", ""), ("POST", "/sessions", "{\"channel\":\"x\"}"), ("GET", "/tools", "")]
        {
            let answer = send(&address, method, path, &[("authorization", &bearer), json], body).await;
            assert_refused(&answer, 401, "unauthorized", &what);
        }
    }
    for token in good {
        assert!(knock(HERE, &address, &format!("/ws?token={token}"), &[]).await.is_ok(), "the good one is good");
    }
    let rows = ["/ws", "session.get", "sessions.create", "tools.list"].map(|action| (action, "unauthorized"));
    let secrets: Vec<&str> = tokens.iter().map(String::as_str).collect();
    scene.unharmed(&rows, &secrets).await;
}

#[test]
fn case_5_forged_tokens_open_no_door() {
    run(async {
        let (ec, rsa) = (Signer::new("ec", Algorithm::ES256), Signer::new("rsa", Algorithm::RS256));
        let folder = tempfile::tempdir().expect("a folder");
        let scene = scene(&[&ec, &rsa], &folder).await;
        let (ours, theirs) = (own(|_| {}), foreign(|_| {}));
        let mut nobodys = Header::new(Algorithm::ES256);
        nobodys.kid = Some("nobody".into());
        let tokens = [
            unsigned(&json!({"alg": "none"}), &ours),
            unsigned(&json!({"alg": "None", "typ": "JWT"}), &ours),
            unsigned(&json!({"alg": "none", "kid": "ec"}), &theirs),
            hmac(Algorithm::HS256, None, &ours, b"another secret of thirty-two bytes and more"),
            hmac(Algorithm::HS512, None, &ours, SECRET.as_bytes()),
            hmac(Algorithm::HS256, Some("rsa"), &theirs, rsa.public_pem.as_bytes()),
            hmac(Algorithm::HS256, Some("rsa"), &theirs, &rsa.public_der),
            hmac(Algorithm::HS256, Some("ec"), &theirs, ec.public_pem.as_bytes()),
            ec.sign_with(&nobodys, &theirs),
            Signer::new("ec", Algorithm::ES256).sign(&theirs),
            ec.sign(&foreign(|c| c["iss"] = json!("https://id.example.org/"))),
            ec.sign(&foreign(|c| c["aud"] = json!("another"))),
            ec.sign(&foreign(|c| c["aud"] = Value::Null)),
            // Of an issuer that has no say in them.
            ec.sign(&ours),
        ];
        refused_everywhere(scene, &[signed(&ours), ec.sign(&theirs), rsa.sign(&theirs)], &tokens).await;
    });
}

#[test]
fn case_6_tokens_without_a_good_time_open_no_door() {
    run(async {
        let ec = Signer::new("ec", Algorithm::ES256);
        let folder = tempfile::tempdir().expect("a folder");
        let scene = scene(&[&ec], &folder).await;
        let (soon, late) = (now() + 3600, now() - 3600);
        let mut tokens = Vec::new();
        for exp in [json!(soon.to_string()), json!(""), json!(null), json!([soon]), json!(true), json!(late), json!(-1)]
        {
            tokens.push(signed(&own(|c| c["exp"] = exp.clone())));
            tokens.push(ec.sign(&foreign(|c| c["exp"] = exp.clone())));
        }
        for nbf in [json!("0"), json!(late.to_string()), json!(soon), json!([0])] {
            tokens.push(signed(&own(|c| c["nbf"] = nbf.clone())));
            tokens.push(ec.sign(&foreign(|c| c["nbf"] = nbf.clone())));
        }
        let without = |mut claims: Value| {
            claims.as_object_mut().expect("an object").remove("exp");
            claims
        };
        tokens.push(signed(&without(own(|_| {}))));
        tokens.push(ec.sign(&without(foreign(|_| {}))));
        let good = [signed(&own(|c| c["nbf"] = json!(late))), ec.sign(&foreign(|c| c["nbf"] = json!(late)))];
        refused_everywhere(scene, &good, &tokens).await;
    });
}
