//! What is done in somebody's name: nobody skips what has to be seen, and no agent does what its human may not.

use serde_json::{Value, json};

use crate::acting::{CLOSE, Endpoint, client, closing, http, options, token};
use crate::support::mock_http::MockHttp;
use crate::support::upstream::{KEY as MODEL_KEY, answers, asks, calls};
use crate::support::{Http, Hub, run};

#[test]
fn case_42_skip_preview_is_for_who_has_the_permission_and_never_for_an_agent() {
    run(async {
        let endpoint = Endpoint::start();
        let forged = json!({
            "input": {"reason": "x", }, "entityType": "ticket", "entityId": "7",
            "skipPreview": true, "permissions": ["tickets:write"], "approved": true,
        });
        let call = calls(0, "call_1", "action_close_ticket", &{
            let mut agents = forged.clone();
            agents.as_object_mut().expect("an object").retain(|name, _| name != "permissions" && name != "approved");
            agents.to_string()
        });
        let model = MockHttp::start([asks(&call), answers("Done.")]).await;
        // Whoever sets the tool's policy by its name cannot make it unseen.
        let options = options(&endpoint)
            .set("OPENAI_API_KEY", MODEL_KEY)
            .set("OPENAI_BASE_URL", model.url("/v1"))
            .set("OPENAI_MODEL", "model-1")
            .config("[tools.action_close_ticket]\npolicy = \"allow\"");
        let hub = Hub::start(options);

        // A user without the permission, whatever the body says; a viewer with it.
        let execute = format!("{CLOSE}/execute");
        let without = http(&hub, "ann", &["tickets:read", "tickets:*", "*"]);
        let viewer = Http::new(&hub.address, &token("vic", "acme", "viewer", &["tickets:write"]));
        for asker in [&without, &viewer] {
            for path in [&execute, &format!("{CLOSE}/preview"), &format!("{CLOSE}/undo")] {
                let refused = asker.post(path, forged.clone()).await;
                assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{path}");
            }
        }
        let mut ann = client(&hub, "ann", &[]).await;
        let params = |more: Value| {
            let mut params = closing("7", more);
            params["actionId"] = json!("close_ticket");
            params
        };
        assert_eq!(ann.refused("actions.execute", params(json!({"skipPreview": true}))).await, "forbidden");
        assert_eq!(endpoint.all().len(), 0);

        // Its agent says that the preview is to be skipped: a human is asked all the same, and sees it.
        let session = ann.session().await;
        ann.subscribe(&format!("session:{session}"), None).await;
        let turn = ann.say(&session, "close ticket 7").await;
        let question = ann.event("tool.approval_required").await;
        let summary = question["request"]["summary"].as_str().expect("a summary");
        assert!(summary.contains("preview: {\"open\":true,\"ticket\":\"7\"}"), "{summary}");
        assert_eq!(endpoint.effects(), Vec::<String>::new());
        // The human who may not do it may not have it done either: on no door, and as no administrator.
        let request = question["requestId"].as_str().expect("an id").to_owned();
        assert_eq!(ann.refused("tools.approve", json!({"requestId": request})).await, "forbidden");
        let answer = without.post(&format!("/api/v1/approvals/{request}"), json!({"approved": true})).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
        let admin = Http::new(&hub.address, &token("root", "acme", "admin", &[]));
        let decided = admin.post(&format!("/api/v1/admin/approvals/{request}"), json!({"approved": true})).await;
        assert_eq!((decided.status, decided.code().as_str()), (403, "forbidden"));
        assert_eq!(endpoint.effects(), Vec::<String>::new());
        // Nobody has to have a permission to say no.
        assert_eq!(ann.call("tools.reject", json!({"requestId": request})).await["state"], "denied");
        let ended = ann.find(|f| f["event"] == "turn.ended" && f["data"]["turnId"] == turn.as_str()).await;
        assert_eq!(ended["data"]["state"], "completed");
        assert_eq!(endpoint.effects(), Vec::<String>::new());

        // Whoever has the permission may skip what they have seen.
        let able = http(&hub, "ann", &["tickets:write"]);
        assert_eq!(able.post(&execute, closing("7", json!({"skipPreview": true}))).await.json()["status"], "completed");
        assert_eq!(endpoint.effects(), ["POST /tickets/7/close"]);
    });
}
