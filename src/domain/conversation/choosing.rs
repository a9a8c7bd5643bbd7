//! Which model answers: what rules decide when a message comes, what beats them, and what follows a failure.

use super::*;
use crate::domain::generation::{Model, ProviderFault, ThinkingLevel};
use crate::domain::routing::{self, Choice, ChosenBy, Question, Wishes};
use crate::domain::session_info::{ContextUse, RoutingDecision};
use crate::error::Fault;

impl Conversation {
    /// What the rules say of a message that comes now. It is decided by this conversation's own row alone.
    pub fn routed(&self, content: &str, attachments: usize, user: &UserId) -> Option<RoutingDecision> {
        if !self.rules.agent.routing {
            return None;
        }
        let question = Question {
            content,
            attachments,
            agent: &self.rules.agent.name,
            user,
            organization: &self.settings.organization,
            tags: &self.settings.tags,
        };
        self.rules.routes.routing.decide(&question)
    }

    /// The same for a message that is answered once more.
    pub(super) fn routed_again(&self, message: MessageId, user: &UserId) -> Option<RoutingDecision> {
        let message = self.message(message)?;
        let attached = |part: &&Part| matches!(part.body, PartBody::Attachment(_));
        self.routed(&message.text(), message.parts.iter().filter(attached).count(), user)
    }

    /// Who answers: what is asked for with the message, else the conversation's own model, else what a rule decided,
    /// else the agent's.
    pub fn choice(&self, message: Option<&str>, decided: Option<&RoutingDecision>) -> Choice {
        let agent = &self.rules.agent;
        self.rules.routes.catalog.choose(Wishes {
            message,
            conversation: self.settings.model.as_deref(),
            decided,
            agent: (&agent.provider, &agent.model),
        })
    }

    /// Who answers a turn that starts.
    pub(super) fn choice_of(&self, id: TurnId) -> Choice {
        let turn = self.turn(id);
        self.choice(turn.and_then(|t| t.model.as_deref()), turn.and_then(|t| t.routing.as_deref()))
    }

    /// Who would answer now: as the newest turn was routed, where nobody chose.
    pub fn choice_now(&self) -> Choice {
        let newest = self.live.iter().rev().find(|t| t.state != TurnState::Queued).or_else(|| self.newest_ended());
        let decided = newest.and_then(|turn| turn.routing.as_deref()).filter(|_| self.rules.agent.routing);
        self.choice(None, decided)
    }

    /// How full the context is, about: as the next prompt would be, without the tools.
    pub fn context_now(&self) -> ContextUse {
        let window = self.rules.routes.catalog.model(&self.choice_now().target).context_window;
        ContextUse { tokens: Some(self.context_tokens()), window: window.into() }
    }

    /// What is known of the model that answers the turn at work.
    pub(super) fn model_at_work(&self) -> Option<Model> {
        let answer = self.answer()?;
        let target = Target { provider: answer.provider.clone()?, model: answer.model.clone()? };
        Some(self.rules.routes.catalog.model(&target))
    }

    /// The level that the turn at work thinks at: the wished one, as far as its model has it.
    pub(super) fn level_now(&self) -> ThinkingLevel {
        let model = self.model_at_work();
        model.map_or(self.settings.thinking, |model| routing::thinking(self.settings.thinking, &model))
    }

    /// A level is refused that the model has not got which would answer.
    pub(super) fn refuse_unknown_level(&self, change: &SettingsChange) -> Result<(), Fault> {
        let Some(level) = change.thinking else { return Ok(()) };
        let target = match &change.model {
            Some(Some(model)) => self.rules.routes.catalog.find(model, &self.rules.agent.provider),
            Some(None) => {
                self.rules
                    .routes
                    .catalog
                    .choose(Wishes {
                        message: None,
                        conversation: None,
                        decided: None,
                        agent: (&self.rules.agent.provider, &self.rules.agent.model),
                    })
                    .target
            }
            None => self.choice_now().target,
        };
        let model = self.rules.routes.catalog.model(&target);
        if model.thinking.contains(&level) {
            return Ok(());
        }
        let levels: Vec<&str> = model.thinking.iter().map(|level| level.name()).collect();
        let wrong = format!("{} is not one of {}, which {target} has", level.name(), levels.join(", "));
        Err(Fault::field("thinkingLevel", wrong))
    }

    /// The provider failed before it began to answer: the next one of the list is asked, unless somebody asked for
    /// exactly that model. False where there is none.
    pub(super) fn fall_back(&mut self, fault: &ProviderFault, out: &mut Outcome, source: &mut dyn Source) -> bool {
        let Some(failed) = self.failed_early() else { return false };
        let Some(work) = &mut self.work else { return false };
        let Some(next) = self.rules.routes.routing.after(&failed, &work.tried).cloned() else { return false };
        work.tried.push(failed.clone());
        let id = work.turn;
        let decision = routing::fallen_back(&failed, &fault.message, &next);
        let conversation = self.conversation();
        self.show_switch(Choice { target: next.clone(), by: ChosenBy::Rule, decision: Some(decision.clone()) }, out);
        if let Some(turn) = self.live_mut(id) {
            turn.routing = Some(Box::new(decision));
            // The request that came to nothing is no step.
            turn.steps = turn.steps.saturating_sub(1);
        }
        let refs =
            serde_json::json!({ "failed": failed.to_string(), "asked": next.to_string(), "fault": fault.kind.name() });
        out.writes.push(Self::fact("turn.fell_back", Some(id), None, refs));
        if let Some(answer) = self.answer_mut() {
            (answer.provider, answer.model) = (Some(next.provider), Some(next.model));
            let answer = answer.clone();
            out.writes.push(Write::Message(answer.clone()));
            out.events.push(Event::MessageUpdated { conversation, message: Arc::new(answer) });
        }
        self.generate(out, source);
        true
    }

    /// Whoever answers the turn at work, if nothing was heard in this step and others may answer too.
    fn failed_early(&self) -> Option<Target> {
        let work = self.work.as_ref().filter(|work| !work.heard)?;
        let turn = self.turn(work.turn)?;
        let by = self.choice(turn.model.as_deref(), turn.routing.as_deref()).by;
        let answer = self.answer()?;
        let target = Target { provider: answer.provider.clone()?, model: answer.model.clone()? };
        (!ChosenBy::is_explicit(by)).then_some(target)
    }
}
