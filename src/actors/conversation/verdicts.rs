//! What holds for the calls of a step: policies, answers that are remembered, and what a human is told.

use super::commands::{Decided, settled};
use super::*;
use crate::actors::agent::Previews;
use crate::actors::with_kit;
use crate::domain::act::Act;
use crate::domain::approval::{Approval, Decision};
use crate::domain::approval_rule::{ApprovalRule, RuleScope, deciding};
use crate::domain::canonical::{self, Digest};
use crate::domain::command::{ApprovalRef, Keep};
use crate::domain::conversation::Verdict;
use crate::domain::generation::{ProviderFault, StopReason};
use crate::domain::ids::{RuleId, TurnId};
use crate::domain::policy::Operation;
use crate::domain::principal::{Credential, Role};
use crate::domain::record::Write;
use crate::domain::tool_call::{ToolCall, ToolPolicy};
use crate::domain::tool_policy::{Asked, Remembers, ToolBook};
use crate::error::Code;

/// A call and what the configuration says about it.
struct Judged {
    tool: String,
    digest: Digest,
    verdict: Verdict,
}

impl ConversationActor {
    /// The provider's message is whole. Before anybody is asked, answers of before are looked up.
    pub(super) fn step_ended(
        &mut self,
        run: Run,
        end: Result<StopReason, ProviderFault>,
        previews: &Previews,
        context: &mut Context<Self>,
    ) {
        let book = self.shared.settings.get().tool_book.clone();
        let Ok(live) = self.live() else { return };
        if let Err(fault) = &end {
            let (conversation, kind) = (live.machine.settings.id, fault.kind.name());
            let provider = live.machine.provider().unwrap_or_default();
            tracing::warn!(%conversation, provider, kind, %fault, "a provider failed");
        }
        let judged = live.judged(&book, previews);
        let asked: Vec<&Judged> = judged.iter().filter(|j| j.verdict.policy == ToolPolicy::Ask).collect();
        let Some(turn) = live.machine.current().filter(|_| !asked.is_empty()) else {
            return self.conclude(run, end, judged, context);
        };
        let (user, agent) = (turn.user.clone(), live.machine.rules().agent.name.clone());
        let tools = asked.iter().map(|j| j.tool.clone()).collect();
        let digests = asked.iter().map(|j| j.digest).collect();
        let (store, organization, life) = (self.shared.store.clone(), self.place.0.clone(), self.life);
        let known = async move { store.approval_rules_for((&organization, &user, &agent), tools, digests).await };
        let then = known.into_actor(self).map(move |known, actor, context| {
            actor.guarded(context, |actor, context| {
                if actor.life != life {
                    return;
                }
                let rules = known.unwrap_or_else(|fault| {
                    // Without them everybody is asked, as the first time.
                    tracing::warn!(%fault, "answers that are remembered cannot be read");
                    Vec::new()
                });
                let judged = judged.into_iter().map(|j| remembered(j, &rules)).collect();
                actor.conclude(run, end, judged, context);
            });
        });
        context.spawn(then);
    }

    fn conclude(
        &mut self,
        run: Run,
        end: Result<StopReason, ProviderFault>,
        judged: Vec<Judged>,
        context: &mut Context<Self>,
    ) {
        let Ok(live) = self.live() else { return };
        live.upstream.take_if(|(known, _)| *known == run);
        let verdicts = judged.into_iter().map(|j| j.verdict).collect();
        let outcome = live.machine.on_step_ended(run, end, verdicts, &mut SystemSource);
        self.drive(outcome, context, |_, _, _| {});
    }

    /// Somebody answers an approval, and may want the answer to be kept. What is wrong with that is said before
    /// anything is decided.
    pub(super) fn decide_approval(
        &mut self,
        (caller, by): (&Caller, By),
        (which, approved, reason): (ApprovalRef, bool, Option<String>),
        keep: Keep,
    ) -> Result<Decided, Fault> {
        let operation = if approved { Operation::ToolApprove } else { Operation::ToolReject };
        let (store, place) = (self.shared.store.clone(), self.place.clone());
        let live = self.live()?;
        let source = &mut SystemSource;
        let asked = live.approval(which).and_then(|id| live.machine.approvals().iter().find(|a| a.id == id)).cloned();
        let Some(asked) = asked else { return Ok(Decided::Read(Box::pin(settled(store, place, which)))) };
        if keep.seen.is_some_and(|seen| seen != asked.digest()) {
            return Err(Fault::new(Code::Conflict, "digest: the question is about other arguments than those seen"));
        }
        let rule = keep.remember.map(|scope| live.rule(&place, (caller, by), &asked, (scope, approved))).transpose()?;
        let decision = Decision {
            by: Some(caller.principal.user.clone()),
            at: source.now(),
            reason,
            origin: caller.origin.to_string(),
        };
        let Some((approval, mut outcome)) = live.machine.decide(asked.id, approved, decision, source) else {
            return Ok(Decided::Read(Box::pin(settled(store, place, which))));
        };
        // What an administrator does as one is on record before it comes here.
        if by == By::User {
            let mut details = approval.details(place.1);
            if let Some(rule) = &rule {
                details["remembered"] = serde_json::json!({
                    "rule": rule.id.to_string(), "agent": rule.agent, "scope": rule.scope.name(),
                });
            }
            let act = Act::new(caller, operation).on(approval.id).with(details);
            outcome.writes.push(Write::Audit(Box::new(act.entry(None))));
        }
        let id = rule.as_ref().map(|rule| rule.id);
        outcome.writes.extend(rule.map(|rule| Write::ApprovalRule(Box::new(rule))));
        Ok(Decided::Granted(outcome, Reply::Decided { applied: true, approval, rule: id }))
    }
}

/// The verdict, where an answer of before decides it.
fn remembered(mut judged: Judged, rules: &[ApprovalRule]) -> Judged {
    let verdict = &mut judged.verdict;
    if verdict.policy == ToolPolicy::Ask
        && verdict.error.is_none()
        && let Some(rule) = deciding(rules, &judged.tool, judged.digest, verdict.remembers)
    {
        verdict.policy = if rule.approved { ToolPolicy::Allow } else { ToolPolicy::Deny };
        verdict.rule = Some(rule.id);
    }
    judged
}

impl Live {
    /// What the table of tools and the policies say about the calls of this step.
    fn judged(&self, book: &ToolBook, previews: &Previews) -> Vec<Judged> {
        let role = self.machine.current().and_then(|turn| self.roles.get(&turn.id)).copied();
        let judge = |call: ToolCall| Judged {
            digest: Digest::of(&call.tool, &call.input),
            verdict: self.verdict(&call, role, book, previews),
            tool: call.tool,
        };
        self.machine.unjudged_calls().into_iter().map(judge).collect()
    }

    fn verdict(&self, call: &ToolCall, role: Option<Role>, book: &ToolBook, previews: &Previews) -> Verdict {
        let profile = &self.machine.rules().agent;
        let organization = &self.machine.settings.organization;
        let found = with_kit(|kit| kit.tools.get(&call.tool)).flatten();
        let Some(tool) = found.filter(|tool| profile.offers(&call.tool) && tool.serves(organization)) else {
            return Verdict::refused(format!("no such tool: {}", call.tool));
        };
        let asked = Asked { tool: &call.tool, agent: &profile.name, role, input: &call.input };
        let mut risks: Vec<String> = tool.risks(&call.input).iter().map(|risk| canonical::shown(risk)).collect();
        risks.extend(canonical::oddities(&call.input));
        let seen = previews.iter().find(|(name, input, _)| *name == call.tool && *input == call.input);
        let seen = seen.map(|(_, _, seen)| seen.clone()).transpose();
        let policy = match book.judge(&asked, tool.default_policy()).policy {
            ToolPolicy::Allow if tool.asks_always() => ToolPolicy::Ask,
            policy => policy,
        };
        // A preview has lines of its own, which are the hub's; what stands in them is shown like all that is foreign.
        let lines = |text: String| text.lines().map(canonical::shown).collect::<Vec<_>>().join("\n");
        let summary = match seen.clone().ok().flatten() {
            Some(preview) => lines(preview),
            None => canonical::shown(&tool.summary(&call.input)),
        };
        Verdict {
            policy,
            summary,
            risks,
            concurrent: tool.concurrent(),
            remembers: match tool.asks_always() {
                true => Remembers::Never,
                false => book.remembers(&call.tool, tool.remembers(), &tool.spec().input_schema),
            },
            rule: None,
            error: tool.check(&call.input).err().or(seen.err().map(|why| format!("the preview failed: {why}"))),
        }
    }

    /// Remembers what whoever sent a message may: policies ask about it when its turn calls tools.
    pub(super) fn note_role(&mut self, turn: TurnId, role: Role) {
        let alive: Vec<TurnId> = self.machine.live_turns().iter().map(|turn| turn.id).collect();
        self.roles.retain(|known, _| alive.contains(known));
        self.roles.insert(turn, role);
    }

    /// The answer as a rule.
    ///
    /// # Errors
    /// The tool lets no such answer be kept; the turn is somebody else's; the credential may be taken away any time.
    fn rule(
        &self,
        (organization, _): &Place,
        (caller, by): (&Caller, By),
        asked: &Approval,
        (scope, approved): (RuleScope, bool),
    ) -> Result<ApprovalRule, Fault> {
        let principal = &caller.principal;
        if matches!(principal.credential, Credential::Device { .. } | Credential::ApiKey { .. }) {
            let why = "remember: a rule would outlive a paired device or an API key: sign in to make one";
            return Err(Fault::forbidden(why));
        }
        let own = self.machine.current().is_some_and(|turn| turn.id == asked.turn && turn.user == principal.user);
        if !own || by != By::User {
            return Err(Fault::forbidden("remember: only for the tools of one's own turns"));
        }
        if !scope.within(asked.remembers) {
            let why = match scope {
                RuleScope::Arguments => "answers about this tool are not kept: each call is asked about",
                RuleScope::Tool => "of this tool only answers about the same arguments are kept, if any",
            };
            return Err(Fault::field("remember", why));
        }
        let source = &mut SystemSource;
        Ok(ApprovalRule {
            id: RuleId::mint(source),
            organization: organization.clone(),
            user: principal.user.clone(),
            agent: self.machine.rules().agent.name.clone(),
            tool: asked.tool.clone(),
            scope,
            digest: asked.digest(),
            input: asked.input.clone(),
            approved,
            request: asked.id,
            created_at: source.now(),
        })
    }
}
