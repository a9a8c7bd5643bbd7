//! What the hub says to a model and what it hears back: one vocabulary for all providers.

use serde_json::Value;

use super::usage::Usage;

/// How hard the model shall think, in the words of every wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ThinkingLevel {
    #[default]
    Off,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

impl ThinkingLevel {
    pub const ALL: [Self; 6] = [Self::Off, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh];

    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == word)
    }
}

/// What is known about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The provider's own name of it.
    pub id: String,
    /// Tokens of prompt and answer together.
    pub context_window: u32,
    /// Tokens an answer may have at most, where that is known.
    pub max_output: Option<u32>,
    /// The levels it can think at; always with `Off`.
    pub thinking: Vec<ThinkingLevel>,
    pub price: Option<Price>,
}

impl Model {
    /// The id that stands for all models of a provider that are not listed by their own.
    pub const OTHERS: &'static str = "*";
}

/// What a million tokens of each kind cost, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl Price {
    /// What `usage` costs, in millionths of a US dollar; a begun one counts whole.
    pub fn of(&self, usage: &Usage) -> u64 {
        let kinds = [
            (usage.input, self.input),
            (usage.output, self.output),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
        ];
        let sum = kinds.iter().fold(0u128, |sum, (tokens, price)| {
            sum.saturating_add(u128::from(*tokens).saturating_mul(u128::from(*price)))
        });
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// What so many tokens cost at most, whichever kind of input they turn out to be.
    pub fn most(&self, input: u64, output: u64) -> u64 {
        let dearest = self.input.max(self.cache_read).max(self.cache_write);
        Price { input: dearest, ..*self }.of(&Usage { input, output, ..Usage::default() })
    }
}

/// One request to a model: one step of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    pub model: String,
    pub system: Option<String>,
    pub messages: Vec<PromptMessage>,
    pub tools: Vec<ToolSpec>,
    pub thinking: ThinkingLevel,
    /// Tokens the answer may have; the provider's default where absent.
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
    /// Correlation id, sent along as `x-request-id`.
    pub request_id: String,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of the input object.
    pub input_schema: Value,
}

/// A message of the context, in the order the model reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum PromptMessage {
    User(Vec<UserContent>),
    Assistant(Vec<AssistantContent>),
    /// The results of all tool calls of the assistant message before it.
    ToolResults(Vec<ToolOutput>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum UserContent {
    Text(String),
    Image(Image),
    /// A file, as text that the model can read.
    File {
        name: String,
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Such as `image/png`.
    pub media_type: String,
    pub source: ImageSource,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// Base64, standard alphabet, padded.
    Data(String),
    Url(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum AssistantContent {
    Text(String),
    /// `signature` is the provider's own seal; without it the thinking is not sent back.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    ToolCall {
        id: String,
        name: String,
        input: Value,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// The provider's id of the call.
    pub call_id: String,
    pub output: String,
    pub is_error: bool,
}

/// What a provider's stream says, in order. After `Ended` or an error nothing more comes.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// More text of the current text block; a block of another kind before it ends that one.
    Text(String),
    /// More thinking of the current thinking block.
    Thinking(String),
    /// The seal of the current thinking block, whole.
    Signature(String),
    /// The current block is complete; what follows is a new one, also if of the same kind.
    BlockEnd,
    /// A tool call, once its input is complete and is a JSON object. `id` is the provider's, or made where it gave none.
    ToolCall {
        id: String,
        name: String,
        input: Value,
    },
    /// Usage of this step; each one replaces the one before.
    Usage(Usage),
    Ended(StopReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model is done.
    EndTurn,
    /// It wants its tool calls answered.
    ToolUse,
    /// The token limit cut it.
    MaxTokens,
    /// The provider refused or filtered the content.
    Refusal,
}

impl StopReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::Refusal => "refusal",
        }
    }
}

/// Why a stream failed. `message` is fit for a user: no key, no header, no address with a query.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderFault {
    pub kind: ProviderFaultKind,
    pub message: String,
    /// HTTP status where there was one.
    pub status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderFaultKind {
    /// Cannot be reached, or the connection broke.
    Network,
    /// No head, or no byte, within the time allowed.
    Timeout,
    /// 429 or 529 after all retries.
    Overloaded,
    /// 401 or 403: the key is wrong.
    Credentials,
    /// 4xx: the request is not acceptable.
    Rejected,
    /// 5xx, or an error event in mid-stream.
    Server,
    /// The stream breaks the wire's rules.
    Malformed,
    /// The prompt does not fit the model's context window.
    ContextTooLong,
}

impl ProviderFaultKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Credentials => "credentials",
            Self::Rejected => "rejected",
            Self::Server => "server",
            Self::Malformed => "malformed",
            Self::ContextTooLong => "context_too_long",
        }
    }
}

impl ProviderFault {
    pub fn new(kind: ProviderFaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None }
    }
}

impl std::fmt::Display for ProviderFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProviderFault {}
