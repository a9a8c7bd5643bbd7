//! The front matter of a `SKILL.md`: as much of YAML as the Agent Skills format uses. Fields are texts, one section below
//! another, and lists are passed over; whatever is neither is refused with its line.

use std::collections::BTreeMap;

/// Fields by their names, those of a section as `metadata.scope`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FrontMatter(BTreeMap<String, String>);

/// A line of the front matter: its number in the file, how far it is set in, and what it says.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

impl FrontMatter {
    /// The front matter of a file, and what stands below it.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn split(file: &str) -> Result<(Self, &str), String> {
        let file = file.trim_start_matches('\u{feff}');
        let mut lines = Vec::new();
        let mut at = 0;
        for (number, whole) in file.split_inclusive('\n').enumerate() {
            at += whole.len();
            let text = whole.trim_end();
            match (number, text) {
                (0, "---") => {}
                (0, _) => return Err("does not begin with ---".to_owned()),
                (_, "---" | "...") => return Ok((Self::read(&lines)?, &file[at..])),
                _ if text.contains('\t') && text.trim_start().len() < text.len() && text.starts_with('\t') => {
                    return Err(format!("line {}: is set in with a tab", number + 1));
                }
                _ => lines.push(Line {
                    number: number + 1,
                    indent: text.len() - text.trim_start().len(),
                    text: text.trim_start(),
                }),
            }
        }
        Err("the front matter has no end: a line ---".to_owned())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn read(lines: &[Line<'_>]) -> Result<Self, String> {
        let mut all = Self::default();
        let (mut at, mut section) = (0, String::new());
        while let Some(line) = lines.get(at) {
            at += 1;
            if line.text.is_empty() || line.text.starts_with('#') {
                continue;
            }
            let said = |why: &str| format!("line {}: {why}", line.number);
            let wrong = |why: &str| Err(said(why));
            let Some((key, rest)) = key_of(line.text) else { return wrong("expected is a field such as name: value") };
            if line.indent == 0 {
                section.clear();
            } else if section.is_empty() {
                return wrong("is set in below a field that has a value");
            }
            let name = if line.indent == 0 { key.to_owned() } else { format!("{section}.{key}") };
            let below = lines[at..].iter().take_while(|l| l.text.is_empty() || l.indent > line.indent).count();
            let value = match rest {
                block if block.starts_with(['|', '>']) => {
                    let text = folded(&lines[at..at + below], block);
                    at += below;
                    text
                }
                "" if lines[at..].iter().find(|l| !l.text.is_empty()).is_some_and(|l| l.text.starts_with("- ")) => {
                    // A list, which no field that is read here has.
                    at += lines[at..].iter().take_while(|l| l.text.is_empty() || l.text.starts_with('-')).count();
                    continue;
                }
                "" if line.indent == 0 => {
                    section = key.to_owned();
                    continue;
                }
                list if list.starts_with(['[', '{']) => continue,
                text => {
                    let mut text = scalar(text).map_err(|why| said(&why))?;
                    // A text without quotes may go on in lines that are set in.
                    for more in &lines[at..at + below] {
                        if !more.text.is_empty() {
                            text = format!("{text} {}", more.text);
                        }
                    }
                    at += below;
                    text
                }
            };
            if all.0.insert(name.clone(), value).is_some() {
                return wrong(&format!("{name} stands there twice"));
            }
        }
        Ok(all)
    }
}

fn key_of(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = text.split_once(':')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let known = !key.is_empty() && key.bytes().all(fits) && (rest.is_empty() || rest.starts_with(' '));
    known.then(|| (key, rest.trim()))
}

/// A text in one line, with or without quotes; a comment behind it is left out.
fn scalar(text: &str) -> Result<String, String> {
    if let Some(rest) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("a quote is not closed")?.0;
        // Its escapes are those of JSON, as far as such a text has any.
        return serde_json::from_str(&text[..end + 2]).map_err(|_| "a quoted text cannot be read".to_owned());
    }
    if let Some(rest) = text.strip_prefix('\'') {
        let end = rest.rfind('\'').ok_or("a quote is not closed")?;
        return Ok(rest[..end].replace("''", "'"));
    }
    if text.starts_with(['&', '*', '!', '%', '@', '`']) {
        return Err("begins with a sign that means something else in YAML: put it into quotes".to_owned());
    }
    Ok(text.split(" #").next().unwrap_or(text).trim_end().to_owned())
}

/// A block of lines: `|` keeps their ends, `>` makes them spaces.
fn folded(lines: &[Line<'_>], sign: &str) -> String {
    let inner = lines.iter().filter(|line| !line.text.is_empty()).map(|line| line.indent).min().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let set_in = " ".repeat(line.indent.saturating_sub(inner));
        match (sign.starts_with('|'), line.text.is_empty()) {
            (true, _) => text.push_str(&format!("{set_in}{}\n", line.text)),
            (false, true) => text.push('\n'),
            (false, false) => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push(' ');
                }
                text.push_str(line.text);
            }
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(front: &str) -> Result<FrontMatter, String> {
        FrontMatter::split(&format!("---\n{front}\n---\nbody")).map(|(front, body)| {
            assert_eq!(body, "body");
            front
        })
    }

    #[test]
    fn what_such_files_hold_is_read() {
        let front = read(
            "# a comment\nname: pdf-tools\ndescription: Reads: forms, and more # really\nlicense: \"MIT \\\"x\\\"\"\n\
             quote: 'it''s'\n\nallowed-tools:\n  - Read\n  - Write\nother: [a, b]\nmetadata:\n  author: acme\n  \
             version: \"1.0\"\nlong: >\n  one\n  two\n\n  three\nkept: |\n  one\n    two\nplain: one\n  two\n",
        )
        .expect("read");
        for (name, value) in [
            ("name", "pdf-tools"),
            ("description", "Reads: forms, and more"),
            ("license", "MIT \"x\""),
            ("quote", "it's"),
            ("metadata.author", "acme"),
            ("metadata.version", "1.0"),
            ("long", "one two\nthree"),
            ("kept", "one\n  two"),
            ("plain", "one two"),
        ] {
            assert_eq!(front.get(name), Some(value), "{name}");
        }
        assert_eq!(front.get("allowed-tools"), None);
    }

    #[test]
    fn what_is_no_field_is_refused_with_its_line() {
        for (front, line) in [
            ("just words", "line 2"),
            ("name: a\n  b: c", ""),
            ("name: \"a", "line 2"),
            ("name: a\nname: b", "line 3"),
            ("name: *a", "line 2"),
            ("\tname: a", "line 2"),
        ] {
            match read(front) {
                Err(why) => assert!(why.contains(line), "{front:?}: {why}"),
                // A line that is set in goes on with the text above it, as YAML has it.
                Ok(front) => assert_eq!(front.get("name"), Some("a b: c")),
            }
        }
        for file in ["", "name: a", "---\nname: a\n"] {
            assert!(FrontMatter::split(file).is_err(), "{file:?}");
        }
    }
}
