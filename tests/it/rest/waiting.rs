//! A request that waits gets the answer that is stored, however its turn ends.

use serde_json::json;

use super::{Talk, hub, member};
use crate::support::{Client, Http, Hub, HubOptions, run, text_of};

#[test]
fn the_answer_is_what_is_stored() {
    run(async {
        let hub = hub();
        let token = hub.token("alice", "acme", "member");
        let alice = Http::new(&hub.address, &token);
        let session = alice.session().await;
        let said = alice.ok("POST", &format!("/sessions/{session}/messages"), json!({"content": "long 300"})).await;
        assert_eq!((&said["state"], &said["toolCalls"]), (&json!("completed"), &json!([])));
        let mut client = Client::connect(&hub.address, &token).await;
        let stored = client.call("messages.list", json!({"sessionId": session})).await;
        let answer = &stored["items"][1];
        assert_eq!(said["id"], answer["id"]);
        assert_eq!(said["content"].as_str().expect("a text"), text_of(answer));
        let tools = alice.ok("POST", &format!("/sessions/{session}/messages"), json!({"content": "time"})).await;
        assert_eq!(
            (&tools["toolCalls"][0]["name"], &tools["toolCalls"][0]["state"]),
            (&json!("time"), &json!("succeeded"))
        );
        assert!(tools["toolCalls"][0]["output"].is_string(), "{tools}");
    });
}

#[test]
fn the_native_words_wait_where_they_are_asked_to() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.ok("POST", "/api/v1/sessions", json!({"title": "one"})).await;
        let path = format!("/api/v1/sessions/{}/messages", session["id"].as_str().expect("an id"));
        let accepted = alice.post(&path, json!({"content": "hello"})).await;
        assert_eq!(accepted.status, 202);
        assert!(accepted.json()["turnId"].is_string() && accepted.json()["messageId"].is_string(), "{accepted:?}");
        let waited = alice.ok("POST", &format!("{path}?wait=true"), json!({"content": "again"})).await;
        assert_eq!((&waited["state"], &waited["answer"]["state"]), (&json!("completed"), &json!("complete")));
        let preferred = alice.send("POST", &path, &[("Prefer", "wait=20")], b"{\"content\":\"more\"}").await;
        assert_eq!((preferred.status, preferred.json()["state"].as_str()), (200, Some("completed")));
        let turn = waited["turnId"].as_str().expect("an id");
        let turn = alice.ok("GET", &format!("{}/turns/{turn}", path.trim_end_matches("/messages")), json!(null)).await;
        assert_eq!((&turn["turn"]["state"], &turn["answer"]), (&json!("completed"), &waited["answer"]));
    });
}

#[test]
fn a_stop_gives_what_was_said_and_a_failure_its_reason() {
    run(async {
        let Talk { hub: _hub, alice, session, path, watcher: mut client } = Talk::begin(hub()).await;
        let (waiting, stopped) = tokio::join!(alice.post(&path, json!({"content": "slow long 5000"})), async {
            client.find(|f| f["data"]["delta"].is_string()).await;
            client.call("messages.stop", json!({"sessionId": session})).await
        });
        assert_eq!(stopped["state"], "stopped");
        assert_eq!((waiting.status, &waiting.json()["state"]), (200, &json!("stopped")));
        let stored = client.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(waiting.json()["content"].as_str().expect("a text"), text_of(&stored["items"][1]));
        let failed = alice.post(&path, json!({"content": "fail"})).await;
        assert_eq!((failed.status, failed.code().as_str()), (503, "unavailable"));
        assert_eq!(failed.json()["details"]["state"], "failed");
        assert!(failed.json()["error"].as_str().is_some_and(|why| !why.is_empty()), "{failed:?}");
    });
}

#[test]
fn who_waits_behind_another_turn_hears_its_own_end_and_a_removal_from_the_queue() {
    run(async {
        let Talk { hub: _hub, alice, session, path, watcher: mut client } = Talk::begin(hub()).await;
        client.say(&session, "slow long 2000").await;
        let (second, third, ()) = tokio::join!(
            alice.post(&path, json!({"content": "second"})),
            alice.stream(&path, &[], json!({"content": "third"})),
            async {
                let queued = [client.event("turn.queued").await, client.event("turn.queued").await];
                let second = queued.iter().find(|turn| turn["position"] == 1).expect("the first of the queue");
                let cancel = json!({"sessionId": session, "turnId": second["turnId"]});
                client.call("messages.cancel", cancel).await;
                client.call("messages.stop", json!({"sessionId": session})).await;
            }
        );
        let third = third.all().await;
        // Either of the two came first.
        let cancelled = match second.status {
            409 => {
                assert_eq!(
                    (second.code().as_str(), &second.json()["details"]["state"]),
                    ("conflict", &json!("cancelled"))
                );
                &third
            }
            _ => {
                assert_eq!((second.status, &second.json()["state"]), (200, &json!("completed")));
                assert_eq!(third.len(), 1, "{third:?}");
                assert_eq!((third[0].0.as_str(), &third[0].1["code"]), ("error", &json!("cancelled")));
                return;
            }
        };
        assert_eq!(cancelled.last().expect("an end").0, "message_complete");
    });
}

#[test]
fn the_time_is_up_and_the_turn_goes_on() {
    run(async {
        let options = HubOptions::default().set("SWITCHBOARD_LIMITS__WAIT_SECONDS", 1);
        let hub = Hub::start(options.set("SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE", 0));
        let token = hub.token("alice", "acme", "member");
        let alice = Http::new(&hub.address, &token);
        let session = alice.session().await;
        let path = format!("/sessions/{session}/messages");
        let waiting = alice.post(&path, json!({"content": "fetch http://example.org/"})).await;
        // No error: a client that sends again after an error would ask twice.
        assert_eq!((waiting.status, &waiting.json()["state"]), (202, &json!("awaiting_approval")));
        let turn = waiting.json()["turnId"].as_str().expect("the turn").to_owned();
        let shown = alice.ok("GET", &format!("/api/v1/sessions/{session}/turns/{turn}"), json!(null)).await;
        assert_eq!(shown["turn"]["state"], "awaiting_approval");
        let asked = alice.ok("GET", "/api/v1/approvals", json!(null)).await;
        let request = asked["items"][0]["requestId"].as_str().expect("an id");
        let decided = alice.ok("POST", &format!("/api/v1/approvals/{request}"), json!({"approved": false})).await;
        assert_eq!((&decided["applied"], &decided["approved"]), (&json!(true), &json!(false)));

        let native = format!("/api/v1/sessions/{session}");
        alice.ok("POST", &format!("{native}/pause"), json!(null)).await;
        let queued = alice.post(&format!("{native}/messages?wait=true"), json!({"content": "hello"})).await;
        assert_eq!((queued.status, &queued.json()["state"]), (202, &json!("queued")));
    });
}

#[test]
fn archived_and_busy_are_conflicts() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.session().await;
        let native = format!("/api/v1/sessions/{session}");
        alice.ok("POST", &format!("{native}/messages"), json!({"content": "slow long 5000"})).await;
        let body = json!({"content": "now", "ifRunning": "reject"});
        let busy = alice.post(&format!("{native}/messages?wait=true"), body).await;
        assert_eq!((busy.status, busy.code().as_str()), (409, "busy"));
        alice.ok("POST", &format!("{native}/archive"), json!(null)).await;
        let archived = alice.post(&format!("/sessions/{session}/messages"), json!({"content": "hello"})).await;
        assert_eq!((archived.status, archived.code().as_str()), (409, "archived"));
    });
}
