//! What can be guessed, tried twice or claimed: pairing codes, tickets, addresses. Whatever was tried, the scene is as it
//! was.

use serde_json::json;
use switchboard::auth::keys;
use switchboard::domain::account::PairingCode;
use switchboard::domain::ids::{DeviceId, OrganizationId, Source, SystemSource, UserId};
use switchboard::domain::principal::Role;

use super::scene::{Scene, assert_refused};
use crate::limits::raw::{Answer, knock, send, send_from};
use crate::support::{HubOptions, Identity, run};

const HERE: &str = "127.0.0.1";
const PROXY: &str = "127.0.0.9";
const JSON: (&str, &str) = ("content-type", "application/json");

fn behind_a_proxy() -> HubOptions {
    HubOptions::default().config(&format!("[server]\ntrusted_proxies = [\"{PROXY}\"]"))
}

/// Codes that live beside the one that is guessed at: with a hundred of them there are 21 guesses for the whole world.
async fn many_codes(identity: &Identity) {
    let now = SystemSource.now();
    for n in 0..99u8 {
        let code = PairingCode {
            hash: [n; 32],
            organization: OrganizationId::parse("acme").expect("an organization"),
            user: UserId::parse("ann").expect("a user"),
            role: Role::Member,
            device_name: "phone".into(),
            created_at: now,
            expires_at: now.plus_millis(300_000),
        };
        identity.0.put_pairing_code(code).await.expect("written");
    }
}

#[test]
fn case_44_guesses_of_the_whole_world_run_out_and_then_every_live_code_is_void() {
    run(async {
        let scene = Scene::new(behind_a_proxy()).await;
        let (address, bearer) = (scene.address().to_owned(), format!("Bearer {}", scene.token()));
        let own = [("authorization", bearer.as_str()), JSON];
        let made = send(&address, "POST", "/pairing/codes", &own, "{\"deviceName\":\"phone\"}").await;
        let code = made.body["code"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
        let identity = Identity::of(&scene.hub.folder());
        many_codes(&identity).await;
        assert_eq!(identity.0.live_pairing_codes(SystemSource.now()).await, Ok(100));
        let guess = async |code: &str, from: &str| -> Answer {
            let body = json!({"code": code}).to_string();
            send_from(PROXY, &address, "POST", "/pairing/verify", &[("x-forwarded-for", from), JSON], &body).await
        };
        let mut statuses = Vec::new();
        for n in 0..30 {
            // Nobody guesses twice.
            statuses.push(guess(&format!("WRNG{n:02}"), &format!("203.0.113.{n}")).await.status);
        }
        assert_eq!((&statuses[..21], &statuses[21..]), (&[404; 21][..], &[429; 9][..]));
        let late = guess(&code, "198.51.100.1").await;
        assert_eq!((late.status, late.code()), (429, "rate_limited"), "{}", late.body);
        assert_eq!(identity.0.live_pairing_codes(SystemSource.now()).await, Ok(0), "the live ones are void");
        let again = send(&address, "POST", "/pairing/codes", &own, "{\"deviceName\":\"phone\"}").await;
        assert_eq!(again.status, 429, "{}", again.body);
        let devices = send(&address, "GET", "/devices", &own, "").await;
        assert_eq!(devices.body["items"], json!([]));
        // It was made void, not only kept waiting: it pairs nothing in the store either.
        let now = SystemSource.now();
        let id = DeviceId::mint(&mut SystemSource);
        let used = identity.0.use_pairing_code(keys::hash(&code), now, id, [1; 32], |_| panic!("a device")).await;
        assert_eq!(used, Ok(None));
        scene.unharmed(&[("pairing.verify", "not_found"), ("pairing.verify", "rate_limited")], &[&code]).await;
    });
}

#[test]
fn case_51_a_ticket_opens_one_door_once_and_nothing_else_ever() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (address, bearer) = (scene.address().to_owned(), format!("Bearer {}", scene.token()));
        let mut secrets = Vec::new();
        let mut ticket = async |route: &str, more: &[(&str, &str)]| -> String {
            let headers: Vec<_> = [("authorization", bearer.as_str()), JSON].into_iter().chain(more.to_vec()).collect();
            let body = json!({"route": route}).to_string();
            let made = send(&address, "POST", "/api/v1/tickets", &headers, &body).await;
            let ticket = made.body["ticket"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
            secrets.push(ticket.clone());
            ticket
        };
        let page = ("origin", "https://panel.example");
        let (once, elsewhere, bound) =
            (ticket("/ws", &[]).await, ticket("/ws/client", &[]).await, ticket("/ws", &[page]).await);
        let foreign = ticket("/ws", &[]).await;
        let refused = async |path: &str, headers: &[(&str, &str)]| {
            let answer = knock(HERE, &address, path, headers).await.expect_err("nobody came in");
            assert_refused(&answer, 401, "unauthorized", path);
        };
        // A hundred ways at once.
        let path = format!("/ws?ticket={once}");
        let tries = (0..100).map(|_| knock(HERE, &address, &path, &[]));
        let opened = futures_util::future::join_all(tries).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(opened, 1);
        refused(&path, &[]).await;
        // At another door, which uses it up.
        refused(&format!("/ws?ticket={elsewhere}"), &[]).await;
        refused(&format!("/ws/client?ticket={elsewhere}"), &[]).await;
        // From another page.
        refused(&format!("/ws?ticket={bound}"), &[("origin", "https://panel.example.evil")]).await;
        refused(&format!("/ws?ticket={bound}"), &[page]).await;
        // For another organization.
        let path = format!("/ws?ticket={foreign}&organizationId=rival");
        let answer = knock(HERE, &address, &path, &[]).await.expect_err("nobody came in");
        assert_refused(&answer, 403, "forbidden", &path);
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let rows = [("/ws", "forbidden"), ("/ws", "unauthorized"), ("/ws/client", "unauthorized")];
        scene.unharmed(&rows, &secrets).await;
    });
}

#[test]
fn case_54_whoever_claims_another_address_is_still_the_same() {
    run(async {
        let scene = Scene::new(HubOptions::default().set("SWITCHBOARD_LIMITS__STRANGERS_PER_MINUTE", 5)).await;
        let address = scene.address().to_owned();
        let mut statuses = Vec::new();
        for n in 0..12 {
            let forged = format!("192.0.2.{n}");
            let network = format!("for=\"[2001:db8::{n}]\"");
            let headers = match n % 3 {
                0 => vec![("x-forwarded-for", forged.as_str())],
                1 => vec![("forwarded", network.as_str())],
                _ => vec![("x-real-ip", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1")],
            };
            statuses.push(send(&address, "GET", "/api/v1/session", &headers, "").await.status);
        }
        assert_eq!((&statuses[..5], &statuses[5..]), (&[401; 5][..], &[429; 7][..]), "this machine is not exempt");
        scene.unharmed(&[("session.get", "unauthorized")], &[]).await;
    });
}
