//! The context that a model reads: the history as the provider's rules want it.

use std::collections::BTreeSet;

use super::*;
use crate::domain::generation::{
    AssistantContent, Image, ImageSource, Prompt, PromptMessage, ToolOutput, ToolSpec, UserContent,
};
use crate::domain::message::{Attachment, AttachmentKind, Author, MessageState};

impl Conversation {
    /// Whom the turn at work asks.
    pub fn provider(&self) -> Option<&str> {
        self.answer()?.provider.as_deref()
    }

    /// The request for the turn at work. Every tool call in it has a result, whatever happened to it.
    pub fn prompt(&self, tools: Vec<ToolSpec>) -> Option<Prompt> {
        let work = self.work.as_ref()?;
        let turn = self.turn(work.turn)?;
        let mut messages = Vec::new();
        let start = self.settings.context.turn_no;
        let within = |m: &&Message| m.turn_no >= start || m.turn_no == turn.no || m.id == turn.message;
        let read = self.messages.iter().filter(|m| m.turn_no <= turn.no && !m.superseded).filter(within);
        for message in read {
            match message.author {
                Author::User if matches!(message.state, MessageState::Queued | MessageState::Cancelled) => {}
                Author::User => messages.push(PromptMessage::User(user_content(message))),
                Author::Assistant => assistant_messages(message, &mut messages),
            }
        }
        // The oldest that is in memory may be an answer; no provider takes a talk that begins with one.
        let begin = messages.iter().position(|m| matches!(m, PromptMessage::User(_))).unwrap_or(messages.len());
        messages.drain(..begin);
        Some(Prompt {
            // As it was when the turn started.
            model: self.answer()?.model.clone()?,
            system: self.system(),
            messages,
            tools,
            thinking: self.level_now(),
            max_tokens: None,
            temperature: None,
            request_id: work.correlation_id.clone(),
        })
    }
}

fn user_content(message: &Message) -> Vec<UserContent> {
    message
        .parts
        .iter()
        .filter_map(|part| match &part.body {
            PartBody::Text { text } => Some(UserContent::Text(text.clone())),
            PartBody::Attachment(attachment) => Some(attached(attachment)),
            _ => None,
        })
        .collect()
}

/// A picture goes as a picture, a text file as its text; of anything else the model learns the name and the address.
fn attached(attachment: &Attachment) -> UserContent {
    let media_type = attachment.media_type.clone().unwrap_or_else(|| "application/octet-stream".into());
    let source = match (&attachment.data, &attachment.url) {
        (Some(data), _) => Some(ImageSource::Data(data.clone())),
        (None, Some(url)) => Some(ImageSource::Url(url.clone())),
        (None, None) => None,
    };
    if attachment.kind == AttachmentKind::Image
        && let Some(source) = source
    {
        return UserContent::Image(Image { media_type, source });
    }
    let text = attachment.data.as_deref().and_then(decode_text);
    let text =
        text.unwrap_or_else(|| attachment.url.clone().unwrap_or_else(|| "(content not readable as text)".into()));
    UserContent::File { name: attachment.name.clone(), text }
}

fn decode_text(data: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
    String::from_utf8(bytes).ok()
}

/// An answer holds all steps of its turn: it is split where results follow calls.
fn assistant_messages(message: &Message, messages: &mut Vec<PromptMessage>) {
    let mut said: Vec<AssistantContent> = Vec::new();
    let mut results: Vec<ToolOutput> = Vec::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for part in &message.parts {
        if !results.is_empty() && !matches!(part.body, PartBody::ToolResult { .. }) {
            flush(&mut said, &mut results, &mut open, messages);
        }
        match &part.body {
            PartBody::Text { text } if !text.is_empty() => said.push(AssistantContent::Text(text.clone())),
            // Without its seal no provider takes it back, and a message of nothing else would be empty.
            PartBody::Thinking { text, signature: Some(seal) } => {
                said.push(AssistantContent::Thinking { text: text.clone(), signature: Some(seal.clone()) });
            }
            PartBody::ToolCall(call) => {
                open.insert(call.provider_id.clone());
                said.push(AssistantContent::ToolCall {
                    id: call.provider_id.clone(),
                    name: call.tool.clone(),
                    input: call.input.clone(),
                });
            }
            PartBody::ToolResult { result, .. } => {
                open.remove(&result.call_id);
                results.push(result.clone());
            }
            PartBody::Text { .. } | PartBody::Thinking { .. } | PartBody::Attachment(_) => {}
        }
    }
    flush(&mut said, &mut results, &mut open, messages);
}

fn flush(
    said: &mut Vec<AssistantContent>,
    results: &mut Vec<ToolOutput>,
    open: &mut BTreeSet<String>,
    messages: &mut Vec<PromptMessage>,
) {
    for call_id in std::mem::take(open) {
        results.push(ToolOutput { call_id, output: "no result: the call was cut off".into(), is_error: true });
    }
    if !said.is_empty() {
        messages.push(PromptMessage::Assistant(std::mem::take(said)));
    }
    if !results.is_empty() {
        messages.push(PromptMessage::ToolResults(std::mem::take(results)));
    }
}
