//! A slow client costs a bounded amount of memory and slows nobody; it catches up, or it is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Dice, Hub, HubOptions, Mirror, run};

/// Bytes that a reader takes in a second.
const RATE: u64 = 10_000;

fn narrow() -> HubOptions {
    HubOptions::default()
        .set("SWITCHBOARD_SERVER__WORKERS", 2)
        .set("SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS", 0)
        .set("SWITCHBOARD_LIMITS__SOFT_QUEUE_BYTES", 8192)
        .set("SWITCHBOARD_LIMITS__SEND_BUFFER_BYTES", 8192)
}

/// Takes frames at that rate until the turn has ended.
async fn read_slowly(client: &mut Client, mirror: &mut Mirror, turn: &str) {
    while !mirror.ended.iter().any(|t| t == turn) {
        let frame = client.next().await;
        tokio::time::sleep(Duration::from_millis(frame.to_string().len() as u64 * 1000 / RATE)).await;
        mirror.apply(&frame);
    }
}

async fn a_slow_reader_ends_with_the_same_text(options: HubOptions) -> Mirror {
    let hub = Hub::start(options);
    let token = hub.token("alice", "acme", "member");
    let mut fast = Client::connect(&hub.address, &token).await;
    let session = fast.session().await;
    let channel = format!("session:{session}");
    let mut slow = Client::connect_narrow(&hub.address, &token, 4096).await;
    let (mut whole, mut late) = (Mirror::default(), Mirror::default());
    whole.apply(&fast.subscribe(&channel, None).await);
    late.apply(&slow.subscribe(&channel, None).await);
    let turn = fast.say(&session, "long 4000").await;
    whole.follow(&mut fast, &turn).await;
    read_slowly(&mut slow, &mut late, &turn).await;
    assert_eq!(late.answers(), whole.answers());
    assert_eq!(late.messages, whole.messages);
    late
}

#[test]
fn a_reader_of_10_kb_a_second_catches_up_by_merged_deltas() {
    run(async {
        let late = a_slow_reader_ends_with_the_same_text(narrow().set("SWITCHBOARD_LIMITS__RING_EVENTS", 8192)).await;
        assert_eq!(late.snapshots, 1);
        assert!(late.merged > 0, "nothing was merged");
    });
}

#[test]
fn a_reader_that_falls_out_of_the_ring_catches_up_by_a_snapshot() {
    run(async {
        let late = a_slow_reader_ends_with_the_same_text(narrow().set("SWITCHBOARD_LIMITS__RING_EVENTS", 64)).await;
        assert!(late.snapshots > 1, "it never fell out of the ring");
    });
}

/// A slow reader of several sessions that also subscribes again in between, behind as it is.
#[test]
fn a_slow_reader_of_many_channels_catches_up_on_each() {
    run(async {
        for ring in [8192, 64] {
            let hub = Hub::start(narrow().set("SWITCHBOARD_LIMITS__RING_EVENTS", ring));
            let token = hub.token("alice", "acme", "member");
            let mut fast = Client::connect(&hub.address, &token).await;
            let mut slow = Client::connect_narrow(&hub.address, &token, 4096).await;
            let mut copies: BTreeMap<String, (Mirror, String)> = BTreeMap::new();
            for _ in 0..4 {
                let session = fast.session().await;
                let channel = format!("session:{session}");
                let mut mirror = Mirror::default();
                mirror.apply(&slow.subscribe(&channel, None).await);
                let turn = fast.say(&session, "think long 1500").await;
                copies.insert(channel, (mirror, turn));
            }
            let mut dice = Dice::new(ring);
            while let Some(channel) = pick(&copies, &mut dice) {
                // What still comes of the former subscription is replaced by the answer to this one.
                let (epoch, seq) = copies[&channel].0.position.clone().expect("a position");
                let since = json!({&channel: {"epoch": epoch, "seq": seq}});
                slow.positions.remove(&channel);
                slow.send(json!({"type": "subscribe", "channels": [channel], "since": since})).await;
                let (mut answered, mut taken) = (false, 0);
                let ended = |(mirror, turn): &(Mirror, String)| mirror.ended.contains(turn);
                while !answered || (taken < 100 && !copies.values().all(ended)) {
                    let frame = slow.next().await;
                    tokio::time::sleep(Duration::from_millis(frame.to_string().len() as u64 / 60)).await;
                    taken += 1;
                    let name = frame["channel"].as_str().unwrap_or_default();
                    answered |= frame["type"] == "subscribed" && name == channel;
                    if let Some((mirror, _)) = copies.get_mut(name).filter(|_| answered || name != channel) {
                        mirror.apply(&frame);
                    }
                }
            }
            let whole: Vec<String> = (1..=1500).map(|n| format!("word{n}")).collect();
            for (mirror, _) in copies.values() {
                assert_eq!(mirror.answers(), whole.join(" "));
            }
        }
    });
}

/// A channel whose turn has not ended for its reader.
fn pick(copies: &BTreeMap<String, (Mirror, String)>, dice: &mut Dice) -> Option<String> {
    let open: Vec<&String> = copies.iter().filter(|(_, (m, turn))| !m.ended.contains(turn)).map(|(c, _)| c).collect();
    let sides = open.len() as u64;
    (sides > 0).then(|| open[dice.roll(sides) as usize].clone())
}

/// Who asked for no words about a channel's state cannot be given a snapshot: the line is cut, and it comes back.
#[test]
fn a_bare_subscriber_that_falls_out_of_the_ring_is_cut_off() {
    run(async {
        let hub = Hub::start(narrow().set("SWITCHBOARD_LIMITS__RING_EVENTS", 64));
        let token = hub.token("alice", "acme", "member");
        let mut fast = Client::connect(&hub.address, &token).await;
        let session = fast.session().await;
        let channel = format!("session:{session}");
        let mut slow = Client::connect_narrow(&hub.address, &token, 4096).await;
        slow.subscribe_bare(&[&channel]).await;
        let mut whole = Mirror::default();
        whole.apply(&fast.subscribe(&channel, None).await);
        let turn = fast.say(&session, "long 4000").await;
        whole.follow(&mut fast, &turn).await;
        // Now it reads: what was queued, in order, and then the reason.
        assert_eq!(slow.until_closed().await, 1013);
    });
}

/// A session whose turns wait: each message sent is an event of its size at once.
async fn load(client: &mut Client, session: &str, messages: usize, bytes: usize) {
    for n in 0..messages {
        client.say(session, &format!("{n} {}", "x".repeat(bytes))).await;
    }
}

#[test]
fn ten_of_a_thousand_never_read_and_the_others_hear_all() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_SERVER__WORKERS", 2)
            .set("SWITCHBOARD_LIMITS__SEND_BUFFER_BYTES", 16_384)
            .set("SWITCHBOARD_LIMITS__STALL_SECONDS", 2)
            .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 0);
        let hub = Hub::start(options);
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut owner = Client::connect(&hub.address, &alice).await;
        let created = owner.call("sessions.create", json!({"visibility": "organization"})).await;
        let session = created["id"].as_str().expect("an id").to_owned();
        let channel = format!("session:{session}");
        owner.call("sessions.pause", json!({"sessionId": session})).await;
        owner.subscribe(&channel, None).await;
        let mut readers = Vec::new();
        for _ in 0..990 {
            let mut reader = Client::connect(&hub.address, &alice).await;
            reader.subscribe(&channel, None).await;
            readers.push(reader);
        }
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let mut client = Client::connect_narrow(&hub.address, &bob, 4096).await;
            client.subscribe(&channel, None).await;
            stalled.push(client);
        }
        let before = hub.resident();
        let speak = async {
            load(&mut owner, &session, 40, 1500).await;
            // All of the ten are one user: when the last of them is cut off, that user leaves.
            let left = owner.find(|f| f["event"] == "presence.left").await;
            assert_eq!(left["data"], json!({"userId": "bob", "count": 1}));
            hub.resident().saturating_sub(before)
        };
        let heard = readers.iter_mut().map(async |reader| {
            let (mut created, mut left) = (0, 0);
            while created < 40 || left < 1 {
                // The client fails where a number is missing or comes twice.
                let frame = reader.next().await;
                created += usize::from(frame["event"] == "message.created");
                left += usize::from(frame["event"] == "presence.left");
            }
            (created, left)
        });
        let (grown, heard) = futures_util::future::join(speak, join_all(heard)).await;
        assert_eq!(heard, vec![(40, 1); 990]);
        assert!(grown < 48 << 20, "grew by {grown} bytes");
        for mut client in stalled {
            let code = client.until_closed().await;
            assert!([1013, 1006].contains(&code), "closed with {code}");
        }
    });
}

/// The ring of a session holds what its events weigh, not how many they are.
#[test]
fn large_messages_do_not_pile_up_in_the_ring() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 0));
        let token = hub.token("alice", "acme", "member");
        let mut owner = Client::connect(&hub.address, &token).await;
        let session = owner.session().await;
        owner.call("sessions.pause", json!({"sessionId": session})).await;
        owner.subscribe(&format!("session:{session}"), None).await;
        load(&mut owner, &session, 2, 100).await;
        let before = hub.resident();
        load(&mut owner, &session, 40, 1_000_000).await;
        let grown = hub.resident().saturating_sub(before) >> 20;
        // The conversation itself holds the 40 MB that wait; a ring that counted events would hold as much again twice.
        assert!(grown < 100, "grew by {grown} MiB");
        let answer: Value = owner.call("channels.history", json!({"channel": format!("session:{session}")})).await;
        assert!(answer["events"].as_array().expect("events").len() < 20, "{}", answer["events"]);
    });
}
