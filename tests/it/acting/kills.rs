//! Killed around an effect: it is never brought about a second time, and what is not known is called so.

use serde_json::{Value, json};

use super::{CLOSE, Endpoint, closing, http, options};
use crate::support::{Hub, HubOptions, run};

/// Asks until the hub dies at that point; gives the hub after it.
async fn killed(mut hub: Hub, endpoint: &Endpoint, point: &str, path: &str, body: &Value) -> Hub {
    let armed: HubOptions = options(endpoint).set("SWITCHBOARD_FAILPOINTS", format!("{point}=kill@1"));
    hub.revive_with(armed);
    let ann = http(&hub, "ann", &["tickets:write"]);
    let (path, text) = (path.to_owned(), body.to_string());
    // On a thread of its own: this one waits for the process. An answer that is cut off is none.
    std::thread::spawn(move || {
        run(async { ann.send("POST", &path, &[("idempotency-key", "k")], text.as_bytes()).await });
    });
    let status = hub.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point}: {status}");
    hub.revive_with(options(endpoint));
    hub
}

#[test]
fn an_execution_is_never_begun_twice_whenever_the_hub_dies() {
    run(async {
        for (point, state, effects) in
            [("action.begun", "failed", 0), ("action.executing", "unknown", 0), ("action.done", "unknown", 1)]
        {
            let endpoint = Endpoint::start();
            let hub = Hub::start(options(&endpoint));
            let body = closing("7", json!({"skipPreview": true}));
            let path = format!("{CLOSE}/execute");
            let hub = killed(hub, &endpoint, point, &path, &body).await;
            let ann = http(&hub, "ann", &["tickets:write"]);
            for _ in 0..2 {
                let again = ann.send("POST", &path, &[("idempotency-key", "k")], body.to_string().as_bytes()).await;
                let record = again.json();
                assert_eq!((again.status, record["status"].as_str()), (201, Some(state)), "{point}: {record}");
                assert!(record["error"].as_str().is_some_and(|why| why.starts_with("the hub went down")), "{record}");
                // What is not known to have been done is not undone either.
                let undo = json!({"executionId": record["executionId"]});
                assert_eq!(ann.post(&format!("{CLOSE}/undo"), undo).await.status, 409, "{point}");
            }
            assert_eq!(endpoint.count("POST /tickets/7/close"), effects, "{point}");
            assert_eq!(endpoint.count("POST /tickets/7/reopen"), 0, "{point}");
        }
    });
}

#[test]
fn undoing_that_ran_into_a_kill_is_unknown_and_not_tried_again() {
    run(async {
        for (point, effects) in [("action.undoing", 0), ("action.undone", 1)] {
            let endpoint = Endpoint::start();
            let hub = Hub::start(options(&endpoint));
            let ann = http(&hub, "ann", &["tickets:write"]);
            let body = closing("7", json!({"skipPreview": true}));
            let done = ann.post(&format!("{CLOSE}/execute"), body).await.json();
            let undo = json!({"executionId": done["executionId"]});
            let path = format!("{CLOSE}/undo");
            let hub = killed(hub, &endpoint, point, &path, &undo).await;
            let ann = http(&hub, "ann", &["tickets:write"]);
            for wish in [undo, json!({"entityType": "ticket", "entityId": "7"})] {
                assert_eq!(ann.post(&path, wish).await.status, 409, "{point}");
            }
            assert_eq!(endpoint.count("POST /tickets/7/reopen"), effects, "{point}");
            assert_eq!(endpoint.count("POST /tickets/7/close"), 1, "{point}");
        }
    });
}
