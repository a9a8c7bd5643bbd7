//! `http_fetch` reads what it may, and reaches no private address by any detour.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::json;
use switchboard::providers::http::tls;
use switchboard::tools::http_fetch::{HttpFetch, HttpFetchSettings, Resolver};
use switchboard::tools::{Tool, ToolOutcome};

use crate::context;
use crate::mock_http::{MockHttp, Step, answer, chunk};

type Answers = Vec<(&'static str, Vec<Vec<SocketAddr>>)>;

/// Gives each name its answers in turn, the last one again and again, and keeps what was asked.
#[derive(Default)]
struct Names {
    answers: RefCell<Answers>,
    asked: RefCell<Vec<String>>,
}

impl Names {
    fn new(answers: Answers) -> Rc<Self> {
        Rc::new(Self { answers: RefCell::new(answers), asked: RefCell::default() })
    }
}

impl Resolver for Names {
    fn resolve(&self, host: &str, _port: u16) -> LocalBoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        self.asked.borrow_mut().push(host.to_owned());
        let mut answers = self.answers.borrow_mut();
        let known = answers.iter_mut().find(|(name, _)| *name == host).map(|(_, turns)| match turns.len() {
            1 => turns[0].clone(),
            _ => turns.remove(0),
        });
        async move { known.ok_or_else(|| std::io::Error::other("no such name")) }.boxed_local()
    }
}

fn settings(hosts: &[&str], private: &[String]) -> HttpFetchSettings {
    let hosts = hosts.iter().map(|h| h.to_string()).collect();
    HttpFetchSettings { hosts, allow_private: private.to_vec(), ..HttpFetchSettings::default() }
}

fn tool(settings: &HttpFetchSettings, names: Rc<Names>) -> HttpFetch {
    HttpFetch::with_resolver(settings, tls(&[]).expect("TLS"), names).expect("the settings are in order")
}

async fn fetch(tool: &HttpFetch, url: &str) -> ToolOutcome {
    tool.run(json!({ "url": url }), context()).await
}

async fn refusal(tool: &HttpFetch, url: &str) -> String {
    let outcome = fetch(tool, url).await;
    assert!(outcome.is_error, "{url} was read: {}", outcome.output);
    outcome.output
}

/// A tool that may read this server, by its address, and nothing else.
fn friend_of(server: &MockHttp, hosts: &[&str]) -> HttpFetch {
    tool(&settings(hosts, &[server.address.to_string()]), Names::new(Vec::new()))
}

const TEXT: &str = "content-type: text/plain; charset=utf-8\r\n";

#[actix_rt::test]
async fn a_page_is_read_with_its_status_and_nothing_of_ours_is_told() {
    let mut server = MockHttp::start([answer("200 OK", TEXT, "hello ü"), answer("404 Not Found", TEXT, "gone")]).await;
    let tool = friend_of(&server, &[]);
    let url = server.url("/a?b=c#d");
    let page = fetch(&tool, &url).await;
    assert_eq!((page.output, page.is_error), (format!("HTTP 200, text/plain, {url}\n\nhello ü"), false));
    let request = server.request().await;
    assert_eq!(request.line, "GET /a?b=c HTTP/1.1");
    for name in ["cookie", "authorization", "x-request-id", "referer"] {
        assert_eq!(request.header(name), None);
    }
    let missing = fetch(&tool, &server.url("/")).await;
    assert!(missing.is_error && missing.output.starts_with("HTTP 404, ") && missing.output.ends_with("\n\ngone"));
}

#[actix_rt::test]
async fn only_listed_hosts_and_ports_are_read() {
    let names = || Names::new(vec![("example.org", vec![vec!["10.0.0.1:80".parse().expect("an address")]])]);
    let none = refusal(&tool(&settings(&[], &[]), names()), "http://example.org/").await;
    assert_eq!(none, "no host may be read: the setting tools.http_fetch.allow_hosts is empty");
    let some = tool(&settings(&["example.org", "*.example.net", "example.com:8080"], &[]), names());
    for stranger in [
        "http://example.org.evil.test/",
        "http://www.example.org/",
        "http://example.org:8080/",
        "https://example.org:22/",
        "http://example.net/",
        "http://evilexample.net/",
        "http://example.com/",
        "http://example.com:8081/",
        "http://.example.net/",
    ] {
        let why = refusal(&some, stranger).await;
        assert!(why.ends_with("it is not in the setting tools.http_fetch.allow_hosts"), "{stranger}: {why}");
    }
    // These are listed: what stops them comes later.
    for (listed, why) in [
        ("http://EXAMPLE.org./", "leads to a private"),
        ("https://example.org/", "leads to a private"),
        ("http://a.b.example.net/", "has no address"),
        ("http://example.com:8080/", "has no address"),
    ] {
        let said = refusal(&some, listed).await;
        assert!(said.contains(why), "{listed}: {said}");
    }
}

#[actix_rt::test]
async fn addresses_that_are_no_plain_web_addresses_are_refused() {
    let tool = tool(&settings(&["example.org"], &[]), Names::new(Vec::new()));
    for bad in [
        "",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "data:text/plain,x",
        "http://user@example.org/",
        "http://:pw@example.org/",
        "http://",
        "http://./",
    ] {
        let why = tool.check(&json!({ "url": bad })).expect_err("it is refused");
        assert!(why.starts_with("url: "), "{bad}: {why}");
        assert_eq!(refusal(&tool, bad).await, why);
    }
    let long = format!("http://example.org/{}", "x".repeat(2048));
    assert!(tool.check(&json!({ "url": long })).is_err());
    assert!(tool.check(&json!({ "url": 7 })).is_err());
}

/// Every spelling of an address, even if somebody lists it as a host.
#[actix_rt::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let hosts = [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:7f00:1]",
        "[fd00::1]",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
    ];
    let names = Names::new(vec![("localhost", vec![vec!["127.0.0.1:80".parse().expect("an address")]])]);
    let tool = tool(&settings(&hosts, &[]), names);
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://0x7f.0.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://10.0.0.1/",
        "http://192.168.257/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://\u{ff11}27.0.0.1/",
    ] {
        let why = refusal(&tool, url).await;
        assert!(why.contains("private or special address") || why.contains("not in the setting"), "{url}: {why}");
    }
}

#[actix_rt::test]
async fn one_private_address_among_public_ones_is_enough_to_refuse() {
    let addresses = ["93.184.216.34:80", "10.0.0.1:80"].map(|a| a.parse().expect("an address")).to_vec();
    let tool = tool(&settings(&["mixed.test"], &[]), Names::new(vec![("mixed.test", vec![addresses])]));
    assert!(refusal(&tool, "http://mixed.test/").await.contains("private or special address"));
}

#[actix_rt::test]
async fn a_name_is_resolved_once_and_the_checked_address_is_the_one_that_is_reached() {
    let mut server = MockHttp::start([answer("200 OK", TEXT, "hello")]).await;
    let elsewhere = vec!["127.0.0.1:9".parse().expect("an address")];
    let names = Names::new(vec![("rebind.test", vec![vec![server.address], elsewhere])]);
    let friend = format!("rebind.test:{}", server.address.port());
    let tool = tool(&settings(&[], std::slice::from_ref(&friend)), names.clone());
    assert!(!fetch(&tool, &format!("http://{friend}/")).await.is_error);
    assert_eq!(server.request().await.header("host"), Some(friend.as_str()));
    assert_eq!(*names.asked.borrow(), ["rebind.test"]);
}

#[actix_rt::test]
async fn each_redirect_is_checked_anew() {
    let private = |a: &str| vec![vec![a.parse().expect("an address")]];
    let hosts = ["169.254.169.254", "inside.test"];
    for (target, why) in [
        ("http://169.254.169.254/latest/", "private or special address"),
        ("//169.254.169.254/", "private or special address"),
        ("http://2852039166/", "private or special address"),
        ("http://inside.test/", "private or special address"),
        ("http://elsewhere.test/", "not in the setting"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:pw@inside.test/", "credentials"),
        ("http://[", "no address"),
    ] {
        let server = MockHttp::start([answer("302 Found", &format!("location: {target}\r\n"), "")]).await;
        let names = Names::new(vec![("inside.test", private("10.0.0.1:80"))]);
        let tool = tool(&settings(&hosts, &[server.address.to_string()]), names);
        let said = refusal(&tool, &server.url("/")).await;
        assert!(said.contains(why), "{target}: {said}");
    }
}

#[actix_rt::test]
async fn five_redirects_are_followed_and_no_sixth() {
    let hop = |n: usize| answer("307 Temporary Redirect", &format!("location: /{n}\r\n"), "");
    let end = answer("200 OK", TEXT, "there");
    let server = MockHttp::start((1..=5).map(hop).chain([end.clone()])).await;
    let page = fetch(&friend_of(&server, &[]), &server.url("/")).await;
    assert_eq!(page.output, format!("HTTP 200, text/plain, {}\n\nthere", server.url("/5")));
    let server = MockHttp::start((1..=6).map(hop).chain([end])).await;
    assert_eq!(refusal(&friend_of(&server, &[]), &server.url("/")).await, "more than 5 redirects");
    assert_eq!(server.unused(), 1);
}

#[actix_rt::test]
async fn a_long_body_is_cut_and_an_endless_one_ends() {
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}transfer-encoding: chunked\r\n\r\n").into_bytes();
    let mut server = MockHttp::start([vec![Step::Send(head), Step::SendForever(chunk("x".repeat(50_000)))]]).await;
    let page = fetch(&friend_of(&server, &[]), &server.url("/")).await;
    assert!(!page.is_error);
    assert!(page.output.ends_with("xxx\n\n[cut off after 262144 bytes]"));
    let body = page.output.split_once("\n\n").expect("a head and a body").1;
    assert_eq!(body.matches('x').count(), 262_144);
    server.request().await;
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn what_is_no_text_is_not_read() {
    for (headers, says) in [
        ("content-type: image/png\r\n", "image/png; only text can be read"),
        ("", "no declared type"),
        ("content-type: text/plain\r\ncontent-encoding: gzip\r\n", "encoding"),
    ] {
        let server = MockHttp::start([answer("200 OK", headers, "xyz")]).await;
        let why = refusal(&friend_of(&server, &[]), &server.url("/")).await;
        assert!(why.contains(says), "{why}");
    }
    for kind in ["text/html", "application/json; charset=utf-8", "application/problem+json", "image/svg+xml"] {
        let server = MockHttp::start([answer("200 OK", &format!("content-type: {kind}\r\n"), "xyz")]).await;
        assert!(fetch(&friend_of(&server, &[]), &server.url("/")).await.output.ends_with("xyz"), "{kind}");
    }
}

#[actix_rt::test]
async fn cancelling_closes_the_connection_in_mid_body() {
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}content-length: 100\r\n\r\nslow").into_bytes();
    let mut server = MockHttp::start([vec![Step::Send(head), Step::Hang]]).await;
    let tool = friend_of(&server, &[]);
    let context = context();
    let cancel = context.cancel.clone();
    let running = actix_rt::spawn(tool.run(json!({ "url": server.url("/") }), context));
    server.request().await;
    cancel.cancel();
    let outcome = running.await.expect("it ends");
    assert_eq!((outcome.output.as_str(), outcome.is_error), ("cancelled", true));
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn a_page_that_takes_too_long_is_given_up() {
    let mut server = MockHttp::start([vec![Step::Hang]]).await;
    let running = actix_rt::spawn(friend_of(&server, &[]).run(json!({ "url": server.url("/") }), context()));
    server.request().await;
    tokio::time::pause(); // no real second passes
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    let outcome = running.await.expect("it ends");
    assert_eq!((outcome.output.as_str(), outcome.is_error), ("not read within 20 s", true));
    assert_eq!(server.hung_up().await, 0);
}

/// The certificate has to be the name's, though the connection goes to a pinned address.
#[actix_rt::test]
async fn tls_is_checked_against_the_name() {
    let signed = rcgen::generate_simple_self_signed(vec!["pinned.test".to_owned()]).expect("a certificate");
    let root = signed.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .expect("the certificate fits");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = MockHttp::start_with([answer("200 OK", TEXT, "sealed")], move |socket| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(socket).await.ok() }
    })
    .await;
    let friends = ["pinned.test", "other.test"].map(|name| format!("{name}:{}", server.address.port()));
    let names = Names::new(["pinned.test", "other.test"].map(|name| (name, vec![vec![server.address]])).to_vec());
    let tool = HttpFetch::with_resolver(&settings(&[], &friends), tls(&[root]).expect("TLS"), names).expect("a tool");
    assert!(refusal(&tool, &format!("https://{}/", friends[1])).await.contains("cannot be read"));
    assert!(fetch(&tool, &format!("https://{}/", friends[0])).await.output.ends_with("sealed"));
}

#[test]
fn entries_that_are_no_hosts_are_refused_at_the_start() {
    for bad in ["", "*", "*.*", "a b", "http://example.org", "example.org/path", "user@example.org", "ex*mple.org"] {
        let refused = HttpFetch::new(&settings(&[bad], &[]), tls(&[]).expect("TLS")).err().expect("it is refused");
        assert!(refused.message.starts_with("allow_hosts: "), "{bad}: {refused}");
    }
    for bad in ["example.org", "*.example.org:80"] {
        assert!(HttpFetch::new(&settings(&[], &[bad.to_owned()]), tls(&[]).expect("TLS")).is_err(), "{bad}");
    }
}

#[test]
fn whoever_approves_sees_the_address_and_the_danger() {
    let tool = tool(&settings(&[], &[]), Names::new(Vec::new()));
    let input = json!({ "url": "http://Example.org/a" });
    assert_eq!(tool.summary(&input), "read http://example.org/a");
    assert_eq!(
        tool.risks(&input),
        [
            "example.org sees the request and all that its address says",
            "the page's text reaches the model and may try to instruct it",
            "the page is sent unencrypted",
        ]
    );
}
