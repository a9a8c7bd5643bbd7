//! `app:` channels: what one publishes all subscribers hear, and the newest is remembered for a while.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

async fn publish(client: &mut Client, channel: &str, data: Value) -> Value {
    client.send(json!({"type": "publish", "channel": channel, "event": "e", "data": data, "id": "p"})).await;
    client.find(|f| f["id"] == "p").await
}

#[test]
fn an_event_goes_to_all_and_its_place_to_the_publisher() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(&hub.address, &token).await;
            client.subscribe("app:x", None).await;
            clients.push(client);
        }
        let answer = publish(&mut clients[0], "app:x", json!({"a": [1, 2.5, "\u{1f600}", null]})).await;
        let epoch = clients[0].positions["app:x"].0.clone();
        assert_eq!(answer, json!({"type": "response", "id": "p", "result": {"epoch": epoch, "seq": 1}}));
        // What has no data carries null; without an id there is no answer.
        clients[1].send(json!({"type": "publish", "channel": "app:x", "event": "none"})).await;
        for client in &mut clients {
            let event = client.find(|f| f["seq"] == 1).await;
            assert_eq!(event["data"], json!({"a": [1, 2.5, "\u{1f600}", null]}));
            assert_eq!((&event["event"], &event["epoch"]), (&json!("e"), &json!(epoch)));
            assert!(event["ts"].as_i64().is_some_and(|ts| ts > 1_700_000_000_000), "{event}");
            assert_eq!(client.find(|f| f["seq"] == 2).await["data"], Value::Null);
        }
        assert_eq!(clients[1].until_pong().await, Vec::<Value>::new());
    });
}

#[test]
fn history_holds_the_newest_within_its_limits() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_CHANNELS__HISTORY_EVENTS", 10)
            .set("SWITCHBOARD_CHANNELS__HISTORY_BYTES", 20_000);
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let seqs = |history: &Value| -> Vec<u64> {
            history["events"].as_array().expect("events").iter().filter_map(|e| e["seq"].as_u64()).collect()
        };
        for n in 1..=30 {
            publish(&mut client, "app:x", json!(n)).await;
        }
        let history = client.call("channels.history", json!({"channel": "app:x"})).await;
        assert_eq!(seqs(&history), (21..=30).collect::<Vec<u64>>());
        assert_eq!((&history["seq"], &history["recovered"]), (&json!(30), &json!(true)));
        let (epoch, first) = (history["epoch"].clone(), &history["events"][0]);
        assert_eq!((&first["data"], &first["channel"], &first["epoch"]), (&json!(21), &json!("app:x"), &epoch));
        let newest = client.call("channels.history", json!({"channel": "app:x", "limit": 3})).await;
        assert_eq!(seqs(&newest), [28, 29, 30]);
        let since = |seq: u64| json!({"channel": "app:x", "since": {"epoch": epoch, "seq": seq}});
        assert_eq!(seqs(&client.call("channels.history", since(27)).await), [28, 29, 30]);
        for seq in [19, 31] {
            let lost = client.call("channels.history", since(seq)).await;
            assert_eq!((&lost["recovered"], &lost["events"]), (&json!(false), &json!([])), "{seq}");
        }
        // A large one pushes the small ones out, one that is larger than all leaves nothing.
        publish(&mut client, "app:x", json!("x".repeat(18_000))).await;
        let history = client.call("channels.history", json!({"channel": "app:x"})).await;
        assert_eq!(seqs(&history).last(), Some(&31));
        assert!(seqs(&history).len() < 10, "{:?}", seqs(&history));
        publish(&mut client, "app:x", json!("x".repeat(100_000))).await;
        let history = client.call("channels.history", json!({"channel": "app:x"})).await;
        assert_eq!((seqs(&history), &history["seq"]), (vec![], &json!(32)));
    });
}

#[test]
fn viewers_listen_and_do_not_publish() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut member = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let mut viewer = Client::connect(&hub.address, &hub.token("vic", "acme", "viewer")).await;
        viewer.subscribe("app:x", None).await;
        let refused = publish(&mut viewer, "app:x", json!(1)).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("forbidden")));
        // Also without an id it is told.
        viewer.send(json!({"type": "publish", "channel": "app:x", "event": "e"})).await;
        assert_eq!(viewer.find(|f| f["type"] == "error").await["code"], "forbidden");
        publish(&mut member, "app:x", json!(2)).await;
        assert_eq!(viewer.event("e").await, 2);
    });
}

#[test]
fn presence_counts_users_not_connections() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut one = Client::connect(&hub.address, &alice).await;
        let mut two = Client::connect(&hub.address, &alice).await;
        let mut three = Client::connect(&hub.address, &bob).await;
        let nobody = one.call("channels.presence", json!({"channel": "app:x"})).await;
        assert_eq!(nobody["count"], 0);
        for client in [&mut one, &mut two, &mut three] {
            client.subscribe("app:x", None).await;
        }
        let all = one.call("channels.presence", json!({"channel": "app:x"})).await;
        assert_eq!(all, json!({"count": 2, "users": ["alice", "bob"]}));
        two.send(json!({"type": "unsubscribe", "channels": ["app:x"], "id": "u"})).await;
        two.find(|f| f["id"] == "u").await;
        three.send(json!({"type": "unsubscribe", "channels": ["app:x"], "id": "u"})).await;
        three.find(|f| f["id"] == "u").await;
        let left = one.call("channels.presence", json!({"channel": "app:x"})).await;
        assert_eq!(left, json!({"count": 1, "users": ["alice"]}));
        // Application channels tell nobody who comes and goes.
        assert_eq!(one.until_pong().await, Vec::<Value>::new());
    });
}

#[test]
fn data_that_some_reader_could_not_take_is_refused() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        client.subscribe("app:x", None).await;
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for data in ["\"\\ud800\"", "{\"\\udc00\":1}", "1e999", "[-1e400]", &deep] {
            let frame = format!(r#"{{"type":"publish","channel":"app:x","event":"e","data":{data},"id":"p"}}"#);
            client.send_text(&frame).await;
            let error = client.find(|f| f["id"] == "p").await;
            assert_eq!(
                (&error["code"], &error["details"]["field"]),
                (&json!("bad_request"), &json!("data")),
                "{error}"
            );
        }
        for event in ["", "a\nb", &"x".repeat(129)] {
            client.send(json!({"type": "publish", "channel": "app:x", "event": event, "id": "p"})).await;
            let error = client.find(|f| f["id"] == "p").await;
            assert_eq!(
                (&error["code"], &error["details"]["field"]),
                (&json!("bad_request"), &json!("event")),
                "{error}"
            );
        }
        assert_eq!(client.until_pong().await, Vec::<Value>::new());
    });
}
