//! The OpenAI chat completions API, as OpenAI, Ollama, vLLM, llama.cpp, OpenRouter and many others speak it.

mod reader;
mod request;

use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::reader::ChatReader;
pub(crate) use self::reader::parse_arguments;
use super::http::{self, Call, Transport};
use super::session::{self, EventStream};
use super::{ApiSettings, Provider};
use crate::domain::generation::{Model, Prompt, ProviderFault};
use crate::error::Fault;

/// The context window that is assumed of a model that is not listed, in tokens.
const ASSUMED_WINDOW: u32 = 128_000;

pub struct OpenAi {
    name: String,
    url: Url,
    credential: Option<SecretString>,
    model: String,
    models: Vec<Model>,
    transport: Rc<Transport>,
}

impl OpenAi {
    pub fn new(name: &str, settings: &ApiSettings) -> Result<Self, Fault> {
        let base = http::base_url(&settings.base_url)?;
        if settings.model.trim().is_empty() {
            return Err(Fault::field("model", "a default model is needed"));
        }
        let bearer = |key: &SecretString| SecretString::from(format!("Bearer {}", key.expose_secret().trim()));
        Ok(Self {
            name: name.to_owned(),
            url: http::join(&base, &["chat", "completions"]),
            credential: settings.api_key.as_ref().map(bearer),
            model: settings.model.clone(),
            models: settings.models.clone(),
            transport: Rc::new(Transport::new(name, &settings.transport)?),
        })
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_model(&self) -> &str {
        &self.model
    }

    fn models(&self) -> &[Model] {
        &self.models
    }

    fn model(&self, id: &str) -> Model {
        super::known(&self.models, id, ASSUMED_WINDOW)
    }

    fn answer_limit(&self, prompt: &Prompt) -> Option<u64> {
        prompt.max_tokens.map(u64::from)
    }

    fn stream(&self, prompt: Prompt) -> LocalBoxFuture<'static, Result<EventStream, ProviderFault>> {
        // OpenAI itself refuses the old name for its newer models; most others know only that one.
        let limit = if self.url.host_str() == Some("api.openai.com") { "max_completion_tokens" } else { "max_tokens" };
        let call = Call {
            url: self.url.clone(),
            credential: self.credential.clone().map(|secret| ("authorization", secret)),
            headers: Vec::new(),
            body: Bytes::from(request::body(&prompt, limit).to_string()),
            request_id: prompt.request_id,
        };
        let (transport, name, price) = (self.transport.clone(), self.name.clone(), self.model(&prompt.model).price);
        session::start(transport, call, move || ChatReader::new(&name, price)).boxed_local()
    }
}
