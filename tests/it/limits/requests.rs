//! Requests over plain HTTP: whose budget they are taken from, and what their answers tell.

use serde_json::json;

use super::raw::{Answer, from, knock, send, send_from};
use crate::support::{Hub, HubOptions, run};

const WHO: &str = "/api/v1/session";

fn hub(limits: &[(&str, u32)]) -> Hub {
    start(HubOptions::default(), limits)
}

fn start(options: HubOptions, limits: &[(&str, u32)]) -> Hub {
    let set =
        |options: HubOptions, (name, value): &(&str, u32)| options.set(&format!("SWITCHBOARD_LIMITS__{name}"), value);
    Hub::start(limits.iter().fold(options, set))
}

async fn ask(hub: &Hub, token: &str) -> Answer {
    send(&hub.address, "GET", WHO, &[("authorization", &format!("Bearer {token}"))], "").await
}

#[test]
fn an_answer_tells_how_much_is_left_and_a_refusal_when_to_come_back() {
    run(async {
        let hub = hub(&[("REQUESTS_PER_MINUTE", 3)]);
        let token = hub.token("alice", "acme", "member");
        let ledger = hub.ledger();
        for left in [2, 1, 0] {
            let answer = ask(&hub, &token).await;
            assert_eq!(answer.status, 200, "{}", answer.head);
            let numbers = ["ratelimit-limit", "ratelimit-remaining"].map(|name| answer.number(name));
            assert_eq!(numbers, [3, left]);
            let reset = answer.number("ratelimit-reset");
            assert!((1..=60).contains(&reset), "{reset}");
            assert_eq!(answer.header("retry-after"), None);
        }
        let refused = ask(&hub, &token).await;
        refused.assert_limited();
        assert_eq!((refused.number("ratelimit-limit"), refused.number("ratelimit-remaining")), (3, 0));
        assert!((1..=20).contains(&refused.number("retry-after")), "one comes back in 20 s");
        // The same user with another credential is the same user; another user, or the same name elsewhere, is not.
        ask(&hub, &hub.token("alice", "acme", "member")).await.assert_limited();
        for (user, organization) in [("bob", "acme"), ("alice", "other")] {
            assert_eq!(ask(&hub, &hub.token(user, organization, "member")).await.status, 200, "{user} {organization}");
        }
        let metrics = send(&hub.address, "GET", "/health", &[], "").await;
        assert_eq!(metrics.status, 200);
        let text = plain(&hub, "/metrics").await;
        assert!(text.contains("switchboard_limited_total{budget=\"requests\"} 2"), "{text}");
        let refused = hub.aftermath(&ledger, &[&token]);
        assert_eq!(refused, ["alice@acme session.get rate_limited 2"], "who is known is known in the audit log too");
    });
}

/// The whole answer as text.
pub async fn plain(hub: &Hub, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = from("127.0.0.1", &hub.address).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", hub.address);
    socket.write_all(request.as_bytes()).await.expect("it is sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("an answer");
    text
}

#[test]
fn strangers_share_their_address_s_budget_and_probes_go_on() {
    run(async {
        let hub = hub(&[("STRANGERS_PER_MINUTE", 4)]);
        let token = hub.token("alice", "acme", "member");
        for _ in 0..4 {
            assert_eq!(send(&hub.address, "GET", WHO, &[], "").await.status, 401);
        }
        for path in [WHO, "/sign-in", "/nothing", "/api/v1/nothing"] {
            send(&hub.address, "GET", path, &[], "").await.assert_limited();
        }
        // A header that is no credential does not help.
        let junk = ("authorization", "Bearer junk");
        send(&hub.address, "GET", "/nothing", &[junk], "").await.assert_limited();
        send(&hub.address, "GET", "/sign-in", &[("cookie", "a=b")], "").await.assert_limited();
        for _ in 0..10 {
            assert_eq!(send(&hub.address, "GET", "/health", &[], "").await.status, 200);
            assert_eq!(send(&hub.address, "GET", "/ready", &[], "").await.status, 200);
            assert_eq!(ask(&hub, &token).await.status, 200, "who is known is no stranger");
        }
        assert_eq!(send_from("127.0.0.2", &hub.address, "GET", WHO, &[], "").await.status, 401, "another address");
    });
}

#[test]
fn tries_to_sign_in_are_few() {
    run(async {
        let hub = hub(&[("SIGN_INS_PER_MINUTE", 3)]);
        let body = r#"{"code":"wrong"}"#;
        for _ in 0..3 {
            assert_eq!(send(&hub.address, "POST", "/sign-in", &[], body).await.status, 401);
        }
        send(&hub.address, "POST", "/sign-in", &[], body).await.assert_limited();
        // A header does not change whose try it is.
        let headers = [("authorization", "Bearer x"), ("x-forwarded-for", "192.0.2.77")];
        send(&hub.address, "POST", "/sign-in", &headers, body).await.assert_limited();
        assert_eq!(send(&hub.address, "GET", "/sign-in", &[], "").await.status, 200);
        // Nor does another spelling of the address: the router reads it as the same one.
        for spelling in ["/sign%2Din", "/sign%2din", "/%73ign-in", "/%73%69%67%6e-in?x=1"] {
            for headers in [&[][..], &headers] {
                send(&hub.address, "POST", spelling, headers, body).await.assert_limited();
            }
        }
        assert_eq!(send_from("127.0.0.2", &hub.address, "POST", "/sign-in", &[], body).await.status, 401);
    });
}

#[test]
fn wrong_credentials_are_looked_at_so_often_and_no_more() {
    run(async {
        let hub = hub(&[("REFUSED_PER_MINUTE", 3)]);
        let token = hub.token("alice", "acme", "member");
        assert_eq!(ask(&hub, "wrong").await.status, 401);
        let wrong = knock("127.0.0.1", &hub.address, "/ws?token=wrong", &[]).await.expect_err("a refusal");
        assert_eq!(wrong.status, 401);
        assert_eq!(ask(&hub, "wrong.wrong.wrong").await.status, 401);
        ask(&hub, "wrong").await.assert_limited();
        ask(&hub, &token).await.assert_limited();
        let path = format!("/ws?token={token}");
        let refused = knock("127.0.0.1", &hub.address, &path, &[]).await.expect_err("a refusal");
        refused.assert_limited();
        assert!(knock("127.0.0.3", &hub.address, &path, &[]).await.is_ok(), "another address is not concerned");
        assert_eq!(send(&hub.address, "GET", "/health", &[], "").await.status, 200);
    });
}

#[test]
fn case_54_a_forged_forwarded_address_counts_only_from_a_known_proxy() {
    run(async {
        let direct = hub(&[("STRANGERS_PER_MINUTE", 5)]);
        let mut statuses = Vec::new();
        for n in 0..8 {
            let forged = format!("192.0.2.{n}");
            let headers =
                [("x-forwarded-for", forged.as_str()), ("forwarded", &format!("for={forged}")), ("x-real-ip", &forged)];
            statuses.push(send(&direct.address, "GET", WHO, &headers, "").await.status);
        }
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429], "this machine is not exempt either");

        let options = HubOptions::default().config("[server]\ntrusted_proxies = [\"127.0.0.9\"]");
        let behind = start(options, &[("STRANGERS_PER_MINUTE", 2)]);
        let by_proxy = async |client: &str| {
            send_from("127.0.0.9", &behind.address, "GET", WHO, &[("x-forwarded-for", client)], "").await.status
        };
        for client in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!([by_proxy(client).await, by_proxy(client).await, by_proxy(client).await], [401, 401, 429]);
        }
        // What stands left of the last hop was written by the client itself.
        assert_eq!(by_proxy("198.51.100.7, 192.0.2.1").await, 429);
        // An IPv6 user walks through the addresses of one network.
        assert_eq!([by_proxy("2001:db8::1").await, by_proxy("2001:db8::2").await], [401, 401]);
        for n in 3..20 {
            assert_eq!(by_proxy(&format!("2001:db8::{n:x}:{n:x}:{n:x}:{n:x}")).await, 429);
        }
        assert_eq!(by_proxy("2001:db8:0:1::1").await, 401);
        // Somebody else who names an address is not believed.
        let forged = [("x-forwarded-for", "203.0.113.1")];
        let mut own = Vec::new();
        for _ in 0..3 {
            own.push(send_from("127.0.0.8", &behind.address, "GET", WHO, &forged, "").await.status);
        }
        assert_eq!(own, [401, 401, 429]);
        assert_eq!(by_proxy("203.0.113.1").await, 401, "the one who was named has all of his own");
    });
}

/// Each request comes from an address of its own, as far as the hub can tell.
#[test]
fn case_57_a_flood_of_made_up_addresses_costs_bounded_memory_and_hurts_nobody() {
    run(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let options = HubOptions::default().config("[server]\ntrusted_proxies = [\"127.0.0.9\"]");
        let hub = start(options, &[("STRANGERS_PER_MINUTE", 2), ("REQUESTS_PER_MINUTE", 600)]);
        let token = hub.token("alice", "acme", "member");
        let mut socket = from("127.0.0.9", &hub.address).await;
        let mut flood = async |range: std::ops::Range<u32>| {
            for n in range {
                let text = format!(
                    "GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\nx-forwarded-for: 2001:db8:{:x}:{:x}::1\r\n\r\n",
                    n >> 16,
                    n & 0xffff
                );
                socket.write_all(text.as_bytes()).await.expect("it is sent");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.expect("a head"));
                }
                let head = String::from_utf8(head).expect("text");
                assert!(head.starts_with("HTTP/1.1 404 "), "{n}: {head}");
                let (_, length) = head.split_once("content-length: ").expect("a length");
                let length = length.split("\r\n").next().and_then(|n| n.parse().ok()).expect("a number");
                socket.read_exact(&mut vec![0; length]).await.expect("a body");
            }
        };
        let ledger = hub.ledger();
        flood(0..500).await;
        let before = hub.resident();
        flood(500..6000).await;
        let grown = hub.resident().saturating_sub(before);
        // 24 bytes a bucket and an index: five thousand of them are far below a MiB.
        assert!(grown < 8 << 20, "{grown} bytes for 5,500 addresses");
        assert_eq!(ask(&hub, &token).await.status, 200);
        assert_eq!(send(&hub.address, "GET", WHO, &[], "").await.status, 401, "a stranger of this machine");
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &["2001:db8:"]), ["nobody session.get unauthorized 1"]);
    });
}

#[test]
fn nought_is_no_limit_and_then_nothing_is_told() {
    run(async {
        let hub = hub(&[]);
        let token = hub.token("alice", "acme", "member");
        for _ in 0..50 {
            let answer = ask(&hub, &token).await;
            assert_eq!((answer.status, answer.header("ratelimit-limit")), (200, None));
        }
        assert_eq!(ask(&hub, &token).await.body["user"], json!("alice"));
    });
}
