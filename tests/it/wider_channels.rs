//! What a user's, a project's and an organization's channels tell of their sessions.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

fn names(frames: &[Value], channel: &str) -> Vec<String> {
    let of_channel = frames.iter().filter(|f| f["channel"] == channel && f["type"] == "event");
    of_channel.filter_map(|f| f["event"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_user_hears_of_all_its_sessions_and_a_project_of_the_shared_ones() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let project = alice.call("projects.create", json!({"name": "p"})).await["id"].take();
        let channel = format!("project:{}", project.as_str().expect("an id"));
        alice.subscribe("user:alice", None).await;
        for name in ["user:bob", "org:acme", channel.as_str()] {
            assert_eq!(bob.subscribe(name, None).await["seq"], 0, "{name}");
        }
        // A private one: its user alone hears of it.
        let private = alice.call("sessions.create", json!({"projectId": project, "title": "mine"})).await;
        let told = alice.event("session.updated").await;
        assert_eq!(told, json!({"session": private}));
        alice.say(private["id"].as_str().expect("an id"), "hello").await;
        while alice.event("agent.status_changed").await["status"] != "idle" {}
        assert_eq!(bob.until_pong().await, Vec::<Value>::new());
        // A shared one: the project hears the same.
        let shared = json!({"projectId": project, "visibility": "organization"});
        let shared = alice.call("sessions.create", shared).await;
        alice.until_pong().await;
        let id = shared["id"].as_str().expect("an id");
        assert_eq!(bob.event("session.updated").await, json!({"session": shared}));
        alice.say(id, "fetch http://example.org/").await;
        let asked = alice.event("tool.approval_required").await;
        alice.call("tools.reject", json!({"requestId": asked["requestId"]})).await;
        alice.event("tool.approval_resolved").await;
        alice.call("sessions.delete", json!({"sessionId": id})).await;
        let seen = loop {
            let seen = bob.until_pong().await;
            if seen.iter().any(|f| f["data"]["deleted"] == true) {
                break seen;
            }
        };
        assert!(names(&seen, &channel).iter().all(|n| n == "session.updated" || n == "agent.status_changed"));
        assert_eq!((names(&seen, "user:bob").len(), names(&seen, "org:acme").len()), (0, 0));
    });
}

#[test]
fn a_users_channel_is_resumed_or_begun_anew() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_CHANNELS__HISTORY_EVENTS", 20));
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let first = one.subscribe("user:alice", None).await;
        assert_eq!(first["snapshot"], json!({"sessions": [], "approvals": []}));
        let epoch = first["epoch"].as_str().expect("an epoch").to_owned();
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(one.session().await);
        }
        let mut two = Client::connect(&hub.address, &token).await;
        let back = two.subscribe("user:alice", Some((&epoch, 2))).await;
        assert_eq!((&back["recovered"], &back["seq"]), (&json!(true), &json!(2)));
        for id in &made[2..] {
            assert_eq!(two.event("session.updated").await["session"]["id"], id.as_str());
        }
        for _ in 0..25 {
            one.session().await;
        }
        for since in [Some((epoch.as_str(), 2)), Some(("nothing", 5)), Some((epoch.as_str(), 1 << 40)), None] {
            let anew = two.subscribe("user:alice", since).await;
            assert_eq!((&anew["recovered"], &anew["seq"]), (&json!(false), &json!(30)), "{since:?}");
            assert_eq!(anew["snapshot"]["sessions"].as_array().map(Vec::len), Some(30), "{since:?}");
        }
    });
}

/// A reader of a user's channel that is too slow for its ring is cut off and comes back: here no snapshot can be put
/// between two events.
#[test]
fn a_users_channel_that_was_lost_is_begun_anew_by_a_new_line() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_CHANNELS__HISTORY_EVENTS", 10)
            .set("SWITCHBOARD_LIMITS__SOFT_QUEUE_BYTES", 8192)
            .set("SWITCHBOARD_LIMITS__SEND_BUFFER_BYTES", 8192);
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let mut owner = Client::connect(&hub.address, &token).await;
        let mut slow = Client::connect_narrow(&hub.address, &token, 4096).await;
        slow.subscribe("user:alice", None).await;
        for _ in 0..200 {
            owner.session().await;
        }
        assert_eq!(slow.until_closed().await, 1013);
        let anew = owner.subscribe("user:alice", slow.positions.get("user:alice").map(|(e, s)| (e.as_str(), *s))).await;
        assert_eq!((&anew["recovered"], &anew["seq"]), (&json!(false), &json!(200)));
        assert_eq!(anew["snapshot"]["sessions"].as_array().map(Vec::len), Some(50));
    });
}
