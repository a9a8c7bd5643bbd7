//! Slash commands: which there are, how a line of one is read, and what each word of it may be.
//!
//! A command is carried out where a client says so (`commands.execute`); a message that begins with a slash is a message.

use super::generation::ThinkingLevel;
use crate::error::Fault;

/// The longest line, in bytes.
const LINE: usize = 64 << 10;
/// Where the arguments of a configured command go.
pub const ARGS: &str = "{{args}}";

/// Whose business a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// For all who may change the conversation.
    Core,
    /// The same; it is about the agent and its turns.
    Agent,
    /// From configuration: it sends a prompt.
    Template,
    /// For administrators of the hub.
    Admin,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Agent => "agent",
            Self::Template => "template",
            Self::Admin => "admin",
        }
    }
}

/// An argument, with what it may be where that is known: clients complete from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgInfo {
    pub name: String,
    pub optional: bool,
    /// Empty: any text.
    pub values: Vec<String>,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandInfo {
    /// Without the slash.
    pub name: String,
    pub description: String,
    pub aliases: Vec<String>,
    pub args: Vec<ArgInfo>,
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandManifest {
    pub commands: Vec<CommandInfo>,
    /// The same for the same commands: a client that knows it has nothing to do.
    pub version: u64,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandResult {
    pub command: String,
    pub success: bool,
    /// For a human.
    pub message: String,
    /// For a program.
    pub data: Option<serde_json::Value>,
}

/// A command from configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    pub description: String,
    pub aliases: Vec<String>,
    /// What is sent; [`ARGS`] in it is replaced by the arguments, and where it is missing they follow.
    pub prompt: String,
}

impl Template {
    pub fn filled(&self, args: &str) -> String {
        match self.prompt.contains(ARGS) {
            true => self.prompt.replace(ARGS, args),
            false if args.is_empty() => self.prompt.clone(),
            false => format!("{}\n\n{args}", self.prompt),
        }
    }
}

/// The commands that every hub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    Model,
    Thinking,
    Agent,
    Stop,
    Abort,
    Retry,
    Clear,
    Compact,
    Todo,
    Status,
    Usage,
    Help,
    Reload,
}

struct Row {
    builtin: Builtin,
    name: &'static str,
    aliases: &'static [&'static str],
    scope: Scope,
    description: &'static str,
    /// Name, whether it may be left out, and what it says.
    args: &'static [(&'static str, bool, &'static str)],
}

/// The table of commands.
const ROWS: [Row; 13] = {
    const fn row(
        (builtin, name): (Builtin, &'static str),
        aliases: &'static [&'static str],
        scope: Scope,
        description: &'static str,
        args: &'static [(&'static str, bool, &'static str)],
    ) -> Row {
        Row { builtin, name, aliases, scope, description, args }
    }
    use Builtin::*;
    use Scope::{Admin, Agent as OfAgent, Core};
    [
        row(
            (Model, "model"),
            &["m"],
            OfAgent,
            "Show the model, choose one, or `clear` the choice so that routing decides",
            &[("model", true, "a model, with its provider or without, or `clear`")],
        ),
        row(
            (Thinking, "thinking"),
            &["t"],
            OfAgent,
            "Show or set how hard the model thinks",
            &[("level", true, "a level that the model has")],
        ),
        row((Agent, "agent"), &["a"], OfAgent, "Show or choose the agent", &[("agent", true, "an agent's name")]),
        row((Stop, "stop"), &[], OfAgent, "Stop the turn that runs; what was said is kept", &[]),
        row((Abort, "abort"), &[], OfAgent, "Stop the turn that runs and its tools", &[]),
        row((Retry, "retry"), &["r"], OfAgent, "Answer the newest message once more", &[]),
        row(
            (Clear, "clear"),
            &["new", "n"],
            Core,
            "Begin a new context: the model forgets what was said before, which stays stored",
            &[],
        ),
        row((Compact, "compact"), &[], Core, "Put a summary in the place of what was said before", &[]),
        row(
            (Todo, "todo"),
            &["todos"],
            Core,
            "Show the todos, or `add TEXT`, `start ID`, `done ID`, `remove ID`, `clear`",
            &[("action", true, "what to do"), ("text", true, "a todo's text or its id")],
        ),
        row((Status, "status"), &["s"], Core, "Show who answers, and how full the context is", &[]),
        row(
            (Usage, "usage"),
            &["cost"],
            Core,
            "Show what you have used",
            &[("period", true, "the last day, week or month")],
        ),
        row((Help, "help"), &["h", "?"], Core, "Show the commands", &[("command", true, "a command's name")]),
        row((Reload, "reload"), &[], Admin, "Read the hub's configuration once more", &[]),
    ]
};

/// A line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In lower case, without the slash.
    pub name: String,
    /// The words of a command that every hub has; quotes hold a word together.
    pub words: Vec<String>,
    /// All behind the name, as it stands.
    pub rest: String,
}

impl Line {
    /// Reads `command` and what belongs to it: `/model gpt-5`, or `model` with `gpt-5` apart.
    ///
    /// # Errors
    /// `bad_request` naming the field: no name, a quote without its end, too long.
    pub fn read(command: &str, args: Option<&str>) -> Result<Self, Fault> {
        if command.len() + args.map_or(0, str::len) > LINE {
            return Err(Fault::field("args", format!("at most {LINE} bytes")));
        }
        let command = command.trim();
        let command = command.strip_prefix('/').unwrap_or(command);
        let (name, first) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let fits = |c: char| c.is_alphanumeric() || "_-?".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(Fault::field("command", "a name such as /model"));
        }
        let rest = [first.trim(), args.unwrap_or_default().trim()];
        let rest = rest.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
        let mut line = Self { name: name.to_lowercase(), words: Vec::new(), rest };
        // What a configured command takes is text, whatever quotes stand in it.
        if line.builtin().is_some() {
            line.words = words(&line.rest)?;
        }
        Ok(line)
    }

    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(String::as_str)
    }

    /// The words from there on, with single spaces.
    pub fn from(&self, index: usize) -> String {
        self.words.get(index..).unwrap_or_default().join(" ")
    }

    pub fn builtin(&self) -> Option<Builtin> {
        let row = ROWS.iter().find(|row| row.name == self.name || row.aliases.contains(&self.name.as_str()));
        row.map(|row| row.builtin)
    }

    pub fn template<'a>(&self, templates: &'a [Template]) -> Option<&'a Template> {
        templates.iter().find(|one| one.name == self.name || one.aliases.contains(&self.name))
    }
}

/// Cuts a line into words. Single and double quotes hold spaces; a backslash takes the next character as it is, but not
/// within single quotes.
fn words(line: &str) -> Result<Vec<String>, Fault> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            // Within a word it is an apostrophe.
            (None, '\'') if word.is_none() => {
                quote = Some(letter);
                word = Some(String::new());
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(letters.next().unwrap_or('\\')),
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(Fault::field("args", "a quote has no end"));
    }
    words.extend(word);
    Ok(words)
}

/// Whether the command may make the hub ask a model: then it counts like a message.
pub fn asks_model(command: &str, args: Option<&str>) -> bool {
    let builtin = Line::read(command, args).ok().map(|line| line.builtin());
    // A line that cannot be read does nothing; a name that is not in the table may be a template.
    matches!(builtin, Some(None | Some(Builtin::Retry | Builtin::Compact)))
}

/// Whether a command of every hub has that name or alias.
pub fn is_taken(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name || row.aliases.contains(&name))
}

impl Builtin {
    pub fn name(self) -> &'static str {
        ROWS.iter().find(|row| row.builtin == self).map_or("", |row| row.name)
    }
}

/// What arguments may be at the moment.
#[derive(Debug, Clone, Default)]
pub struct Completions {
    pub models: Vec<String>,
    pub agents: Vec<String>,
}

impl Completions {
    fn of(&self, builtin: Builtin, arg: usize) -> Vec<String> {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        match (builtin, arg) {
            (Builtin::Model, 0) => self.models.iter().cloned().chain(Some("clear".to_owned())).collect(),
            (Builtin::Agent, 0) => self.agents.clone(),
            (Builtin::Thinking, 0) => words(&ThinkingLevel::ALL.map(ThinkingLevel::name)),
            (Builtin::Todo, 0) => words(&["add", "start", "done", "remove", "clear"]),
            (Builtin::Usage, 0) => words(&["day", "week", "month"]),
            (Builtin::Help, 0) => ROWS.iter().map(|row| row.name.to_owned()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The commands for somebody; those of the administration only where `admin`.
pub fn manifest(templates: &[Template], known: &Completions, admin: bool) -> CommandManifest {
    let builtin = |row: &Row| CommandInfo {
        name: row.name.to_owned(),
        description: row.description.to_owned(),
        aliases: row.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        args: row.args.iter().enumerate().map(|(index, arg)| arg_info(known.of(row.builtin, index), arg)).collect(),
        scope: row.scope,
    };
    let template = |template: &Template| CommandInfo {
        name: template.name.clone(),
        description: template.description.clone(),
        aliases: template.aliases.clone(),
        args: vec![arg_info(Vec::new(), &("args", true, "what the prompt is about"))],
        scope: Scope::Template,
    };
    let shown = ROWS.iter().filter(|row| admin || row.scope != Scope::Admin);
    let commands: Vec<CommandInfo> = shown.map(builtin).chain(templates.iter().map(template)).collect();
    let version = version(&commands);
    CommandManifest { commands, version }
}

fn arg_info(values: Vec<String>, (name, optional, description): &(&str, bool, &str)) -> ArgInfo {
    ArgInfo { name: (*name).to_owned(), optional: *optional, values, description: (*description).to_owned() }
}

/// 48 bits: a whole number in every language. FNV-1a, so that a restart changes nothing.
fn version(commands: &[CommandInfo]) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{commands:?}").bytes().fold(0xcbf2_9ce4_8422_2325, hash) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Line {
        Line::read(line, None).expect("a line")
    }

    #[test]
    fn a_line_is_a_name_and_words() {
        assert_eq!(
            read("/model gpt-5"),
            Line { name: "model".into(), words: vec!["gpt-5".into()], rest: "gpt-5".into() }
        );
        assert_eq!(read("  /Model   gpt-5  "), read("model gpt-5"));
        assert_eq!(Line::read("/model", Some(" gpt-5 ")), Ok(read("model gpt-5")));
        assert_eq!(Line::read("todo add", Some("milk")).map(|line| line.words), Ok(vec!["add".into(), "milk".into()]));
        assert_eq!(read("/stop").words, Vec::<String>::new());
        assert_eq!(read("/?").builtin(), Some(Builtin::Help));
    }

    #[test]
    fn quotes_hold_words_together() {
        let cases: [(&str, &[&str]); 7] = [
            (r#"add "two words" more"#, &["add", "two words", "more"]),
            (r"add 'a \ b' c", &["add", r"a \ b", "c"]),
            (r#"say "a \" b""#, &["say", r#"a " b"#]),
            (r"a\ b c", &["a b", "c"]),
            ("don't stop", &["don't", "stop"]),
            (r#""" x"#, &["", "x"]),
            (r"end\", &["end\\"]),
        ];
        for (line, wanted) in cases {
            assert_eq!(words(line).expect("words"), wanted, "{line}");
        }
        for broken in ["say \"never ends", "'open"] {
            assert_eq!(Line::read("todo", Some(broken)).expect_err("refused").message, "args: a quote has no end");
        }
    }

    #[test]
    fn what_has_no_name_is_refused() {
        for broken in ["", "/", " / model", "/../x", "/mo\0del", "//model", &"x".repeat(65)] {
            assert!(Line::read(broken, None).expect_err("refused").message.starts_with("command: "), "{broken:?}");
        }
        assert!(Line::read("model", Some(&"x".repeat(LINE))).is_err());
    }

    #[test]
    fn every_name_and_alias_is_one_commands_alone() {
        let mut seen = std::collections::BTreeSet::new();
        for row in &ROWS {
            for name in std::iter::once(&row.name).chain(row.aliases) {
                assert!(seen.insert(*name), "{name}");
                assert_eq!(read(name).builtin(), Some(row.builtin));
                assert!(is_taken(name));
            }
        }
        // There is no command that answers a question: a word in a chat never does.
        for word in ["approve", "reject", "allow", "yes"] {
            assert_eq!(read(word).builtin(), None);
        }
    }

    #[test]
    fn the_manifest_shows_what_one_may_use() {
        let templates = [Template {
            name: "review".into(),
            description: "d".into(),
            aliases: vec!["rv".into()],
            prompt: "p".into(),
        }];
        let known = Completions { models: vec!["demo/demo".into()], agents: vec!["assistant".into()] };
        let of = |admin| manifest(&templates, &known, admin);
        let names = |manifest: &CommandManifest| -> Vec<String> {
            manifest.commands.iter().map(|command| command.name.clone()).collect()
        };
        assert!(!names(&of(false)).contains(&"reload".to_owned()) && names(&of(true)).contains(&"reload".to_owned()));
        assert_eq!(names(&of(false)).last().map(String::as_str), Some("review"));
        let all = of(false);
        let args = |name: &str| &all.commands.iter().find(|c| c.name == name).expect("there").args;
        assert_eq!(args("model")[0].values, ["demo/demo", "clear"]);
        assert_eq!(args("thinking")[0].values.len(), 6);
        assert!(args("stop").is_empty());
        assert_eq!(all.version, of(false).version);
        assert_ne!(all.version, manifest(&[], &known, false).version);
        assert!(all.version < 1 << 48);
        assert_eq!(read("rv x").template(&templates).map(|t| t.name.as_str()), Some("review"));
    }

    #[test]
    fn a_template_takes_its_arguments() {
        let template = |prompt: &str| Template {
            name: "t".into(),
            description: String::new(),
            aliases: Vec::new(),
            prompt: prompt.into(),
        };
        assert_eq!(template("look at {{args}}, {{args}}!").filled("x {{args}}"), "look at x {{args}}, x {{args}}!");
        assert_eq!(template("look").filled(""), "look");
        assert_eq!(template("look").filled("there"), "look\n\nthere");
    }

    #[test]
    fn what_asks_a_model_counts_like_a_message() {
        for (line, asks) in [("/retry", true), ("/compact", true), ("/review x", true), ("/help", false), ("/", false)]
        {
            assert_eq!(asks_model(line, None), asks, "{line}");
        }
    }
}
