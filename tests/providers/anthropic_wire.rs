//! The Messages wire: what is sent, and what each shape of event means.

use serde_json::{Value, json};
use switchboard::domain::generation::ProviderFaultKind::*;
use switchboard::domain::generation::*;
use switchboard::domain::usage::Usage;

use crate::kit::{anthropic, fault, prompt, run, text, whole};
use crate::mock_http::{MockHttp, answer, stream};

fn body(frames: &[Value]) -> String {
    frames.iter().map(|f| format!("event: {}\ndata: {f}\n\n", f["type"].as_str().unwrap_or("message"))).collect()
}

fn start() -> Value {
    json!({ "type": "message_start", "message": { "id": "m", "usage": { "input_tokens": 5, "output_tokens": 1 } } })
}

fn open(index: u64, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn words(index: u64, text: &str) -> Value {
    delta(index, json!({ "type": "text_delta", "text": text }))
}

fn close(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn reason(reason: &str) -> Value {
    json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 9 } })
}

fn stop() -> Value {
    json!({ "type": "message_stop" })
}

fn text_block() -> Value {
    json!({ "type": "text", "text": "" })
}

async fn play(frames: &[Value]) -> (Vec<StreamEvent>, Option<ProviderFault>) {
    let body = body(frames);
    let server = MockHttp::start([stream(&body), stream(&body), stream(&body)]).await;
    run(&anthropic(server.url("")), prompt("hi")).await
}

/// Without the usage.
async fn played(frames: &[Value]) -> Vec<StreamEvent> {
    let (events, fault) = play(frames).await;
    assert_eq!(fault, None);
    events.into_iter().filter(|e| !matches!(e, StreamEvent::Usage(_))).collect()
}

async fn sent(asked: Prompt) -> Value {
    let mut server = MockHttp::start([stream(body(&[start(), reason("end_turn"), stop()]))]).await;
    whole(&anthropic(server.url("")), asked).await;
    let request = server.request().await;
    assert_eq!(request.line, "POST /v1/messages HTTP/1.1");
    assert_eq!(request.header("x-api-key"), Some("sesame-key-123"));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(request.header("x-request-id"), Some("req-1"));
    request.json()
}

#[actix_rt::test]
async fn a_prompt_goes_out_as_the_api_wants_it() {
    let asked = Prompt {
        system: Some("be brief".into()),
        messages: vec![
            PromptMessage::User(vec![
                UserContent::Text("what is this".into()),
                UserContent::Image(Image { media_type: "image/png".into(), source: ImageSource::Data("aGk=".into()) }),
                UserContent::Image(Image {
                    media_type: "image/png".into(),
                    source: ImageSource::Url("https://e/x.png".into()),
                }),
                UserContent::Text(" ".into()),
            ]),
            PromptMessage::Assistant(vec![
                AssistantContent::Thinking { text: "hm".into(), signature: Some("seal".into()) },
                AssistantContent::Thinking { text: "unsealed".into(), signature: None },
                AssistantContent::ToolCall { id: "c1".into(), name: "time".into(), input: json!({"zone": 1}) },
            ]),
            PromptMessage::ToolResults(vec![ToolOutput { call_id: "c1".into(), output: "no".into(), is_error: true }]),
            PromptMessage::User(vec![UserContent::File { name: "a.txt".into(), text: "body".into() }]),
        ],
        tools: vec![ToolSpec { name: "time".into(), description: "d".into(), input_schema: json!({"type": "object"}) }],
        thinking: ThinkingLevel::Medium,
        max_tokens: Some(100),
        temperature: Some(0.5),
        ..prompt("")
    };
    insta::assert_json_snapshot!(sent(asked).await);
}

#[actix_rt::test]
async fn what_is_not_set_is_not_sent() {
    let expected = json!({
        "model": "model-1", "stream": true, "max_tokens": 4096,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
    });
    assert_eq!(sent(prompt("hi")).await, expected);
}

#[actix_rt::test]
async fn thinking_waits_while_tool_calls_without_sealed_thinking_are_answered() {
    let call = AssistantContent::ToolCall { id: "c".into(), name: "t".into(), input: json!({}) };
    let result =
        PromptMessage::ToolResults(vec![ToolOutput { call_id: "c".into(), output: "x".into(), is_error: false }]);
    let mut asked = Prompt { thinking: ThinkingLevel::Low, temperature: Some(0.5), ..prompt("hi") };
    asked.messages.extend([PromptMessage::Assistant(vec![call]), result]);
    let body = sent(asked).await;
    assert_eq!((body.get("thinking"), body["temperature"].clone()), (None, json!(0.5)));
}

#[actix_rt::test]
async fn text_thinking_and_tools_come_in_order() {
    let events = played(&[
        start(),
        open(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
        delta(0, json!({ "type": "signature_delta", "signature": "se" })),
        delta(0, json!({ "type": "signature_delta", "signature": "al" })),
        close(0),
        open(1, json!({ "type": "redacted_thinking", "data": "x" })),
        close(1),
        json!({ "type": "ping" }),
        open(2, text_block()),
        words(2, "Hel"),
        delta(2, json!({ "type": "citations_delta", "citation": {} })),
        words(2, "lo"),
        close(2),
        json!({ "type": "of_the_future", "x": 1 }),
        open(3, json!({ "type": "tool_use", "id": "t1", "name": "time" })),
        delta(3, json!({ "type": "input_json_delta", "partial_json": "{\"a\"" })),
        delta(3, json!({ "type": "input_json_delta", "partial_json": ":1}" })),
        close(3),
        open(4, json!({ "type": "tool_use", "id": "", "name": "todo", "input": {} })),
        close(4),
        reason("tool_use"),
        stop(),
    ])
    .await;
    let StreamEvent::ToolCall { id: made, .. } = &events[7] else { panic!("no second call: {events:?}") };
    assert!(made.starts_with("toolu_"), "{made}");
    let call = |id: &str, name: &str, input| StreamEvent::ToolCall { id: id.into(), name: name.into(), input };
    assert_eq!(
        events,
        [
            StreamEvent::Thinking("hm".into()),
            StreamEvent::Signature("seal".into()),
            StreamEvent::BlockEnd,
            StreamEvent::Text("Hel".into()),
            StreamEvent::Text("lo".into()),
            StreamEvent::BlockEnd,
            call("t1", "time", json!({"a": 1})),
            call(made, "todo", json!({})),
            StreamEvent::Ended(StopReason::ToolUse),
        ]
    );
}

#[actix_rt::test]
async fn usage_is_cumulative_and_keeps_what_is_not_said_again() {
    let mut first = start();
    first["message"]["usage"] = json!({
        "input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3,
    });
    let (events, _) = play(&[first, reason("end_turn"), stop()]).await;
    let usage = |output| StreamEvent::Usage(Usage { input: 5, output, cache_read: 7, cache_write: 3, cost: None });
    assert_eq!(events, [usage(1), usage(9), StreamEvent::Ended(StopReason::EndTurn)]);
}

#[actix_rt::test]
async fn reasons_to_stop() {
    for (word, expected) in [
        ("end_turn", StopReason::EndTurn),
        ("stop_sequence", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("model_context_window_exceeded", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
        ("of_the_future", StopReason::EndTurn),
    ] {
        let events = played(&[start(), open(0, text_block()), words(0, "x"), close(0), reason(word), stop()]).await;
        assert_eq!(events.last(), Some(&StreamEvent::Ended(expected)), "{word}");
    }
}

#[actix_rt::test]
async fn an_answer_is_whole_only_if_it_says_so() {
    let beginning = [start(), open(0, text_block()), words(0, "Hello")];
    let with = |more: &[Value]| [&beginning[..], more].concat();
    // A stop reason without message_stop is an end, also with a block left open.
    for ending in [vec![close(0), reason("end_turn")], vec![reason("end_turn")], vec![close(0), stop()]] {
        let (events, fault) = play(&with(&ending)).await;
        assert_eq!((text(&events).as_str(), fault), ("Hello", None), "{ending:?}");
    }
    for cut in [vec![], vec![close(0)]] {
        let (events, fault) = play(&with(&cut)).await;
        assert_eq!((text(&events).as_str(), fault.map(|f| f.kind)), ("Hello", Some(Network)), "{cut:?}");
    }
}

#[actix_rt::test]
async fn blocks_out_of_order_are_malformed() {
    let call = || json!({ "type": "tool_use", "id": "t", "name": "time", "input": {} });
    for frames in [
        vec![open(0, text_block())],
        vec![stop()],
        vec![start(), start()],
        vec![start(), words(0, "x")],
        vec![start(), open(0, text_block()), words(1, "x")],
        vec![start(), open(0, text_block()), close(1)],
        vec![start(), open(0, text_block()), close(0), words(0, "x")],
        vec![start(), open(1, text_block()), close(1), open(0, text_block())],
        vec![start(), open(0, text_block()), close(0), open(0, text_block())],
        vec![start(), open(0, call()), words(0, "x")],
        vec![start(), json!({ "type": "content_block_start", "index": 0 })],
        vec![json!({ "no": "type" })],
        vec![json!([1])],
    ] {
        let (events, fault) = play(&frames).await;
        assert_eq!(fault.map(|f| f.kind), Some(Malformed), "{frames:?} gave {events:?}");
    }
}

#[actix_rt::test]
async fn a_block_that_was_not_closed_is_closed_by_the_next() {
    let call = json!({ "type": "tool_use", "id": "t", "name": "time" });
    let frames =
        [start(), open(0, text_block()), words(0, "x"), open(1, call), close(0), close(1), reason("tool_use"), stop()];
    let events = played(&frames).await;
    assert_eq!(events[1], StreamEvent::BlockEnd);
    assert_eq!(events[3], StreamEvent::Ended(StopReason::ToolUse));
}

#[actix_rt::test]
async fn input_that_is_no_object_is_a_fault_unless_the_token_limit_cut_it() {
    let frames = |json: &str, word: &str| {
        let input = delta(0, json!({ "type": "input_json_delta", "partial_json": json }));
        vec![
            start(),
            open(0, json!({ "type": "tool_use", "id": "t", "name": "time" })),
            input,
            close(0),
            reason(word),
            stop(),
        ]
    };
    for json in ["{\"a\":", "[]", "nonsense"] {
        let (events, fault) = play(&frames(json, "tool_use")).await;
        assert_eq!(fault.map(|f| f.kind), Some(Malformed));
        assert!(!events.iter().any(|e| matches!(e, StreamEvent::ToolCall { .. } | StreamEvent::Ended(_))));
    }
    assert_eq!(played(&frames("{\"a\":", "max_tokens")).await, [StreamEvent::Ended(StopReason::MaxTokens)]);
}

#[actix_rt::test]
async fn an_error_event_is_a_fault() {
    let error = |kind: &str| json!({ "type": "error", "error": { "type": kind, "message": "boom" } });
    for (word, kind) in [
        ("overloaded_error", Overloaded),
        ("api_error", Server),
        ("invalid_request_error", Rejected),
        ("rate_limit_error", Overloaded),
    ] {
        let (events, fault) =
            play(&[start(), open(0, text_block()), words(0, "Hel"), error(word), words(0, "lo")]).await;
        assert_eq!((text(&events).as_str(), fault.map(|f| f.kind)), ("Hel", Some(kind)), "{word}");
    }
}

#[actix_rt::test]
async fn refusals_of_the_request_are_told_apart() {
    let error = |kind: &str, message: &str| {
        json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string()
    };
    for (status, reply, kind) in [
        ("401 Unauthorized", error("authentication_error", "invalid x-api-key"), Credentials),
        (
            "400 Bad Request",
            error("invalid_request_error", "prompt is too long: 209 tokens > 200 maximum"),
            ContextTooLong,
        ),
        ("413 Payload Too Large", error("request_too_large", "too big"), ContextTooLong),
        ("400 Bad Request", error("invalid_request_error", "messages: sesame-key-123"), Rejected),
    ] {
        let server = MockHttp::start([answer(status, "", &reply)]).await;
        let fault = fault(&anthropic(server.url("/v1")), prompt("hi")).await;
        assert_eq!((fault.kind, fault.status), (kind, status[..3].parse().ok()), "{fault}");
    }
}
