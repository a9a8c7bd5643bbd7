//! The built-in tools: their inputs, what they do, and what they must never do.

#[path = "support/mock_http.rs"]
mod mock_http;

#[path = "tools/http_call.rs"]
mod http_call;
#[path = "tools/http_fetch.rs"]
mod http_fetch;
#[path = "tools/small.rs"]
mod small;

use switchboard::domain::ids::{ConversationId, OrganizationId, Timestamp, UserId};
use switchboard::tools::ToolContext;

fn context() -> ToolContext {
    ToolContext {
        now: Timestamp(1_000_000_000_000),
        request_id: "req-1".into(),
        organization: OrganizationId::parse("org").expect("a name"),
        user: UserId::parse("user").expect("a name"),
        conversation: ConversationId(7),
        cancel: Default::default(),
        alive: Default::default(),
    }
}
