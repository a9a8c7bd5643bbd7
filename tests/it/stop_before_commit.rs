//! Stop closes the upstream before its own commit and within a tenth of a second, and nothing of the answer comes after
//! the answer to it.

use std::rc::Rc;

use diesel::{Connection, RunQueryDsl, SqliteConnection};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::mock_http::{MockHttp, Seen, Step, chunk, stream_head};
use crate::support::upstream::{begins, conversation, has_hung_up, openai, says, thinks};
use crate::support::{Client, Hub, HubOptions, Watcher, assert_converged, run};

fn said(text: &str) -> Vec<u8> {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    chunk(format!("data: {delta}\n\n"))
}

/// The store takes its time for each commit. The upstream does not wait for it: its end is seen before the answer.
#[test]
fn the_upstream_is_closed_while_the_disk_is_slow() {
    run(async {
        let spoken = Rc::new(Notify::new());
        let script =
            vec![stream_head(), Step::Send(said("one ")), Step::Wait(spoken.clone()), Step::SendForever(said("more "))];
        let mut upstream = MockHttp::start([script]).await;
        let options = HubOptions::default()
            .set("OPENAI_BASE_URL", upstream.url("/v1"))
            .set("OPENAI_API_KEY", "key")
            .set("SWITCHBOARD_FAILPOINTS", "store.before=delay:50");
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let session = Client::connect(&hub.address, &token).await.session().await;
        let mut watchers = Vec::new();
        for _ in 0..3 {
            watchers.push(Watcher::join(&hub.address, &token, &session).await);
        }
        let turn = watchers[0].say("go on for ever").await["turnId"].as_str().expect("an id").to_owned();
        upstream.request().await;
        watchers[1].until(|f| f["data"]["delta"] == "one ").await;
        spoken.notify_one();
        watchers[1].until(|f| !f["data"]["delta"].is_null()).await;
        let stop =
            json!({"type": "request", "id": "stop", "method": "messages.stop", "params": {"sessionId": session}});
        watchers[0].client.send(stop).await;
        let mut hung_up = false;
        let mut ended = None;
        let mut deltas_after = 0;
        while ended.is_none() {
            tokio::select! {
                biased;
                seen = upstream.next(), if !hung_up => {
                    assert!(matches!(seen, Seen::HungUp(0)), "{seen:?}");
                    hung_up = true;
                }
                frame = watchers[0].step() => {
                    let frame = frame.expect("the socket stays");
                    if frame["id"] == "stop" {
                        ended = Some(frame);
                    }
                }
            }
        }
        assert!(hung_up, "the answer came before the upstream was closed");
        let ended = ended.expect("an answer");
        let result = &ended["result"];
        assert_eq!((&result["turnId"], &result["state"]), (&json!(turn), &json!("stopped")), "{ended}");
        assert_eq!(result["receipt"]["bytesAfter"], 0, "{ended}");
        // Everything that follows was sent by the hub after its answer: there is no delta in it.
        watchers[0].client.send(json!({"type": "ping"})).await;
        loop {
            let frame = watchers[0].step().await.expect("the socket stays");
            deltas_after += usize::from(!frame["data"]["delta"].is_null());
            if frame["type"] == "pong" {
                break;
            }
        }
        assert_eq!(deltas_after, 0);
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&turn).await, "stopped");
        }
        let stored = assert_converged(&mut watchers).await;
        let answer = stored.values().find(|m| m["role"] == "assistant").expect("an answer");
        assert_eq!(answer["state"], "stopped");
        let kept = crate::support::text_of(answer);
        assert!(kept.starts_with("one more "), "{kept}");
        assert_eq!(result["receipt"]["keptBytes"], kept.len(), "{ended}");
    });
}

/// The state of the one turn, as it is on disk.
fn state_on_disk(hub: &Hub) -> String {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        state: String,
    }
    let path = hub.folder().join("hub.db");
    let mut database = SqliteConnection::establish(path.to_str().expect("a path")).expect("the database opens");
    diesel::sql_query("select state from turn").get_result::<Row>(&mut database).expect("one turn").state
}

/// When the other end of the upstream sees its end, the turn on disk still runs.
#[test]
fn the_upstream_is_closed_before_the_commit() {
    run(async {
        let script = vec![stream_head(), Step::Send(said("one ")), Step::Hang];
        let mut upstream = MockHttp::start([script]).await;
        let options = HubOptions::default()
            .set("OPENAI_BASE_URL", upstream.url("/v1"))
            .set("OPENAI_API_KEY", "key")
            .set("SWITCHBOARD_FAILPOINTS", "store.before=delay:300");
        let hub = Hub::start(options);
        let token = hub.token("alice", "acme", "member");
        let mut client = Client::connect(&hub.address, &token).await;
        let session = client.session().await;
        client.subscribe(&format!("session:{session}"), None).await;
        client.say(&session, "go").await;
        upstream.request().await;
        client.find(|f| f["data"]["delta"] == "one ").await;
        let stop =
            json!({"type": "request", "id": "stop", "method": "messages.stop", "params": {"sessionId": session}});
        client.send(stop).await;
        upstream.hung_up().await;
        assert_eq!(state_on_disk(&hub), "running");
        let answer = client.find(|f| f["id"] == "stop").await;
        assert_eq!(answer["result"]["state"], "stopped", "{answer}");
        assert_eq!(state_on_disk(&hub), "stopped");
    });
}

/// Each commit of such a hub takes a tenth of a second at least: that is the clock here.
fn by_tenths(options: HubOptions) -> HubOptions {
    options.set("SWITCHBOARD_FAILPOINTS", "store.before=delay:100")
}

/// Sends `method`, and together with it something that takes one commit. By the time that is answered, `server` must
/// have seen the end of its connection: a hub that needs longer than a tenth of a second is too late. Gives the answer
/// to `method`.
async fn over_within_one_commit(client: &mut Client, session: &str, method: &str, server: &mut MockHttp) -> Value {
    // Seven commits are longer than text waits for its own: after them nothing is in the way of the one that counts.
    for _ in 0..7 {
        client.session().await;
    }
    let end = json!({"type": "request", "id": "end", "method": method, "params": {"sessionId": session}});
    let clock = json!({"type": "request", "id": "clock", "method": "sessions.create", "params": {}});
    client.send_together(&[end, clock]).await;
    let clock = client.find(|f| f["id"] == "clock").await;
    has_hung_up(server).await;
    assert!(clock["error"].is_null(), "{clock}");
    client.find(|f| f["id"] == "end").await["result"].take()
}

#[test]
fn the_upstream_is_closed_within_a_tenth_of_a_second_while_it_speaks_and_while_it_thinks() {
    run(async {
        for said in [says("one "), thinks("hmm ")] {
            let mut model = MockHttp::start([begins(&said)]).await;
            let (_hub, mut client, session) = conversation(by_tenths(openai(&model))).await;
            client.say(&session, "go").await;
            model.request().await;
            client.event("part.updated").await;
            let stopped = over_within_one_commit(&mut client, &session, "messages.stop", &mut model).await;
            assert_eq!((&stopped["state"], &stopped["receipt"]["bytesAfter"]), (&json!("stopped"), &json!(0)));
        }
    });
}

#[test]
fn a_tool_that_runs_is_cancelled_within_a_tenth_of_a_second_of_an_abort() {
    run(async {
        let mut site = MockHttp::start([vec![Step::Hang]]).await;
        let friend = site.address;
        let config = format!(
            "[tools.http_fetch]\npolicy = \"allow\"\nallow_hosts = [\"{friend}\"]\nallow_private = [\"{friend}\"]"
        );
        let (_hub, mut client, session) = conversation(by_tenths(HubOptions::default().config(&config))).await;
        client.say(&session, &format!("fetch {}", site.url("/page"))).await;
        site.request().await;
        let aborted = over_within_one_commit(&mut client, &session, "messages.abort", &mut site).await;
        assert_eq!(aborted["state"], "aborted");
    });
}
