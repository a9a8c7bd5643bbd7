//! The chat completions wire: what is sent, and what each shape of chunk means.

use serde_json::{Value, json};
use switchboard::domain::generation::ProviderFaultKind::*;
use switchboard::domain::generation::*;
use switchboard::domain::usage::Usage;

use crate::kit::{fault, openai, prompt, run, text, whole};
use crate::mock_http::{MockHttp, answer, stream};

/// The events of a stream of these chunks.
fn body(chunks: &[Value]) -> String {
    chunks.iter().map(|c| format!("data: {c}\n\n")).collect()
}

fn delta(delta: Value) -> Value {
    json!({ "id": "c", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

async fn play(body: String) -> (Vec<StreamEvent>, Option<ProviderFault>) {
    let server = MockHttp::start([stream(&body), stream(&body), stream(&body)]).await;
    run(&openai(server.url("/v1")), prompt("hi")).await
}

async fn played(chunks: &[Value]) -> Vec<StreamEvent> {
    let (events, fault) = play(body(chunks) + "data: [DONE]\n\n").await;
    assert_eq!(fault, None);
    events
}

#[actix_rt::test]
async fn a_prompt_goes_out_as_the_api_wants_it() {
    let mut server = MockHttp::start([stream(body(&[finish("stop")]))]).await;
    let asked = Prompt {
        model: "gpt-x".into(),
        system: Some("be brief".into()),
        messages: vec![
            PromptMessage::User(vec![
                UserContent::Text("what is this".into()),
                UserContent::Image(Image { media_type: "image/png".into(), source: ImageSource::Data("aGk=".into()) }),
                UserContent::Image(Image {
                    media_type: "image/png".into(),
                    source: ImageSource::Url("https://e/x.png".into()),
                }),
            ]),
            PromptMessage::Assistant(vec![
                AssistantContent::Thinking { text: "hm".into(), signature: Some("s".into()) },
                AssistantContent::ToolCall { id: "c1".into(), name: "time".into(), input: json!({"zone": 1}) },
            ]),
            PromptMessage::ToolResults(vec![ToolOutput {
                call_id: "c1".into(),
                output: "noon".into(),
                is_error: false,
            }]),
            PromptMessage::Assistant(vec![AssistantContent::Thinking { text: "only".into(), signature: None }]),
            PromptMessage::User(vec![
                UserContent::Text("and".into()),
                UserContent::File { name: "a.txt".into(), text: "body".into() },
            ]),
        ],
        tools: vec![ToolSpec { name: "time".into(), description: "d".into(), input_schema: json!({"type": "object"}) }],
        thinking: ThinkingLevel::High,
        max_tokens: Some(77),
        temperature: Some(0.5),
        request_id: "req-42".into(),
    };
    whole(&openai(server.url("/v1/")), asked).await;
    let request = server.request().await;
    assert_eq!(request.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer sesame-key-123"));
    assert_eq!(request.header("x-request-id"), Some("req-42"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    insta::assert_json_snapshot!(request.json());
}

#[actix_rt::test]
async fn what_is_not_set_is_not_sent() {
    let mut server = MockHttp::start([stream(body(&[finish("stop")]))]).await;
    whole(&openai(server.url("")), prompt("hi")).await;
    let expected = json!({
        "model": "model-1", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "hi" }],
    });
    assert_eq!(server.request().await.json(), expected);
}

#[actix_rt::test]
async fn text_usage_and_the_end() {
    let usage = json!({ "choices": [], "usage": {
        "prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13, "prompt_tokens_details": { "cached_tokens": 4 },
    }, "timings": { "x": 1 } });
    let events = played(&[
        json!({ "choices": [], "prompt_filter_results": [] }),
        delta(json!({ "role": "assistant", "content": null })),
        delta(json!({ "content": "Hel" })),
        delta(json!({ "content": "" })),
        delta(json!({ "content": "lo" })),
        json!({ "choices": [{ "index": 1, "delta": { "content": "another choice" } }] }),
        finish("stop"),
        usage,
    ])
    .await;
    let usage = Usage { input: 6, output: 3, cache_read: 4, ..Usage::default() };
    assert_eq!(
        events,
        [
            StreamEvent::Text("Hel".into()),
            StreamEvent::Text("lo".into()),
            StreamEvent::Usage(usage),
            StreamEvent::Ended(StopReason::EndTurn),
        ]
    );
}

#[actix_rt::test]
async fn both_spellings_of_thinking_are_thinking() {
    for name in ["reasoning_content", "reasoning"] {
        let events = played(&[delta(json!({ name: "hm" })), delta(json!({ "content": "yes" })), finish("stop")]).await;
        let ended = StreamEvent::Ended(StopReason::EndTurn);
        assert_eq!(events, [StreamEvent::Thinking("hm".into()), StreamEvent::Text("yes".into()), ended], "{name}");
    }
}

fn piece(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    json!({ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

fn call(id: &str, name: &str, input: Value) -> StreamEvent {
    StreamEvent::ToolCall { id: id.into(), name: name.into(), input }
}

#[actix_rt::test]
async fn tool_calls_are_put_together_by_their_index() {
    let events = played(&[
        delta(json!({ "content": null, "tool_calls": [piece(0, Some("a"), Some("time"), "")] })),
        delta(json!({ "tool_calls": [piece(0, None, None, "{\"zo")] })),
        delta(json!({ "tool_calls": [piece(1, Some("b"), Some("fetch"), "{}"), piece(0, None, None, "ne\":\"ü\"}")] })),
        finish("tool_calls"),
    ])
    .await;
    let ended = StreamEvent::Ended(StopReason::ToolUse);
    assert_eq!(events, [call("a", "time", json!({"zone": "ü"})), call("b", "fetch", json!({})), ended]);
}

#[actix_rt::test]
async fn servers_that_forget_index_id_or_finish_reason_of_tool_calls_are_understood() {
    let no_index = |id: &str, name: &str| json!({ "id": id, "function": { "name": name, "arguments": "{}" } });
    let events =
        played(&[delta(json!({ "tool_calls": [no_index("a", "x"), no_index("b", "y")] })), finish("stop")]).await;
    let ended = StreamEvent::Ended(StopReason::ToolUse);
    assert_eq!(events, [call("a", "x", json!({})), call("b", "y", json!({})), ended]);
    // All of index 0.
    let events = played(&[
        delta(json!({ "tool_calls": [piece(0, Some("a"), Some("x"), "{}")] })),
        delta(json!({ "tool_calls": [piece(0, Some("b"), Some("y"), "")] })),
        finish("tool_calls"),
    ])
    .await;
    assert_eq!(events[..2], [call("a", "x", json!({})), call("b", "y", json!({}))]);
    // No id: one is made, and not the same one twice.
    let events = played(&[
        delta(json!({ "tool_calls": [piece(0, None, Some("x"), "{}"), piece(1, Some(""), Some("x"), "{}")] })),
        finish("tool_calls"),
    ])
    .await;
    let ids: Vec<&String> =
        events.iter().filter_map(|e| if let StreamEvent::ToolCall { id, .. } = e { Some(id) } else { None }).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.starts_with("call_")), "{ids:?}");
}

#[actix_rt::test]
async fn arguments_that_are_no_object_are_a_fault_and_never_a_call() {
    for (arguments, says) in [("{\"a\":", "are no JSON"), ("[1]", "are no JSON object"), ("7", "are no JSON object")] {
        let chunks =
            [delta(json!({ "tool_calls": [piece(0, Some("a"), Some("time"), arguments)] })), finish("tool_calls")];
        let (events, fault) = play(body(&chunks) + "data: [DONE]\n\n").await;
        let fault = fault.expect("a fault");
        assert_eq!((events.len(), fault.kind), (0, Malformed));
        assert!(fault.message.contains("its tool call time ") && fault.message.contains(says), "{fault}");
    }
}

#[actix_rt::test]
async fn a_call_that_the_token_limit_cut_is_left_out() {
    let events = played(&[
        delta(
            json!({ "tool_calls": [piece(0, Some("a"), Some("x"), "{}"), piece(1, Some("b"), Some("y"), "{\"a\":")] }),
        ),
        finish("length"),
    ])
    .await;
    assert_eq!(events, [call("a", "x", json!({})), StreamEvent::Ended(StopReason::MaxTokens)]);
}

#[actix_rt::test]
async fn reasons_to_stop() {
    for (word, reason) in [
        ("stop", StopReason::EndTurn),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("eos_token", StopReason::EndTurn),
        ("tool_calls", StopReason::EndTurn), // without any
    ] {
        let events = played(&[delta(json!({ "content": "x" })), finish(word)]).await;
        assert_eq!(events.last(), Some(&StreamEvent::Ended(reason)), "{word}");
    }
    let events = played(&[delta(json!({ "refusal": "no" })), finish("stop")]).await;
    assert_eq!(events, [StreamEvent::Text("no".into()), StreamEvent::Ended(StopReason::Refusal)]);
}

#[actix_rt::test]
async fn an_answer_is_whole_only_if_it_says_so() {
    let hello = delta(json!({ "content": "Hello" }));
    // A finish reason without [DONE], and the other way round, are ends.
    for ending in [format!("data: {}\n\n", finish("stop")), "data: [DONE]\n\n".to_owned()] {
        let (events, fault) = play(body(std::slice::from_ref(&hello)) + &ending).await;
        assert_eq!((text(&events).as_str(), fault), ("Hello", None), "{ending}");
    }
    // The marker without any answer is none.
    let (events, fault) = play("data: [DONE]\n\n".to_owned()).await;
    assert_eq!((events.len(), fault.map(|f| f.kind)), (0, Some(Network)));
    // Neither is none.
    let (events, fault) = play(body(&[hello])).await;
    assert_eq!(text(&events), "Hello");
    assert_eq!(fault.expect("a cut stream is a fault").kind, Network);
}

#[actix_rt::test]
async fn an_error_in_mid_stream_is_a_fault_after_the_text() {
    for (error, kind) in [
        (json!({ "error": { "message": "boom", "type": "server_error" } }), Server),
        (json!({ "error": { "message": "busy", "code": 429 } }), Overloaded),
        (json!({ "error": "it broke" }), Server),
    ] {
        let (events, fault) =
            play(body(&[delta(json!({ "content": "Hel" })), error, delta(json!({ "content": "lo" }))])).await;
        assert_eq!(text(&events), "Hel");
        assert_eq!(fault.expect("a fault").kind, kind);
    }
    let (_, fault) = play("event: error\ndata: oh dear\n\n".to_owned()).await;
    assert_eq!(fault.expect("a fault").kind, Server);
}

#[actix_rt::test]
async fn chunks_that_are_no_json_are_malformed() {
    for bad in ["data: {\"choices\":\n\n", "data: hello\n\n", "data: {\"choices\":7}\n\n"] {
        let (_, fault) = play(bad.to_owned()).await;
        assert_eq!(fault.expect("a fault").kind, Malformed, "{bad}");
    }
}

#[actix_rt::test]
async fn refusals_of_the_request_are_told_apart() {
    let error = |message: &str, code: &str| json!({ "error": { "message": message, "code": code } }).to_string();
    for (status, reply, kind) in [
        ("401 Unauthorized", error("Incorrect API key provided: sesame-key-123", "invalid_api_key"), Credentials),
        ("403 Forbidden", String::new(), Credentials),
        ("400 Bad Request", error("sesame-key-123 is bad", "x"), Rejected),
        (
            "400 Bad Request",
            error("This model's maximum context length is 8 tokens", "context_length_exceeded"),
            ContextTooLong,
        ),
        ("404 Not Found", "<html>".to_owned(), Rejected),
        ("302 Found", String::new(), Rejected),
    ] {
        let server = MockHttp::start([answer(status, "location: http://127.0.0.1:1/\r\n", &reply)]).await;
        let fault = fault(&openai(server.url("/v1")), prompt("hi")).await;
        assert_eq!((fault.kind, fault.status), (kind, status[..3].parse().ok()), "{fault}");
        assert_eq!(server.unused(), 0);
    }
}
