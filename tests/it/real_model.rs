//! A real language model behind the hub: two people watch its answer grow, stop it, and approve its tool call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::peer::{Peer, model};
use crate::support::upstream::*;
use crate::support::{Client, Hub, HubOptions, run};

/// What the model's first words look like on its wire.
const FIRST_WORDS: &[u8] = b"\"delta\":{\"content\":\"";

/// Stands between hub and model, and notes when the first words of each answer passed.
struct Tap {
    url: String,
    passed: Rc<RefCell<Vec<Instant>>>,
}

impl Tap {
    async fn start(model: &str) -> Self {
        let target = model.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("its address"));
        let passed = Rc::new(RefCell::new(Vec::new()));
        let noted = passed.clone();
        tokio::task::spawn_local(async move {
            while let Ok((hub, _)) = listener.accept().await {
                tokio::task::spawn_local(pass(hub, target.clone(), noted.clone()));
            }
        });
        Self { url, passed }
    }
}

async fn pass(hub: TcpStream, target: String, passed: Rc<RefCell<Vec<Instant>>>) {
    let Ok(model) = TcpStream::connect(target).await else { return };
    let _ = (hub.set_nodelay(true), model.set_nodelay(true));
    let (mut from_hub, mut to_hub) = hub.into_split();
    let (mut from_model, mut to_model) = model.into_split();
    // A connection is used for one answer after another.
    let awaited = Cell::new(false);
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_hub.read(&mut buffer).await {
            awaited.set(true);
            if to_model.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_model.read(&mut buffer).await {
            if awaited.get() && buffer[..count].windows(FIRST_WORDS.len()).any(|w| w == FIRST_WORDS) {
                awaited.set(false);
                passed.borrow_mut().push(Instant::now());
            }
            if to_hub.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    // A hub that hangs up hangs up on the model.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn options(url: &str) -> HubOptions {
    HubOptions::default().set("OPENAI_API_KEY", KEY).set("OPENAI_BASE_URL", url).set("OPENAI_MODEL", "smollm2-135m")
}

async fn two_watchers(options: HubOptions) -> (Hub, Client, Client, String) {
    let (hub, alice, session) = conversation(options).await;
    let mut boss = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
    boss.subscribe(&format!("session:{session}"), None).await;
    (hub, alice, boss, session)
}

/// All deltas of a turn with their numbers, one entry a number even where a run came merged, and the turn's end.
async fn watch(client: &mut Client, turn: &str) -> (Vec<u64>, String, Value) {
    let (mut numbers, mut text) = (Vec::new(), String::new());
    loop {
        let mut frame = client.find(|f| f["type"] == "event").await;
        if let Some(delta) = frame["data"]["delta"].as_str() {
            let last = frame["seq"].as_u64().expect("a number");
            numbers.extend(frame["fromSeq"].as_u64().unwrap_or(last)..=last);
            text += delta;
        }
        if frame["event"] == "turn.ended" && frame["data"]["turnId"] == turn {
            return (numbers, text, frame["data"].take());
        }
    }
}

#[test]
fn its_answer_grows_alike_before_two_watchers_and_a_stop_frees_it() {
    run(async {
        let mut peer = Peer::start("real-llm.mjs", &[&model()], &[("SLOTS", "1")]).await;
        let tap = Tap::start(&peer.url).await;
        let (_hub, mut alice, mut second, session) = two_watchers(options(&tap.url)).await;
        let turn = alice.say(&session, "Say hello in one short sentence.").await;
        let one = watch(&mut alice, &turn).await;
        let two = watch(&mut second, &turn).await;
        assert_eq!(one, two);
        let (numbers, text, ended) = one;
        assert_eq!(ended["state"], "completed", "{ended}");
        assert!(numbers.len() > 2 && !text.is_empty(), "it came piece by piece: {text:?}");
        let answer = stored(&mut alice, &session, &turn).await;
        assert_eq!((words(&answer, "text"), &answer["state"]), (text, &json!("complete")));
        let usage = &answer["usage"];
        assert!(usage["input"].as_u64() > Some(0) && usage["output"].as_u64() > Some(2), "{usage}");
        assert_eq!(&ended["usage"], usage);
        println!("tokens: {} in, {} out", usage["input"], usage["output"]);
        peer.line_after("freed ").await;
        measure_and_stop(&mut peer, &tap, &mut alice, &session).await;
    });
}

/// Stops seven answers after their first words: each frees the model's one slot for the next.
async fn measure_and_stop(peer: &mut Peer, tap: &Tap, client: &mut Client, session: &str) {
    let mut added: Vec<Duration> = Vec::new();
    for _ in 0..7 {
        client.take_waiting();
        let before = tap.passed.borrow().len();
        client.say(session, "Tell me a long story about the sea.").await;
        client.event("part.updated").await;
        let now = Instant::now();
        added.push(now - tap.passed.borrow()[before]);
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!((&stopped["state"], &stopped["receipt"]["bytesAfter"]), (&json!("stopped"), &json!(0)));
        let freed = peer.line_after("freed ").await;
        println!("stopped after {} tokens of the model's", freed.split(' ').next_back().unwrap_or_default());
        assert_eq!(tap.passed.borrow().len(), before + 1);
    }
    added.sort();
    println!(
        "time to first token added by the hub: median {} us, least {} us, most {} us",
        added[3].as_micros(),
        added[0].as_micros(),
        added[6].as_micros()
    );
}

#[test]
fn its_tool_call_waits_for_the_second_watcher() {
    run(async {
        let peer = Peer::start("real-llm.mjs", &[&model()], &[("SLOTS", "1"), ("FORCE_TOOLS", "1")]).await;
        let config = "[agents.assistant]\ntools = [\"time\"]\n[tools.time]\npolicy = \"ask\"";
        let (_hub, mut alice, mut second, session) = two_watchers(options(&peer.url).config(config)).await;
        let turn = alice.say(&session, "What time is it?").await;
        let asked = alice.event("tool.approval_required").await;
        let also = second.event("tool.approval_required").await;
        assert_eq!(asked, also);
        assert_eq!((&asked["toolName"], &asked["turnId"]), (&json!("time"), &json!(turn)));
        let params = json!({"requestId": asked["requestId"], "reason": "go ahead"});
        let decided = second.call("tools.approve", params).await;
        assert_eq!((&decided["applied"], &decided["approved"]), (&json!(true), &json!(true)));
        let told = alice.event("tool.approval_resolved").await;
        assert_eq!((&told["approved"], &told["by"]), (&json!(true), &json!("alice")), "{told}");
        let (_, text, ended) = watch(&mut alice, &turn).await;
        assert_eq!(ended["state"], "completed", "{ended}");
        assert_eq!(watch(&mut second, &turn).await.1, text);
        let answer = stored(&mut alice, &session, &turn).await;
        assert_eq!(parts(&answer, "tool_call")[0]["state"], "succeeded");
        assert_eq!(parts(&answer, "tool_result")[0]["isError"], false);
        assert_eq!(words(&answer, "text"), text);
        println!("after the tool it said: {text:?}");
    });
}
