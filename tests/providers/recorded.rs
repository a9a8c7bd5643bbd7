//! The streams that Anthropic's own client is tested with mean here what they mean there.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use switchboard::domain::generation::{ProviderFault, StreamEvent};
use switchboard::providers::anthropic::MessageReader;
use switchboard::providers::session::Reader;
use switchboard::providers::sse::Parser;

fn recorded() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures/anthropic-2.11.0/tests");
    let mut files = Vec::new();
    let mut folders = vec![root.join("lib/streaming/fixtures"), root.join("fixtures")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|_| panic!("the recorded streams are missing: run tests/fixtures/fetch.sh first"));
        for path in entries.map(|entry| entry.expect("an entry of the folder").path()) {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("txt" | "sse") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

fn replay<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<StreamEvent>, Option<ProviderFault>) {
    let (mut parser, mut reader) = (Parser::new(1 << 20), MessageReader::new("p", None));
    let (mut events, mut out) = (VecDeque::new(), VecDeque::new());
    let mut result = Ok(());
    for chunk in chunks {
        parser.push(chunk, &mut events).expect("no event is too large");
        while let (Some(event), true) = (events.pop_front(), result.is_ok() && !reader.ended()) {
            result = reader.read(&event, &mut out);
        }
    }
    if result.is_ok() && !reader.ended() {
        result = reader.end(&mut out);
    }
    (out.into(), result.err())
}

/// FNV-1a: enough to see that a text changed, without keeping it here.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

fn summary(events: &[StreamEvent], fault: Option<&ProviderFault>) -> Value {
    let (mut counts, mut said, mut end, mut tokens) = (BTreeMap::new(), String::new(), "none", 0);
    for event in events {
        let kind = match event {
            StreamEvent::Text(text) => {
                said.push_str(text);
                "text"
            }
            StreamEvent::Thinking(text) | StreamEvent::Signature(text) => {
                said.push_str(text);
                "thinking"
            }
            StreamEvent::BlockEnd => "block_end",
            StreamEvent::ToolCall { name, input, .. } => {
                said.push_str(&format!("{name}{input}"));
                "tool_call"
            }
            StreamEvent::Usage(usage) => {
                tokens = usage.total();
                "usage"
            }
            StreamEvent::Ended(reason) => {
                end = reason.name();
                "ended"
            }
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    let fault = fault.map(|f| format!("{:?}", f.kind));
    json!({ "counts": counts, "end": end, "tokens": tokens, "said": fingerprint(&said), "fault": fault })
}

#[test]
fn all_are_understood_in_any_cut() {
    let files = recorded();
    assert_eq!(files.len(), 19, "the package had 19 streams");
    let mut summaries = BTreeMap::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("the stream can be read");
        let whole = replay(std::iter::once(&bytes[..]));
        for size in [1, 3, 100] {
            assert_eq!(replay(bytes.chunks(size)), whole, "{} in pieces of {size}", file.display());
        }
        let name = file.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned();
        assert_eq!(whole.1.is_some(), name == "tool_use_invalid_json_response", "{name}: {:?}", whole.1);
        summaries.insert(name, summary(&whole.0, whole.1.as_ref()));
    }
    insta::assert_json_snapshot!(summaries);
}

#[test]
fn cut_anywhere_before_its_end_an_answer_is_never_whole() {
    for file in recorded() {
        let bytes = std::fs::read(&file).expect("the stream can be read");
        // The stop reason makes it whole: what is before that is not.
        let Some(reason) = bytes.windows(13).position(|w| w == b"message_delta") else { continue };
        for length in (0..reason).step_by(7) {
            let (events, fault) = replay(std::iter::once(&bytes[..length]));
            assert!(fault.is_some(), "{} cut at {length}", file.display());
            assert!(!events.iter().any(|e| matches!(e, StreamEvent::Ended(_))));
        }
    }
}
