//! What a subscriber is told, and when: by the form of its frame.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|f| f["type"].as_str().expect("a type")).collect()
}

#[test]
fn a_bare_subscribe_has_no_answer_but_events() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        let channel = format!("session:{session}");
        client.subscribe_bare(&[&channel, "app:x", "session:sess_0", "app:x"]).await;
        client.call("sessions.update", json!({"sessionId": session, "title": "a"})).await;
        let seen = client.until_pong().await;
        assert_eq!(seen.iter().filter(|f| f["type"] == "subscribed").count(), 0, "{seen:?}");
        let errors: Vec<&Value> = seen.iter().filter(|f| f["type"] == "error").collect();
        assert_eq!(errors.len(), 1, "{seen:?}");
        assert_eq!((&errors[0]["channel"], &errors[0]["code"]), (&json!("session:sess_0"), &json!("bad_request")));
        assert_eq!(seen.iter().filter(|f| f["event"] == "session.updated").count(), 1, "{seen:?}");
    });
}

#[test]
fn an_id_gets_one_subscribed_each_and_a_response_at_the_end() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        let project = client.call("projects.create", json!({"name": "p"})).await["id"].clone();
        let good = [
            format!("session:{session}"),
            "app:one".into(),
            "app:two".into(),
            "user:alice".into(),
            "org:acme".into(),
            format!("project:{}", project.as_str().expect("an id")),
        ];
        let bad = [
            ("user:bob", "forbidden"),
            ("org:other", "not_found"),
            ("session:sess_01930000000070008000000000000000", "not_found"),
            ("project:prj_01930000000070008000000000000000", "not_found"),
            ("nothing:x", "bad_request"),
        ];
        let mut channels: Vec<&str> = good.iter().map(String::as_str).collect();
        channels.extend(bad.iter().map(|(name, _)| *name));
        client.send(json!({"type": "subscribe", "channels": channels, "id": "s"})).await;
        let mut frames = Vec::new();
        loop {
            let frame = client.next().await;
            if frame["type"] == "response" {
                assert_eq!(frame["id"], "s");
                assert_eq!(frame["result"]["subscribed"], json!(good));
                let refused: Value = bad.iter().map(|(name, code)| ((*name).to_owned(), json!(code))).collect();
                assert_eq!(frame["result"]["refused"], refused);
                break;
            }
            frames.push(frame);
        }
        assert_eq!(kinds(&frames), [vec!["subscribed"; good.len()], vec!["error"; bad.len()]].concat(), "{frames:?}");
        for (frame, name) in frames.iter().zip(&channels) {
            assert_eq!(frame["channel"], *name);
        }
        for frame in &frames[..good.len()] {
            let has_state = !frame["channel"].as_str().expect("a name").starts_with("app:");
            assert_eq!(frame["snapshot"].is_object(), has_state, "{frame}");
            assert_eq!(frame["recovered"], false);
        }
        for (frame, (_, code)) in frames[good.len()..].iter().zip(bad) {
            assert_eq!((&frame["code"], &frame["id"]), (&json!(code), &json!("s")), "{frame}");
        }
    });
}

#[test]
fn subscribing_twice_is_one_subscription() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut one = Client::connect(&hub.address, &alice).await;
        let created = one.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id");
        let channel = format!("session:{session}");
        one.subscribe(&channel, None).await;
        let mut two = Client::connect(&hub.address, &bob).await;
        for _ in 0..3 {
            two.subscribe(&channel, None).await;
        }
        two.subscribe_bare(&[&channel, &channel, &channel]).await;
        one.call("sessions.update", json!({"sessionId": session, "title": "a"})).await;
        let seen = two.until_pong().await;
        assert_eq!(seen.iter().filter(|f| f["event"] == "session.updated").count(), 1, "{seen:?}");
        // One goodbye ends it, and it was one presence all the time.
        two.send(json!({"type": "unsubscribe", "channels": [channel, channel, "app:never"], "id": "u"})).await;
        let answer = two.find(|f| f["id"] == "u").await;
        assert_eq!(answer["result"], json!({"unsubscribed": [channel]}));
        let told = one.until_pong().await;
        let presence: Vec<&Value> =
            told.iter().filter(|f| f["event"].as_str().is_some_and(|e| e.starts_with("presence."))).collect();
        let names: Vec<&str> = presence.iter().map(|f| f["event"].as_str().expect("a name")).collect();
        assert_eq!(names, ["presence.joined", "presence.left"], "{told:?}");
        assert_eq!(presence[1]["data"], json!({"userId": "bob", "count": 1}));
        one.call("sessions.update", json!({"sessionId": session, "title": "b"})).await;
        let seen = two.until_pong().await;
        assert_eq!(seen, Vec::<Value>::new());
    });
}

#[test]
fn frames_take_effect_in_the_order_in_which_they_came() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let mut publisher = Client::connect(&hub.address, &token).await;
        for round in 0..20 {
            let channel = format!("app:round{round}");
            let subscribe = json!({"type": "subscribe", "channels": [channel]});
            let unsubscribe = json!({"type": "unsubscribe", "channels": [channel], "id": "u"});
            client.send_together(&[subscribe, unsubscribe]).await;
            let answer = client.find(|f| f["id"] == "u").await;
            assert_eq!(answer["result"]["unsubscribed"], json!([channel]), "round {round}");
            publisher
                .send(json!({"type": "publish", "channel": channel, "event": "e", "data": round, "id": "p"}))
                .await;
            publisher.find(|f| f["id"] == "p").await;
            assert_eq!(client.until_pong().await, Vec::<Value>::new());
        }
    });
}

#[test]
fn a_deleted_session_ends_its_subscriptions() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let (mut one, mut two) =
            (Client::connect(&hub.address, &token).await, Client::connect(&hub.address, &token).await);
        let session = one.session().await;
        let channel = format!("session:{session}");
        one.subscribe(&channel, None).await;
        two.subscribe_bare(&[&channel]).await;
        one.call("sessions.delete", json!({"sessionId": session})).await;
        let told = one.find(|f| f["type"] == "unsubscribed").await;
        assert_eq!((&told["channel"], &told["code"]), (&json!(channel), &json!("not_found")));
        // Who asked for no words about the channel's state hears the event, and no more.
        let seen = two.until_pong().await;
        assert_eq!(seen.last().map(|f| f["data"]["deleted"].clone()), Some(json!(true)), "{seen:?}");
        assert_eq!(one.refused("sessions.get", json!({"sessionId": session})).await, "not_found");
        let refused = one.ask("sessions.get", json!({"sessionId": session})).await;
        let unknown = one.ask("sessions.get", json!({"sessionId": "sess_01930000000070008000000000000000"})).await;
        assert_eq!(refused["error"], unknown["error"]);
    });
}

/// Greetings of many channels are together more than a queue holds: they come one after the other.
#[test]
fn many_large_snapshots_do_not_cut_the_socket_that_asked_for_them() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_LIMITS__HARD_QUEUE_BYTES", 600_000)
            .set("SWITCHBOARD_LIMITS__SEND_BUFFER_BYTES", 16_384);
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect_narrow(&hub.address, &token, 16_384).await;
        let text = "x".repeat(200_000);
        let mut channels = Vec::new();
        for _ in 0..8 {
            let session = client.session().await;
            client.call("sessions.pause", json!({"sessionId": session})).await;
            client.say(&session, &text).await;
            channels.push(format!("session:{session}"));
        }
        client.send(json!({"type": "subscribe", "channels": channels, "id": "s"})).await;
        let answer = client.find(|f| f["id"] == "s").await;
        assert_eq!(answer["result"]["subscribed"], json!(channels));
        for channel in &channels {
            let told = client.find(|f| f["type"] == "subscribed" && f["channel"] == channel.as_str()).await;
            assert_eq!(told["snapshot"]["messages"][0]["parts"][0]["text"], text.as_str());
        }
    });
}
