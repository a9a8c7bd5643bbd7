//! The README's walk with curl works as it stands.

use std::process::Command;

use crate::support::{Hub, HubOptions, run};

/// The shell blocks under this heading, one after the other.
fn blocks(text: &str, heading: &str) -> String {
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading is there");
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().expect("a block")).collect()
}

#[test]
fn every_command_of_the_readme_is_answered_well() {
    run(async {
        let hub = Hub::start(HubOptions::default());
        let readme = include_str!("../../README.md");
        let walk = blocks(readme, "A walk with curl")
            .replace("http://127.0.0.1:4096", &format!("http://{}", hub.address))
            .replace("./target/release/switchboard", env!("CARGO_BIN_EXE_switchboard"))
            .replace("--data data", &format!("--data {}", hub.folder().display()));
        assert!(walk.matches("$HUB").count() > 30, "the walk is longer than this: {walk}");
        let done = tokio::task::spawn_blocking(move || {
            Command::new("bash").args(["-euxo", "pipefail", "-c", &walk]).output().expect("bash runs")
        });
        let done = done.await.expect("it ends");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{err}\n{out}");
    });
}
