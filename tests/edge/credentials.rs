//! Which credentials count, in which order, and how the others are refused.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rstest::rstest;
use serde_json::{Value, json};
use switchboard::auth::{Authenticator, Head, Route, keys};
use switchboard::config::{self, Flags};
use switchboard::domain::account::{ApiKey, Organization, User};
use switchboard::domain::ids::{KeyId, OrganizationId, Timestamp, UserId};
use switchboard::domain::principal::{Principal, Role};
use switchboard::error::Fault;
use switchboard::store::{Store, StoreSettings};

use crate::hub::{Data, Hub};

const SECRET: &str = "a secret for tests that has 32 bytes and more";

fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[rstest]
#[case::exp_as_text(json!({"sub": "u", "org": "o", "exp": "4000000000"}), "exp must be a number")]
#[case::no_exp(json!({"sub": "u", "org": "o"}), "no exp")]
#[case::expired(json!({"sub": "u", "org": "o", "exp": 1_000_000_000}), "expired")]
#[case::not_yet(json!({"sub": "u", "org": "o", "exp": 4_000_000_000u64, "nbf": 3_999_999_999u64}), "not valid yet")]
#[case::no_organization(json!({"sub": "u", "exp": 4_000_000_000u64}), "no organization")]
#[case::no_user(json!({"org": "o", "exp": 4_000_000_000u64}), "no user")]
#[actix_web::test]
async fn a_token_with_bad_claims_is_refused_with_the_reason(#[case] claims: Value, #[case] words: &str) {
    let edge = Edge::new(&[]).await;
    let fault = edge.rest("/", &[("authorization", &format!("Bearer {}", signed(&claims)))]).await.unwrap_err();
    assert_eq!(fault.code.name(), "unauthorized");
    assert!(fault.message.contains(words), "{}", fault.message);
    assert_eq!(edge.store.counts().await.unwrap().users, 0, "a refused token creates nobody");
}

/// An authenticator over a store of its own.
pub struct Edge {
    pub auth: Authenticator,
    pub store: Store,
    _data: Data,
}

impl Edge {
    pub async fn new(environment: &[(&str, &str)]) -> Self {
        let data = Data::new();
        std::fs::create_dir_all(data.path()).unwrap();
        let mut all = vec![("SWITCHBOARD_JWT_SECRET", SECRET), ("SWITCHBOARD_AUTH__REMEMBER_MS", "0")];
        all.extend(environment);
        let flags = Flags { data: Some(data.path()), ..Flags::default() };
        let loaded = config::load(&flags, all.iter().map(|(k, v)| (k.to_string(), v.to_string()))).unwrap();
        let url = format!("sqlite:{}", data.path().join("hub.db").display());
        let store = Store::open(StoreSettings { url, pool: 2, boot: 1 }).unwrap();
        let auth = Authenticator::new(Arc::new(loaded.config), &SECRET.into(), store.clone());
        Self { auth, store, _data: data }
    }

    pub async fn ask(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        route: Route,
    ) -> Result<Principal, Fault> {
        let (uri, mut map): (Uri, _) = (uri.parse().unwrap(), HeaderMap::new());
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let peer: SocketAddr = "127.0.0.1:5555".parse().unwrap();
        self.auth.principal(&Head::new(&method, &uri, &map, peer, false, &[]), route).await
    }

    pub async fn rest(&self, uri: &str, headers: &[(&str, &str)]) -> Result<Principal, Fault> {
        self.ask(Method::GET, uri, headers, Route::Rest).await
    }

    pub async fn socket(&self, uri: &str, headers: &[(&str, &str)]) -> Result<Principal, Fault> {
        let mut all = vec![("upgrade", "websocket"), ("host", "hub.example")];
        all.extend(headers);
        self.ask(Method::GET, uri, &all, Route::Socket).await
    }

    pub async fn put_user(&self, name: &str, role: Role, managed: bool) {
        let organization = OrganizationId::parse("o").unwrap();
        let row =
            Organization { id: organization.clone(), name: "o".into(), created_at: Timestamp(1), disabled_at: None };
        self.store.ensure_organization(row).await.unwrap();
        let id = UserId::parse(name).unwrap();
        let user = User { managed, hub_admin: managed, ..User::new(organization, id, role, Timestamp(1)) };
        self.store.put_user(user).await.unwrap();
    }
}

fn of(user: &str) -> String {
    signed(&json!({"sub": user, "org": "o", "exp": 4_000_000_000u64}))
}

fn code(answer: Result<Principal, Fault>) -> &'static str {
    answer.unwrap_err().code.name()
}

#[actix_web::test]
async fn the_first_credential_counts_and_a_bad_one_is_not_passed_over() {
    let edge = Edge::new(&[]).await;
    let (ann, bob, eve) = (of("ann"), of("bob"), of("eve"));
    let bearer = format!("Bearer {ann}");
    let cookie = format!("theme=dark; switchboard_session={eve}");
    let own = ("origin", "http://hub.example");
    let query = format!("/ws?token={bob}");
    let who = |answer: Result<Principal, Fault>| answer.unwrap().user.to_string();
    assert_eq!(who(edge.socket(&query, &[("authorization", &bearer), ("cookie", &cookie), own]).await), "ann");
    assert_eq!(who(edge.socket(&query, &[("cookie", &cookie), own]).await), "bob");
    assert_eq!(who(edge.socket("/ws", &[("cookie", &cookie), own]).await), "eve");
    assert_eq!(who(edge.socket(&query, &[("authorization", "Basic YTpi")]).await), "bob");
    for bad in ["Bearer nonsense", "Bearer", "Bearer "] {
        assert_eq!(
            code(edge.socket(&query, &[("authorization", bad), ("cookie", &cookie), own]).await),
            "unauthorized"
        );
    }
    assert_eq!(code(edge.socket("/ws?token=", &[("cookie", &cookie), own]).await), "unauthorized");
    let twice = edge.socket(&query, &[("authorization", &bearer), ("authorization", &bearer)]).await;
    assert_eq!(code(twice), "unauthorized");
    assert_eq!(code(edge.socket(&format!("{query}&token={ann}"), &[]).await), "bad_request");
    assert_eq!(code(edge.socket("/ws", &[]).await), "unauthorized");
}

#[actix_web::test]
async fn a_token_in_the_address_counts_for_sockets_only() {
    let edge = Edge::new(&[]).await;
    let uri = format!("/x?token={}", of("ann"));
    assert_eq!(code(edge.rest(&uri, &[]).await), "unauthorized");
    assert!(edge.ask(Method::GET, &uri, &[], Route::SocketIo).await.is_ok());
}

#[actix_web::test]
async fn a_cookie_is_believed_from_the_hubs_own_page_and_its_friends() {
    let edge = Edge::new(&[("SWITCHBOARD_SERVER__ORIGINS", "https://panel.example.org")]).await;
    let cookie = format!("switchboard_session={}", of("ann"));
    for origin in ["http://hub.example", "https://panel.example.org", "http://hub.example:80"] {
        assert!(edge.socket("/ws", &[("cookie", &cookie), ("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "https://panel.example.org.evil.example",
        "https://panel.example.org:8443",
        "http://hub.example:3000",
        "https://hub.example",
        "http://127.evil.example",
        "",
    ] {
        assert_eq!(code(edge.socket("/ws", &[("cookie", &cookie), ("origin", origin)]).await), "forbidden", "{origin}");
    }
    assert_eq!(code(edge.socket("/ws", &[("cookie", &cookie)]).await), "forbidden", "no Origin at all");
    // A page reads from its own hub without naming itself; what changes something is named.
    assert!(edge.rest("/", &[("cookie", &cookie)]).await.is_ok());
    assert_eq!(code(edge.rest("/", &[("cookie", &cookie), ("sec-fetch-site", "same-site")]).await), "forbidden");
    assert_eq!(code(edge.ask(Method::POST, "/", &[("cookie", &cookie)], Route::Rest).await), "forbidden");
    // A token is no cookie: no browser sends it by itself.
    let bearer = format!("Bearer {}", of("ann"));
    assert!(edge.socket("/ws", &[("authorization", &bearer), ("origin", "http://evil.example")]).await.is_ok());
}

#[actix_web::test]
async fn socket_io_has_friends_of_its_own_and_with_any_no_cookie_counts() {
    let cookie = format!("switchboard_session={}", of("ann"));
    let headers = [("cookie", cookie.as_str()), ("host", "hub.example"), ("origin", "http://localhost:3000")];
    let named = Edge::new(&[]).await;
    assert!(named.ask(Method::GET, "/socket.io/", &headers, Route::SocketIo).await.is_ok());
    assert_eq!(code(named.ask(Method::GET, "/ws", &headers, Route::Socket).await), "forbidden");
    let any = Edge::new(&[("GATEWAY_CORS_ORIGIN", "*")]).await;
    assert_eq!(code(any.ask(Method::GET, "/socket.io/", &headers, Route::SocketIo).await), "unauthorized");
}

#[actix_web::test]
async fn for_a_managed_user_the_stored_role_counts_else_the_claim() {
    let edge = Edge::new(&[]).await;
    edge.put_user("ann", Role::Viewer, true).await;
    edge.put_user("bob", Role::Owner, false).await;
    let claims = |user: &str| signed(&json!({"sub": user, "org": "o", "role": "ADMIN", "exp": 4_000_000_000u64}));
    let ann = edge.auth.token(&claims("ann"), None).await.unwrap();
    assert_eq!((ann.role, ann.hub_admin), (Role::Viewer, true));
    let bob = edge.auth.token(&claims("bob"), None).await.unwrap();
    assert_eq!((bob.role, bob.hub_admin), (Role::Admin, false));
    let new = edge.auth.token(&claims("cid"), None).await.unwrap();
    assert_eq!(new.role, Role::Admin);
    let row = edge.store.user(&new.organization, &new.user).await.unwrap().unwrap();
    assert!(!row.managed && !row.hub_admin);
}

#[actix_web::test]
async fn organizations_are_created_only_where_that_is_allowed() {
    let strict = Edge::new(&[("SWITCHBOARD_AUTH__CREATE_ORGANIZATIONS", "false")]).await;
    assert_eq!(code(strict.auth.token(&of("ann"), None).await), "forbidden");
    assert_eq!(strict.store.counts().await.unwrap().organizations, 0);
    strict.put_user("bob", Role::Member, true).await;
    assert!(strict.auth.token(&of("ann"), None).await.is_ok());
    let home = Edge::new(&[("SWITCHBOARD_AUTH__DEFAULT_ORGANIZATION", "home")]).await;
    let token = signed(&json!({"userId": "ann", "exp": 4_000_000_000u64}));
    assert_eq!(home.auth.token(&token, None).await.unwrap().organization.as_str(), "home");
}

#[actix_web::test]
async fn one_of_several_organizations_is_picked_in_the_address() {
    let edge = Edge::new(&[]).await;
    let token = signed(&json!({"sub": "ann", "organizationIds": ["o", "p"], "exp": 4_000_000_000u64}));
    let bearer = format!("Bearer {token}");
    let at = async |uri: &str| edge.rest(uri, &[("authorization", &bearer)]).await;
    assert_eq!(at("/").await.unwrap().organization.as_str(), "o");
    assert_eq!(at("/?organizationId=p").await.unwrap().organization.as_str(), "p");
    assert_eq!(code(at("/?organizationId=q").await), "forbidden");
}

#[actix_web::test]
async fn an_api_key_counts_until_it_is_revoked_or_ends() {
    let edge = Edge::new(&[]).await;
    edge.put_user("ann", Role::Operator, true).await;
    let organization = OrganizationId::parse("o").unwrap();
    let key = |id: u128, secret: &str, expires_at: Option<Timestamp>| ApiKey {
        id: KeyId(id),
        organization: organization.clone(),
        user: UserId::parse("ann").unwrap(),
        name: "ci".into(),
        hash: keys::hash(secret),
        created_at: Timestamp(1),
        expires_at,
        revoked_at: None,
    };
    edge.store.put_api_key(key(1, "sb_good", None)).await.unwrap();
    edge.store.put_api_key(key(2, "sb_old", Some(Timestamp(2)))).await.unwrap();
    let ann = edge.rest("/", &[("authorization", "Bearer sb_good")]).await.unwrap();
    assert_eq!((ann.user.as_str(), ann.role, ann.credential.name()), ("ann", Role::Operator, "api_key"));
    assert_eq!(code(edge.auth.token("sb_old", None).await), "unauthorized");
    assert_eq!(code(edge.auth.token("sb_none", None).await), "unauthorized");
    assert_eq!(code(edge.auth.token("sb_good", Some("p")).await), "forbidden");
    edge.put_user("ann", Role::Viewer, true).await;
    assert_eq!(edge.auth.renew(&ann).await.unwrap().role, Role::Viewer);
    edge.store.revoke_api_key(&organization, KeyId(1), Timestamp(3)).await.unwrap();
    assert_eq!(code(edge.auth.token("sb_good", None).await), "unauthorized");
    assert_eq!(code(edge.auth.renew(&ann).await), "unauthorized");
}

#[test]
fn over_http_a_refusal_says_why_and_a_wrong_secret_is_none() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[]);
    let get = |token: &str| hub.get("/api/v1/session", &[("Authorization", &format!("Bearer {token}"))]);
    let good = data.token(&["--user", "ann"]);
    assert_eq!(get(&good).status(), 200);
    let body = good.split('.').nth(1).unwrap();
    // {"alg":"none"}
    let none = get(&format!("eyJhbGciOiJub25lIn0.{body}."));
    assert_eq!((none.status(), none.error().0.as_str()), (401, "unauthorized"));
    let foreign = get(&of("ann"));
    assert!(foreign.status() == 401 && foreign.error().1.contains("signature"), "{}", foreign.0);
    let in_address = hub.get(&format!("/api/v1/session?token={good}"), &[]);
    assert_eq!(in_address.status(), 401);
}
