//! What the README and the documents tell the reader to type works as it stands.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Client, Hub, HubOptions, run};

/// What is said of it that these tests start, in place of the usual address.
const USUAL: &str = "127.0.0.1:4096";

/// The blocks of that language, one after the other; `heading`: only those under it.
fn blocks(text: &str, language: &str, heading: Option<&str>) -> String {
    let sections = text.split("\n## ").filter(|section| heading.is_none_or(|heading| section.starts_with(heading)));
    let fence = format!("```{language}\n");
    let found = sections.flat_map(|section| {
        let blocks = section.split(&*fence).skip(1);
        blocks.map(|block| block.split("```").next().expect("a block").to_owned()).collect::<Vec<_>>()
    });
    found.collect()
}

/// A folder as the reader has it: the program where it was built and on the path, and the hub's data.
fn desk(hub: &Hub) -> tempfile::TempDir {
    let desk = tempfile::tempdir().expect("a folder");
    let link = |to: &Path, name: &str| {
        let name = desk.path().join(name);
        std::fs::create_dir_all(name.parent().expect("a folder")).expect("it is made");
        std::os::unix::fs::symlink(to, name).expect("it is linked");
    };
    let program = Path::new(env!("CARGO_BIN_EXE_switchboard"));
    link(program, "bin/switchboard");
    link(program, "target/release/switchboard");
    link(&hub.folder(), "data");
    desk
}

/// Types all of it at that desk, and stops at the first command that fails.
async fn typed(desk: &Path, hub: &Hub, script: &str) -> Output {
    let script = script.replace(USUAL, &hub.address);
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["-euxo", "pipefail", "-c", &script]).current_dir(desk);
    bash.env("PATH", format!("{}:{path}", desk.join("bin").display()));
    tokio::task::spawn_blocking(move || bash.output().expect("bash runs")).await.expect("it ends")
}

/// Walks through them all; how often the hub was asked.
async fn walk(hub: &Hub, script: &str) -> usize {
    assert!(script.contains(USUAL) && !script.contains("_…"), "it can be typed as it stands: {script}");
    let done = typed(desk(hub).path(), hub, script).await;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{err}\n{out}");
    script.matches("$HUB/").count()
}

#[test]
fn every_command_of_the_readme_is_answered_well() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let script = blocks(include_str!("../../README.md"), "sh", Some("A walk with curl"));
        assert!(walk(&hub, &script).await > 30, "the walk is longer than this: {script}");
    });
}

#[test]
fn every_command_of_the_rest_document_is_answered_well() {
    run(async {
        // No variable has a setting that the walk changes.
        let hub = Hub::start(HubOptions::default().limited());
        let script = blocks(include_str!("../../docs/REST.md"), "sh", None);
        assert!(walk(&hub, &script).await > 15, "the walk is longer than this: {script}");
    });
}

#[test]
fn every_command_of_the_administration_document_is_answered_well() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        // Somebody whose connection is seen and closed.
        let ann = hub.token("ann", "default", "member");
        let mut client = Client::connect(&hub.address, &ann).await;
        let script = blocks(include_str!("../../docs/ADMIN.md"), "sh", None);
        assert!(walk(&hub, &script).await > 20, "the walk is longer than this: {script}");
        assert_eq!(client.until_closed().await, 4403);
    });
}

/// The first program, with the Node that is here: 20 at least.
#[test]
fn the_first_program_of_the_readme_says_what_the_agent_says() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let readme = include_str!("../../README.md");
        let desk = desk(&hub);
        let program = blocks(readme, "js", None).replace(USUAL, &hub.address);
        std::fs::write(desk.path().join("first.mjs"), program).expect("it is written");
        let command = readme.split('`').find(|text| text.starts_with("node ") && text.contains("first.mjs"));
        let token = "TOKEN=$(switchboard token --user alice --data data)";
        let script = format!("{token}\n{}", command.expect("the command is there"));
        let done = typed(desk.path(), &hub, &script).await;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && out.contains("The tool answered"), "{err}\n{out}");
    });
}
