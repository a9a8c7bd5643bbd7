//! A turn with tools: what the model asked for goes back to it as its own API wants it, with a result for every call.

use serde_json::{Value, json};

use crate::support::mock_http::{MockHttp, Request, Step, stream};
use crate::support::upstream::*;
use crate::support::{Client, HubOptions, run};

const SYSTEM: &str = "[agents.assistant]\nsystem = \"Be brief.\"";

/// A turn in which the model first says `first`, then ends; the second request and the stored answer.
async fn two_steps(
    wire: fn(&MockHttp) -> HubOptions,
    first: Vec<Step>,
    second: Vec<Step>,
    settings: Value,
) -> (Request, Value) {
    let mut model = MockHttp::start([first, second]).await;
    let (_hub, mut client, session) = conversation(wire(&model).config(SYSTEM)).await;
    let mut params = json!({"sessionId": session});
    params.as_object_mut().expect("params").extend(settings.as_object().cloned().unwrap_or_default());
    client.call("sessions.update", params).await;
    let turn = client.say(&session, "what time is it").await;
    let (ended, _) = until_end(&mut client, &turn).await;
    assert_eq!(ended["state"], "completed", "{ended}");
    model.request().await;
    let answer = stored(&mut client, &session, &turn).await;
    (next_request(&mut model).await, answer)
}

async fn openai_steps(first: &str) -> (Value, Value) {
    let (request, answer) = two_steps(openai, asks(first), answers("It is noon."), json!({})).await;
    (request.json()["messages"].take(), answer)
}

fn outputs(answer: &Value) -> Vec<&Value> {
    parts(answer, "tool_result").iter().map(|part| &part["output"]).collect()
}

#[test]
fn a_call_and_its_result_go_back_over_the_openai_wire() {
    run(async {
        let call = calls(0, "call_1", "time", "")
            + &piece(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"offset\":"}}]}))
            + &piece(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"+02:00\"}"}}]}));
        let (request, answer) =
            two_steps(openai, asks(&(says("Let me ") + &says("look.") + &call)), answers("It is noon."), json!({}))
                .await;
        let result = outputs(&answer)[0];
        assert!(result.as_str().is_some_and(|text| text.contains("+02:00, ")), "{result}");
        let body = request.json();
        assert_eq!(
            body["messages"],
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "what time is it"},
                {"role": "assistant", "content": "Let me look.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "time", "arguments": "{\"offset\":\"+02:00\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "call_1", "content": result},
            ])
        );
        let offered: Vec<&Value> =
            body["tools"].as_array().expect("tools").iter().map(|t| &t["function"]["name"]).collect();
        let own = ["todo_write", "time", "http_fetch", "action_rename_conversation", "skill_summarize"];
        assert_eq!(offered, own);
        assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
        let kinds: Vec<&Value> = answer["parts"].as_array().expect("parts").iter().map(|p| &p["type"]).collect();
        assert_eq!(kinds, ["text", "tool_call", "tool_result", "text"]);
        assert_eq!(
            (&answer["usage"]["input"], &answer["usage"]["output"]),
            (&json!(14), &json!(6)),
            "both steps count"
        );
    });
}

#[test]
fn calls_side_by_side_each_have_their_result() {
    run(async {
        let three = calls(0, "a", "time", "{}")
            + &calls(1, "b", "time", "{\"offset\":\"-01:00\"}")
            + &calls(2, "c", "todo_write", "{\"todos\":[{\"id\":\"1\",\"content\":\"look\",\"status\":\"pending\"}]}");
        let (messages, answer) = openai_steps(&three).await;
        let ids = |list: &Value| -> Vec<String> {
            list.as_array().expect("calls").iter().map(|c| c["id"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(ids(&messages[2]["tool_calls"]), ["a", "b", "c"]);
        assert_eq!(messages[2]["content"], Value::Null);
        let results = &messages.as_array().expect("messages")[3..];
        let mut of: Vec<&str> = results.iter().filter_map(|m| m["tool_call_id"].as_str()).collect();
        of.sort_unstable();
        assert_eq!(of, ["a", "b", "c"], "{messages}");
        assert!(results.iter().all(|m| m["role"] == "tool" && m["content"].is_string()));
        assert!(parts(&answer, "tool_call").iter().all(|c| c["state"] == "succeeded"), "{answer}");
    });
}

#[test]
fn a_wrong_call_is_answered_not_fatal() {
    run(async {
        let wrong =
            calls(0, "a", "fly", "{}") + &calls(1, "b", "time", "{\"offset\":5}") + &calls(2, "c", "time", "{}");
        let (messages, answer) = openai_steps(&wrong).await;
        let content = |id: &str| {
            let all = messages.as_array().expect("messages");
            let found = all.iter().find(|m| m["tool_call_id"] == id);
            found.and_then(|m| m["content"].as_str()).unwrap_or_else(|| panic!("no result of {id}: {messages}"))
        };
        assert_eq!(content("a"), "no such tool: fly");
        assert!(content("b").contains("offset"), "{}", content("b"));
        assert!(content("c").ends_with("day"), "{}", content("c"));
        let states: Vec<&Value> = parts(&answer, "tool_call").iter().map(|c| &c["state"]).collect();
        assert_eq!(states, ["failed", "failed", "succeeded"]);
    });
}

#[test]
fn arguments_that_are_no_json_fail_the_turn() {
    run(async {
        let broken = asks(&(calls(0, "a", "time", "{}") + &calls(1, "b", "time", "{\"off")));
        let model = MockHttp::start([broken, answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "what time is it").await;
        let (ended, _) = until_end(&mut client, &turn).await;
        let why = ended["error"].as_str().expect("a text");
        assert!(why.starts_with("openai: the arguments of its tool call time are no JSON"), "{why}");
        // Nothing ran, and what is left of the calls is valid for the next request.
        let answer = stored(&mut client, &session, &turn).await;
        assert!(parts(&answer, "tool_call").iter().all(|c| c["state"] == "cancelled"), "{answer}");
        let turn = client.say(&session, "again").await;
        assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
    });
}

/// An answer of the Messages wire from its blocks, each as begin and deltas.
fn blocks(list: &[(Value, Vec<Value>)], reason: &str) -> Vec<Step> {
    let mut frames =
        vec![json!({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}})];
    for (index, (block, deltas)) in list.iter().enumerate() {
        frames.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        let deltas = deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
        frames.extend(deltas);
        frames.push(json!({"type": "content_block_stop", "index": index}));
    }
    frames.push(json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}));
    frames.push(json!({"type": "message_stop"}));
    let text = |f: &Value| format!("event: {}\ndata: {f}\n\n", f["type"].as_str().unwrap_or_default());
    stream(frames.iter().map(text).collect::<String>())
}

fn text_block(text: &str) -> (Value, Vec<Value>) {
    (json!({"type": "text", "text": ""}), vec![json!({"type": "text_delta", "text": text})])
}

#[test]
fn sealed_thinking_and_calls_go_back_over_the_anthropic_wire() {
    run(async {
        let thinking = (
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            vec![
                json!({"type": "thinking_delta", "thinking": "The clock "}),
                json!({"type": "thinking_delta", "thinking": "knows."}),
                json!({"type": "signature_delta", "signature": "c2VhbA=="}),
            ],
        );
        let call = |id: &str, input: &str| {
            let block = json!({"type": "tool_use", "id": id, "name": "time", "input": {}});
            let (begin, end) = input.split_at(input.len() / 2);
            let delta = |part: &str| json!({"type": "input_json_delta", "partial_json": part});
            (block, vec![delta(begin), delta(end)])
        };
        let first = [
            thinking,
            text_block("Let me look."),
            call("toolu_1", "{\"offset\":\"+02:00\"}"),
            call("toolu_2", "{\"offset\":7}"),
        ];
        let second = [text_block("It is noon.")];
        let scripts = [blocks(&first, "tool_use"), blocks(&second, "end_turn"), blocks(&second, "end_turn")];
        let mut model = MockHttp::start(scripts).await;
        let (hub, mut client, session) = conversation(anthropic(&model).config(SYSTEM)).await;
        client.call("sessions.update", json!({"sessionId": session, "thinkingLevel": "low"})).await;
        let turn = client.say(&session, "what time is it").await;
        assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
        let answer = stored(&mut client, &session, &turn).await;
        let result_of = |position: usize| outputs(&answer)[position].clone();
        let so_far = json!([
            {"role": "user", "content": [{"type": "text", "text": "what time is it"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "The clock knows.", "signature": "c2VhbA=="},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "time", "input": {"offset": "+02:00"}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {"offset": 7}},
            ]},
        ]);
        let first = model.request().await;
        assert_eq!(first.line, "POST /v1/messages HTTP/1.1");
        assert_eq!(first.header("x-api-key"), Some(KEY));
        let request = next_request(&mut model).await.json();
        assert_eq!(request["system"], "Be brief.");
        assert_eq!(request["thinking"]["type"], "enabled", "the sealed thinking allows it to think on");
        assert_eq!([&request["messages"][0], &request["messages"][1]], [&so_far[0], &so_far[1]]);
        let mut results = request["messages"][2]["content"].as_array().expect("results").clone();
        results.sort_by_key(|block| block["tool_use_id"].to_string());
        let (good, bad) = match result_of(0).as_str().is_some_and(|text| text.ends_with("day")) {
            true => (result_of(0), result_of(1)),
            false => (result_of(1), result_of(0)),
        };
        assert_eq!(
            results,
            [
                json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": good}),
                json!({"type": "tool_result", "tool_use_id": "toolu_2", "content": bad, "is_error": true}),
            ]
        );
        assert_eq!(request["messages"].as_array().map(Vec::len), Some(3));
        // The seal outlives the process: after a kill the history is the same.
        let before = request["messages"].clone();
        let hub = hub.kill_and_restart();
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        client.subscribe(&format!("session:{session}"), None).await;
        let turn = client.say(&session, "and now").await;
        assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
        let later = next_request(&mut model).await.json();
        let history = later["messages"].as_array().expect("messages");
        assert_eq!(history[..3], before.as_array().expect("messages")[..]);
        assert_eq!(history[3], json!({"role": "assistant", "content": [{"type": "text", "text": "It is noon."}]}));
    });
}
