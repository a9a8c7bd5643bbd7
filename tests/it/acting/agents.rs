//! Agents that act: a human sees what would be done, and lets it be done once.

use serde_json::{Value, json};

use super::{CLOSE, Endpoint, client, http, options};
use crate::support::mock_http::{MockHttp, Step};
use crate::support::upstream::{KEY as MODEL_KEY, answers, asks, calls, next_request, parts, stored};
use crate::support::{Client, Hub, HubOptions, run};

/// A hub whose model says these things, with that endpoint's actions.
fn with_model(model: &MockHttp, endpoint: &Endpoint) -> HubOptions {
    options(endpoint)
        .set("OPENAI_API_KEY", MODEL_KEY)
        .set("OPENAI_BASE_URL", model.url("/v1"))
        .set("OPENAI_MODEL", "model-1")
}

fn closing(ticket: &str) -> String {
    let input = json!({"input": {"reason": "done"}, "entityType": "ticket", "entityId": ticket, "skipPreview": true});
    calls(0, "call_1", "action_close_ticket", &input.to_string())
}

async fn began(client: &mut Client) -> (String, String) {
    let made = client.call("sessions.create", json!({"visibility": "organization", "title": "old"})).await;
    let session = made["id"].as_str().expect("an id").to_owned();
    client.subscribe(&format!("session:{session}"), None).await;
    let turn = client.say(&session, "do it").await;
    (session, turn)
}

/// What the call of that turn came to: its state, and its output.
async fn came_to(client: &mut Client, session: &str, turn: &str) -> (String, String) {
    client.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn).await;
    let answer = stored(client, session, turn).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&parts(&answer, "tool_call")[0]["state"]), text(&parts(&answer, "tool_result")[0]["output"]))
}

fn scripts(steps: impl IntoIterator<Item = Vec<Step>>) -> Vec<Vec<Step>> {
    steps.into_iter().collect()
}

#[test]
fn whoever_is_asked_sees_the_preview_and_must_have_the_permission() {
    run(async {
        let endpoint = Endpoint::start();
        let mut model = MockHttp::start(scripts([asks(&closing("7")), answers("Done.")])).await;
        let hub = Hub::start(with_model(&model, &endpoint));
        let mut ann = client(&hub, "ann", &[]).await;
        let (session, turn) = began(&mut ann).await;
        let question = ann.event("tool.approval_required").await;
        let offered = next_request(&mut model).await.json();
        let offered = offered["tools"].as_array().expect("tools").iter();
        let offered: Vec<String> = offered.map(|t| t["function"]["name"].as_str().unwrap_or_default().into()).collect();
        let wanted =
            ["todo_write", "time", "http_fetch", "action_close_ticket", "action_note", "action_rename_conversation"];
        assert_eq!(offered[..6], wanted);
        assert_eq!(offered[6..], ["skill_summarize"]);
        let summary = question["request"]["summary"].as_str().expect("a summary");
        assert!(summary.starts_with("Close a ticket (ticket 7)\nrequest: {"), "{summary}");
        assert!(summary.contains("/tickets/7/close") && summary.contains("preview: {\"open\":true,\"ticket\":\"7\"}"));
        assert!(!summary.contains(super::KEY));
        let risks = question["request"]["risks"].as_array().expect("risks");
        assert!(risks.contains(&json!("it can be undone for 600 s")), "{risks:?}");
        assert_eq!((endpoint.count("GET /tickets/7"), endpoint.effects().len()), (1, 0));
        // Its own user lacks the permission, by either name of the question.
        let request = question["requestId"].clone();
        for params in [json!({"requestId": request}), json!({"toolCallId": question["toolCallId"]})] {
            assert_eq!(ann.refused("tools.approve", params).await, "forbidden");
        }
        assert_eq!(endpoint.effects().len(), 0);
        let mut able = client(&hub, "ann", &["tickets:write"]).await;
        assert_eq!(able.call("tools.approve", json!({"requestId": request})).await["applied"], true);
        let (state, output) = came_to(&mut ann, &session, &turn).await;
        let output: Value = serde_json::from_str(&output).expect("JSON");
        assert_eq!((state.as_str(), &output["status"]), ("succeeded", &json!("completed")));
        assert_eq!(endpoint.effects(), ["POST /tickets/7/close"]);
        assert_eq!(endpoint.all().pop().expect("asked").body["by"], "ann");
        // It is a record like every other: who has the permission takes it back.
        let undo = json!({"executionId": output["executionId"]});
        assert_eq!(http(&hub, "bob", &["tickets:write"]).post(&format!("{CLOSE}/undo"), undo).await.status, 201);
        assert_eq!(endpoint.effects().len(), 2);
    });
}

#[test]
fn a_denial_and_a_preview_that_fails_do_nothing() {
    run(async {
        let endpoint = Endpoint::start();
        let steps = [asks(&closing("broken")), answers("A"), asks(&closing("8")), answers("B")];
        let model = MockHttp::start(scripts(steps)).await;
        let hub = Hub::start(with_model(&model, &endpoint));
        let mut ann = client(&hub, "ann", &["tickets:write"]).await;
        let (session, turn) = began(&mut ann).await;
        let (state, output) = came_to(&mut ann, &session, &turn).await;
        assert_eq!(state, "failed");
        assert!(output.starts_with("the preview failed: "), "{output}");
        let turn = ann.say(&session, "again").await;
        let question = ann.event("tool.approval_required").await;
        ann.call("tools.reject", json!({"requestId": question["requestId"]})).await;
        assert_eq!(came_to(&mut ann, &session, &turn).await.0, "denied");
        assert_eq!(endpoint.effects(), Vec::<String>::new());
    });
}

#[test]
fn inputs_that_do_not_fit_are_told_to_the_model_and_nobody_is_asked() {
    run(async {
        let endpoint = Endpoint::start();
        let wrong = [
            json!({"input": {"reason": ""}, "entityType": "ticket", "entityId": "7"}),
            json!({"input": {"reason": "x"}, "entityType": "person", "entityId": "7"}),
            json!({"input": {"reason": "x"}}),
            json!({"reason": "x"}),
        ];
        let all: String = wrong
            .iter()
            .zip(0..)
            .map(|(input, n)| calls(n, &format!("call_{n}"), "action_close_ticket", &input.to_string()))
            .collect();
        let model = MockHttp::start(scripts([asks(&all), answers("I see.")])).await;
        let hub = Hub::start(with_model(&model, &endpoint));
        let mut ann = client(&hub, "ann", &["tickets:write"]).await;
        let (session, turn) = began(&mut ann).await;
        came_to(&mut ann, &session, &turn).await;
        let answer = stored(&mut ann, &session, &turn).await;
        let outputs: Vec<&str> =
            parts(&answer, "tool_result").iter().filter_map(|part| part["output"].as_str()).collect();
        for (output, field) in outputs.iter().zip(["input.reason: ", "entityType: ", "entityType: ", "reason: no such"])
        {
            assert!(output.starts_with(field), "{outputs:?}");
        }
        assert_eq!((outputs.len(), endpoint.all().len()), (4, 0));
    });
}

#[test]
fn an_agent_renames_its_own_conversation_and_uses_a_skill() {
    run(async {
        let endpoint = Endpoint::start();
        let rename = calls(0, "call_1", "action_rename_conversation", "{\"input\":{\"title\":\"new\"}}");
        let gist = calls(0, "call_2", "skill_summarize", "{\"text\":\"long\"}");
        let steps = [asks(&rename), asks(&gist), answers("Short."), answers("All done.")];
        let mut model = MockHttp::start(scripts(steps)).await;
        let hub = Hub::start(with_model(&model, &endpoint));
        let mut ann = client(&hub, "ann", &[]).await;
        let (session, turn) = began(&mut ann).await;
        let question = ann.event("tool.approval_required").await;
        let summary = question["request"]["summary"].as_str().expect("a summary");
        assert!(
            summary.starts_with(&format!("rename the conversation {session} from \"old\" to \"new\"")),
            "{summary}"
        );
        ann.call("tools.approve", json!({"requestId": question["requestId"]})).await;
        ann.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        assert_eq!(ann.call("sessions.get", json!({"sessionId": session})).await["title"], "new");
        let answer = stored(&mut ann, &session, &turn).await;
        let results = parts(&answer, "tool_result");
        assert_eq!((&results[1]["output"], &results[1]["isError"]), (&json!("Short."), &json!(false)));
        let skill = {
            next_request(&mut model).await;
            next_request(&mut model).await;
            next_request(&mut model).await.json()
        };
        assert!(
            skill["messages"][0]["content"].as_str().is_some_and(|text| text.starts_with("# Summarize")),
            "{skill}"
        );
        assert_eq!(skill["messages"][1]["content"], "Input:\n{\"text\":\"long\"}");
        assert!(skill["tools"].is_null(), "{skill}");
    });
}

#[test]
fn a_tool_from_configuration_is_called_with_its_values() {
    run(async {
        let endpoint = Endpoint::start();
        let address = endpoint.address();
        let tool = format!(
            r#"
[agents.assistant]
tools = ["weather", "action_note"]
[tools.weather]
kind = "http"
policy = "allow"
description = "Tells the weather of a city."
input_schema = '{{"type":"object","required":["city"],"properties":{{"city":{{"type":"string"}}}}}}'
allow_private = ["{address}"]
[tools.weather.request]
url = "http://{address}/weather/{{{{input.city}}}}?who={{{{user}}}}"
headers = ["x-api-key: {{{{env.TICKET_KEY}}}}"]
"#
        );
        let call = calls(0, "call_1", "weather", "{\"city\":\"a/b\"}");
        let mut model = MockHttp::start(scripts([asks(&call), answers("Fine.")])).await;
        let hub = Hub::start(with_model(&model, &endpoint).config(&tool));
        let mut ann = client(&hub, "ann", &[]).await;
        let (session, turn) = began(&mut ann).await;
        let (state, output) = came_to(&mut ann, &session, &turn).await;
        assert_eq!(
            (state.as_str(), output.as_str()),
            ("succeeded", "HTTP 200\n\n{\"open\":true,\"ticket\":\"a%2Fb\"}")
        );
        let asked = endpoint.all().pop().expect("asked");
        assert_eq!((asked.line.as_str(), asked.header("x-api-key")), ("GET /weather/a%2Fb", Some(super::KEY)));
        let offered = next_request(&mut model).await.json();
        let offered: Vec<&Value> =
            offered["tools"].as_array().expect("tools").iter().map(|tool| &tool["function"]["name"]).collect();
        assert_eq!(offered, ["weather", "action_note"]);
        let tools = ann.call("tools.list", json!({})).await;
        let weather = tools["items"].as_array().expect("items").iter().find(|tool| tool["name"] == "weather");
        assert_eq!(weather.expect("listed")["policy"], "allow");
    });
}
