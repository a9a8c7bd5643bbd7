//! A provider that fails ends the turn with a clear text, costs nobody a second answer, and leaves the session usable.

use serde_json::{Value, json};

use crate::support::mock_http::{MockHttp, Seen, Step, answer, chunk, stream, stream_head};
use crate::support::upstream::*;
use crate::support::{self, Client, Hub, HubOptions, run};

/// How one fault is brought about, and what is to come of it.
struct Fault {
    name: &'static str,
    /// One script a request; as many requests are expected.
    scripts: Vec<Vec<Step>>,
    /// What the client is told, with `ADDRESS` for the model's.
    error: &'static str,
    /// What was said before.
    kept: &'static str,
}

fn fault(name: &'static str, script: Vec<Step>, times: usize, error: &'static str, kept: &'static str) -> Fault {
    Fault { name, scripts: vec![script; times], error, kept }
}

/// Times small enough for a test; the client's own waits stay out of it.
fn quick(options: HubOptions) -> HubOptions {
    options.config("[providers]\nfirst_token_seconds = 1\nidle_seconds = 1\nretries = 2")
}

async fn check(wire: fn(&MockHttp) -> HubOptions, well: Vec<Step>, faults: Vec<Fault>) {
    let mut scripts = Vec::new();
    for fault in &faults {
        scripts.extend(fault.scripts.clone());
        scripts.push(well.clone());
    }
    let mut model = MockHttp::start(scripts).await;
    let (hub, mut client, _) = conversation(quick(wire(&model))).await;
    for fault in faults {
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        check_one(&mut model, &mut client, &session, &fault).await;
    }
    assert_eq!(model.unused(), 0);
    no_secret(&hub);
}

async fn check_one(model: &mut MockHttp, client: &mut Client, session: &str, fault: &Fault) {
    let name = fault.name;
    let turn = client.say(session, "hello").await;
    let (ended, told) = until_end(client, &turn).await;
    let expected = fault.error.replace("ADDRESS", &model.address.to_string());
    assert_eq!((&ended["state"], &ended["error"]), (&json!("failed"), &json!(expected)), "{name}: {ended}");
    assert_eq!(told, fault.kept, "{name}");
    let kept = stored(client, session, &turn).await;
    assert_eq!((&kept["state"], words(&kept, "text").as_str()), (&json!("failed"), fault.kept), "{name}: {kept}");
    let snapshot = client.subscribe(&format!("session:{session}"), None).await;
    assert_eq!(snapshot["snapshot"]["turns"][0]["error"], json!(expected), "{name}");
    assert!(!snapshot.to_string().contains(KEY), "{name}: {snapshot}");
    // Exactly the requests that were to be made, and the session goes on.
    let turn = client.say(session, "and now").await;
    assert_eq!(until_end(client, &turn).await.0["state"], "completed", "{name}");
    let mut asked: Vec<Value> = Vec::new();
    settle().await;
    while let Some(seen) = model.try_next() {
        if let Seen::Request(_, request) = seen {
            asked.push(request.json());
        }
    }
    assert_eq!(asked.len(), fault.scripts.len() + 1, "{name}");
    let last = asked.pop().unwrap_or_default().to_string();
    assert!(last.contains("and now"), "{name}: {last}");
    assert!(asked.iter().all(|a| *a == asked[0]), "{name}: a repeated request is the same");
}

fn no_secret(hub: &Hub) {
    let log = hub.log();
    assert!(log.iter().all(|line| !line.contains(KEY) && !line.contains("0123456789")), "the key is in the log");
}

#[test]
fn openai() {
    run(async {
        let refused = format!("{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}\",\"type\":\"auth\"}}}}");
        let broken = format!("{}data: {{\"error\":{{\"message\":\"lost {KEY}\"}}}}\n\n", says("Half"));
        let cut = |step| vec![stream_head(), Step::Send(chunk(says("Half"))), step];
        let busy = answer("429 Too Many Requests", "retry-after: 0\r\n", "{\"error\":{\"message\":\"slow down\"}}");
        let overloaded = answer("529 Overloaded", "retry-after: 0\r\n", "{\"error\":{\"message\":\"Overloaded\"}}");
        let mut stopped_before = vec![stream_head()];
        stopped_before.push(Step::Send(chunk("data: {\"error\":{\"message\":\"no such model\",\"code\":404}}\n\n")));
        stopped_before.push(Step::Hang);
        check(
            support::upstream::openai,
            answers("Well."),
            vec![
                fault(
                    "401",
                    answer("401 Unauthorized", "", &refused),
                    1,
                    "openai (ADDRESS) refused the API key (401)",
                    "",
                ),
                fault("429", busy, 3, "openai (ADDRESS) is overloaded or limits our rate (429): slow down", ""),
                fault(
                    "529",
                    overloaded,
                    3,
                    "openai (ADDRESS) is overloaded or limits our rate (529): Overloaded",
                    "",
                ),
                fault(
                    "400",
                    answer("400 Bad Request", "", "{\"error\":{\"message\":\"no such parameter\"}}"),
                    1,
                    "openai (ADDRESS) rejected the request (400): no such parameter",
                    "",
                ),
                fault("no stream", answer("200 OK", "content-type: text/html\r\n", "<p>"), 1,
                    "openai (ADDRESS) answered with text/html instead of an event stream", ""),
                fault("error in the first event", stopped_before, 1, "openai rejected the request (404): no such model", ""),
                fault("error in mid-stream", begins(&broken), 1, "openai failed: lost ***", "Half"),
                fault("silence", begins(&says("Half")), 1, "openai (ADDRESS) sent nothing for 1 s", "Half"),
                fault("cut", cut(Step::Reset), 1, "the connection to openai (ADDRESS) broke in mid-answer: Connection reset by peer (os error 104)", "Half"),
                fault("ended early", cut(Step::Send(b"0\r\n\r\n".to_vec())), 1, "openai: the stream ended before the answer was complete", "Half"),
                fault("no JSON", begins(&(says("Half") + "data: {\n\n")), 1, "openai: a chunk of the stream is not as it should be: EOF while parsing an object at line 1 column 1", "Half"),
            ],
        )
        .await;
    });
}

/// Frames of the Messages wire.
fn frames(list: &[Value]) -> String {
    list.iter().map(|f| format!("event: {}\ndata: {f}\n\n", f["type"].as_str().unwrap_or_default())).collect()
}

fn half() -> String {
    frames(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}}),
    ])
}

fn other_half() -> String {
    frames(&[
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ])
}

#[test]
fn anthropic() {
    run(async {
        let error = |kind: &str, text: &str| json!({"type": "error", "error": {"type": kind, "message": text}});
        let overloaded = error("overloaded_error", "Overloaded");
        let refused = error("authentication_error", &format!("invalid x-api-key {KEY}")).to_string();
        let at_once = vec![stream_head(), Step::Send(chunk(frames(std::slice::from_ref(&overloaded)))), Step::Hang];
        check(
            support::upstream::anthropic,
            stream(half() + &other_half()),
            vec![
                fault(
                    "401",
                    answer("401 Unauthorized", "", &refused),
                    1,
                    "anthropic (ADDRESS) refused the API key (401)",
                    "",
                ),
                fault(
                    "529",
                    answer("529 Overloaded", "retry-after: 0\r\n", &overloaded.to_string()),
                    3,
                    "anthropic (ADDRESS) is overloaded or limits our rate (529): Overloaded",
                    "",
                ),
                fault(
                    "overloaded in the first event",
                    at_once,
                    3,
                    "anthropic is overloaded or limits our rate: Overloaded",
                    "",
                ),
                fault(
                    "overloaded in mid-stream",
                    begins(&(half() + &frames(&[overloaded]))),
                    1,
                    "anthropic is overloaded or limits our rate: Overloaded",
                    "Half",
                ),
                fault("silence", begins(&half()), 1, "anthropic (ADDRESS) sent nothing for 1 s", "Half"),
            ],
        )
        .await;
    });
}

#[test]
fn a_try_before_the_first_token_is_repeated_in_silence() {
    run(async {
        let busy = answer("429 Too Many Requests", "retry-after: 0\r\n", "{}");
        let cut_short = vec![stream_head(), Step::Reset];
        let mut model = MockHttp::start([busy, cut_short, answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(quick(support::upstream::openai(&model))).await;
        let turn = client.say(&session, "hello").await;
        let (ended, told) = until_end(&mut client, &turn).await;
        assert_eq!((&ended["state"], &ended["error"]), (&json!("completed"), &Value::Null), "{ended}");
        assert_eq!(told, "Well.");
        let requests = [next_request(&mut model).await, next_request(&mut model).await, next_request(&mut model).await];
        assert!(requests.iter().all(|r| r.body == requests[0].body));
        // All tries of a turn go by the id under which the client sent it.
        let id = requests[0].header("x-request-id").expect("an id").to_owned();
        assert!(requests.iter().all(|r| r.header("x-request-id") == Some(&id)));
    });
}

#[test]
fn silence_before_the_answer_ends_with_the_last_try() {
    run(async {
        let mut model = MockHttp::start([vec![Step::Hang], answers("Well.")]).await;
        let options = support::upstream::openai(&model).config("[providers]\nfirst_token_seconds = 1\nretries = 0");
        let (_hub, mut client, session) = conversation(options).await;
        let turn = client.say(&session, "hello").await;
        let (ended, _) = until_end(&mut client, &turn).await;
        let why = format!("openai ({}) did not answer within 1 s", model.address);
        assert_eq!((&ended["state"], &ended["error"]), (&json!("failed"), &json!(why)));
        model.request().await;
        has_hung_up(&mut model).await;
        let turn = client.say(&session, "and now").await;
        assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
    });
}

#[test]
fn nobody_there_at_all() {
    run(async {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let options = HubOptions::default()
            .set("OPENAI_API_KEY", KEY)
            .set("OPENAI_BASE_URL", format!("http://{nobody}/v1"))
            .config("[providers]\nretries = 0");
        let (hub, mut client, session) = conversation(options).await;
        // On the flat form a failed turn is an error, once.
        client.send(json!({"type": "message", "content": "hello", "sessionId": session})).await;
        let error = client.find(|f| f["type"] == "error").await;
        let text = error["message"].as_str().expect("a text");
        assert!(text.starts_with(&format!("cannot connect to openai ({nobody})")), "{text}");
        assert_eq!((&error["sessionId"], &error["code"]), (&json!(session), &json!("failed")));
        no_secret(&hub);
    });
}
