//! Flag over environment over file over default; secrets masked; mistakes named.

use std::fs;

use crate::hub::{Data, run, text};

fn written(data: &Data, toml: &str) {
    fs::create_dir_all(data.path()).unwrap();
    fs::write(data.path().join("switchboard.toml"), toml).unwrap();
}

fn line<'a>(out: &'a str, key: &str) -> &'a str {
    out.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_else(|| panic!("no {key} in {out}"))
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let data = Data::new();
    let arg = data.arg();
    let listen = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut arguments = vec!["config", "--data", &arg];
        arguments.extend(flags);
        let done = run(&arguments, environment);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let words: Vec<String> = line(text(&done.stdout), "listen").split_whitespace().map(str::to_owned).collect();
        words[2..].join(" ")
    };
    let file = data.path().join("switchboard.toml").display().to_string();
    let flag = ["--listen", "127.0.0.1:4"];
    let named = ("SWITCHBOARD_LISTEN", "127.0.0.1:3");
    let keyed = ("SWITCHBOARD_SERVER__LISTEN", "127.0.0.1:2");
    assert_eq!(listen(&[], &[]), "\"127.0.0.1:4096\" # default");
    written(&data, "[server]\nlisten = \"127.0.0.1:1\"\n");
    assert_eq!(listen(&[], &[]), format!("\"127.0.0.1:1\" # {file}"));
    assert_eq!(listen(&[], &[keyed]), "\"127.0.0.1:2\" # SWITCHBOARD_SERVER__LISTEN");
    assert_eq!(listen(&[], &[keyed, named]), "\"127.0.0.1:3\" # SWITCHBOARD_LISTEN");
    assert_eq!(listen(&flag, &[keyed, named]), "\"127.0.0.1:4\" # --listen");
}

#[test]
fn a_named_file_counts_instead_of_the_one_in_the_data_folder() {
    let data = Data::new();
    written(&data, "[log]\nlevel = \"error\"\n");
    let other = data.path().join("other.toml");
    fs::write(&other, "[limits]\nring_events = 77\n").unwrap();
    let done = run(&["config", "--data", &data.arg(), "--config", other.to_str().unwrap()], &[]);
    let out = text(&done.stdout);
    assert!(line(out, "ring_events").contains("77"));
    assert!(line(out, "level").contains("\"info\""));
}

#[test]
fn secrets_are_never_printed() {
    let data = Data::new();
    let secret = "0123456789-a-secret-nobody-may-see-0123456789";
    let environment = [
        ("SWITCHBOARD_JWT_SECRET", secret),
        ("AGENT_JWT_SECRET", secret),
        ("OPENAI_API_KEY", secret),
        ("ANTHROPIC_API_KEY", secret),
        ("OPENAI_BASE_URL", "https://me:0123456789@llm.example.org/v1?api_key=0123456789"),
        ("SWITCHBOARD_DATABASE_URL", "postgres://me:0123456789@db.example.org/hub"),
    ];
    let done = run(&["config", "--data", &data.arg()], &environment);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let all = format!("{}{}", text(&done.stdout), text(&done.stderr));
    assert!(!all.contains("0123456789"), "{all}");
    assert_eq!(all.matches("= \"********\"").count(), 4, "{all}");
    assert!(all.contains("db.example.org/hub") && all.contains("llm.example.org"), "{all}");
}

fn issuer(name: &str, jwks: &str, more: &str) -> String {
    format!("[auth.issuers.{name}]\nissuer = \"i\"\naudience = \"a\"\njwks = \"{jwks}\"\n{more}\n")
}

#[test]
fn an_issuer_takes_what_it_leaves_out_from_the_example_which_is_none() {
    let data = Data::new();
    written(&data, &issuer("x", "k.json", "algorithms = [\"EdDSA\"]"));
    let done = run(&["config", "--data", &data.arg()], &[("SWITCHBOARD_AUTH__ISSUERS__X__ORGANIZATIONS", "o, p")]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let out = text(&done.stdout);
    let (_, section) = out.split_once("[auth.issuers.x]\n").expect("the section");
    for words in
        ["algorithms = [\"EdDSA\"]", "refresh_seconds = 600", "organizations = [\"o\", \"p\"]", "jwks = \"k.json\""]
    {
        assert!(section.contains(words), "{words}: {section}");
    }
    let serve = run(&["serve", "--data", &data.arg(), "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(serve.status.code(), Some(2));
    assert!(text(&serve.stderr).contains("auth.issuers.x.jwks: there is no file k.json"), "{}", text(&serve.stderr));
}

#[test]
fn a_mistake_in_a_file_is_named_and_the_right_key_with_it() {
    let data = Data::new();
    for (toml, words) in [
        ("[limits]\nframe_byte = 1\n", &["limits.frame_byte", "limits.frame_bytes", "switchboard.toml"][..]),
        ("[limit]\nframe_bytes = 1\n", &["there is no setting limit", "limits"]),
        ("[limits]\nframe_bytes = \"big\"\n", &["limits.frame_bytes", "a whole number"]),
        ("[limits]\nframe_bytes = -1\n", &["limits.frame_bytes", "a whole number"]),
        ("[limits]\nframe_bytes = 1\n", &["limits.frame_bytes", "1 is not between 1024 and"]),
        ("[server]\nlisten = \"127.0.0.1\"\n", &["server.listen", "127.0.0.1:4096", "switchboard.toml"]),
        ("[server]\nlisten = 4096\n", &["server.listen", "text in quotes"]),
        ("[server]\ntrusted_proxies = [\"proxy\"]\n", &["server.trusted_proxies", "proxy", "neither an address"]),
        ("[agents.writer]\nbusy = \"wait\"\n", &["agents.writer.busy", "wait"]),
        ("[agents.writer]\nmodell = \"x\"\n", &["agents.writer.modell"]),
        ("[agents.writer]\nprovider = \"acme\"\n", &["agents.writer.provider", "acme", "anthropic"]),
        ("[agents.writer]\ntools = [\"hammer\"]\n", &["agents.writer.tools", "hammer", "http_fetch"]),
        ("[tools.time]\npolicy = \"maybe\"\n", &["tools.time.policy", "maybe", "allow, ask, deny"]),
        ("[tools.time]\nallow_hosts = []\n", &["tools.time.allow_hosts"]),
        ("[auth]\njwt_secret = \"short\"\n", &["auth.jwt_secret", "at least 32"]),
        ("[auth.issuers.x]\nissuer = \"i\"\njwks = \"k\"\n", &["auth.issuers.x.audience", "must be set"]),
        ("[auth.issuers.x]\naudience = \"a\"\njwks = \"k\"\n", &["auth.issuers.x.issuer", "must be set"]),
        ("[auth.issuers.x]\nisuer = \"i\"\n", &["auth.issuers.x.isuer"]),
        (&issuer("x", "http://id.example.org/jwks", ""), &["auth.issuers.x.jwks", "https://"]),
        (&issuer("x", "https://me:secret@id.example.org/", ""), &["auth.issuers.x.jwks", "password"]),
        (&issuer("x", "k", "algorithms = [\"HS256\"]"), &["auth.issuers.x.algorithms", "HS256", "RS256, ES256, EdDSA"]),
        (&issuer("x", "k", "algorithms = []"), &["auth.issuers.x.algorithms"]),
        (&issuer("x", "k", "refresh_seconds = 0"), &["auth.issuers.x.refresh_seconds"]),
        (
            &issuer("x", "k", "organizations = [\"o\"]\ndefault_organization = \"p\""),
            &["default_organization", "\"p\""],
        ),
        (&format!("{}{}", issuer("x", "k", ""), issuer("y", "k", "")), &["auth.issuers.y.issuer", "named twice"]),
        (&format!("{}[auth]\nissuer = \"i\"\n", issuer("x", "k", "")), &["auth.issuers.x.issuer", "named twice"]),
        ("[auth]\nsession_url = \"http://app.example.org/\"\n", &["auth.session_url", "https://"]),
        ("[auth.session]\nuser = []\n", &["auth.session.user"]),
        ("[auth.session]\nseconds = 86400\n", &["auth.session.seconds", "0 and 3600"]),
        ("[budgets.x]\nper = \"user\"\n", &["budgets.x.usd", "budgets.x.tokens", "must be set"]),
        ("[budgets.x]\nusd = \"1,50\"\n", &["budgets.x.usd", "1,50", "12.50"]),
        ("[budgets.x]\nusd = \"0.0000001\"\n", &["budgets.x.usd", "six digits"]),
        ("[budgets.x]\nusd = 1.5\n", &["budgets.x.usd", "text in quotes"]),
        ("[budgets.x]\ntokens = 1\nper = \"team\"\n", &["budgets.x.per", "team", "organization, user, agent, model"]),
        ("[budgets.x]\ntokens = 1\nperiod = \"hour\"\n", &["budgets.x.period", "hour", "day, week, month"]),
        ("[budgets.x]\ntoken = 1\n", &["budgets.x.token"]),
        ("[spending]\nprices = \"/nowhere/prices.toml\"\n", &["spending.prices", "/nowhere/prices.toml"]),
        ("[spending]\nanswer_tokens = 0\n", &["spending.answer_tokens", "1 and 1000000"]),
        ("[tls]\nkey = \"key.pem\"\n", &["tls.certificate", "both"]),
        ("[log\n", &["switchboard.toml"]),
    ] {
        written(&data, toml);
        let done = run(&["config", "--data", &data.arg()], &[]);
        assert_eq!(done.status.code(), Some(2), "{toml}");
        let said = text(&done.stderr);
        for word in words {
            assert!(said.contains(word), "{toml}: {word:?} is not in {said}");
        }
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let data = Data::new();
    let bad = run(&["config", "--data", &data.arg()], &[("SWITCHBOARD_LIMITS__FRAME_BYTES", "big")]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("SWITCHBOARD_LIMITS__FRAME_BYTES"));
    let stray = [("SWITCHBOARD_LIMITS__FRAME_BYTE", "1"), ("SWITCHBOARD_COLOUR", "red")];
    let done = run(&["config", "--data", &data.arg()], &stray);
    assert!(done.status.success(), "a stray variable must not be fatal: {}", text(&done.stderr));
    let said = text(&done.stderr);
    assert!(said.contains("SWITCHBOARD_COLOUR"), "{said}");
    assert!(said.contains("did you mean SWITCHBOARD_LIMITS__FRAME_BYTES?"), "{said}");
}

#[test]
fn the_default_agent_talks_to_what_is_configured_and_others_inherit_from_it() {
    let data = Data::new();
    written(&data, "[agents.writer]\ndescription = \"writes\"\n");
    let talks = |environment: &[(&str, &str)]| {
        let done = run(&["doctor", "--data", &data.arg(), "--listen", "127.0.0.1:0"], environment);
        text(&done.stdout).lines().filter(|l| l.contains("talks to")).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let demo = talks(&[("OPENAI_API_KEY", "")]);
    assert!(demo.contains("assistant talks to demo") && demo.contains("writer talks to demo"), "{demo}");
    let openai = talks(&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_MODEL", "gpt-x"), ("ANTHROPIC_API_KEY", "y")]);
    assert!(openai.contains("writer talks to openai, model gpt-x"), "{openai}");
    let own = talks(&[("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"), ("OPENAI_MODEL", "llama")]);
    assert!(own.contains("good  agent: assistant talks to openai, model llama"), "{own}");
    let anthropic = talks(&[("ANTHROPIC_API_KEY", "y")]);
    assert!(anthropic.contains("assistant talks to anthropic"), "{anthropic}");
    let set = talks(&[("ANTHROPIC_API_KEY", "y"), ("SWITCHBOARD_AGENTS__WRITER__PROVIDER", "demo")]);
    assert!(set.contains("writer talks to demo"), "{set}");
    written(&data, "[providers.anthropic]\napi_key = \"y\"\nmodel = \"m\"\n");
    let filed = talks(&[]);
    assert!(filed.contains("good  agent: assistant talks to anthropic, model m"), "{filed}");
}

#[test]
fn beyond_loopback_without_encryption_is_refused_with_what_to_do() {
    let data = Data::new();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let done = run(&["serve", "--data", &data.arg(), "--listen", listen], &[]);
        assert_eq!(done.status.code(), Some(2), "{listen}");
        let said = text(&done.stderr);
        for word in [listen, "tls.certificate", "server.trusted_proxies", "127.0.0.1"] {
            assert!(said.contains(word), "{said}");
        }
    }
    assert!(!data.path().exists());
}

#[test]
fn a_broken_line_is_named_without_what_stands_in_it() {
    let data = Data::new();
    const SECRET: &str = "0123456789-not-to-be-shown";
    for (toml, place) in [
        (format!("[auth]\njwt_secret = \"{SECRET}\n"), "line 2, column"),
        (format!("[auth]\njwt_secret = {SECRET}\n"), "line 2, column"),
        (format!("[auth]\n\njwt_secret = \"{SECRET}\"x\n"), "line 3, column"),
        (format!("[providers.openai]\napi_key '{SECRET}'\n"), "line 2, column"),
    ] {
        written(&data, &toml);
        for command in ["config", "serve"] {
            let done = run(&[command, "--data", &data.arg()], &[]);
            let said = text(&done.stderr);
            assert_eq!(done.status.code(), Some(2), "{said}");
            assert!(said.contains("switchboard.toml") && said.contains(place), "{said}");
            assert!(!said.contains("not-to-be-shown"), "{said}");
        }
    }
}
