//! Channels: counted, looked into, published to; and what is told to organizations.

use serde_json::{Value, json};

use super::{NOBODYS, client, http, hub, items, pages, root, row, rows};
use crate::support::run;

const CHANNELS: &str = "/api/v1/admin/channels";

fn counts(list: &[Value]) -> Vec<(&str, u64)> {
    let count = |c: &'_ Value| c["subscribers"].as_u64().expect("a count");
    list.iter().map(|c| (c["channel"].as_str().expect("a name"), count(c))).collect()
}

#[test]
fn channels_are_counted_over_all_workers_and_by_organization() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let mut bob = client(&hub, "bob", "acme").await;
        let mut mallory = client(&hub, "mallory", "rival").await;
        let session = alice.session().await;
        let session = format!("session:{session}");
        for channel in ["app:a", "app:b", "org:acme", "user:alice", &session] {
            alice.subscribe(channel, None).await;
        }
        bob.subscribe("app:a", None).await;
        mallory.subscribe("app:a", None).await;
        mallory.subscribe("app:theirs", None).await;
        bob.send(json!({"type": "publish", "channel": "app:kept", "event": "e", "data": 1, "id": "p"})).await;
        bob.find(|f| f["id"] == "p").await;

        let all = items(&ann, CHANNELS).await;
        let wanted = [("app:a", 2), ("app:b", 1), ("app:kept", 0), ("org:acme", 1), (&session, 1), ("user:alice", 1)];
        assert_eq!(counts(&all), wanted);
        assert_eq!(counts(&items(&ann, &format!("{CHANNELS}?prefix=app:")).await), &wanted[..3]);
        for limit in 1..=4 {
            assert_eq!(counts(&pages(&ann, &format!("{CHANNELS}?"), limit).await), wanted, "{limit}");
        }
        let rival = http(&hub, "rae", "rival", "admin");
        assert_eq!(counts(&items(&rival, CHANNELS).await), [("app:a", 1), ("app:theirs", 1)]);
    });
}

#[test]
fn who_listens_is_told_and_another_organizations_channel_does_not_exist() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let rival = http(&hub, "rae", "rival", "owner");
        let mut alice = client(&hub, "alice", "acme").await;
        let mut bob = client(&hub, "bob", "acme").await;
        let session = alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        alice.subscribe("app:team/one", None).await;
        bob.subscribe("app:team/one", None).await;
        let path = format!("{CHANNELS}/app:team%2Fone/subscribers");
        let all = items(&ann, &path).await;
        let connections = items(&ann, "/api/v1/admin/connections").await;
        let mut users = Vec::new();
        for one in &all {
            assert_eq!((&one["role"], &one["wire"]), (&json!("member"), &json!("native")), "{one}");
            let connection = connections.iter().find(|c| c["id"] == one["connectionId"]).expect("it is connected");
            assert_eq!(connection["userId"], one["userId"]);
            users.push(one["userId"].as_str().expect("a user"));
        }
        users.sort_unstable();
        assert_eq!(users, ["alice", "bob"]);
        assert_eq!(pages(&ann, &format!("{path}?"), 1).await, all);
        let private = items(&ann, &format!("{CHANNELS}/session:{session}/subscribers")).await;
        assert_eq!((private.len(), &private[0]["userId"]), (1, &json!("alice")));

        for what in ["subscribers", "history"] {
            let real = rival.get(&format!("{CHANNELS}/session:{session}/{what}")).await;
            let unreal = rival.get(&format!("{CHANNELS}/session:sess_{NOBODYS}/{what}")).await;
            assert_eq!((real.status, real.without_id()), (404, unreal.without_id()), "{what}");
            let unknown = rival.get(&format!("{CHANNELS}/app:nothing/{what}")).await;
            for channel in ["app:team%2Fone", "org:acme", "user:alice", "what", "host:*"] {
                let real = rival.get(&format!("{CHANNELS}/{channel}/{what}")).await;
                assert_eq!((real.status, real.without_id()), (404, unknown.without_id()), "{channel} {what}");
            }
        }
    });
}

#[test]
fn a_channels_newest_events_are_read_and_that_is_written_down() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        for n in 1..=3 {
            let data = json!({"n": n});
            alice.send(json!({"type": "publish", "channel": "app:a", "event": "e", "data": data, "id": "p"})).await;
            alice.find(|f| f["id"] == "p").await;
        }
        let read = ann.ok("GET", &format!("{CHANNELS}/app:a/history?limit=2"), Value::Null).await;
        let ns: Vec<_> = read["events"].as_array().expect("events").iter().map(|e| &e["data"]["n"]).collect();
        assert_eq!((ns, &read["seq"], &read["recovered"]), (vec![&json!(2), &json!(3)], &json!(3), &json!(true)));

        let session = alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        let turn = alice.say(&session, "walrus").await;
        alice.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        let read = ann.ok("GET", &format!("{CHANNELS}/session:{session}/history"), Value::Null).await;
        assert!(read["events"].to_string().contains("walrus"), "{read}");
        assert_eq!(rows(&ann, "admin.channels.history").await, [row("app:a", "")]);
        assert_eq!(rows(&ann, "admin.sessions.read").await, [row(&format!("session:{session}"), "")]);
    });
}

#[test]
fn an_administrator_publishes_to_its_own_organizations_channel() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let mut mallory = client(&hub, "mallory", "rival").await;
        let epoch = alice.subscribe("app:deploys", None).await["epoch"].take();
        mallory.subscribe("app:deploys", None).await;
        let event = json!({"channel": "app:deploys", "event": "started", "data": {"version": 7}});
        let placed = ann.ok("POST", "/api/v1/admin/publish", event).await;
        assert_eq!(placed, json!({"epoch": epoch, "seq": 1}));
        let heard = alice.find(|f| f["type"] == "event").await;
        assert_eq!((&heard["event"], &heard["data"]), (&json!("started"), &json!({"version": 7})));
        assert_eq!(mallory.until_pong().await, Vec::<Value>::new());
        for (body, status) in [
            (json!({"channel": "app:deploys", "event": "broadcast"}), 403),
            (json!({"channel": "org:acme", "event": "e"}), 403),
            (json!({"channel": "app:*", "event": "e"}), 400),
            (json!({"channel": "app:deploys"}), 400),
            (json!({"event": "e"}), 400),
            (json!([]), 400),
        ] {
            let answer = ann.post("/api/v1/admin/publish", body.clone()).await;
            assert_eq!(answer.status, status, "{body}: {answer:?}");
        }
        // What is refused stands there too, once somebody has counted it.
        let done: Vec<_> = rows(&ann, "admin.publish").await.into_iter().filter(|row| row.1 != "refused").collect();
        assert_eq!(done, [row("app:deploys", "")]);
        assert_eq!(alice.until_pong().await, Vec::<Value>::new());
    });
}

#[test]
fn a_broadcast_reaches_one_organization_and_that_of_the_hub_all() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let root = root(&hub);
        let mut inside = vec![client(&hub, "alice", "acme").await, client(&hub, "bob", "acme").await];
        for one in &mut inside {
            one.subscribe("org:acme", None).await;
        }
        let mut deaf = client(&hub, "carol", "acme").await;
        let mut outside = client(&hub, "mallory", "rival").await;
        outside.subscribe("org:rival", None).await;

        let wish = json!({"message": "maintenance at noon", "data": {"minutes": 5}});
        let told = ann.ok("POST", "/api/v1/admin/broadcast", wish.clone()).await;
        assert_eq!(told, json!({"organizations": 1, "subscribers": 2}));
        let mut own = wish.clone();
        (own["scope"], own["by"]) = (json!("organization"), json!("ann"));
        for one in &mut inside {
            assert_eq!(one.event("broadcast").await, own);
        }
        assert_eq!(outside.until_pong().await, Vec::<Value>::new());
        let foreign = ann.post("/api/v1/admin/broadcast?organization=rival", wish.clone()).await;
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"));
        assert_eq!(ann.post("/api/v1/admin/broadcast/all", wish.clone()).await.status, 403);
        assert_eq!(outside.until_pong().await, Vec::<Value>::new());

        // Whoever administers the hub has no name in somebody else's organization.
        root.ok("POST", "/api/v1/admin/broadcast?organization=rival", json!({"message": "only you"})).await;
        assert_eq!(outside.event("broadcast").await, json!({"message": "only you", "scope": "organization"}));
        let told = root.ok("POST", "/api/v1/admin/broadcast/all", json!({"message": "all"})).await;
        assert_eq!(told, json!({"organizations": 2, "subscribers": 3}));
        for one in inside.iter_mut().chain([&mut outside]) {
            assert_eq!(one.event("broadcast").await, json!({"message": "all", "scope": "hub"}));
        }
        assert_eq!(deaf.until_pong().await, Vec::<Value>::new());
        for body in [json!({}), json!({"message": " "}), json!({"message": "x".repeat(4097)})] {
            assert_eq!(ann.post("/api/v1/admin/broadcast", body).await.status, 400);
        }
        assert_eq!(rows(&ann, "admin.broadcast").await, [row("", "")]);
        // What concerns the whole hub is in nobody's record but the hub's.
        assert_eq!(rows(&ann, "admin.broadcast_all").await, []);
        let hubs = items(&root, "/api/v1/admin/audit?organization=*&action=admin.broadcast_all").await;
        assert!(hubs.iter().any(|r| r["outcome"].is_null() && r["organization"].is_null()), "{hubs:?}");
    });
}

#[test]
fn what_is_published_arrives_letter_for_letter() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let data = r#"{"id":123456789012345678901234567890,"price":1.10,"b":1,"a":[1e2]}"#;
        let body = format!(r#"{{"channel":"app:deploys","event":"started","data":{data}}}"#);
        assert_eq!(ann.send("POST", "/api/v1/admin/publish", &[], body.as_bytes()).await.status, 200);
        let kept = ann.get(&format!("{CHANNELS}/app:deploys/history")).await;
        assert!(kept.text().contains(data), "{}", kept.text());
        for bad in [r#""\ud800""#, "1e999"] {
            let body = format!(r#"{{"channel":"app:deploys","event":"started","data":{bad}}}"#);
            let refused = ann.send("POST", "/api/v1/admin/publish", &[], body.as_bytes()).await;
            assert_eq!((refused.status, &refused.json()["error"]["details"]["field"]), (400, &json!("data")), "{bad}");
        }
    });
}
