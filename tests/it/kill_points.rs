//! Killed at the worst moments by name: between commit and broadcast, between commit and answer, around a tool.

use serde_json::{Value, json};

use crate::support::{Client, Counter, Hub, HubOptions, Watcher, assert_converged, run, text_of};

struct Scene {
    hub: Hub,
    options: HubOptions,
    session: String,
    watchers: Vec<Watcher>,
}

impl Scene {
    async fn start(options: HubOptions) -> Self {
        let hub = Hub::start(options.clone());
        let token = hub.token("alice", "acme", "member");
        let session = Client::connect(&hub.address, &token).await.session().await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(Watcher::join(&hub.address, &token, &session).await);
        }
        Self { hub, options, session, watchers }
    }

    /// A new process with these failpoints, after the one at hand is gone.
    async fn restart(&mut self, points: &str) {
        let options = self.options.clone().set("SWITCHBOARD_FAILPOINTS", points);
        self.hub.revive_with(options);
        for watcher in &mut self.watchers {
            watcher.until_closed().await;
            assert_eq!(watcher.rejoin(&self.hub.address).await["recovered"], false);
        }
    }

    /// Waits until the failpoint has killed the process, and starts it without one.
    async fn after_its_death(&mut self) {
        let status = self.hub.wait();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        self.restart("").await;
    }

    async fn ended(&mut self, turn: &str) -> String {
        let mut states = Vec::new();
        for watcher in &mut self.watchers {
            states.push(watcher.until_ended(turn).await);
        }
        assert!(states.iter().all(|s| *s == states[0]), "{states:?}");
        states.remove(0)
    }

    async fn say(&mut self, content: &str) -> String {
        self.watchers[0].say(content).await["turnId"].as_str().expect("an id").to_owned()
    }

    /// The tool call of the newest answer that has one: its state, and the outputs that came of it.
    fn call(&self) -> (String, Vec<String>) {
        let messages = self.watchers[0].picture.messages.values();
        let parts = messages.flat_map(|m| m["parts"].as_array().expect("parts").clone()).collect::<Vec<Value>>();
        let call = parts.iter().rfind(|p| p["type"] == "tool_call").expect("a tool call");
        let results = parts.iter().filter(|p| p["type"] == "tool_result" && p["toolCallId"] == call["toolCallId"]);
        let outputs = results.map(|p| p["output"].as_str().expect("an output").to_owned()).collect();
        (call["state"].as_str().expect("a state").to_owned(), outputs)
    }

    /// The request id of the one approval that everybody sees waiting.
    fn pending(&self) -> String {
        for watcher in &self.watchers {
            assert_eq!(watcher.picture.approvals.len(), 1, "{:?}", watcher.picture.approvals);
        }
        self.watchers[0].picture.approvals.keys().next().expect("an approval").clone()
    }
}

/// Messages with a key each until the process dies at `point`; whoever got no answer asks again after the restart.
async fn until_it_dies_at(scene: &mut Scene, point: &str) {
    scene.restart(point).await;
    let mut acknowledged = Vec::new();
    let params = loop {
        let content = format!("{point} {} long 15", acknowledged.len());
        let params = json!({"sessionId": scene.session, "content": content, "idempotencyKey": content});
        let Some(answer) = scene.watchers[0].client.try_ask("messages.send", params.clone()).await else {
            break params;
        };
        let turn = answer["result"]["turnId"].as_str().unwrap_or_else(|| panic!("{point}: {answer}")).to_owned();
        acknowledged.push((turn, content));
        assert!(acknowledged.len() < 50, "{point} was never reached");
    };
    scene.after_its_death().await;
    let first = scene.watchers[0].client.call("messages.send", params.clone()).await;
    let again = scene.watchers[0].client.call("messages.send", params.clone()).await;
    assert_eq!(first, again, "{point}");
    let content = params["content"].as_str().expect("a text").to_owned();
    acknowledged.push((first["turnId"].as_str().expect("an id").to_owned(), content));
    for (turn, _) in &acknowledged {
        let state = scene.ended(turn).await;
        assert!(["completed", "interrupted"].contains(&state.as_str()), "{point}: {state}");
    }
    let stored = assert_converged(&mut scene.watchers).await;
    for (turn, content) in &acknowledged {
        let of_turn = |m: &&Value| m["turnId"] == turn.as_str() && m["role"] == "user";
        let messages = stored.values().filter(of_turn).map(text_of).collect::<Vec<_>>();
        assert_eq!(messages, std::slice::from_ref(content), "{point}");
    }
    let sent = stored.values().filter(|m| m["role"] == "user" && text_of(m).starts_with(point)).count();
    assert_eq!(sent, acknowledged.len(), "{point}: a message came twice");
}

#[test]
fn between_commit_and_broadcast_and_between_commit_and_answer() {
    run(async {
        let mut scene = Scene::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3)).await;
        for name in ["conversation.committed", "conversation.told", "send.answer"] {
            for passage in 1..=3 {
                until_it_dies_at(&mut scene, &format!("{name}=kill@{passage}")).await;
            }
        }
        // The first commits are the start's own.
        for name in ["store.before", "store.after"] {
            for passage in 6..=10 {
                until_it_dies_at(&mut scene, &format!("{name}=kill@{passage}")).await;
            }
        }
    });
}

#[test]
fn a_tool_that_ran_into_a_kill_is_unknown_and_never_runs_again() {
    run(async {
        let counter = Counter::start();
        let mut scene = Scene::start(HubOptions::default().config(&counter.config("allow"))).await;
        // Between the commit of `executing` and the tool's start.
        scene.restart("tool.executing=kill@1").await;
        let turn = scene.say(&format!("fetch {}", counter.url("/never"))).await;
        scene.after_its_death().await;
        assert_eq!(scene.ended(&turn).await, "interrupted");
        let (state, outputs) = scene.call();
        assert_eq!((state.as_str(), outputs.len()), ("unknown", 1));
        // While it runs.
        let turn = scene.say(&format!("fetch {}", counter.url("/hang"))).await;
        counter.wait("/hang");
        scene.hub.kill();
        scene.restart("").await;
        assert_eq!(scene.ended(&turn).await, "interrupted");
        let (state, outputs) = scene.call();
        assert_eq!((state.as_str(), outputs.len()), ("unknown", 1));
        assert!(outputs[0].starts_with("unknown:"), "{outputs:?}");
        // The conversation goes on, the tools do not come again.
        let turn = scene.say(&format!("fetch {}", counter.url("/once"))).await;
        assert_eq!(scene.ended(&turn).await, "completed");
        assert_eq!(scene.call(), ("succeeded".to_owned(), vec![counter.output("/once")]));
        assert_eq!(counter.seen(), ["/hang", "/once"]);
        assert_converged(&mut scene.watchers).await;
    });
}

#[test]
fn an_approval_survives_kills_and_its_tool_runs_once() {
    run(async {
        let counter = Counter::start();
        let mut scene = Scene::start(HubOptions::default().config(&counter.config("ask"))).await;
        let turn = scene.say(&format!("fetch {}", counter.url("/waited"))).await;
        for watcher in &mut scene.watchers {
            watcher.until_event("tool.approval_required").await;
        }
        let request = scene.pending();
        for _ in 0..3 {
            scene.hub.kill();
            scene.restart("").await;
            assert_eq!(scene.pending(), request);
            assert_eq!(scene.watchers[0].picture.turns[&turn], "awaiting_approval");
        }
        // Behind it a message waits, also over a kill.
        let queued = scene.say("long 5").await;
        scene.hub.kill();
        scene.restart("").await;
        let decided = scene.watchers[1].client.call("tools.approve", json!({"requestId": request})).await;
        assert_eq!((&decided["applied"], &decided["approved"]), (&json!(true), &json!(true)));
        assert_eq!(scene.ended(&turn).await, "completed");
        assert_eq!(scene.ended(&queued).await, "completed");
        assert_converged(&mut scene.watchers).await;
        assert_eq!(counter.seen(), ["/waited"]);
    });
}

#[test]
fn a_grant_that_was_committed_counts_after_a_kill() {
    run(async {
        let counter = Counter::start();
        let mut scene = Scene::start(HubOptions::default().config(&counter.config("ask"))).await;
        let points = ["conversation.committed=kill@1", "conversation.told=kill@1", "approval.granted=kill@1"];
        for (n, point) in points.into_iter().enumerate() {
            let turn = scene.say(&format!("fetch {}", counter.url(&format!("/{n}")))).await;
            for watcher in &mut scene.watchers {
                watcher.until_event("tool.approval_required").await;
            }
            scene.hub.kill();
            scene.restart(point).await;
            let request = scene.pending();
            let params = json!({"requestId": request});
            let told = scene.watchers[2].client.try_ask("tools.approve", params.clone()).await;
            assert!(told.is_none_or(|t| t["result"]["applied"] == true));
            scene.after_its_death().await;
            assert_eq!(scene.ended(&turn).await, "completed", "{point}");
            assert_eq!(scene.call(), ("succeeded".to_owned(), vec![counter.output(&format!("/{n}"))]), "{point}");
            // Deciding again changes nothing; the first answer is told.
            let again = scene.watchers[1].client.call("tools.reject", params).await;
            assert_eq!((&again["applied"], &again["approved"]), (&json!(false), &json!(true)));
            assert_converged(&mut scene.watchers).await;
        }
        assert_eq!(counter.seen(), ["/0", "/1", "/2"]);
    });
}
