//! The demo provider: the same prompt gives the same answer, and each word does what its table says.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use switchboard::domain::generation::*;
use switchboard::providers::*;

use crate::kit::{fault, prompt, run, text, whole};

fn demo() -> Rc<dyn Provider> {
    let settings = ProviderSettings::Demo(DemoSettings { interval: Duration::ZERO });
    Providers::build(&[("demo".to_owned(), settings)]).expect("it can be built").default_provider()
}

fn with_tools(text: &str) -> Prompt {
    let tool = |name: &str| ToolSpec { name: name.into(), description: String::new(), input_schema: json!({}) };
    Prompt { tools: ["time", "todo_write", "http_fetch"].map(tool).to_vec(), ..prompt(text) }
}

fn calls(events: &[StreamEvent]) -> Vec<(&str, &str)> {
    let mut calls = Vec::new();
    for event in events {
        if let StreamEvent::ToolCall { id, name, .. } = event {
            calls.push((id.as_str(), name.as_str()));
        }
    }
    calls
}

#[actix_rt::test]
async fn the_same_prompt_gives_the_same_answer() {
    for said in ["hello", "think about time", "long 50", "fetch http://e.org and todo"] {
        let first = whole(&demo(), with_tools(said)).await;
        assert_eq!(whole(&demo(), with_tools(said)).await, first);
    }
    let events = whole(&demo(), prompt("hello \u{1f980}")).await;
    assert!(text(&events).contains("You said: \u{201c}hello \u{1f980}\u{201d}."));
    assert!(events.len() > 10, "word by word");
    assert_eq!(events.last(), Some(&StreamEvent::Ended(StopReason::EndTurn)));
}

#[actix_rt::test]
async fn words_choose_what_it_does() {
    assert!(matches!(whole(&demo(), prompt("Think!")).await[0], StreamEvent::Thinking(_)));
    let level = Prompt { thinking: ThinkingLevel::Low, ..prompt("hello") };
    assert!(matches!(whole(&demo(), level).await[0], StreamEvent::Thinking(_)));
    let long = text(&whole(&demo(), prompt("long 500")).await);
    assert_eq!((long.split(' ').count(), long.ends_with(" word500")), (500, true));
    let (events, failed) = run(&demo(), prompt("please fail")).await;
    assert!(!text(&events).is_empty());
    assert_eq!(failed.map(|f| f.kind), Some(ProviderFaultKind::Server));
    assert_eq!(fault(&demo(), prompt("fail first")).await.kind, ProviderFaultKind::Server);
}

#[actix_rt::test]
async fn it_calls_the_tools_that_are_offered_and_reports_their_results() {
    let asked = with_tools("what time is it, todo, and fetch http://e.org/x");
    let events = whole(&demo(), asked.clone()).await;
    assert_eq!(calls(&events), [("demo_1_0", "time"), ("demo_1_1", "todo_write"), ("demo_1_2", "http_fetch")]);
    assert_eq!(events.last(), Some(&StreamEvent::Ended(StopReason::ToolUse)));
    let none = whole(&demo(), prompt("what time is it")).await;
    assert_eq!((calls(&none).len(), none.last()), (0, Some(&StreamEvent::Ended(StopReason::EndTurn))));
    let mut next = asked;
    let output = |id: &str, output: &str, is_error| ToolOutput { call_id: id.into(), output: output.into(), is_error };
    next.messages.push(PromptMessage::Assistant(Vec::new()));
    next.messages
        .push(PromptMessage::ToolResults(vec![output("demo_1_0", "noon", false), output("demo_1_2", "no", true)]));
    assert_eq!(text(&whole(&demo(), next).await), "The tool answered: noon\nThe tool failed: no");
}

#[actix_rt::test]
async fn the_interval_stands_between_the_words() {
    tokio::time::pause(); // the clock jumps from sleep to sleep
    let settings = ProviderSettings::Demo(DemoSettings { interval: Duration::from_secs(60) });
    let demo = Providers::build(&[("demo".to_owned(), settings)]).expect("it can be built").default_provider();
    for (said, minutes) in [("long 10", 10), ("long 10 slow", 100)] {
        let begin = tokio::time::Instant::now();
        whole(&demo, prompt(said)).await;
        assert_eq!(begin.elapsed().as_secs() / 60, minutes);
    }
}
