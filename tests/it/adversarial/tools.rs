//! Cases 78 to 82: addresses within, paths without, environments, other tenants' tools, and tools that never end.

use serde_json::{Value, json};

use crate::support::mcp::{self, agent, model, noted, ready, reference, rogue, tool_turn, until_dead};
use crate::support::mock_http::MockHttp;
use crate::support::upstream::{answers, asks, calls, conversation, openai};
use crate::support::{Client, Hub, HubOptions, run};

/// Case 78. What a name resolves to, and redirects, are tried in the tool's own tests.
#[test]
fn no_address_leads_within() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let urls = [
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            format!("http://[::1]:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            format!("http://2130706433:{port}/"),
            format!("http://0x7f.1:{port}/"),
            format!("http://0177.0.0.1:{port}/"),
            format!("http://127.1:{port}/"),
            format!("http://localhost:{port}/"),
            format!("http://example.org@127.0.0.1:{port}/"),
            "file:///etc/passwd".to_owned(),
        ];
        let turns: Vec<(&str, Value)> = urls.iter().map(|url| ("http_fetch", json!({ "url": url }))).collect();
        let model = model(&turns).await;
        // Even where the operator named all these hosts: a private address needs to be named as one.
        let hosts = format!(
            "[tools.http_fetch]\npolicy = \"allow\"\nallow_hosts = [\"169.254.169.254\", \"127.0.0.1:{port}\", \
             \"localhost:{port}\", \"[::1]:{port}\", \"[::ffff:127.0.0.1]:{port}\"]"
        );
        let (_hub, mut alice, session) = conversation(openai(&model).config(&hosts)).await;
        for url in &urls {
            let (why, failed) = tool_turn(&mut alice, &session).await;
            assert!(failed && !why.contains("HTTP 200"), "{url}: {why}");
        }
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    });
}

/// Case 79.
#[test]
fn no_path_leads_out() {
    run(async {
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("secret.txt"), "walrus").expect("a file");
        let root = tempfile::tempdir().expect("a folder");
        let root_path = root.path().canonicalize().expect("a path");
        let secret = outside.path().canonicalize().expect("a path").join("secret.txt");
        std::os::unix::fs::symlink(&secret, root_path.join("link.txt")).expect("a link");
        let name = secret.strip_prefix("/").expect("absolute").display().to_string();
        let paths = [
            secret.display().to_string(),
            format!("{}/{}{name}", root_path.display(), "../".repeat(12)),
            root_path.join("link.txt").display().to_string(),
            "/etc/passwd".to_owned(),
        ];
        let turns: Vec<(&str, Value)> =
            paths.iter().map(|path| ("filesystem__read_text_file", json!({ "path": path }))).collect();
        let model = model(&turns).await;
        let options =
            openai(&model).config(&reference("filesystem", &[&root_path])).config(&agent("filesystem__*", "allow"));
        let (_hub, mut alice, session) = ready(options).await;
        for path in &paths {
            let (why, failed) = tool_turn(&mut alice, &session).await;
            assert!(failed && !why.contains("walrus") && !why.contains("root:"), "{path}: {why}");
        }
    });
}

/// Case 80.
#[test]
fn a_program_gets_the_environment_it_was_given_and_no_shell() {
    run(async {
        let text = "$(touch /tmp/pwned); `id` && echo ${HOME} > x | y \\\n--help";
        let model = model(&[("rogue__env", json!({})), ("rogue__echo", json!({ "text": text }))]).await;
        let notes = tempfile::tempdir().expect("a folder");
        let options = openai(&model)
            .set("LD_PRELOAD_X", "x")
            .set("GIT_EXTERNAL_DIFF", "/bin/false")
            .set("NODE_OPTIONS", "")
            .set("LANG", "C.UTF-8")
            .config(&rogue(notes.path()))
            .config("environment = [\"GIVEN=yes\"]")
            .config(&agent("rogue__*", "allow"));
        let (_hub, mut alice, session) = ready(options).await;
        let (environment, _) = tool_turn(&mut alice, &session).await;
        let environment: serde_json::Map<String, Value> = serde_json::from_str(&environment).expect("JSON");
        let mut names: Vec<&str> = environment.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["GIVEN", "LANG", "PATH"]);
        assert_eq!(tool_turn(&mut alice, &session).await, (text.to_owned(), false));
    });
    for (line, told) in [
        ("environment_from = [\"LD_PRELOAD\"]", "LD_PRELOAD"),
        ("environment_from = [\"GIT_EXTERNAL_DIFF\"]", "GIT_EXTERNAL_DIFF"),
        ("environment_from = [\"OPENAI_API_KEY\"]", "OPENAI_API_KEY"),
        ("environment_from = [\"SWITCHBOARD_JWT_SECRET\"]", "SWITCHBOARD_JWT_SECRET"),
        ("environment = [\"x\"]", "NAME=VALUE"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, format!("[mcp.a]\ncommand = [\"true\"]\n{line}")).expect("written");
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["config", "--config"])
            .arg(&file)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(told), "{line}: {said}");
    }
}

/// Case 81.
#[test]
fn another_tenants_tool_is_not_there() {
    run(async {
        let turns: Vec<(&str, Value)> = vec![("rogue__env", json!({})); 2];
        let mut model = model(&turns).await;
        let notes = tempfile::tempdir().expect("a folder");
        let options = openai(&model)
            .config(&rogue(notes.path()))
            .config("organizations = [\"rival\"]")
            .config(&agent("rogue__*", "allow"));
        let (hub, mut alice, session) = ready(options).await;
        // A page told the model to call it: it is neither offered nor run.
        assert_eq!(tool_turn(&mut alice, &session).await, ("no such tool: rogue__env".into(), true));
        let request = model.request().await.json();
        assert!(!request["tools"].to_string().contains("rogue"), "{}", request["tools"]);
        let listed = alice.call("tools.list", json!({})).await;
        assert!(!listed.to_string().contains("rogue"), "{listed}");
        let mut rival = Client::connect(&hub.address, &hub.token("rita", "rival", "member")).await;
        let session = rival.session().await;
        rival.subscribe(&format!("session:{session}"), None).await;
        assert!(!tool_turn(&mut rival, &session).await.1, "it is there for whom it is meant");
    });
}

/// Case 81: what a page says does not reach another tool's rights.
#[test]
fn a_tool_that_an_agent_is_not_offered_does_not_run() {
    run(async {
        let model = model(&[("rogue__env", json!({})), ("time", json!({}))]).await;
        let notes = tempfile::tempdir().expect("a folder");
        let options = openai(&model).config(&rogue(notes.path())).config(&agent("rogue__echo", "allow"));
        let (_hub, mut alice, session) = ready(options).await;
        for tool in ["rogue__env", "time"] {
            assert_eq!(tool_turn(&mut alice, &session).await, (format!("no such tool: {tool}"), true));
        }
    });
}

/// A model that calls `tool`, never hears of it again, and in the next turn has `said` echoed.
async fn cut_short(tool: &str, said: &str) -> MockHttp {
    let echo = calls(0, "d", "rogue__echo", &json!({ "text": said }).to_string());
    MockHttp::start([asks(&calls(0, "c", tool, "{}")), asks(&echo), answers("I see.")]).await
}

/// A call of `tool` that never ends, aborted; the rest of its program with it.
async fn aborted(tool: &str) {
    let model = cut_short(tool, "again").await;
    let notes = tempfile::tempdir().expect("a folder");
    let options = openai(&model).config(&rogue(notes.path())).config(&agent("rogue__*", "allow"));
    let (hub, mut alice, session) = ready(options).await;
    alice.say(&session, "go").await;
    mcp::until_noted(notes.path(), "hangs", 1).await;
    let pids = noted(notes.path(), "pids");
    assert!(pids.iter().all(|pid| mcp::lives(pid)));
    let ended = alice.call("messages.abort", json!({"sessionId": session})).await;
    assert_eq!(ended["state"], "aborted");
    until_dead(&pids).await;
    assert!(noted(notes.path(), "flooded").is_empty());
    // Nothing of it was kept in memory, and a new program is there.
    assert!(hub.resident() < 300 << 20, "{} bytes", hub.resident());
    mcp::until_noted(notes.path(), "started", 2).await;
    assert_eq!(tool_turn(&mut alice, &session).await, ("again".into(), false));
}

/// Case 82.
#[test]
fn an_abort_ends_a_tool_that_never_ends_with_all_its_children() {
    run(aborted("rogue__hang"));
}

/// Case 82.
#[test]
fn a_gigabyte_of_output_is_not_kept() {
    run(aborted("rogue__flood"));
}

/// Case 82: where only the call is to be cancelled, its server hears of it and lives on.
#[test]
fn a_server_that_is_not_to_be_ended_is_told() {
    run(async {
        let model = cut_short("rogue__hang", "still here").await;
        let notes = tempfile::tempdir().expect("a folder");
        let options = openai(&model)
            .config(&rogue(notes.path()))
            .config("kill_on_abort = false")
            .config(&agent("rogue__*", "allow"));
        let (hub, mut alice, session) = ready(options).await;
        alice.say(&session, "go").await;
        mcp::until_noted(notes.path(), "hangs", 1).await;
        alice.call("messages.abort", json!({"sessionId": session})).await;
        let told = mcp::until_noted(notes.path(), "cancelled", 1).await;
        assert_eq!(told, ["the call was aborted"]);
        assert_eq!(tool_turn(&mut alice, &session).await, ("still here".into(), false));
        assert_eq!(noted(notes.path(), "started").len(), 1);
        let pids = noted(notes.path(), "pids");
        drop((hub, alice));
        // Killed with its hub, it sees the end of its input; what it had started outlives it and is ended here.
        for pid in pids.iter().skip(1).filter(|pid| mcp::lives(pid)) {
            let _ = std::process::Command::new("kill").args(["-9", pid]).status();
        }
    });
}

/// The hub alone, for tests that need none of it.
#[test]
fn a_server_that_cannot_be_started_costs_only_its_tools() {
    run(async {
        let options = HubOptions::default().config("[mcp.gone]\ncommand = [\"/no/such/program\"]");
        let hub = Hub::start(options);
        hub.logged("an MCP server cannot be reached").await;
        let mut alice = Client::connect(&hub.address, &hub.token("alice", "acme", "member")).await;
        let session = alice.session().await;
        alice.subscribe(&format!("session:{session}"), None).await;
        alice.say(&session, "what time is it").await;
        assert_eq!(alice.event("turn.ended").await["state"], "completed");
    });
}
