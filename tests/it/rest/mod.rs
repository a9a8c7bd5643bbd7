//! The REST doors: the gateway's wire at the root, and the native words under `/api/v1`.

mod gateway;
mod history;
mod idempotency;
mod streaming;
mod waiting;

use crate::support::{Client, Http, Hub, HubOptions};

/// A hub that counts no messages: these tests send many.
fn hub() -> Hub {
    Hub::start(HubOptions::default().set("SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE", 0))
}

fn member(hub: &Hub, user: &str) -> Http {
    Http::new(&hub.address, &hub.token(user, "acme", "member"))
}

/// A conversation of alice's over HTTP, and a socket of hers that hears it.
struct Talk {
    alice: Http,
    session: String,
    /// Where its messages are.
    path: String,
    watcher: Client,
    hub: Hub,
}

impl Talk {
    async fn begin(hub: Hub) -> Self {
        let token = hub.token("alice", "acme", "member");
        let alice = Http::new(&hub.address, &token);
        let session = alice.session().await;
        let mut watcher = Client::connect(&hub.address, &token).await;
        watcher.subscribe(&format!("session:{session}"), None).await;
        Self { path: format!("/sessions/{session}/messages"), alice, session, watcher, hub }
    }
}
