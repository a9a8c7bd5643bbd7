//! Questions of all sessions: seen and answered by an administrator, on the way of every answer.

use serde_json::{Value, json};

use super::{NOBODYS, asked, client, http, hub, items, pages, row, rows};
use crate::support::run;

const APPROVALS: &str = "/api/v1/admin/approvals";

#[test]
fn an_administrators_answer_counts_once_and_is_told_to_all() {
    run(async {
        let hub = hub();
        let ann = http(&hub, "ann", "acme", "admin");
        let mut alice = client(&hub, "alice", "acme").await;
        let mut phone = client(&hub, "alice", "acme").await;
        let mut mallory = client(&hub, "mallory", "rival").await;
        phone.subscribe("user:alice", None).await;
        let (session, request) = asked(&mut alice, "private").await;
        let (_, second) = asked(&mut alice, "organization").await;
        let (_, foreign) = asked(&mut mallory, "organization").await;

        let all = items(&ann, APPROVALS).await;
        let ids: Vec<&Value> = all.iter().map(|a| &a["requestId"]).collect();
        assert_eq!(ids, [&json!(request), &json!(second)]);
        assert_eq!((&all[0]["sessionId"], &all[0]["toolName"]), (&json!(session), &json!("http_fetch")));
        assert_eq!(pages(&ann, &format!("{APPROVALS}?"), 1).await, all);

        let yes = json!({"approved": true, "reason": "go"});
        let rival = http(&hub, "rae", "rival", "owner");
        let real = rival.post(&format!("{APPROVALS}/{request}"), yes.clone()).await;
        let unreal = rival.post(&format!("{APPROVALS}/appr_{NOBODYS}"), yes.clone()).await;
        assert_eq!((real.status, real.without_id()), (404, unreal.without_id()));
        assert_eq!(ann.post(&format!("{APPROVALS}/{request}"), json!({})).await.status, 400);
        // As one of its users an administrator may not.
        assert_eq!(ann.post(&format!("/api/v1/approvals/{request}"), yes.clone()).await.status, 403);
        assert_eq!(items(&ann, APPROVALS).await.len(), 2);

        // A reason is as long as on the ordinary way, and what is longer is not even written down.
        let long = json!({"approved": true, "reason": "x".repeat(4097)});
        let refused = ann.post(&format!("{APPROVALS}/{request}"), long).await;
        assert_eq!((refused.status, refused.code().as_str()), (413, "too_large"));
        assert_eq!(refused.json()["error"]["details"]["field"], "reason");

        let decided = ann.ok("POST", &format!("{APPROVALS}/{request}"), yes).await;
        let answer = |applied: bool| json!({"requestId": request, "applied": applied, "approved": true, "state": "approved", "by": "ann"});
        assert_eq!(decided, answer(true));
        for watcher in [&mut alice, &mut phone] {
            let told = watcher.find(|f| f["event"] == "tool.approval_resolved").await;
            let told = &told["data"];
            assert_eq!(
                (&told["requestId"], &told["by"], &told["reason"]),
                (&json!(request), &json!("ann"), &json!("go"))
            );
        }
        alice.find(|f| f["data"]["part"]["state"] == "executing").await;
        let late = ann.ok("POST", &format!("{APPROVALS}/{request}"), json!({"approved": false})).await;
        assert_eq!(late, answer(false));
        let denied = ann.ok("POST", &format!("{APPROVALS}/{second}"), json!({"approved": false})).await;
        assert_eq!((&denied["state"], &denied["by"]), (&json!("denied"), &json!("ann")));
        assert_eq!(items(&ann, APPROVALS).await, Vec::<Value>::new());
        assert_eq!(items(&rival, APPROVALS).await[0]["requestId"], foreign.as_str());

        let done = row(&request, "");
        assert_eq!(rows(&ann, "admin.approvals.decide").await, [row(&second, ""), done.clone(), done]);
        assert_eq!(rows(&rival, "admin.approvals.decide").await[1], row(&request, "refused"));
        let record = items(&ann, &format!("/api/v1/admin/audit?target={request}")).await;
        let wanted = json!({"approved": true, "reason": "go", "session": session});
        assert_eq!((&record[1]["details"], &record[1]["actor"]), (&wanted, &json!("ann")));
    });
}
