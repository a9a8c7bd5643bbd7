//! Channels: names, rights that are lost, positions, forged events, too many subscriptions.

use serde_json::{Value, json};

use super::scene::{audit, refused_callers, told};
use crate::resume::{since, talked};
use crate::support::{Client, Hub, HubOptions, run};

#[test]
fn case_21_a_position_that_is_none_gets_the_whole() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let (session, channel, (epoch, seq)) = talked(&mut one).await;
        let (_, _, (other, _)) = talked(&mut one).await;
        one.close().await;
        let positions = [
            json!({"epoch": epoch, "seq": seq + 2}),
            json!({"epoch": epoch, "seq": u64::MAX}),
            json!({"epoch": epoch, "seq": -1}),
            json!({"epoch": epoch, "seq": 1.5}),
            json!({"epoch": epoch, "seq": "3"}),
            json!({"epoch": epoch, "seq": null}),
            json!({"epoch": epoch}),
            json!({"epoch": other, "seq": seq}),
            json!({"epoch": "", "seq": seq}),
            json!({"epoch": epoch.to_uppercase() + "0", "seq": seq}),
            json!({"epoch": 7, "seq": seq}),
            json!({"seq": seq}),
            json!([epoch, -1]),
            json!(null),
        ];
        for (n, position) in positions.into_iter().enumerate() {
            let mut client = Client::connect(&hub.address, &token).await;
            let (first, missed) = since(&mut client, &channel, position.clone()).await;
            assert_eq!((&first["recovered"], &first["epoch"]), (&json!(false), &json!(epoch)), "{position}: {first}");
            assert_eq!(first["snapshot"]["messages"].as_array().map(Vec::len), Some(2), "{position}");
            assert!(missed.is_empty(), "{position}: {missed:?}");
            // The next event is the one after the snapshot.
            client.call("sessions.update", json!({"sessionId": session, "title": n.to_string()})).await;
            let next = client.find(|f| f["event"] == "session.updated").await;
            assert_eq!(next["seq"].as_u64(), first["seq"].as_u64().map(|seq| seq + 1), "{position}");
            client.close().await;
        }
    });
}

/// The newcomer's own arrival is an event too: the number it will have is still in the future.
#[test]
fn case_21_the_very_next_number_is_in_the_future() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut one = Client::connect(&hub.address, &alice).await;
        let (session, channel, _) = talked(&mut one).await;
        one.call("sessions.update", json!({"sessionId": session, "visibility": "organization"})).await;
        one.until_pong().await;
        let (epoch, seq) = one.positions[&channel].clone();
        let mut two = Client::connect(&hub.address, &bob).await;
        let (first, _) = since(&mut two, &channel, json!({"epoch": epoch, "seq": seq + 1})).await;
        assert_eq!((&first["recovered"], &first["seq"]), (&json!(false), &json!(seq + 1)), "{first}");
        assert_eq!(first["snapshot"]["presence"]["users"], json!(["alice", "bob"]));
    });
}

#[test]
fn case_19_names_that_no_channel_has() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        let long = format!("app:{}", "x".repeat(10_240));
        let names = [
            "session:*".into(),
            "session:>".into(),
            ">".into(),
            "*".into(),
            "".into(),
            ":".into(),
            "app:".into(),
            "app:*".into(),
            "app:a b".into(),
            "app:a\0b".into(),
            "app:../../etc/passwd".into(),
            "app:\u{430}".into(),
            "app:\u{ff41}".into(),
            "app:a\u{200b}".into(),
            "APP:a".into(),
            "\u{ff41}pp:a".into(),
            format!("session:{}", session.to_uppercase()),
            format!("session:{session} "),
            format!("session:{session}\0"),
            format!("Session:{session}"),
            format!("session:../{session}"),
            long.clone(),
        ];
        for name in &names {
            client.send(json!({"type": "subscribe", "channels": [name], "id": "s"})).await;
            let error = client.find(|f| f["type"] == "error").await;
            assert_eq!((&error["code"], &error["channel"]), (&json!("bad_request"), &json!(name)));
            let answer = client.find(|f| f["id"] == "s" && f["type"] == "response").await;
            assert_eq!(answer["result"], json!({"subscribed": [], "refused": {name.as_str(): "bad_request"}}));
            for method in ["channels.presence", "channels.history"] {
                let answer = client.ask(method, json!({"channel": name})).await;
                assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
                assert_eq!(answer["error"]["details"]["field"], "channel", "{answer}");
            }
            client.send(json!({"type": "publish", "channel": name, "event": "e", "id": "p"})).await;
            let error = client.find(|f| f["id"] == "p").await;
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{error}");
        }
        // A user who is called like nobody else is not somebody else.
        for name in ["user:Alice", "user:alice ", "user:\u{430}lice", "user:alic\u{435}", "user:*"] {
            client.send(json!({"type": "subscribe", "channels": [name], "id": "s"})).await;
            let answer = client.find(|f| f["id"] == "s" && f["type"] == "response").await;
            assert_eq!(answer["result"]["refused"], json!({name: "forbidden"}), "{name}");
        }
        assert_eq!(client.until_pong().await.iter().filter(|f| f["type"] == "event").count(), 0);
    });
}

/// Tries to listen; the code it is refused with, on every way there is.
async fn refused(client: &mut Client, channel: &str, position: &Value) -> String {
    let mut codes = Vec::new();
    for since in [json!(null), json!({channel: position})] {
        client.send(json!({"type": "subscribe", "channels": ["app:own", channel], "since": since, "id": "s"})).await;
        let error = client.find(|f| f["type"] == "error").await;
        assert_eq!(error["channel"], channel, "{error}");
        let answer = client.find(|f| f["id"] == "s" && f["type"] == "response").await;
        assert_eq!(answer["result"]["subscribed"], json!(["app:own"]), "what is one's own is not refused with it");
        codes.extend([error["code"].clone(), answer["result"]["refused"][channel].clone()]);
    }
    for method in ["channels.presence", "channels.history"] {
        codes.push(client.ask(method, json!({"channel": channel})).await["error"]["code"].take());
    }
    client.take_waiting();
    codes.dedup();
    assert_eq!(codes.len(), 1, "{channel}: {codes:?}");
    codes[0].as_str().unwrap_or_else(|| panic!("{channel} is open")).to_owned()
}

#[test]
fn case_18_nobody_listens_to_what_is_anothers() {
    run(async {
        let mut hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let (session, channel, (epoch, seq)) = talked(&mut alice).await;
        let project = alice.call("projects.create", json!({"name": "p"})).await["id"].clone();
        let project = format!("project:{}", project.as_str().expect("an id"));
        let position = json!({"epoch": epoch, "seq": seq});
        let mut others = Vec::new();
        for (user, organization, role) in [
            ("bob", "acme", "member"),
            ("ann", "acme", "owner"),
            ("alice", "rival", "owner"),
            ("bob", "rival", "viewer"),
        ] {
            let token = hub.token(user, organization, role);
            let mut client = Client::connect(&hub.address, &token).await;
            let (own, foreign) = (organization == "acme", "not_found".to_owned());
            let private = if own { "forbidden".to_owned() } else { foreign.clone() };
            assert_eq!(refused(&mut client, &channel, &position).await, private, "{user} of {organization}");
            if user != "alice" {
                // The name is one of their own organization, whoever else is called so elsewhere.
                assert_eq!(refused(&mut client, "user:alice", &position).await, "forbidden");
            }
            if !own {
                assert_eq!(refused(&mut client, &project, &position).await, foreign);
                assert_eq!(refused(&mut client, "org:acme", &position).await, foreign);
            }
            others.push(client);
        }
        alice.call("sessions.update", json!({"sessionId": session, "title": "a secret"})).await;
        let turn = alice.say(&session, "a secret").await;
        alice.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        for client in &mut others {
            let heard = client.until_pong().await;
            assert!(heard.iter().all(|frame| frame["channel"] == "app:own"), "{heard:?}");
        }
        // And it is written down who tried, in their own organization's log.
        assert!(hub.terminate().success());
        let tried = ["channels.subscribe", "channels.presence", "channels.history"];
        let (private, foreign) = (tried.map(|what| (what, "forbidden")), tried.map(|what| (what, "not_found")));
        let mut wanted = told("alice@rival", &foreign);
        for who in ["bob@acme", "ann@acme", "bob@rival"] {
            wanted.extend(told(who, &private));
        }
        wanted.extend(told("bob@rival", &foreign));
        assert_eq!(refused_callers(&audit(&hub).await), wanted);
    });
}

#[test]
fn case_20_who_loses_the_right_hears_no_more() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let (alice, bob, eve) = (
            hub.token("alice", "acme", "member"),
            hub.token("bob", "acme", "member"),
            hub.token("eve", "acme", "admin"),
        );
        let mut owner = Client::connect(&hub.address, &alice).await;
        let created = owner.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id").to_owned();
        let channel = format!("session:{session}");
        owner.subscribe(&channel, None).await;
        let mut watcher = Client::connect(&hub.address, &bob).await;
        watcher.subscribe(&channel, None).await;
        let mut bare = Client::connect(&hub.address, &eve).await;
        bare.subscribe_bare(&[&channel]).await;
        let mut flat = Client::connect(&hub.address, &bob).await;
        flat.send(json!({"type": "message", "content": "hello", "sessionId": session})).await;
        flat.find(|f| f["type"] == "message_complete").await;
        flat.until_pong().await;
        for client in [&mut watcher, &mut bare] {
            client.find(|f| f["event"] == "turn.ended").await;
            client.until_pong().await;
        }
        let secret = json!({"sessionId": session, "visibility": "private", "title": "a secret"});
        owner.call("sessions.update", secret).await;
        // The first thing they hear is that it is over; not even what ended it.
        let told = watcher.next().await;
        assert_eq!((&told["type"], &told["channel"]), (&json!("unsubscribed"), &json!(channel)), "{told}");
        assert_eq!(told["code"], "forbidden");
        let told = flat.next().await;
        assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("forbidden")), "{told}");
        let turn = owner.say(&session, "a secret").await;
        owner.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        for client in [&mut watcher, &mut bare, &mut flat] {
            assert_eq!(client.until_pong().await, Vec::<Value>::new());
        }
        let presence = owner.call("channels.presence", json!({"channel": channel})).await;
        assert_eq!(presence, json!({"count": 1, "users": ["alice"]}));
        // Nor can they come back.
        watcher.send(json!({"type": "subscribe", "channels": [channel], "id": "s"})).await;
        let answer = watcher.find(|f| f["type"] == "response").await;
        assert_eq!(answer["result"]["refused"], json!({channel.as_str(): "forbidden"}));
    });
}

/// An administrator who is shut out is nobody who could still answer a question.
#[test]
fn case_20_who_loses_the_right_answers_nothing_any_more() {
    run(async {
        let options = HubOptions::default().set("SWITCHBOARD_APPROVALS__GRACE_SECONDS", 0);
        let hub = Hub::start(options);
        let (alice, eve) = (hub.token("alice", "acme", "member"), hub.token("eve", "acme", "admin"));
        let mut owner = Client::connect(&hub.address, &alice).await;
        let created = owner.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id").to_owned();
        let mut admin = Client::connect(&hub.address, &eve).await;
        admin.subscribe(&format!("session:{session}"), None).await;
        owner.subscribe("user:alice", None).await;
        owner.say(&session, "fetch http://example.org/").await;
        let asked = admin.event("tool.approval_required").await;
        owner.call("sessions.update", json!({"sessionId": session, "visibility": "private"})).await;
        let refused = admin.ask("tools.approve", json!({"requestId": asked["requestId"]})).await;
        assert!(["forbidden"].contains(&refused["error"]["code"].as_str().unwrap_or_default()), "{refused}");
        // Nobody who could answer is left: the question ends at once.
        let told = owner.event("tool.approval_resolved").await;
        assert_eq!((&told["state"], &told["approved"]), (&json!("expired"), &json!(false)));
        assert_eq!(told["reason"], "nobody is left to answer");
    });
}

#[test]
fn case_22_nobody_publishes_the_hubs_own_events() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let (alice, viewer) = (hub.token("alice", "acme", "owner"), hub.token("vic", "acme", "viewer"));
        let mut client = Client::connect(&hub.address, &alice).await;
        let session = client.session().await;
        let project = client.call("projects.create", json!({"name": "p"})).await["id"].clone();
        let project = format!("project:{}", project.as_str().expect("an id"));
        let own = format!("session:{session}");
        let channels = [own.as_str(), "user:alice", "org:acme", project.as_str(), "app:x"];
        client.subscribe_bare(&channels).await;
        for channel in &channels[..4] {
            for event in ["message.created", "custom"] {
                client
                    .send(json!({"type": "publish", "channel": channel, "event": event, "data": {}, "id": "p"}))
                    .await;
                let error = client.find(|f| f["id"] == "p").await;
                assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")), "{error}");
            }
        }
        for event in protocol::events::EVENTS {
            client.send(json!({"type": "publish", "channel": "app:x", "event": event, "data": {}, "id": "p"})).await;
            let error = client.find(|f| f["id"] == "p").await;
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")), "{event}: {error}");
        }
        // A frame that looks like the hub's own is none that a client can send.
        for kind in ["event", "subscribed", "unsubscribed", "response", "text_delta", "approval_request", "error"] {
            client.send(json!({"type": kind, "channel": own, "seq": 9, "epoch": "e", "event": "x", "data": {}})).await;
            let error = client.find(|f| f["type"] == "error").await;
            assert_eq!(
                (&error["code"], &error["details"]["field"]),
                (&json!("bad_request"), &json!("type")),
                "{error}"
            );
        }
        assert_eq!(client.until_pong().await, Vec::<Value>::new());
        let mut viewer = Client::connect(&hub.address, &viewer).await;
        viewer.send(json!({"type": "publish", "channel": "app:x", "event": "e", "id": "p"})).await;
        assert_eq!(viewer.find(|f| f["id"] == "p").await["code"], "forbidden");
    });
}

#[test]
fn case_23_ten_thousand_subscriptions_on_one_socket() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let too_many: Vec<String> = (0..1001).map(|n| format!("app:c{n}")).collect();
        client.send(json!({"type": "subscribe", "channels": too_many, "id": "s"})).await;
        let error = client.find(|f| f["id"] == "s").await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{error}");
        assert_eq!(error["details"]["field"], "channels");
        let (mut subscribed, mut refused) = (0, 0);
        // Ten frames at once: what is under way counts too.
        for frame in 0..10 {
            let names: Vec<String> = (0..1000).map(|n| format!("app:c{}", frame * 1000 + n)).collect();
            client.send(json!({"type": "subscribe", "channels": names, "id": format!("s{frame}")})).await;
        }
        for _ in 0..10 {
            let answer = client.find(|f| f["type"] == "response").await;
            subscribed += answer["result"]["subscribed"].as_array().expect("a list").len();
            let codes = answer["result"]["refused"].as_object().expect("a map");
            assert!(codes.values().all(|code| code == "too_large"), "{answer}");
            refused += codes.len();
        }
        assert_eq!((subscribed, refused), (1000, 9000));
        // The connection lives, and what it listens to it may subscribe to again.
        client.until_pong().await;
        assert_eq!(client.subscribe("app:c7", None).await["recovered"], false);
        client.send(json!({"type": "publish", "channel": "app:c7", "event": "e", "data": 1})).await;
        assert_eq!(client.event("e").await, 1);
        // Who leaves one may take another.
        client.send(json!({"type": "unsubscribe", "channels": ["app:c8"]})).await;
        client.subscribe("app:new", None).await;
    });
}
