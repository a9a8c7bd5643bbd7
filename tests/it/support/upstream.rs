//! A hub whose model is scripted, and what such a model says on its wire.

use serde_json::{Value, json};

use super::mock_http::{MockHttp, Request, Seen, Step, chunk, stream, stream_head};
use super::{Client, Hub, HubOptions};

/// What the hub must never tell anybody.
pub const KEY: &str = "sk-test-0123456789-secret";

/// A hub that talks to `model` as to OpenAI.
pub fn openai(model: &MockHttp) -> HubOptions {
    HubOptions::default()
        .set("OPENAI_API_KEY", KEY)
        .set("OPENAI_BASE_URL", model.url("/v1"))
        .set("OPENAI_MODEL", "model-1")
}

/// A hub that talks to `model` as to Anthropic.
pub fn anthropic(model: &MockHttp) -> HubOptions {
    HubOptions::default()
        .set("ANTHROPIC_API_KEY", KEY)
        .set("ANTHROPIC_BASE_URL", model.url(""))
        .set("ANTHROPIC_MODEL", "model-1")
}

/// A chunk of the chat completions wire with this delta.
pub fn piece(delta: &Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
    format!("data: {}\n\n", json!({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}))
}

pub fn says(text: &str) -> String {
    piece(&json!({"content": text}))
}

pub fn thinks(text: &str) -> String {
    piece(&json!({"reasoning_content": text}))
}

/// The call at that index of an answer.
pub fn calls(index: u64, id: &str, tool: &str, arguments: &str) -> String {
    let function = json!({"name": tool, "arguments": arguments});
    piece(&json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}))
}

/// The end of an answer on the chat completions wire.
pub fn ends(reason: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n\
         data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":3}}}}\n\n\
         data: [DONE]\n\n"
    )
}

/// A whole answer of these words.
pub fn answers(text: &str) -> Vec<Step> {
    stream(says(text) + &ends("stop"))
}

/// A whole answer that is nothing but tool calls.
pub fn asks(calls: &str) -> Vec<Step> {
    stream(calls.to_owned() + &ends("tool_calls"))
}

/// Begins an answer so, and stays silent.
pub fn begins(body: &str) -> Vec<Step> {
    vec![stream_head(), Step::Send(chunk(body)), Step::Hang]
}

/// A hub, a client of `alice`, and her session, subscribed.
pub async fn conversation(options: HubOptions) -> (Hub, Client, String) {
    let hub = Hub::start(options);
    let token = hub.token("alice", "acme", "member");
    let mut client = Client::connect(&hub.address, &token).await;
    let session = client.session().await;
    client.subscribe(&format!("session:{session}"), None).await;
    (hub, client, session)
}

/// What the server knows of already is taken in, without waiting for anything new.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// The end of a connection must have been seen by now, before anything else.
pub async fn has_hung_up(server: &mut MockHttp) -> usize {
    settle().await;
    match server.try_next() {
        Some(Seen::HungUp(number)) => number,
        other => panic!("the connection should be closed by now, not {other:?}"),
    }
}

/// The next request, passing over connections that ended.
pub async fn next_request(server: &mut MockHttp) -> Request {
    loop {
        if let Seen::Request(_, request) = server.next().await {
            return request;
        }
    }
}

/// Reads up to the end of the turn; its `turn.ended`, and the deltas of all parts joined.
pub async fn until_end(client: &mut Client, turn: &str) -> (Value, String) {
    let mut text = String::new();
    loop {
        let mut frame = client.find(|f| f["type"] == "event").await;
        text += frame["data"]["delta"].as_str().unwrap_or_default();
        if frame["event"] == "turn.ended" && frame["data"]["turnId"] == turn {
            return (frame["data"].take(), text);
        }
    }
}

/// The stored answer of a turn.
pub async fn stored(client: &mut Client, session: &str, turn: &str) -> Value {
    let list = client.call("messages.list", json!({"sessionId": session})).await;
    let items = list["items"].as_array().expect("items");
    let found = items.iter().find(|m| m["turnId"] == turn && m["role"] == "assistant");
    found.unwrap_or_else(|| panic!("no answer of {turn} in {list}")).clone()
}

/// Of a message: the parts of one type.
pub fn parts<'a>(message: &'a Value, kind: &str) -> Vec<&'a Value> {
    message["parts"].as_array().expect("parts").iter().filter(|p| p["type"] == kind).collect()
}

/// Of a message: the texts of one type of part, joined.
pub fn words(message: &Value, kind: &str) -> String {
    parts(message, kind).iter().filter_map(|p| p["text"].as_str()).collect()
}
