//! The files in the repository are the ones that the types give.

use std::{env, fs};

use switchboard_protocol::describe;

use crate::root;

/// Compares, or with `UPDATE=1` writes.
fn check(path: &str, fresh: &str) {
    let file = root().join(path);
    if env::var_os("UPDATE").is_some_and(|v| v == "1") {
        fs::create_dir_all(file.parent().expect("a path below the root")).expect("the folder can be made");
        fs::write(&file, fresh).expect("the file can be written");
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept == fresh {
        return;
    }
    let line = kept.lines().zip(fresh.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| kept.lines().count().min(fresh.lines().count())) + 1;
    panic!(
        "{path} is not what the types say (from line {line} on): run `UPDATE=1 cargo nextest run -p switchboard-protocol --features describe` and commit"
    );
}

#[test]
fn the_schema_in_the_repository_is_the_types_schema() {
    let text = serde_json::to_string_pretty(&describe::json_schema()).expect("a schema is JSON");
    check("schema/protocol.schema.json", &(text + "\n"));
}

#[test]
fn the_typescript_in_the_repository_is_the_types_typescript() {
    check("web/client/src/protocol.ts", &describe::typescript());
}
