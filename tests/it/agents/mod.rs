//! The agent at work as people steer it: slash commands, routing, what it knows of an entity, and what it forgets.

mod commands;
mod compacting;
mod conversations;
mod entities;
mod routing;

use crate::support::mock_http::{MockHttp, Request};
use crate::support::upstream::openai;
use crate::support::{Client, Http, Hub, HubOptions};

/// A member of acme over HTTP.
fn member(hub: &Hub, user: &str) -> Http {
    Http::new(&hub.address, &hub.token(user, "acme", "member"))
}

/// A hub whose agent adds nothing to a prompt, with that configuration.
fn plain(model: &MockHttp, config: &str) -> HubOptions {
    openai(model).config("[agents.assistant]\nsystem = \"\"\ntools = []\n").config(config)
}

/// What a request to the model says, as text.
fn said(request: &Request) -> String {
    request.json()["messages"].to_string()
}

/// Sends a message and waits for the end of its turn; the turn's `turn.started` and `turn.ended`.
async fn turn(client: &mut Client, session: &str, content: &str) -> (serde_json::Value, serde_json::Value) {
    let id = client.say(session, content).await;
    let mut started = client.find(|f| f["event"] == "turn.started" && f["data"]["turnId"] == id.as_str()).await;
    let mut ended = client.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == id.as_str()).await;
    (started["data"].take(), ended["data"].take())
}
