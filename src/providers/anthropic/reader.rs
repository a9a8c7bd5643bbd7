//! What the events of a Messages stream mean.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::generation::{Price, ProviderFault, ProviderFaultKind, StopReason, StreamEvent};
use crate::domain::usage::Usage;
use crate::providers::http::ErrorWords;
use crate::providers::openai::parse_arguments;
use crate::providers::session::Reader;
use crate::providers::sse;

/// Bytes that the input of one tool call may have.
const MAX_INPUT: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u64,
        content_block: BlockStart,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: Ending,
        #[serde(default)]
        usage: Option<TokenCounts>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, and whatever is invented later.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockStart {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    ToolUse {
        #[serde(default)]
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// Redacted thinking, tools that run at the provider, and whatever is invented later.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ending {
    #[serde(default)]
    stop_reason: Option<String>,
}

/// Cumulative; what is absent has not changed.
#[derive(Deserialize)]
struct TokenCounts {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

enum Block {
    Text,
    Thinking { signature: String },
    ToolUse { id: String, name: String, input: Value, json: String },
    Other,
}

/// Assembles one answer.
pub struct MessageReader {
    provider: String,
    price: Option<Price>,
    started: bool,
    open: Option<(u64, Block)>,
    /// The index of the last block that was opened.
    last_index: Option<u64>,
    usage: Usage,
    calls: u32,
    /// A tool call whose input is no object: forgiven where the token limit cut it.
    bad_call: Option<ProviderFault>,
    stop_reason: Option<String>,
    begun: bool,
    ended: bool,
}

impl MessageReader {
    pub fn new(provider: &str, price: Option<Price>) -> Self {
        Self {
            provider: provider.to_owned(),
            price,
            started: false,
            open: None,
            last_index: None,
            usage: Usage::default(),
            calls: 0,
            bad_call: None,
            stop_reason: None,
            begun: false,
            ended: false,
        }
    }

    fn malformed(&self, what: impl std::fmt::Display) -> ProviderFault {
        ProviderFault::new(ProviderFaultKind::Malformed, format!("{}: {what}", self.provider))
    }

    fn count(&mut self, counts: Option<TokenCounts>, out: &mut VecDeque<StreamEvent>) {
        let Some(counts) = counts else { return };
        let usage = &mut self.usage;
        usage.input = counts.input_tokens.unwrap_or(usage.input);
        usage.output = counts.output_tokens.unwrap_or(usage.output);
        usage.cache_read = counts.cache_read_input_tokens.unwrap_or(usage.cache_read);
        usage.cache_write = counts.cache_creation_input_tokens.unwrap_or(usage.cache_write);
        usage.cost = self.price.map(|price| price.of(usage));
        out.push_back(StreamEvent::Usage(*usage));
    }

    fn open(&mut self, index: u64, start: BlockStart, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        if !self.started {
            return Err(self.malformed("a block came before the start of the message"));
        }
        if self.last_index.is_some_and(|last| index <= last) {
            return Err(self.malformed(format_args!("block {index} was opened twice or out of order")));
        }
        // llama.cpp sometimes forgets to close a block.
        self.close(out);
        self.last_index = Some(index);
        let block = match start {
            BlockStart::Text { text } => {
                self.speak(text, StreamEvent::Text, out);
                Block::Text
            }
            BlockStart::Thinking { thinking, signature } => {
                self.speak(thinking, StreamEvent::Thinking, out);
                Block::Thinking { signature }
            }
            BlockStart::ToolUse { id, name, input } => {
                self.begun = true;
                Block::ToolUse { id, name, input, json: String::new() }
            }
            BlockStart::Other => Block::Other,
        };
        self.open = Some((index, block));
        Ok(())
    }

    fn speak(&mut self, text: String, event: fn(String) -> StreamEvent, out: &mut VecDeque<StreamEvent>) {
        if !text.is_empty() {
            self.begun = true;
            out.push_back(event(text));
        }
    }

    fn grow(&mut self, index: u64, delta: Delta, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        let block = match &mut self.open {
            Some((open, block)) if *open == index => block,
            _ => return Err(self.malformed(format_args!("a delta for block {index}, which is not open"))),
        };
        match (block, delta) {
            (Block::Text, Delta::Text { text }) => self.speak(text, StreamEvent::Text, out),
            (Block::Thinking { .. }, Delta::Thinking { thinking }) => {
                self.speak(thinking, StreamEvent::Thinking, out);
            }
            (Block::Thinking { signature }, Delta::Signature { signature: piece }) => signature.push_str(&piece),
            (Block::ToolUse { json, .. }, Delta::InputJson { partial_json }) => {
                json.push_str(&partial_json);
                if json.len() > MAX_INPUT {
                    return Err(self.malformed(format_args!("the input of a tool call is over {MAX_INPUT} bytes")));
                }
            }
            (Block::Other, _) | (_, Delta::Other) => {}
            _ => return Err(self.malformed(format_args!("a delta of the wrong type for block {index}"))),
        }
        Ok(())
    }

    fn stop(&mut self, index: u64, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        match &self.open {
            Some((open, _)) if *open == index => self.close(out),
            // Of nothing, or late because the block after it closed it already: it takes nothing away.
            None => {}
            _ if self.last_index.is_some_and(|last| index < last) => {}
            _ => return Err(self.malformed(format_args!("block {index} was closed, but is not open"))),
        }
        Ok(())
    }

    fn close(&mut self, out: &mut VecDeque<StreamEvent>) {
        match self.open.take() {
            None | Some((_, Block::Other)) => {}
            Some((_, Block::Text)) => out.push_back(StreamEvent::BlockEnd),
            Some((_, Block::Thinking { signature })) => {
                if !signature.is_empty() {
                    out.push_back(StreamEvent::Signature(signature));
                }
                out.push_back(StreamEvent::BlockEnd);
            }
            Some((index, Block::ToolUse { id, name, input, json })) => {
                let input = if json.is_empty() && input.is_object() { Ok(input) } else { parse_arguments(&json) };
                match input {
                    Ok(input) => {
                        let made = || format!("toolu_{:032x}_{index}", uuid::Uuid::now_v7().as_u128());
                        let id = if id.is_empty() { made() } else { id };
                        self.calls += 1;
                        out.push_back(StreamEvent::ToolCall { id, name, input });
                    }
                    Err(why) => {
                        let name = name.chars().take(80).collect::<String>();
                        let fault = self.malformed(format_args!("the input of its tool call {name}: {why}"));
                        self.bad_call.get_or_insert(fault);
                    }
                }
            }
        }
    }

    fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        self.close(out);
        let reason = match self.stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => StopReason::MaxTokens,
            Some("refusal") => StopReason::Refusal,
            _ if self.calls > 0 => StopReason::ToolUse,
            _ => StopReason::EndTurn,
        };
        if let Some(fault) = self.bad_call.take().filter(|_| reason != StopReason::MaxTokens) {
            return Err(fault);
        }
        self.ended = true;
        out.push_back(StreamEvent::Ended(reason));
        Ok(())
    }

    fn take(&mut self, frame: Frame, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        match frame {
            Frame::MessageStart { .. } if self.started => Err(self.malformed("the message started twice")),
            Frame::MessageStart { message } => {
                self.started = true;
                self.count(message.usage, out);
                Ok(())
            }
            Frame::ContentBlockStart { index, content_block } => self.open(index, content_block, out),
            Frame::ContentBlockDelta { index, delta } => self.grow(index, delta, out),
            Frame::ContentBlockStop { index } => self.stop(index, out),
            Frame::MessageDelta { delta, usage } => {
                if let Some(reason) = delta.stop_reason {
                    self.begun = true;
                    self.stop_reason = Some(reason);
                }
                self.count(usage, out);
                Ok(())
            }
            Frame::MessageStop if !self.started => Err(self.malformed("the message ended before it started")),
            Frame::MessageStop => self.finish(out),
            Frame::Error { error } => Err(ErrorWords::of(&error).fault(&self.provider, None, None)),
            Frame::Other => Ok(()),
        }
    }
}

impl Reader for MessageReader {
    fn read(&mut self, event: &sse::Event, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        let frame = serde_json::from_str(&event.data)
            .map_err(|e| self.malformed(format_args!("an event of the stream is not as it should be: {e}")))?;
        self.take(frame, out)
    }

    /// A stop reason says that the answer is whole, also where `message_stop` is missing.
    fn end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault> {
        if self.stop_reason.is_some() {
            return self.finish(out);
        }
        let message = format!("{}: the stream ended before the answer was complete", self.provider);
        Err(ProviderFault::new(ProviderFaultKind::Network, message))
    }

    fn begun(&self) -> bool {
        self.begun
    }

    fn ended(&self) -> bool {
        self.ended
    }
}
