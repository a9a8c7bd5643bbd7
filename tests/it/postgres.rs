//! The same promises with the rows in PostgreSQL.

use serde_json::json;

use crate::kills::kills;
use crate::support::postgres::Postgres;
use crate::support::{Client, Hub, HubOptions, Watcher, assert_converged, run, run_for, text_of};

fn on(server: &Postgres) -> HubOptions {
    HubOptions::default().set("SWITCHBOARD_DATABASE_URL", server.database()).set("SWITCHBOARD_SERVER__WORKERS", 3)
}

#[test]
fn an_answer_streams_to_three_watchers_and_is_stored() {
    run(async {
        let server = Postgres::start(&[]);
        let mut hub = Hub::start(on(&server));
        let token = hub.token("alice", "acme", "member");
        let session = Client::connect(&hub.address, &token).await.session().await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(Watcher::join(&hub.address, &token, &session).await);
        }
        let turn = watchers[0].say("long 40").await["turnId"].as_str().expect("an id").to_owned();
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&turn).await, "completed");
        }
        let stored = assert_converged(&mut watchers).await;
        let answer = stored.values().find(|m| m["role"] == "assistant").expect("an answer");
        let whole: Vec<_> = (1..=40).map(|n| format!("word{n}")).collect();
        assert_eq!((&answer["state"], text_of(answer)), (&json!("complete"), whole.join(" ")));
        assert_eq!(server.sql("hub_1", "select count(*) from message"), "2");
        hub.signal_term();
        assert_eq!(hub.wait().code(), Some(0));
        hub.revive();
        for watcher in &mut watchers {
            watcher.until_closed().await;
            assert_eq!(watcher.rejoin(&hub.address).await["recovered"], false);
        }
        assert_eq!(assert_converged(&mut watchers).await, stored);
    });
}

#[test]
fn a_killed_hub_loses_nothing_and_all_converge() {
    let server = Postgres::start(&[]);
    run_for(120, kills(10, on(&server)));
}

/// The server goes down as by a crash and comes back: what was acknowledged is there, and the hub goes on by itself.
#[test]
fn a_server_that_goes_away_is_survived() {
    run(async {
        let mut server = Postgres::start(&["fsync=on"]);
        let hub = Hub::start(on(&server));
        let token = hub.token("alice", "acme", "member");
        let session = Client::connect(&hub.address, &token).await.session().await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(Watcher::join(&hub.address, &token, &session).await);
        }
        let turn = watchers[0].say("long 20000").await["turnId"].as_str().expect("an id").to_owned();
        watchers[0].until(|f| !f["data"]["delta"].is_null()).await;
        server.restart();
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&turn).await, "interrupted");
            assert_eq!(watcher.client.closed, None);
        }
        let next = watchers[1].say("long 6").await["turnId"].as_str().expect("an id").to_owned();
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&next).await, "completed");
        }
        let stored = assert_converged(&mut watchers).await;
        assert_eq!(stored.len(), 4);
    });
}
