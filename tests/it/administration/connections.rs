//! Sockets: listed with what they cost, and closed one by one.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{client, http, hub, items, pages, root, row, rows};
use crate::support::{Client, Identity, run};

const CONNECTIONS: &str = "/api/v1/admin/connections";

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}")).to_owned()
}

#[test]
fn an_organizations_sockets_are_listed_and_nobody_elses() {
    run(async {
        let hub = hub();
        let identity = Identity::of(&hub.folder());
        identity.user("bob", "acme", "member").await;
        let (key, _) = identity.key("bob", "acme").await;
        let ann = http(&hub, "ann", "acme", "admin");
        assert_eq!(items(&ann, CONNECTIONS).await, Vec::<Value>::new());
        let mut alice = client(&hub, "alice", "acme").await;
        let desk = client(&hub, "alice", "acme").await;
        let _bob = Client::connect(&hub.address, &key).await;
        let _namesake = client(&hub, "alice", "rival").await;
        alice.subscribe("app:one", None).await;
        alice.subscribe("org:acme", None).await;

        let all = items(&ann, CONNECTIONS).await;
        assert_eq!(all.len(), 3, "{all:?}");
        for one in &all {
            assert_eq!(
                (&one["organization"], &one["door"], &one["address"], &one["queuedBytes"]),
                (&json!("acme"), &json!("/ws"), &json!("127.0.0.1"), &json!(0)),
                "{one}"
            );
            assert!(text(one, "since").ends_with('Z') && text(one, "id").starts_with("conn_"), "{one}");
        }
        let mut seen: Vec<_> = all
            .iter()
            .map(|one| (text(one, "userId"), text(one, "credential"), one["subscriptions"].as_u64()))
            .collect();
        seen.sort();
        let (jwt, key) = ("jwt".to_owned(), "api_key".to_owned());
        let (alice_, bob_) = ("alice".to_owned(), "bob".to_owned());
        let wanted = [(alice_.clone(), jwt.clone(), Some(0)), (alice_, jwt, Some(2)), (bob_, key, Some(0))];
        assert_eq!(seen, wanted);

        // By user, by pages, and by whoever administers the hub.
        let own = items(&ann, &format!("{CONNECTIONS}?user=alice")).await;
        assert!(own.len() == 2 && own.iter().all(|one| one["userId"] == "alice"), "{own:?}");
        let names = |list: &[Value]| list.iter().map(|one| text(one, "id")).collect::<Vec<_>>();
        let paged = names(&pages(&ann, &format!("{CONNECTIONS}?"), 1).await);
        assert_eq!(paged, names(&all));
        assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(names(&items(&root(&hub), &format!("{CONNECTIONS}?organization=acme")).await), names(&all));
        for organization in ["rival", "nowhere"] {
            let refused = ann.get(&format!("{CONNECTIONS}?organization={organization}")).await;
            assert_eq!((refused.status, refused.code().as_str()), (404, "not_found"));
        }
        assert_eq!(ann.get(&format!("{CONNECTIONS}?cursor=conn_1")).await.status, 400);

        desk.close().await;
        while items(&ann, CONNECTIONS).await.len() != 2 {}
    });
}

#[test]
fn closing_one_closes_that_one_and_no_other() {
    run(async {
        let hub = hub();
        let identity = Identity::of(&hub.folder());
        let ann = http(&hub, "ann", "acme", "admin");
        let token = hub.token("alice", "acme", "member");
        let url = format!("ws://{}/ws?token={token}", hub.address);
        let (mut phone, _) = tokio_tungstenite::connect_async(url).await.expect("the socket opens");
        let id = text(&items(&ann, CONNECTIONS).await[0], "id");
        let mut others = vec![client(&hub, "alice", "acme").await, client(&hub, "bob", "acme").await];
        others.push(client(&hub, "alice", "rival").await);
        let path = format!("{CONNECTIONS}/{id}");

        // Who may not, and where there is no such thing: another organization's is one of those.
        let (device, _) = identity.device("alice", "acme").await;
        for refused in [
            http(&hub, "mel", "acme", "member"),
            http(&hub, "vic", "acme", "viewer"),
            http(&hub, "opal", "acme", "operator"),
            crate::support::Http::new(&hub.address, &device),
        ] {
            assert_eq!(refused.delete(&path).await.status, 403);
        }
        let rival = http(&hub, "rae", "rival", "owner");
        let unknown = rival.delete(&format!("{CONNECTIONS}/conn_{}", "0".repeat(32))).await;
        let (foreign, nonsense) = (rival.delete(&path).await, rival.delete(&format!("{CONNECTIONS}/x")).await);
        assert_eq!((foreign.status, foreign.without_id()), (404, unknown.without_id()));
        assert_eq!(nonsense.without_id(), unknown.without_id());
        // A number that was right in another life of the hub.
        let stale = format!("conn_{}{}", "0".repeat(16), &id[21..]);
        assert_eq!(ann.delete(&format!("{CONNECTIONS}/{stale}")).await.status, 404);
        let long = ann.delete(&format!("{path}?reason={}", "x".repeat(124))).await;
        assert_eq!((long.status, &long.json()["error"]["details"]["field"]), (400, &json!("reason")));
        assert_eq!(items(&ann, CONNECTIONS).await.len(), 3);

        assert_eq!(ann.delete(&format!("{path}?reason=enough+now")).await.status, 204);
        let close = loop {
            match phone.next().await.expect("a frame").expect("a frame") {
                Message::Close(frame) => break frame.expect("a code"),
                other => drop(other),
            }
        };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4403, "enough now"));
        for other in &mut others {
            assert_eq!(other.until_pong().await, Vec::<Value>::new());
        }
        assert_eq!(ann.delete(&path).await.status, 404);
        let close = "admin.connections.close";
        // Without what the doors refused, which comes a moment later.
        let acts: Vec<_> = rows(&ann, close).await.into_iter().filter(|(target, _)| !target.is_empty()).collect();
        assert_eq!(acts, [row(&id, "refused"), row(&id, ""), row("unknown", "refused")]);
        assert_eq!(rows(&rival, close).await[1], row(&id, "refused"));
        let done = &items(&ann, &format!("/api/v1/admin/audit?action={close}&target={id}")).await[1];
        assert_eq!((&done["actor"], &done["details"]["user"]), (&json!("ann"), &json!("alice")));
    });
}
