//! A request that configuration describes: method, address, headers and body with places for values. The host is fixed,
//! redirects are not followed, and private addresses are asked only where they are listed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{self, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::outward::{Outward, Resolver, SendFault, Sending, SystemResolver};
use super::template::{Fill, HIDDEN, Place, Secrets, Template, UrlTemplate, in_json};
use crate::error::Fault;

/// Secrets shorter than this are not looked for in answers: they would be found everywhere.
const HIDEABLE: usize = 6;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    Text,
}

impl BodyKind {
    pub const ALL: [(&str, Self); 3] = [("json", Self::Json), ("form", Self::Form), ("text", Self::Text)];

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    fn place(self) -> fn(&str) -> Place {
        match self {
            Self::Json => in_json,
            Self::Form => |_| Place::Query,
            Self::Text => |_| Place::Text,
        }
    }
}

/// A request as it is written down.
#[derive(Debug, Clone, Default)]
pub struct CallSettings {
    pub method: String,
    pub url: String,
    /// Each as `name: value`.
    pub headers: Vec<String>,
    /// Empty: none.
    pub body: String,
    pub body_kind: BodyKind,
    /// `host:port` whose address may be private.
    pub allow_private: Vec<String>,
    pub time_limit: Duration,
    /// Bytes of an answer; the rest is cut off.
    pub max_bytes: usize,
}

struct Inner {
    outward: Outward,
    method: Method,
    url: UrlTemplate,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    body_kind: BodyKind,
    time_limit: Duration,
    max_bytes: usize,
    secrets: Vec<SecretString>,
}

/// A request that can be sent with values, on one worker.
#[derive(Clone)]
pub struct HttpCall(Rc<Inner>);

/// A request with its values.
#[derive(Debug)]
pub struct Request {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// What came back, without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct CallAnswer {
    pub status: u16,
    /// JSON where it is that, else a text.
    pub body: Value,
}

impl CallAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn as_value(&self) -> Value {
        json!({ "status": self.status, "body": self.body })
    }

    /// In a sentence, for who asked.
    pub fn told(&self) -> String {
        let body = match &self.body {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        format!("HTTP {}\n\n{body}", self.status)
    }
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq)]
pub enum CallFault {
    /// Nothing was sent.
    NotSent(String),
    /// It was sent, and nobody knows what came of it.
    Unanswered(String),
}

impl CallFault {
    pub fn into_text(self) -> String {
        match self {
            Self::NotSent(why) | Self::Unanswered(why) => why,
        }
    }
}

impl HttpCall {
    /// # Errors
    /// `bad_request` with the field, under `setting`, that cannot be.
    pub fn new(
        setting: &str,
        settings: &CallSettings,
        secrets: Secrets<'_>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Fault> {
        Self::with_resolver(setting, settings, secrets, tls, Rc::new(SystemResolver))
    }

    /// The same, with another way from names to addresses.
    ///
    /// # Errors
    /// As [`HttpCall::new`].
    pub fn with_resolver(
        setting: &str,
        settings: &CallSettings,
        secrets: Secrets<'_>,
        tls: Arc<rustls::ClientConfig>,
        resolver: Rc<dyn Resolver>,
    ) -> Result<Self, Fault> {
        let key = |name: &str| format!("{setting}.{name}");
        const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let method = Some(settings.method.as_str()).filter(|method| METHODS.contains(method));
        let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let method =
            method.ok_or_else(|| Fault::field(&key("method"), format!("must be one of {}", METHODS.join(", "))))?;
        let url = UrlTemplate::parse(&key("url"), &settings.url, secrets)?;
        let headers = settings.headers.iter().map(|line| one_header(&key("headers"), line, secrets));
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let body = Some(&settings.body).filter(|body| !body.is_empty());
        let body = body.map(|text| body_of(&key("body"), text, settings.body_kind, secrets)).transpose()?;
        let host = [url.authority()];
        let outward = Outward::new((&host, &settings.allow_private), format!("{setting}.url"), tls, resolver).map_err(
            |fault| Fault::field(&key("allow_private"), fault.message.trim_start_matches("allow_private: ")),
        )?;
        let secrets = url.secrets().chain(headers.iter().flat_map(|(_, value)| value.secrets()));
        let secrets = secrets.chain(body.iter().flat_map(Template::secrets)).cloned().collect();
        let (body_kind, time_limit, max_bytes) = (settings.body_kind, settings.time_limit, settings.max_bytes);
        Ok(Self(Rc::new(Inner { outward, method, url, headers, body, body_kind, time_limit, max_bytes, secrets })))
    }

    pub fn reads_only(&self) -> bool {
        self.0.method == Method::GET
    }

    /// # Errors
    /// A sentence: a value that cannot stand in its place.
    pub fn request(&self, scope: &Value) -> Result<Request, String> {
        let call = &*self.0;
        let with = Fill::Real(scope);
        let mut headers = Vec::with_capacity(call.headers.len());
        for (name, template) in &call.headers {
            let value = template.fill(with)?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| format!("{name} cannot be a header"))?;
            headers.push((name.clone(), value));
        }
        let body = call.body.as_ref().map(|body| body.fill(with)).transpose()?.unwrap_or_default();
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE) {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(call.body_kind.media_type())));
        }
        Ok(Request { url: call.url.fill(with)?, headers, body: body.into() })
    }

    /// What would be sent, without headers and secrets.
    ///
    /// # Errors
    /// A sentence: a value that cannot stand in its place.
    pub fn shown(&self, scope: &Value) -> Result<Value, String> {
        self.request(scope)?;
        let with = Fill::Shown(scope);
        let mut shown = json!({ "method": self.0.method.as_str(), "url": self.0.url.fill(with)?.as_str() });
        if let Some(body) = &self.0.body {
            let body = body.fill(with)?;
            shown["body"] = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body));
        }
        Ok(shown)
    }

    /// Sends it once. `more` are headers of the hub's own.
    ///
    /// # Errors
    /// Whether it was sent is said.
    pub async fn send(&self, request: Request, more: &[(&'static str, String)]) -> Result<CallAnswer, CallFault> {
        let limit = self.0.time_limit;
        let mut sent = false;
        let answer = tokio::time::timeout(limit, self.exchange(request, more, &mut sent)).await;
        match answer {
            Ok(answer) => answer,
            Err(_) if sent => Err(CallFault::Unanswered(format!("no answer within {} s", limit.as_secs_f64()))),
            Err(_) => Err(CallFault::NotSent(format!("not reached within {} s", limit.as_secs_f64()))),
        }
    }

    async fn exchange(
        &self,
        request: Request,
        more: &[(&'static str, String)],
        sent: &mut bool,
    ) -> Result<CallAnswer, CallFault> {
        let Request { url, mut headers, body } = request;
        let call = &*self.0;
        let addresses = call.outward.admit(&url).await.map_err(CallFault::NotSent)?;
        let own = |(name, value): &(&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
        };
        headers.extend(more.iter().filter_map(own));
        let host = url.host_str().unwrap_or_default().to_owned();
        // A connection that is refused is told apart from one that broke; one that is slow is not.
        *sent = true;
        let sending = Sending { method: call.method.clone(), url: &url, headers: &headers, body };
        let mut response = call.outward.send(sending, &addresses).await.map_err(|fault| match fault {
            SendFault::NotSent(why) => CallFault::NotSent(self.hidden(&format!("{host} cannot be reached: {why}"))),
            SendFault::Broken(why) => CallFault::Unanswered(self.hidden(&format!("{host} did not answer: {why}"))),
        })?;
        let status = response.status();
        let read = super::outward::body(&host, &mut response, call.max_bytes).await;
        let (text, cut) = match read {
            Ok(read) => read,
            // Whoever says no has done nothing, whatever follows.
            Err(why) if !status.is_success() => (why, false),
            Err(why) => return Err(CallFault::Unanswered(self.hidden(&why))),
        };
        Ok(self.answer(status, &text, cut))
    }

    fn answer(&self, status: StatusCode, text: &str, cut: bool) -> CallAnswer {
        let mut text = self.hidden(text);
        if cut {
            text.push_str(&format!("\n\n[cut off after {} bytes]", self.0.max_bytes));
        }
        let body = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap_or(Value::from(text)),
        };
        CallAnswer { status: status.as_u16(), body }
    }

    /// An answer may repeat what it was sent.
    fn hidden(&self, text: &str) -> String {
        let long = self.0.secrets.iter().map(|secret| secret.expose_secret()).filter(|s| s.len() >= HIDEABLE);
        long.fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// Headers that are credentials: their value is no text of a configuration.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
/// Headers that the hub writes.
const OWN: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "x-request-id", "idempotency-key"];

fn one_header(field: &str, line: &str, secrets: Secrets<'_>) -> Result<(HeaderName, Template), Fault> {
    let (name, value) = line.split_once(':').ok_or_else(|| Fault::field(field, "each is written as name: value"))?;
    let name = name.trim().to_ascii_lowercase();
    let known = HeaderName::from_bytes(name.as_bytes());
    let known = known.map_err(|_| Fault::field(field, format!("{name:?} is no header's name")))?;
    if OWN.contains(&name.as_str()) {
        return Err(Fault::field(field, format!("{name} is written by the hub")));
    }
    let template = Template::parse(field, value.trim(), |_| Place::Header, secrets)?;
    template
        .fill(Fill::Sample)
        .and_then(|text| HeaderValue::from_str(&text).map(drop).map_err(|_| "cannot be a header".to_owned()))
        .map_err(|why| Fault::field(field, format!("{name} {why}")))?;
    if CREDENTIALS.contains(&name.as_str()) && !template.has_secret() {
        let why = format!("{name} is a credential: put it into the environment and write {{{{env.NAME}}}}");
        return Err(Fault::field(field, why));
    }
    Ok((known, template))
}

fn body_of(field: &str, text: &str, kind: BodyKind, secrets: Secrets<'_>) -> Result<Template, Fault> {
    let template = Template::parse(field, text, kind.place(), secrets)?;
    let sample = template.fill(Fill::Sample).map_err(|why| Fault::field(field, why))?;
    if kind == BodyKind::Json {
        serde_json::from_str::<Value>(&sample)
            .map_err(|error| Fault::field(field, format!("is not JSON once its values are in: {error}")))?;
    }
    Ok(template)
}
