//! `/api/v1/ai`: conversations, agents and usage in the shapes that its clients know.

use serde_json::{Value, json};

use super::member;
use crate::support::{Http, Hub, HubOptions, run};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a bare array").iter().filter_map(|one| one["id"].as_str()).collect()
}

async fn begin(alice: &Http, body: Value) -> String {
    let made = alice.post("/api/v1/ai/conversations", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn conversations_are_listed_page_by_page_and_by_what_they_are_about() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let alice = member(&hub, "alice");
        let mut made = Vec::new();
        for number in 0..5 {
            let entity = if number % 2 == 0 { "policy" } else { "claim" };
            made.push(begin(&alice, json!({"entityType": entity, "entityId": number.to_string()})).await);
        }
        made.reverse();
        let first = alice.get("/api/v1/ai/conversations?limit=3").await;
        assert_eq!(ids(&first.json()), made[..3]);
        let cursor = first.header("x-next-cursor").expect("there is more");
        let link = first.header("link").expect("there is more");
        assert_eq!(link, format!("</api/v1/ai/conversations?limit=3&cursor={cursor}>; rel=\"next\""));
        let rest = alice.get(&format!("/api/v1/ai/conversations?limit=3&cursor={cursor}")).await;
        assert_eq!((ids(&rest.json()), rest.header("link")), (made[3..].iter().map(String::as_str).collect(), None));
        let policies = alice.ok("GET", "/api/v1/ai/conversations?entityType=policy", Value::Null).await;
        assert_eq!(ids(&policies), [&*made[0], &*made[2], &*made[4]]);
        let one = alice.ok("GET", "/api/v1/ai/conversations?entityType=claim&entityId=3", Value::Null).await;
        assert_eq!((ids(&one), &one[0]["entityType"]), (vec![&*made[1]], &json!("claim")));
        alice.ok("POST", &format!("/api/v1/ai/conversations/{}/archive", made[0]), json!({})).await;
        let archived = alice.ok("GET", "/api/v1/ai/conversations?status=ARCHIVED", Value::Null).await;
        assert_eq!(ids(&archived), [&*made[0]]);
        for wrong in ["limit=-1", "limit=0", "limit=201", "limit=x", "status=gone", "cursor=x"] {
            let refused = alice.get(&format!("/api/v1/ai/conversations?{wrong}")).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{wrong}");
        }
        // Nobody else's is in it.
        assert_eq!(member(&hub, "bob").ok("GET", "/api/v1/ai/conversations", Value::Null).await, json!([]));
    });
}

#[test]
fn a_conversation_is_read_changed_and_deleted() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let alice = member(&hub, "alice");
        let id = begin(&alice, json!({"title": "First", "tags": ["work"]})).await;
        let path = format!("/api/v1/ai/conversations/{id}");
        for text in ["one", "two"] {
            let sent = json!({"content": text});
            alice.ok("POST", &format!("/api/v1/sessions/{id}/messages?wait=true"), sent).await;
        }
        let whole = alice.ok("GET", &path, Value::Null).await;
        assert_eq!(
            (&whole["title"], &whole["status"], &whole["tags"]),
            (&json!("First"), &json!("active"), &json!(["work"]))
        );
        let contents: Vec<&Value> =
            whole["messages"].as_array().expect("messages").iter().map(|m| &m["content"]).collect();
        assert_eq!((contents.len(), contents[0], contents[2]), (4, &json!("one"), &json!("two")));
        assert_eq!(whole["messages"][1]["role"], "assistant");
        let newest = alice.ok("GET", &format!("{path}?messageLimit=1"), Value::Null).await;
        assert_eq!(newest["messages"].as_array().map(Vec::len), Some(1));
        let none = alice.ok("GET", &format!("{path}?messageLimit=0"), Value::Null).await;
        assert_eq!(none["messages"], json!([]));
        let changed = alice.ok("PATCH", &path, json!({"title": "Second", "status": "paused", "model": "demo/x"})).await;
        assert_eq!(
            (&changed["title"], &changed["status"], &changed["model"]),
            (&json!("Second"), &json!("paused"), &json!("demo/x"))
        );
        let cleared = alice.ok("PATCH", &path, json!({"model": null, "status": "active"})).await;
        assert_eq!((&cleared["model"], &cleared["status"]), (&Value::Null, &json!("active")));
        let mass = alice.ok("PATCH", &path, json!({"userId": "bob", "organizationId": "globex"})).await;
        assert_eq!(mass["userId"], "alice", "whose it is is nobody's to change");
        for action in ["pause", "resume", "stop", "abort", "archive"] {
            let done = alice.post(&format!("{path}/{action}"), json!({})).await;
            assert_eq!((done.status, done.json()), (201, json!({"success": true})), "{action}");
        }
        assert_eq!(member(&hub, "bob").get(&path).await.status, 403);
        let stranger = Http::new(&hub.address, &hub.token("carol", "globex", "owner"));
        assert_eq!(stranger.get(&path).await.status, 404);
        assert_eq!(alice.ok("DELETE", &path, Value::Null).await, json!({"success": true}));
        assert_eq!(alice.get(&path).await.status, 404);
    });
}

#[test]
fn case_68_search_is_not_the_id_of_a_conversation() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let alice = member(&hub, "alice");
        let id = begin(&alice, json!({})).await;
        let sent = json!({"content": "the zebra crossing"});
        alice.ok("POST", &format!("/api/v1/sessions/{id}/messages?wait=true"), sent).await;
        let found = alice.ok("GET", "/api/v1/ai/conversations/search?q=zebra&limit=5", Value::Null).await;
        assert_eq!(ids(&found), [&*id]);
        for q in ["%27%20or%201%3D1--", "%22%20NEAR%20*", "nothing"] {
            let none = alice.ok("GET", &format!("/api/v1/ai/conversations/search?q={q}"), Value::Null).await;
            assert_eq!(none, json!([]), "{q}");
        }
        for wrong in ["", "?q=", "?q=%20", "?q=x&limit=-1"] {
            let refused = alice.get(&format!("/api/v1/ai/conversations/search{wrong}")).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{wrong}");
        }
        // Of another organization nothing is found.
        let stranger = Http::new(&hub.address, &hub.token("carol", "globex", "owner"));
        let none = stranger.ok("GET", "/api/v1/ai/conversations/search?q=zebra", Value::Null).await;
        assert_eq!(none, json!([]));
    });
}

#[test]
fn agents_and_usage_have_their_shapes() {
    run(async {
        let hub = Hub::start(
            HubOptions::default()
                .config("[agents.claims]\ndescription = \"Knows claims\"\nentity_types = [\"claim\"]\n"),
        );
        let alice = member(&hub, "alice");
        let agents = alice.ok("GET", "/api/v1/ai/agents", Value::Null).await;
        assert_eq!(ids(&agents), ["assistant", "claims"]);
        assert_eq!((&agents[1]["entityTypes"], &agents[0]["default"]), (&json!(["claim"]), &json!(true)));
        let unknown = alice.get("/api/v1/ai/agents/nobody/suggestions").await;
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
        let id = begin(&alice, json!({"entityType": "claim", "entityId": "9"})).await;
        alice.ok("POST", &format!("/api/v1/sessions/{id}/messages?wait=true"), json!({"content": "hi"})).await;
        let week = alice.ok("GET", "/api/v1/ai/usage?period=week", Value::Null).await;
        assert_eq!((&week["period"], &week["turns"]), (&json!("week"), &json!(1)));
        assert_eq!(week["byModel"][0]["model"], "demo");
        assert_eq!(alice.get("/api/v1/ai/usage?period=year").await.code(), "bad_request");
        assert_eq!(member(&hub, "bob").ok("GET", "/api/v1/ai/usage", Value::Null).await["turns"], 0);
    });
}
