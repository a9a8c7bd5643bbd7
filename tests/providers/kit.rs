//! Prompts, settings and short ways to say what a stream gave.

use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use switchboard::domain::generation::*;
use switchboard::providers::retry::RetrySettings;
use switchboard::providers::*;

pub fn prompt(text: &str) -> Prompt {
    Prompt {
        model: "model-1".into(),
        system: None,
        messages: vec![PromptMessage::User(vec![UserContent::Text(text.into())])],
        tools: Vec::new(),
        thinking: ThinkingLevel::Off,
        max_tokens: None,
        temperature: None,
        request_id: "req-1".into(),
    }
}

/// Tries follow each other at once.
pub fn transport() -> TransportSettings {
    let retry = RetrySettings { attempts: 3, first_wait: Duration::ZERO, longest_wait: Duration::from_millis(1) };
    TransportSettings { retry, ..TransportSettings::default() }
}

pub fn openai_with(url: String, transport: TransportSettings) -> Rc<dyn Provider> {
    let settings = ApiSettings {
        base_url: url,
        api_key: Some("sesame-key-123".into()),
        model: "model-1".into(),
        models: Vec::new(),
        transport,
    };
    one(ProviderSettings::OpenAi(settings))
}

pub fn openai(url: String) -> Rc<dyn Provider> {
    openai_with(url, transport())
}

pub fn anthropic_with(url: String, transport: TransportSettings) -> Rc<dyn Provider> {
    let settings = ApiSettings {
        base_url: url,
        api_key: Some("sesame-key-123".into()),
        model: "model-1".into(),
        models: Vec::new(),
        transport,
    };
    one(ProviderSettings::Anthropic(settings))
}

pub fn anthropic(url: String) -> Rc<dyn Provider> {
    anthropic_with(url, transport())
}

fn one(settings: ProviderSettings) -> Rc<dyn Provider> {
    Providers::build(&[("p".to_owned(), settings)]).expect("the settings are in order").default_provider()
}

/// All events of one generation, and the fault that ended it, if one did.
pub async fn run(provider: &Rc<dyn Provider>, prompt: Prompt) -> (Vec<StreamEvent>, Option<ProviderFault>) {
    let mut stream = match provider.stream(prompt).await {
        Ok(stream) => stream,
        Err(fault) => return (Vec::new(), Some(fault)),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(fault) => {
                assert!(stream.next().await.is_none(), "something came after the fault");
                return (events, Some(fault));
            }
        }
    }
    assert!(
        matches!(events.last(), Some(StreamEvent::Ended(_))),
        "a stream without a fault ends with Ended: {events:?}"
    );
    (events, None)
}

pub async fn whole(provider: &Rc<dyn Provider>, prompt: Prompt) -> Vec<StreamEvent> {
    let (events, fault) = run(provider, prompt).await;
    assert_eq!(fault, None);
    events
}

pub async fn fault(provider: &Rc<dyn Provider>, prompt: Prompt) -> ProviderFault {
    let (events, fault) = run(provider, prompt).await;
    let fault = fault.unwrap_or_else(|| panic!("no fault but {events:?}"));
    assert!(!fault.message.contains("sesame"), "the key is in the fault: {fault}");
    fault
}

pub fn text(events: &[StreamEvent]) -> String {
    events.iter().filter_map(|e| if let StreamEvent::Text(text) = e { Some(text.as_str()) } else { None }).collect()
}
