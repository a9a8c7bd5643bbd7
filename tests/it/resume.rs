//! A client that comes back gets exactly what it missed, or the whole anew; never a gap, never a repeat.

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, Mirror, run};

/// A session with one finished turn, and its mirror's position.
pub async fn talked(client: &mut Client) -> (String, String, (String, u64)) {
    let session = client.session().await;
    let channel = format!("session:{session}");
    let mut mirror = Mirror::default();
    mirror.apply(&client.subscribe(&channel, None).await);
    let turn = client.say(&session, "hello").await;
    mirror.follow(client, &turn).await;
    client.until_pong().await.iter().for_each(|f| mirror.apply(f));
    (session, channel, mirror.position.expect("a position"))
}

/// Subscribes with a literal `since`; the `subscribed` frame and all until the response.
pub async fn since(client: &mut Client, channel: &str, since: Value) -> (Value, Vec<Value>) {
    client.positions.remove(channel);
    client.send(json!({"type": "subscribe", "channels": [channel], "since": {channel: since}, "id": "s"})).await;
    let first = client.find(|f| f["type"] == "subscribed" || f["type"] == "error").await;
    let mut missed = Vec::new();
    loop {
        let frame = client.next().await;
        if frame["type"] == "response" && frame["id"] == "s" {
            return (first, missed);
        }
        missed.push(frame);
    }
}

#[test]
fn the_missed_events_come_and_nothing_else() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let (_, channel, (epoch, seq)) = talked(&mut one).await;
        // Everything is known: nothing follows but one's own return.
        let mut two = Client::connect(&hub.address, &token).await;
        let (first, missed) = since(&mut two, &channel, json!({"epoch": epoch, "seq": seq})).await;
        assert_eq!((&first["recovered"], &first["seq"], &first["epoch"]), (&json!(true), &json!(seq), &json!(epoch)));
        assert!(first["snapshot"].is_null() && missed.is_empty(), "{missed:?}");
        // From each place in between, what follows is the rest of the same list.
        let (first, all) = since(&mut two, &channel, json!({"epoch": epoch, "seq": 1})).await;
        assert_eq!((&first["recovered"], &first["seq"]), (&json!(true), &json!(1)));
        let numbers: Vec<u64> = all.iter().map(|f| f["seq"].as_u64().expect("a seq")).collect();
        assert_eq!(numbers.last(), Some(&seq));
        for from in [2, seq / 2, seq - 1] {
            let (_, missed) = since(&mut two, &channel, json!({"epoch": epoch, "seq": from})).await;
            assert_eq!(missed[0]["fromSeq"].as_u64().or(missed[0]["seq"].as_u64()), Some(from + 1));
            assert_eq!(missed.last().expect("events")["seq"], seq);
            let text =
                |frames: &[Value]| -> String { frames.iter().filter_map(|f| f["data"]["delta"].as_str()).collect() };
            assert!(text(&all).ends_with(&text(&missed)), "{missed:?}");
        }
    });
}

#[test]
fn who_fell_out_of_the_ring_gets_the_whole() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_LIMITS__RING_EVENTS", 40));
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let (session, channel, (epoch, seq)) = talked(&mut one).await;
        let mut mirror = Mirror::default();
        mirror.apply(&one.subscribe(&channel, None).await);
        let turn = one.say(&session, "long 100").await;
        mirror.follow(&mut one, &turn).await;
        one.until_pong().await.iter().for_each(|f| mirror.apply(f));
        let mut two = Client::connect(&hub.address, &token).await;
        let (first, missed) = since(&mut two, &channel, json!({"epoch": epoch, "seq": seq})).await;
        assert_eq!((&first["recovered"], missed.len()), (&json!(false), 0), "{first}");
        let mut late = Mirror::default();
        late.apply(&first);
        assert_eq!(late.answers(), mirror.answers());
        // What is near is still there: a ring forgets its oldest, not all at once.
        let now = mirror.position.expect("a position").1;
        let (first, missed) = since(&mut two, &channel, json!({"epoch": epoch, "seq": now - 20})).await;
        assert_eq!(first["recovered"], true, "{first}");
        assert_eq!(missed.last().expect("events")["seq"], now);
    });
}

#[test]
fn who_drops_in_mid_answer_ends_with_the_same_text() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut steady = Client::connect(&hub.address, &token).await;
        let session = steady.session().await;
        let channel = format!("session:{session}");
        let mut whole = Mirror::default();
        whole.apply(&steady.subscribe(&channel, None).await);
        let turn = steady.say(&session, "think long 2000").await;
        let mut shaky = Mirror::default();
        let mut recovered = 0;
        while !shaky.ended.contains(&turn) {
            let mut client = Client::connect(&hub.address, &token).await;
            let position = shaky.position.clone();
            let since = position.as_ref().map(|(epoch, seq)| (epoch.as_str(), *seq));
            let first = client.subscribe(&channel, since).await;
            recovered += usize::from(first["recovered"] == true);
            shaky.apply(&first);
            // A while later the line breaks, without a goodbye.
            for _ in 0..150 {
                if shaky.ended.contains(&turn) {
                    break;
                }
                let frame = client.next().await;
                shaky.apply(&frame);
            }
        }
        whole.follow(&mut steady, &turn).await;
        assert!(recovered > 3, "only {recovered} returns");
        assert_eq!(shaky.answers(), whole.answers());
        assert_eq!(shaky.messages, whole.messages);
        whole.must_equal_the_store(&mut steady, &session).await;
    });
}

#[test]
fn a_snapshot_and_what_follows_it_are_the_whole() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let token = hub.token("alice", "acme", "member");
        let mut owner = Client::connect(&hub.address, &token).await;
        let session = owner.session().await;
        let channel = format!("session:{session}");
        let first = owner.say(&session, "think time todo").await;
        let last = owner.say(&session, "long 400").await;
        let mut mirrors = Vec::new();
        // One joins after the other while the answers grow; each begins with a snapshot of its own moment.
        for _ in 0..12 {
            let mut client = Client::connect(&hub.address, &token).await;
            let mut mirror = Mirror::default();
            mirror.apply(&client.subscribe(&channel, None).await);
            for _ in 0..10 {
                if !mirror.ended.contains(&last) {
                    let frame = client.next().await;
                    mirror.apply(&frame);
                }
            }
            mirrors.push((client, mirror));
        }
        for (mut client, mut mirror) in mirrors {
            mirror.follow(&mut client, &last).await;
            assert!(mirror.ended.contains(&first));
            mirror.must_equal_the_store(&mut owner, &session).await;
        }
    });
}

#[test]
fn after_a_kill_all_converge_to_what_is_stored() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let mut one = Client::connect(&hub.address, &token).await;
        let (session, channel, (epoch, seq)) = talked(&mut one).await;
        let hub = hub.kill_and_restart();
        let mut two = Client::connect(&hub.address, &token).await;
        let (first, _) = since(&mut two, &channel, json!({"epoch": epoch, "seq": seq})).await;
        assert_eq!((&first["recovered"], &first["seq"]), (&json!(false), &json!(1)), "{first}");
        assert_ne!(first["epoch"], epoch);
        let mut mirror = Mirror::default();
        mirror.apply(&first);
        mirror.must_equal_the_store(&mut two, &session).await;
    });
}
