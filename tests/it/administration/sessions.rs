//! Agents at work: listed, stopped, aborted, read; whosever they are, within the organization.

use serde_json::{Value, json};

use super::{NOBODYS, client, http, hub, items, pages, root, row, rows};
use crate::support::{Client, run};

const SESSIONS: &str = "/api/v1/admin/sessions";
const LONG: &str = "slow long 20000";

async fn begun(client: &mut Client, visibility: &str, title: &str) -> String {
    let created = client.call("sessions.create", json!({"visibility": visibility, "title": title})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    client.subscribe(&format!("session:{session}"), None).await;
    session
}

#[test]
fn what_runs_and_waits_is_listed_without_the_names_of_private_sessions() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let mut bob = client(&hub, "bob", "acme").await;
        let mut mallory = client(&hub, "mallory", "rival").await;
        let private = begun(&mut alice, "private", "secret plans").await;
        let running = alice.say(&private, LONG).await;
        alice.event("turn.started").await;
        let queued = alice.say(&private, "and then").await;
        let shared = begun(&mut bob, "organization", "release").await;
        bob.call("sessions.pause", json!({"sessionId": shared})).await;
        let paused = bob.say(&shared, "later").await;
        let theirs = begun(&mut mallory, "organization", "theirs").await;
        mallory.say(&theirs, LONG).await;
        // One that has ended is no live one.
        let done = begun(&mut bob, "private", "done").await;
        let turn = bob.say(&done, "hello").await;
        bob.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;

        let all = items(&ann, SESSIONS).await;
        let shown = |list: &[Value]| -> Vec<(String, String, String)> {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            list.iter().map(|l| (text(&l["userId"]), text(&l["turn"]["id"]), text(&l["turn"]["state"]))).collect()
        };
        let one = |user: &str, turn: &str, state: &str| (user.to_owned(), turn.to_owned(), state.to_owned());
        let wanted =
            [one("bob", &paused, "queued"), one("alice", &queued, "queued"), one("alice", &running, "running")];
        assert_eq!(shown(&all), wanted);
        assert_eq!(shown(&pages(&ann, &format!("{SESSIONS}?"), 1).await), wanted);
        assert_eq!((&all[0]["title"], &all[0]["sessionState"]), (&json!("release"), &json!("paused")));
        assert_eq!((&all[1]["title"], &all[1]["sessionId"]), (&Value::Null, &json!(private)));
        assert!(!Value::from(all).to_string().contains("secret plans"));
        for (query, wanted) in [
            ("state=running", &wanted[2..]),
            ("state=queued", &wanted[..2]),
            ("state=paused", &wanted[..1]),
            ("state=stopping", &[]),
            ("user=alice", &wanted[1..]),
            ("user=mallory", &[]),
        ] {
            assert_eq!(shown(&items(&ann, &format!("{SESSIONS}?{query}")).await), wanted, "{query}");
        }
        assert_eq!(ann.get(&format!("{SESSIONS}?state=ended")).await.status, 400);
        assert_eq!(items(&root(&hub), &format!("{SESSIONS}?organization=rival")).await.len(), 1);
    });
}

#[test]
fn anybodys_turn_is_stopped_and_aborted() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let session = begun(&mut alice, "private", "").await;
        let first = alice.say(&session, LONG).await;
        alice.event("part.updated").await;
        let second = alice.say(&session, LONG).await;
        let path = format!("{SESSIONS}/{session}");

        let rival = http(&hub, "rae", "rival", "owner");
        for verb in ["stop", "abort"] {
            let real = rival.post(&format!("{path}/{verb}"), json!({})).await;
            let unreal = rival.post(&format!("{SESSIONS}/sess_{NOBODYS}/{verb}"), json!({})).await;
            assert_eq!((real.status, real.without_id()), (404, unreal.without_id()), "{verb}");
        }
        // As one of its users even an owner may not.
        let owner = http(&hub, "olga", "acme", "owner");
        assert_eq!(owner.post(&format!("/api/v1/sessions/{session}/stop"), json!({})).await.status, 403);

        let stopped = ann.ok("POST", &format!("{path}/stop"), Value::Null).await;
        assert_eq!((&stopped["turnId"], &stopped["state"]), (&json!(first), &json!("stopped")));
        assert_eq!(stopped["receipt"]["bytesAfter"], 0);
        let ended = alice.event("turn.ended").await;
        assert_eq!((&ended["turnId"], &ended["state"]), (&json!(first), &json!("stopped")));
        alice.find(|f| f["event"] == "turn.started" && f["data"]["turnId"] == second.as_str()).await;
        let aborted = ann.ok("POST", &format!("{path}/abort"), json!({"turnId": second})).await;
        assert_eq!((&aborted["turnId"], &aborted["state"]), (&json!(second), &json!("aborted")));
        assert_eq!(alice.event("turn.ended").await["state"], "aborted");
        let idle = ann.post(&format!("{path}/stop"), json!({})).await;
        assert_eq!((idle.status, idle.code().as_str()), (409, "conflict"));
        assert_eq!(ann.post(&format!("{path}/stop"), json!({"turnId": "x"})).await.status, 404);

        let (done, failed) = (row(&session, ""), row(&session, "failed"));
        // Written down before it was known that nothing runs.
        assert_eq!(rows(&ann, "admin.sessions.stop").await, [failed, done.clone(), done.clone()]);
        assert_eq!(rows(&ann, "admin.sessions.abort").await, [done]);
        let refused = row(&session, "refused");
        assert_eq!(rows(&rival, "admin.sessions.stop").await[1], refused);
    });
}

#[test]
fn a_private_session_is_read_by_its_own_operation_and_that_is_written_down() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let session = begun(&mut alice, "private", "").await;
        for text in ["walrus", "and the carpenter"] {
            let turn = alice.say(&session, text).await;
            alice.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        }
        let own = alice.call("messages.list", json!({"sessionId": session})).await;
        assert_eq!(ann.get(&format!("/api/v1/sessions/{session}/messages")).await.status, 403);
        assert_eq!(rows(&ann, "admin.sessions.read").await, []);

        let path = format!("{SESSIONS}/{session}/messages");
        assert_eq!(ann.ok("GET", &path, Value::Null).await["items"], own["items"]);
        let newest = ann.ok("GET", &format!("{path}?limit=3"), Value::Null).await;
        let cursor = newest["nextCursor"].as_str().expect("there is more");
        let older = ann.ok("GET", &format!("{path}?cursor={cursor}"), Value::Null).await;
        assert_eq!((&older["items"][0], older["items"].as_array().map(Vec::len)), (&own["items"][0], Some(1)));
        let read = row(&session, "");
        assert_eq!(rows(&ann, "admin.sessions.read").await, [read.clone(), read.clone(), read]);

        let rival = http(&hub, "rae", "rival", "owner");
        let unreal = rival.get(&format!("{SESSIONS}/sess_{NOBODYS}/messages")).await;
        let real = rival.get(&path).await;
        assert_eq!((real.status, real.without_id()), (404, unreal.without_id()));
        // An administrator of the hub reads on whose behalf it says, and that organization's record knows.
        let root = root(&hub);
        assert_eq!(root.get(&path).await.status, 404);
        assert_eq!(root.ok("GET", &format!("{path}?organization=acme"), Value::Null).await["items"], own["items"]);
        let record = items(&ann, "/api/v1/admin/audit?action=admin.sessions.read&actor=root").await;
        assert_eq!((record.len(), &record[0]["details"]["actorOrganization"]), (1, &json!("default")));
    });
}
