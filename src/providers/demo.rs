//! A provider without a model, a key or a network: the same prompt always gives the same answer.
//!
//! What it does is chosen by words of the last message, several of which may come together:
//!
//! | word | what happens |
//! |---|---|
//! | (none) | a short paragraph, word by word, that quotes the message |
//! | `think` | thinking first; also where the thinking level is not `off` |
//! | `time` | calls the tool `time` |
//! | `todo` | calls the tool `todo_write` with three entries |
//! | `fetch ADDRESS` | calls the tool `http_fetch` |
//! | `long N` | N numbered words, at most 20,000 |
//! | `slow` | ten times slower |
//! | `fail` | fails in the middle of the answer |
//! | `fail first` | fails before the first word |
//!
//! A tool that the prompt does not offer is not called. When results of tools come in, it says what they were.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};

use super::Provider;
use super::session::EventStream;
use crate::domain::generation::{
    Model, Price, Prompt, PromptMessage, ProviderFault, ProviderFaultKind, StopReason, StreamEvent, ThinkingLevel,
    ToolOutput, UserContent,
};
use crate::domain::usage::Usage;

const LONGEST: usize = 20_000;
/// Characters of a message or a tool's output that are quoted.
const QUOTED: usize = 200;

#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// Between two words.
    pub interval: Duration,
}

impl Default for DemoSettings {
    fn default() -> Self {
        Self { interval: Duration::from_millis(30) }
    }
}

pub struct Demo {
    name: String,
    interval: Duration,
    models: [Model; 1],
}

impl Demo {
    pub fn new(name: &str, settings: &DemoSettings) -> Self {
        let model = Model {
            id: "demo".to_owned(),
            context_window: 32_000,
            max_output: None,
            thinking: ThinkingLevel::ALL.to_vec(),
            price: Some(Price::default()),
        };
        Self { name: name.to_owned(), interval: settings.interval, models: [model] }
    }
}

impl Provider for Demo {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_model(&self) -> &str {
        &self.models[0].id
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn model(&self, id: &str) -> Model {
        Model { id: id.to_owned(), ..self.models[0].clone() }
    }

    fn answer_limit(&self, prompt: &Prompt) -> Option<u64> {
        Some(Script::of(prompt).words)
    }

    fn stream(&self, prompt: Prompt) -> LocalBoxFuture<'static, Result<EventStream, ProviderFault>> {
        let script = Script::of(&prompt);
        let interval = if script.slow { self.interval * 10 } else { self.interval };
        async move {
            if script.fails_first {
                return Err(fault("the demo provider fails before its first word, as it was told to"));
            }
            let spoken = stream::iter(script.beats).then(move |beat| async move {
                let is_word = matches!(beat, Ok(StreamEvent::Text(_) | StreamEvent::Thinking(_)));
                match is_word {
                    true if interval.is_zero() => tokio::task::yield_now().await,
                    true => tokio::time::sleep(interval).await,
                    false => {}
                }
                beat
            });
            Ok(spoken.boxed_local())
        }
        .boxed_local()
    }
}

fn fault(message: &str) -> ProviderFault {
    ProviderFault::new(ProviderFaultKind::Server, message)
}

/// All that one answer says and does, worked out beforehand.
#[derive(Default)]
struct Script {
    beats: Vec<Result<StreamEvent, ProviderFault>>,
    words: u64,
    slow: bool,
    fails_first: bool,
}

impl Script {
    fn of(prompt: &Prompt) -> Self {
        let mut script = Self::default();
        match prompt.messages.last() {
            Some(PromptMessage::ToolResults(results)) => script.report(results),
            Some(PromptMessage::User(content)) => script.answer(prompt, &text_of(content)),
            _ => script.say("There is nothing to answer."),
        }
        let calls = script.beats.iter().any(|b| matches!(b, Ok(StreamEvent::ToolCall { .. })));
        let usage = Usage { input: words_of(prompt), output: script.words, cost: Some(0), ..Usage::default() };
        script.beats.push(Ok(StreamEvent::Usage(usage)));
        script.beats.push(Ok(StreamEvent::Ended(if calls { StopReason::ToolUse } else { StopReason::EndTurn })));
        if let Some(failing) = script.beats.iter().position(Result::is_err) {
            script.beats.truncate(failing + 1);
        }
        script
    }

    fn answer(&mut self, prompt: &Prompt, said: &str) {
        let words: Vec<&str> = said.split_whitespace().collect();
        let wish = |word: &str| {
            words.iter().position(|w| w.trim_matches(|c: char| !c.is_alphanumeric()).eq_ignore_ascii_case(word))
        };
        let after = |word: &str| wish(word).and_then(|position| words.get(position + 1).copied());
        self.slow = wish("slow").is_some();
        self.fails_first = after("fail").is_some_and(|next| next.eq_ignore_ascii_case("first"));
        if wish("think").is_some() || prompt.thinking != ThinkingLevel::Off {
            self.think("First I look at what was asked. Then I look at what I can do about it. Then I answer.");
        }
        if let Some(count) = after("long").and_then(|n| n.parse::<usize>().ok()) {
            let text: Vec<String> = (1..=count.min(LONGEST)).map(|n| format!("word{n}")).collect();
            return self.say(&text.join(" "));
        }
        self.say(&format!(
            "This is the demo provider, which answers without a model. You said: \u{201c}{}\u{201d}.",
            quote(said)
        ));
        if wish("fail").is_some() {
            self.beats.push(Err(fault("the demo provider fails in mid-answer, as it was told to")));
            return;
        }
        let mut calls = Vec::new();
        if wish("time").is_some() {
            calls.push(("time", json!({})));
        }
        if wish("todo").is_some() {
            let todo = |content: &str, status: &str| json!({ "content": content, "status": status });
            let todos = [
                todo("read the question", "completed"),
                todo("think about it", "in_progress"),
                todo("answer", "pending"),
            ];
            calls.push(("todo_write", json!({ "todos": todos })));
        }
        if let Some(address) = after("fetch") {
            calls.push(("http_fetch", json!({ "url": address })));
        }
        calls.retain(|(name, _)| prompt.tools.iter().any(|tool| tool.name == *name));
        if calls.is_empty() {
            return self.say(" Say think, time, todo, fetch, long, slow or fail, and it does so.");
        }
        self.say(" One moment.");
        for (position, (name, input)) in calls.into_iter().enumerate() {
            self.call(prompt, position, name, input);
        }
    }

    fn report(&mut self, results: &[ToolOutput]) {
        let line = |result: &ToolOutput| {
            let did = if result.is_error { "failed" } else { "answered" };
            format!("The tool {did}: {}", quote(&result.output))
        };
        self.say(&results.iter().map(line).collect::<Vec<_>>().join("\n"));
    }

    fn say(&mut self, text: &str) {
        self.speak(text, StreamEvent::Text);
    }

    fn think(&mut self, text: &str) {
        self.speak(text, StreamEvent::Thinking);
        self.beats.push(Ok(StreamEvent::BlockEnd));
    }

    fn speak(&mut self, text: &str, event: fn(String) -> StreamEvent) {
        for word in text.split_inclusive(' ') {
            self.words += 1;
            self.beats.push(Ok(event(word.to_owned())));
        }
    }

    /// The id is made of the place in the conversation: the same prompt gives the same one.
    fn call(&mut self, prompt: &Prompt, position: usize, name: &str, input: Value) {
        let id = format!("demo_{}_{position}", prompt.messages.len());
        self.beats.push(Ok(StreamEvent::ToolCall { id, name: name.to_owned(), input }));
    }
}

fn text_of(content: &[UserContent]) -> String {
    let words = |part: &UserContent| match part {
        UserContent::Text(text) => text.clone(),
        UserContent::Image(_) => "(a picture)".to_owned(),
        UserContent::File { name, .. } => format!("(the file {name})"),
    };
    content.iter().map(words).collect::<Vec<_>>().join(" ")
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    if short.len() < text.len() { format!("{short}\u{2026}") } else { short }
}

fn words_of(prompt: &Prompt) -> u64 {
    let words = |text: &str| text.split_whitespace().count() as u64;
    let system = prompt.system.as_deref().map_or(0, words);
    let messages = prompt.messages.iter().map(|message| match message {
        PromptMessage::User(content) => words(&text_of(content)),
        PromptMessage::Assistant(_) => 0,
        PromptMessage::ToolResults(results) => results.iter().map(|r| words(&r.output)).sum(),
    });
    system + messages.sum::<u64>()
}
