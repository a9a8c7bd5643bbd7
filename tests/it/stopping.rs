//! Stopping means stopped: the upstream socket is closed before the answer, and nothing of the turn comes after it.

use serde_json::{Value, json};

use crate::support::mock_http::{MockHttp, Seen, Step, answer, chunk, stream_head};
use crate::support::upstream::*;
use crate::support::{Client, Hub, run};

/// Stops the turn at work and checks all that a receipt promises; gives the answer to `stop`.
async fn stop(model: &mut MockHttp, client: &mut Client, session: &str, turn: &str) -> Value {
    let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
    has_hung_up(model).await;
    check_stopped(client, session, turn, &stopped).await;
    stopped
}

/// What the client was told up to the answer is what is stored, and what the receipt counts.
async fn check_stopped(client: &mut Client, session: &str, turn: &str, stopped: &Value) {
    let before = client.take_waiting();
    assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(turn), &json!("stopped")), "{stopped}");
    let receipt = &stopped["receipt"];
    assert_eq!(receipt["bytesAfter"], 0, "{receipt}");
    let kept = stored(client, session, turn).await;
    assert_eq!(kept["state"], "stopped");
    assert_eq!(receipt["keptBytes"], words(&kept, "text").len(), "{receipt}");
    let told: Vec<&Value> = before.iter().filter(|f| f["event"] == "turn.ended").collect();
    assert_eq!(told.len(), 1, "the end is told once, and before the answer");
    assert_eq!((&told[0]["data"]["state"], &told[0]["data"]["receipt"]), (&json!("stopped"), receipt));
    let answer = kept["id"].as_str().expect("an id").to_owned();
    nothing_more(client, session, turn, &answer).await;
}

/// The next turn runs to its end, and not a word of the stopped one comes in between.
async fn nothing_more(client: &mut Client, session: &str, turn: &str, answer: &str) {
    let next = client.say(session, "go on").await;
    loop {
        let frame = client.find(|f| f["type"] == "event").await;
        assert_ne!(frame["data"]["messageId"], answer, "{frame}");
        assert_ne!(frame["data"]["turnId"], turn, "{frame}");
        if frame["event"] == "turn.ended" {
            assert_eq!((&frame["data"]["turnId"], &frame["data"]["state"]), (&json!(next), &json!("completed")));
            return;
        }
    }
}

#[test]
fn during_text() {
    run(async {
        let mut model = MockHttp::start([begins(&says("One, two")), answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "count").await;
        client.event("part.updated").await;
        model.request().await;
        let stopped = stop(&mut model, &mut client, &session, &turn).await;
        assert_eq!(stopped["receipt"]["keptBytes"], 8);
        // What was said stays in the model's context.
        let next = model.request().await.json();
        assert_eq!(next["messages"][2], json!({"role": "assistant", "content": "One, two"}), "{next}");
    });
}

#[test]
fn while_the_model_talks_without_end() {
    run(async {
        let flood = vec![stream_head(), Step::SendForever(chunk(says("more ")))];
        let mut model = MockHttp::start([flood, answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "talk").await;
        client.event("part.updated").await;
        model.request().await;
        let stopped = stop(&mut model, &mut client, &session, &turn).await;
        assert_ne!(stopped["receipt"]["keptBytes"], 0);
    });
}

#[test]
fn a_watcher_hears_nothing_after_the_end() {
    run(async {
        let flood = vec![stream_head(), Step::SendForever(chunk(says("more ")))];
        let mut model = MockHttp::start([flood, answers("Well.")]).await;
        // Three workers: the watcher may sit on another one than the conversation.
        let options = openai(&model).set("SWITCHBOARD_SERVER__WORKERS", 3);
        let (hub, mut client, session) = conversation(options).await;
        let token = hub.token("alice", "acme", "member");
        let mut watcher = Client::connect(&hub.address, &token).await;
        watcher.subscribe(&format!("session:{session}"), None).await;
        let turn = client.say(&session, "talk").await;
        watcher.event("part.updated").await;
        model.request().await;
        let stopped = stop(&mut model, &mut client, &session, &turn).await;
        let (ended, _) = until_end(&mut watcher, &turn).await;
        assert_eq!(ended["receipt"], stopped["receipt"]);
        let kept = stored(&mut client, &session, &turn).await;
        loop {
            let frame = watcher.find(|f| f["type"] == "event").await;
            assert_ne!(frame["data"]["messageId"], kept["id"], "{frame}");
            if frame["event"] == "turn.ended" {
                break;
            }
        }
    });
}

#[test]
fn during_thinking() {
    run(async {
        let mut model = MockHttp::start([begins(&thinks("Hm, well")), answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "ponder").await;
        client.event("part.updated").await;
        model.request().await;
        let stopped = stop(&mut model, &mut client, &session, &turn).await;
        assert_eq!(stopped["receipt"]["keptBytes"], 0);
        let kept = stored(&mut client, &session, &turn).await;
        assert_eq!(words(&kept, "thinking"), "Hm, well");
    });
}

#[test]
fn while_the_answer_has_not_begun() {
    run(async {
        let head_only = vec![stream_head(), Step::Hang];
        for silence in [vec![Step::Hang], head_only] {
            let mut model = MockHttp::start([silence, answers("Well.")]).await;
            let (_hub, mut client, session) = conversation(openai(&model)).await;
            let turn = client.say(&session, "hello?").await;
            model.request().await;
            let stopped = stop(&mut model, &mut client, &session, &turn).await;
            assert_eq!(stopped["receipt"]["keptBytes"], 0);
        }
    });
}

#[test]
fn between_two_tries() {
    run(async {
        let busy = answer("429 Too Many Requests", "retry-after: 3600\r\n", "{}");
        let mut model = MockHttp::start([busy, answers("Well.")]).await;
        let (hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "hello?").await;
        model.request().await;
        hub.logged("is tried again").await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        check_stopped(&mut client, &session, &turn, &stopped).await;
        // The second request is the next turn's: the stopped one asked no second time.
        let next = next_request(&mut model).await.json();
        let said = next["messages"].as_array().expect("messages").last().expect("one");
        assert_eq!(said["content"], "go on");
        assert_eq!(model.unused(), 0);
    });
}

/// A hub whose model asks to read a page, and whose page the test holds back.
async fn fetching(more: Vec<Vec<Step>>, page: Vec<Step>) -> (MockHttp, MockHttp, Hub, Client, String, String) {
    let mut site = MockHttp::start([page]).await;
    let fetch = calls(0, "call_1", "http_fetch", &json!({"url": site.url("/page")}).to_string());
    let scripts = [vec![asks(&(says("Let me see.") + &fetch))], more].concat();
    let mut model = MockHttp::start(scripts).await;
    let friend = site.address;
    let config =
        format!("[tools.http_fetch]\npolicy = \"allow\"\nallow_hosts = [\"{friend}\"]\nallow_private = [\"{friend}\"]");
    let (hub, mut client, session) = conversation(openai(&model).config(&config)).await;
    let turn = client.say(&session, "read it").await;
    model.request().await;
    assert_eq!(site.request().await.line, "GET /page HTTP/1.1");
    (model, site, hub, client, session, turn)
}

#[test]
fn a_tool_that_runs_may_end() {
    run(async {
        let go = std::rc::Rc::new(tokio::sync::Notify::new());
        let page = answer("200 OK", "content-type: text/plain\r\n", "the page");
        let page = [vec![Step::Wait(go.clone())], page].concat();
        let (model, _site, _hub, mut client, session, turn) = fetching(vec![answers("Well.")], page).await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(turn), &json!("stopping")), "{stopped}");
        assert_eq!(
            (&stopped["receipt"]["bytesAfter"], &stopped["receipt"]["keptBytes"]),
            (&json!(0), &json!("Let me see.".len()))
        );
        // Whoever comes now sees it stopping; asking again is answered the same.
        let seen = client.subscribe(&format!("session:{session}"), None).await;
        assert_eq!(seen["snapshot"]["turn"]["state"], "stopping");
        let again = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!(again, stopped);
        go.notify_one();
        let (ended, _) = until_end(&mut client, &turn).await;
        assert_eq!((&ended["state"], &ended["receipt"]), (&json!("stopped"), &stopped["receipt"]));
        let kept = stored(&mut client, &session, &turn).await;
        assert_eq!(parts(&kept, "tool_call")[0]["state"], "succeeded");
        let result = parts(&kept, "tool_result")[0]["output"].as_str().expect("an output").to_owned();
        assert!(result.ends_with("the page"), "{result}");
        assert_eq!(model.unused(), 1, "the model is not asked again");
    });
}

#[test]
fn abort_ends_the_tool_too() {
    run(async {
        let more = vec![answers("Well.")];
        let (mut model, mut site, _hub, mut client, session, turn) = fetching(more, vec![Step::Hang]).await;
        let aborted = client.call("messages.abort", json!({"sessionId": session})).await;
        assert_eq!((&aborted["turnId"], &aborted["state"]), (&json!(turn), &json!("aborted")), "{aborted}");
        assert_eq!(aborted["receipt"]["keptBytes"], "Let me see.".len());
        site.hung_up().await;
        let kept = stored(&mut client, &session, &turn).await;
        assert_eq!(parts(&kept, "tool_call")[0]["state"], "cancelled");
        let result = parts(&kept, "tool_result")[0];
        assert_eq!(result["isError"], true);
        client.take_waiting();
        let answer = kept["id"].as_str().expect("an id").to_owned();
        nothing_more(&mut client, &session, &turn, &answer).await;
        // The history is valid for the next request: the call has a result, made up by the hub.
        let next = next_request(&mut model).await.json();
        assert_eq!(next["messages"][2]["tool_calls"][0]["id"], "call_1", "{next}");
        let expected = json!({"role": "tool", "tool_call_id": "call_1", "content": result["output"]});
        assert_eq!(next["messages"][3], expected);
    });
}

#[test]
fn an_abort_overrules_a_stop() {
    run(async {
        let (_model, mut site, _hub, mut client, session, turn) = fetching(Vec::new(), vec![Step::Hang]).await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!(stopped["state"], "stopping");
        let aborted = client.call("messages.abort", json!({"sessionId": session, "turnId": turn})).await;
        assert_eq!(aborted["state"], "aborted", "{aborted}");
        assert_eq!(aborted["receipt"], stopped["receipt"]);
        site.hung_up().await;
    });
}

#[test]
fn what_waits_behind_it_starts() {
    run(async {
        let scripts = [begins(&says("One")), answers("Two"), answers("Three")];
        let mut model = MockHttp::start(scripts).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let first = client.say(&session, "first").await;
        client.event("part.updated").await;
        model.request().await;
        let second = client.say(&session, "second").await;
        let third = client.say(&session, "third").await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(first), &json!("stopped")));
        for (turn, text) in [(&second, "Two"), (&third, "Three")] {
            let (ended, _) = until_end(&mut client, turn).await;
            assert_eq!(ended["state"], "completed");
            let answer = stored(&mut client, &session, turn).await;
            assert_eq!(words(&answer, "text"), text);
        }
        // One closed connection and a new one; from the end of the second on it is used again.
        has_hung_up_then_asked(&mut model, "second").await;
    });
}

async fn has_hung_up_then_asked(model: &mut MockHttp, content: &str) {
    model.hung_up().await;
    let asked = model.request().await.json();
    let last = asked["messages"].as_array().and_then(|m| m.last()).expect("messages").clone();
    assert_eq!(last["content"], content);
}

#[test]
fn a_queued_turn_is_cancelled_and_never_asked() {
    run(async {
        let mut model = MockHttp::start([begins(&says("One")), answers("Three")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let first = client.say(&session, "first").await;
        model.request().await;
        let second = client.say(&session, "second").await;
        let third = client.say(&session, "third").await;
        let params = json!({"sessionId": session, "turnId": second});
        assert_eq!(client.call("messages.cancel", params).await["state"], "cancelled");
        let params = json!({"sessionId": session, "turnId": first});
        assert_eq!(client.call("messages.cancel", params).await["state"], "stopped");
        let (ended, _) = until_end(&mut client, &third).await;
        assert_eq!(ended["state"], "completed");
        let asked = next_request(&mut model).await.json().to_string();
        assert!(asked.contains("third") && !asked.contains("second"), "{asked}");
    });
}

#[test]
fn stopping_twice_is_answered_twice_alike() {
    run(async {
        let mut model = MockHttp::start([begins(&says("One"))]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "count").await;
        client.event("part.updated").await;
        model.request().await;
        for id in ["a", "b"] {
            let params = json!({"sessionId": session, "turnId": turn});
            client.send(json!({"type": "request", "id": id, "method": "messages.stop", "params": params})).await;
        }
        let one = client.find(|f| f["id"] == "a").await;
        let two = client.find(|f| f["id"] == "b").await;
        assert_eq!(one["result"]["state"], "stopped", "{one}");
        assert_eq!(one["result"], two["result"]);
        // Long after its end it is still the same; without a turn's id there is nothing to stop any more.
        let later = client.call("messages.stop", json!({"sessionId": session, "turnId": turn})).await;
        assert_eq!(later, one["result"]);
        assert_eq!(client.refused("messages.stop", json!({"sessionId": session})).await, "conflict");
    });
}

#[test]
fn who_may_stop() {
    run(async {
        let mut model = MockHttp::start([begins(&says("One")), begins(&says("Two"))]).await;
        let (hub, mut client, session) = conversation(openai(&model)).await;
        let turn = client.say(&session, "count").await;
        client.event("part.updated").await;
        model.request().await;
        for (user, organization, role, code) in [
            ("bob", "acme", "member", "forbidden"),
            ("walt", "acme", "viewer", "forbidden"),
            ("alice", "other", "owner", "not_found"),
        ] {
            let token = hub.token(user, organization, role);
            let mut stranger = Client::connect(&hub.address, &token).await;
            for method in ["messages.stop", "messages.abort", "messages.cancel"] {
                let params = json!({"sessionId": session, "turnId": turn});
                assert_eq!(stranger.refused(method, params).await, code, "{user} of {organization}: {method}");
            }
        }
        settle().await;
        assert!(model.try_next().is_none(), "nobody's attempt closed anything");
        // Her own other window may; and in a shared conversation every member.
        let mut window = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let stopped = window.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!(stopped["state"], "stopped");
        has_hung_up(&mut model).await;
        let (ended, _) = until_end(&mut client, &turn).await;
        assert_eq!(ended["receipt"], stopped["receipt"]);
        client.call("sessions.update", json!({"sessionId": session, "visibility": "organization"})).await;
        let turn = client.say(&session, "again").await;
        client.event("part.updated").await;
        model.request().await;
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let stopped = bob.call("messages.abort", json!({"sessionId": session})).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(turn), &json!("aborted")));
        has_hung_up(&mut model).await;
    });
}

#[test]
fn a_message_may_interrupt_or_be_rejected() {
    run(async {
        let mut model = MockHttp::start([begins(&says("One")), answers("Two")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        let first = client.say(&session, "first").await;
        client.event("part.updated").await;
        model.request().await;
        let send = |policy: &str| json!({"sessionId": session, "content": policy, "ifRunning": policy});
        assert_eq!(client.refused("messages.send", send("reject")).await, "busy");
        let sent = client.call("messages.send", send("interrupt")).await;
        has_hung_up(&mut model).await;
        let (ended, _) = until_end(&mut client, &first).await;
        assert_eq!((&ended["state"], &ended["receipt"]["bytesAfter"]), (&json!("stopped"), &json!(0)));
        let second = sent["turnId"].as_str().expect("an id");
        assert_eq!(until_end(&mut client, second).await.0["state"], "completed");
        let asked = model.request().await.json();
        let contents: Vec<&Value> =
            asked["messages"].as_array().expect("messages").iter().skip(1).map(|m| &m["content"]).collect();
        assert_eq!(contents, ["first", "One", "interrupt"], "the rejected one left no trace");
    });
}

#[test]
fn at_once_after_it_was_sent() {
    run(async {
        let mut model = MockHttp::start([vec![Step::Hang], answers("Well.")]).await;
        let (_hub, mut client, session) = conversation(openai(&model)).await;
        // Both frames are under way before the first is answered.
        let params = json!({"sessionId": session, "content": "hello"});
        client.send(json!({"type": "request", "id": "a", "method": "messages.send", "params": params})).await;
        let params = json!({"sessionId": session});
        client.send(json!({"type": "request", "id": "b", "method": "messages.stop", "params": params})).await;
        let sent = client.find(|f| f["id"] == "a").await;
        let stopped = client.find(|f| f["id"] == "b").await;
        assert_eq!(stopped["result"]["turnId"], sent["result"]["turnId"], "{stopped}");
        assert_eq!(stopped["result"]["state"], "stopped");
        // Whether the request had left or not: it is not open any more, and the session goes on.
        settle().await;
        let open = std::iter::from_fn(|| model.try_next()).fold(0, |open, seen| match seen {
            Seen::Request(..) => open + 1,
            Seen::HungUp(_) => open - 1,
        });
        assert!(open <= 0, "a request is still open");
        let turn = client.say(&session, "go on").await;
        if open < 0 || model.unused() == 2 {
            // The script that hangs is still to be had.
            client.call("messages.stop", json!({"sessionId": session, "turnId": turn})).await;
        } else {
            assert_eq!(until_end(&mut client, &turn).await.0["state"], "completed");
        }
    });
}

#[test]
fn while_a_human_is_asked() {
    run(async {
        let scripts = [asks(&(says("May I?") + &calls(0, "call_1", "time", "{}"))), answers("Well.")];
        let mut model = MockHttp::start(scripts).await;
        let config = "[tools.time]\npolicy = \"ask\"";
        let (_hub, mut client, session) = conversation(openai(&model).config(config)).await;
        let turn = client.say(&session, "what time is it").await;
        let asked = client.event("tool.approval_required").await;
        let stopped = client.call("messages.stop", json!({"sessionId": session})).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(turn), &json!("stopped")), "{stopped}");
        assert_eq!(stopped["receipt"]["keptBytes"], "May I?".len());
        let told = client.event("tool.approval_resolved").await;
        assert_eq!((&told["requestId"], &told["approved"]), (&asked["requestId"], &json!(false)), "{told}");
        // Too late: the question is settled, and the tool never runs.
        let late = client.call("tools.approve", json!({"requestId": asked["requestId"]})).await;
        assert_eq!((&late["applied"], &late["approved"]), (&json!(false), &json!(false)), "{late}");
        let kept = stored(&mut client, &session, &turn).await;
        assert_eq!(parts(&kept, "tool_call")[0]["state"], "cancelled");
        client.take_waiting();
        let answer = kept["id"].as_str().expect("an id").to_owned();
        nothing_more(&mut client, &session, &turn, &answer).await;
        model.request().await;
        let next = next_request(&mut model).await.json();
        assert_eq!(next["messages"][3]["tool_call_id"], "call_1", "the call has its result: {next}");
    });
}
