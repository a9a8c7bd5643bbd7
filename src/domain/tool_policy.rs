//! Who may let which tool do what: ordered policies of the configuration, judged on the exact arguments of a call.
//!
//! A pattern is held against one whole value of the arguments, never against several of them put together, so that no
//! argument can pretend to be another. What no policy names falls back to the tool's own setting, and what has none is
//! asked about.

use std::collections::BTreeMap;

use serde_json::Value;

use super::canonical;
use super::principal::Role;
use super::tool_call::ToolPolicy;

/// Which answers about a tool may be kept as rules: each allows what the one before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remembers {
    /// None. For tools whose arguments are a program: what was harmless once need not be so again.
    Never,
    /// For the very same arguments.
    Arguments,
    /// For all that the tool can do.
    Tool,
}

impl Remembers {
    pub const ALL: [Self; 3] = [Self::Never, Self::Arguments, Self::Tool];

    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Arguments => "arguments",
            Self::Tool => "tool",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == word)
    }
}

/// Names under which tools take a program, or what another program is to run.
const WRAPPED: [&str; 13] = [
    "argv",
    "bash",
    "cmd",
    "code",
    "command",
    "commands",
    "eval",
    "exec",
    "executable",
    "program",
    "script",
    "sh",
    "shell",
];

/// Whether a tool with this schema runs what it is given. Judged by the names of its arguments: too many are better
/// than one too few.
pub fn is_wrapper(schema: &Value) -> bool {
    let fields = schema.get("properties").and_then(Value::as_object);
    let wrapped = |name: &String| words(name).iter().any(|word| WRAPPED.contains(&word.as_str()));
    fields.is_some_and(|fields| fields.keys().any(wrapped))
}

/// The words of a name, in small letters: of `shell_command`, `shell-command` and `shellCommand` alike.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c.is_ascii_uppercase() || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    // What is all in capitals is one word.
    words.push(name.to_ascii_lowercase());
    words
}

/// A pattern for one whole text. `*` stands for letters, digits and signs but none that separates (`/ \ ? # @ : ;`, white
/// space and what else a parser may stop at), `**` for anything, `?` for one sign such as `*` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Exactly(char),
    One,
    Some,
    Anything,
}

/// What neither `*` nor `?` stands for.
fn separates(c: char) -> bool {
    c.is_whitespace() || canonical::is_hidden(c) || "/\\?#@:;&|`$<>(){}[]\"'%,!^~*".contains(c)
}

impl Glob {
    pub fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => Piece::Anything,
                '*' => Piece::Some,
                '?' => Piece::One,
                c => Piece::Exactly(c),
            });
        }
        Self(pieces)
    }

    /// Whether the whole text is as the pattern says.
    pub fn fits(&self, text: &str) -> bool {
        // Which pieces may come next, for each text so far: no pattern makes this slower than their product.
        let mut open = vec![false; self.0.len() + 1];
        open[0] = true;
        self.skip(&mut open);
        for c in text.chars() {
            let mut next = vec![false; open.len()];
            for (at, piece) in self.0.iter().enumerate().filter(|(at, _)| open[*at]) {
                match piece {
                    Piece::Exactly(own) if *own == c => next[at + 1] = true,
                    Piece::One if !separates(c) => next[at + 1] = true,
                    Piece::Some if !separates(c) => next[at] = true,
                    Piece::Anything => next[at] = true,
                    _ => {}
                }
            }
            self.skip(&mut next);
            open = next;
        }
        open[self.0.len()]
    }

    /// `*` and `**` may stand for nothing.
    fn skip(&self, open: &mut [bool]) {
        for (at, piece) in self.0.iter().enumerate() {
            if open[at] && matches!(piece, Piece::Some | Piece::Anything) {
                open[at + 1] = true;
            }
        }
    }

    fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Exactly(_)))
    }
}

/// Whether a text means what it looks like: no way up (`..`, also in `%2e`), nothing hidden. Only such a text is allowed
/// by a pattern that leaves something open.
fn is_plain(text: &str) -> bool {
    if text.chars().any(canonical::is_hidden) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    !lower.contains("%25") && !decoded.split(['/', '\\']).any(|step| step == "." || step == "..")
}

/// A pattern for one argument: where it stands, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Names and positions, as in `files.0.path`; `*` is every element of a list.
    path: Vec<String>,
    glob: Glob,
}

impl Pattern {
    /// `name=glob`, such as `url=https://example.org/**`.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((path, glob)) = text.split_once('=') else {
            return Err(format!("{text:?} is not NAME=PATTERN, such as url=https://example.org/**"));
        };
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("{text:?} names no argument"));
        }
        Ok(Self { path, glob: Glob::new(glob) })
    }

    /// Whether the argument is there and is so. Lists and objects are never so: their elements can be named.
    fn fits(&self, input: &Value, strictly: bool) -> bool {
        fn walk(pattern: &Pattern, path: &[String], value: &Value, strictly: bool) -> bool {
            let Some((step, rest)) = path.split_first() else { return pattern.fits_value(value, strictly) };
            match value {
                Value::Object(fields) => fields.get(step).is_some_and(|v| walk(pattern, rest, v, strictly)),
                Value::Array(items) if step == "*" => {
                    let each = |v| walk(pattern, rest, v, strictly);
                    // What must hold of every element to allow need only hold of one to forbid.
                    !items.is_empty() && if strictly { items.iter().all(each) } else { items.iter().any(each) }
                }
                Value::Array(items) => {
                    let at = step.parse::<usize>().ok().and_then(|at| items.get(at));
                    at.is_some_and(|v| walk(pattern, rest, v, strictly))
                }
                _ => false,
            }
        }
        walk(self, &self.path, input, strictly)
    }

    fn fits_value(&self, value: &Value, strictly: bool) -> bool {
        match value {
            Value::String(text) => self.glob.fits(text) && (!strictly || self.glob.is_literal() || is_plain(text)),
            Value::Array(_) | Value::Object(_) => false,
            plain => self.glob.fits(&plain.to_string()),
        }
    }

    /// Whether a value at this place is one that the pattern speaks of.
    fn names(&self, place: &[String]) -> bool {
        let same = |(own, other): (&String, &String)| {
            own == other || (own == "*" && !other.is_empty() && other.bytes().all(|b| b.is_ascii_digit()))
        };
        self.path.len() == place.len() && self.path.iter().zip(place).all(same)
    }
}

/// One of the configuration's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// As the configuration calls it.
    pub name: String,
    /// Of these three an empty list means all.
    pub tools: Vec<Glob>,
    pub agents: Vec<Glob>,
    /// Of whoever sent the message that began the turn.
    pub roles: Vec<Role>,
    /// All of them must hold. A policy that allows and has some holds only where each argument is named by one.
    pub arguments: Vec<Pattern>,
    pub policy: ToolPolicy,
}

/// A call, as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub tool: &'a str,
    pub agent: &'a str,
    /// Unknown after a restart: then no policy for roles allows, and all that forbid or ask hold.
    pub role: Option<Role>,
    pub input: &'a Value,
}

impl Policy {
    fn holds(&self, asked: &Asked) -> bool {
        let allows = self.policy == ToolPolicy::Allow;
        let among = |globs: &[Glob], name: &str| globs.is_empty() || globs.iter().any(|g| g.fits(name));
        let role = self.roles.is_empty() || asked.role.map_or(!allows, |role| self.roles.contains(&role));
        role && among(&self.tools, asked.tool)
            && among(&self.agents, asked.agent)
            && self.arguments.iter().all(|p| p.fits(asked.input, allows))
            && (!allows || self.arguments.is_empty() || self.names_all(asked.input, &mut Vec::new()))
    }

    fn names_all(&self, value: &Value, place: &mut Vec<String>) -> bool {
        match value {
            // An empty one within the arguments is a value that no pattern can speak of.
            Value::Object(fields) if !fields.is_empty() || place.is_empty() => {
                fields.iter().all(|(name, value)| self.names_within(name.clone(), value, place))
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().enumerate().all(|(at, value)| self.names_within(at.to_string(), value, place))
            }
            Value::Object(_) | Value::Array(_) => false,
            _ => self.arguments.iter().any(|pattern| pattern.names(place)),
        }
    }

    fn names_within(&self, step: String, value: &Value, place: &mut Vec<String>) -> bool {
        place.push(step);
        let named = self.names_all(value, place);
        place.pop();
        named
    }
}

/// What the configuration says about one tool. What is absent is as the tool itself has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolSetting {
    pub policy: Option<ToolPolicy>,
    /// Milliseconds without a sign of life.
    pub time_limit: Option<i64>,
    /// Bytes of its output that the model gets to read.
    pub output_bytes: Option<usize>,
    pub remembers: Option<Remembers>,
}

/// All policies, and what holds for tools one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolBook {
    /// In their order: the first that holds counts.
    pub policies: Vec<Policy>,
    pub tools: BTreeMap<String, ToolSetting>,
    /// Milliseconds without a sign of life, where a tool has no time of its own.
    pub time_limit: i64,
    /// Bytes, where a tool has no limit of its own.
    pub output_bytes: usize,
}

/// What holds for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling<'a> {
    pub policy: ToolPolicy,
    /// The policy that decided, where one did.
    pub by: Option<&'a str>,
}

impl ToolBook {
    fn setting(&self, tool: &str) -> Option<&ToolSetting> {
        self.tools.get(tool)
    }

    /// Without a look at arguments: as set, else as the tool has it.
    pub fn base(&self, tool: &str, own: ToolPolicy) -> ToolPolicy {
        self.setting(tool).and_then(|s| s.policy).unwrap_or(own)
    }

    /// `own` is what the tool says of itself.
    pub fn judge(&self, asked: &Asked, own: ToolPolicy) -> Ruling<'_> {
        match self.policies.iter().find(|policy| policy.holds(asked)) {
            Some(found) => Ruling { policy: found.policy, by: Some(&found.name) },
            None => Ruling { policy: self.base(asked.tool, own), by: None },
        }
    }

    /// Which answers may be kept: as set, else as the tool says. A wrapper's never are, whatever is set.
    pub fn remembers(&self, tool: &str, own: Remembers, schema: &Value) -> Remembers {
        if is_wrapper(schema) {
            return Remembers::Never;
        }
        self.setting(tool).and_then(|s| s.remembers).unwrap_or(own)
    }

    /// Milliseconds.
    pub fn time_limit(&self, tool: &str) -> i64 {
        self.setting(tool).and_then(|s| s.time_limit).unwrap_or(self.time_limit)
    }

    pub fn output_bytes(&self, tool: &str) -> usize {
        self.setting(tool).and_then(|s| s.output_bytes).unwrap_or(self.output_bytes)
    }
}

/// Cuts a tool's output to `most` bytes, and says so in it.
pub fn cut(mut output: String, most: usize) -> String {
    let whole = output.len();
    if whole <= most {
        return output;
    }
    output.truncate(output.floor_char_boundary(most));
    output.push_str(&format!("\n\n[cut off after {} of {whole} bytes]", output.len()));
    output
}

#[cfg(test)]
#[path = "tool_policy_tests.rs"]
mod tests;
