use serde_json::json;

use super::*;

fn policy(name: &str, verdict: ToolPolicy, tools: &[&str], arguments: &[&str]) -> Policy {
    Policy {
        name: name.into(),
        tools: tools.iter().map(|t| Glob::new(t)).collect(),
        agents: Vec::new(),
        roles: Vec::new(),
        arguments: arguments.iter().map(|a| Pattern::parse(a).expect("a pattern")).collect(),
        policy: verdict,
    }
}

fn book(policies: Vec<Policy>) -> ToolBook {
    ToolBook { policies, tools: BTreeMap::new(), time_limit: 1, output_bytes: 1 }
}

fn ruling(book: &ToolBook, tool: &str, input: Value) -> ToolPolicy {
    let asked = Asked { tool, agent: "assistant", role: Some(Role::Member), input: &input };
    book.judge(&asked, ToolPolicy::Ask).policy
}

use ToolPolicy::{Allow, Ask, Deny};

#[test]
fn the_first_policy_that_holds_counts() {
    let book = book(vec![
        policy("never these", Deny, &["http_fetch"], &["url=http://**"]),
        policy("our own", Allow, &["http_fetch"], &["url=https://*.example.org/**"]),
        policy("the rest", Ask, &["http_*"], &[]),
    ]);
    assert_eq!(ruling(&book, "http_fetch", json!({"url": "http://www.example.org/"})), Deny);
    assert_eq!(ruling(&book, "http_fetch", json!({"url": "https://www.example.org/a/b?c=d"})), Allow);
    assert_eq!(ruling(&book, "http_fetch", json!({"url": "https://example.com/"})), Ask);
    let asked = Asked { tool: "time", agent: "a", role: None, input: &json!({}) };
    assert_eq!(book.judge(&asked, Allow), Ruling { policy: Allow, by: None });
    let asked = Asked { tool: "http_fetch", agent: "a", role: None, input: &json!({"url": "http://a/"}) };
    assert_eq!(book.judge(&asked, Allow).by, Some("never these"));
}

#[test]
fn a_pattern_is_held_against_one_whole_value() {
    let book = book(vec![policy("ls", Allow, &["run"], &["argv.0=ls", "argv.1=-l"])]);
    assert_eq!(ruling(&book, "run", json!({"argv": ["ls", "-l"]})), Allow);
    for other in [
        json!({"argv": ["ls -l"]}),
        json!({"argv": ["ls", "-l "]}),
        json!({"argv": ["ls", "-l\u{200b}"]}),
        json!({"argv": ["ls", "-l", "/etc"]}),
        json!({"argv": ["ls", "-l"], "cwd": "/"}),
        json!({"argv": ["ls", "-l"], "env": {"LD_PRELOAD": "x.so"}}),
        json!({"argv": ["ls", "-l"], "extra": []}),
        json!({"argv": "ls -l"}),
        json!({"argv": {"0": "ls", "1": "-l", "2": "x"}}),
        json!(["ls", "-l"]),
        json!({"argv": ["ls", ["-l"]]}),
    ] {
        assert_eq!(ruling(&book, "run", other.clone()), Ask, "{other}");
    }
}

#[test]
fn no_pattern_is_talked_round() {
    let book = book(vec![
        policy("pages", Allow, &["http_fetch"], &["url=https://*.example.org/public/**"]),
        policy("files", Allow, &["read"], &["path=/data/**"]),
        policy("status", Allow, &["git"], &["args=status *"]),
    ]);
    for url in [
        "https://evil.com/.example.org/public/",
        "https://evil.com#.example.org/public/",
        "https://evil.com?.example.org/public/",
        "https://user@evil.com:1.example.org/public/",
        "https://evil.com\\.example.org/public/",
        "https://www.example.org/public/../private",
        "https://www.example.org/public/%2e%2E/private",
        "https://www.example.org/public/%252e%252e/private",
        "https://www.example.org/public/..%2fprivate",
        "https://www.example.org/public/\u{202e}",
        " https://www.example.org/public/",
    ] {
        assert_eq!(ruling(&book, "http_fetch", json!({ "url": url })), Ask, "{url}");
    }
    assert_eq!(ruling(&book, "http_fetch", json!({"url": "https://www.example.org/public/a..b"})), Allow);
    assert_eq!(ruling(&book, "read", json!({"path": "/data/a/b.txt"})), Allow);
    for path in ["/data/../etc/passwd", "/data/a/../../etc", "/data/a\n", "/etc/data/", "/data/.."] {
        assert_eq!(ruling(&book, "read", json!({ "path": path })), Ask, "{path}");
    }
    assert_eq!(ruling(&book, "git", json!({"args": "status -s"})), Allow);
    for args in ["status ; rm -rf x", "status $(id)", "status `id`", "status a|b", "status a b", "status\t-s"] {
        assert_eq!(ruling(&book, "git", json!({ "args": args })), Ask, "{args}");
    }
}

#[test]
fn what_forbids_holds_where_any_element_is_so() {
    let book =
        book(vec![policy("no force", Deny, &["git"], &["argv.*=--force**"]), policy("git", Allow, &["git"], &[])]);
    assert_eq!(ruling(&book, "git", json!({"argv": ["push", "--force-with-lease"]})), Deny);
    assert_eq!(ruling(&book, "git", json!({"argv": ["push"]})), Allow);
    let each = self::book(vec![policy("small", Allow, &["sum"], &["of.*=?"])]);
    assert_eq!(ruling(&each, "sum", json!({"of": [1, 2, "x"]})), Allow);
    assert_eq!(ruling(&each, "sum", json!({"of": [1, 22]})), Ask);
    assert_eq!(ruling(&each, "sum", json!({"of": []})), Ask);
}

#[test]
fn an_unknown_role_gets_the_stricter_reading() {
    let of = |verdict, role| Policy { roles: vec![role], ..policy("role", verdict, &["x"], &[]) };
    let input = json!({});
    let by = |book: &ToolBook, role| book.judge(&Asked { tool: "x", agent: "a", role, input: &input }, Ask).policy;
    let allows = book(vec![of(Allow, Role::Admin)]);
    assert_eq!(by(&allows, Some(Role::Admin)), Allow);
    assert_eq!(by(&allows, Some(Role::Member)), Ask);
    assert_eq!(by(&allows, None), Ask);
    let denies = book(vec![of(Deny, Role::Member)]);
    assert_eq!(by(&denies, Some(Role::Admin)), Ask);
    assert_eq!(by(&denies, None), Deny);
}

#[test]
fn agents_and_tools_are_named_whole() {
    let only = Policy { agents: vec![Glob::new("ops-*")], ..policy("ops", Allow, &["files__*"], &[]) };
    let book = book(vec![only]);
    let input = json!({});
    let by = |tool, agent| book.judge(&Asked { tool, agent, role: None, input: &input }, Ask).policy;
    assert_eq!(by("files__read", "ops-one"), Allow);
    assert_eq!(by("files__read", "assistant-ops-one"), Ask);
    assert_eq!(by("myfiles__read", "ops-one"), Ask);
}

#[test]
fn a_wrapper_is_known_by_what_it_takes() {
    let takes = |name: &str| is_wrapper(&json!({"properties": {"x": {}, name: {"type": "string"}}}));
    for name in ["command", "cmd", "argv", "shell_command", "shellCommand", "run-script", "code", "CMD", "Command"] {
        assert!(takes(name), "{name}");
    }
    for name in ["url", "path", "message", "recommend", "decoded", "description"] {
        assert!(!takes(name), "{name}");
    }
    assert!(!is_wrapper(&json!({})) && !is_wrapper(&json!(null)));
    let mut book = book(Vec::new());
    let wide = ToolSetting { remembers: Some(Remembers::Tool), ..ToolSetting::default() };
    book.tools.insert("run".into(), wide);
    let schema = json!({"properties": {"command": {}}});
    assert_eq!(book.remembers("run", Remembers::Arguments, &schema), Remembers::Never);
    assert_eq!(book.remembers("run", Remembers::Arguments, &json!({})), Remembers::Tool);
    assert_eq!(book.remembers("other", Remembers::Arguments, &json!({})), Remembers::Arguments);
}

#[test]
fn a_pattern_without_a_name_is_refused() {
    for text in ["https://example.org/**", "=x", "a..b=x", ""] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
    assert!(Pattern::parse("a.0.b=x=y").is_ok());
}

#[test]
fn a_glob_takes_time_in_proportion() {
    let glob = Glob::new(&"**a".repeat(30));
    assert!(!glob.fits(&format!("{}b", "a".repeat(20_000))));
    assert!(Glob::new("**").fits("") && Glob::new("*").fits("") && !Glob::new("?").fits(""));
}

#[test]
fn output_is_cut_at_a_character_with_a_note() {
    assert_eq!(cut("ääää".into(), 8), "ääää");
    assert_eq!(cut("ääää".into(), 5), "ää\n\n[cut off after 4 of 8 bytes]");
}
