//! Which model answers: rules in order, the choices that beat them, and where to turn when a provider fails.

use std::sync::Arc;

use super::generation::{Model, ThinkingLevel};
use super::ids::{OrganizationId, UserId};
use super::session_info::RoutingDecision;

/// What a rule's patterns look at, in characters: they are read against the beginning of a message.
const READ: usize = 4096;

/// The name of the decision that a provider's failure made.
pub const FALLBACK: &str = "fallback";

/// A provider and one of its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub provider: String,
    pub model: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A rule of the configuration. All that it names must hold; of a list one entry is enough; what is empty is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    /// Pieces of text that the message holds; case does not count.
    pub contains: Vec<String>,
    /// Patterns for the whole message, where `*` is any text and `?` one character; case does not count.
    pub glob: Vec<String>,
    /// Characters of the message.
    pub at_least: Option<usize>,
    pub at_most: Option<usize>,
    /// Whether something is attached.
    pub attachments: Option<bool>,
    pub agents: Vec<String>,
    pub users: Vec<String>,
    pub organizations: Vec<String>,
    /// Of the conversation.
    pub tags: Vec<String>,
    pub target: Target,
    /// One sentence for a human; empty: what held.
    pub reason: String,
}

/// What rules and fallbacks there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing {
    /// The first that matches decides.
    pub rules: Vec<Rule>,
    /// Asked in this order when a provider fails before its first token.
    pub fallback: Vec<Target>,
}

/// A message that looks for its model.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub content: &'a str,
    pub attachments: usize,
    pub agent: &'a str,
    pub user: &'a UserId,
    pub organization: &'a OrganizationId,
    pub tags: &'a [String],
}

/// What a rule said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub rule: String,
    pub target: Target,
    pub matched: bool,
    /// What held, or the first thing that did not.
    pub why: String,
}

impl Rule {
    /// What held.
    ///
    /// # Errors
    /// The first thing that did not.
    pub fn judge(&self, question: &Question<'_>) -> Result<String, String> {
        let mut held = Vec::new();
        let mut note = |found: Option<String>| held.extend(found);
        note(named("organization", &self.organizations, question.organization.as_str())?);
        note(named("user", &self.users, question.user.as_str())?);
        note(named("agent", &self.agents, question.agent)?);
        note(self.judge_tags(question)?);
        note(self.judge_attachments(question)?);
        note(self.judge_length(question)?);
        note(self.judge_words(question)?);
        note(self.judge_patterns(question)?);
        Ok(if held.is_empty() { "it takes every message".to_owned() } else { held.join(", ") })
    }

    fn judge_tags(&self, question: &Question<'_>) -> Result<Option<String>, String> {
        if self.tags.is_empty() {
            return Ok(None);
        }
        let found = self.tags.iter().find(|tag| question.tags.contains(tag));
        let found = found.ok_or_else(|| format!("the conversation has no tag of {}", self.tags.join(", ")))?;
        Ok(Some(format!("the conversation has the tag {found}")))
    }

    fn judge_attachments(&self, question: &Question<'_>) -> Result<Option<String>, String> {
        let has = question.attachments > 0;
        let said = if has { "something is attached" } else { "nothing is attached" };
        match self.attachments {
            None => Ok(None),
            Some(wanted) if wanted == has => Ok(Some(said.to_owned())),
            Some(_) => Err(said.to_owned()),
        }
    }

    fn judge_length(&self, question: &Question<'_>) -> Result<Option<String>, String> {
        if self.at_least.is_none() && self.at_most.is_none() {
            return Ok(None);
        }
        let length = question.content.chars().count();
        if let Some(least) = self.at_least.filter(|least| length < *least) {
            return Err(format!("the message has {length} characters, fewer than {least}"));
        }
        if let Some(most) = self.at_most.filter(|most| length > *most) {
            return Err(format!("the message has {length} characters, more than {most}"));
        }
        Ok(Some(format!("the message has {length} characters")))
    }

    fn judge_words(&self, question: &Question<'_>) -> Result<Option<String>, String> {
        if self.contains.is_empty() {
            return Ok(None);
        }
        let content = question.content.to_lowercase();
        match self.contains.iter().find(|piece| content.contains(&piece.to_lowercase())) {
            Some(piece) => Ok(Some(format!("the message contains {piece:?}"))),
            None => Err(format!("the message contains none of {:?}", self.contains)),
        }
    }

    fn judge_patterns(&self, question: &Question<'_>) -> Result<Option<String>, String> {
        if self.glob.is_empty() {
            return Ok(None);
        }
        let content: Vec<char> = question.content.chars().take(READ).flat_map(char::to_lowercase).collect();
        match self.glob.iter().find(|pattern| fits(pattern, &content)) {
            Some(pattern) => Ok(Some(format!("the message fits {pattern:?}"))),
            None => Err(format!("the message fits none of {:?}", self.glob)),
        }
    }

    /// Whether it is a rule for that organization at all: others do not learn that it is there.
    fn concerns(&self, organization: &OrganizationId) -> bool {
        self.organizations.is_empty() || self.organizations.iter().any(|one| one == organization.as_str())
    }
}

fn named(what: &str, wanted: &[String], is: &str) -> Result<Option<String>, String> {
    if wanted.is_empty() {
        return Ok(None);
    }
    match wanted.iter().any(|one| one == is) {
        true => Ok(Some(format!("the {what} is {is}"))),
        false => Err(format!("the {what} is {is}")),
    }
}

/// Whether the text fits the pattern as a whole. Takes pattern times text steps at most.
fn fits(pattern: &str, text: &[char]) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let (mut p, mut t) = (0, 0);
    // Where the newest star stands, and how much it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(one) if *one == '?' || *one == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, t) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

impl Routing {
    /// The first rule that matches. Nothing is remembered of it: the same question is judged anew each time.
    pub fn decide(&self, question: &Question<'_>) -> Option<RoutingDecision> {
        self.rules.iter().find_map(|rule| rule.judge(question).ok().map(|held| decision(rule, held)))
    }

    /// What each rule says, in order; rules for other organizations are left out.
    pub fn explain(&self, question: &Question<'_>) -> Vec<Judged> {
        let judged = |rule: &Rule| {
            let (matched, why) = match rule.judge(question) {
                Ok(held) => (true, held),
                Err(missed) => (false, missed),
            };
            Judged { rule: rule.name.clone(), target: rule.target.clone(), matched, why }
        };
        self.rules.iter().filter(|rule| rule.concerns(question.organization)).map(judged).collect()
    }

    /// Who is asked after `failed`, of those not in `tried`.
    pub fn after(&self, failed: &Target, tried: &[Target]) -> Option<&Target> {
        self.fallback.iter().find(|target| *target != failed && !tried.contains(target))
    }
}

fn decision(rule: &Rule, held: String) -> RoutingDecision {
    RoutingDecision {
        model: rule.target.model.clone(),
        provider: rule.target.provider.clone(),
        rule_name: rule.name.clone(),
        reason: if rule.reason.is_empty() { held } else { rule.reason.clone() },
    }
}

/// The decision that a failure made.
pub fn fallen_back(failed: &Target, why: &str, to: &Target) -> RoutingDecision {
    RoutingDecision {
        model: to.model.clone(),
        provider: to.provider.clone(),
        rule_name: FALLBACK.to_owned(),
        reason: format!("{failed} failed before its first token: {why}"),
    }
}

/// Who answers, and what chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub target: Target,
    pub by: ChosenBy,
    /// Where a rule chose it.
    pub decision: Option<RoutingDecision>,
}

/// Strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The message names its model.
    Message,
    /// The conversation's own model, until it is cleared.
    Conversation,
    Rule,
    Agent,
}

impl ChosenBy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Conversation => "conversation",
            Self::Rule => "rule",
            Self::Agent => "agent",
        }
    }

    /// Somebody asked for exactly this model: no other one answers in its place.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::Message | Self::Conversation)
    }
}

/// What might choose.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    pub message: Option<&'a str>,
    pub conversation: Option<&'a str>,
    pub decided: Option<&'a RoutingDecision>,
    /// Provider and model of the agent.
    pub agent: (&'a str, &'a str),
}

impl Catalog {
    /// The strongest wish.
    pub fn choose(&self, wishes: Wishes<'_>) -> Choice {
        let explicit = wishes.message.map(|model| (model, ChosenBy::Message));
        let explicit = explicit.or_else(|| wishes.conversation.map(|model| (model, ChosenBy::Conversation)));
        if let Some((model, by)) = explicit {
            return Choice { target: self.find(model, wishes.agent.0), by, decision: None };
        }
        if let Some(decision) = wishes.decided {
            let target = Target { provider: decision.provider.clone(), model: decision.model.clone() };
            return Choice { target, by: ChosenBy::Rule, decision: Some(decision.clone()) };
        }
        let target = Target { provider: wishes.agent.0.to_owned(), model: wishes.agent.1.to_owned() };
        Choice { target, by: ChosenBy::Agent, decision: None }
    }

    /// The provider of a model that is named with or without it: `openai/gpt-5`, a model that one provider lists, else
    /// one of `usual`.
    pub fn find(&self, model: &str, usual: &str) -> Target {
        let target = |provider: &str, model: &str| Target { provider: provider.to_owned(), model: model.to_owned() };
        if let Some((provider, rest)) = model.split_once('/')
            && !rest.is_empty()
            && self.providers.iter().any(|known| known.name == provider)
        {
            return target(provider, rest);
        }
        let lists = |known: &&Provider| known.lists(model);
        let of_usual = self.providers.iter().filter(|known| known.name == usual).find(lists);
        match of_usual.or_else(|| self.providers.iter().find(lists)) {
            Some(known) => target(&known.name, model),
            None => target(usual, model),
        }
    }

    pub fn model(&self, target: &Target) -> Model {
        let known = self.providers.iter().find(|known| known.name == target.provider);
        known.map_or_else(|| unknown(&target.model), |known| known.model(&target.model))
    }

    /// Names that may be asked for, with their providers.
    pub fn names(&self) -> Vec<String> {
        let of = |known: &Provider| {
            let mut names: Vec<String> = known.models.iter().map(|model| model.id.clone()).collect();
            if !names.contains(&known.default_model) {
                names.insert(0, known.default_model.clone());
            }
            let name = known.name.clone();
            names.into_iter().filter(|id| id != Model::OTHERS).map(move |id| format!("{name}/{id}"))
        };
        self.providers.iter().flat_map(of).collect()
    }
}

/// The hub's providers and their models, as far as they are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    pub providers: Vec<Provider>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub name: String,
    pub default_model: String,
    pub models: Vec<Model>,
    /// What is assumed of all others.
    pub others: Model,
}

impl Provider {
    fn lists(&self, id: &str) -> bool {
        id != Model::OTHERS && (id == self.default_model || self.models.iter().any(|model| model.id == id))
    }

    fn model(&self, id: &str) -> Model {
        let listed = self.models.iter().find(|model| model.id == id);
        listed.cloned().unwrap_or_else(|| Model { id: id.to_owned(), ..self.others.clone() })
    }
}

fn unknown(id: &str) -> Model {
    Model { id: id.to_owned(), context_window: 0, max_output: None, thinking: vec![ThinkingLevel::Off], price: None }
}

/// The level that a model has which comes nearest to the one that is wished for, from below.
pub fn thinking(wished: ThinkingLevel, model: &Model) -> ThinkingLevel {
    model.thinking.iter().copied().filter(|level| *level <= wished).max().unwrap_or_default()
}

/// How much of a model's window a conversation may fill before the older part of it is summarized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextRules {
    /// Percent of the window; 0: nothing is summarized by itself.
    pub fill_percent: u64,
    /// Percent of the window that the newest turns keep word for word.
    pub keep_percent: u64,
    /// Tokens of a summary at most.
    pub summary_tokens: u32,
}

impl Default for ContextRules {
    fn default() -> Self {
        Self { fill_percent: 0, keep_percent: 20, summary_tokens: 1024 }
    }
}

/// What a conversation knows of models.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub routing: Arc<Routing>,
    pub catalog: Arc<Catalog>,
    pub context: ContextRules,
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
