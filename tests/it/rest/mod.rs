//! The REST doors: the gateway's wire at the root, and the native words under `/api/v1`.

mod gateway;
mod history;
mod idempotency;
mod revocation;
mod streaming;
mod waiting;

use crate::support::{Http, Hub, HubOptions};

/// A hub that counts no messages: these tests send many.
fn hub() -> Hub {
    Hub::start(HubOptions::default().set("SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE", 0))
}

fn member(hub: &Hub, user: &str) -> Http {
    Http::new(&hub.address, &hub.token(user, "acme", "member"))
}
