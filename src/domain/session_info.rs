//! What a client shows of a conversation's agent session: who answers, how, and how full its context is.

use super::generation::ThinkingLevel;
use super::usage::Usage;

/// Why a model answers, where a rule chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingDecision {
    pub model: String,
    pub provider: String,
    pub rule_name: String,
    /// One sentence for a human.
    pub reason: String,
}

/// Who would answer now.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    pub provider: String,
    pub model: String,
    pub thinking: ThinkingLevel,
    /// The levels that the model has.
    pub levels: Vec<ThinkingLevel>,
    pub agent: String,
    pub routing: Option<RoutingDecision>,
}

/// How much of a model's context window the newest request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContextUse {
    /// Tokens in and out of it; none where nothing was asked yet or the provider did not say.
    pub tokens: Option<u64>,
    /// Tokens that the model can take; 0 where that is not known.
    pub window: u64,
}

impl ContextUse {
    /// 0 to 100, with one digit behind the point.
    pub fn percent(self) -> Option<f64> {
        let tokens = self.tokens.filter(|_| self.window > 0)?;
        Some((tokens as f64 * 1000.0 / self.window as f64).round() / 10.0)
    }
}

/// Where a conversation stands as one of its turns ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// All turns of the conversation together.
    pub totals: Usage,
    /// Who answered that turn, or would have.
    pub provider: String,
    pub model: String,
    pub thinking: ThinkingLevel,
    pub context: ContextUse,
}
