//! The same hub behind a certificate: `wss`, `https`, and addresses that others can reach.

use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{Connector, client_async_tls_with_config};

use crate::support::upstream::{stored, until_end, words};
use crate::support::{Client, Hub, HubOptions, run};

/// A certificate for `localhost` in files, and a client's configuration that trusts it.
struct Certificate {
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        Self { folder, client: Arc::new(client) }
    }

    fn config(&self) -> String {
        let path = self.folder.path().display();
        format!("[tls]\ncertificate = \"{path}/cert.pem\"\nkey = \"{path}/key.pem\"")
    }
}

async fn client(hub: &Hub, certificate: &Certificate, token: &str) -> Client {
    let socket = TcpStream::connect(&hub.address).await.expect("a connection");
    let port = hub.address.rsplit_once(':').expect("a port").1;
    let connector = Connector::Rustls(certificate.client.clone());
    let url = format!("wss://localhost:{port}/ws?token={token}");
    let opened = client_async_tls_with_config(url, socket, None, Some(connector)).await;
    Client::over(opened.expect("the socket opens").0)
}

#[test]
fn an_answer_streams_over_wss() {
    run(async {
        let certificate = Certificate::new();
        let hub = Hub::start(HubOptions::default().config(&certificate.config()));
        let token = hub.token("alice", "acme", "member");
        let mut one = client(&hub, &certificate, &token).await;
        let mut two = client(&hub, &certificate, &token).await;
        let session = one.session().await;
        for client in [&mut one, &mut two] {
            client.subscribe(&format!("session:{session}"), None).await;
        }
        let turn = one.say(&session, "long 60").await;
        let (ended, text) = until_end(&mut one, &turn).await;
        assert_eq!(ended["state"], "completed");
        assert_eq!(until_end(&mut two, &turn).await.1, text);
        assert_eq!(words(&stored(&mut one, &session, &turn).await, "text"), text);
        // A restart is announced over TLS as well.
        let mut hub = hub;
        assert!(hub.terminate().success());
        assert_eq!((one.until_closed().await, two.until_closed().await), (1012, 1012));
    });
}

#[test]
fn https_is_answered_and_plain_http_is_not() {
    run(async {
        let certificate = Certificate::new();
        let hub = Hub::start(HubOptions::default().config(&certificate.config()));
        let mut offers = ClientConfig::clone(&certificate.client);
        offers.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let socket = TcpStream::connect(&hub.address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut secure = TlsConnector::from(Arc::new(offers)).connect(name, socket).await.expect("a TLS connection");
        assert_eq!(secure.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        secure.write_all(request).await.expect("it is sent");
        let mut answer = Vec::new();
        // Whether the end is announced is the server's manners, not what is asked here.
        let _ = secure.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"status\""), "{answer}");
        let mut plain = TcpStream::connect(&hub.address).await.expect("a connection");
        plain.write_all(request).await.expect("it is sent");
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
        let health = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["health", "--config"])
            .arg(hub.data.path().join("test.toml"))
            .args(["--data"])
            .arg(hub.folder())
            .args(["--listen", &hub.address])
            .env_clear()
            .output()
            .expect("it runs");
        assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    });
}

/// How `serve` ends on an address that this machine does not have: nothing is ever bound.
fn refusal(config: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.toml");
    std::fs::write(&file, config).expect("written");
    let ended = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(["serve", "--listen", "192.0.2.1:4096", "--data"])
        .arg(folder.path().join("hub"))
        .arg("--config")
        .arg(&file)
        .env_clear()
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).expect("text")
}

#[test]
fn beyond_loopback_only_with_a_certificate() {
    let without = refusal("");
    assert!(without.contains("server.listen") && without.contains("tls.certificate"), "{without}");
    let with = refusal(&Certificate::new().config());
    assert!(with.contains("192.0.2.1:4096 cannot be listened on"), "{with}");
    let missing = refusal("[tls]\ncertificate = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"");
    assert!(missing.contains("tls.certificate: there is no file /nowhere/cert.pem"), "{missing}");
    let half = refusal("[tls]\ncertificate = \"/nowhere/cert.pem\"");
    assert!(half.contains("tls.key"), "{half}");
}
