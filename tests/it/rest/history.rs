//! What the history tells, and to whom. Adversarial case 69.

use serde_json::{Value, json};

use super::{hub, member};
use crate::support::{Http, run};

#[test]
fn case_69_content_is_for_owners_who_ask_for_it() {
    run(async {
        let hub = hub();
        let member = member(&hub, "alice");
        let owner = Http::new(&hub.address, &hub.token("olga", "acme", "owner"));
        let admin = Http::new(&hub.address, &hub.token("anna", "acme", "admin"));
        for (who, shows) in [(&member, false), (&admin, false), (&owner, true)] {
            let session = who.session().await;
            let path = format!("/sessions/{session}/messages");
            let said = who.ok("POST", &path, json!({"content": "my secret plan"})).await;
            for query in ["", "?includeContent=false"] {
                let told = who.get(&format!("{path}{query}")).await;
                assert!(!told.text().contains("secret"), "{}", told.text());
            }
            let told = who.ok("GET", &format!("{path}?includeContent=true"), json!(null)).await;
            let messages = told["messages"].as_array().expect("messages");
            assert_eq!(messages.len(), 2);
            assert_eq!(messages[0]["content"].as_str(), shows.then_some("my secret plan"));
            assert_eq!(messages[1]["content"].as_str(), said["content"].as_str().filter(|_| shows));
            assert_eq!((&messages[0]["role"], &messages[1]["role"]), (&json!("user"), &json!("assistant")));
            // printf %s "my secret plan" | sha256sum
            assert_eq!(messages[0]["contentHash"], "6bad4f9c2b449002", "{}", messages[0]);
        }
        // An owner does not see what is another user's own.
        let session = member.session().await;
        let ledger = hub.ledger();
        let refused = owner.get(&format!("/sessions/{session}/messages?includeContent=true")).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
        assert_eq!(ledger.changed(), [""; 0]);
        assert_eq!(hub.aftermath(&ledger, &["my secret plan"]), ["olga@acme messages.list forbidden 1"]);
    });
}

#[test]
fn pages_go_back_and_end() {
    run(async {
        let hub = hub();
        let alice = member(&hub, "alice");
        let session = alice.session().await;
        for n in 0..4 {
            alice.ok("POST", &format!("/sessions/{session}/messages"), json!({"content": format!("n{n}")})).await;
        }
        let ids = |page: &Value| -> Vec<String> {
            let messages = page["messages"].as_array().expect("messages");
            messages.iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
        };
        let path = format!("/sessions/{session}/messages");
        let all = ids(&alice.ok("GET", &path, json!(null)).await);
        assert_eq!(all.len(), 8);
        let newest = ids(&alice.ok("GET", &format!("{path}?limit=3"), json!(null)).await);
        assert_eq!(newest, all[5..]);
        let before = ids(&alice.ok("GET", &format!("{path}?limit=3&before={}", newest[0]), json!(null)).await);
        assert_eq!(before, all[2..5]);
        // The native words follow the cursor that each page gives.
        let (mut next, mut seen) = (format!("/api/v1{path}?limit=3"), Vec::new());
        loop {
            let page = alice.get(&next).await;
            let items = page.json()["items"].as_array().expect("items").clone();
            seen.splice(0..0, items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
            assert_eq!(page.json()["nextCursor"].as_str(), page.header("x-next-cursor"));
            let Some(link) = page.header("link") else { break };
            let link = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
            next = link.expect("a link").to_owned();
        }
        assert_eq!(seen, all);
    });
}
