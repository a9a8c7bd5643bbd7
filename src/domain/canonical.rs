//! JSON in exactly one spelling, and characters that nobody would see: so that a human, a rule and a tool mean the same
//! arguments.

use std::fmt;
use std::fmt::Write as _;

use serde_json::Value;

/// SHA-256 of a tool's name and its canonical arguments: what an approval and a remembered answer are bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(tool: &str, input: &Value) -> Self {
        // A tool's name holds no line break, so no two pairs give the same text.
        let text = format!("{tool}\n{}", text(input));
        let made = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(made.as_ref());
        Self(bytes)
    }

    /// 64 lower-case hexadecimal digits, as [`fmt::Display`] writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 64 || !lower {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value as JSON without spaces, names in the order of their bytes, and everything [`is_hidden`] escaped: equal
/// values give equal texts, others never do, and what a reader sees is all there is.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            // Not the map's own order: whether that is sorted is decided elsewhere, by features of a crate.
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write_value(out, &fields[name]);
            }
            out.push('}');
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a character is not seen, or makes others be seen elsewhere, or looks like a plain space and is none.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}'
            | '\u{a0}' | '\u{1680}' | '\u{2800}' | '\u{3000}'
            | '\u{180b}'..='\u{180f}'
            // Spaces of all widths, joiners, marks of direction, separators, embeddings and overrides.
            | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            // Tags and further variation selectors.
            | '\u{e0000}'..='\u{e0fff}')
}

/// A sentence for a human in which nothing hides, whole: hidden characters stand there as `\u{202e}`.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// What a reader of these arguments could miss, one line for each place; empty where there is nothing.
pub fn oddities(input: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(input, "", &mut found);
    found
}

fn look(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(text) => odd_text(text, path, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                look(item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = if path.is_empty() { shown(name) } else { format!("{path}.{}", shown(name)) };
                if name.chars().any(is_hidden) {
                    found.push(format!("the name {inner} holds characters that are not seen"));
                }
                look(value, &inner, found);
            }
        }
        _ => {}
    }
}

fn odd_text(text: &str, path: &str, found: &mut Vec<String>) {
    let place = if path.is_empty() { "the input" } else { path };
    // Line breaks are part of many honest texts, and are seen.
    let hidden = |c: &char| is_hidden(*c) && !matches!(c, '\n' | '\r' | '\t');
    let mut kinds: Vec<String> = text.chars().filter(hidden).map(|c| format!("U+{:04X}", u32::from(c))).collect();
    kinds.sort();
    kinds.dedup();
    if !kinds.is_empty() {
        found.push(format!("{place} holds characters that are not seen: {}", kinds.join(", ")));
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        found.push(format!("{place} begins or ends with white space"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn one_value_has_one_spelling() {
        let one = parsed(r#"{"b": [1, 2.50, null], "a": {"y": true, "x": "ä"}}"#);
        let other = parsed("{\"a\":{\"x\":\"\\u00e4\",\"y\":true},\n\"b\":[1,2.5,null]}");
        assert_eq!(text(&one), r#"{"a":{"x":"ä","y":true},"b":[1,2.5,null]}"#);
        assert_eq!(text(&one), text(&other));
        assert_eq!(Digest::of("t", &one), Digest::of("t", &other));
        assert_ne!(Digest::of("t", &one), Digest::of("u", &one));
        assert_eq!(Digest::parse(&Digest::of("t", &one).to_string()), Some(Digest::of("t", &one)));
        assert_eq!(Digest::parse(&Digest::of("t", &one).to_string().to_uppercase()), None);
    }

    #[test]
    fn what_looks_alike_is_not_the_same() {
        for (a, b) in [
            (json!({"argv": ["rm"]}), json!({"argv": ["rm "]})),
            (json!({"argv": ["a b"]}), json!({"argv": ["a", "b"]})),
            (json!({"argv": ["a\u{200b}b"]}), json!({"argv": ["ab"]})),
            (json!({"n": 1}), json!({"n": "1"})),
            (json!({"n": null}), json!({})),
            (json!({"p": "\u{e9}"}), json!({"p": "e\u{301}"})),
        ] {
            assert_ne!(text(&a), text(&b));
            assert_ne!(Digest::of("t", &a), Digest::of("t", &b));
        }
    }

    #[test]
    fn nothing_hides_in_what_is_shown() {
        let trick = "open \u{202e}gpj.exe\u{2066}\u{200b}\u{feff}\u{e0041} a\nb";
        let seen = shown(trick);
        assert_eq!(seen, "open \\u{202e}gpj.exe\\u{2066}\\u{200b}\\u{feff}\\u{e0041} a\\nb");
        let whole = text(&json!({ "x": trick }));
        assert_eq!(whole, r#"{"x":"open \u202egpj.exe\u2066\u200b\ufeff\udb40\udc41 a\nb"}"#);
        assert_eq!(parsed(&whole)["x"], trick, "the escapes say exactly what is there");
    }

    #[test]
    fn a_reader_is_told_what_could_be_missed() {
        let odd = oddities(&json!({"argv": ["ls", "-l "], "cwd": "/tmp\u{202e}", "text": "two\nlines"}));
        assert_eq!(odd, ["argv[1] begins or ends with white space", "cwd holds characters that are not seen: U+202E"]);
        assert_eq!(oddities(&json!({"url": "https://example.org/", "n": 1})), Vec::<String>::new());
        assert_eq!(oddities(&json!({"a\u{200b}": 1})), ["the name a\\u{200b} holds characters that are not seen"]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|m| m.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_spelling_says_the_value_and_nothing_in_it_hides(value in any_json()) {
            let spelled = text(&value);
            prop_assert_eq!(parsed(&spelled), value);
            prop_assert!(!spelled.chars().any(is_hidden));
        }
    }
}
