//! Who may import whom. The direction of the house stands in the table below; an import against it fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room by room, what it may import besides itself, in the words of `docs/ARCHITECTURE.md`.
const DIRECTION: &str = "
crates/protocol →
domain → error
framing →
doors → domain, framing, crates/protocol
transport → framing
fanout → domain, doors, framing, transport
providers → domain
tools → domain
skills → domain
store → domain
auth → store, domain
limits → domain
actors → domain, limits, doors, framing, transport, fanout, providers, tools, store, crates/protocol
http → domain, auth, limits, transport, tuning, doors, framing, crates/protocol
tuning → auth, store, domain
cli → app, auth, http, store, domain
app → all
";

/// What stands below those rooms, and what only some of them may have.
const BELOW: &str = "
error →
config → domain, error
telemetry → config
failpoint → store
";

/// May be imported by every room of the first table but `domain` and `framing`.
const BY_ALL: [&str; 3] = ["error", "config", "telemetry"];

/// Within `actors`, file by file: of the room's own list, and of each other.
const WITHIN_ACTORS: &str = "
actors → domain, fanout, providers, store, tools
actors::acting → actors, actors::hub, domain, tools
actors::agent → actors, actors::persona, actors::spending, domain, providers, tools
actors::conversation → actors, actors::agent, actors::registry, actors::persona, actors::spending, domain, failpoint, fanout, store, tools, transport
actors::registry → actors, actors::conversation, domain
actors::hub → actors, actors::conversation, actors::registry, actors::spending, actors::standing, domain, doors, failpoint, fanout, providers, store, tools, transport, crates/protocol
actors::connection → actors, actors::expiry, actors::standing, actors::underway, domain, doors, fanout, framing, limits, transport, crates/protocol
actors::socketio → actors::connection, actors::standing, actors::underway, domain, doors, fanout, framing, limits, transport, crates/protocol
actors::expiry → domain, transport
actors::standing → actors::expiry, domain, fanout, transport
actors::spending → actors, actors::conversation, domain, providers, store
actors::underway → domain
actors::persona → actors, domain
";

/// Crates that only these rooms may use: what is not listed may be used by all.
const OUTSIDE: &str = "
actix → actors, app
actix_codec → transport
actix_http → app, providers, transport
actix_rt → actors, app, auth, cli, fanout, transport
actix_server → transport
actix_service → transport
actix_web → app, auth, http, transport
argon2 → auth
awc → auth, providers, tools
diesel → store
diesel_migrations → store
metrics → actors, app, auth, fanout, http, limits, providers, store, telemetry
metrics_exporter_prometheus → http, telemetry
rmcp → tools
rustls → app, auth, cli, providers, tools, transport
tokio → actors, app, auth, cli, fanout, http, providers, store, telemetry, tools, transport, tuning
tokio_rustls → transport
tokio_util → actors, tools
";

type Rules<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn rules(table: &str) -> Rules<'_> {
    let row = |line| {
        let (room, may): (&str, &str) = str::split_once(line, " →").expect("a room and an arrow");
        (room, may.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    };
    table.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// All rows: those of `actors` by file, and what everybody may import written out.
fn direction() -> Rules<'static> {
    let mut all = rules(DIRECTION);
    all.extend(rules(BELOW));
    all.extend(rules(WITHIN_ACTORS));
    let below = rules(BELOW);
    for (room, may) in &mut all {
        if !["domain", "framing", "crates/protocol"].contains(room) && !below.contains_key(room) {
            may.extend(BY_ALL);
        }
    }
    all
}

/// The longest row that this path lies under.
fn room<'a>(rules: &Rules<'a>, path: &[String]) -> Option<&'a str> {
    (1..=path.len())
        .rev()
        .find_map(|length| rules.get_key_value(path[..length].join("::").as_str()).map(|(name, _)| *name))
}

/// The words of a source text without comments and literals: names, and single signs with `::` as one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if starts(at, "//") {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
        } else if starts(at, "/*") {
            at = after_comment(&chars, at);
        } else if let Some(end) = after_literal(&chars, at) {
            at = end;
        } else if c.is_alphanumeric() || c == '_' {
            let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            words.push(chars[at..at + length].iter().collect());
            at += length;
        } else if starts(at, "::") {
            words.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                words.push(c.to_string());
            }
            at += 1;
        }
    }
    words
}

/// Block comments nest.
fn after_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where the text or character that begins here ends; nothing where none begins (a lifetime is none).
fn after_literal(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|i| chars[i]);
    let within_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = chars[at..].iter().take_while(|c| matches!(c, 'b' | 'r' | 'c')).count();
    let hashes = chars[at + prefix..].iter().take_while(|c| **c == '#').count();
    let quote = at + prefix + hashes;
    if within_word || prefix > 2 {
        return None;
    }
    let raw = chars[at..at + prefix].contains(&'r');
    match chars.get(quote) {
        Some('"') if raw => {
            let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let rest: String = chars[quote + 1..].iter().collect();
            let found = rest.find(&end).map(|bytes| rest[..bytes].chars().count());
            Some(found.map_or(chars.len(), |count| quote + 1 + count + 1 + hashes))
        }
        Some('"') if hashes == 0 => {
            let mut end = quote + 1;
            while chars.get(end).is_some_and(|c| *c != '"') {
                end += if chars[end] == '\\' { 2 } else { 1 };
            }
            Some(end + 1)
        }
        Some('\'') if hashes == 0 && chars.get(quote + 1) == Some(&'\\') => {
            let end = chars[quote + 3..].iter().position(|c| *c == '\'')?;
            Some(quote + 3 + end + 1)
        }
        Some('\'') if hashes == 0 && chars.get(quote + 2) == Some(&'\'') => Some(quote + 3),
        _ => None,
    }
}

/// Every path that a text names, from the root of the crate: `crate`, `self` and `super` resolved, groups taken apart.
/// Paths of other crates begin with `::`.
fn paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let words = words(text);
    let (mut found, mut inline, mut depth) = (Vec::new(), Vec::<(usize, String)>::new(), 0);
    let mut at = 0;
    while at < words.len() {
        let word = words[at].as_str();
        match word {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(opened, _)| *opened > depth);
            }
            "mod" if words.get(at + 2).is_some_and(|w| w == "{") => inline.push((depth + 1, words[at + 1].clone())),
            _ if words.get(at + 1).is_some_and(|w| w == "::") && at.checked_sub(1).is_none_or(|b| words[b] != "::") => {
                let mut here: Vec<String> = module.to_vec();
                here.extend(inline.iter().map(|(_, name)| name.clone()));
                expand(&here, &words, &mut at, Vec::new(), &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path at `at`, with all branches of its groups, and moves behind it.
fn expand(here: &[String], words: &[String], at: &mut usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) {
    loop {
        match words.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while words.get(*at).is_some_and(|w| w != "}") {
                    match words[*at].as_str() {
                        "," => *at += 1,
                        _ => expand(here, words, at, path.clone(), found),
                    }
                }
                *at += 1;
                return;
            }
            Some("crate") if path.is_empty() => path.push("crate".to_owned()),
            Some("self") if path.is_empty() => path = [&["crate".to_owned()], here].concat(),
            Some("super") => {
                if path.is_empty() {
                    path = [&["crate".to_owned()], here].concat();
                }
                path.pop();
            }
            Some("self") | None => {}
            Some(word) if path.is_empty() => path = vec!["::".to_owned(), word.to_owned()],
            Some(word) => path.push(word.to_owned()),
        }
        *at += 1;
        if words.get(*at).is_none_or(|w| w != "::") {
            break;
        }
        *at += 1;
        // `Vec::<u8>` goes no further.
        if words.get(*at).is_some_and(|w| w == "<") {
            break;
        }
    }
    if words.get(*at).is_some_and(|w| w == "as") {
        *at += 2;
    }
    found.push(path);
}

/// What a text at `module` imports against the tables, as sentences.
fn breaches(module: &[String], text: &str) -> Vec<String> {
    let (direction, outside) = (direction(), rules(OUTSIDE));
    let Some(from) = room(&direction, module) else { return vec![format!("{} has no row", module.join("::"))] };
    let may = &direction[from];
    let top = from.split("::").next().unwrap_or(from);
    let mut wrong = Vec::new();
    for path in paths(module, text) {
        let named = path.join("::");
        match path.split_first() {
            Some((root, rest)) if root == "crate" => {
                let Some(to) = room(&direction, rest) else { continue };
                if to != from && !may.contains(&to) && !may.contains(&"all") {
                    wrong.push(format!("{from} may not import {to}: {named}"));
                }
            }
            Some((_, rest)) => {
                if rest.first().is_some_and(|name| name == "protocol")
                    && ![&"crates/protocol", &"all"].iter().any(|n| may.contains(n))
                {
                    wrong.push(format!("{from} may not import crates/protocol: {}", rest.join("::")));
                }
                let Some(users) = rest.first().and_then(|name| outside.get(name.as_str())) else { continue };
                if !users.contains(&top) {
                    wrong.push(format!("{from} may not use {}: {}", rest[0], rest.join("::")));
                }
            }
            None => {}
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The path of a file's module.
fn module(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source()).expect("under src").with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

fn of(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn every_import_goes_in_the_direction_of_the_house() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in all {
        let module = module(&file);
        // The map and the door of the program: they name the rooms.
        if [of("lib"), of("main")].contains(&module) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a text");
        seen += paths(&module, &text).iter().filter(|path| path[0] == "crate").count();
        wrong.extend(breaches(&module, &text).into_iter().map(|sentence| format!("{}: {sentence}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 500, "only {seen} paths were found: they are not read as they should be");
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let direction = direction();
    for room in direction.keys().filter(|room| **room != "crates/protocol") {
        let path = source().join(room.replace("::", "/"));
        assert!(path.is_dir() || path.with_extension("rs").is_file(), "there is no room {room}");
    }
    let known = |name: &&str| *name == "all" || direction.contains_key(*name);
    let unknown: Vec<&&str> = direction.values().flatten().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for (folder, within) in [(source(), ""), (source().join("actors"), "actors::")] {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let counts = path.is_dir() || path.extension().is_some_and(|e| e == "rs");
            let map = ["lib", "main", "mod"].contains(&name.as_str());
            let room = format!("{within}{name}");
            assert!(!counts || map || direction.contains_key(room.as_str()), "{room} has no row");
        }
    }
    // What a file of `actors` may, the room may.
    let room = &rules(DIRECTION)["actors"];
    for (file, may) in rules(WITHIN_ACTORS) {
        let outside = |name: &&str| !name.starts_with("actors") && *name != "failpoint" && !room.contains(name);
        let more: Vec<&str> = may.iter().copied().filter(|name| outside(name)).collect();
        assert!(more.is_empty(), "{file}: {more:?}");
    }
}

/// The names between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_document_says_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (_, section) = text.split_once("## Who may import whom\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut written = Rules::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').collect();
        let mut may = quoted(cells[2]);
        if cells[2].trim() == "all" {
            may.push("all");
        }
        may.sort_unstable();
        written.extend(quoted(cells[1]).into_iter().map(|room| (room, may.clone())));
    }
    let mut table = rules(DIRECTION);
    table.values_mut().for_each(|may| may.sort_unstable());
    assert_eq!(written, table);
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    let planted = [
        ("domain::turn", "use crate::store::Store;", "domain may not import store: crate::store::Store"),
        ("domain::turn", "use crate::{error::Fault, actors};", "domain may not import actors: crate::actors"),
        ("domain::turn", "fn f() { crate::http::routes() }", "domain may not import http: crate::http::routes"),
        ("domain::turn", "use super::super::fanout as f;", "domain may not import fanout: crate::fanout"),
        ("domain", "use super::doors::*;", "domain may not import doors: crate::doors::*"),
        ("domain::turn", "use tokio::sync::mpsc;", "domain may not use tokio: tokio::sync::mpsc"),
        ("doors::rpc", "pub(crate) use diesel::prelude::*;", "doors may not use diesel: diesel::prelude::*"),
        (
            "framing::plain",
            "fn f(x: &crate::domain::turn::Turn) {}",
            "framing may not import domain: crate::domain::turn::Turn",
        ),
        (
            "actors::agent",
            "use super::conversation::Ask;",
            "actors::agent may not import actors::conversation: crate::actors::conversation::Ask",
        ),
        (
            "actors::conversation::drive",
            "use crate::http::{self};",
            "actors::conversation may not import http: crate::http",
        ),
        (
            "actors::conversation::drive",
            "use super::super::hub::LocalHub;",
            "actors::conversation may not import actors::hub: crate::actors::hub::LocalHub",
        ),
        (
            "error",
            "mod tests { use super::*; use super::super::config::Config; }",
            "error may not import config: crate::config::Config",
        ),
        (
            "store::rows",
            "let x = '\"'; use crate::auth::Head; let y = \"\";",
            "store may not import auth: crate::auth::Head",
        ),
        ("nothing", "", "nothing has no row"),
    ];
    for (place, text, sentence) in planted {
        assert_eq!(breaches(&of(place), text), [sentence], "{place}: {text}");
    }
}

#[test]
fn what_is_allowed_or_no_import_is_no_breach() {
    let allowed = [
        ("domain::turn", "use crate::error::Fault; use super::ids::TurnId; use std::sync::Arc; use serde::Serialize;"),
        (
            "domain::turn",
            "// use crate::store::Store;\n/* crate::http /* crate::app */ */ const T: &str = \"crate::store::x\";",
        ),
        ("domain::turn", "const T: &str = r#\"use crate::store; \"quoted\" \"#; fn f<'a>(x: &'a str) {}"),
        ("domain::turn", "/// See [`crate::store::Store`].\nstruct S;"),
        ("error", "mod tests { use super::*; mod deeper { use super::super::Fault; } }"),
        ("app::settings", "use crate::{actors::Shared, store::Store, transport};"),
        ("actors::agent", "use super::with_kit; use crate::providers::EventStream;"),
        ("fanout::table", "use super::home::Home; fn f() { metrics::counter!(\"x\").increment(1) }"),
    ];
    for (place, text) in allowed {
        assert_eq!(breaches(&of(place), text), [] as [&str; 0], "{place}: {text}");
    }
}
