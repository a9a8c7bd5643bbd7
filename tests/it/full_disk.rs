//! A full disk: sends are refused with a code, what is there can be read, and all goes on once there is room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{Client, Hub, HubOptions, Watcher, assert_converged, run, text_of};

/// A file system of a few megabytes in memory, for a hub's folder; gone with the value.
struct SmallDisk {
    folder: Arc<tempfile::TempDir>,
    mounted: PathBuf,
}

impl SmallDisk {
    fn mount() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts a small file system, so it needs root: run it with sudo, or in a container"
        );
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mounted = folder.path().join("hub");
        std::fs::create_dir(&mounted).expect("a folder");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=700", "switchboard-test"])
            .arg(&mounted)
            .status()
            .expect("mount runs");
        assert!(status.success(), "a tmpfs cannot be mounted on {}: {status}", mounted.display());
        Self { folder, mounted }
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        for block in [vec![0; 64 << 10], vec![0; 512], vec![0]] {
            while file.write_all(&block).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

async fn three(address: &str, token: &str) -> (String, Vec<Watcher>) {
    let session = Client::connect(address, token).await.session().await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(Watcher::join(address, token, &session).await);
    }
    (session, watchers)
}

fn turn(sent: &Value) -> String {
    sent["turnId"].as_str().expect("an id").to_owned()
}

/// Sends until one is refused; SQLite's log has room for small things even where its file cannot grow.
async fn until_refused(hub: &Hub, watcher: &mut Watcher, session: &str, turns: &mut Vec<String>) -> Value {
    for n in 0..200 {
        let content = format!("message {n} {}", "x".repeat(2000));
        let params = json!({"sessionId": session, "content": content});
        let unwritten = batches_unwritten(hub);
        let answer = watcher.client.ask("messages.send", params).await;
        if !answer["error"].is_null() {
            return answer["error"].clone();
        }
        turns.push(turn(&answer["result"]));
        // Its answer may be what finds no room: then it ends when there is some.
        while !watcher.has_ended(turns.last().expect("a turn")) && batches_unwritten(hub) == unwritten {
            watcher.settle().await;
        }
    }
    panic!("the disk took two hundred messages although it is full");
}

fn batches_unwritten(hub: &Hub) -> usize {
    hub.log().iter().filter(|line| line.contains("a batch was not written")).count()
}

/// Creates sessions until one is refused: a small row may still find room where a message does not.
async fn refused_at_last(watcher: &mut Watcher) -> Value {
    for _ in 0..2000 {
        let answer = watcher.client.ask("sessions.create", json!({})).await;
        if !answer["error"].is_null() {
            return answer["error"]["code"].clone();
        }
    }
    panic!("the disk took two thousand sessions although it is full");
}

#[test]
fn what_finds_no_room_is_refused_and_all_goes_on_when_there_is_some() {
    run(async {
        let disk = SmallDisk::mount();
        let hub = Hub::start_in(disk.folder.clone(), HubOptions::default().set("SWITCHBOARD_SERVER__WORKERS", 3));
        let token = hub.token("alice", "acme", "member");
        let (session, mut watchers) = three(&hub.address, &token).await;
        let mut turns = vec![turn(&watchers[0].say("long 20").await)];
        watchers[0].until_ended(&turns[0]).await;
        for round in 0..3 {
            disk.fill();
            assert_eq!(refused_at_last(&mut watchers[1]).await, "unavailable");
            // Sending too, again and again; nobody is cut off by it.
            let error = until_refused(&hub, &mut watchers[0], &session, &mut turns).await;
            assert_eq!(error["code"], "unavailable", "{error}");
            let params = json!({"sessionId": session, "content": "x".repeat(100_000)});
            assert_eq!(watchers[1].client.refused("messages.send", params).await, "unavailable");
            // What is there can be read, by those who are there and by those who come.
            let stored = assert_converged(&mut watchers).await;
            assert!(stored.len() >= turns.len() * 2, "{} messages of {} turns", stored.len(), turns.len());
            let mut late = Watcher::join(&hub.address, &token, &session).await;
            late.settle().await;
            assert_eq!(late.picture.messages.len(), watchers[0].picture.messages.len());
            disk.make_room();
            let sent = watchers[2].say(&format!("round {round} long 10")).await;
            turns.push(turn(&sent));
            for watcher in &mut watchers {
                assert_eq!(watcher.until_ended(turns.last().expect("a turn")).await, "completed");
            }
            let stored = assert_converged(&mut watchers).await;
            let sent = stored.values().filter(|m| m["role"] == "user").count();
            assert_eq!(sent, turns.len(), "what was refused is there, or what was acknowledged is not");
        }
        check_file(&disk.mounted.join("hub.db"), &hub);
    });
}

/// Whether the database is whole, by SQLite's own word.
fn check_file(path: &Path, _: &Hub) {
    use diesel::{Connection, RunQueryDsl};
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        integrity_check: String,
    }
    let mut database = diesel::SqliteConnection::establish(path.to_str().expect("a path")).expect("the database");
    let row = diesel::sql_query("pragma integrity_check").get_result::<Row>(&mut database).expect("an answer");
    assert_eq!(row.integrity_check, "ok");
}

#[test]
fn an_answer_that_runs_into_a_full_disk_ends_and_its_watchers_converge() {
    run(async {
        let disk = SmallDisk::mount();
        let hub = Hub::start_in(disk.folder.clone(), HubOptions::default());
        let token = hub.token("alice", "acme", "member");
        let (session, mut watchers) = three(&hub.address, &token).await;
        let (_, mut others) = three(&hub.address, &token).await;
        let before = turn(&watchers[0].say("long 5").await);
        watchers[0].until_ended(&before).await;
        let cut = turn(&watchers[0].say("long 20000").await);
        watchers[0].until(|f| !f["data"]["delta"].is_null()).await;
        disk.fill();
        // The answer grows until a checkpoint finds no room.
        hub.logged("a batch was not written").await;
        // Those who ask meanwhile are told, and what is on disk can be read.
        let params = json!({"sessionId": session, "content": "now"});
        assert_eq!(watchers[0].client.refused("messages.send", params).await, "unavailable");
        let listed = watchers[0].client.call("messages.list", json!({"sessionId": session})).await;
        let listed = listed["items"].as_array().expect("a list").clone();
        assert_eq!(text_of(&listed[1]), "word1 word2 word3 word4 word5", "{listed:#?}");
        assert_eq!(watchers[0].client.call("sessions.get", json!({"sessionId": session})).await["id"], *session);
        disk.make_room();
        for watcher in &mut watchers {
            assert_eq!(watcher.until_ended(&cut).await, "interrupted");
            assert_eq!(watcher.client.closed, None, "nobody had to connect anew");
        }
        let stored = assert_converged(&mut watchers).await;
        let answer = stored.values().rfind(|m| m["role"] == "assistant").expect("an answer");
        let whole = (1..=20000).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        assert!(whole.starts_with(&text_of(answer)), "what is kept has a hole");
        assert_eq!(answer["state"], "interrupted");
        for (watchers, content) in [(&mut watchers, "long 7"), (&mut others, "long 8")] {
            let next = turn(&watchers[1].say(content).await);
            for watcher in watchers.iter_mut() {
                assert_eq!(watcher.until_ended(&next).await, "completed");
            }
            assert_converged(watchers).await;
        }
    });
}
