//! What the configuration may say, what it may not, and what becomes of keys and prices.

use std::rc::Rc;

use proptest::prelude::*;
use switchboard::domain::generation::*;
use switchboard::providers::openai::ChatReader;
use switchboard::providers::session::Reader;
use switchboard::providers::sse::Parser;
use switchboard::providers::*;

use crate::kit::{fault, prompt, transport, whole};
use crate::mock_http::{MockHttp, stream};

fn openai_settings(url: &str, key: &str) -> ApiSettings {
    ApiSettings {
        base_url: url.into(),
        api_key: Some(key.into()),
        model: "model-1".into(),
        models: Vec::new(),
        transport: transport(),
    }
}

fn built(settings: ApiSettings) -> Rc<dyn Provider> {
    Providers::build(&[("p".to_owned(), ProviderSettings::OpenAi(settings))]).expect("in order").default_provider()
}

#[actix_rt::test]
async fn settings_that_cannot_be_are_refused_by_name() {
    let refused = |list: &[(&str, ProviderSettings)]| {
        let list: Vec<_> = list.iter().map(|(name, settings)| (name.to_string(), settings.clone())).collect();
        Providers::build(&list).err().expect("it is refused").message
    };
    let demo = ProviderSettings::Demo(DemoSettings::default());
    assert_eq!(refused(&[]), "providers: at least one is needed");
    assert_eq!(refused(&[("a", demo.clone()), ("a", demo)]), "providers: a is there twice");
    let openai = |change: fn(&mut ApiSettings)| {
        let mut settings = openai_settings("http://127.0.0.1:9/v1", "k");
        change(&mut settings);
        refused(&[("mine", ProviderSettings::OpenAi(settings))])
    };
    assert!(openai(|s| s.base_url = "nonsense".into()).starts_with("providers.mine.base_url: "));
    assert!(openai(|s| s.base_url = "http://me:pw@h/".into()).starts_with("providers.mine.base_url: "));
    assert!(openai(|s| s.model = " ".into()).starts_with("providers.mine.model: "));
    assert!(openai(|s| s.transport.retry.attempts = 0).starts_with("providers.mine.retry.attempts: "));
}

#[actix_rt::test]
async fn providers_are_found_by_name_and_the_first_is_the_default() {
    let demo = || ProviderSettings::Demo(DemoSettings::default());
    let providers = Providers::build(&[
        ("local".to_owned(), ProviderSettings::OpenAi(openai_settings("http://127.0.0.1:9/v1", "k"))),
        ("demo".to_owned(), demo()),
    ])
    .expect("in order");
    assert_eq!(providers.default_provider().name(), "local");
    assert_eq!(providers.get("demo").expect("it is there").default_model(), "demo");
    assert!(providers.get("other").is_none());
    assert_eq!(providers.iter().count(), 2);
}

#[actix_rt::test]
async fn a_key_that_cannot_be_sent_is_a_fault_that_does_not_show_it() {
    let fault = fault(&built(openai_settings("http://127.0.0.1:9/v1", "sesame\nkey")), prompt("hi")).await;
    assert_eq!(fault.kind, ProviderFaultKind::Credentials);
}

#[actix_rt::test]
async fn no_key_no_header_and_a_strange_request_id_is_left_out() {
    let mut server = MockHttp::start([stream("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n")]).await;
    let settings = ApiSettings { api_key: None, ..openai_settings(&server.url("/v1"), "") };
    whole(&built(settings), Prompt { request_id: "a\r\nx-evil: 1".into(), ..prompt("hi") }).await;
    let request = server.request().await;
    for name in ["authorization", "x-request-id", "x-evil"] {
        assert_eq!(request.header(name), None);
    }
}

#[actix_rt::test]
async fn a_model_with_a_price_has_its_cost_in_the_usage() {
    let body = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":500,\
        \"prompt_tokens_details\":{\"cached_tokens\":200}}}\n\n";
    let server = MockHttp::start([stream(body)]).await;
    let mut settings = openai_settings(&server.url("/v1"), "k");
    settings.models.push(Model {
        id: "model-1".into(),
        context_window: 8000,
        max_output: None,
        thinking: vec![ThinkingLevel::Off],
        price: Some(Price { input: 1_000_000, output: 10_000_000, cache_read: 500_000, cache_write: 0 }),
    });
    let provider = built(settings);
    assert_eq!(provider.model("model-1").context_window, 8000);
    assert_eq!(provider.model("unknown").context_window, 128_000);
    let events = whole(&provider, prompt("hi")).await;
    let StreamEvent::Usage(usage) = &events[0] else { panic!("no usage: {events:?}") };
    let cost = usage.cost.expect("a cost");
    assert_eq!(cost, 800 + 5_000 + 100);
}

const GOOD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"x\",\"arguments\":\"{}\"}}]}}]}\n\n\
    data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";

proptest! {
    /// Whatever a broken line does to the bytes: no panic, and nothing after the end.
    #[test]
    fn damaged_streams_never_panic_and_end_once(
        damage in prop::collection::vec((0..GOOD.len(), any::<u8>()), 0..6),
        cut in 0..=GOOD.len(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (place, byte) in damage {
            bytes[place] = byte;
        }
        let (mut parser, mut reader) = (Parser::new(1 << 20), ChatReader::new("p", None));
        let (mut events, mut out) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
        parser.push(&bytes[..cut], &mut events).expect("it is small");
        let mut result = Ok(());
        while let (Some(event), true) = (events.pop_front(), result.is_ok() && !reader.ended()) {
            result = reader.read(&event, &mut out);
        }
        if result.is_ok() && !reader.ended() {
            result = reader.end(&mut out);
        }
        let ends = out.iter().filter(|e| matches!(e, StreamEvent::Ended(_))).count();
        prop_assert_eq!(ends, usize::from(result.is_ok()));
        prop_assert_eq!(matches!(out.back(), Some(StreamEvent::Ended(_))), result.is_ok());
    }
}
