//! Before a model is asked, what that may cost is held in the books; when it has answered, what it did cost is written.
//!
//! Where no budget applies nothing of this happens, and nothing is asked of the store.

use std::sync::Arc;
use std::time::Duration;

use super::{Shared, with_kit};
use crate::domain::conversation::Refused;
use crate::domain::generation::{Price, Prompt, PromptMessage, StreamEvent, ThinkingLevel, UserContent};
use crate::domain::ids::{OrganizationId, Source, SystemSource};
use crate::domain::spending::{self, Account, Amount, Budget, Refusal, Spender};
use crate::domain::usage::Usage;
use crate::error::Fault;
use crate::providers::Provider;
use crate::store::{Reservation, Store};
use crate::telemetry;

/// How often the end of a call is tried to be written, and how long is waited before the second try.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What configuration says about spending.
#[derive(Debug, Clone, Default)]
pub struct SpendingRules {
    pub budgets: Vec<Budget>,
    /// Tokens of an answer where a budget applies and nothing says how many the model can give.
    pub answer_tokens: u32,
    /// Whether a budget in money refuses models without a price.
    pub refuse_unpriced: bool,
}

/// The budgets that the calls of one spender count in: at least one.
#[derive(Clone)]
pub struct Till {
    store: Store,
    rules: Arc<SpendingRules>,
    spender: Spender,
}

/// What a call may use, worked out before it is made.
struct Bounds {
    most: Amount,
    least: Amount,
    price: Option<Price>,
    input: u64,
}

impl Till {
    /// `None` where no budget applies.
    pub fn of(shared: &Shared, spender: impl FnOnce() -> Option<Spender>) -> Option<Self> {
        let rules = shared.settings.get().spending.clone();
        if rules.budgets.is_empty() {
            return None;
        }
        let spender = spender()?;
        let now = SystemSource.now();
        let applies = rules.budgets.iter().any(|budget| budget.account(&spender, now).is_some());
        applies.then(|| Self { store: shared.store.clone(), rules, spender })
    }

    /// The books as of now: a day may have begun since the turn was sent.
    fn accounts(&self) -> Vec<Account> {
        let now = SystemSource.now();
        self.rules.budgets.iter().filter_map(|budget| budget.account(&self.spender, now)).collect()
    }

    /// Gives the prompt a limit where it has none on that wire, and says what the call may use with it.
    fn bounds(&self, provider: &dyn Provider, prompt: &mut Prompt, accounts: &[Account]) -> Result<Bounds, Refused> {
        let model = provider.model(&prompt.model);
        let in_money = accounts.iter().any(|account| account.limit.micros.is_some());
        if in_money && model.price.is_none() && self.rules.refuse_unpriced {
            let why = format!("no price is known of {}, and a budget in money holds", prompt.model);
            return Err(Refused { why, refusal: None });
        }
        let output = provider.answer_limit(prompt).unwrap_or_else(|| {
            let limit = prompt.max_tokens.or(model.max_output).unwrap_or(self.rules.answer_tokens);
            prompt.max_tokens = Some(limit);
            limit.into()
        });
        let size = spending::size(prompt);
        let (most, about) = (spending::worst(size.most(), output, model.price), size.about());
        let least = of_input(about, model.price);
        Ok(Bounds { most, least, price: model.price, input: about })
    }

    /// Whether a message of that text has a chance: refused here, nothing of it is stored. Others may still be faster.
    pub async fn look(&self, text: &str) -> Result<(), Fault> {
        let accounts = self.accounts();
        let mut prompt = Prompt {
            model: self.spender.model.clone(),
            system: None,
            messages: vec![PromptMessage::User(vec![UserContent::Text(text.to_owned())])],
            tools: Vec::new(),
            thinking: ThinkingLevel::Off,
            max_tokens: None,
            temperature: None,
            request_id: String::new(),
        };
        let bounds = with_kit(|kit| {
            let provider = kit.providers.get(&self.spender.provider)?;
            Some(self.bounds(&*provider, &mut prompt, &accounts))
        });
        // A provider that is gone is said by the turn.
        let Some(bounds) = bounds.flatten() else { return Ok(()) };
        let bounds = bounds.map_err(|refused| Fault::field("model", refused.why))?;
        let books = self.store.books(&self.spender.organization, accounts.clone()).await;
        let books = books.map_err(super::conversation::from_store)?;
        for (account, book) in accounts.iter().zip(books) {
            book.room(account, bounds.most).map_err(|refusal| over_budget(&refusal))?;
        }
        Ok(())
    }

    /// Holds what the prompt may use at most, and bounds its answer by that.
    pub async fn hold(&self, provider: &dyn Provider, prompt: &mut Prompt) -> Result<Held, Refused> {
        let accounts = self.accounts();
        let Bounds { most, least, price, input } = self.bounds(provider, prompt, &accounts)?;
        let (id, organization) = (SystemSource.next_id(), self.spender.organization.clone());
        let at = SystemSource.now();
        let wish = Reservation { organization: organization.clone(), id, accounts, most, least, at };
        let held = Held { store: self.store.clone(), organization, id, price, input };
        match self.store.reserve(wish).await {
            Ok(Ok(())) => Ok(held),
            Ok(Err(refusal)) => Err(Refused { why: over_budget(&refusal).message, refusal: Some(Box::new(refusal)) }),
            Err(fault) => {
                tracing::error!(%fault, "what a call may cost could not be written: it is not made");
                // It is not known whether it was written; nothing was spent.
                held.settle(&Heard::default(), false, false);
                Err(Refused { why: "the budgets cannot be read at the moment".into(), refusal: None })
            }
        }
    }
}

fn of_input(tokens: u64, price: Option<Price>) -> Amount {
    let cost = price.map(|price| price.of(&Usage { input: tokens, ..Usage::default() }));
    Amount { tokens, micros: cost.unwrap_or(0) }
}

/// What a stream has said so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// As the provider counts.
    pub usage: Option<Usage>,
    /// Bytes of text, thinking and calls.
    pub bytes: u64,
}

impl Heard {
    pub fn and(self, event: &StreamEvent) -> Self {
        let more = match event {
            StreamEvent::Text(text) | StreamEvent::Thinking(text) | StreamEvent::Signature(text) => text.len(),
            StreamEvent::ToolCall { name, input, .. } => name.len() + input.to_string().len(),
            StreamEvent::Usage(usage) => return Self { usage: Some(*usage), ..self },
            StreamEvent::BlockEnd | StreamEvent::Ended(_) => 0,
        };
        Self { bytes: self.bytes + more as u64, ..self }
    }
}

/// What is held for a call. It has to be settled, whatever becomes of the call.
#[must_use]
pub struct Held {
    store: Store,
    organization: OrganizationId,
    id: u128,
    price: Option<Price>,
    /// Tokens that were sent, about.
    input: u64,
}

impl Held {
    /// The call is over. `whole`: the provider said all, its count too. `asked`: the provider may have taken the prompt.
    ///
    /// What is cut off is not for nothing: where the provider's count did not come, it is what was sent and heard.
    pub fn settle(self, heard: &Heard, whole: bool, asked: bool) {
        let counted = heard.usage.unwrap_or_default();
        let used = match (heard.usage, whole) {
            (Some(usage), true) => Amount::of(&usage),
            (None, _) if !asked => Amount::default(),
            _ => {
                let input = if heard.usage.is_some() { counted.input } else { self.input };
                let output = counted.output.max(spending::about(heard.bytes));
                let usage = Usage { input, output, ..counted };
                Amount::of(&Usage { cost: self.price.map(|price| price.of(&usage)), ..usage })
            }
        };
        // Queued now, before anybody hears that the call is over: whoever spends next finds it in the books.
        let mut written = Box::pin(self.store.settle(&self.organization, self.id, used));
        actix_rt::spawn(async move {
            let mut pause = FIRST_PAUSE;
            for _ in 0..TRIES {
                match written.await {
                    Ok(_) => return,
                    Err(fault) => tracing::warn!(%fault, "what a call has cost was not written; trying again"),
                }
                actix_rt::time::sleep(pause).await;
                pause *= 2;
                written = Box::pin(self.store.settle(&self.organization, self.id, used));
            }
            tracing::error!("what a call has cost could not be written: the next start books the least it used");
        });
    }
}

/// The answer to whoever asked.
pub(super) fn over_budget(refusal: &Refusal) -> Fault {
    metrics::counter!(telemetry::LIMITED, "budget" => "spending").increment(1);
    refusal.fault(SystemSource.now())
}
