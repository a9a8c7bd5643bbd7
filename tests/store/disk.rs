//! The files of SQLite. A full disk: refused, nothing half written, and well again when there is room. SQLite, on a small file system that
//! only this test's child process sees.

use std::process::Command;

use serde_json::json;
use switchboard::domain::record::*;
use switchboard::domain::settings::Settings;
use switchboard::store::{CommitFault, Store, StoreSettings};

use crate::ground::*;

const NAME: &str = "disk::a_full_disk_refuses_and_recovers";
const FOLDER: &str = "STORE_TEST_SMALL_DISK";

#[test]
fn a_full_disk_refuses_and_recovers() {
    if let Ok(folder) = std::env::var(FOLDER) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        return runtime.block_on(on_a_small_disk(&folder));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$0\" --exact \"$2\" --nocapture";
    command.args(["--mount", "sh", "-c", script]).arg(std::env::current_exe().expect("this binary"));
    let output = command.arg(folder.path()).arg(NAME).env(FOLDER, folder.path()).output().expect("unshare runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "the child ran no test: {said}");
}

fn chunk(i: u64) -> Vec<Write> {
    let fact = Write::Fact(Fact { kind: "x", turn: None, by: None, refs: json!({ "i": i }) });
    vec![
        fact,
        Write::Todos(vec![]),
        Write::Tail { part: switchboard::domain::ids::PartId(next()), text: "x".repeat(50_000) },
    ]
}

async fn facts(store: &Store, settings: &Settings) -> Vec<u64> {
    let facts = store.facts(&acme(), settings.id, 0, 1000).await.expect("readable");
    facts.iter().filter_map(|f| f.refs["i"].as_u64()).collect()
}

async fn on_a_small_disk(folder: &str) {
    let url = format!("sqlite:{folder}/hub.db");
    let open = || Store::open(StoreSettings { url: url.clone(), pool: 2, boot: 1 }).expect("the store opens");
    let store = open();
    let settings = conversation("ann");
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    // Something else takes most of the room.
    let ballast = format!("{folder}/ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).expect("there is room for it");
    let mut acknowledged = Vec::new();
    let fault = loop {
        let i = acknowledged.len() as u64;
        match store.commit(batch(&settings, chunk(i))).await {
            Ok(()) => acknowledged.push(i),
            Err(fault) => break fault,
        }
        assert!(acknowledged.len() < 200, "the disk has no end");
    };
    assert!(matches!(fault, CommitFault::Full(_)), "{fault:?}");
    assert!(!acknowledged.is_empty());
    // All that wait together are refused together, and reading goes on.
    let more: Vec<_> = (0..5).map(|_| store.commit(batch(&settings, chunk(1000)))).collect();
    for commit in more {
        let refused = commit.await;
        assert!(matches!(refused, Err(CommitFault::Full(_))), "{refused:?}");
    }
    assert_eq!(facts(&store, &settings).await, acknowledged);

    std::fs::remove_file(&ballast).expect("removed");
    let i = acknowledged.len() as u64;
    store.commit(batch(&settings, chunk(i))).await.expect("there is room again");
    acknowledged.push(i);
    assert_eq!(facts(&store, &settings).await, acknowledged);
    drop(store);
    assert_eq!(facts(&open(), &settings).await, acknowledged, "after a reopen");
}

/// The log is moved into the database file while the store is open, and nobody but the owner may read either.
#[test]
fn the_log_is_emptied_beside_the_writer() {
    use std::os::unix::fs::MetadataExt;
    run(Ground::sqlite(), async |ground: Ground| {
        let store = ground.open();
        store.ping().await.expect("a reader keeps the log in being");
        let settings = conversation("ann");
        let part = switchboard::domain::ids::PartId(next());
        for _ in 0..40 {
            let tail = Write::Tail { part, text: "x".repeat(1 << 20) };
            store.commit(batch(&settings, vec![tail])).await.expect("committed");
        }
        store.close().await;
        let path = ground.url.trim_start_matches("sqlite:").to_owned();
        let file = |suffix: &str| std::fs::metadata(format!("{path}{suffix}")).expect("the file");
        assert!(file("").len() > 30 << 20, "{} bytes were moved", file("").len());
        for suffix in ["", "-wal", "-shm", ".lock"] {
            assert_eq!(file(suffix).mode() & 0o777, 0o600, "{suffix}");
        }
    });
}
