//! Who loses a right loses it at once: sockets close, others stay, and a new role holds from the next command on.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::support::{Client, Hub, HubOptions, Identity, exchange, run, run_for};

/// How long a client waits for the close that it was promised.
const PROMISE: Duration = Duration::from_secs(1);

/// Sockets in all, on so many keys.
const SOCKETS: usize = 5000;
const KEYS: usize = 200;

/// A socket that costs its client little.
async fn small(address: &str, token: &str) -> Client {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(1024);
    let request = format!("ws://{address}/ws?token={token}").into_client_request().expect("a request");
    let stream = MaybeTlsStream::Plain(stream);
    let (socket, _) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await.expect("the socket opens");
    Client::over(socket)
}

/// A socket that a browser opens with its cookie.
async fn with_cookie(hub: &Hub, cookie: &str) -> Client {
    let mut request = format!("ws://{}/ws", hub.address).into_client_request().expect("a request");
    let header = |text: String| text.parse().expect("a header's value");
    request.headers_mut().insert("cookie", header(format!("switchboard_session={cookie}")));
    request.headers_mut().insert("origin", header(format!("http://{}", hub.address)));
    let (socket, _) = tokio_tungstenite::connect_async(request).await.expect("the socket opens");
    Client::over(socket)
}

async fn closes(clients: &mut [Client]) -> Vec<u16> {
    let closing = join_all(clients.iter_mut().map(Client::until_closed));
    timeout(PROMISE, closing).await.expect("the sockets are closed within the time that was promised")
}

/// Every one of them answers.
async fn live(clients: &mut [Client]) {
    for chunk in clients.chunks_mut(500) {
        for frames in join_all(chunk.iter_mut().map(Client::until_pong)).await {
            assert!(frames.is_empty(), "{frames:?}");
        }
    }
}

#[test]
fn of_five_thousand_sockets_the_right_ones_close_and_no_other() {
    run_for(300, async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let identity = Identity::of(&hub.folder());
        // Two keys for each user: one key's sockets are not the user's.
        let mut keys = Vec::new();
        for n in 0..KEYS {
            let user = format!("user-{}", n / 2);
            if n % 2 == 0 {
                identity.user(&user, "acme", "member").await;
            }
            keys.push(identity.key(&user, "acme").await);
        }
        // Somebody of the same name elsewhere.
        identity.user("user-7", "globex", "member").await;
        let (elsewhere, _) = identity.key("user-7", "globex").await;
        let open = |n: usize| small(&hub.address, &keys[n % KEYS].0);
        let mut opened: Vec<(usize, Client)> = stream::iter(0..SOCKETS)
            .map(|n| async move { (n % KEYS, open(n).await) })
            .buffer_unordered(64)
            .collect()
            .await;
        opened.sort_by_key(|(key, _)| *key);
        let mut clients: Vec<Client> = opened.into_iter().map(|(_, client)| client).collect();
        let mut namesake = vec![small(&hub.address, &elsewhere).await];
        let each = SOCKETS / KEYS;

        // One key of user-7.
        identity.revoke_key("acme", keys[14].1).await;
        let mut revoked: Vec<Client> = clients.drain(14 * each..15 * each).collect();
        assert_eq!(closes(&mut revoked).await, vec![4403; each]);
        live(&mut clients).await;
        live(&mut namesake).await;
        assert!(
            tokio_tungstenite::connect_async(format!("ws://{}/ws?token={}", hub.address, keys[14].0)).await.is_err()
        );

        // All of user-99: two keys. Its sockets are the last ones.
        identity.disable_user("acme", "user-99").await;
        let mut shut_out: Vec<Client> = clients.split_off(clients.len() - 2 * each);
        assert_eq!(closes(&mut shut_out).await, vec![4403; 2 * each]);
        live(&mut clients).await;
        live(&mut namesake).await;
    });
}

#[test]
fn a_handshake_that_is_overtaken_by_the_revocation_does_not_stay() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let identity = Identity::of(&hub.folder());
        identity.user("alice", "acme", "member").await;
        let url = |key: &str| format!("ws://{}/ws?token={key}", hub.address);
        for _ in 0..5 {
            let (key, id) = identity.key("alice", "acme").await;
            let knocks = stream::iter(0..400).map(|_| tokio_tungstenite::connect_async(url(&key))).buffer_unordered(32);
            let revoke = async {
                // Some are in, some are not.
                drop(tokio_tungstenite::connect_async(url(&key)).await.expect("the socket opens"));
                identity.revoke_key("acme", id).await;
            };
            let (opened, ()) = tokio::join!(knocks.collect::<Vec<_>>(), revoke);
            let mut inside: Vec<Client> = opened.into_iter().flatten().map(|(s, _)| Client::over(s)).collect();
            let codes = closes(&mut inside).await;
            assert!(codes.iter().all(|code| *code == 4403), "{codes:?}");
        }
    });
}

#[test]
fn a_new_role_holds_from_the_next_command_on() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        // The command line is another process: what it writes is heard of.
        hub.token("alice", "acme", "viewer");
        let say = json!({"sessionId": session, "content": "hello"});
        let refused = async {
            while client.ask("messages.send", say.clone()).await["error"]["code"] != "forbidden" {
                client.ask("messages.stop", json!({"sessionId": session})).await;
            }
        };
        timeout(PROMISE * 5, refused).await.expect("the role arrives");
        // Still connected, still listening, and a publish is refused as well.
        client.subscribe(&format!("session:{session}"), None).await;
        client.send(json!({"type": "publish", "channel": "app:x", "event": "e", "id": "p"})).await;
        assert_eq!(client.find(|f| f["id"] == "p").await["code"], "forbidden");
        hub.token("alice", "acme", "member");
        let allowed = async { while client.ask("messages.send", say.clone()).await["result"].is_null() {} };
        timeout(PROMISE * 5, allowed).await.expect("the role arrives");
    });
}

#[test]
fn who_loses_the_role_loses_the_say() {
    run(async {
        let hub = Hub::start(HubOptions::default().config("[approvals]\ngrace_seconds = 0"));
        let (owner, admin) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "admin"));
        let mut owner = Client::connect(&hub.address, &owner).await;
        let created = owner.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id").to_owned();
        let channel = format!("session:{session}");
        let mut admin = Client::connect(&hub.address, &admin).await;
        admin.subscribe(&channel, None).await;
        owner.say(&session, "fetch http://example.org/").await;
        let mut watcher = Client::connect(&hub.address, &hub.token("carol", "acme", "viewer")).await;
        watcher.subscribe(&channel, None).await;
        let asked = admin.event("tool.approval_required").await;
        owner.close().await;
        // The admin could answer, and does not; then it is no admin any more, and nobody is left.
        hub.token("bob", "acme", "viewer");
        let resolved = timeout(PROMISE * 5, watcher.event("tool.approval_resolved")).await.expect("it is denied");
        assert_eq!((&resolved["requestId"], &resolved["approved"]), (&asked["requestId"], &json!(false)));
        assert_eq!(resolved["reason"], "nobody is left to answer");
        assert_eq!(admin.refused("tools.approve", json!({"requestId": asked["requestId"]})).await, "forbidden");
    });
}

#[test]
fn case_52_signing_out_closes_that_sessions_sockets() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let identity = Identity::of(&hub.folder());
        identity.user("alice", "acme", "member").await;
        let session = (identity.session("alice", "acme").await, identity.session("alice", "acme").await);
        // A browser that was signed in by a token has the token itself for a cookie.
        let token = (hub.token("alice", "acme", "member"), hub.token("alice", "acme", "member"));
        for (mine, other) in [session, token] {
            let mut leaving = vec![with_cookie(&hub, &mine).await, with_cookie(&hub, &mine).await];
            let mut staying = vec![with_cookie(&hub, &other).await];
            let request = format!(
                "POST /sign-out HTTP/1.1\r\nhost: {0}\r\norigin: http://{0}\r\n\
                 cookie: switchboard_session={mine}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                hub.address
            );
            let answer = exchange(&hub.address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            assert_eq!(closes(&mut leaving).await, [4403, 4403]);
            live(&mut staying).await;
            // Whoever kept it has nothing.
            let again = format!(
                "GET /api/v1/session HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {mine}\r\n\
                 connection: close\r\n\r\n",
                hub.address
            );
            let answer = exchange(&hub.address, &again).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    });
}

/// The hub, users of it, and the ways in which their credentials are taken back.
#[test]
fn case_11_and_50_whatever_is_taken_back_closes_its_sockets_and_no_other() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let identity = Identity::of(&hub.folder());
        for (user, org) in [("alice", "acme"), ("bob", "acme"), ("alice", "globex")] {
            identity.user(user, org, "member").await;
        }
        let mut bystanders = Vec::new();
        for (user, org) in [("bob", "acme"), ("alice", "globex")] {
            bystanders.push(Client::connect(&hub.address, &identity.key(user, org).await.0).await);
        }
        // A device of alice's, and her key beside it.
        let (device, device_id) = identity.device("alice", "acme").await;
        let key = identity.key("alice", "acme").await.0;
        let mut devices =
            vec![Client::connect(&hub.address, &device).await, Client::connect(&hub.address, &device).await];
        bystanders.push(Client::connect(&hub.address, &key).await);
        identity.revoke_device("acme", device_id).await;
        assert_eq!(closes(&mut devices).await, [4403, 4403]);
        live(&mut bystanders).await;

        // One token of hers, by its name; another one of hers is still good.
        let (one, other) = (hub.token("alice", "acme", "member"), hub.token("alice", "acme", "member"));
        let mut named = vec![Client::connect(&hub.address, &one).await];
        bystanders.push(Client::connect(&hub.address, &other).await);
        identity.revoke_token("acme", "alice", &one).await;
        assert_eq!(closes(&mut named).await, [4403]);
        live(&mut bystanders).await;

        // All her tokens until now: not her key.
        let mut signed = vec![bystanders.pop().expect("the other token's socket")];
        identity.sign_out_everywhere("acme", "alice").await;
        assert_eq!(closes(&mut signed).await, [4403]);
        live(&mut bystanders).await;

        // Herself: whatever she comes with. Not her namesake.
        let mut hers = vec![bystanders.pop().expect("her key's socket")];
        identity.disable_user("acme", "alice").await;
        assert_eq!(closes(&mut hers).await, [4403]);
        live(&mut bystanders).await;
        for credential in [&key, &device, &one, &other] {
            let url = format!("ws://{}/ws?token={credential}", hub.address);
            assert!(tokio_tungstenite::connect_async(url).await.is_err());
        }

        // A whole organization.
        identity.disable_organization("acme").await;
        let mut acme = vec![bystanders.remove(0)];
        assert_eq!(closes(&mut acme).await, [4403]);
        live(&mut bystanders).await;
    });
}
