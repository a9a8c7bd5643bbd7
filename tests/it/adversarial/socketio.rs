//! Socket.IO attacked: packets that are none, payloads without end, sessions and places that are somebody else's.

use serde_json::json;

use super::scene::Scene;
use crate::limits::raw::send;
use crate::socketio::raw::{BEGIN, Polled, Wired, body};
use crate::support::{HubOptions, run};

#[test]
fn case_71_names_and_attachments_that_break_other_servers() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let token = scene.token();
        let mut wired = Wired::open(scene.address()).await;
        wired.connect("/ai", json!({"token": token})).await;
        let long = format!("42/ai,[\"{}\",{{}}]", "x".repeat(100_000));
        let deep = format!("42/ai,[\"chat\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let many = format!("42/ai,[\"chat\"{}]", ",1".repeat(100_000));
        for packet in [
            // Names that are none, or somebody's inheritance.
            "42/ai,[\"__proto__\",{\"message\":\"x\"}]",
            "42/ai,[\"constructor\",{\"message\":\"x\"}]",
            "42/ai,[\"toString\"]",
            "42/ai,[\"connect\",{}]",
            "42/ai,[\"disconnect\",{}]",
            "42/ai,[\"\",{}]",
            "42/ai,[1,{}]",
            "42/ai,[null]",
            "42/ai,[{\"toString\":\"x\"}]",
            "42/ai,[]",
            "42/ai,{}",
            "42/ai,",
            "42/ai",
            &long,
            &deep,
            &many,
            // Attachments that never come, by the number and by the name.
            "451-/ai,[\"chat\",{\"_placeholder\":true,\"num\":0}]",
            "459999999-/ai,[\"chat\",{\"_placeholder\":true,\"num\":9}]",
            "4518446744073709551615-/ai,[\"chat\"]",
            "45-/ai,[\"chat\"]",
            "4599999999999999999999999-/ai,[\"chat\"]",
            "451-/ai,7[\"chat\"",
            "451",
            // Not packets at all.
            "4",
            "47",
            "44/ai,{}",
            "43/ai,[]",
            "b!!",
            "9",
            "\u{1e}",
        ] {
            wired.send(packet).await;
            // A place of its own in the order of answers: what came before it came of the packet.
            wired.send("42/ai,1[\"dance\",{}]").await;
            let mut told = Vec::new();
            let ack = loop {
                let next = wired.next().await;
                if next.starts_with("43/ai,1[") {
                    break next;
                }
                told.push(next);
            };
            let shown: String = packet.chars().take(60).collect();
            assert_eq!(body(&ack)[0]["error"]["code"], "unknown_method", "{shown}");
            assert!(wired.next().await.starts_with("42/ai,[\"error\""), "{shown}");
            assert!(!told.is_empty(), "{shown}: nobody said what is wrong");
            for answer in &told {
                assert!(answer.starts_with("42/ai,[\"error\"") || answer.starts_with("43/ai,7["), "{shown}: {answer}");
                assert!(answer.len() < 1000, "{shown}: {} bytes", answer.len());
            }
        }
        // It lives on.
        wired.send("42/ai,2[\"chat\",{\"message\":\"still here\"}]").await;
        assert_eq!(body(&wired.find("43/ai,2[").await)[0]["ok"], true);
        wired.find("42/ai,[\"message_complete\"").await;
        // Before anybody vouches for it there is nobody to tell, and nothing is waited for.
        for packet in ["451-/ai,[\"chat\",{\"_placeholder\":true,\"num\":0}]\u{1e}", "nonsense", "2"] {
            let mut wired = Wired::open(scene.address()).await;
            wired.send(packet).await;
            let first = wired.read().await;
            assert!(first == Err(1002) || first.is_ok_and(|answer| answer.starts_with("44/ai,")), "{packet}");
        }
        scene.silent(&[&token]).await;
    });
}

#[test]
fn case_72_payloads_without_end() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let token = scene.token();
        let (huge, many) = ("4".repeat(100 << 20), "3\u{1e}".repeat(1_000_000));
        let before = scene.hub.resident();
        // To nobody's session; before anybody vouches for it; and afterwards.
        let unknown = format!("{BEGIN}&sid={}", "A".repeat(24));
        for _ in 0..3 {
            let told = send_whatever(scene.address(), &unknown, &huge).await;
            assert!(["", r#"{"code":1,"message":"Session ID unknown"}"#].contains(&told.1.as_str()), "{told:?}");
        }
        let bare = Polled::open(scene.address(), &[]).await;
        for payload in [&huge, &"4".repeat((64 << 10) + 1)] {
            let (status, text) = send_whatever(scene.address(), &bare.path(), payload).await;
            assert!([413, 0].contains(&status), "{status} {text}");
        }
        let mut session = Polled::open(scene.address(), &[]).await;
        session.connect("/ai", &token).await;
        for payload in [&huge, &"4".repeat((8 << 20) + 1)] {
            let (status, text) = send_whatever(scene.address(), &session.path(), payload).await;
            assert!([413, 0].contains(&status), "{status} {text}");
        }
        // A large one is taken, as long as it is one.
        session.post(&"3".repeat(4 << 20)).await;
        let answer = session.raw_post(&many).await;
        assert_eq!((answer.status, answer.code()), (413, "too_large"), "{}", answer.text);
        assert_eq!(session.raw_poll().await.body["code"], 1, "whoever does that has no session any more");
        let cost = scene.hub.resident().saturating_sub(before);
        assert!(cost < 64 << 20, "{cost} bytes");
        // The same on a socket.
        let mut wired = Wired::open(scene.address()).await;
        wired.send(&"4".repeat((64 << 10) + 1)).await;
        assert_eq!(wired.until_closed().await, (vec![], 1009));
        scene.silent(&[&token]).await;
    });
}

/// A body that may not be taken whole: the status, if one came, and the text.
async fn send_whatever(address: &str, path: &str, payload: &str) -> (u16, String) {
    use tokio::io::AsyncWriteExt;
    let mut socket = crate::limits::raw::from("127.0.0.1", address).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        payload.len()
    );
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(payload.as_bytes()).await;
    let answer = crate::limits::raw::answer(&mut socket).await;
    (answer.status, answer.text)
}

#[test]
fn case_73_sessions_and_places_of_somebody_else() {
    run(async {
        let scene = Scene::new(HubOptions::default()).await;
        let (token, other) = (scene.token(), scene.hub.token("bystander", "acme", "member"));
        // A sid that is guessed, cut, or made of another one.
        let mut session = Polled::open(scene.address(), &[]).await;
        let told = session.connect("/ai", &token).await;
        let mut near = session.sid.clone().into_bytes();
        let last = near.len() - 1;
        near[last] = if near[last] == b'A' { b'B' } else { b'A' };
        let near = String::from_utf8(near).expect("text");
        for sid in ["", "0", "../../etc/passwd", "%00", &"A".repeat(24), &near, &session.sid[..23], &"A".repeat(5000)] {
            for method in ["GET", "POST"] {
                let answer = send(scene.address(), method, &format!("{BEGIN}&sid={sid}"), &[], "").await;
                assert_eq!(
                    (answer.status, answer.body["code"].as_u64()),
                    (400, Some(1)),
                    "{method} {sid}: {}",
                    answer.text
                );
            }
        }
        // The public id of a namespace is none of a session.
        let sid = told["sid"].as_str().expect("a sid");
        assert_eq!(send(scene.address(), "GET", &format!("{BEGIN}&sid={sid}"), &[], "").await.body["code"], 1);
        // A place of somebody else's: whoever shows it begins anew, and its owner's stays.
        session.post("1").await;
        let mut thief = Wired::open(scene.address()).await;
        let stolen = thief.connect("/ai", json!({"token": other, "pid": told["pid"], "offset": "00:1"})).await;
        assert!(stolen["pid"] != told["pid"] && stolen["sid"] != told["sid"], "{stolen}");
        let mut owner = Wired::open(scene.address()).await;
        let again = owner.connect("/ai", json!({"token": token, "pid": told["pid"]})).await;
        assert_eq!(again, told);
        // Namespaces without a credential: no event is heard, whatever its name.
        let mut nobody = Wired::open(scene.address()).await;
        for (packet, answer) in [
            ("40/ai,", r#"44/ai,{"data":{"code":"unauthorized"},"message":"unauthorized"}"#.to_owned()),
            ("40/admin,", r#"44/admin,{"message":"Invalid namespace"}"#.to_owned()),
            ("42/admin,[\"x\"]", r#"44/admin,{"message":"Invalid namespace"}"#.to_owned()),
            ("42[\"x\"]", r#"44{"message":"Invalid namespace"}"#.to_owned()),
        ] {
            nobody.send(packet).await;
            assert_eq!(nobody.next().await, answer, "{packet}");
        }
        nobody.send(&format!("42/ai,[\"chat\",{{\"message\":\"x\",\"conversationId\":\"{}\"}}]", scene.session)).await;
        assert_eq!(body(&nobody.next().await)["data"]["code"], "bad_request");
        // And with one, another's conversation is not to be had.
        owner.send(&format!("42/ai,1[\"chat\",{{\"message\":\"x\",\"conversationId\":\"{}\"}}]", scene.session)).await;
        assert_eq!(body(&owner.find("43/ai,1[").await)[0]["error"]["code"], "forbidden");
        scene.silent(&[&token, &other]).await;
    });
}
