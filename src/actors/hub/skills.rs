//! Skills: one call of a model with a typed input, paid for like a turn, answered once.

use std::cell::Cell;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::actors::conversation::from_commit;
use crate::actors::spending::{Heard, Till, over_budget};
use crate::domain::act::Act;
use crate::domain::action::Entity;
use crate::domain::command::Once;
use crate::domain::generation::{Prompt, ProviderFault, StreamEvent};
use crate::domain::record::Idempotency;
use crate::domain::skill::{Skill, SkillResult};
use crate::domain::spending::Spender;
use crate::domain::usage::Usage;
use crate::providers::Provider;
use crate::store::CommitFault;
use crate::telemetry;

/// Bytes of an answer.
const LONGEST: usize = 1 << 20;

impl LocalHub {
    pub(super) fn list_skills(&self, caller: &Caller) -> Reply {
        let settings = self.shared.settings.get();
        Reply::Skills(settings.skills.iter().filter(|skill| skill.is_for(&caller.principal)).cloned().collect())
    }

    fn skill(&self, id: &str) -> Result<Arc<Skill>, Fault> {
        self.shared.settings.get().skill(id).cloned().ok_or_else(|| Fault::not_found("skill"))
    }

    pub(super) async fn execute_skill(
        &self,
        caller: Caller,
        (skill, input, entity): (String, Value, Option<Entity>),
        once: Option<Once>,
    ) -> Result<Reply, Fault> {
        let skill = self.skill(&skill)?;
        skill.permitted(&caller.principal)?;
        skill.input.check("input", &input)?;
        let Some(once) = once else {
            let result = self.run_skill(caller, skill, (input, entity), CancellationToken::new()).await?;
            return Ok(Reply::SkillDone(Box::new(result)));
        };
        // By itself: whoever hangs up and asks again gets the answer.
        let hub = self.clone();
        let ran = actix_rt::spawn(async move { hub.run_once(caller, skill, (input, entity), once).await });
        let result = ran.await.unwrap_or_else(|_| Err(Fault::plain(Code::Internal)))?;
        Ok(Reply::SkillDone(Box::new(result)))
    }

    async fn run_once(
        &self,
        caller: Caller,
        skill: Arc<Skill>,
        asked: (Value, Option<Entity>),
        once: Once,
    ) -> Result<SkillResult, Fault> {
        let (store, organization) = (&self.shared.store, caller.principal.organization.clone());
        let user = caller.principal.user.clone();
        let key =
            Idempotency { user: user.clone(), key: once.key.clone(), request: once.request, answer: String::new() };
        match store.take_key(&organization, key, SystemSource.now()).await {
            Ok(()) => {}
            Err(CommitFault::IdempotencyTaken { request, answer }) => {
                return ran_before(&skill, (request == once.request).then_some(&answer));
            }
            Err(fault) => return Err(from_commit(fault)),
        }
        let result = self.run_skill(caller, skill, asked, CancellationToken::new()).await;
        let answer = result.as_ref().ok().map(|result| kept(result).to_string());
        if let Err(fault) = store.settle_key(&organization, &user, &once.key, answer.as_deref()).await {
            tracing::warn!(%fault, "a skill's answer could not be kept with its key");
        }
        result
    }

    pub(in crate::actors) async fn use_skill_for_agent(
        &self,
        caller: Caller,
        skill: &str,
        input: Value,
        cancel: CancellationToken,
    ) -> Result<SkillResult, Fault> {
        let skill = self.skill(skill)?;
        skill.input.check("input", &input)?;
        self.run_skill(caller, skill, (input, None), cancel).await
    }

    /// By itself, so that what it may cost is settled whoever stops waiting.
    async fn run_skill(
        &self,
        caller: Caller,
        skill: Arc<Skill>,
        (input, entity): (Value, Option<Entity>),
        cancel: CancellationToken,
    ) -> Result<SkillResult, Fault> {
        let on = entity.as_ref().map(|entity| json!({ "type": entity.kind, "id": entity.id }));
        let act = Act::new(&caller, Operation::SkillExecute).on(&skill.id).with(json!({ "entity": on }));
        self.write_down(&act, None).await?;
        let dropped = cancel.child_token();
        let _guard = dropped.clone().drop_guard();
        let (hub, asking) = (self.clone(), caller.clone());
        let ran = actix_rt::spawn(async move { hub.ask_model(&asking, &skill, (input, entity), dropped).await });
        let result = ran.await.unwrap_or_else(|_| Err(Fault::plain(Code::Internal)));
        if result.is_err() {
            self.write_down(&act, Some("failed")).await?;
        }
        result
    }

    async fn ask_model(
        &self,
        caller: &Caller,
        skill: &Skill,
        (input, entity): (Value, Option<Entity>),
        cancel: CancellationToken,
    ) -> Result<SkillResult, Fault> {
        let settings = self.shared.settings.get();
        let agent = match &skill.agent {
            Some(name) => settings.agent(name),
            None => settings.default_agent(),
        };
        let agent = agent.ok_or_else(|| Fault::unavailable("the agent of this skill is not configured"))?;
        let provider = with_kit(|kit| kit.providers.get(&agent.provider)).flatten();
        let provider = provider.ok_or_else(|| Fault::unavailable("the provider of this skill is not configured"))?;
        let mut prompt = skill.prompt(&input, entity.as_ref(), agent.model.clone(), caller.request_id.clone());
        let model = prompt.model.clone();
        let till = Till::of(&self.shared, || {
            Some(Spender {
                organization: caller.principal.organization.clone(),
                user: caller.principal.user.clone(),
                agent: agent.name.clone(),
                provider: agent.provider.clone(),
                model: model.clone(),
            })
        });
        let mut held = None;
        if let Some(till) = till {
            held = Some(till.hold(&*provider, &mut prompt).await.map_err(|refused| match &refused.refusal {
                Some(refusal) => over_budget(refusal),
                None => Fault::unavailable(refused.why.clone()),
            })?);
        }
        let heard = Cell::new(Heard::default());
        let said = tokio::select! {
            biased;
            () = cancel.cancelled() => Err("cancelled".to_owned()),
            said = tokio::time::timeout(settings.skill_time, listen(&*provider, prompt, &heard)) => match said {
                Ok(Ok(text)) => Ok(text),
                Ok(Err(fault)) => Err(fault.message),
                Err(_) => Err(format!("the model did not answer within {} s", settings.skill_time.as_secs())),
            },
        };
        let outcome = if said.is_ok() { "completed" } else { "failed" };
        let name = agent.provider.clone();
        metrics::counter!(telemetry::PROVIDER_REQUESTS, "provider" => name, "outcome" => outcome).increment(1);
        let heard = heard.get();
        if let Some(held) = held {
            held.settle(&heard, said.is_ok(), true);
        }
        let usage = heard.usage.unwrap_or_default();
        let text = said.map_err(Fault::unavailable)?;
        let output = skill.output(&text).map_err(Fault::unavailable)?;
        Ok(SkillResult { skill: skill.id.clone(), output, usage, provider: agent.provider.clone(), model })
    }
}

/// The text of the answer, once it is whole.
async fn listen(provider: &dyn Provider, prompt: Prompt, heard: &Cell<Heard>) -> Result<String, ProviderFault> {
    use crate::domain::generation::ProviderFaultKind::{Malformed, Server};
    let mut stream = provider.stream(prompt).await?;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        let event = event?;
        heard.set(heard.get().and(&event));
        match event {
            StreamEvent::Text(more) => text.push_str(&more),
            StreamEvent::Ended(_) => return Ok(text),
            _ => {}
        }
        if text.len() > LONGEST {
            return Err(ProviderFault::new(Malformed, format!("the answer is longer than {LONGEST} bytes")));
        }
    }
    Err(ProviderFault::new(Server, "the provider's stream ended without a reason"))
}

/// As it is kept with a key.
fn kept(result: &SkillResult) -> Value {
    let Usage { input, output, cache_read, cache_write, cost } = result.usage;
    json!({
        "output": result.output,
        "usage": [input, output, cache_read, cache_write],
        "cost": cost,
        "provider": result.provider,
        "model": result.model,
    })
}

fn ran_before(skill: &Skill, answer: Option<&String>) -> Result<SkillResult, Fault> {
    let conflict = |why: &str| Fault::new(Code::Conflict, why);
    let answer = answer.ok_or_else(|| conflict("the idempotency key was used for another request"))?;
    let unknown = || conflict("this request was begun before, and it is not known what came of it");
    let value: Value = serde_json::from_str(answer).map_err(|_| unknown())?;
    let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(unknown);
    let count = |index: usize| value["usage"][index].as_u64().unwrap_or_default();
    Ok(SkillResult {
        skill: skill.id.clone(),
        output: value["output"].clone(),
        usage: Usage {
            input: count(0),
            output: count(1),
            cache_read: count(2),
            cache_write: count(3),
            cost: value["cost"].as_u64(),
        },
        provider: text("provider")?,
        model: text("model")?,
    })
}
