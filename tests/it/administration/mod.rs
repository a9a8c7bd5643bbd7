//! The administration of what runs: one's own organization is seen and steered, another's does not exist, and every act
//! is written down before it begins.

mod approvals;
mod channels;
mod connections;
mod record;
mod reload;
mod rights;
mod sessions;
mod usage;

use serde_json::{Value, json};

use crate::support::{Client, Http, Hub, HubOptions};

const NOBODYS: &str = "01930000000070008000000000000000";

/// A hub on which what one worker does not know another one does.
fn hub() -> Hub {
    Hub::start(HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3))
}

fn http(hub: &Hub, user: &str, organization: &str, role: &str) -> Http {
    Http::new(&hub.address, &hub.token(user, organization, role))
}

async fn client(hub: &Hub, user: &str, organization: &str) -> Client {
    Client::connect(&hub.address, &hub.token(user, organization, "member")).await
}

/// Whoever administers the whole hub.
fn root(hub: &Hub) -> Http {
    http(hub, "root", "default", "owner")
}

async fn items(http: &Http, path: &str) -> Vec<Value> {
    let mut list = http.ok("GET", path, Value::Null).await;
    assert!(list["nextCursor"].is_null(), "{path}: there is more: {list}");
    serde_json::from_value(list["items"].take()).expect("a list")
}

/// The whole list, one page after the other.
async fn pages(http: &Http, path: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = http.ok("GET", &format!("{path}limit={limit}&cursor={cursor}"), Value::Null).await;
        let items: Vec<Value> = serde_json::from_value(page["items"].take()).expect("a list");
        assert!(items.len() <= limit, "{items:?}");
        all.extend(items);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return all,
        }
    }
}

/// Rows of the record: target and outcome, the newest first.
async fn rows(http: &Http, action: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = items(http, &format!("/api/v1/admin/audit?action={action}")).await;
    found.iter().map(|row| (text(&row["target"]), text(&row["outcome"]))).collect()
}

fn row(target: &str, outcome: &str) -> (String, String) {
    (target.to_owned(), outcome.to_owned())
}

/// A session of the client's own with a question that waits: its id and the question's.
async fn asked(client: &mut Client, visibility: &str) -> (String, String) {
    let created = client.call("sessions.create", json!({"visibility": visibility, "title": "secret plans"})).await;
    let session = created["id"].as_str().expect("an id").to_owned();
    client.subscribe(&format!("session:{session}"), None).await;
    client.say(&session, "fetch http://example.org/").await;
    let question = client.event("tool.approval_required").await;
    (session, question["requestId"].as_str().expect("an id").to_owned())
}
