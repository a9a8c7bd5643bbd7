//! The body of a Messages request.

use serde_json::{Map, Value, json};

use super::ASSUMED_ANSWER;
use crate::domain::generation::{
    AssistantContent, Image, ImageSource, Prompt, PromptMessage, ThinkingLevel, ToolOutput, ToolSpec, UserContent,
};

/// The least that this API takes as a thinking budget, in tokens.
const LEAST_BUDGET: u32 = 1024;

/// Tokens to think with.
fn budget(level: ThinkingLevel) -> Option<u32> {
    match level {
        ThinkingLevel::Off => None,
        ThinkingLevel::Minimal => Some(LEAST_BUDGET),
        ThinkingLevel::Low => Some(2048),
        ThinkingLevel::Medium => Some(8192),
        ThinkingLevel::High => Some(16_384),
        ThinkingLevel::Xhigh => Some(32_768),
    }
}

/// Tokens the answer may have, thinking included, and those it may think with.
pub fn limits(prompt: &Prompt, max_output: Option<u32>) -> (u32, Option<u32>) {
    let most = max_output.unwrap_or(u32::MAX).max(1);
    let answer = prompt.max_tokens.unwrap_or(ASSUMED_ANSWER.min(most)).clamp(1, most);
    match thinking_budget(prompt, most) {
        // The limit covers thinking and answer.
        Some(budget) => (answer.saturating_add(budget).min(most), Some(budget)),
        None => (answer, None),
    }
}

/// `max_output`: what the model can give at most, where that is known.
pub fn body(prompt: &Prompt, max_output: Option<u32>) -> Value {
    let (answer, thinking) = limits(prompt, max_output);
    let mut body = Map::new();
    body.insert("model".into(), prompt.model.clone().into());
    body.insert("stream".into(), true.into());
    body.insert("messages".into(), messages(&prompt.messages).into());
    if let Some(system) = prompt.system.as_ref().filter(|s| !s.trim().is_empty()) {
        body.insert("system".into(), system.clone().into());
    }
    if !prompt.tools.is_empty() {
        body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
    }
    match thinking {
        // A temperature is refused beside thinking.
        Some(budget) => {
            body.insert("thinking".into(), json!({ "type": "enabled", "budget_tokens": budget }));
        }
        None => {
            if let Some(temperature) = prompt.temperature {
                body.insert("temperature".into(), json!(temperature));
            }
        }
    }
    body.insert("max_tokens".into(), answer.into());
    body.into()
}

/// Half of what the model can give stays for the answer. No thinking in the middle of a turn that began without.
fn thinking_budget(prompt: &Prompt, most: u32) -> Option<u32> {
    let budget = budget(prompt.thinking)?.min(most / 2);
    (budget >= LEAST_BUDGET && may_think(&prompt.messages)).then_some(budget)
}

/// While tool calls are being answered this API wants the sealed thinking that led to them; without it, no thinking.
fn may_think(messages: &[PromptMessage]) -> bool {
    let Some((PromptMessage::ToolResults(_), before)) = messages.split_last() else { return true };
    match before.last() {
        Some(PromptMessage::Assistant(content)) => {
            matches!(content.first(), Some(AssistantContent::Thinking { signature: Some(_), .. }))
        }
        _ => true,
    }
}

fn tool(spec: &ToolSpec) -> Value {
    json!({ "name": spec.name, "description": spec.description, "input_schema": spec.input_schema })
}

/// Roles alternate: neighbours of one role become one message, with the results of tools in front. Empty ones are left out.
fn messages(messages: &[PromptMessage]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks): (_, Vec<Value>) = match message {
            PromptMessage::User(content) => ("user", content.iter().filter_map(user).collect()),
            PromptMessage::Assistant(content) => ("assistant", content.iter().filter_map(assistant).collect()),
            PromptMessage::ToolResults(results) => ("user", results.iter().map(result).collect()),
        };
        match turns.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, so_far)) if *last == role => so_far.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

/// A text block; this API refuses blank ones.
fn text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

fn user(part: &UserContent) -> Option<Value> {
    match part {
        UserContent::Text(words) => text(words),
        UserContent::File { name, text: words } => text(&format!("File {name}:\n{words}")),
        UserContent::Image(image) => Some(json!({ "type": "image", "source": source(image) })),
    }
}

fn source(image: &Image) -> Value {
    match &image.source {
        ImageSource::Url(url) => json!({ "type": "url", "url": url }),
        ImageSource::Data(data) => json!({ "type": "base64", "media_type": image.media_type, "data": data }),
    }
}

fn assistant(part: &AssistantContent) -> Option<Value> {
    match part {
        AssistantContent::Text(words) => text(words),
        AssistantContent::Thinking { text, signature } => {
            signature.as_ref().map(|seal| json!({ "type": "thinking", "thinking": text, "signature": seal }))
        }
        AssistantContent::ToolCall { id, name, input } => {
            Some(json!({ "type": "tool_use", "id": id, "name": name, "input": input }))
        }
    }
}

fn result(output: &ToolOutput) -> Value {
    let mut block = json!({ "type": "tool_result", "tool_use_id": output.call_id, "content": output.output });
    if output.is_error {
        block["is_error"] = true.into();
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_fit_the_model() {
        let sizes = |thinking, max_tokens, max_output| {
            let prompt = Prompt {
                model: "m".into(),
                system: None,
                messages: Vec::new(),
                tools: Vec::new(),
                thinking,
                max_tokens,
                temperature: None,
                request_id: String::new(),
            };
            let body = body(&prompt, max_output);
            (body["max_tokens"].as_u64(), body["thinking"]["budget_tokens"].as_u64())
        };
        use ThinkingLevel::*;
        assert_eq!(sizes(Off, None, None), (Some(4096), None));
        assert_eq!(sizes(Off, None, Some(1000)), (Some(1000), None));
        assert_eq!(sizes(Off, Some(99_999), Some(8192)), (Some(8192), None));
        assert_eq!(sizes(Minimal, Some(100), None), (Some(1124), Some(1024)));
        assert_eq!(sizes(Xhigh, None, None), (Some(36_864), Some(32_768)));
        assert_eq!(sizes(Xhigh, None, Some(8192)), (Some(8192), Some(4096)));
        assert_eq!(sizes(Xhigh, None, Some(2000)), (Some(2000), None), "too small a model to think");
        let every = ThinkingLevel::ALL.map(|level| sizes(level, Some(1), Some(64_000)));
        assert!(
            every.iter().all(|(answer, budget)| budget.is_none_or(|b| b >= 1024 && Some(b) < *answer)),
            "{every:?}"
        );
    }
}
