//! The configuration, read once more while the hub runs.

use serde_json::{Value, json};

use super::{client, http, hub, items, root};
use crate::support::{Client, Hub, run};

const RELOAD: &str = "/api/v1/admin/reload";

fn write(hub: &Hub, text: &str) {
    std::fs::write(hub.data.path().join("test.toml"), text).expect("the configuration is written");
}

#[test]
fn a_reload_says_what_changed_and_every_organization_hears_of_it() {
    run(async {
        let hub = hub();
        let root = root(&hub);
        let mut listening: Vec<Client> = Vec::new();
        for organization in ["acme", "rival"] {
            let mut one = client(&hub, "alice", organization).await;
            one.subscribe(&format!("org:{organization}"), None).await;
            listening.push(one);
        }
        let nothing = root.ok("POST", RELOAD, Value::Null).await;
        assert_eq!(nothing, json!({"applied": [], "restart": []}));
        write(&hub, "[approvals]\ntimeout_seconds = 77\n[auth]\njwt_secret = \"0123456789abcdef0123456789abcdef\"\n");
        let answer = root.send("POST", RELOAD, &[], b"").await;
        let mut changed: Vec<Value> = Vec::new();
        for list in ["applied", "restart"] {
            changed.extend(answer.json()[list].as_array().expect("a list").clone());
        }
        changed.sort_by_key(Value::to_string);
        assert_eq!(changed, [json!("approvals.timeout_seconds"), json!("auth.jwt_secret")]);
        assert!(!answer.text().contains("0123456789abcdef"));
        for one in &mut listening {
            for _ in 0..2 {
                let told = one.event("system.reload").await;
                assert_eq!(told.as_object().map(|data| data.keys().collect::<Vec<_>>()), Some(vec![&"at".to_owned()]));
            }
        }

        // What is wrong is said, and nothing comes of it.
        for (text, named) in [
            ("[approvals]\ntimeout_seconds = \"soon\"\n", "timeout_seconds"),
            ("[aprovals]\ntimeout_seconds = 1\n", "aprovals"),
            ("[approvals\n", "test.toml"),
            ("[auth]\njwt_secret = \"not-to-be-shown\n", "line 2, column"),
        ] {
            write(&hub, text);
            let refused = root.send("POST", RELOAD, &[], b"").await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{text}");
            let message = refused.json()["error"]["message"].to_string();
            assert!(message.contains(named) && !message.contains("not-to-be-shown"), "{message}");
        }
        for one in &mut listening {
            assert_eq!(one.until_pong().await, Vec::<Value>::new());
        }
        let ann = http(&hub, "ann", "acme", "owner");
        assert_eq!(ann.post(RELOAD, json!({})).await.status, 403);
        let record = items(&root, "/api/v1/admin/audit?organization=*&action=admin.reload&actor=root").await;
        let outcomes: Vec<_> = record.iter().map(|r| r["outcome"].as_str()).collect();
        let (begun, failed) = (None, Some("failed"));
        assert_eq!(outcomes, [failed, begun, failed, begun, failed, begun, failed, begun, begun, begun]);
    });
}
