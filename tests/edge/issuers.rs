//! Tokens of others: whose keys are asked for, when, and what their issuers may claim.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::answers::{Answers, with};
use crate::credentials::Edge;
use crate::hub::{Data, Hub};
use crate::ledger::Ledger;
use crate::signers::{Signer, set};

const ISSUER: &str = "https://id.example.org";
const AUDIENCE: &str = "switchboard";
const EXP: u64 = 4_000_000_000;

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new("rsa", Algorithm::RS256));
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::new("ec", Algorithm::ES256));
static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new("ed", Algorithm::EdDSA));

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "org": "o", "exp": EXP})
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

/// The variables of one issuer with keys at `jwks`, and `more` keys of it.
fn issuer(name: &str, iss: &str, jwks: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let key = |key: &str| format!("SWITCHBOARD_AUTH__ISSUERS__{name}__{key}");
    let mut all = vec![
        (key("ISSUER"), iss.to_owned()),
        (key("AUDIENCE"), AUDIENCE.to_owned()),
        (key("JWKS"), jwks.to_owned()),
        (key("CREATE_ORGANIZATIONS"), "true".to_owned()),
    ];
    all.extend(more.iter().map(|(name, value)| (key(name), (*value).to_owned())));
    all
}

fn borrowed(all: &[(String, String)]) -> Vec<(&str, &str)> {
    all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// An authenticator that believes these keys, from a file.
async fn edge(signers: &[&Signer], more: &[(&str, &str)]) -> (Edge, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set(signers)).unwrap();
    let edge = Edge::new(&borrowed(&issuer("ID", ISSUER, path.to_str().unwrap(), more))).await;
    (edge, folder)
}

fn ask(hub: &Hub, token: &str) -> (u16, String) {
    let answer = hub.get("/api/v1/session", &[("Authorization", &format!("Bearer {token}"))]);
    let said = answer.json();
    (answer.status(), said["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[actix_web::test]
async fn tokens_of_a_key_set_count_by_every_algorithm_that_is_pinned_and_no_other() {
    let (edge, _folder) = edge(&[&RSA, &EC, &ED], &[]).await;
    for signer in [&*RSA, &*EC, &*ED] {
        let ann = edge.auth.token(&signer.sign(&claims()), None).await.unwrap();
        assert_eq!((ann.user.as_str(), ann.organization.as_str()), ("ann", "o"), "{:?}", signer.algorithm);
    }
    let (edge, _folder) = self::edge(&[&RSA, &EC, &ED], &[("ALGORITHMS", "ES256")]).await;
    assert!(edge.auth.token(&EC.sign(&claims()), None).await.is_ok());
    for signer in [&*RSA, &*ED] {
        let fault = edge.auth.token(&signer.sign(&claims()), None).await.unwrap_err();
        assert!(fault.message.contains("algorithm"), "{fault}");
    }
}

#[actix_web::test]
async fn a_tokens_own_name_and_time_of_issue_travel_with_the_principal() {
    use switchboard::domain::principal::Credential;
    let (edge, _folder) = edge(&[&EC], &[]).await;
    let token = EC.sign(&changed(|claims| {
        claims["jti"] = "t-1".into();
        claims["iat"] = 1_700_000_000.into();
    }));
    let ann = edge.auth.token(&token, None).await.unwrap();
    let Credential::Jwt { id, issued_at } = ann.credential else { panic!("{ann:?}") };
    assert_eq!((id.as_deref(), issued_at.map(|at| at.0)), (Some("t-1"), Some(1_700_000_000_000)));
}

fn header(alg: Algorithm, kid: Option<&str>) -> Header {
    let mut header = Header::new(alg);
    header.kid = kid.map(str::to_owned);
    header
}

fn hmac(kid: &str, secret: &[u8]) -> String {
    encode(&header(Algorithm::HS256, Some(kid)), &claims(), &EncodingKey::from_secret(secret)).unwrap()
}

fn none_alg() -> String {
    let body = EC.sign(&claims()).split('.').nth(1).unwrap().to_owned();
    // {"alg":"none","kid":"ec"}
    format!("eyJhbGciOiJub25lIiwia2lkIjoiZWMifQ.{body}.")
}

async fn refused_and_nobody_created(edge: &Edge, token: &str) {
    let fault = edge.auth.token(token, None).await.unwrap_err();
    assert_eq!(fault.code.name(), "unauthorized", "{fault}");
    assert_eq!(edge.store.counts().await.unwrap().users, 0);
}

// Adversarial case 5.
#[rstest]
#[case::alg_none(none_alg())]
#[case::hs256_signed_with_an_ec_public_key(hmac("ec", EC.public_pem.as_bytes()))]
#[case::hs256_signed_with_an_ec_point(hmac("ec", EC.jwk()["x"].as_str().unwrap().as_bytes()))]
#[case::the_kid_of_a_key_of_another_kind(ED.sign_with(&header(Algorithm::EdDSA, Some("ec")), &claims()))]
#[case::wrong_kid(EC.sign_with(&header(Algorithm::ES256, Some("nobody")), &claims()))]
#[case::no_signature(EC.sign(&claims()).rsplit_once('.').unwrap().0.to_owned() + ".")]
#[case::another_key_of_the_same_kind(Signer::new("ec", Algorithm::ES256).sign(&claims()))]
#[case::wrong_iss(EC.sign(&changed(|c| c["iss"] = "https://id.example.org/".into())))]
#[case::no_iss(EC.sign(&changed(|c| c["iss"] = Value::Null)))]
#[case::iss_in_a_list(EC.sign(&changed(|c| c["iss"] = json!([ISSUER]))))]
#[case::wrong_aud(EC.sign(&changed(|c| c["aud"] = "another".into())))]
#[case::no_aud(EC.sign(&changed(|c| c["aud"] = Value::Null)))]
#[case::aud_in_an_object(EC.sign(&changed(|c| c["aud"] = json!({"x": AUDIENCE}))))]
#[actix_web::test]
async fn case_5_alg_none_hs256_with_a_public_key_wrong_kid_iss_and_aud_are_refused(#[case] token: String) {
    let (edge, _folder) = edge(&[&EC, &ED], &[]).await;
    refused_and_nobody_created(&edge, &token).await;
}

#[actix_web::test]
async fn case_5_hs256_signed_with_an_rsa_public_key_is_refused() {
    let (edge, _folder) = edge(&[&RSA], &[]).await;
    let jwk = RSA.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    for secret in
        [RSA.public_pem.as_bytes(), &RSA.public_der, modulus.as_bytes(), &URL_SAFE_NO_PAD.decode(modulus).unwrap()]
    {
        refused_and_nobody_created(&edge, &hmac("rsa", secret)).await;
    }
    assert!(edge.auth.token(&RSA.sign(&claims()), None).await.is_ok());
}

// Adversarial case 6.
#[rstest]
#[case::no_exp(changed(|c| { c.as_object_mut().unwrap().remove("exp"); }), "no exp")]
#[case::exp_as_text(changed(|c| c["exp"] = "4000000000".into()), "exp must be a number")]
#[case::exp_null(changed(|c| c["exp"] = Value::Null), "exp must be a number")]
#[case::exp_in_a_list(changed(|c| c["exp"] = json!([EXP])), "malformed")]
#[case::expired(changed(|c| c["exp"] = 1_000_000_000.into()), "expired")]
#[case::nbf_as_text(changed(|c| c["nbf"] = "0".into()), "nbf must be a number")]
#[case::nbf_to_come(changed(|c| c["nbf"] = 3_900_000_000u64.into()), "not valid yet")]
#[case::iat_as_text(changed(|c| c["iat"] = "0".into()), "iat must be a number")]
#[case::iat_to_come(changed(|c| c["iat"] = 3_900_000_000u64.into()), "issued in the future")]
#[actix_web::test]
async fn case_6_exp_or_nbf_as_string_or_absent_is_refused(#[case] claims: Value, #[case] words: &str) {
    let (edge, _folder) = edge(&[&EC], &[]).await;
    let fault = edge.auth.token(&EC.sign(&claims), None).await.unwrap_err();
    assert_eq!(fault.code.name(), "unauthorized");
    assert!(fault.message.contains(words), "{fault}");
    assert_eq!(edge.store.counts().await.unwrap().users, 0);
}

#[actix_web::test]
async fn unknown_critical_extensions_are_refused() {
    let (edge, _folder) = edge(&[&EC], &[]).await;
    let mut demanding = header(Algorithm::ES256, Some("ec"));
    demanding.crit = Some(vec!["b64".into()]);
    let fault = edge.auth.token(&EC.sign_with(&demanding, &claims()), None).await.unwrap_err();
    assert!(fault.message.contains("crit"), "{fault}");
}

// Adversarial case 7.
#[test]
fn case_7_an_unverified_iss_triggers_no_key_fetch_and_a_token_brings_no_keys_along() {
    let (keys, evil) = (Answers::start(&set(&[&EC])), Answers::start(&set(&[&ED])));
    let data = Data::new();
    let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/jwks"), &[])));
    let ledger = Ledger::open(&data.path());
    for iss in [
        evil.url("/"),
        keys.url("/jwks"),
        "https://id.example.org/".into(),
        "HTTPS://ID.EXAMPLE.ORG".into(),
        "https://id.example.org.evil.example".into(),
        "id".into(),
        String::new(),
    ] {
        let (status, _) = ask(&hub, &ED.sign(&changed(|c| c["iss"] = iss.as_str().into())));
        assert_eq!(status, 401, "{iss}");
    }
    assert_eq!((keys.count(), evil.count()), (0, 0), "no issuer of the configuration was named");
    // Of the right issuer, with keys of the attacker's own.
    let mut luring = header(Algorithm::EdDSA, Some("ed"));
    luring.jku = Some(evil.url("/jwks"));
    luring.x5u = Some(evil.url("/chain"));
    luring.jwk = serde_json::from_value(ED.jwk()).unwrap();
    assert_eq!(ask(&hub, &ED.sign_with(&luring, &claims())).0, 401);
    assert_eq!(evil.count(), 0);
    assert_eq!(keys.count(), 1, "the issuer's own address was asked");
    assert_eq!(keys.asked()[0].lines().next(), Some("GET /jwks HTTP/1.1"));
    assert_eq!(ledger.changed(), [""; 0], "nobody was made");
    assert_eq!(ask(&hub, &EC.sign(&claims())).0, 200);
    assert_eq!(keys.count(), 1);
    let (_, log) = hub.stop();
    assert!(!log.contains("evil.example") && !ledger.tells("evil.example"), "{log}");
    assert_eq!(ledger.refused(), ["nobody session.get unauthorized 8"]);
}

// Adversarial case 8.
#[test]
fn case_8_the_same_kid_in_two_issuers_is_two_keys() {
    let (one, other) = (Signer::new("k", Algorithm::ES256), Signer::new("k", Algorithm::ES256));
    let (at_one, at_other) = (Answers::start(&set(&[&one])), Answers::start(&set(&[&other])));
    let data = Data::new();
    let mut all = issuer("ONE", "https://one", &at_one.url("/"), &[("ORGANIZATIONS", "first")]);
    all.extend(issuer("OTHER", "https://other", &at_other.url("/"), &[("ORGANIZATIONS", "second,third")]));
    let hub = Hub::start(&data.path(), &borrowed(&all));
    let from = |signer: &Signer, iss: &str, org: &str| {
        ask(&hub, &signer.sign(&json!({"iss": iss, "aud": AUDIENCE, "sub": "ann", "org": org, "exp": EXP})))
    };
    assert_eq!(from(&one, "https://one", "first").0, 200);
    assert_eq!(from(&other, "https://other", "second").0, 200);
    // Now both keys are in memory under one name.
    let ledger = Ledger::open(&data.path());
    let (status, why) = from(&other, "https://one", "first");
    assert!(status == 401 && why.contains("signature"), "{status} {why}");
    let (status, why) = from(&one, "https://other", "second");
    assert!(status == 401 && why.contains("signature"), "{status} {why}");
    // And neither speaks for the other's organizations.
    for (signer, iss, org) in
        [(&one, "https://one", "second"), (&other, "https://other", "first"), (&other, "https://other", "default")]
    {
        let (status, why) = from(signer, iss, org);
        assert!(status == 403 && why.contains("may not speak for"), "{status} {why}");
    }
    assert_eq!((at_one.count(), at_other.count()), (1, 1));
    assert_eq!(ledger.changed(), [""; 0], "nobody was made");
    hub.stop();
    assert_eq!(ledger.refused(), ["nobody session.get forbidden 3", "nobody session.get unauthorized 2"]);
}

#[actix_web::test]
async fn of_several_organizations_those_count_that_the_issuer_may_speak_for() {
    let (edge, _folder) = edge(&[&EC], &[("ORGANIZATIONS", "p,q"), ("CREATE_ORGANIZATIONS", "false")]).await;
    let token = EC.sign(&changed(|c| c["org"] = json!(["o", "p", "q", "r"])));
    let at = async |chosen| edge.auth.token(&token, chosen).await.map(|p| p.organization.to_string());
    assert_eq!(at(None).await.unwrap(), "p");
    assert_eq!(at(Some("q")).await.unwrap(), "q");
    assert_eq!(at(Some("r")).await.unwrap_err().code.name(), "forbidden");
    // It was named in the configuration and therefore made; others are not.
    let (free, _folder) = self::edge(&[&EC], &[("CREATE_ORGANIZATIONS", "false")]).await;
    assert_eq!(free.auth.token(&token, None).await.unwrap_err().code.name(), "forbidden");
    assert_eq!(free.store.counts().await.unwrap().organizations, 0);
}

#[actix_web::test]
async fn an_issuer_that_may_speak_for_all_does_not_speak_for_the_hubs_administrators() {
    use switchboard::domain::principal::Role;
    for (organizations, believed) in [("", false), ("o", true)] {
        let (edge, _folder) = edge(&[&EC], &[("ORGANIZATIONS", organizations)]).await;
        edge.put_user("ann", Role::Owner, true).await;
        let ann = edge.auth.token(&EC.sign(&claims()), None).await.unwrap();
        assert_eq!((ann.role, ann.hub_admin), (Role::Owner, believed), "{organizations:?}");
        assert_eq!(edge.auth.renew(&ann).await.unwrap().hub_admin, believed);
    }
}

#[actix_web::test]
async fn an_issuers_own_names_for_claims_count() {
    let (edge, _folder) = edge(
        &[&EC],
        &[
            ("USER_CLAIMS", "preferred_username"),
            ("ROLE_CLAIMS", "realm_access.role"),
            ("ORGANIZATION_CLAIMS", "https://example.org/tenant"),
            ("DEFAULT_ORGANIZATION", "home"),
        ],
    )
    .await;
    let mut said = json!({"iss": ISSUER, "aud": ["x", AUDIENCE], "sub": "7", "preferred_username": "ann",
        "org": "not-read", "realm_access": {"role": "ADMIN"}, "https://example.org/tenant": "t", "exp": EXP});
    let ann = edge.auth.token(&EC.sign(&said), None).await.unwrap();
    assert_eq!((ann.user.as_str(), ann.organization.as_str(), ann.role.name()), ("ann", "t", "admin"));
    said["https://example.org/tenant"] = Value::Null;
    assert_eq!(edge.auth.token(&EC.sign(&said), None).await.unwrap().organization.as_str(), "home");
}

#[actix_web::test]
async fn keys_for_something_else_verify_nothing() {
    let spoiled =
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("ES384")), ("alg", json!("HS256"))];
    for (member, value) in spoiled {
        let keys = Answers::start("");
        let mut key = EC.jwk();
        key[member] = value.clone();
        // What is no key at all is passed over.
        keys.say(&json!({"keys": [7, {"kty": "oct", "kid": "ec", "alg": "HS256", "k": "AAAA"}, key]}).to_string());
        let edge = Edge::new(&borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[]))).await;
        let fault = edge.auth.token(&EC.sign(&claims()), None).await.unwrap_err();
        assert!(fault.message.contains("does not have"), "{member} {value}: {fault}");
        let secret = encode(&header(Algorithm::HS256, Some("ec")), &claims(), &EncodingKey::from_secret(&[0, 0, 0]));
        assert_eq!(edge.auth.token(&secret.unwrap(), None).await.unwrap_err().code.name(), "unauthorized");
    }
}

#[actix_web::test]
async fn a_token_without_kid_counts_where_there_is_one_key_for_it() {
    let keys = Answers::start(&set(&[&EC, &ED]));
    let edge = Edge::new(&borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[]))).await;
    let token = EC.sign_with(&header(Algorithm::ES256, None), &claims());
    assert!(edge.auth.token(&token, None).await.is_ok());
    let second = Signer::new("second", Algorithm::ES256);
    let two = Answers::start(&set(&[&EC, &second]));
    let edge = Edge::new(&borrowed(&issuer("ID", ISSUER, &two.url("/"), &[]))).await;
    for _ in 0..3 {
        let fault = edge.auth.token(&token, None).await.unwrap_err();
        assert!(fault.message.contains("which key"), "{fault}");
    }
    assert_eq!(two.count(), 1, "asking again would not change that");
}

#[test]
fn a_flood_of_unknown_kids_asks_for_the_keys_once() {
    let keys = Answers::start(&set(&[&EC]));
    let data = Data::new();
    let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[])));
    assert_eq!(ask(&hub, &EC.sign(&claims())).0, 200);
    assert_eq!(keys.count(), 1);
    let tokens: Vec<String> =
        (0..200).map(|n| EC.sign_with(&header(Algorithm::ES256, Some(&format!("made-up-{n}"))), &claims())).collect();
    std::thread::scope(|scope| {
        for chunk in tokens.chunks(20) {
            scope.spawn(|| chunk.iter().for_each(|token| assert_eq!(ask(&hub, token).0, 401)));
        }
    });
    assert_eq!(keys.count(), 2, "once for all of them");
    assert_eq!(ask(&hub, &EC.sign(&claims())).0, 200, "who has a good token is not disturbed");
}

#[test]
fn a_new_key_of_the_issuer_is_picked_up_and_an_old_one_ends() {
    let (old, new) = (Signer::new("2025", Algorithm::ES256), Signer::new("2026", Algorithm::EdDSA));
    let keys = Answers::start(&set(&[&old]));
    let data = Data::new();
    let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[])));
    assert_eq!(ask(&hub, &old.sign(&claims())).0, 200);
    keys.say(&set(&[&new]));
    assert_eq!(ask(&hub, &new.sign(&claims())).0, 200, "looked for at once");
    let (status, why) = ask(&hub, &old.sign(&claims()));
    assert!(status == 401 && why.contains("kid"), "{status} {why}");
    assert_eq!(keys.count(), 2);
}

#[test]
fn while_the_key_server_is_down_or_talks_nonsense_the_old_keys_count() {
    for nonsense in [
        String::new(),
        with("500 Internal Server Error", "{}"),
        with("200 OK", "<html>"),
        with("200 OK", "{\"keys\":{}}"),
        with("200 OK", &format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000))),
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".into(),
    ] {
        let keys = Answers::start(&set(&[&EC]));
        let data = Data::new();
        let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[])));
        assert_eq!(ask(&hub, &EC.sign(&claims())).0, 200);
        keys.say_raw(nonsense.as_str());
        // Makes the hub ask.
        assert_eq!(ask(&hub, &EC.sign_with(&header(Algorithm::ES256, Some("new")), &claims())).0, 401);
        assert_eq!(keys.count(), 2, "asked once, and led nowhere else");
        assert_eq!(ask(&hub, &EC.sign(&claims())).0, 200, "{nonsense:.80}");
        let (_, log) = hub.stop();
        assert!(log.contains("an issuer's keys cannot be read"), "{nonsense:.80}");
    }
}

#[test]
fn without_any_keys_yet_the_answer_is_to_try_again() {
    let keys = Answers::start("");
    keys.say_raw("");
    let data = Data::new();
    let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[])));
    for _ in 0..5 {
        let (status, why) = ask(&hub, &EC.sign(&claims()));
        assert!(status == 503 && why.contains("cannot be read"), "{status} {why}");
    }
    assert_eq!(keys.count(), 1);
    // The hub's own tokens do not need them.
    assert_eq!(ask(&hub, &data.token(&["--user", "bob"])).0, 200);
}

#[test]
fn many_tokens_at_once_wait_for_one_fetch() {
    let keys = Answers::start(&set(&[&EC]));
    let data = Data::new();
    let hub = Hub::start(&data.path(), &borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[])));
    let hold = keys.hold();
    let token = EC.sign(&claims());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&hub, &token).0)).collect();
        while keys.count() == 0 {
            std::thread::yield_now();
        }
        drop(hold);
        assert!(all.into_iter().all(|one| one.join().unwrap() == 200));
    });
    assert_eq!(keys.count(), 1);
}

fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("keys.json")
}

/// What is said of a token, in a word.
async fn word(edge: &Edge, token: &str) -> &'static str {
    edge.auth.token(token, None).await.map_or_else(|fault| fault.code.name(), |_| "good")
}

async fn hours(hours: u64) {
    tokio::time::advance(Duration::from_secs(hours * 3600)).await;
}

fn write(path: &Path, signers: &[&Signer]) {
    std::fs::write(path, set(signers)).unwrap();
}

#[actix_web::test]
async fn keys_are_read_again_when_they_are_old() {
    let (edge, folder) = edge(&[&EC], &[("REFRESH_SECONDS", "3600")]).await;
    let (ec, ed) = (EC.sign(&claims()), ED.sign(&claims()));
    assert_eq!(word(&edge, &ec).await, "good");
    tokio::time::pause();
    write(&path(&folder), &[&ED]);
    tokio::time::advance(Duration::from_secs(3599)).await;
    assert_eq!(word(&edge, &ec).await, "good", "not read again yet");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(word(&edge, &ec).await, "good", "answered at once, and read beside");
    assert_eq!(word(&edge, &ed).await, "good", "which this one waits for");
    assert_eq!(word(&edge, &ec).await, "unauthorized");
    // Keys that nobody needed for long are read before they count again.
    write(&path(&folder), &[&EC]);
    hours(2).await;
    assert_eq!(word(&edge, &ed).await, "unauthorized");
    assert_eq!(word(&edge, &ec).await, "good");
}

#[actix_web::test]
async fn keys_that_cannot_be_read_again_count_for_a_day() {
    let (edge, folder) = edge(&[&EC], &[("REFRESH_SECONDS", "3600")]).await;
    let ec = EC.sign(&claims());
    assert_eq!(word(&edge, &ec).await, "good");
    tokio::time::pause();
    std::fs::remove_file(path(&folder)).unwrap();
    for _ in 0..23 {
        hours(1).await;
        assert_eq!(word(&edge, &ec).await, "good");
    }
    hours(1).await;
    assert_eq!(word(&edge, &ec).await, "unavailable");
    write(&path(&folder), &[&EC]);
    assert_eq!(word(&edge, &ec).await, "unavailable", "looked for a moment ago");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(word(&edge, &ec).await, "good");
}

#[actix_web::test]
async fn an_unknown_kid_is_looked_for_every_ten_seconds() {
    let (edge, folder) = edge(&[&EC], &[]).await;
    let (ec, ed) = (EC.sign(&claims()), ED.sign(&claims()));
    assert_eq!(word(&edge, &ec).await, "good");
    tokio::time::pause();
    assert_eq!(word(&edge, &ed).await, "unauthorized");
    write(&path(&folder), &[&EC, &ED]);
    tokio::time::advance(Duration::from_millis(9_999)).await;
    assert_eq!(word(&edge, &ed).await, "unauthorized");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(word(&edge, &ed).await, "good");
}

#[actix_web::test]
async fn keys_come_over_tls_from_who_can_prove_to_be_the_server() {
    let (keys, certificate) = Answers::start_tls(&set(&[&EC]));
    for (roots, expected) in [(vec![certificate], "good"), (Vec::new(), "unavailable")] {
        let mut edge = Edge::new(&borrowed(&issuer("ID", ISSUER, &keys.url("/"), &[]))).await;
        edge.auth = edge.auth.with_tls(switchboard::providers::http::tls(&roots).unwrap());
        assert_eq!(word(&edge, &EC.sign(&claims())).await, expected);
    }
    assert_eq!(keys.count(), 1);
}

// Adversarial case 12.
#[test]
fn case_12_a_rotated_secret_ends_the_old_ones_tokens_at_once() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    let old = data.token(&["--user", "ann", "--role", "owner"]);
    assert_eq!(ask(&hub, &old).0, 200);
    hub.stop();
    std::fs::remove_file(data.path().join("secrets/jwt")).unwrap();
    let hub = Hub::start(&data.path(), &[]);
    let ledger = Ledger::open(&data.path());
    let (status, why) = ask(&hub, &old);
    assert!(status == 401 && why.contains("signature"), "{status} {why}");
    let cookie = format!("switchboard_session={old}");
    assert_eq!(hub.get("/api/v1/session", &[("Cookie", &cookie)]).status(), 401);
    assert_eq!(ledger.changed(), [""; 0]);
    assert_eq!(ask(&hub, &data.token(&["--user", "ann"])).0, 200);
    // The same for a secret of the configuration.
    let (_, log) = hub.stop();
    assert!(!log.contains(&old) && !ledger.tells(&old), "{log}");
    assert_eq!(ledger.refused(), ["nobody session.get unauthorized 2"]);
    let secret = |text| [("SWITCHBOARD_JWT_SECRET", text)];
    let hub = Hub::start(&data.path(), &secret("a secret of 32 bytes and a little more"));
    assert_eq!(ask(&hub, &data.token(&["--user", "ann"])).0, 401, "that one is of the folder's secret");
}
