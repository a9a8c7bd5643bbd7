//! The Anthropic Messages API.

mod reader;
mod request;

use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::reader::MessageReader;
use super::http::{self, Call, Transport};
use super::session::{self, EventStream};
use super::{ApiSettings, Provider};
use crate::domain::generation::{Model, Prompt, ProviderFault};
use crate::error::Fault;

/// What is assumed of a model that is not listed, in tokens.
const ASSUMED_WINDOW: u32 = 200_000;
/// The limit of an answer where neither prompt nor model says one: this API wants one always.
const ASSUMED_ANSWER: u32 = 4096;
/// The version of the API that is spoken.
const VERSION: &str = "2023-06-01";

pub struct Anthropic {
    name: String,
    url: Url,
    credential: Option<SecretString>,
    model: String,
    models: Vec<Model>,
    transport: Rc<Transport>,
}

impl Anthropic {
    pub fn new(name: &str, settings: &ApiSettings) -> Result<Self, Fault> {
        let base = http::base_url(&settings.base_url)?;
        if settings.model.trim().is_empty() {
            return Err(Fault::field("model", "a default model is needed"));
        }
        let has_version = base.path().trim_end_matches('/').ends_with("/v1");
        let path: &[&str] = if has_version { &["messages"] } else { &["v1", "messages"] };
        Ok(Self {
            name: name.to_owned(),
            url: http::join(&base, path),
            credential: settings.api_key.as_ref().map(|key| SecretString::from(key.expose_secret().trim())),
            model: settings.model.clone(),
            models: settings.models.clone(),
            transport: Rc::new(Transport::new(name, &settings.transport)?),
        })
    }
}

impl Provider for Anthropic {
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
        Some(request::limits(prompt, self.model(&prompt.model).max_output).0.into())
    }

    fn stream(&self, prompt: Prompt) -> LocalBoxFuture<'static, Result<EventStream, ProviderFault>> {
        let model = self.model(&prompt.model);
        let call = Call {
            url: self.url.clone(),
            credential: self.credential.clone().map(|secret| ("x-api-key", secret)),
            headers: vec![("anthropic-version", VERSION)],
            body: Bytes::from(request::body(&prompt, model.max_output).to_string()),
            request_id: prompt.request_id,
        };
        let (transport, name) = (self.transport.clone(), self.name.clone());
        session::start(transport, call, move || MessageReader::new(&name, model.price)).boxed_local()
    }
}
