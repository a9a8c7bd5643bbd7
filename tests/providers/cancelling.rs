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

const OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const ANTHROPIC: &str = "data: {\"type\":\"message_start\",\"message\":{}}\n\n\
    data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n";

#[actix_rt::test]
async fn in_mid_stream() {
    type Build = fn(String, TransportSettings) -> Rc<dyn Provider>;
    let wires: [(Build, &str); 2] = [(openai_with, OPENAI), (anthropic_with, ANTHROPIC)];
    for (provider, first) in wires {
        let mut server = MockHttp::start([vec![stream_head(), Step::Send(chunk(first)), Step::Hang]]).await;
        let mut stream = provider(server.url("/v1"), patient()).stream(prompt("hi")).await.expect("it starts");
        assert!(stream.next().await.is_some());
        server.request().await;
        drop(stream);
        assert_eq!(server.hung_up().await, 0);
    }
}

#[actix_rt::test]
async fn while_the_server_sends_without_end() {
    let more = chunk(OPENAI);
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

/// No pool of connections stands in the way: a hub has more conversations than a client usually has connections.
#[actix_rt::test]
async fn hundreds_of_streams_at_once_each_with_its_own_end() {
    const MANY: usize = 150;
    let first = chunk(OPENAI);
    let script = || vec![stream_head(), Step::Send(first.clone()), Step::Hang];
    let mut server = MockHttp::start((0..MANY).map(|_| script())).await;
    let provider = openai_with(server.url("/v1"), patient());
    let mut streams = Vec::new();
    for _ in 0..MANY {
        // A stream that waits for another to end would wait here for good.
        let starting = tokio::time::timeout(Duration::from_secs(20), provider.stream(prompt("hi")));
        let mut stream = starting.await.expect("no stream waits for another").expect("it starts");
        assert!(stream.next().await.is_some());
        streams.push(stream);
        server.request().await;
    }
    assert_eq!(server.connections(), MANY);
    for number in [149, 0, 70] {
        drop(std::mem::replace(&mut streams[number], futures_util::stream::empty().boxed_local()));
        assert_eq!(server.hung_up().await, number, "this one and no other");
    }
}
