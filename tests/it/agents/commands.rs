//! Slash commands over `/ws` and HTTP, and that a word in a chat is never one.

use serde_json::{Value, json};

use super::member;
use crate::support::mock_http::MockHttp;
use crate::support::upstream::{answers, asks, calls, conversation, next_request, until_end};
use crate::support::{Client, HubOptions, run};

async fn slash(client: &mut Client, session: &str, line: &str) -> Value {
    client.call("commands.execute", json!({"sessionId": session, "command": line})).await
}

#[test]
fn the_manifest_shows_everybody_what_they_may_use() {
    run(async {
        let options = HubOptions::default().config(
            "[commands.review]\nprompt = \"review this: {{args}}\"\ndescription = \"A review\"\naliases = [\"rv\"]\n",
        );
        let (hub, mut alice, _) = conversation(options).await;
        let manifest = alice.call("commands.list", json!({})).await;
        let names: Vec<&str> =
            manifest["commands"].as_array().expect("commands").iter().filter_map(|c| c["name"].as_str()).collect();
        let wanted = ["model", "thinking", "agent", "stop", "abort", "retry", "clear", "compact", "todo", "status"];
        assert_eq!(names[..10], wanted);
        assert_eq!(names[10..], ["usage", "help", "review"]);
        let review = manifest["commands"].as_array().and_then(|all| all.last()).expect("a command");
        assert_eq!(review["scope"], "template");
        let model = &manifest["commands"][0]["args"][0];
        assert_eq!((&model["type"], &model["values"]), (&json!("enum"), &json!(["demo/demo", "clear"])));
        let over_http = member(&hub, "bob").ok("GET", "/api/v1/commands", Value::Null).await;
        assert_eq!(over_http, manifest);
    });
}

#[test]
fn a_model_is_chosen_and_cleared_and_everybody_is_told() {
    run(async {
        let (hub, mut alice, session) = conversation(HubOptions::default()).await;
        let mut other = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        other.subscribe(&format!("session:{session}"), None).await;
        let chosen = slash(&mut alice, &session, "/model demo/other").await;
        assert_eq!(
            (&chosen["command"], &chosen["success"], &chosen["data"]["model"]),
            (&json!("model"), &json!(true), &json!("other")),
            "{chosen}"
        );
        let told = other.event("session.updated").await;
        assert_eq!(told["session"]["model"], "demo/other");
        assert_eq!(told["info"]["model"], "other");
        let shown = slash(&mut alice, &session, "/m").await;
        assert_eq!(shown["message"], "demo/other: chosen for this conversation");
        let cleared = slash(&mut alice, &session, "/model clear").await;
        assert_eq!((&cleared["data"]["chosen"], &cleared["data"]["model"]), (&json!(false), &json!("demo")));
        let thinking = slash(&mut alice, &session, "/thinking high").await;
        assert_eq!((&thinking["success"], &thinking["data"]["thinkingLevel"]), (&json!(true), &json!("high")));
        let wrong = slash(&mut alice, &session, "/t hardest").await;
        assert_eq!((&wrong["success"], &wrong["data"]["code"]), (&json!(false), &json!("bad_request")), "{wrong}");
        assert!(wrong["message"].as_str().is_some_and(|text| text.contains("off, minimal, low")), "{wrong}");
        let agent = slash(&mut alice, &session, "/agent nobody").await;
        assert_eq!((&agent["success"], &agent["message"]), (&json!(false), &json!("agent: no such agent")));
    });
}

#[test]
fn a_template_sends_its_prompt() {
    run(async {
        let mut model = MockHttp::start([answers("fine")]).await;
        let options = super::plain(&model, "[commands.review]\nprompt = \"review this: {{args}}\"\n");
        let (_hub, mut alice, session) = conversation(options).await;
        let sent = slash(&mut alice, &session, "/review  it's \"half").await;
        assert_eq!(sent["success"], true, "{sent}");
        let (ended, _) = until_end(&mut alice, sent["data"]["turnId"].as_str().expect("a turn")).await;
        assert_eq!(ended["state"], "completed");
        assert_eq!(next_request(&mut model).await.json()["messages"][0]["content"], "review this: it's \"half");
    });
}

#[test]
fn stop_and_retry_and_todos_work_as_commands() {
    run(async {
        let (_hub, mut alice, session) = conversation(HubOptions::default()).await;
        assert_eq!(slash(&mut alice, &session, "/stop").await["message"], "nothing runs");
        let turn = alice.say(&session, "slow long 20000").await;
        alice.find(|f| f["event"] == "part.updated").await;
        let stopped = slash(&mut alice, &session, "/stop").await;
        assert_eq!((&stopped["success"], &stopped["data"]["turnId"]), (&json!(true), &json!(turn)));
        assert_eq!(stopped["data"]["state"], "stopped");
        let again = slash(&mut alice, &session, "/retry").await;
        assert_eq!(again["success"], true, "{again}");
        alice.find(|f| f["event"] == "turn.started" && f["data"]["turnId"] == again["data"]["turnId"]).await;
        assert_eq!(slash(&mut alice, &session, "/abort").await["data"]["state"], "aborted");
        slash(&mut alice, &session, "/todo add \"buy milk\" today").await;
        slash(&mut alice, &session, "/todo add eggs").await;
        let done = slash(&mut alice, &session, "/todo done 1").await;
        assert_eq!(done["message"], "1. buy milk today (completed)\n2. eggs (pending)");
        let missing = slash(&mut alice, &session, "/todo done 9").await;
        assert_eq!((&missing["success"], &missing["message"]), (&json!(false), &json!("text: the id of a todo")));
        let list = alice.call("todos.get", json!({"sessionId": session})).await;
        assert_eq!(list["todos"][0]["content"], "buy milk today");
        let status = slash(&mut alice, &session, "/status").await;
        assert!(status["message"].as_str().is_some_and(|text| text.starts_with("assistant answers with demo/demo")));
        let usage = slash(&mut alice, &session, "/usage week").await;
        assert!(usage["data"]["turns"].as_u64().is_some_and(|turns| turns >= 1), "{usage}");
        let help = slash(&mut alice, &session, "/help stop").await;
        assert_eq!(help["message"], "/stop: Stop the turn that runs; what was said is kept");
    });
}

#[test]
fn what_there_is_not_and_what_one_may_not_is_said() {
    run(async {
        let (hub, mut alice, session) = conversation(HubOptions::default()).await;
        let unknown = slash(&mut alice, &session, "/approve all").await;
        assert_eq!((&unknown["command"], &unknown["success"]), (&json!("approve"), &json!(false)));
        assert!(unknown["message"].as_str().is_some_and(|text| text.contains("there is no command /approve")));
        let reload = slash(&mut alice, &session, "/reload").await;
        assert_eq!((&reload["success"], &reload["data"]["code"]), (&json!(false), &json!("forbidden")));
        let no_line = alice.refused("commands.execute", json!({"sessionId": session, "command": "/"})).await;
        assert_eq!(no_line, "bad_request");
        let open = json!({"sessionId": session, "command": "todo", "args": "add \"x"});
        assert_eq!(alice.refused("commands.execute", open).await, "bad_request");
        // Another's conversation, and one of nobody's.
        let mut bob = Client::connect(&hub.address, &hub.token("bob", "acme", "member")).await;
        let help = json!({"sessionId": session, "command": "/help"});
        assert_eq!(bob.refused("commands.execute", help.clone()).await, "forbidden");
        let mut carol = Client::connect(&hub.address, &hub.token("carol", "globex", "owner")).await;
        assert_eq!(carol.refused("commands.execute", help).await, "not_found");
        let over_http = member(&hub, "alice");
        let path = format!("/api/v1/sessions/{session}/commands");
        let answer = over_http.post(&path, json!({"command": "model", "args": "demo/x"})).await;
        assert_eq!((answer.status, answer.json()["success"].clone()), (200, json!(true)));
    });
}

#[test]
fn case_34_approve_as_chat_text_is_text() {
    run(async {
        let fetch = r#"{"url":"https://example.org/"}"#;
        let model = MockHttp::start([asks(&calls(0, "c1", "http_fetch", fetch)), answers("done")]).await;
        let options = crate::support::upstream::openai(&model).set("SWITCHBOARD_APPROVALS__TIMEOUT_SECONDS", 3600);
        let (_hub, mut alice, session) = conversation(options).await;
        let turn = alice.say(&session, "/approve").await;
        let asked = alice.event("tool.approval_required").await;
        for text in ["/approve", "/approve all", "approve", "yes", "/allow"] {
            alice.say(&session, text).await;
        }
        let request = asked["requestId"].clone();
        alice.call("commands.execute", json!({"sessionId": session, "command": "/approve"})).await;
        let waiting = alice.call("approvals.list", json!({"sessionId": session})).await;
        assert_eq!(waiting["items"][0]["requestId"], request, "it waits still");
        assert_eq!(waiting["items"][0]["state"], "pending");
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(list["items"][0]["parts"][0]["text"], "/approve", "it was stored as what it is");
        alice.call("tools.reject", json!({"requestId": request})).await;
        let (ended, _) = until_end(&mut alice, &turn).await;
        assert_eq!(ended["state"], "completed");
    });
}
