//! The body of a chat completions request.

use serde_json::{Map, Value, json};

use crate::domain::generation::{
    AssistantContent, Image, ImageSource, Prompt, PromptMessage, ThinkingLevel, ToolSpec, UserContent,
};

/// `limit` is the name under which this API takes the limit of the answer's tokens.
pub fn body(prompt: &Prompt, limit: &str) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), prompt.model.clone().into());
    body.insert("messages".into(), messages(prompt).into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    if !prompt.tools.is_empty() {
        body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
    }
    if let Some(tokens) = prompt.max_tokens {
        body.insert(limit.into(), tokens.into());
    }
    if let Some(temperature) = prompt.temperature {
        body.insert("temperature".into(), json!(temperature));
    }
    if prompt.thinking != ThinkingLevel::Off {
        body.insert("reasoning_effort".into(), prompt.thinking.name().into());
    }
    body.into()
}

fn tool(spec: &ToolSpec) -> Value {
    json!({ "type": "function", "function": {
        "name": spec.name, "description": spec.description, "parameters": spec.input_schema,
    }})
}

fn messages(prompt: &Prompt) -> Vec<Value> {
    let mut messages = Vec::new();
    if let Some(system) = &prompt.system {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for message in &prompt.messages {
        match message {
            PromptMessage::User(content) => messages.push(json!({ "role": "user", "content": user(content) })),
            PromptMessage::Assistant(content) => messages.extend(assistant(content)),
            PromptMessage::ToolResults(results) => messages.extend(
                results.iter().map(|r| json!({ "role": "tool", "tool_call_id": r.call_id, "content": r.output })),
            ),
        }
    }
    messages
}

/// One string where there are only words: not every server takes a list.
fn user(content: &[UserContent]) -> Value {
    let words = |part: &UserContent| match part {
        UserContent::Text(text) => Some(text.clone()),
        UserContent::File { name, text } => Some(format!("File {name}:\n{text}")),
        UserContent::Image(_) => None,
    };
    if let Some(words) = content.iter().map(words).collect::<Option<Vec<_>>>() {
        return words.join("\n\n").into();
    }
    let part = |part: &UserContent| match part {
        UserContent::Image(image) => json!({ "type": "image_url", "image_url": { "url": url(image) } }),
        other => json!({ "type": "text", "text": words(other) }),
    };
    content.iter().map(part).collect()
}

fn url(image: &Image) -> String {
    match &image.source {
        ImageSource::Url(url) => url.clone(),
        ImageSource::Data(data) => format!("data:{};base64,{data}", image.media_type),
    }
}

/// Thinking is not sent back on this wire. A message without anything else is left out.
fn assistant(content: &[AssistantContent]) -> Option<Value> {
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in content {
        match part {
            AssistantContent::Text(piece) => text.push_str(piece),
            AssistantContent::Thinking { .. } => {}
            AssistantContent::ToolCall { id, name, input } => calls.push(json!({
                "id": id, "type": "function", "function": { "name": name, "arguments": input.to_string() },
            })),
        }
    }
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let mut message =
        json!({ "role": "assistant", "content": if text.is_empty() { Value::Null } else { text.into() } });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    Some(message)
}
