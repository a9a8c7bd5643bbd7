//! The words of the command line, what stands on standard output, and the exit codes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use crate::hub::{Data, Hub, run, text};

fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

#[test]
fn token_prints_one_jwt_and_nothing_else() {
    let data = Data::new();
    let done = run(&["token", "--user", "ann", "--data", &data.arg()], &[]);
    assert!(done.status.success());
    let out = text(&done.stdout);
    assert_eq!(out.matches('\n').count(), 1);
    let token = out.strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
    assert_eq!(text(&done.stderr), "");
    let claims = claims(token);
    assert_eq!((&claims["sub"], &claims["org"], &claims["role"]), (&"ann".into(), &"default".into(), &"member".into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[test]
fn a_role_is_stored_and_stays_until_another_is_set() {
    let data = Data::new();
    let role = |more: &[&str]| claims(&data.token(more))["role"].as_str().unwrap().to_owned();
    assert_eq!(role(&["--user", "ann", "--role", "operator"]), "operator");
    assert_eq!(role(&["--user", "ann"]), "operator");
    assert_eq!(role(&["--user", "ann", "--role", "viewer", "--ttl", "30m"]), "viewer");
    assert_eq!(role(&["--user", "ann", "--org", "other"]), "member");
    assert_eq!(role(&["--user", "owner"]), "owner");
}

#[test]
fn token_works_beside_a_running_hub_and_the_stored_role_counts_at_once() {
    let data = Data::new();
    let hub = Hub::start(&data.path(), &[("SWITCHBOARD_AUTH__REMEMBER_MS", "0")]);
    let token = data.token(&["--user", "ann", "--org", "acme", "--role", "admin"]);
    let bearer = format!("Bearer {token}");
    let whoami = || hub.get("/api/v1/session", &[("Authorization", &bearer)]).json();
    let seen = whoami();
    assert_eq!((&seen["user"], &seen["organization"], &seen["role"]), (&"ann".into(), &"acme".into(), &"admin".into()));
    data.token(&["--user", "ann", "--org", "acme", "--role", "viewer"]);
    assert_eq!(whoami()["role"], "viewer");
}

#[test]
fn wrong_use_ends_with_2() {
    let data = Data::new();
    let arg = data.arg();
    for arguments in [
        &["fly"][..],
        &["token", "--data", &arg],
        &["token", "--user", "ann", "--role", "emperor", "--data", &arg],
        &["token", "--user", "ann", "--ttl", "soon", "--data", &arg],
        &["token", "--user", "", "--data", &arg],
        &["serve", "--port", "1"],
        &["serve", "--data", &arg, "--listen", "nowhere"],
        &["serve", "--data", &arg, "--config", "/there/is/no/such.toml"],
        &[],
    ] {
        let done = run(arguments, &[]);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "", "{arguments:?}");
        assert!(!done.stderr.is_empty());
    }
    assert!(!data.path().exists(), "wrong use must leave nothing behind");
}

#[test]
fn what_fails_ends_with_1_and_what_is_done_with_0() {
    let data = Data::new();
    let arg = data.arg();
    let file = data.path().with_extension("file");
    std::fs::write(&file, "").unwrap();
    let in_a_file = run(&["token", "--user", "ann", "--data", file.to_str().unwrap()], &[]);
    assert_eq!(in_a_file.status.code(), Some(1), "{}", text(&in_a_file.stderr));

    for command in ["migrate", "config", "doctor"] {
        let done = run(&[command, "--data", &arg], &[("SWITCHBOARD_LISTEN", "127.0.0.1:0")]);
        assert_eq!(done.status.code(), Some(0), "{command}: {}{}", text(&done.stdout), text(&done.stderr));
    }
    let hub = Hub::start(&data.path(), &[]);
    let address = hub.address.to_string();
    let well = run(&["health", "--data", &arg, "--listen", &address], &[]);
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    assert!(text(&well.stdout).contains("\"status\":\"ok\""));

    let second = run(&["serve", "--data", &arg, "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(second.status.code(), Some(1), "two hubs on one data folder");
    let taken = run(&["serve", "--data", &Data::new().arg(), "--listen", &address], &[]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("--listen"), "{}", text(&taken.stderr));

    let (status, _) = hub.stop();
    assert_eq!(status.code(), Some(0));
    let gone = run(&["health", "--data", &arg, "--listen", &address], &[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains(&address));
}

#[test]
fn health_over_tls_believes_the_configured_certificate_and_no_other() {
    let data = Data::new();
    let folder = data.path().parent().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(vec!["hub.example".into()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["hub.example".into()]).unwrap();
    for (name, pem) in
        [("own", made.cert.pem()), ("other", other.cert.pem()), ("key", made.signing_key.serialize_pem())]
    {
        std::fs::write(folder.join(name), pem).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = Arc::new(server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let tls = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, listener.accept().unwrap().0);
            let mut asked = [0u8; 4096];
            // The client that does not believe us leaves here.
            let Ok(read) = stream.read(&mut asked) else { continue };
            assert!(asked[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}").unwrap();
            stream.flush().unwrap();
        }
    });
    let ask = |certificate: &str| {
        let certificate = folder.join(certificate).display().to_string();
        let key = folder.join("key").display().to_string();
        let environment = [("SWITCHBOARD_TLS__CERTIFICATE", &*certificate), ("SWITCHBOARD_TLS__KEY", &*key)];
        run(&["health", "--data", &data.arg(), "--listen", &listen], &environment)
    };
    let well = ask("own");
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    let strange = ask("other");
    assert_eq!(strange.status.code(), Some(1));
    assert!(text(&strange.stderr).contains("another certificate"), "{}", text(&strange.stderr));
    answering.join().unwrap();
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let data = Data::new();
    data.token(&["--user", "ann"]);
    let secret = data.path().join("secrets/jwt");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let done = run(&["doctor", "--data", &data.arg(), "--listen", "127.0.0.1:0"], &[("OPENAI_MODEL", "gpt-4o")]);
    assert_eq!(done.status.code(), Some(1));
    let out = text(&done.stdout);
    assert!(out.contains("chmod 600"), "{out}");
    assert!(out.contains("set OPENAI_API_KEY"), "{out}");
    assert!(out.contains("good  database"), "{out}");
}
