//! Clients of the models' APIs: one trait, one table, a folder or file a wire.
//!
//! A provider lives on one worker and is cheap to build there. It knows nothing of conversations: a
//! [`Prompt`] goes in, [`StreamEvent`]s come out.

pub mod anthropic;
pub mod demo;
pub mod http;
pub mod openai;
pub mod retry;
pub mod session;
pub mod sse;

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use secrecy::SecretString;

pub use self::demo::DemoSettings;
pub use self::http::TransportSettings;
pub use self::session::EventStream;
#[cfg(doc)]
use crate::domain::generation::StreamEvent;
use crate::domain::generation::{Model, Prompt, ProviderFault, ThinkingLevel};
use crate::error::{Code, Fault};

/// A client of one API, on one worker.
pub trait Provider {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// The model that is taken where nobody names one.
    fn default_model(&self) -> &str;

    /// The models that are known; others can be asked for too.
    fn models(&self) -> &[Model];

    /// What is known about `id`, or what is assumed about a model that is not listed.
    fn model(&self, id: &str) -> Model;

    /// Tokens that an answer to `prompt` may have at most, thinking included, as the request will say it; `None` where it
    /// will say nothing and the API decides.
    fn answer_limit(&self, prompt: &Prompt) -> Option<u64>;

    /// Starts one generation. The future ends with the model's first token, or with the fault after the last try;
    /// from then on nothing is tried again. After `Ended` or an error the stream gives nothing more.
    ///
    /// Dropping the future or the stream closes the upstream connection at once.
    fn stream(&self, prompt: Prompt) -> LocalBoxFuture<'static, Result<EventStream, ProviderFault>>;
}

/// A model as it is listed, else as those that are not, else as may be assumed: with a context window of so many tokens.
fn known(models: &[Model], id: &str, window: u32) -> Model {
    let listed = |id: &str| models.iter().find(|model| model.id == id).cloned();
    let others = || listed(Model::OTHERS).map(|others| Model { id: id.to_owned(), ..others });
    listed(id).or_else(others).unwrap_or_else(|| Model {
        id: id.to_owned(),
        context_window: window,
        max_output: None,
        thinking: ThinkingLevel::ALL.to_vec(),
        price: None,
    })
}

/// What a provider needs to reach an API, whichever it speaks.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Such as `https://api.openai.com/v1`, to which `/chat/completions` is appended, or `https://api.anthropic.com`:
    /// there it is `/v1/messages`, or `/messages` where it ends with `/v1`.
    pub base_url: String,
    /// Local servers need none.
    pub api_key: Option<SecretString>,
    /// The default model.
    pub model: String,
    /// What is known about models, the default one or others.
    pub models: Vec<Model>,
    pub transport: TransportSettings,
}

/// What a provider needs, by the wire it speaks.
#[derive(Debug, Clone)]
pub enum ProviderSettings {
    OpenAi(ApiSettings),
    Anthropic(ApiSettings),
    Demo(DemoSettings),
}

impl ProviderSettings {
    /// The table of wires: one line each.
    fn build(&self, name: &str) -> Result<Rc<dyn Provider>, Fault> {
        Ok(match self {
            Self::OpenAi(settings) => Rc::new(openai::OpenAi::new(name, settings)?),
            Self::Anthropic(settings) => Rc::new(anthropic::Anthropic::new(name, settings)?),
            Self::Demo(settings) => Rc::new(demo::Demo::new(name, settings)),
        })
    }
}

/// The providers of one worker, in the order of the configuration; the first is the default.
#[derive(Clone)]
pub struct Providers {
    list: Vec<Rc<dyn Provider>>,
}

impl Providers {
    /// Builds them by name. Fails on an empty list, a name given twice or a setting that cannot be.
    pub fn build(settings: &[(String, ProviderSettings)]) -> Result<Self, Fault> {
        let mut list: Vec<Rc<dyn Provider>> = Vec::new();
        for (name, settings) in settings {
            if list.iter().any(|p| p.name() == name) {
                return Err(Fault::field("providers", format!("{name} is there twice")));
            }
            let provider = settings.build(name).map_err(|mut fault| {
                fault.message = format!("providers.{name}.{}", fault.message);
                fault
            })?;
            list.push(provider);
        }
        if list.is_empty() {
            return Err(Fault::new(Code::BadRequest, "providers: at least one is needed"));
        }
        Ok(Self { list })
    }

    pub fn get(&self, name: &str) -> Option<Rc<dyn Provider>> {
        self.list.iter().find(|p| p.name() == name).cloned()
    }

    pub fn default_provider(&self) -> Rc<dyn Provider> {
        self.list[0].clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<dyn Provider>> {
        self.list.iter()
    }
}
