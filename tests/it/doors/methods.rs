//! Every method of the native door, with good parameters; each result is read as the type that it is declared to be.

use std::collections::BTreeSet;

use protocol::acting as a;
use protocol::methods as m;
use protocol::model as w;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, run};

/// A client that remembers which methods it has seen working.
struct Walk {
    client: Client,
    seen: BTreeSet<&'static str>,
}

impl Walk {
    /// Calls a method; nothing of its result may be unknown to the declared type.
    async fn call<T: DeserializeOwned + serde::Serialize>(&mut self, method: &str, params: Value) -> T {
        let row = m::METHODS.iter().find(|row| row.name == method).expect("a declared method");
        self.seen.insert(row.name);
        let result = self.client.call(method, params).await;
        let typed: T = serde_json::from_value(result.clone()).unwrap_or_else(|e| panic!("{method}: {e}: {result}"));
        assert_eq!(serde_json::to_value(&typed).expect("JSON"), result, "{method}");
        typed
    }

    /// Waits for the end of a turn.
    async fn ended(&mut self, turn: &str) -> Value {
        self.client.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn).await["data"].take()
    }

    async fn say(&mut self, session: &str, content: &str) -> m::MessageSent {
        self.call("messages.send", json!({"sessionId": session, "content": content})).await
    }
}

async fn walk(hub: &Hub) -> Walk {
    Walk { client: Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await, seen: BTreeSet::new() }
}

#[test]
fn every_method_works() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut walk = walk(&hub).await;
        let session = sessions_and_projects(&mut walk).await;
        turns(&mut walk, &session).await;
        tools_and_todos(&mut walk, &session).await;
        catalog(&mut walk, &session).await;
        acting(&mut walk, &session).await;
        let of_session = json!({"sessionId": session});
        let archived: w::Session = walk.call("sessions.archive", of_session.clone()).await;
        assert_eq!(archived.state, w::SessionState::Archived);
        for (method, params) in [
            ("messages.send", json!({"sessionId": session, "content": "x"})),
            ("messages.retry", of_session.clone()),
            ("sessions.update", json!({"sessionId": session, "title": "x"})),
            ("sessions.pause", of_session.clone()),
            ("sessions.resume", of_session.clone()),
            ("todos.update", json!({"sessionId": session, "todos": []})),
        ] {
            assert_eq!(walk.client.refused(method, params).await, "archived", "{method}");
        }
        // What is archived can be read and archived again.
        let _: w::Page<w::Message> = walk.call("messages.list", of_session.clone()).await;
        let _: w::Session = walk.call("sessions.archive", of_session.clone()).await;
        let deleted: m::Deleted = walk.call("sessions.delete", of_session.clone()).await;
        assert!(deleted.deleted);
        assert_eq!(walk.client.refused("sessions.get", of_session).await, "not_found");
        let all: BTreeSet<&str> = m::METHODS.iter().map(|row| row.name).collect();
        assert_eq!(walk.seen, all);
    });
}

async fn sessions_and_projects(walk: &mut Walk) -> String {
    let project: w::Project = walk.call("projects.create", json!({"name": "releases"})).await;
    let again: w::Project = walk.call("projects.create", json!({"name": "releases"})).await;
    assert_eq!(project, again);
    let got: w::Project = walk.call("projects.get", json!({"projectId": project.id})).await;
    assert_eq!(got, project);
    // A project that is not known is made, by name or by an id that is nobody's here.
    let params = json!({
        "projectId": "new ones", "title": "Ship", "agent": "assistant", "model": "demo",
        "thinkingLevel": "low", "visibility": "organization", "idempotencyKey": "k1",
    });
    let session: w::Session = walk.call("sessions.create", params.clone()).await;
    let made = session.project_id.clone().expect("a project");
    assert_ne!(made, project.id);
    assert_eq!((session.title.as_str(), session.model.as_deref()), ("Ship", Some("demo")));
    assert_eq!((session.thinking_level, session.visibility), (w::ThinkingLevel::Low, w::Visibility::Organization));
    let repeated: w::Session = walk.call("sessions.create", params).await;
    assert_eq!(repeated, session);
    let other = json!({"title": "other", "idempotencyKey": "k1"});
    assert_eq!(walk.client.refused("sessions.create", other).await, "conflict");
    let foreign = json!({"projectId": "prj_01930000000070008000000000000000"});
    let elsewhere: w::Session = walk.call("sessions.create", foreign).await;
    assert!(elsewhere.project_id.is_some());
    let page: w::Page<w::Project> = walk.call("projects.list", json!({"limit": 2})).await;
    assert_eq!(page.items.len(), 2);
    let rest: w::Page<w::Project> = walk.call("projects.list", json!({"cursor": page.next_cursor})).await;
    assert_eq!((rest.items.len(), rest.next_cursor), (1, None));
    let list: w::Page<w::Session> = walk.call("sessions.list", json!({"projectId": made})).await;
    assert_eq!(list.items, std::slice::from_ref(&session));
    let one: w::Page<w::Session> = walk.call("sessions.list", json!({"limit": 1})).await;
    assert_eq!(one.items, [elsewhere]);
    let two: w::Page<w::Session> =
        walk.call("sessions.list", json!({"cursor": one.next_cursor, "state": "active"})).await;
    assert_eq!(two.items, std::slice::from_ref(&session));
    let change = json!({"sessionId": session.id, "title": "Ship it", "model": null, "thinkingLevel": "off"});
    let updated: w::Session = walk.call("sessions.update", change).await;
    assert_eq!((updated.title.as_str(), updated.model), ("Ship it", None));
    let got: w::Session = walk.call("sessions.get", json!({"sessionId": session.id})).await;
    assert_eq!(got.title, "Ship it");
    session.id
}

async fn turns(walk: &mut Walk, session: &str) {
    let of_session = json!({"sessionId": session});
    walk.client.subscribe(&format!("session:{session}"), None).await;
    // The same key sends once.
    let params = json!({"sessionId": session, "content": "hello walrus", "idempotencyKey": "m1"});
    let sent: m::MessageSent = walk.call("messages.send", params.clone()).await;
    let again: m::MessageSent = walk.call("messages.send", params).await;
    assert_eq!((&again.message_id, &again.turn_id), (&sent.message_id, &sent.turn_id));
    assert_eq!(walk.ended(&sent.turn_id).await["state"], "completed");
    let found: w::Page<w::Session> = walk.call("sessions.list", json!({"q": "walrus"})).await;
    assert_eq!(found.items.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), [session]);
    // A retry replaces the answer.
    let retried: m::MessageSent = walk.call("messages.retry", of_session.clone()).await;
    assert_eq!(retried.message_id, sent.message_id);
    assert_eq!(walk.ended(&retried.turn_id).await["state"], "completed");
    let list: w::Page<w::Message> = walk.call("messages.list", of_session.clone()).await;
    assert_eq!(list.items.iter().map(|m| m.superseded).collect::<Vec<_>>(), [false, true, false]);
    // A paused session takes messages and starts nothing.
    let paused: w::Session = walk.call("sessions.pause", of_session.clone()).await;
    assert_eq!(paused.state, w::SessionState::Paused);
    let (one, two, three) =
        (walk.say(session, "one").await, walk.say(session, "two").await, walk.say(session, "three").await);
    assert!([&one, &two, &three].iter().all(|sent| sent.state == w::TurnState::Queued));
    let edit = json!({"sessionId": session, "messageId": one.message_id, "content": "edited"});
    let edited: w::Message = walk.call("messages.update", edit).await;
    assert_eq!(edited.parts[0].body, w::PartBody::Text { text: "edited".into() });
    let cancelled: m::TurnOutcome =
        walk.call("messages.cancel", json!({"sessionId": session, "turnId": two.turn_id})).await;
    assert_eq!(cancelled.state, w::TurnState::Cancelled);
    let resumed: w::Session = walk.call("sessions.resume", of_session.clone()).await;
    assert_eq!(resumed.state, w::SessionState::Active);
    let mut order = Vec::new();
    while order.len() < 2 {
        let ended = walk.client.event("turn.ended").await;
        if ended["state"] == "completed" {
            order.push(ended["turnId"].as_str().expect("an id").to_owned());
        }
    }
    assert_eq!(order, [one.turn_id, three.turn_id]);
    let late = json!({"sessionId": session, "messageId": one.message_id, "content": "late"});
    assert_eq!(walk.client.refused("messages.update", late).await, "conflict");
    let newest: w::Page<w::Message> = walk.call("messages.list", json!({"sessionId": session, "limit": 2})).await;
    assert_eq!(newest.items[0].id, three.message_id);
    let before = json!({"sessionId": session, "before": three.message_id, "limit": 2});
    let older: w::Page<w::Message> = walk.call("messages.list", before).await;
    let w::PartBody::Text { text } = &older.items[0].parts[0].body else { panic!("{older:?}") };
    assert!(text.contains("You said: \u{201c}edited\u{201d}"), "{text}");
    stops(walk, session).await;
}

async fn stops(walk: &mut Walk, session: &str) {
    for (method, state) in [("messages.stop", w::TurnState::Stopped), ("messages.abort", w::TurnState::Aborted)] {
        let sent = walk.say(session, "slow long 5000").await;
        walk.client.find(|f| f["data"]["delta"].as_str().is_some_and(|d| d.contains("word1"))).await;
        // While it runs, others wait, are refused, or take its place.
        let rejected = json!({"sessionId": session, "content": "x", "ifRunning": "reject"});
        assert_eq!(walk.client.refused("messages.send", rejected).await, "busy");
        assert_eq!(walk.client.refused("messages.retry", json!({"sessionId": session})).await, "busy");
        let outcome: m::TurnOutcome = walk.call(method, json!({"sessionId": session})).await;
        assert_eq!((&outcome.turn_id, outcome.state), (&sent.turn_id, state));
        let receipt = outcome.receipt.expect("a receipt");
        assert!(receipt.bytes_after == 0 && receipt.kept_bytes > 0, "{receipt:?}");
        let is_end = |f: &Value| f["event"] == "turn.ended" && f["data"]["turnId"] == sent.turn_id.as_str();
        let end = walk.client.find(is_end).await["seq"].as_u64();
        let seen = walk.client.until_pong().await;
        let late = |f: &&Value| f["data"]["delta"].is_string() && f["seq"].as_u64() > end;
        assert_eq!(seen.iter().find(late), None, "{method}: a delta after the end");
    }
    let first = walk.say(session, "slow long 5000").await;
    let params = json!({"sessionId": session, "content": "instead", "ifRunning": "interrupt"});
    let second: m::MessageSent = walk.call("messages.send", params).await;
    assert_eq!(walk.ended(&first.turn_id).await["state"], "stopped");
    assert_eq!(walk.ended(&second.turn_id).await["state"], "completed");
    assert_eq!(walk.client.refused("messages.stop", json!({"sessionId": session})).await, "conflict");
    assert_eq!(walk.client.refused("messages.cancel", json!({"sessionId": session})).await, "conflict");
}

async fn tools_and_todos(walk: &mut Walk, session: &str) {
    let of_session = json!({"sessionId": session});
    let tools: w::Page<w::Tool> = walk.call("tools.list", json!({})).await;
    let fetch = tools.items.iter().find(|t| t.name == "http_fetch").expect("it is offered");
    assert_eq!(fetch.policy, w::ToolPolicy::Ask);
    for method in ["tools.approve", "tools.reject"] {
        let sent = walk.say(session, "fetch http://example.org/").await;
        walk.client.event("tool.approval_required").await;
        let waiting: w::Page<w::ApprovalRequest> = walk.call("approvals.list", of_session.clone()).await;
        let all: w::Page<w::ApprovalRequest> = walk.call("approvals.list", json!({"limit": 1})).await;
        assert_eq!((waiting.items.len(), &waiting.items), (1, &all.items));
        let params = json!({"requestId": waiting.items[0].request_id, "remember": method == "tools.reject"});
        let decided: m::ToolDecided = walk.call(method, params).await;
        assert_eq!((decided.applied, decided.approved), (true, method == "tools.approve"));
        assert_eq!(walk.ended(&sent.turn_id).await["state"], "completed");
    }
    let kept: w::Page<w::ApprovalRule> = walk.call("approvals.rules", json!({})).await;
    assert_eq!(kept.items.len(), 1);
    let taken: m::Deleted = walk.call("approvals.revoke", json!({"ruleId": kept.items[0].id})).await;
    assert!(taken.deleted);
    let empty: m::TodoList = walk.call("todos.get", of_session.clone()).await;
    assert!(empty.todos.is_empty());
    let todos = json!([{"content": "a"}, {"id": "x", "content": "b", "state": "in_progress"}]);
    let put: m::TodoList = walk.call("todos.update", json!({"sessionId": session, "todos": todos})).await;
    assert_eq!(
        put.todos.iter().map(|t| (t.id.as_str(), t.state)).collect::<Vec<_>>(),
        [("1", w::TodoState::Pending), ("x", w::TodoState::InProgress)]
    );
    assert_eq!(walk.client.event("todos.updated").await["todos"], serde_json::to_value(&put.todos).expect("JSON"));
    let sent = walk.say(session, "todo").await;
    assert_eq!(walk.client.event("todos.updated").await["todos"].as_array().map(Vec::len), Some(3));
    walk.ended(&sent.turn_id).await;
    let got: m::TodoList = walk.call("todos.get", of_session).await;
    assert_eq!(got.todos.len(), 3);
}

async fn catalog(walk: &mut Walk, session: &str) {
    let agents: w::Page<w::Agent> = walk.call("agents.list", json!({})).await;
    let agent: w::Agent = walk.call("agents.get", json!({"agent": "assistant"})).await;
    assert_eq!(agents.items, [agent]);
    let models: w::Page<w::Model> = walk.call("models.list", json!({})).await;
    assert_eq!((models.items[0].id.as_str(), models.items[0].provider.as_str()), ("demo", "demo"));
    let manifest: w::CommandManifest = walk.call("commands.list", json!({})).await;
    assert_eq!(manifest.commands[0].name, "model");
    let help = json!({"sessionId": session, "command": "/help", "args": "status"});
    let result: w::CommandResult = walk.call("commands.execute", help).await;
    assert!(result.success && result.message.starts_with("/status: "), "{result:?}");
    let channel = json!({"channel": format!("session:{session}")});
    let presence: w::Presence = walk.call("channels.presence", channel.clone()).await;
    assert_eq!((presence.count, presence.users), (1, Some(vec!["alice".to_owned()])));
    let history: m::ChannelEvents = walk.call("channels.history", channel).await;
    assert_eq!((history.events.len(), history.recovered), (50, true));
    assert_eq!(history.events.last().map(|e| e.seq), Some(history.seq));
    for period in ["day", "week", "month"] {
        let usage: m::UsageReport = walk.call("usage.get", json!({"period": period})).await;
        assert!(usage.turns > 5 && usage.usage.output > 0 && usage.by_model[0].model == "demo", "{usage:?}");
    }
}

async fn acting(walk: &mut Walk, session: &str) {
    let skills: w::Page<a::Skill> = walk.call("skills.list", json!({})).await;
    assert_eq!(skills.items[0].id, "summarize");
    let params = json!({"skillId": "summarize", "input": {"text": "a b c"}});
    let result: a::SkillResult = walk.call("skills.execute", params).await;
    assert!(result.usage.output > 0 && result.output.is_string(), "{result:?}");
    let actions: w::Page<a::Action> = walk.call("actions.list", json!({"entityType": "conversation"})).await;
    let action = &actions.items[0].id;
    let wish = json!({
        "actionId": action, "input": {"title": "acted"}, "entityType": "conversation", "entityId": session,
    });
    let preview: a::ActionPreview = walk.call("actions.preview", wish.clone()).await;
    assert_eq!(preview.details.expect("said")["to"], "acted");
    let done: a::ActionOutcome = walk.call("actions.execute", wish).await;
    assert_eq!(done.status, a::ActionStatus::Completed);
    let undo = json!({"actionId": action, "executionId": done.execution_id});
    let undone: a::ActionUndone = walk.call("actions.undo", undo).await;
    assert_eq!((undone.success, Some(undone.execution_id)), (true, done.execution_id));
}

#[test]
fn presence_tells_of_users_not_of_connections() {
    run(async {
        let hub = Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 2));
        let (alice, bob) = (hub.token("alice", "acme", "member"), hub.token("bob", "acme", "member"));
        let mut one = Client::connect(&hub.address, &alice).await;
        let created = one.call("sessions.create", json!({"visibility": "organization"})).await;
        let channel = format!("session:{}", created["id"].as_str().expect("an id"));
        one.subscribe(&channel, None).await;
        let mut connections = Vec::new();
        for token in [&alice, &bob, &bob, &alice] {
            let mut client = Client::connect(&hub.address, token).await;
            client.subscribe(&channel, None).await;
            connections.push(client);
        }
        assert_eq!(one.event("presence.joined").await, json!({"userId": "bob", "count": 2}));
        drop(connections);
        assert_eq!(one.event("presence.left").await, json!({"userId": "bob", "count": 1}));
        let told = one.until_pong().await;
        assert!(!told.iter().any(|f| f["event"].as_str().is_some_and(|e| e.starts_with("presence."))), "{told:?}");
        let presence = one.call("channels.presence", json!({"channel": channel})).await;
        assert_eq!(presence, json!({"count": 1, "users": ["alice"]}));
    });
}

#[test]
fn a_delete_ends_what_runs_and_a_search_finds_nothing_of_it() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let mut walk = walk(&hub).await;
        let session = walk.client.session().await;
        walk.client.subscribe(&format!("session:{session}"), None).await;
        let first = walk.say(&session, "walrus").await;
        walk.ended(&first.turn_id).await;
        let running = walk.say(&session, "slow long 5000").await;
        let waiting = walk.say(&session, "never").await;
        let deleted: m::Deleted = walk.call("sessions.delete", json!({"sessionId": session})).await;
        assert!(deleted.deleted);
        assert_eq!(walk.ended(&waiting.turn_id).await["state"], "cancelled");
        assert_eq!(walk.ended(&running.turn_id).await["state"], "aborted");
        walk.client.find(|f| f["type"] == "unsubscribed").await;
        let found: w::Page<w::Session> = walk.call("sessions.list", json!({"q": "walrus"})).await;
        assert!(found.items.is_empty());
        assert_eq!(walk.client.refused("messages.list", json!({"sessionId": session})).await, "not_found");
    });
}
