//! Who comes and goes is told where the configuration says so, and by name up to the number that it says.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

fn told(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|f| f["event"].as_str().is_some_and(|name| name.starts_with("presence."))).collect()
}

#[test]
fn other_kinds_of_channels_tell_it_by_setting() {
    run(async {
        for (kinds, tells) in [("session", false), ("session,app,org", true)] {
            let options = HubOptions::default()
                .set("SWITCHBOARD_SERVER__WORKERS", 3)
                .set("SWITCHBOARD_CHANNELS__PRESENCE", kinds);
            let hub = Hub::start(options);
            let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
            let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
            for channel in ["app:news", "org:acme"] {
                alice.subscribe(channel, None).await;
                bob.subscribe(channel, None).await;
                let of_bob = |name: &'static str| {
                    move |f: &Value| f["channel"] == channel && f["event"] == name && f["data"]["userId"] == "bob"
                };
                if tells {
                    assert_eq!(alice.find(of_bob("presence.joined")).await["data"]["count"], 2);
                }
                bob.send(json!({"type": "unsubscribe", "channels": [channel]})).await;
                bob.until_pong().await;
                if tells {
                    assert_eq!(alice.find(of_bob("presence.left")).await["data"]["count"], 1);
                }
                // Asked, a channel says it either way.
                let there = alice.call("channels.presence", json!({"channel": channel})).await;
                assert_eq!(there["users"][0], "alice", "{there}");
            }
            alice.send(json!({"type": "publish", "channel": "app:news", "event": "last", "data": null})).await;
            alice.event("last").await;
            let frames = alice.take_waiting();
            assert!(tells || told(&frames).is_empty(), "{frames:?}");
        }
    });
}

#[test]
fn a_session_that_is_left_out_tells_nothing() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_CHANNELS__PRESENCE", "app"));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        alice.say(&session, "hello").await;
        alice.event("turn.ended").await;
        alice.until_pong().await;
        let frames = alice.take_waiting();
        assert_eq!(told(&frames), Vec::<&Value>::new());
        let position = &alice.positions[&format!("session:{session}")];
        assert_ne!(position.1, 0, "it does tell of the turn");
    });
}

#[test]
fn above_the_number_that_is_set_presence_is_a_count() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_CHANNELS__PRESENCE_MEMBERS", 1));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let shared = alice.call("sessions.create", json!({"visibility": "organization"})).await;
        let channel = format!("session:{}", shared["id"].as_str().expect("an id"));
        let first = alice.subscribe(&channel, None).await;
        assert_eq!(first["snapshot"]["presence"], json!({"count": 1, "users": ["alice"]}));
        let second = bob.subscribe(&channel, None).await;
        assert_eq!(second["snapshot"]["presence"], json!({"count": 2}));
        assert_eq!(alice.event("presence.joined").await, json!({"count": 2}));
        assert_eq!(alice.call("channels.presence", json!({"channel": channel})).await, json!({"count": 2}));
        bob.close().await;
        assert_eq!(alice.event("presence.left").await, json!({"count": 1}));
        let there = alice.call("channels.presence", json!({"channel": channel})).await;
        assert_eq!(there, json!({"count": 1, "users": ["alice"]}));
    });
}
