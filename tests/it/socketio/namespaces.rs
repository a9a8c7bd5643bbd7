//! Who is let into a namespace, what is said there, and how it ends.

use serde_json::{Value, json};

use super::raw::{MANIFEST, Polled, Wired, body, chat, said};
use crate::support::{Hub, HubOptions, Identity, run};

fn hub() -> (Hub, String) {
    let hub = Hub::start(HubOptions::default());
    let token = hub.token("ann", "acme", "member");
    (hub, token)
}

#[test]
fn two_namespaces_share_one_connection() {
    run(async {
        let (hub, token) = hub();
        let mut wired = Wired::open(&hub.address).await;
        let ai = wired.connect("/ai", json!({"token": token})).await;
        let chat = wired.connect("/chat", json!({"token": token})).await;
        assert!(ai["sid"] != chat["sid"] && ai["pid"] != chat["pid"], "{ai} {chat}");
        wired.send("42/ai,1[\"chat\",{\"message\":\"to ai\"}]").await;
        wired.send("42/chat,1[\"message\",{\"content\":\"to chat\"}]").await;
        let mut seen = Vec::new();
        let ended = |seen: &[String], what: &str| seen.iter().any(|packet| packet.starts_with(what));
        while !ended(&seen, "42/ai,[\"message_complete\"") || !ended(&seen, "42/chat,[\"agent:end\"") {
            seen.push(wired.next().await);
        }
        let of = |namespace: &str| seen.iter().filter(|packet| packet.contains(namespace)).cloned().collect::<Vec<_>>();
        assert!(said(&of("42/ai,")).contains("to ai"), "{seen:?}");
        assert!(of("42/chat,").iter().any(|packet| packet.starts_with("42/chat,[\"agent:text\"")), "{seen:?}");
        assert!(!of("42/chat,").iter().any(|packet| packet.contains("to ai")), "{seen:?}");
        // One of them leaves; the other does not notice.
        wired.send("41/ai,").await;
        wired.send("42/ai,2[\"chat\",{\"message\":\"gone\"}]").await;
        let refused = wired.find("44/ai,").await;
        assert_eq!(body(&refused)["data"]["code"], "bad_request", "{refused}");
        wired.send("42/chat,2[\"message\",{\"content\":\"still here\"}]").await;
        wired.find("43/chat,2[").await;
        wired.connect("/ai", json!({"token": token})).await;
    });
}

#[test]
fn nobody_gets_in_without_a_credential_and_nothing_that_is_claimed_counts() {
    run(async {
        let (hub, token) = hub();
        let mut wired = Wired::open(&hub.address).await;
        for auth in [
            "".to_owned(),
            "{}".to_owned(),
            json!({"token": "wrong"}).to_string(),
            json!({"token": ""}).to_string(),
            json!({"userId": "ann", "organizationId": "acme"}).to_string(),
        ] {
            wired.send(&format!("40/ai,{auth}")).await;
            let refused = wired.next().await;
            assert_eq!(refused, r#"44/ai,{"data":{"code":"unauthorized"},"message":"unauthorized"}"#, "{auth}");
        }
        wired.send("40/ai,{\"token\":1}").await;
        assert_eq!(body(&wired.next().await)["data"]["code"], "bad_request");
        for (namespace, shown) in [("/nobody,", "/nobody,"), ("", "")] {
            wired.send(&format!("40{namespace}{{\"token\":\"{token}\"}}")).await;
            assert_eq!(wired.next().await, format!("44{shown}{{\"message\":\"Invalid namespace\"}}"));
        }
        wired.connect("/ai", json!({"token": token})).await;
    });
}

#[test]
fn the_credential_of_the_first_request_counts_for_all_namespaces() {
    run(async {
        let (hub, token) = hub();
        let bearer = format!("Bearer {token}");
        let cookie = Identity::of(&hub.folder()).session("ann", "acme").await;
        let cookie = format!("switchboard_session={cookie}");
        let origin = ("origin", "http://localhost:3000");
        for (headers, good) in [
            (vec![("authorization", bearer.as_str())], true),
            (vec![("cookie", &cookie), origin], true),
            (vec![("cookie", &cookie), ("origin", "https://evil.example")], false),
            (vec![("authorization", "Bearer wrong")], false),
        ] {
            let mut session = Polled::open(&hub.address, &headers).await;
            session.post("40/chat,\u{1e}40/ai,").await;
            for namespace in ["/chat", "/ai"] {
                let mut packet = session.next().await;
                if packet.starts_with(MANIFEST) {
                    packet = session.next().await;
                }
                assert!(packet.starts_with(if good { "40/" } else { "44/" }), "{headers:?}: {packet}");
                assert!(packet.contains(namespace), "{packet}");
            }
            // Another credential, shown later, counts for its own namespace.
            if !good {
                session.connect("/ai", &token).await;
            }
        }
        let mut session = Polled::open(&hub.address, &[]).await;
        session.post("40/ai,").await;
        assert!(session.next().await.starts_with("44/ai,"));
        let path = format!("&token={token}");
        let mut wired = Wired::at(&hub.address, &path).await;
        wired.find("0{").await;
        wired.connect("/ai", json!({})).await;
    });
}

#[test]
fn a_client_s_own_name_for_a_conversation_stands_in_all_it_is_told() {
    run(async {
        let (hub, token) = hub();
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/chat", json!({"token": token})).await;
        let name = "my:\"own\\one";
        wired.send(&format!("42/chat,1{}", json!(["message", {"content": "hello", "conversationId": name}]))).await;
        let mut packets = Vec::new();
        while !packets.last().is_some_and(|packet: &String| packet.starts_with("42/chat,[\"agent:end\"")) {
            packets.push(wired.next().await);
        }
        assert!(packets[0].starts_with("43/chat,1["), "{packets:?}");
        assert!(packets.len() > 3, "{packets:?}");
        for packet in &packets {
            let told = body(packet);
            let data = if packet.starts_with("43") { &told[0] } else { &told[1] };
            assert_eq!(data["conversationId"], name, "{packet}");
            assert!(!packet.contains("sess_"), "{packet}");
        }
    });
}

#[test]
fn several_watch_one_conversation_and_each_message_is_acknowledged_before_its_turn() {
    run(async {
        let (hub, token) = hub();
        let (mut one, mut other) = (Wired::open(&hub.address).await, Wired::open(&hub.address).await);
        one.connect("/ai", json!({"token": token})).await;
        other.connect("/ai", json!({"token": token})).await;
        one.send("42/ai,1[\"chat\",{\"message\":\"first\"}]").await;
        let ack = body(&one.next().await);
        let conversation = ack[0]["conversationId"].as_str().expect("an id");
        assert!(one.next().await.starts_with("42/ai,[\"message_start\""));
        one.find("42/ai,[\"message_complete\"").await;
        other.send(&chat("second", conversation)).await;
        assert!(other.next().await.starts_with("42/ai,[\"message_start\""), "no ack was asked for");
        let until_end = async |wired: &mut Wired| {
            let mut packets = Vec::new();
            while !packets.last().is_some_and(|packet: &String| packet.starts_with("42/ai,[\"message_complete\"")) {
                packets.push(wired.next().await);
            }
            packets
        };
        let (first, second) = (until_end(&mut one).await, until_end(&mut other).await);
        assert_eq!(said(&first), said(&second));
        assert!(said(&first).contains("second"));
    });
}

#[test]
fn what_cannot_be_done_is_told_in_the_door_s_words_and_the_connection_lives_on() {
    run(async {
        let (hub, token) = hub();
        let stranger = hub.token("eve", "elsewhere", "member");
        let mut eve = Wired::open(&hub.address).await;
        eve.connect("/ai", json!({"token": stranger})).await;
        eve.send("42/ai,1[\"chat\",{\"message\":\"mine\"}]").await;
        let hers = body(&eve.next().await)[0]["conversationId"].as_str().expect("an id").to_owned();
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/ai", json!({"token": token})).await;
        let mut refused = async |packet: String, code: &str| {
            wired.send(&packet).await;
            let ack = wired.next().await;
            let told = body(&ack);
            assert!(ack.starts_with("43/ai,5["), "{ack}");
            assert_eq!((&told[0]["ok"], &told[0]["error"]["code"]), (&json!(false), &json!(code)), "{packet}: {ack}");
            let error = wired.next().await;
            assert!(error.starts_with("42/ai,[\"error\",{"), "{error}");
            assert_eq!(body(&error)[1]["message"], told[0]["error"]["message"], "{error}");
        };
        refused("42/ai,5[\"dance\",{}]".into(), "unknown_method").await;
        refused("42/ai,5[\"chat\"]".into(), "bad_request").await;
        refused("42/ai,5[\"chat\",{\"message\":7}]".into(), "bad_request").await;
        refused(format!("42/ai,5{}", json!(["chat", {"message": "x", "conversationId": hers}])), "not_found").await;
        refused("451-/ai,5[\"chat\",{\"_placeholder\":true,\"num\":0}]".into(), "bad_request").await;
        wired.send_binary(&[1, 2, 3]).await;
        // One that belongs to nothing.
        wired.send_binary(&[1, 2, 3]).await;
        assert!(wired.next().await.starts_with("42/ai,[\"error\",{"));
        wired.send("42/ai,6[\"chat\",{\"message\":\"still here\"}]").await;
        assert_eq!(body(&wired.next().await)[0]["ok"], true);
        // The same by polling, where an attachment is base64.
        let mut session = Polled::open(&hub.address, &[]).await;
        session.connect("/ai", &token).await;
        session.post("451-/ai,5[\"chat\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID").await;
        assert_eq!(body(&session.next().await)[0]["ok"], false);
        assert!(session.next().await.contains("binary attachments"));
        session.post("42/ai,6[\"chat\",{\"message\":\"still here\"}]").await;
        assert_eq!(body(&session.next().await)[0]["ok"], true);
    });
}

/// A right that is lost is told by DISCONNECT: the client stays away. A restart is not: it comes again by itself.
#[test]
fn only_who_may_not_be_here_any_more_is_told_to_stay_away() {
    run(async {
        let (mut hub, _) = hub();
        let identity = Identity::of(&hub.folder());
        identity.user("ann", "acme", "member").await;
        let (key, id) = identity.key("ann", "acme").await;
        let (other, _) = identity.key("ann", "acme").await;
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/ai", json!({"token": key})).await;
        let mut both = Wired::open(&hub.address).await;
        both.connect("/ai", json!({"token": other})).await;
        both.connect("/chat", json!({"token": key})).await;
        let mut session = Polled::open(&hub.address, &[]).await;
        session.connect("/ai", &key).await;
        identity.revoke_key("acme", id).await;
        assert_eq!(wired.until_closed().await, (vec!["41/ai,".to_owned()], 4403));
        assert_eq!(session.next().await, "41/ai,");
        assert_eq!(both.next().await, "41/chat,");
        both.send("42/ai,1[\"chat\",{\"message\":\"still here\"}]").await;
        both.find("43/ai,1[").await;
        let mut polled = Polled::open(&hub.address, &[]).await;
        polled.connect("/ai", &other).await;
        both.find("42/ai,[\"message_complete\"").await;
        let (waits, stopped) = tokio::join!(polled.poll(), async {
            hub.signal_term();
            both.until_closed().await
        });
        assert_eq!((waits, stopped), (vec!["1".to_owned()], (vec![], 1012)));
        assert!(hub.wait().success());
    });
}

#[test]
fn an_expired_token_ends_with_a_disconnect() {
    run(async {
        let (hub, _) = hub();
        let identity = Identity::of(&hub.folder());
        identity.user("ann", "acme", "member").await;
        let token = identity.session_for("ann", "acme", 1500).await;
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/chat", json!({"token": token})).await;
        assert_eq!(wired.until_closed().await, (vec!["41/chat,".to_owned()], 4401));
    });
}

#[test]
fn places_and_messages_are_counted_as_on_every_door() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_LIMITS__CONNECTIONS_PER_USER", 1)
            .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_PER_MINUTE", 1)
            .set("SWITCHBOARD_LIMITS__SOCKET_MESSAGES_BURST", 1);
        let hub = Hub::start(options);
        let token = hub.token("ann", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/ai", json!({"token": token})).await;
        // The same connection.
        wired.connect("/chat", json!({"token": token})).await;
        let mut other = Wired::open(&hub.address).await;
        other.send(&format!("40/ai,{}", json!({"token": token}))).await;
        let refused = body(&other.next().await);
        assert_eq!(refused["data"]["code"], "rate_limited", "{refused}");
        assert!(refused["data"]["details"]["retryAfter"].is_u64(), "{refused}");
        wired.send("42/ai,1[\"chat\",{\"message\":\"one\"}]").await;
        assert_eq!(body(&wired.find("43/ai,1[").await)[0]["ok"], true);
        wired.send("42/chat,2[\"message\",{\"content\":\"two\"}]").await;
        let told: Value = body(&wired.find("43/chat,2[").await);
        assert_eq!(told[0]["error"]["code"], "rate_limited", "{told}");
    });
}

#[test]
fn a_flood_of_packets_is_read_later_and_then_not_at_all() {
    run(async {
        let options = HubOptions::default()
            .set("SWITCHBOARD_LIMITS__FRAMES_PER_SECOND", 1000)
            .set("SWITCHBOARD_LIMITS__FRAMES_BURST", 10);
        let hub = Hub::start(options);
        let token = hub.token("ann", "acme", "member");
        let mut wired = Wired::open(&hub.address).await;
        wired.connect("/ai", json!({"token": token})).await;
        for _ in 0..5000 {
            if !wired.throw("42/ai,[\"dance\",{}]").await {
                break;
            }
        }
        let (packets, code) = wired.until_closed().await;
        assert!(packets.iter().any(|packet| packet.contains("too many frames")), "{packets:?}");
        assert!([1008, 1006].contains(&code), "{code}");
    });
}
