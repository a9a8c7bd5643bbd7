//! Servers that fail, stall, cheat and babble: the fault is clear, memory is bounded, and what may be tried again is.

use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use switchboard::domain::generation::ProviderFaultKind::*;
use switchboard::domain::generation::StreamEvent;
use switchboard::providers::TransportSettings;
use switchboard::providers::retry::RetrySettings;

use crate::kit::{anthropic, fault, openai, openai_with, prompt, run, text, transport, whole};
use crate::mock_http::{MockHttp, Step, answer, chunk, stream, stream_head};

const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello ü€🦀\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn good() -> Vec<Step> {
    stream([HELLO, END].concat())
}

#[actix_rt::test]
async fn byte_by_byte_with_split_characters() {
    let bytes: Vec<u8> = [HELLO, END].concat().bytes().flat_map(|b| chunk([b])).collect();
    let script = vec![stream_head(), Step::SendInPieces(bytes, 1), Step::Send(b"0\r\n\r\n".to_vec())];
    let server = MockHttp::start([script]).await;
    let events = whole(&openai(server.url("/v1")), prompt("hi")).await;
    assert_eq!(text(&events), "Hello ü€🦀");
}

#[actix_rt::test]
async fn a_failure_before_the_first_token_is_tried_again() {
    let overloaded =
        || answer("529 Overloaded", "retry-after: 0\r\n", r#"{"type":"error","error":{"type":"overloaded_error"}}"#);
    let limited = || answer("429 Too Many Requests", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", "{}");
    let failures: Vec<Vec<Step>> = vec![
        overloaded(),
        limited(),
        answer("408 Request Timeout", "", ""),
        answer("409 Conflict", "", ""),
        answer("500 Internal Server Error", "content-type: text/html\r\n", "<html>"),
        answer("502 Bad Gateway", "", ""),
        answer("503 Service Unavailable", "", ""),
        answer("504 Gateway Timeout", "", ""),
        vec![Step::Reset],
        vec![Step::Close],
        vec![stream_head(), Step::Reset],
        vec![stream_head(), Step::Close],
        stream(": only a comment\n\n"),
        stream("data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n"),
    ];
    for failure in failures {
        let mut server = MockHttp::start([failure.clone(), failure.clone(), good()]).await;
        let events = whole(&openai(server.url("/v1")), prompt("hi")).await;
        assert_eq!(text(&events), "Hello ü€🦀", "{failure:?}");
        assert_eq!(server.unused(), 0);
        let mut requests = 0;
        while let Some(seen) = server.try_next() {
            requests += usize::from(matches!(seen, crate::mock_http::Seen::Request(..)));
        }
        assert_eq!(requests, 3, "{failure:?}");
    }
}

#[actix_rt::test]
async fn the_tries_are_limited() {
    let busy = || {
        answer("529 Overloaded", "", r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#)
    };
    let server = MockHttp::start([busy(), busy(), busy(), good()]).await;
    let fault = fault(&anthropic(server.url("")), prompt("hi")).await;
    assert_eq!((fault.kind, fault.status, server.unused()), (Overloaded, Some(529), 1));
    assert!(fault.message.ends_with("is overloaded or limits our rate (529): Overloaded"), "{fault}");
}

#[actix_rt::test]
async fn nothing_is_tried_again_after_the_first_token() {
    let thinking = "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n";
    let half_a_call = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"x\",\"arguments\":\"{\"}}]}}]}\n\n";
    for first in [HELLO, thinking, half_a_call] {
        let server = MockHttp::start([vec![stream_head(), Step::Send(chunk(first)), Step::Reset], good()]).await;
        let (_, fault) = run(&openai(server.url("/v1")), prompt("hi")).await;
        assert_eq!((fault.map(|f| f.kind), server.unused()), (Some(Network), 1), "{first}");
    }
}

#[actix_rt::test]
async fn a_spent_quota_is_not_tried_again() {
    let spent = answer(
        "429 Too Many Requests",
        "",
        r#"{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}"#,
    );
    let server = MockHttp::start([spent, good()]).await;
    let fault = fault(&openai(server.url("/v1")), prompt("hi")).await;
    assert_eq!((fault.kind, server.unused()), (Overloaded, 1));
}

#[actix_rt::test]
async fn what_is_no_event_stream_is_malformed_and_not_tried_again() {
    let long_header = format!("x-long: {}\r\n", "x".repeat(300_000));
    let many_headers = "x: y\r\n".repeat(300);
    let scripts: Vec<(Vec<Step>, &str)> = vec![
        (answer("200 OK", "content-type: text/html\r\n", "<html>hello"), "text/html"),
        (answer("200 OK", "content-type: application/json\r\n", "{}"), "application/json"),
        (answer("200 OK", "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n", "\u{1f}\u{8b}"), "gzip"),
        (
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n".to_vec()),
                Step::Close,
            ],
            "without a length",
        ),
        (answer("200 OK", &long_header, ""), "HTTP"),
        (answer("200 OK", &many_headers, ""), "HTTP"),
        (vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), Step::Hang], "HTTP"),
    ];
    for (script, says) in scripts {
        let server = MockHttp::start([script, good()]).await;
        let fault = fault(&openai(server.url("/v1")), prompt("hi")).await;
        assert_eq!((fault.kind, server.unused()), (Malformed, 1), "{fault}");
        assert!(fault.message.contains(says), "{fault}");
    }
}

#[actix_rt::test]
async fn an_endless_line_is_cut_off() {
    let mut server = MockHttp::start([vec![
        stream_head(),
        Step::Send(chunk("data: ")),
        Step::SendForever(chunk("x".repeat(65_536))),
    ]])
    .await;
    let fault = fault(&openai(server.url("/v1")), prompt("hi")).await;
    assert_eq!(fault.kind, Malformed);
    assert!(fault.message.contains("larger than 1048576 bytes"), "{fault}");
    server.request().await;
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn an_endless_error_body_is_cut_off() {
    let head = b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let mut server = MockHttp::start([vec![Step::Send(head), Step::SendForever(chunk("x".repeat(10_000)))]]).await;
    assert_eq!(fault(&openai(server.url("/v1")), prompt("hi")).await.kind, Rejected);
    server.request().await;
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn an_endless_list_of_tool_calls_is_cut_off() {
    let piece = |n: usize| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":{n},\"function\":{{\"name\":\"x\",\"arguments\":\"{{}}\"}}}}]}}}}]}}\n\n"
        )
    };
    let body: String = (0..200).map(piece).collect();
    let server = MockHttp::start([stream(body)]).await;
    assert_eq!(fault(&openai(server.url("/v1")), prompt("hi")).await.kind, Malformed);
}

#[actix_rt::test]
async fn a_server_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = listener.local_addr().expect("its address");
    drop(listener);
    for url in [format!("http://{closed}/v1"), "http://no-such-host.invalid/v1".to_owned()] {
        let fault = fault(&openai(url), prompt("hi")).await;
        assert_eq!(fault.kind, Network, "{fault}");
        assert!(fault.message.starts_with("cannot connect to p ("), "{fault}");
    }
}

fn impatient() -> TransportSettings {
    let retry = RetrySettings { attempts: 1, ..RetrySettings::default() };
    TransportSettings { retry, ..TransportSettings::default() }
}

/// What is under way crosses the loopback, which takes a few turns of the event loop; then the clock jumps.
async fn pass(duration: Duration) {
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(1)).await; // parks, so that the sockets are looked at
    }
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[actix_rt::test]
async fn a_head_that_does_not_come_is_a_time_out_after_a_minute() {
    let mut server = MockHttp::start([vec![Step::Hang]]).await;
    let provider = openai_with(server.url("/v1"), impatient());
    let waiting = actix_rt::spawn(async move { fault(&provider, prompt("hi")).await });
    server.request().await;
    pass(Duration::from_secs(50)).await;
    assert!(!waiting.is_finished());
    pass(Duration::from_secs(11)).await;
    let fault = waiting.await.expect("it ends");
    assert_eq!((fault.kind, fault.message.contains("did not answer within 60 s")), (Timeout, true), "{fault}");
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn silence_in_mid_stream_is_a_time_out_after_a_minute_and_pings_are_no_silence() {
    let ping = Rc::new(tokio::sync::Notify::new());
    let script = vec![
        stream_head(),
        Step::Send(chunk(HELLO)),
        Step::Wait(ping.clone()),
        Step::Send(chunk(": ping\n\n")),
        Step::Wait(ping.clone()),
        Step::Hang,
    ];
    let mut server = MockHttp::start([script]).await;
    let provider = openai_with(server.url("/v1"), impatient());
    let mut stream = provider.stream(prompt("hi")).await.expect("it starts");
    assert!(matches!(stream.next().await, Some(Ok(StreamEvent::Text(_)))));
    server.request().await;
    let waiting = actix_rt::spawn(async move { stream.next().await });
    pass(Duration::from_secs(50)).await;
    ping.notify_one();
    pass(Duration::from_secs(50)).await;
    assert!(!waiting.is_finished(), "the ping counted");
    pass(Duration::from_secs(11)).await;
    let fault = waiting.await.expect("it ends").expect("a fault").expect_err("a fault");
    assert_eq!((fault.kind, fault.message.contains("sent nothing for 60 s")), (Timeout, true), "{fault}");
}

#[actix_rt::test]
async fn connections_of_finished_answers_are_used_again() {
    let server = MockHttp::start([good(), good(), good()]).await;
    let provider = openai_with(server.url("/v1"), transport());
    for _ in 0..3 {
        whole(&provider, prompt("hi")).await;
    }
    assert_eq!(server.connections(), 1);
}

/// A provider behind TLS: its authority is trusted only if the settings say so, and HTTP/2 is not offered.
#[actix_rt::test]
async fn tls_is_checked_and_speaks_http_1() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let root = signed.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .expect("the certificate fits");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let spoken = Rc::new(std::cell::RefCell::new(Vec::new()));
    let heard = spoken.clone();
    let server = MockHttp::start_with([good()], move |socket| {
        let (acceptor, heard) = (acceptor.clone(), heard.clone());
        async move {
            let stream = acceptor.accept(socket).await.ok()?;
            heard.borrow_mut().push(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
            Some(stream)
        }
    })
    .await;
    let url = format!("https://localhost:{}/v1", server.address.port());
    let stranger = fault(&openai_with(url.clone(), transport()), prompt("hi")).await;
    assert_eq!(stranger.kind, Network, "{stranger}");
    let trusting = TransportSettings { extra_roots: vec![root], ..transport() };
    assert_eq!(text(&whole(&openai_with(url, trusting), prompt("hi")).await), "Hello ü€🦀");
    assert_eq!(*spoken.borrow(), [Some(b"http/1.1".to_vec())]);
}
