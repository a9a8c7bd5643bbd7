//! Dropping is stopping: the provider's server sees its connection closed, wherever the generation stands.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use switchboard::providers::retry::RetrySettings;
use switchboard::providers::{Provider, TransportSettings};

use crate::kit::{anthropic_with, openai_with, prompt, transport};
use crate::mock_http::{MockHttp, Seen, Step, answer, chunk, stream_head};

/// No time-out of the hub's own closes anything within a test.
fn patient() -> TransportSettings {
    let hour = Duration::from_secs(3600);
    TransportSettings { head_timeout: hour, idle_timeout: hour, connect_timeout: hour, ..transport() }
}

fn both(url: impl Fn() -> String) -> [(Rc<dyn Provider>, &'static str); 2] {
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let anthropic = "data: {\"type\":\"message_start\",\"message\":{}}\n\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n";
    [(openai_with(url(), patient()), openai), (anthropic_with(url(), patient()), anthropic)]
}

#[actix_rt::test]
async fn in_mid_stream() {
    for which in 0..2 {
        let (_, first) = both(String::new_url)[which];
        let mut server = MockHttp::start([vec![stream_head(), Step::Send(chunk(first)), Step::Hang]]).await;
        let (provider, _) = &both(|| server.url("/v1"))[which];
        let mut stream = provider.stream(prompt("hi")).await.expect("it starts");
        assert!(stream.next().await.is_some());
        server.request().await;
        drop(stream);
        assert_eq!(server.hung_up().await, 0);
    }
}

#[actix_rt::test]
async fn while_the_server_sends_without_end() {
    let more = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    let mut server = MockHttp::start([vec![stream_head(), Step::SendForever(more)]]).await;
    let provider = openai_with(server.url("/v1"), patient());
    let mut stream = provider.stream(prompt("hi")).await.expect("it starts");
    assert!(stream.next().await.is_some());
    server.request().await;
    drop(stream);
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn while_the_head_is_waited_for() {
    let mut server = MockHttp::start([vec![Step::Hang]]).await;
    let provider = openai_with(server.url("/v1"), patient());
    let waiting = actix_rt::spawn(provider.stream(prompt("hi")).map(|_| ()));
    server.request().await;
    waiting.abort();
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn between_the_head_and_the_first_token() {
    let mut server = MockHttp::start([vec![stream_head(), Step::Send(chunk(": ping\n\n")), Step::Hang]]).await;
    let provider = openai_with(server.url("/v1"), patient());
    let waiting = actix_rt::spawn(provider.stream(prompt("hi")).map(|_| ()));
    server.request().await;
    waiting.abort();
    assert_eq!(server.hung_up().await, 0);
}

#[actix_rt::test]
async fn between_two_tries() {
    let hour = Duration::from_secs(3600);
    let retry = RetrySettings { attempts: 3, first_wait: hour, longest_wait: hour };
    let mut server = MockHttp::start([answer("503 Service Unavailable", "connection: close\r\n", "")]).await;
    let provider = openai_with(server.url("/v1"), TransportSettings { retry, ..patient() });
    let waiting = actix_rt::spawn(provider.stream(prompt("hi")).map(|_| ()));
    server.request().await;
    assert!(matches!(server.next().await, Seen::HungUp(0)), "the first try is over");
    waiting.abort();
    assert!(waiting.await.is_err_and(|e| e.is_cancelled()));
    assert_eq!(server.connections(), 1, "no second try");
}

/// An address for settings that are only looked at.
trait NewUrl {
    fn new_url() -> String;
}

impl NewUrl for String {
    fn new_url() -> String {
        "http://127.0.0.1:9".to_owned()
    }
}
