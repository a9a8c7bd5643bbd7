//! The doors of Socket.IO beside the others: one conversation, one answer, one order.

use serde_json::{Value, json};

use super::raw::{Wired, body, chat, said};
use crate::support::{Client, Hub, HubOptions, run};

/// Packets up to the first that begins so, which is the last.
async fn until(wired: &mut Wired, beginning: &str) -> Vec<String> {
    let mut packets = Vec::new();
    while !packets.last().is_some_and(|packet: &String| packet.starts_with(beginning)) {
        packets.push(wired.next().await);
    }
    packets
}

const COMPLETE: &str = "42/ai,[\"message_complete\"";
const END: &str = "42/chat,[\"agent:end\"";

/// The texts of an event on `/chat`, joined.
fn told(packets: &[String]) -> String {
    let events = packets.iter().filter(|packet| packet.starts_with("42/chat,[\"agent:text\"")).map(|p| body(p));
    events.map(|event| event[1]["text"].as_str().expect("a text").to_owned()).collect()
}

/// The names of events on `/chat`, runs of one as one; an acknowledgement is `ack`.
fn names(packets: &[String]) -> Vec<String> {
    let name = |packet: &String| match packet.starts_with("43") {
        true => "ack".to_owned(),
        false => body(packet)[0].as_str().expect("a name").to_owned(),
    };
    let mut names: Vec<String> = packets.iter().map(name).collect();
    names.dedup();
    names
}

async fn deltas(client: &mut Client, is_end: impl Fn(&Value) -> bool, text: impl Fn(&Value) -> Option<&str>) -> String {
    let mut all = String::new();
    loop {
        let frame = client.next().await;
        all.extend(text(&frame));
        if is_end(&frame) {
            return all;
        }
    }
}

/// What a flat socket is told up to a turn's end.
async fn heard_flat(client: &mut Client) -> String {
    deltas(client, |frame| frame["type"] == "message_complete", |frame| frame["delta"].as_str()).await
}

/// What a subscriber is told up to a turn's end.
async fn heard_events(client: &mut Client) -> String {
    deltas(client, |frame| frame["event"] == "turn.ended", |frame| frame["data"]["delta"].as_str()).await
}

#[test]
fn four_watchers_at_four_doors_hear_one_answer_that_is_stored_once() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let mut ai = Wired::open(&hub.address).await;
        ai.connect("/ai", json!({"token": token})).await;
        ai.send("42/ai,1[\"chat\",{\"message\":\"first\"}]").await;
        let conversation = body(&ai.find("43/ai,1[").await)[0]["conversationId"].as_str().expect("an id").to_owned();
        until(&mut ai, COMPLETE).await;
        let mut terminal = Wired::open(&hub.address).await;
        terminal.connect("/chat", json!({"token": token})).await;
        terminal
            .send(&format!("42/chat,{}", json!(["message", {"content": "second", "conversationId": conversation}])))
            .await;
        until(&mut terminal, END).await;
        until(&mut ai, COMPLETE).await;
        let (mut flat, mut events) =
            (Client::connect(&hub.address, &token).await, Client::connect(&hub.address, &token).await);
        events.subscribe(&format!("session:{conversation}"), None).await;
        flat.send(json!({"type": "message", "content": "third", "sessionId": conversation})).await;
        assert!(heard_flat(&mut flat).await.contains("third"));
        assert!(heard_events(&mut events).await.contains("third"));
        until(&mut ai, COMPLETE).await;
        until(&mut terminal, END).await;

        ai.send(&chat("long 200", &conversation)).await;
        let panel = said(&until(&mut ai, COMPLETE).await);
        let chatted = told(&until(&mut terminal, END).await);
        let frames = heard_flat(&mut flat).await;
        let parts = heard_events(&mut events).await;
        assert!(panel.len() > 200, "{panel}");
        assert_eq!((&chatted, &frames, &parts), (&panel, &panel, &panel));
        let stored = events.call("messages.list", json!({"sessionId": conversation})).await;
        let answers: Vec<&Value> = stored["items"]
            .as_array()
            .expect("messages")
            .iter()
            .filter(|message| message["parts"][0]["text"] == json!(panel))
            .collect();
        assert_eq!(answers.len(), 1, "{stored}");
        assert_eq!(stored["items"].as_array().map(Vec::len), Some(8), "four prompts and four answers");
    });
}

#[test]
fn a_terminal_is_told_in_order_sees_what_another_switches_and_aborts_what_another_began() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let token = hub.token("ann", "acme", "member");
        let (mut one, mut other) = (Wired::open(&hub.address).await, Wired::open(&hub.address).await);
        for wired in [&mut one, &mut other] {
            wired.connect("/chat", json!({"token": token})).await;
        }
        let message =
            |content: &str| format!("42/chat,1{}", json!(["message", {"content": content, "conversationId": "mine"}]));
        one.send(&message("hello")).await;
        let packets = until(&mut one, END).await;
        let order = ["ack", "session:info", "message:ack", "agent:start", "agent:text", "agent:end"];
        assert_eq!(names(&packets), order, "{packets:?}");
        other.send(&message("again")).await;
        assert_eq!(names(&until(&mut other, END).await), order);
        until(&mut one, END).await;

        let command = json!(["command:execute", {"conversationId": "mine", "command": "/model", "args": "demo"}]);
        one.send(&format!("42/chat,2{command}")).await;
        let result = body(&one.find("42/chat,[\"command:result\"").await);
        assert_eq!((&result[1]["command"], &result[1]["success"]), (&json!("model"), &json!(true)), "{result}");
        let info = body(&other.find("42/chat,[\"session:info\"").await);
        assert_eq!((&info[1]["conversationId"], &info[1]["modelId"]), (&json!("mine"), &json!("demo")), "{info}");

        one.send(&message("slow long 5000")).await;
        other.find("42/chat,[\"agent:text\"").await;
        other.send("42/chat,[\"abort\",{\"conversationId\":\"mine\"}]").await;
        let (mine, theirs) = (until(&mut one, END).await, until(&mut other, END).await);
        assert!(!names(&mine).contains(&"error".to_owned()), "{mine:?}");
        assert!(!names(&theirs).contains(&"error".to_owned()), "{theirs:?}");
        // It has ended: what comes next is the next message's.
        other.send(&message("after")).await;
        let next = names(&until(&mut other, END).await);
        assert_eq!(next, order);
    });
}
