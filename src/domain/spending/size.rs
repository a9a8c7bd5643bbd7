//! How large a call may become, before anybody has counted its tokens.

use super::{Amount, MOST};
use crate::domain::generation::{AssistantContent, ImageSource, Price, Prompt, PromptMessage, UserContent};

/// Tokens that a wire puts around a message or a tool.
const FRAME: u64 = 16;
/// Tokens of a picture. Providers make it smaller first; how many tokens are left differs, this is more than most.
const PICTURE: u64 = 8192;
/// Bytes of usual text in a token.
const USUAL: u64 = 4;

/// How much a prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Bytes of text, the schemas of tools included.
    pub bytes: u64,
    pub pictures: u64,
    /// Messages and tools.
    pub pieces: u64,
}

impl Size {
    /// Tokens at most: no vocabulary needs more than one for a byte.
    pub fn most(self) -> u64 {
        self.with(self.bytes)
    }

    /// Tokens, about.
    pub fn about(self) -> u64 {
        self.with(about(self.bytes))
    }

    fn with(self, text: u64) -> u64 {
        let rest = self.pictures.saturating_mul(PICTURE).saturating_add(self.pieces.saturating_mul(FRAME));
        text.saturating_add(rest).min(MOST)
    }

    fn text(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
    }
}

/// Tokens of so many bytes of text, about.
pub fn about(bytes: u64) -> u64 {
    bytes.div_ceil(USUAL)
}

/// The size of a prompt.
pub fn size(prompt: &Prompt) -> Size {
    let mut size = Size { pieces: 1, ..Size::default() };
    size.text(prompt.system.as_deref().unwrap_or_default());
    for tool in &prompt.tools {
        size.pieces += 1;
        size.text(&tool.name);
        size.text(&tool.description);
        size.text(&tool.input_schema.to_string());
    }
    for message in &prompt.messages {
        size.pieces += 1;
        match message {
            PromptMessage::User(content) => content.iter().for_each(|part| user(part, &mut size)),
            PromptMessage::Assistant(content) => content.iter().for_each(|part| assistant(part, &mut size)),
            PromptMessage::ToolResults(results) => {
                for result in results {
                    size.pieces += 1;
                    size.text(&result.call_id);
                    size.text(&result.output);
                }
            }
        }
    }
    size
}

fn user(part: &UserContent, size: &mut Size) {
    match part {
        UserContent::Text(text) => size.text(text),
        UserContent::File { name, text } => {
            size.pieces += 1;
            size.text(name);
            size.text(text);
        }
        UserContent::Image(image) => {
            size.pictures += 1;
            if let ImageSource::Url(url) = &image.source {
                size.text(url);
            }
        }
    }
}

fn assistant(part: &AssistantContent, size: &mut Size) {
    match part {
        AssistantContent::Text(text) => size.text(text),
        AssistantContent::Thinking { text, signature } => {
            size.text(text);
            size.text(signature.as_deref().unwrap_or_default());
        }
        AssistantContent::ToolCall { id, name, input } => {
            size.pieces += 1;
            size.text(id);
            size.text(name);
            size.text(&input.to_string());
        }
    }
}

/// The worst case of a call: so many tokens in and out, at that price.
pub fn worst(input: u64, output: u64, price: Option<Price>) -> Amount {
    let tokens = input.saturating_add(output).min(MOST);
    Amount { tokens, micros: price.map_or(0, |price| price.most(input, output)).min(MOST) }
}
