//! What an agent is told of who asks and of the entity that a conversation is about.

use serde_json::json;

use super::{member, said, turn};
use crate::support::mock_http::{MockHttp, Seen, answer};
use crate::support::upstream::{answers, next_request, openai};
use crate::support::{Client, Hub, run};

fn config(context: &MockHttp, path: &str) -> String {
    format!(
        "[tools.http_fetch]\nallow_private = [\"{address}\"]\n\
         [agents.assistant]\nsystem = \"Ordinary.\"\ntools = []\n\
         [agents.policies]\nsystem = \"You serve {{{{organization}}}} and {{{{user}}}}.\"\ntools = []\n\
         entity_types = [\"policy\"]\nsuggested_prompts = [\"What is {{{{entityType}}}} {{{{entityId}}}}?\"]\n\
         context_url = \"http://{address}{path}?type={{{{entityType}}}}&id={{{{entityId}}}}&org={{{{organization}}}}\"\n\
         context_seconds = 1\n",
        address = context.address
    )
}

#[test]
fn the_agent_that_serves_an_entity_is_told_what_is_known_of_it() {
    run(async {
        let mut context =
            MockHttp::start([answer("200 OK", "content-type: text/plain\r\n", "It is {{user}} new & shiny.")]).await;
        let mut model = MockHttp::start((0..2).map(|_| answers("yes"))).await;
        let hub = Hub::start(openai(&model).config(&config(&context, "/known")));
        let alice = member(&hub, "alice");
        let body = json!({"entityType": "policy", "entityId": "7 & up", "title": "T"});
        let made = alice.ok("POST", "/api/v1/ai/conversations", body).await;
        assert_eq!((&made["agentType"], &made["entityId"]), (&json!("policies"), &json!("7 & up")));
        let session = made["id"].as_str().expect("an id");
        let mut client = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        client.subscribe(&format!("session:{session}"), None).await;
        turn(&mut client, session, "tell me").await;
        let Seen::Request(_, asked) = context.next().await else { panic!("nobody asked") };
        assert_eq!(asked.line, "GET /known?type=policy&id=7%20%26%20up&org=acme HTTP/1.1");
        assert!(asked.header("x-request-id").is_some());
        let prompt = said(&next_request(&mut model).await);
        let wanted = "You serve acme and alice.\\n\\nWhat is known of policy 7 & up:\\nIt is {{user}} new & shiny.";
        assert!(prompt.contains(wanted), "{prompt}");
        // The other side is gone: the turn goes on without, and the log says so.
        turn(&mut client, session, "again").await;
        let prompt = said(&next_request(&mut model).await);
        assert!(prompt.contains("You serve acme and alice.") && !prompt.contains("shiny"), "{prompt}");
        hub.logged("nothing is known of an entity").await;
        let path = "/api/v1/ai/agents/policies/suggestions?entityType=policy&entityId=7";
        let suggestions = alice.ok("GET", path, serde_json::Value::Null).await;
        assert_eq!(suggestions, json!({"suggestions": ["What is policy 7?"]}));
    });
}

#[test]
fn what_is_known_is_asked_of_no_private_address_that_is_not_listed() {
    run(async {
        let mut context = MockHttp::start([answer("200 OK", "content-type: text/plain\r\n", "secret")]).await;
        let mut model = MockHttp::start([answers("yes")]).await;
        let config = config(&context, "/x").replace("allow_private = [", "allow_private = [] # ");
        let hub = Hub::start(openai(&model).config(&config));
        let alice = member(&hub, "alice");
        let made = alice.ok("POST", "/api/v1/ai/conversations", json!({"entityType": "policy", "entityId": "7"})).await;
        let session = made["id"].as_str().expect("an id");
        let sent = json!({"content": "tell me"});
        alice.ok("POST", &format!("/api/v1/sessions/{session}/messages?wait=true"), sent).await;
        assert!(!said(&next_request(&mut model).await).contains("secret"));
        hub.logged("it leads to a private or special address").await;
        assert!(context.try_next().is_none());
    });
}
