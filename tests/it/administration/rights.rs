//! Who may administer what runs, and by which credential.

use serde_json::{Value, json};

use super::{NOBODYS, http, hub, items, root};
use crate::support::{Http, Identity, run};

/// Method, address and body.
type Wish = (&'static str, String, Value);

/// Everything that can be asked here; the last ones only by whoever administers the hub.
fn requests() -> (Vec<Wish>, Vec<Wish>) {
    let session = format!("sessions/sess_{NOBODYS}");
    let own = vec![
        ("GET", "connections".into(), Value::Null),
        ("DELETE", format!("connections/conn_{NOBODYS}"), Value::Null),
        ("GET", "channels".into(), Value::Null),
        ("GET", "channels/app:a/subscribers".into(), Value::Null),
        ("GET", "channels/app:a/history".into(), Value::Null),
        ("POST", "publish".into(), json!({"channel": "app:a", "event": "e"})),
        ("POST", "broadcast".into(), json!({"message": "hello"})),
        ("GET", "sessions".into(), Value::Null),
        ("GET", format!("{session}/messages"), Value::Null),
        ("POST", format!("{session}/stop"), json!({})),
        ("POST", format!("{session}/abort"), json!({})),
        ("GET", "approvals".into(), Value::Null),
        ("POST", format!("approvals/appr_{NOBODYS}"), json!({"approved": true})),
        ("GET", "usage".into(), Value::Null),
    ];
    let of_hub =
        vec![("POST", "broadcast/all".into(), json!({"message": "hello"})), ("POST", "reload".into(), json!({}))];
    (own, of_hub)
}

async fn status(http: &Http, (method, path, body): &Wish) -> u16 {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http.send(method, &format!("/api/v1/admin/{path}"), &[], body.as_bytes()).await.status
}

#[test]
fn who_is_not_an_administrator_is_refused_everywhere() {
    run(async {
        let hub = hub();
        let identity = Identity::of(&hub.folder());
        let (own, of_hub) = requests();
        let mut below: Vec<Http> =
            ["viewer", "member", "operator"].map(|role| http(&hub, role, "acme", role)).into_iter().collect();
        let owner = http(&hub, "olga", "acme", "owner");
        let (device, _) = identity.device("olga", "acme").await;
        below.push(Http::new(&hub.address, &device));
        for request in own.iter().chain(&of_hub) {
            for (n, one) in below.iter().enumerate() {
                assert_eq!(status(one, request).await, 403, "{request:?} by {n}");
            }
            assert_eq!(status(&Http::anonymous(&hub.address), request).await, 401, "{request:?}");
        }
        let root = root(&hub);
        for request in &own {
            for one in [&owner, &root] {
                let status = status(one, request).await;
                assert!(status == 200 || status == 404, "{request:?}: {status}");
            }
        }
        for request in &of_hub {
            assert_eq!(status(&owner, request).await, 403, "{request:?}");
            assert_eq!(status(&root, request).await, 200, "{request:?}");
        }
        // Another organization is as good as none, whatever is asked.
        for (method, path, body) in &own {
            let mut said = Vec::new();
            for organization in ["default", "nowhere"] {
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let path = format!("/api/v1/admin/{path}?organization={organization}");
                let answer = owner.send(method, &path, &[], body.as_bytes()).await;
                assert_eq!(answer.status, 404, "{method} {path}");
                said.push(answer.without_id());
            }
            assert_eq!(said[0], said[1], "{method} {path}");
        }
    });
}

#[test]
fn what_an_administrator_of_one_organization_does_is_in_no_other_record() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        for request in &requests().0 {
            status(&ann, request).await;
        }
        let record = items(&ann, "/api/v1/admin/audit?limit=200&actor=ann").await;
        assert!(record.iter().all(|row| row["organization"] == "acme"));
        let acts: Vec<&str> = record.iter().filter_map(|row| row["action"].as_str()).collect();
        let wanted = [
            "admin.approvals.decide",
            "admin.approvals.list",
            "admin.sessions.abort",
            "admin.sessions.stop",
            "admin.sessions.read",
            "admin.broadcast",
            // What was asked for before anything was published there is refused; the publication made the channel.
            "admin.publish",
            "admin.channels.history",
            "admin.connections.close",
        ];
        assert_eq!(
            acts.iter().filter(|act| act.starts_with("admin.")).collect::<Vec<_>>(),
            wanted.iter().collect::<Vec<_>>()
        );
        // Elsewhere there is but the operator, who made that owner.
        let theirs = items(&http(&hub, "rae", "rival", "owner"), "/api/v1/admin/audit").await;
        assert!(theirs.iter().all(|row| row["actor"] == "operator" && row["organization"] == "rival"), "{theirs:?}");
    });
}
