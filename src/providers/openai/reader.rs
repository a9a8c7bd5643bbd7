//! What the chunks of a chat completions stream mean.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::generation::{Price, ProviderFault, ProviderFaultKind, StopReason, StreamEvent};
use crate::domain::usage::Usage;
use crate::providers::http::ErrorWords;
use crate::providers::session::Reader;
use crate::providers::sse;

/// Tool calls that one answer may have, and bytes of all their arguments together.
const MAX_CALLS: usize = 128;
const MAX_ARGUMENTS: usize = 4 << 20;

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<TokenCounts>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    /// DeepSeek, vLLM, llama.cpp.
    #[serde(default)]
    reasoning_content: Option<String>,
    /// OpenRouter, Ollama, newer vLLM.
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// A tool call whose pieces are still coming.
struct OpenCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// Assembles one answer.
pub struct ChatReader {
    provider: String,
    price: Option<Price>,
    calls: Vec<OpenCall>,
    argument_bytes: usize,
    finish: Option<String>,
    refused: bool,
    begun: bool,
    ended: bool,
}

impl ChatReader {
    pub fn new(provider: &str, price: Option<Price>) -> Self {
        Self {
            provider: provider.to_owned(),
            price,
            calls: Vec::new(),
            argument_bytes: 0,
            finish: None,
            refused: false,
            begun: false,
            ended: false,
        }
    }

    fn malformed(&self, what: impl std::fmt::Display) -> ProviderFault {
        ProviderFault::new(ProviderFaultKind::Malformed, format!("{}: {what}", self.provider))
    }

    fn take_choice(&mut self, choice: Choice, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        if let Some(delta) = choice.delta {
            let thinking = delta.reasoning_content.filter(|t| !t.is_empty()).or(delta.reasoning);
            self.speak(thinking, StreamEvent::Thinking, out);
            self.speak(delta.content, StreamEvent::Text, out);
            self.refused |= delta.refusal.as_ref().is_some_and(|text| !text.is_empty());
            self.speak(delta.refusal, StreamEvent::Text, out);
            for piece in delta.tool_calls.unwrap_or_default() {
                self.take_call(piece)?;
            }
        }
        if let Some(reason) = choice.finish_reason.filter(|r| !r.is_empty()) {
            self.begun = true;
            self.finish = Some(reason);
        }
        Ok(())
    }

    fn speak(&mut self, text: Option<String>, event: fn(String) -> StreamEvent, out: &mut VecDeque<StreamEvent>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            self.begun = true;
            out.push_back(event(text));
        }
    }

    fn take_call(&mut self, piece: CallPiece) -> Result<(), ProviderFault> {
        self.begun = true;
        let id = piece.id.unwrap_or_default();
        let function = piece.function.unwrap_or(FunctionPiece { name: None, arguments: None });
        let name = function.name.unwrap_or_default();
        let position = self.position(piece.index, &id, &name);
        let position = match position {
            Some(position) => position,
            None if self.calls.len() >= MAX_CALLS => {
                return Err(self.malformed(format_args!("more than {MAX_CALLS} tool calls in one answer")));
            }
            None => {
                let arguments = String::new();
                self.calls.push(OpenCall { index: piece.index, id: id.clone(), name: String::new(), arguments });
                self.calls.len() - 1
            }
        };
        let arguments = function.arguments.unwrap_or_default();
        self.argument_bytes += arguments.len();
        if self.argument_bytes > MAX_ARGUMENTS {
            return Err(self.malformed(format_args!("the arguments of its tool calls are over {MAX_ARGUMENTS} bytes")));
        }
        let call = &mut self.calls[position];
        call.arguments.push_str(&arguments);
        // Some servers repeat id and name in every piece.
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        Ok(())
    }

    /// The call that a piece continues. Some servers give all calls one index, or none: then a new id is a new call.
    fn position(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let position = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().rposition(|call| call.id == id),
        }?;
        let other = &self.calls[position].id;
        let is_new = !id.is_empty() && !name.is_empty() && !other.is_empty() && other != id;
        (!is_new).then_some(position)
    }

    fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        let Some(reason) = self.finish.take() else {
            let message = format!("{}: the stream ended before the answer was complete", self.provider);
            return Err(ProviderFault::new(ProviderFaultKind::Network, message));
        };
        let cut = reason == "length";
        let mut calls = 0;
        for (position, call) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            match parse_arguments(&call.arguments) {
                _ if call.name.is_empty() => return Err(self.malformed("a tool call without a name")),
                Ok(input) => {
                    let made = || format!("call_{:032x}_{position}", uuid::Uuid::now_v7().as_u128());
                    let id = if call.id.is_empty() { made() } else { call.id };
                    out.push_back(StreamEvent::ToolCall { id, name: call.name, input });
                    calls += 1;
                }
                // The token limit fell into it: it was never whole, and the stop reason tells.
                Err(_) if cut => {}
                Err(why) => {
                    let name = call.name.chars().take(80).collect::<String>();
                    return Err(self.malformed(format_args!("the arguments of its tool call {name} {why}")));
                }
            }
        }
        let reason = match reason.as_str() {
            "length" => StopReason::MaxTokens,
            "content_filter" => StopReason::Refusal,
            _ if calls > 0 => StopReason::ToolUse,
            _ if self.refused => StopReason::Refusal,
            _ => StopReason::EndTurn,
        };
        out.push_back(StreamEvent::Ended(reason));
        self.ended = true;
        Ok(())
    }
}

/// The input object of a call; no arguments at all are an empty object.
pub(crate) fn parse_arguments(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err("are no JSON object".to_owned()),
        Err(error) => Err(format!("are no JSON: {error}")),
    }
}

impl Reader for ChatReader {
    fn read(&mut self, event: &sse::Event, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        if event.name == "error" {
            let value = serde_json::from_str(&event.data).unwrap_or_default();
            return Err(ErrorWords::of(&value).fault(&self.provider, None, None));
        }
        if event.data.trim() == "[DONE]" {
            // The marker alone is an end too, if there was an answer.
            if self.begun {
                self.finish.get_or_insert_with(|| "stop".to_owned());
            }
            return self.finish(out);
        }
        let chunk: Chunk = serde_json::from_str(&event.data)
            .map_err(|e| self.malformed(format_args!("a chunk of the stream is not as it should be: {e}")))?;
        if let Some(error) = chunk.error {
            return Err(ErrorWords::of(&error).fault(&self.provider, None, None));
        }
        for choice in chunk.choices.unwrap_or_default() {
            if choice.index.unwrap_or(0) == 0 {
                self.take_choice(choice, out)?;
            }
        }
        if let Some(counts) = chunk.usage {
            out.push_back(StreamEvent::Usage(usage(&counts, self.price)));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        self.finish(out)
    }

    fn begun(&self) -> bool {
        self.begun
    }

    fn ended(&self) -> bool {
        self.ended
    }
}

fn usage(counts: &TokenCounts, price: Option<Price>) -> Usage {
    let prompt = counts.prompt_tokens.unwrap_or(0);
    let cached = counts.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens).unwrap_or(0).min(prompt);
    let mut usage = Usage {
        input: prompt - cached,
        output: counts.completion_tokens.unwrap_or(0),
        cache_read: cached,
        cache_write: 0,
        cost: None,
    };
    usage.cost = price.map(|price| price.of(&usage));
    usage
}
