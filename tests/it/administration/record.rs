//! The row is on disk before the act begins: where none can be written nothing is done.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};

use super::{asked, client, http, hub, items, root, rows};
use crate::support::{Hub, run};

/// From here on, or no longer, the record takes no row.
fn refuse_rows(hub: &Hub, refuse: bool) {
    let path = hub.folder().join("hub.db");
    let mut beside = SqliteConnection::establish(path.to_str().expect("a path")).expect("the database opens");
    beside.batch_execute("pragma busy_timeout = 5000").expect("it waits for its turn");
    let change = match refuse {
        true => "create trigger no_rows before insert on audit begin select raise(abort, 'no rows'); end",
        false => "drop trigger no_rows",
    };
    beside.batch_execute(change).expect("the trigger is made");
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    run(async {
        let hub = hub();
        let (ann, root) = (http(&hub, "ann", "acme", "admin"), root(&hub));
        let mut alice = client(&hub, "alice", "acme").await;
        let (asking, request) = asked(&mut alice, "private").await;
        alice.subscribe("org:acme", None).await;
        alice.subscribe("app:a", None).await;
        let connection = items(&ann, "/api/v1/admin/connections").await[0]["id"].take();
        let connection = format!("connections/{}", connection.as_str().expect("an id"));
        let wishes = [
            (&ann, "GET", format!("sessions/{asking}/messages"), Value::Null),
            (&ann, "GET", format!("channels/session:{asking}/history"), Value::Null),
            (&ann, "GET", "channels/app:a/history".to_owned(), Value::Null),
            (&ann, "GET", "approvals".to_owned(), Value::Null),
            (&ann, "POST", "publish".to_owned(), json!({"channel": "app:a", "event": "e"})),
            (&ann, "POST", "broadcast".to_owned(), json!({"message": "hello"})),
            (&root, "POST", "broadcast/all".to_owned(), json!({"message": "hello"})),
            (&root, "POST", "reload".to_owned(), json!({})),
            (&ann, "POST", format!("approvals/{request}"), json!({"approved": true})),
            (&ann, "POST", format!("sessions/{asking}/abort"), json!({})),
            (&ann, "DELETE", connection, Value::Null),
        ];
        let status = async |n: usize| {
            let (who, method, path, body) = &wishes[n];
            let body = if body.is_null() { String::new() } else { body.to_string() };
            who.send(method, &format!("/api/v1/admin/{path}"), &[], body.as_bytes()).await.status
        };
        alice.until_pong().await;
        refuse_rows(&hub, true);
        for (n, wish) in wishes.iter().enumerate() {
            assert!(matches!(status(n).await, 500 | 503), "{:?}", (wish.1, &wish.2));
        }
        // The socket is open, nothing was told, the question waits and its turn, too.
        assert_eq!(alice.until_pong().await, Vec::<Value>::new());
        let waiting = alice.call("approvals.list", json!({"sessionId": asking})).await;
        assert_eq!(waiting["items"][0]["requestId"], request.as_str());
        refuse_rows(&hub, false);
        for action in ["admin.connections.close", "admin.broadcast", "admin.sessions.abort", "admin.sessions.read"] {
            assert_eq!(rows(&ann, action).await, [], "{action}");
        }
        for (n, wish) in wishes.iter().enumerate() {
            assert!(matches!(status(n).await, 200 | 204 | 409), "{:?}", (wish.1, &wish.2));
        }
        assert_eq!(alice.until_closed().await, 4403);
    });
}
