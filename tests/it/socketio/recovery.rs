//! A connection that is cut in mid-answer: the client names the last place it heard, and hears the rest, once.

use serde_json::{Value, json};

use super::raw::{Polled, Wired, body, chat, deltas, said};
use crate::support::{Client, Hub, HubOptions, Identity, run};

/// What came back to the one who came back.
struct Back {
    wired: Wired,
    told: Value,
}

async fn back(hub: &Hub, token: &str, pid: &Value, offset: Option<&str>) -> Back {
    let mut wired = Wired::open(&hub.address).await;
    let told = wired.connect("/ai", json!({"token": token, "pid": pid, "offset": offset})).await;
    Back { wired, told }
}

/// Reads that many deltas.
async fn some(wired: &mut Wired, count: usize) -> Vec<String> {
    let mut packets = Vec::new();
    while deltas(&packets).len() < count {
        packets.push(wired.next().await);
    }
    packets
}

async fn until_complete(wired: &mut Wired) -> Vec<String> {
    let mut packets = Vec::new();
    while !packets.last().is_some_and(|packet: &String| packet.starts_with("42/ai,[\"message_complete\"")) {
        packets.push(wired.next().await);
    }
    packets
}

/// The whole answer, as somebody hears it who is not cut.
async fn witness(hub: &Hub, token: &str) -> (Client, String) {
    let mut watcher = Client::connect(&hub.address, token).await;
    let conversation = watcher.session().await;
    watcher.subscribe(&format!("session:{conversation}"), None).await;
    (watcher, conversation)
}

async fn whole(watcher: &mut Client) -> String {
    let mut whole = String::new();
    loop {
        let frame = watcher.next().await;
        match frame["event"].as_str() {
            Some("part.updated") => whole.push_str(frame["data"]["delta"].as_str().unwrap_or_default()),
            Some("turn.ended") => return whole,
            _ => {}
        }
    }
}

#[test]
fn a_cut_in_mid_answer_loses_nothing_and_repeats_nothing() {
    for workers in [1, 3] {
        run(async {
            let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", workers));
            let token = hub.token("ann", "acme", "member");
            let (mut watcher, conversation) = witness(&hub, &token).await;
            let mut wired = Wired::open(&hub.address).await;
            let first = wired.connect("/ai", json!({"token": token})).await;
            wired.send(&chat("slow long 200", &conversation)).await;
            let mut heard = Vec::new();
            let mut wired = wired;
            // Cut again and again; what is still on its way then is lost with the connection.
            for _ in 0..5 {
                heard.extend(some(&mut wired, 20).await);
                let (_, offset) = deltas(&heard).pop().expect("a place");
                wired.drop_it();
                let again = back(&hub, &token, &first["pid"], Some(&offset)).await;
                assert_eq!(again.told, first, "the same ids tell the client that it has missed nothing");
                wired = again.wired;
            }
            heard.extend(until_complete(&mut wired).await);
            assert_eq!(said(&heard), whole(&mut watcher).await);
        });
    }
}

#[test]
fn two_conversations_go_on_each_where_it_was_cut() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let (mut one, first) = witness(&hub, &token).await;
        let (mut other, second) = witness(&hub, &token).await;
        let mut wired = Wired::open(&hub.address).await;
        let told = wired.connect("/ai", json!({"token": token})).await;
        wired.send(&chat("slow long 100", &first)).await;
        wired.send(&chat("slow long 101", &second)).await;
        let mut heard = some(&mut wired, 40).await;
        let (_, offset) = deltas(&heard).pop().expect("a place");
        wired.drop_it();
        let mut again = back(&hub, &token, &told["pid"], Some(&offset)).await;
        assert_eq!(again.told, told);
        heard.extend(until_complete(&mut again.wired).await);
        heard.extend(until_complete(&mut again.wired).await);
        let of = |id: &str| said(&heard.iter().filter(|packet| packet.contains(id)).cloned().collect::<Vec<_>>());
        assert_eq!((of(&first), of(&second)), (whole(&mut one).await, whole(&mut other).await));
    });
}

#[test]
fn who_heard_nothing_yet_hears_all_of_it() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        let told = wired.connect("/ai", json!({"token": token})).await;
        wired.send("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
        wired.find("43/ai,1[").await;
        wired.drop_it();
        let mut again = back(&hub, &token, &told["pid"], None).await;
        assert_eq!(again.told, told);
        assert!(said(&until_complete(&mut again.wired).await).contains("hello"));
    });
}

/// A network can change before the hub hears of it; and a polled session is lost in its own way.
#[test]
fn the_old_transport_need_not_be_gone_for_the_new_one_to_take_over() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let mut old = Wired::open(&hub.address).await;
        let told = old.connect("/ai", json!({"token": token})).await;
        old.send("42/ai,1[\"chat\",{\"message\":\"slow long 100\"}]").await;
        let mut heard = some(&mut old, 10).await;
        let (_, offset) = deltas(&heard).pop().expect("a place");
        let mut again = back(&hub, &token, &told["pid"], Some(&offset)).await;
        assert_eq!(again.told, told);
        assert_eq!(old.until_closed().await.1, 1012);
        heard.extend(until_complete(&mut again.wired).await);
        let text = said(&heard);

        let mut session = Polled::open(&hub.address, &[]).await;
        let told = session.connect("/ai", &token).await;
        session.post("42/ai,1[\"chat\",{\"message\":\"slow long 100\"}]").await;
        let mut heard = vec![session.find("42/ai,[\"text_delta\"").await];
        session.post("1").await;
        let (_, offset) = deltas(&heard).pop().expect("a place");
        let mut again = back(&hub, &token, &told["pid"], Some(&offset)).await;
        assert_eq!(again.told, told);
        heard.extend(until_complete(&mut again.wired).await);
        assert_eq!(said(&heard), text);
    });
}

#[test]
fn what_cannot_be_given_back_whole_is_begun_anew() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let other = hub.token("ben", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        let told = wired.connect("/ai", json!({"token": token})).await;
        wired.send("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
        let heard = until_complete(&mut wired).await;
        let (_, offset) = deltas(&heard).pop().expect("a place");
        wired.drop_it();
        let fresh = async |token: &str, pid: &Value, offset: &str| {
            let back = back(&hub, token, pid, Some(offset)).await;
            assert!(back.told["pid"] != told["pid"] && back.told["sid"] != told["sid"], "{}", back.told);
        };
        // Somebody else, and somebody who never was.
        fresh(&other, &told["pid"], &offset).await;
        fresh(&token, &json!("AAAAAAAAAAAAAAAAAAAAAA"), &offset).await;
        // It is still there for its own.
        let again = back(&hub, &token, &told["pid"], Some(&offset)).await;
        assert_eq!(again.told, told);
        again.wired.drop_it();
        // A place that never was, and then it is gone.
        fresh(&token, &told["pid"], "0000000000000000:7").await;
        fresh(&token, &told["pid"], &offset).await;
    });
}

#[test]
fn who_left_on_purpose_has_left() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        let told = wired.connect("/ai", json!({"token": token})).await;
        wired.send("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
        let (_, offset) = deltas(&until_complete(&mut wired).await).pop().expect("a place");
        wired.send("41/ai,").await;
        let again = wired.connect("/ai", json!({"token": token, "pid": told["pid"], "offset": offset})).await;
        assert!(again["pid"] != told["pid"], "{again}");
    });
}

/// Case 73: signed out is gone, though the same user is here again.
#[test]
fn what_was_left_before_a_sign_out_is_not_found_after_it() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let identity = Identity::of(&hub.folder());
        identity.user("ann", "acme", "member").await;
        let (key, id) = identity.key("ann", "acme").await;
        let (other, _) = identity.key("ann", "acme").await;
        let mut wired = Wired::open(&hub.address).await;
        let told = wired.connect("/ai", json!({"token": key})).await;
        wired.send("42/ai,1[\"chat\",{\"message\":\"hello\"}]").await;
        let (_, offset) = deltas(&until_complete(&mut wired).await).pop().expect("a place");
        wired.drop_it();
        let mut bystander = Wired::open(&hub.address).await;
        bystander.connect("/ai", json!({"token": key})).await;
        identity.revoke_key("acme", id).await;
        // The hub has heard of it.
        bystander.until_closed().await;
        let mut wired = Wired::open(&hub.address).await;
        wired.send(&format!("40/ai,{}", json!({"token": key, "pid": told["pid"], "offset": offset}))).await;
        assert_eq!(body(&wired.next().await)["data"]["code"], "unauthorized");
        let again = back(&hub, &other, &told["pid"], Some(&offset)).await;
        assert!(again.told["pid"] != told["pid"], "{}", again.told);
    });
}
