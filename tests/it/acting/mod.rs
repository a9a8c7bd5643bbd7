//! Skills, actions and tools that are somebody's endpoint: what is asked of it, how often, and what is written down.

mod actions;
mod agents;
mod endpoint;
mod kills;
mod skills;

use serde_json::{Value, json};

pub use endpoint::Endpoint;

use crate::handshake::{SECRET, now, signed};
use crate::support::{Client, Http, Hub, HubOptions};

/// What the hub sends the endpoint and nobody else.
pub const KEY: &str = "ticket-key-0123456789";

/// The actions `close_ticket`, which needs a permission and a look before, and `note`, which needs neither.
pub fn config(endpoint: &Endpoint) -> String {
    let address = endpoint.address();
    format!(
        r#"
[actions.close_ticket]
name = "Close a ticket"
description = "Closes a ticket for good reason."
category = "tickets"
input_schema = '{{"type":"object","required":["reason"],"properties":{{"reason":{{"type":"string","minLength":1}}}},"additionalProperties":false}}'
permissions = ["tickets:write"]
entity_types = ["ticket"]
undo_seconds = 600
time_seconds = 5
allow_private = ["{address}"]
[actions.close_ticket.execute]
url = "http://{address}/tickets/{{{{entity.id}}}}/close"
headers = ["authorization: Bearer {{{{env.TICKET_KEY}}}}"]
body = '{{"reason":{{{{input.reason}}}},"by":"{{{{user}}}}"}}'
[actions.close_ticket.preview]
method = "GET"
url = "http://{address}/tickets/{{{{entity.id}}}}"
[actions.close_ticket.undo]
url = "http://{address}/tickets/{{{{entity.id}}}}/reopen"
body = '{{"receipt":{{{{result.body.receipt}}}}}}'

[actions.note]
description = "Leaves a note."
category = "notes"
requires_preview = false
time_seconds = 1
allow_private = ["{address}"]
input_schema = '{{"type":"object","properties":{{"to":{{"type":"string"}}}}}}'
[actions.note.execute]
url = "http://{address}/notes/{{{{input.to}}}}"
body = '{{}}'
"#
    )
}

/// A hub with these actions, and tokens that name permissions.
pub fn options(endpoint: &Endpoint) -> HubOptions {
    HubOptions::default()
        .set("SWITCHBOARD_JWT_SECRET", SECRET)
        .set("TICKET_KEY", KEY)
        .set("SWITCHBOARD_SERVER__WORKERS", 3)
        .config(&config(endpoint))
}

/// A token of that user with these permissions.
pub fn token(user: &str, organization: &str, role: &str, permissions: &[&str]) -> String {
    signed(&json!({
        "sub": user, "org": organization, "role": role, "permissions": permissions, "exp": now() + 3600,
    }))
}

pub fn http(hub: &Hub, user: &str, permissions: &[&str]) -> Http {
    Http::new(&hub.address, &token(user, "acme", "member", permissions))
}

pub async fn client(hub: &Hub, user: &str, permissions: &[&str]) -> Client {
    Client::connect(&hub.address, &token(user, "acme", "member", permissions)).await
}

/// Closing that ticket.
pub fn closing(ticket: &str, more: Value) -> Value {
    let mut body = json!({"input": {"reason": "done"}, "entityType": "ticket", "entityId": ticket});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

pub const CLOSE: &str = "/api/v1/ai/actions/close_ticket";
