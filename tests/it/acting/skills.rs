//! Skills: one answer of a model, typed, paid for, and read from a folder.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Endpoint, client, http, options, token};
use crate::support::mock_http::{MockHttp, Step, answer};
use crate::support::upstream::{answers, next_request, openai};
use crate::support::{Http, Hub, HubOptions, Identity, run};

const SKILLS: &str = "/api/v1/ai/skills";

fn with(model: &MockHttp, skills: &tempfile::TempDir) -> HubOptions {
    openai(model)
        .set("SWITCHBOARD_JWT_SECRET", crate::handshake::SECRET)
        .set("SWITCHBOARD_SKILLS__FOLDER", skills.path().display())
        .set("SWITCHBOARD_PROVIDERS__RETRIES", 0)
}

fn write(skills: &tempfile::TempDir, name: &str, front: &str, output: Option<&str>) {
    let folder = skills.path().join(name);
    std::fs::create_dir_all(&folder).expect("made");
    let text = format!("---\nname: {name}\n{front}\n---\nDo what {name} does.\n");
    std::fs::write(folder.join("SKILL.md"), text).expect("written");
    let input = r#"{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}"#;
    std::fs::write(folder.join("input.schema.json"), input).expect("written");
    if let Some(output) = output {
        std::fs::write(folder.join("output.schema.json"), output).expect("written");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_fresh_hub_lists_and_runs_its_own_skill() {
    run(async {
        let endpoint = Endpoint::start();
        let hub = Hub::start(options(&endpoint));
        let ann = http(&hub, "ann", &[]);
        let list = ann.ok("GET", SKILLS, Value::Null).await;
        let description =
            "Says in a few sentences what a text says. Use it when somebody wants the gist of something long.";
        assert_eq!(
            list,
            json!([{"id": "summarize", "name": "summarize", "description": description, "scope": "global"}])
        );
        let done = ann.ok("POST", &format!("{SKILLS}/summarize/execute"), json!({"input": {"text": "a b"}})).await;
        assert_eq!(
            (&done["skillId"], &done["provider"], &done["model"]),
            (&json!("summarize"), &json!("demo"), &json!("demo"))
        );
        assert!(done["output"].as_str().is_some_and(|text| !text.is_empty()), "{done}");
        assert!(done["usage"]["total"].as_u64().is_some_and(|total| total > 0), "{done}");
        let mut socket = client(&hub, "ann", &[]).await;
        let listed = socket.call("skills.list", json!({})).await;
        assert_eq!(listed["items"][0]["inputSchema"]["required"], json!(["text"]));
        let params = json!({"skillId": "summarize", "input": {"text": "a b"}});
        assert_eq!(socket.call("skills.execute", params).await["output"], done["output"]);
        for (input, field) in [(json!({}), "input"), (json!({"text": 7}), "input.text"), (json!([]), "input")] {
            let refused = ann.post(&format!("{SKILLS}/summarize/execute"), json!({"input": input})).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"));
            assert_eq!(refused.json()["error"]["details"]["field"], field);
        }
        assert_eq!(ann.post(&format!("{SKILLS}/nothing/execute"), json!({"input": {}})).await.status, 404);
        let viewer = Http::new(&hub.address, &token("vic", "acme", "viewer", &[]));
        let body = json!({"input": {"text": "a"}});
        assert_eq!(viewer.post(&format!("{SKILLS}/summarize/execute"), body).await.status, 403);
    });
}

#[test]
fn a_typed_answer_fits_its_schema_or_is_refused() {
    run(async {
        let skills = folder();
        let schema = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;
        write(&skills, "count", "description: Counts.", Some(schema));
        let steps = [answers("```json\n{\"n\": 3}\n```"), answers("{\"n\": \"three\"}"), answers("no idea")];
        let mut model = MockHttp::start(steps).await;
        let hub = Hub::start(with(&model, &skills));
        let ann = http(&hub, "ann", &[]);
        let path = format!("{SKILLS}/count/execute");
        let body = json!({"input": {"text": "a b c"}, "entityType": "note", "entityId": "7"});
        let done = ann.post(&path, body.clone()).await;
        assert_eq!(done.status, 201, "{done:?}");
        let done = done.json();
        assert_eq!(
            (&done["output"], &done["usage"]["input"], &done["usage"]["output"]),
            (&json!({"n": 3}), &json!(7), &json!(3))
        );
        let asked = next_request(&mut model).await.json();
        let system = asked["messages"][0]["content"].as_str().expect("a system prompt");
        assert!(system.starts_with("Do what count does.") && system.contains("\"required\":[\"n\"]"), "{system}");
        let text = "Input:\n{\"text\":\"a b c\"}\n\nIt is about:\n{\"id\":\"7\",\"type\":\"note\"}";
        assert_eq!(asked["messages"][1], json!({"role": "user", "content": text}));
        for _ in 0..2 {
            let misfit = ann.post(&path, body.clone()).await;
            assert_eq!((misfit.status, misfit.code().as_str()), (503, "unavailable"));
            assert!(misfit.text().contains("the model's answer"), "{}", misfit.text());
        }
        assert_eq!(model.unused(), 0);
    });
}

#[test]
fn one_key_is_one_call_of_the_model() {
    run(async {
        let skills = folder();
        write(&skills, "count", "description: Counts.", None);
        let failing =
            answer("400 Bad Request", "content-type: application/json\r\n", "{\"error\":{\"message\":\"no\"}}");
        let model = MockHttp::start([failing, answers("Three.")]).await;
        let hub = Hub::start(with(&model, &skills));
        let ann = http(&hub, "ann", &[]);
        let path = format!("{SKILLS}/count/execute");
        let body = json!({"input": {"text": "a b c"}}).to_string();
        let key = [("idempotency-key", "k")];
        // A failure leaves the key free.
        assert_eq!(ann.send("POST", &path, &key, body.as_bytes()).await.status, 503);
        let first = ann.send("POST", &path, &key, body.as_bytes()).await;
        assert_eq!((first.status, &first.json()["output"]), (201, &json!("Three.")));
        let again = join_all((0..5).map(|_| ann.send("POST", &path, &key, body.as_bytes()))).await;
        assert!(again.iter().all(|answer| answer.json() == first.json()), "{again:?}");
        let other = json!({"input": {"text": "other"}}).to_string();
        assert_eq!(ann.send("POST", &path, &key, other.as_bytes()).await.status, 409);
        assert_eq!(model.unused(), 0);
    });
}

#[test]
fn a_skill_is_paid_for_like_a_turn_and_refused_without_room() {
    run(async {
        let skills = folder();
        write(&skills, "count", "description: Counts.", None);
        let model = MockHttp::start([answers("Three.")]).await;
        let budget = "[budgets.tokens]\nper = \"user\"\ntokens = 9000\n[spending]\nanswer_tokens = 4096";
        let hub = Hub::start(with(&model, &skills).config(budget));
        let ann = http(&hub, "ann", &[]);
        let path = format!("{SKILLS}/count/execute");
        let done = ann.ok("POST", &path, json!({"input": {"text": "a b c"}})).await;
        assert_eq!(done["usage"]["total"], 10);
        let large = json!({"input": {"text": "word ".repeat(10_000)}});
        let refused = ann.post(&path, large).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.json()["error"]["details"]["used"], 10, "{}", refused.text());
        assert_eq!(model.connections(), 1);
    });
}

#[test]
fn whoever_hangs_up_hangs_up_on_the_model_too() {
    run(async {
        let skills = folder();
        write(&skills, "count", "description: Counts.", None);
        let mut model = MockHttp::start([vec![Step::Hang]]).await;
        let hub = Hub::start(with(&model, &skills).config("[skills]\ntime_seconds = 1"));
        let ann = http(&hub, "ann", &[]);
        let late = ann.post(&format!("{SKILLS}/count/execute"), json!({"input": {"text": "a"}})).await;
        assert_eq!((late.status, late.code().as_str()), (503, "unavailable"));
        next_request(&mut model).await;
        assert!(matches!(model.next().await, crate::support::mock_http::Seen::HungUp(0)));
    });
}

#[test]
fn permissions_hide_a_skill_and_a_reload_brings_new_ones() {
    run(async {
        let skills = folder();
        write(&skills, "secret-notes", "description: Reads notes.\nmetadata:\n  permissions: notes:read", None);
        write(&skills, "broken", "description: d\nname: twice", None);
        let model = MockHttp::start([]).await;
        let hub = Hub::start(with(&model, &skills));
        let ids = async |http: &Http| {
            let list = http.ok("GET", SKILLS, Value::Null).await;
            let ids = list.as_array().expect("a list").iter().map(|skill| skill["id"].as_str().unwrap_or_default());
            ids.map(str::to_owned).collect::<Vec<_>>()
        };
        let (ann, bob) = (http(&hub, "ann", &["notes:read"]), http(&hub, "bob", &[]));
        assert_eq!(ids(&ann).await, ["secret-notes", "summarize"]);
        assert_eq!(ids(&bob).await, ["summarize"]);
        let refused = bob.post(&format!("{SKILLS}/secret-notes/execute"), json!({"input": {"text": "a"}})).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
        assert!(hub.logged("broken is left out").await.contains("stands there twice"));
        assert_eq!(model.connections(), 0);
        write(&skills, "new-one", "description: New.", None);
        let identity = Identity::of(&hub.folder());
        identity.user("root", "acme", "owner").await;
        identity.hub_admin("root", "acme").await;
        let root = Http::new(&hub.address, &token("root", "acme", "owner", &[]));
        root.ok("POST", "/api/v1/admin/reload", Value::Null).await;
        assert_eq!(ids(&bob).await, ["new-one", "summarize"]);
    });
}
