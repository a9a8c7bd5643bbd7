//! Who answers, and how full the context is: what a client shows of the agent session.

use std::sync::Arc;

use super::*;
use crate::domain::generation::ThinkingLevel;
use crate::domain::message::Author;
use crate::domain::routing::{self, Choice};
use crate::domain::session_info::{ContextUse, SessionInfo, Tally};
use crate::error::{Code, Fault};

impl Conversation {
    /// Who would answer now a message that asks for that model, or for none.
    pub fn info(&self, asked: Option<&str>) -> SessionInfo {
        self.info_of(if asked.is_some() { self.choice(asked, None) } else { self.choice_now() })
    }

    /// Who answers that turn, or will.
    pub fn info_of_turn(&self, turn: TurnId) -> SessionInfo {
        self.info_of(self.choice_of(turn))
    }

    pub(super) fn info_of(&self, choice: Choice) -> SessionInfo {
        let model = self.rules.routes.catalog.model(&choice.target);
        SessionInfo {
            thinking: routing::thinking(self.settings.thinking, &model),
            levels: model.thinking,
            provider: choice.target.provider,
            model: choice.target.model,
            agent: self.rules.agent.name.clone(),
            routing: choice.decision,
        }
    }

    /// Where the conversation stands as that turn ends.
    pub(super) fn tally(&self, turn: &Turn) -> Tally {
        let answer = turn.answer.and_then(|id| self.message(id));
        let answered = answer.and_then(|m| Some((m.provider.clone()?, m.model.clone()?)));
        let target = match answered {
            Some((provider, model)) => Target { provider, model },
            None => self.choice(turn.model.as_deref(), turn.routing.as_deref()).target,
        };
        let known = self.rules.routes.catalog.model(&target);
        let Target { provider, model } = target;
        let window = known.context_window.into();
        Tally {
            totals: self.settings.usage,
            context: ContextUse { tokens: self.last_step, window },
            thinking: routing::thinking(self.settings.thinking, &known),
            provider,
            model,
        }
    }

    /// Provider and model of the newest answer.
    pub(super) fn last_answered(&self) -> Option<(String, String)> {
        let answer = self.messages.iter().rev().find(|m| m.author == Author::Assistant)?;
        Some((answer.provider.clone()?, answer.model.clone()?))
    }

    /// Sets how hard the model thinks. All are told, also where it was so already.
    ///
    /// # Errors
    /// `bad_request` with the levels that the model has.
    pub fn think(&mut self, word: &str, source: &mut dyn Source) -> Result<Outcome, Fault> {
        self.refuse_if_archived()?;
        let levels = self.info(None).levels;
        let Some(level) = ThinkingLevel::parse(word).filter(|level| levels.contains(level)) else {
            let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
            let text = format!("level: the model thinks at {}", names.join(", "));
            let details = serde_json::json!({ "field": "level", "available": names });
            return Err(Fault::new(Code::BadRequest, text).with_details(details));
        };
        let mut out = Outcome::default();
        if level == self.settings.thinking {
            self.tell_session(&mut out);
        } else {
            self.settings.thinking = level;
            self.touch_session(source.now(), &mut out);
        }
        Ok(out)
    }

    /// Writes the conversation's own row, and tells who answers from now on.
    pub(super) fn touch_session(&mut self, now: Timestamp, out: &mut Outcome) {
        self.settings.updated_at = now;
        out.writes.push(Write::Conversation(self.settings.clone()));
        self.tell_session(out);
    }

    fn tell_session(&mut self, out: &mut Outcome) {
        let info = self.info(None);
        self.shown = Some((info.provider.clone(), info.model.clone()));
        out.events.push(self.session_event(info));
    }

    /// A turn starts. Where another one answers it than the last one that was shown, all are told before they hear of
    /// the turn; of the first one nobody was shown another.
    pub(super) fn show_switch(&mut self, choice: Choice, out: &mut Outcome) {
        let now = (choice.target.provider.clone(), choice.target.model.clone());
        let before = self.shown.replace(now.clone());
        if before.is_some_and(|before| before != now) {
            let event = self.session_event(self.info_of(choice));
            out.events.push(event);
        }
    }

    fn session_event(&self, info: SessionInfo) -> Event {
        Event::SessionUpdated {
            settings: Arc::new(self.settings.clone()),
            deleted: false,
            info: Some(Arc::new(info)),
            paused: None,
        }
    }
}
