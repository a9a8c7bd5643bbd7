//! Tools of MCP servers: the reference servers, called by an agent, asked about like all others.

use serde_json::{Value, json};

use crate::support::mcp::{self, OverHttp, agent, model, ready, reference, rogue, tool_turn};
use crate::support::upstream::openai;
use crate::support::{HubOptions, run};

fn offered(request: &Value) -> Vec<String> {
    let names = request["tools"].as_array().expect("tools").iter();
    names.map(|tool| tool["function"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_server_that_is_a_program_is_asked_about_and_answers() {
    run(async {
        let mut model = model(&[("everything__echo", json!({"message": "hi \u{202e}there"}))]).await;
        // No policy says anything: it is asked about.
        let config = "[agents.assistant]\ntools = [\"time\", \"everything__*\"]\n";
        let options = openai(&model).config(&reference("everything", &[])).config(config);
        let (_hub, mut client, session) = ready(options).await;
        client.say(&session, "say hi").await;
        let question = client.event("tool.approval_required").await;
        let request = &question["request"];
        assert_eq!(request["tool"], "everything__echo");
        assert_eq!(request["input"], json!({"message": "hi \u{202e}there"}));
        let summary = "call echo of the MCP server everything with {\"message\":\"hi \\u202ethere\"}";
        assert_eq!(request["summary"], summary);
        assert!(
            request["risks"].as_array().expect("risks").iter().any(|r| r.as_str().is_some_and(|r| r.contains("202E")))
        );
        let tools = offered(&model.request().await.json());
        assert_eq!(tools[0], "time");
        assert!(
            tools.contains(&"everything__echo".to_owned()) && !tools.contains(&"http_fetch".to_owned()),
            "{tools:?}"
        );
        client.call("tools.approve", json!({"requestId": question["requestId"]})).await;
        let result = client.find(|f| f["data"]["part"]["type"] == "tool_result").await;
        assert_eq!(result["data"]["part"]["output"], "Echo: hi \u{202e}there");
        assert_eq!(result["data"]["part"]["isError"], false);
        let listed = client.call("tools.list", json!({})).await;
        let echo = listed["items"].as_array().expect("items").iter().find(|t| t["name"] == "everything__echo");
        assert_eq!(echo.expect("it is listed")["policy"], "ask");
    });
}

#[test]
fn files_and_memories_are_read_and_written() {
    run(async {
        let root = tempfile::tempdir().expect("a folder");
        let root_path = root.path().canonicalize().expect("a path");
        std::fs::write(root_path.join("note.txt"), "walrus").expect("a file");
        let path = |name: &str| root_path.join(name).display().to_string();
        let entity = json!({"entities": [{"name": "ann", "entityType": "person", "observations": ["likes tea"]}]});
        let model = model(&[
            ("filesystem__read_text_file", json!({"path": path("note.txt")})),
            ("filesystem__write_file", json!({"path": path("new.txt"), "content": "tusk"})),
            ("memory__create_entities", entity),
            ("memory__read_graph", json!({})),
        ])
        .await;
        let memory = format!("environment = [\"MEMORY_FILE_PATH={}\"]", path("memory.jsonl"));
        let options = openai(&model)
            .config(&reference("filesystem", &[&root_path]))
            .config(&reference("memory", &[]))
            .config(&memory)
            .config("[agents.assistant]\ntools = [\"filesystem__*\", \"memory__*\"]\n")
            .config("[policies.all]\ntools = [\"filesystem__*\", \"memory__*\"]\npolicy = \"allow\"");
        let (_hub, mut client, session) = ready(options).await;
        assert_eq!(tool_turn(&mut client, &session).await, ("walrus".into(), false));
        assert!(!tool_turn(&mut client, &session).await.1);
        assert_eq!(std::fs::read_to_string(root_path.join("new.txt")).expect("it was written"), "tusk");
        assert!(!tool_turn(&mut client, &session).await.1);
        let (graph, failed) = tool_turn(&mut client, &session).await;
        assert!(graph.contains("likes tea") && !failed, "{graph}");
    });
}

#[test]
fn a_server_over_http_answers_also_after_it_was_gone() {
    run(async {
        let server = OverHttp::start(0).await;
        let turns = [
            ("web__echo", json!({"message": "one"})),
            ("web__echo", json!({"message": "two"})),
            ("web__echo", json!({"message": "three"})),
        ];
        let model = model(&turns).await;
        let options = openai(&model).config(&server.config()).config(&agent("web__*", "allow"));
        let (hub, mut client, session) = ready(options).await;
        assert_eq!(tool_turn(&mut client, &session).await, ("Echo: one".into(), false));
        let port = server.port;
        server.kill().await;
        let (why, failed) = tool_turn(&mut client, &session).await;
        assert!(failed, "{why}");
        let _server = OverHttp::start(port).await;
        // The connection is found again by itself.
        mcp::knows(&hub, 2).await;
        assert_eq!(tool_turn(&mut client, &session).await, ("Echo: three".into(), false));
    });
}

#[test]
fn a_program_that_ends_is_started_again_and_its_new_tools_are_known() {
    run(async {
        let notes = tempfile::tempdir().expect("a folder");
        let model = model(&[
            ("rogue__die", json!({})),
            ("rogue__grow", json!({})),
            ("rogue__grown", json!({})),
            ("rogue__echo", json!({"text": "back"})),
        ])
        .await;
        let options = openai(&model).config(&rogue(notes.path())).config(&agent("rogue__*", "allow"));
        let (hub, mut client, session) = ready(options).await;
        let (why, failed) = tool_turn(&mut client, &session).await;
        assert_eq!((why.as_str(), failed), ("the connection to the server broke", true));
        mcp::until_noted(notes.path(), "started", 2).await;
        mcp::knows(&hub, 2).await;
        assert_eq!(tool_turn(&mut client, &session).await, ("grown".into(), false));
        mcp::knows(&hub, 3).await;
        let listed = client.call("tools.list", json!({})).await;
        let names: Vec<&Value> = listed["items"].as_array().expect("items").iter().map(|t| &t["name"]).collect();
        assert!(names.contains(&&json!("rogue__grown")), "{names:?}");
        // A name that no model can use is left out, and what hides in a description too.
        assert!(!names.iter().any(|name| name.as_str().is_some_and(|n| n.contains("bad"))), "{names:?}");
        let echo = listed["items"].as_array().expect("items").iter().find(|t| t["name"] == "rogue__echo");
        assert_eq!(echo.expect("it is there")["description"], "does echo");
    });
}

#[test]
fn progress_keeps_a_call_alive_and_silence_ends_it() {
    run(async {
        let notes = tempfile::tempdir().expect("a folder");
        let model = model(&[("rogue__slow", json!({})), ("rogue__hang", json!({}))]).await;
        let options = openai(&model)
            .config(&rogue(notes.path()))
            .config(&agent("rogue__*", "allow"))
            .config("[limits]\ntool_seconds = 1");
        let (_hub, mut client, session) = ready(options).await;
        assert_eq!(tool_turn(&mut client, &session).await, ("slow and done".into(), false));
        let (why, failed) = tool_turn(&mut client, &session).await;
        assert_eq!((why.as_str(), failed), ("the tool was ended: no sign of life for 1 s", true));
        // And its program with all that it had started.
        mcp::until_dead(&mcp::noted(notes.path(), "pids")).await;
        mcp::until_noted(notes.path(), "started", 2).await;
    });
}

#[test]
fn long_output_is_cut_with_a_note() {
    run(async {
        let notes = tempfile::tempdir().expect("a folder");
        let model = model(&[("rogue__babble", json!({}))]).await;
        let options = openai(&model)
            .config(&rogue(notes.path()))
            .config(&agent("rogue__*", "allow"))
            .config("[tools.rogue__babble]\noutput_bytes = 1001");
        let (_hub, mut client, session) = ready(options).await;
        let (output, failed) = tool_turn(&mut client, &session).await;
        assert_eq!(output, format!("{}\n\n[cut off after 1000 of 600000 bytes]", "ä".repeat(500)));
        assert!(!failed);
    });
}

#[test]
fn what_a_server_wants_of_users_and_models_is_refused() {
    run(async {
        let notes = tempfile::tempdir().expect("a folder");
        let model = model(&[("rogue__ask", json!({}))]).await;
        let options = openai(&model).config(&rogue(notes.path())).config(&agent("rogue__*", "allow"));
        let (_hub, mut client, session) = ready(options).await;
        let (output, _) = tool_turn(&mut client, &session).await;
        let answers: Value = serde_json::from_str(&output).expect("JSON");
        assert_eq!(answers["elicited"]["action"], "decline");
        assert!(answers["elicited"]["content"].is_null(), "{answers}");
        assert_eq!(answers["sampled"]["code"], -32601);
    });
}

#[test]
fn a_stop_of_the_hub_ends_the_programs() {
    run(async {
        let notes = tempfile::tempdir().expect("a folder");
        let options = HubOptions::default().config(&rogue(notes.path()));
        let (mut hub, client, _) = ready(options).await;
        let started = mcp::until_noted(notes.path(), "started", 1).await;
        drop(client);
        assert!(hub.terminate().success());
        mcp::until_dead(&started).await;
    });
}
