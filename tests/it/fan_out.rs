//! One order for all: no gap and no repeat, whoever comes, goes and comes back while it streams.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, Dice, Hub, HubOptions, Mirror, run};

/// One reader that comes and goes at random until the turn has ended for it. Gives its text.
async fn restless(address: String, token: String, session: String, turn: String, seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let channel = format!("session:{session}");
    let mut client = Client::connect(&address, &token).await;
    let mut mirror = Mirror::default();
    while !mirror.ended.contains(&turn) {
        match dice.roll(4) {
            // Without a place to come back to.
            0 => subscribe(&mut client, &mut mirror, &channel, false).await,
            // Nothing but events for a while: their numbers are checked by the client, the copy is worth nothing then.
            1 => {
                client.positions.remove(&channel);
                client.subscribe_bare(&[&channel]).await;
                for frame in client.until_pong().await {
                    assert_ne!(frame["type"], "subscribed");
                }
                mirror = Mirror::default();
                leave(&mut client, &mut Mirror::default(), &channel, false).await;
                continue;
            }
            _ => subscribe(&mut client, &mut mirror, &channel, true).await,
        }
        for _ in 0..dice.roll(400) {
            if mirror.ended.contains(&turn) {
                break;
            }
            let frame = client.next().await;
            mirror.apply(&frame);
        }
        if mirror.ended.contains(&turn) {
            break;
        }
        match dice.roll(3) {
            // The line breaks.
            0 => client = Client::connect(&address, &token).await,
            1 => leave(&mut client, &mut mirror, &channel, true).await,
            // It subscribes again without having left.
            _ => client.until_pong().await.iter().for_each(|f| mirror.apply(f)),
        }
    }
    mirror.answers()
}

/// Begins anew, or where the copy ends. What still comes of a former subscription is replaced by that.
async fn subscribe(client: &mut Client, mirror: &mut Mirror, channel: &str, resumes: bool) {
    let position = mirror.position.as_ref().filter(|_| resumes);
    let since = position.map(|(epoch, seq)| json!({channel: {"epoch": epoch, "seq": seq}}));
    client.positions.remove(channel);
    client.send(json!({"type": "subscribe", "channels": [channel], "since": since, "id": "s"})).await;
    loop {
        let frame = client.next().await;
        if frame["type"] == "subscribed" {
            return mirror.apply(&frame);
        }
    }
}

async fn leave(client: &mut Client, mirror: &mut Mirror, channel: &str, applies: bool) {
    client.send(json!({"type": "unsubscribe", "channels": [channel], "id": "u"})).await;
    loop {
        let frame = client.next().await;
        if frame["id"] == "u" {
            assert_eq!(frame["result"]["unsubscribed"], json!([channel]));
            break;
        }
        if applies {
            mirror.apply(&frame);
        }
    }
    // After the answer nothing of the channel comes any more.
    assert_eq!(client.until_pong().await.len(), 0);
}

#[test]
fn readers_that_come_and_go_end_with_the_same_text() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let mut owner = Client::connect(&hub.address, &token).await;
        let mut readers = Vec::new();
        for conversation in 0..4 {
            let session = owner.session().await;
            let turn = owner.say(&session, "think long 2500").await;
            for reader in 0..4 {
                let (address, token) = (hub.address.clone(), token.clone());
                let seed = conversation * 100 + reader;
                readers.push(restless(address, token, session.clone(), turn.clone(), seed));
            }
        }
        let texts = join_all(readers).await;
        let whole: Vec<String> = (1..=2500).map(|n| format!("word{n}")).collect();
        for text in texts {
            assert_eq!(text, whole.join(" "));
        }
    });
}

/// A reader of an application channel: every number once, in order; what is missing was said to be missing.
async fn listener(address: String, token: String, done: Rc<Cell<bool>>, seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let channel = "app:ticks";
    let mut client = Client::connect(&address, &token).await;
    let mut position: Option<(String, u64)> = None;
    let mut heard = 0;
    while !done.get() {
        let since = position.as_ref().map(|(epoch, seq)| (epoch.as_str(), *seq));
        let first = client.subscribe(channel, since).await;
        let seq = first["seq"].as_u64().expect("a seq");
        match (&position, first["recovered"] == true) {
            (Some((_, last)), true) => assert_eq!(*last, seq),
            (Some((_, last)), false) => assert!(seq > last + 100, "{last} was still in the ring at {seq}"),
            (None, recovered) => assert!(!recovered),
        }
        position = Some((first["epoch"].as_str().expect("an epoch").to_owned(), seq));
        for _ in 0..=dice.roll(5) {
            for frame in client.until_pong().await {
                if frame["type"] == "event" {
                    // The only publisher counts: an event's data is its number.
                    assert_eq!(frame["data"]["n"], frame["seq"]);
                    assert_eq!(frame["seq"].as_u64(), position.as_ref().map(|(_, seq)| seq + 1));
                    position.as_mut().expect("a position").1 += 1;
                    heard += 1;
                }
            }
        }
        if dice.roll(2) == 0 {
            client = Client::connect(&address, &token).await;
        } else {
            client.send(json!({"type": "unsubscribe", "channels": [channel], "id": "u"})).await;
            loop {
                let frame = client.next().await;
                if frame["id"] == "u" {
                    break;
                }
                if frame["type"] == "event" {
                    position.as_mut().expect("a position").1 += 1;
                }
            }
        }
    }
    heard
}

#[test]
fn published_events_come_once_and_in_order() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let done = Rc::new(Cell::new(false));
        let publisher = {
            let (address, token, done) = (hub.address.clone(), token.clone(), done.clone());
            async move {
                let mut client = Client::connect(&address, &token).await;
                for n in 1..=1500 {
                    let id = (n % 10 == 0).then(|| format!("p{n}"));
                    let mut frame =
                        json!({"type": "publish", "channel": "app:ticks", "event": "tick", "data": {"n": n}});
                    frame["id"] = json!(id);
                    client.send(frame).await;
                    if let Some(id) = id {
                        let answer = client.find(|f| f["id"] == id.as_str()).await;
                        assert_eq!(answer["result"]["seq"], n);
                    }
                }
                done.set(true);
                0
            }
        };
        let listeners = (0..6).map(|seed| listener(hub.address.clone(), token.clone(), done.clone(), seed));
        let (_, heard) = futures_util::future::join(publisher, join_all(listeners)).await;
        assert!(heard.iter().all(|heard| *heard > 0), "{heard:?}");
    });
}
