//! Rules choose the model, and say why; what is asked for beats them; and what happens when a provider fails.

use serde_json::{Value, json};

use super::{member, plain, turn};
use crate::support::mock_http::{MockHttp, Step, answer};
use crate::support::upstream::{answers, begins, conversation, next_request};
use crate::support::{Client, Http, run};

const RULES: &str = r#"
[[routing.rules]]
name = "theirs"
organizations = ["globex"]
provider = "openai"
model = "globex-model"

[[routing.rules]]
name = "work"
tags = ["work"]
provider = "openai"
model = "work-model"

[[routing.rules]]
name = "code"
contains = ["stack trace"]
provider = "openai"
model = "code-model"
reason = "code goes to the coder"
"#;

#[test]
fn a_rule_chooses_the_model_and_the_turn_says_why() {
    run(async {
        let mut model = MockHttp::start((0..5).map(|_| answers("yes"))).await;
        let (hub, mut alice, session) = conversation(plain(&model, RULES)).await;
        let (started, _) = turn(&mut alice, &session, "a Stack Trace").await;
        assert_eq!(
            started["routingDecision"],
            json!({"model": "code-model", "provider": "openai", "ruleName": "code", "reason": "code goes to the coder"})
        );
        assert_eq!(next_request(&mut model).await.json()["model"], "code-model");
        // Another member switches; the override beats the rule until it is cleared.
        alice.call("sessions.update", json!({"sessionId": session, "model": "mine"})).await;
        let (started, _) = turn(&mut alice, &session, "stack trace").await;
        assert_eq!((&started["model"], &started["routingDecision"]), (&json!("mine"), &Value::Null));
        assert_eq!(next_request(&mut model).await.json()["model"], "mine");
        alice.call("sessions.update", json!({"sessionId": session, "model": null, "tags": ["work", "work"]})).await;
        let (started, _) = turn(&mut alice, &session, "hello").await;
        assert_eq!(started["routingDecision"]["ruleName"], "work");
        assert_eq!(started["routingDecision"]["reason"], "the conversation has the tag work");
        next_request(&mut model).await;
        // It is stored with the turn.
        let id = started["turnId"].as_str().expect("a turn");
        let path = format!("/api/v1/sessions/{session}/turns/{id}");
        let hub = hub.kill_and_restart();
        let alice = member(&hub, "alice");
        let stored = alice.ok("GET", &path, Value::Null).await;
        assert_eq!(stored["turn"]["routingDecision"]["ruleName"], "work", "{stored}");
    });
}

#[test]
fn case_29_what_one_organization_chose_is_nothing_to_another() {
    run(async {
        let mut model = MockHttp::start((0..3).map(|_| answers("yes"))).await;
        let (hub, mut alice, session) = conversation(plain(&model, RULES)).await;
        // The same id of their own, in two organizations: a model that is chosen in one is not chosen in the other.
        let mut carol = Client::connect(&hub.address, &hub.token("carol", "globex", "member")).await;
        for client in [&mut alice, &mut carol] {
            client.call("sessions.create", json!({"sessionId": "shared-name"})).await;
        }
        let chosen = json!({"sessionId": "shared-name", "command": "/model mine"});
        assert_eq!(carol.call("commands.execute", chosen).await["success"], true);
        alice.call("messages.send", json!({"sessionId": "shared-name", "content": "hello"})).await;
        assert_eq!(next_request(&mut model).await.json()["model"], "model-1");
        carol.call("messages.send", json!({"sessionId": "shared-name", "content": "hello"})).await;
        assert_eq!(next_request(&mut model).await.json()["model"], "mine");
        // Their rule is theirs: here it neither counts nor shows.
        turn(&mut alice, &session, "hello").await;
        assert_eq!(next_request(&mut model).await.json()["model"], "model-1");
        let explained = member(&hub, "alice").ok("POST", "/api/v1/routing/explain", json!({"content": "x"})).await;
        assert!(!explained.to_string().contains("globex"), "{explained}");
        let theirs = Http::new(&hub.address, &hub.token("carol", "globex", "member"));
        let explained = theirs.ok("POST", "/api/v1/routing/explain", json!({"content": "x"})).await;
        assert_eq!((&explained["model"], &explained["chosenBy"]), (&json!("globex-model"), &json!("rule")));
    });
}

#[test]
fn a_dry_run_tells_of_every_rule_why_and_sends_nothing() {
    run(async {
        let mut model = MockHttp::start([]).await;
        let (hub, mut client, session) =
            conversation(plain(&model, RULES).config("[routing]\nfallback = [\"demo\"]\n")).await;
        let alice = member(&hub, "alice");
        let explain = async |body: Value| alice.ok("POST", "/api/v1/routing/explain", body).await;
        let first = explain(json!({"content": "a stack trace"})).await;
        assert_eq!(
            first["rules"],
            json!([
                {"name": "work", "provider": "openai", "model": "work-model", "matched": false,
                 "why": "the conversation has no tag of work"},
                {"name": "code", "provider": "openai", "model": "code-model", "matched": true,
                 "why": "the message contains \"stack trace\""},
            ])
        );
        assert_eq!((&first["chosenBy"], &first["fallback"]), (&json!("rule"), &json!(["demo/demo"])));
        assert_eq!(first["routingDecision"]["ruleName"], "code");
        client.call("sessions.update", json!({"sessionId": session, "model": "mine"})).await;
        let with_session = explain(json!({"content": "stack trace", "sessionId": session})).await;
        assert_eq!((&with_session["chosenBy"], &with_session["model"]), (&json!("conversation"), &json!("mine")));
        let own = explain(json!({"content": "x", "sessionId": session, "model": "demo/demo"})).await;
        assert_eq!((&own["chosenBy"], &own["provider"]), (&json!("message"), &json!("demo")));
        let wrong = alice.post("/api/v1/routing/explain", json!({"content": "x", "agent": "nobody"})).await;
        assert_eq!((wrong.status, wrong.code().as_str()), (400, "bad_request"));
        let bob = member(&hub, "bob");
        let private = bob.post("/api/v1/routing/explain", json!({"content": "x", "sessionId": session})).await;
        assert_eq!(private.status, 403);
        assert!(model.try_next().is_none(), "nobody was asked");
    });
}

#[test]
fn the_next_of_the_list_answers_when_a_provider_fails_before_its_first_token() {
    run(async {
        let refuse = || answer("401 Unauthorized", "content-type: application/json\r\n", "{}");
        let scripts: Vec<Vec<Step>> = vec![refuse(), begins("")];
        let model = MockHttp::start(scripts).await;
        let options = plain(&model, "[routing]\nfallback = [\"demo\"]\n").set("SWITCHBOARD_PROVIDERS__RETRIES", 0);
        let (hub, mut alice, session) = conversation(options).await;
        let (_, ended) = turn(&mut alice, &session, "hello").await;
        assert_eq!(ended["state"], "completed", "{ended}");
        let list = alice.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!((&list["items"][1]["provider"], &list["items"][1]["model"]), (&json!("demo"), &json!("demo")));
        let id = ended["turnId"].as_str().expect("a turn");
        let path = format!("/api/v1/sessions/{session}/turns/{id}");
        let stored = member(&hub, "alice").ok("GET", &path, Value::Null).await;
        let decision = &stored["turn"]["routingDecision"];
        assert_eq!((&decision["ruleName"], &decision["provider"]), (&json!("fallback"), &json!("demo")));
        let why = decision["reason"].as_str().unwrap_or_default();
        assert!(why.starts_with("openai/model-1 failed before its first token: "), "{why}");
        hub.logged("a provider failed").await;
    });
}
