//! Every act of administration is written down before it has an effect; refusals are, too.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard::auth::accounts::{Accounts, UserChange};
use switchboard::config::{self, Flags};
use switchboard::domain::account::{Organization, User};
use switchboard::domain::command::Caller;
use switchboard::domain::ids::{OrganizationId, Timestamp, UserId};
use switchboard::domain::principal::{Credential, Principal, Role};
use switchboard::store::{AuditQuery, CommitPoint, Store, StoreSettings};

use super::House;
use crate::hub::Data;

fn entries(house: &House, token: &str, query: &str) -> Vec<Value> {
    house.get(token, &format!("/api/v1/admin/audit?{query}")).json()["items"].as_array().unwrap().clone()
}

#[test]
fn who_did_what_to_whom_by_which_request_and_what_was_refused() {
    let house = House::new(&[]);
    let admin = house.jwt("acme", "admin", "admin");
    house.jwt("acme", "ann", "member");
    let named = [("x-request-id", "req-of-mine")];
    let body = json!({ "role": "operator" });
    assert_eq!(house.ask_with(&admin, "PATCH", "/api/v1/admin/users/ann", &named, body).status(), 200);
    assert_eq!(house.ask(&admin, "PATCH", "/api/v1/admin/users/ann", json!({ "role": "owner" })).status(), 403);
    assert_eq!(house.ask(&admin, "PATCH", "/api/v1/admin/users/nobody", json!({ "role": "viewer" })).status(), 404);

    let found = entries(&house, &admin, "action=admin.users.update&actor=admin");
    let outcome: Vec<_> = found.iter().map(|entry| (entry["target"].as_str(), entry["outcome"].as_str())).collect();
    assert_eq!(outcome, [(Some("nobody"), Some("refused")), (Some("ann"), Some("refused")), (Some("ann"), None)]);
    let first = &found[2];
    assert_eq!(first["details"], json!({ "role": { "from": "member", "to": "operator" } }));
    assert_eq!(
        (&first["requestId"], &first["actor"], &first["credential"]["kind"]),
        (&json!("req-of-mine"), &json!("admin"), &json!("jwt"))
    );
    assert!(first["origin"].as_str().unwrap().contains("127.0.0.1"));
    let ns: Vec<u64> = found.iter().map(|entry| entry["n"].as_u64().unwrap()).collect();
    assert!(ns.is_sorted_by(|a, b| a > b), "newest first: {ns:?}");

    // By pages, and nothing of other organizations or of the hub.
    let page = house.get(&admin, "/api/v1/admin/audit?limit=2").json();
    let next = page["nextCursor"].as_str().unwrap();
    let rest = entries(&house, &admin, &format!("limit=200&cursor={next}"));
    assert!(rest[0]["n"].as_u64() < page["items"][1]["n"].as_u64());
    let owner = house.jwt("default", "owner", "owner");
    assert_eq!(house.ask(&owner, "POST", "/api/v1/admin/organizations", json!({ "id": "beta" })).status(), 201);
    let all = entries(&house, &admin, "limit=200");
    assert!(all.iter().all(|entry| entry["organization"] == "acme"), "{all:?}");
    let hub = entries(&house, &owner, "organization=*&action=admin.organizations.create");
    assert_eq!((hub.len(), &hub[0]["target"], hub[0].get("organization")), (1, &json!("beta"), None));
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let status = house.ask(&owner, method, "/api/v1/admin/audit", json!({})).status();
        assert!(status == 404 || status == 405, "{method}: {status}");
    }
}

#[test]
fn no_secret_reaches_the_record_or_the_log() {
    let house = House::new(&[]);
    let admin = house.jwt("acme", "admin", "admin");
    let ann = house.jwt("acme", "ann", "member");
    let key = house.ask(&admin, "POST", "/api/v1/admin/keys", json!({ "user": "ann", "name": "x" })).json();
    let ticket = house.ticket(&ann, "/ws");
    house.knock(&format!("/ws?ticket={ticket}"), &[]);
    let device = house.device(&ann, "phone");
    house.ask(&admin, "PATCH", "/api/v1/admin/users/ann", json!({ "password": "correct horse battery" }));
    house.ask(&admin, "POST", "/api/v1/admin/tokens/revoke", json!({ "token": ann }));
    let record = house.get(&admin, "/api/v1/admin/audit?limit=200").0;
    assert!(record.contains("\"password\":\"set\""), "{record}");
    let House { hub, data: _data } = house;
    let (_, log) = hub.stop();
    for secret in [key["key"].as_str().unwrap(), &ticket, &device, "correct horse battery", &ann, &admin] {
        assert!(!record.contains(secret) && !log.contains(secret), "{secret}");
    }
}

#[test]
fn refusals_at_the_doors_are_one_row_a_minute_with_a_count() {
    let house = House::new(&[]);
    let owner = house.jwt("default", "owner", "owner");
    let member = house.jwt("acme", "ann", "member");
    for _ in 0..10 {
        assert_eq!(house.get("wrong", "/api/v1/admin/users").status(), 401);
        assert_eq!(house.get(&member, "/api/v1/admin/users").status(), 403);
        assert_eq!(house.knock("/ws?token=wrong", &[]), 401);
    }
    let until = Instant::now() + Duration::from_secs(30);
    let found = loop {
        let found = entries(&house, &owner, "organization=*&limit=200");
        let found: Vec<Value> = found.into_iter().filter(|entry| entry["details"]["count"].is_u64()).collect();
        let kinds = ["unauthorized", "forbidden"].map(|code| found.iter().any(|e| e["details"]["code"] == code));
        if (kinds == [true, true] && found.iter().any(|e| e["action"] == "/ws")) || Instant::now() > until {
            break found;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(found.len(), 3, "{found:?}");
    for entry in &found {
        assert_eq!(entry["outcome"], "refused");
        let known = entry["details"]["code"] == "forbidden";
        assert_eq!(entry["actor"].as_str(), known.then_some("ann"), "{entry}");
        assert_eq!(entry["organization"].as_str(), known.then_some("acme"));
    }
}

#[actix_web::test]
async fn the_row_is_on_disk_before_the_effect_begins() {
    let data = Data::new();
    std::fs::create_dir_all(data.path()).unwrap();
    let flags = Flags { data: Some(data.path()), ..Flags::default() };
    let config = Arc::new(config::load(&flags, []).unwrap().config);
    let url = format!("sqlite:{}", data.path().join("hub.db").display());
    let store = Store::open(StoreSettings { url, pool: 2, boot: 1 }).unwrap();
    let organization = OrganizationId::parse("o").unwrap();
    let [boss, ann] = ["boss", "ann"].map(|user| UserId::parse(user).unwrap());
    let row = Organization { id: organization.clone(), name: "o".into(), created_at: Timestamp(1), disabled_at: None };
    store.put_organization(row).await.unwrap();
    store.put_user(User::new(organization.clone(), ann.clone(), Role::Member, Timestamp(1))).await.unwrap();
    let principal = Principal {
        organization: organization.clone(),
        user: boss,
        role: Role::Owner,
        hub_admin: false,
        permissions: Vec::new(),
        credential: Credential::Operator,
        expires_at: None,
    };
    let (principal, request_id, origin) = (Arc::new(principal), "r".into(), "test".into());
    let caller = Caller { principal, request_id, origin, address: None };

    // After each commit: how many rows the record has, and which role the user has.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (reader, list, of, whom) = (store.clone(), seen.clone(), organization.clone(), ann.clone());
    store.set_commit_hook(Some(Arc::new(move |point| {
        if point == CommitPoint::After {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let now = runtime.block_on(async {
                let query = AuditQuery { limit: 10, ..AuditQuery::default() };
                let rows = reader.audit(&of, query).await.unwrap().items.len();
                (rows, reader.user(&of, &whom).await.unwrap().unwrap().role)
            });
            list.lock().unwrap().push(now);
        }
    })));
    let accounts = Accounts::new(store.clone(), config, None);
    let change = UserChange { role: Some(Role::Admin), ..UserChange::default() };
    accounts.update_user(&caller, &organization, &ann, change).await.unwrap();
    store.set_commit_hook(None);
    assert_eq!(*seen.lock().unwrap(), [(1, Role::Member), (1, Role::Admin)]);
}
