//! The providers against programs that are not ours: a strict mock of both APIs, and a real language model.

use std::rc::Rc;

use futures_util::StreamExt;
use serde_json::json;
use switchboard::domain::generation::*;
use switchboard::providers::retry::RetrySettings;
use switchboard::providers::{Provider, TransportSettings};

use crate::kit::{anthropic, fault, openai, openai_with, prompt, text, transport, whole};
use crate::peer::{Peer, model};

fn tools() -> Vec<ToolSpec> {
    let schema = json!({
        "type": "object", "required": ["city"], "additionalProperties": false,
        "properties": { "city": { "enum": ["Paris", "Rome"] } },
    });
    let tool = |name: &str| ToolSpec { name: name.into(), description: "x".into(), input_schema: schema.clone() };
    vec![tool("time"), tool("http_fetch")]
}

async fn mock_speaks(provider: &Rc<dyn Provider>) {
    assert_eq!(text(&whole(provider, prompt("say hello")).await), "Hello there, this is the mock.");

    let thought = whole(provider, prompt("think first")).await;
    let thinking: String =
        thought.iter().filter_map(|e| if let StreamEvent::Thinking(t) = e { Some(t.as_str()) } else { None }).collect();
    assert_eq!((thinking.as_str(), text(&thought).as_str()), ("Let me think about it.", "Thought through."));

    let asked = Prompt { tools: tools(), ..prompt("use two tools") };
    let events = whole(provider, asked.clone()).await;
    let calls: Vec<(String, String, serde_json::Value)> = events
        .iter()
        .filter_map(|e| {
            if let StreamEvent::ToolCall { id, name, input } = e {
                Some((id.clone(), name.clone(), input.clone()))
            } else {
                None
            }
        })
        .collect();
    let said: Vec<_> = calls.iter().map(|(_, name, input)| (name.as_str(), input.clone())).collect();
    assert_eq!(said, [("time", json!({"zone": "UTC"})), ("http_fetch", json!({"url": "http://example.org/ü"}))]);
    assert_eq!(events.last(), Some(&StreamEvent::Ended(StopReason::ToolUse)));

    // The whole round: the calls go back with their results.
    let mut next = asked;
    let call = |(id, name, input): &(String, String, serde_json::Value)| AssistantContent::ToolCall {
        id: id.clone(),
        name: name.clone(),
        input: input.clone(),
    };
    let output = |(id, ..): &(String, String, serde_json::Value)| ToolOutput {
        call_id: id.clone(),
        output: "noon".into(),
        is_error: false,
    };
    next.messages.push(PromptMessage::Assistant(calls.iter().map(call).collect()));
    next.messages.push(PromptMessage::ToolResults(calls.iter().map(output).collect()));
    assert_eq!(text(&whole(provider, next).await), "It is noon.");

    let overloaded = fault(provider, prompt("fall over")).await;
    assert_eq!((overloaded.kind, overloaded.status), (ProviderFaultKind::Overloaded, Some(529)));
}

#[actix_rt::test]
async fn a_strict_mock_of_both_apis_understands_and_is_understood() {
    let mock = Peer::start("mock.mjs", &[], &[]).await;
    mock_speaks(&openai(format!("{}/v1", mock.url))).await;
    mock_speaks(&anthropic(mock.url.clone())).await;
}

#[actix_rt::test]
async fn a_real_model_streams_text_calls_a_tool_and_is_cancelled() {
    let mut server = Peer::start("real-llm.mjs", &[&model()], &[("SLOTS", "1"), ("FORCE_TOOLS", "1")]).await;
    let once = RetrySettings { attempts: 1, ..RetrySettings::default() };
    let provider = openai_with(server.url.clone(), TransportSettings { retry: once, ..transport() });

    let short = Prompt { max_tokens: Some(48), temperature: Some(0.0), ..prompt("Name three colours.") };
    let (begin, mut pieces) = (std::time::Instant::now(), 0);
    let events = whole(&provider, short.clone()).await;
    pieces += events.iter().filter(|e| matches!(e, StreamEvent::Text(_))).count();
    let tokens = events.iter().find_map(|e| if let StreamEvent::Usage(u) = e { Some(u.output) } else { None });
    let tokens = tokens.expect("the server says what was used");
    eprintln!(
        "{tokens} tokens in {pieces} pieces, {:.0} a second: {}",
        tokens as f64 / begin.elapsed().as_secs_f64(),
        text(&events)
    );
    assert!(pieces > 3 && !text(&events).trim().is_empty(), "{events:?}");

    let asked = Prompt { tools: tools(), max_tokens: Some(64), ..prompt("What time is it in Paris?") };
    let events = whole(&provider, asked).await;
    let Some(StreamEvent::ToolCall { name, input, .. }) =
        events.iter().find(|e| matches!(e, StreamEvent::ToolCall { .. }))
    else {
        panic!("no call: {events:?}");
    };
    assert_eq!(name, "time");
    assert!(["Paris", "Rome"].contains(&input["city"].as_str().expect("a city")), "{input}");

    // One slot, taken by an answer of up to 1,500 tokens, which is dropped at its first.
    server.line_after("freed 2 ").await;
    let long = Prompt { max_tokens: Some(1500), ..prompt("Write a very long story about a lighthouse.") };
    let mut stream = provider.stream(long.clone()).await.expect("it starts");
    assert!(stream.next().await.is_some());
    let busy = fault(&provider, short.clone()).await;
    assert_eq!((busy.kind, busy.status), (ProviderFaultKind::Overloaded, Some(429)));
    drop(stream);
    let spoken: u64 = server.line_after("freed 3 ").await.parse().expect("a number of tokens");
    eprintln!("the dropped answer had come to {spoken} tokens");
    assert!(spoken < 500, "the model went on speaking: {spoken} tokens");
    assert!(!text(&whole(&provider, short).await).is_empty(), "the slot is free");
}
