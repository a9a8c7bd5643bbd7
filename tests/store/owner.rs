//! One owner, opened again and again, and what a crash leaves.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use switchboard::domain::account::*;
use switchboard::domain::ids::*;
use switchboard::domain::record::*;
use switchboard::store::{CommitFault, CommitPoint, Store, StoreFault, StoreSettings};

use crate::ground::*;
use crate::postgres::Postgres;

on_both!(a_second_owner_is_refused, opening_again_changes_nothing, the_command_line_works_beside_the_owner);

async fn a_second_owner_is_refused(ground: Ground) {
    let store = ground.open();
    let Err(StoreFault::Refused(sentence)) = Store::open(ground.settings()) else { panic!("two owners") };
    assert!(sentence.contains("is in use by"), "{sentence}");
    assert!(sentence.contains(&format!("process {}", std::process::id())) && sentence.contains("since"), "{sentence}");
    store.ping().await.expect("the owner is not disturbed");
    store.close().await;
    ground.open().ping().await.expect("free again");
}

async fn opening_again_changes_nothing(ground: Ground) {
    let settings = conversation("ann");
    for n in 0..3 {
        let store = ground.open();
        if n == 0 {
            with_message(&store, &settings, "kept").await;
        }
        assert_eq!(stored(&store, &settings).await.messages[0].text(), "kept");
        drop(store);
    }
    assert_eq!(ground.count("__diesel_schema_migrations").await, 9);
}

async fn the_command_line_works_beside_the_owner(ground: Ground) {
    let house = Organization { id: acme(), name: "Acme".into(), created_at: Timestamp(1), disabled_at: None };
    // Alone, on a new database: it makes the tables itself and lets go of the lock.
    let alone = Store::open_shared(ground.settings()).expect("opens");
    alone.put_organization(house.clone()).await.expect("written");
    let owner = ground.open();
    let beside = Store::open_shared(ground.settings()).expect("opens beside the owner");
    let other = Organization { id: org("other"), ..house.clone() };
    beside.put_organization(other.clone()).await.expect("written");
    assert_eq!(owner.organizations(None, 9).await.expect("a page").items, [house, other]);
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let open = |url: &str| Store::open(StoreSettings { url: url.into(), pool: 1, boot: 1 }).expect_err("no store");
    let refused = |url: &str| match open(url) {
        StoreFault::Refused(sentence) => sentence,
        other => panic!("{url}: {other:?}"),
    };
    assert!(refused("mysql://x").contains("not with \"mysql\""));
    assert!(refused("sqlite:").contains("needs a file"));
    assert!(refused("sqlite::memory:").contains("needs a file"));
    assert_eq!(refused("sqlite:/nonexistent/hub.db"), "the folder /nonexistent does not exist");
    let StoreFault::Unavailable(text) = open("postgres://u:secret@127.0.0.1:1/x") else { panic!("connected") };
    assert!(text.contains("Connection refused") && !text.contains("secret"), "{text}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "this is no database, but it is long enough to look at".repeat(100)).expect("written");
    let StoreFault::Unavailable(text) = open(&format!("sqlite:{}", file.path().display())) else { panic!("opened") };
    assert!(text.contains("not a database"), "{text}");
}

#[test]
fn postgres_that_acknowledges_too_early_is_refused() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let settings = StoreSettings { url: server.database(), pool: 1, boot: 1 };
    let Err(StoreFault::Refused(sentence)) = Store::open(settings) else { panic!("opened") };
    assert!(sentence.contains("synchronous_commit = off"), "{sentence}");
}

fn fact(i: u64) -> Write {
    Write::Fact(Fact { kind: "x", turn: None, by: None, refs: json!({ "i": i }) })
}

#[test]
fn a_postgres_that_restarts_loses_nothing_acknowledged() {
    run(Ground::postgres(), async |mut ground: Ground| {
        let store = ground.open();
        let settings = conversation("ann");
        store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
        store.commit(batch(&settings, vec![fact(0)])).await.expect("committed");
        let Backend::Postgres(server) = &mut ground.backend else { panic!("not PostgreSQL") };
        server.restart();
        // The connection is dead; what was in flight is refused, and the next one gets a new connection.
        let broken = store.commit(batch(&settings, vec![fact(1)])).await;
        assert!(matches!(broken, Err(CommitFault::Unavailable(_))), "{broken:?}");
        store.commit(batch(&settings, vec![fact(2)])).await.expect("committed");
        let facts = store.facts(&acme(), settings.id, 0, 10).await.expect("facts");
        assert_eq!(facts.iter().map(|f| f.refs["i"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(2)]);
        // Whoever got a new connection owns the database again.
        assert!(matches!(Store::open(ground.settings()), Err(StoreFault::Refused(_))));
    });
}

/// Runs the test `name` of this binary again as a process of its own, with `url` in its environment.
fn child(name: &str, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", name, "--nocapture"]).env("STORE_TEST_CHILD", url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn child_url() -> Option<String> {
    std::env::var("STORE_TEST_CHILD").ok()
}

fn open_child(url: String) -> Store {
    Store::open(StoreSettings { url, pool: 1, boot: 1 }).expect("the store opens")
}

/// The parent reads `acknowledged N` lines, kills the child in mid-write and looks for all of them.
async fn killed(ground: Ground, name: &str) {
    let settings = conversation("ann");
    let store = ground.open();
    store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])).await.expect("committed");
    store.close().await;
    let mut writing = child(name, &format!("{} {}", settings.id, ground.url)).spawn().expect("a child");
    let mut lines = BufReader::new(writing.stdout.take().expect("its output")).lines();
    let (mut acknowledged, mut seen) = (0_u64, 0);
    while let Some(Ok(line)) = lines.next() {
        if let Some(n) = line.strip_prefix("acknowledged ") {
            acknowledged = acknowledged.max(n.parse().expect("a number"));
            seen += 1;
            if seen == 300 {
                writing.kill().expect("killed");
            }
        }
    }
    writing.wait().expect("ended");
    assert!(seen >= 300, "the child ended by itself after {seen}");
    let store = ground.open();
    let mut numbers: Vec<u64> = Vec::new();
    loop {
        let after = numbers.last().copied().unwrap_or(0);
        let page = store.facts(&acme(), settings.id, after, 1000).await.expect("facts");
        if page.is_empty() {
            break;
        }
        numbers.extend(page.iter().map(|f| f.n));
    }
    let last = numbers.len() as u64;
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "no gaps");
    assert!(last >= acknowledged, "{acknowledged} were acknowledged, {last} are there");
}

/// Writes for ever, eight at a time, and says what was acknowledged.
fn write_until_killed(input: &str) {
    let (id, url) = input.split_once(' ').expect("an id and an address");
    let mut settings = conversation("ann");
    settings.id = ConversationId::parse(id).expect("an id");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = open_child(url.to_owned());
        for round in 0_u64.. {
            let waiting: Vec<_> = (0..8).map(|i| store.commit(batch(&settings, vec![fact(round * 8 + i)]))).collect();
            for (commit, n) in waiting.into_iter().zip(1..) {
                commit.await.expect("committed");
                println!("acknowledged {}", round * 8 + n);
            }
        }
    });
}

#[test]
fn a_kill_loses_nothing_acknowledged_on_sqlite() {
    match child_url() {
        Some(input) => write_until_killed(&input),
        None => run(Ground::sqlite(), |g| killed(g, "owner::a_kill_loses_nothing_acknowledged_on_sqlite")),
    }
}

#[test]
fn a_kill_loses_nothing_acknowledged_on_postgres() {
    match child_url() {
        Some(input) => write_until_killed(&input),
        None => run(Ground::postgres(), |g| killed(g, "owner::a_kill_loses_nothing_acknowledged_on_postgres")),
    }
}

/// A hub whose writer is gone must not live on.
#[test]
fn a_writer_that_panics_ends_the_process() {
    const NAME: &str = "owner::a_writer_that_panics_ends_the_process";
    if let Some(url) = child_url() {
        let store = open_child(url);
        store.set_commit_hook(Some(Arc::new(|point| assert!(point != CommitPoint::Before, "on purpose"))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let settings = conversation("ann");
        let answer = runtime.block_on(store.commit(batch(&settings, vec![Write::Conversation(settings.clone())])));
        println!("lived on with {answer:?}");
        return;
    }
    let ground = Ground::sqlite();
    let output = child(NAME, &ground.url).output().expect("a child");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{said} {complained}");
    assert!(complained.contains("the store's writer panicked"), "{complained}");
    assert!(!said.contains("lived on"), "{said}");
    ground.open();
}
