//! What an organization has used.

use serde_json::{Value, json};

use super::{client, http, hub};
use crate::support::run;

const USAGE: &str = "/api/v1/admin/usage";

#[test]
fn usage_adds_up_by_user_agent_and_model() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut clients = [client(&hub, "alice", "acme").await, client(&hub, "bob", "acme").await];
        for (one, turns) in clients.iter_mut().zip([2, 1]) {
            let session = one.session().await;
            one.subscribe(&format!("session:{session}"), None).await;
            for _ in 0..turns {
                let turn = one.say(&session, "hello").await;
                one.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
            }
        }
        for period in ["day", "week", "month"] {
            let report = ann.ok("GET", &format!("{USAGE}?period={period}"), Value::Null).await;
            assert_eq!((&report["period"], &report["turns"]), (&json!(period), &json!(3)), "{report}");
            let users = report["byUser"].as_array().expect("users");
            let shown: Vec<_> = users.iter().map(|u| (&u["userId"], &u["turns"])).collect();
            assert_eq!(shown, [(&json!("alice"), &json!(2)), (&json!("bob"), &json!(1))]);
            assert_eq!(
                (&report["byAgent"][0]["agent"], &report["byAgent"][0]["turns"]),
                (&json!("assistant"), &json!(3))
            );
            assert_eq!((&report["byModel"][0]["model"], &report["byModel"][0]["turns"]), (&json!("demo"), &json!(3)));
            for (list, sums) in [("byAgent", 1), ("byModel", 1), ("byUser", 2)] {
                let list = report[list].as_array().expect("a list");
                let total: u64 = list.iter().map(|u| u["usage"]["total"].as_u64().expect("a number")).sum();
                assert_eq!((list.len(), Some(total)), (sums, report["usage"]["total"].as_u64()), "{report}");
                assert!(total > 0);
            }
            // What each of them is told of its own is the same.
            let own = clients[0].call("usage.get", json!({"period": period})).await;
            assert_eq!(own["usage"], users[0]["usage"]);
        }
        let rival = http(&hub, "rae", "rival", "owner");
        let report = rival.ok("GET", USAGE, Value::Null).await;
        assert_eq!((&report["turns"], &report["byUser"]), (&json!(0), &json!([])));
        assert_eq!(ann.get(&format!("{USAGE}?period=year")).await.status, 400);
    });
}
