//! The way to a provider's API: one HTTP client a worker, its time-outs, and what a failure on that way means.

use std::sync::Arc;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::retry::{RetrySettings, asked_wait, may_pass_later};
use crate::domain::generation::{ProviderFault, ProviderFaultKind};
use crate::error::{Code, Fault};

/// An error body is read up to here, in bytes.
const ERROR_BODY: usize = 64 * 1024;
/// A provider's own words in a fault, in characters.
const ERROR_WORDS: usize = 500;

/// What holds for the way to one provider.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// For the name, the connection and, once more, for its TLS handshake.
    pub connect_timeout: Duration,
    /// From the begin of a try to the head of its answer.
    pub head_timeout: Duration,
    /// Between two bytes of an answer.
    pub idle_timeout: Duration,
    pub retry: RetrySettings,
    /// Bytes one event of the stream may have.
    pub event_bytes: usize,
    /// Certificate authorities trusted besides the web's own.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            retry: RetrySettings::default(),
            event_bytes: 1 << 20,
            extra_roots: Vec::new(),
        }
    }
}

/// TLS as the hub speaks it outwards: the web's authorities and `extra`, HTTP/1.1 only.
pub fn tls(extra: &[CertificateDer<'static>]) -> Result<Arc<rustls::ClientConfig>, Fault> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in extra {
        roots.add(certificate.clone()).map_err(|e| Fault::field("extra_roots", e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Fault::internal(format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // awc's own switch for this would throw the configuration away.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The base address of an API, checked: http or https, a host, no credentials.
pub fn base_url(text: &str) -> Result<Url, Fault> {
    let refuse = |why: &str| Fault::field("base_url", why);
    let url = Url::parse(text.trim()).map_err(|e| refuse(&format!("not an address: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse("an http or https address is expected"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("credentials do not belong into the address"));
    }
    Ok(url)
}

/// Whether somebody listens there. Nothing is sent: no credential and no prompt.
pub async fn is_reachable(base: String) -> bool {
    let Ok(url) = base_url(&base) else { return false };
    let Some((host, port)) = url.host_str().zip(url.port_or_known_default()) else { return false };
    // An IPv6 address stands in brackets within a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    tokio::net::TcpStream::connect((host, port)).await.is_ok()
}

/// `base` with `path` appended to its own; a query stays.
pub fn join(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// One request: everything but the number of the try.
#[derive(Debug, Clone)]
pub struct Call {
    pub url: Url,
    /// The credential's header, and what the API wants besides.
    pub credential: Option<(&'static str, SecretString)>,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Bytes,
    pub request_id: String,
}

/// A try that failed, and whether another one makes sense.
#[derive(Debug)]
pub struct Failure {
    pub fault: ProviderFault,
    pub may_retry: bool,
    /// What `Retry-After` asked for.
    pub wait: Option<Duration>,
}

impl From<ProviderFault> for Failure {
    /// Of a stream that failed before its first token.
    fn from(fault: ProviderFault) -> Self {
        use ProviderFaultKind::*;
        let may_retry = matches!(fault.kind, Network | Timeout | Overloaded | Server);
        Self { fault, may_retry, wait: None }
    }
}

/// A body that arrives, each piece within the idle time.
pub struct Body {
    response: awc::ClientResponse,
    idle: Duration,
    place: String,
}

impl Body {
    /// The next bytes; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProviderFault> {
        match tokio::time::timeout(self.idle, self.response.next()).await {
            Err(_) => Err(ProviderFault::new(
                ProviderFaultKind::Timeout,
                format!("{} sent nothing for {}", self.place, seconds(self.idle)),
            )),
            Ok(Some(Err(error))) => Err(broken(&self.place, &error)),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(None) => Ok(None),
        }
    }
}

fn broken(place: &str, error: &PayloadError) -> ProviderFault {
    let kind = match error {
        PayloadError::EncodingCorrupted | PayloadError::UnknownLength => ProviderFaultKind::Malformed,
        _ => ProviderFaultKind::Network,
    };
    let how = match error {
        // Its own text shows the operating system's error as a programmer would print it.
        PayloadError::Incomplete(Some(cause)) => format!("broke in mid-answer: {cause}"),
        PayloadError::Incomplete(None) => "ended in mid-answer".to_owned(),
        other => format!("broke: {other}"),
    };
    ProviderFault::new(kind, format!("the connection to {place} {how}"))
}

/// The client of one worker for one provider. Connections are kept and used again.
pub struct Transport {
    client: awc::Client,
    pub settings: TransportSettings,
    /// The provider's name, for faults and logs.
    pub name: String,
}

impl Transport {
    pub fn new(name: &str, settings: &TransportSettings) -> Result<Self, Fault> {
        if settings.retry.attempts == 0 {
            return Err(Fault::new(Code::BadRequest, "retry.attempts: at least 1"));
        }
        let connector = awc::Connector::new()
            .rustls_0_23(tls(&settings.extra_roots)?)
            .limit(0)
            .timeout(settings.connect_timeout)
            .handshake_timeout(settings.connect_timeout);
        // A redirect would carry the key to somebody else.
        let client = awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish();
        Ok(Self { client, settings: settings.clone(), name: name.to_owned() })
    }

    /// Sends `call` once and gives the body of its event stream.
    pub async fn open(&self, call: &Call) -> Result<Body, Failure> {
        let place = place(&self.name, &call.url);
        let mut request = self
            .client
            .post(call.url.as_str())
            .no_decompress()
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header((header::ACCEPT, "text/event-stream"))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .insert_header((header::USER_AGENT, "switchboard"));
        // It may be a client's: one that is no header value is left out.
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
            request = request.insert_header(("x-request-id", id));
        }
        for header in &call.headers {
            request = request.insert_header(*header);
        }
        if let Some((name, secret)) = &call.credential {
            request = request.insert_header((*name, sensitive(&place, secret)?));
        }
        let head = tokio::time::timeout(self.settings.head_timeout, request.send_body(call.body.clone()));
        let response = match head.await {
            Err(_) => return Err(late(&place, self.settings.head_timeout).into()),
            Ok(Err(error)) => return Err(unsent(&place, &error)),
            Ok(Ok(response)) => response,
        };
        let body = Body { response, idle: self.settings.idle_timeout, place };
        if body.response.status().is_success() { accept(body) } else { Err(refused(body, call).await) }
    }
}

/// Marked, so that no log shows it.
fn sensitive(place: &str, secret: &SecretString) -> Result<HeaderValue, ProviderFault> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| {
        let message = format!("no request to {place} can be made: the API key has characters that it must not have");
        ProviderFault::new(ProviderFaultKind::Credentials, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn place(name: &str, url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{name} ({}{port})", url.host_str().unwrap_or_default())
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn late(place: &str, limit: Duration) -> ProviderFault {
    ProviderFault::new(ProviderFaultKind::Timeout, format!("{place} did not answer within {}", seconds(limit)))
}

fn unsent(place: &str, error: &SendRequestError) -> Failure {
    use ProviderFaultKind::{Malformed, Network, Timeout};
    let (kind, message) = match error {
        SendRequestError::Connect(ConnectError::Timeout) => (Timeout, format!("cannot connect to {place} in time")),
        SendRequestError::Connect(ConnectError::Disconnected) => {
            (Network, format!("{place} hung up without an answer"))
        }
        SendRequestError::Connect(error) => (Network, format!("cannot connect to {place}: {error}")),
        SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => {
            (Network, format!("the connection to {place} broke: {error}"))
        }
        SendRequestError::Response(error) => (Malformed, format!("{place} does not speak HTTP as it should: {error}")),
        _ => (Network, format!("the request to {place} failed")),
    };
    ProviderFault::new(kind, message).into()
}

fn accept(body: Body) -> Result<Body, Failure> {
    let header =
        |name: header::HeaderName| body.response.headers().get(&name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let malformed = |what: String| {
        let mut fault = ProviderFault::new(ProviderFaultKind::Malformed, format!("{} answered {what}", body.place));
        fault.status = Some(body.response.status().as_u16());
        Err(fault.into())
    };
    let kind = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = header(header::CONTENT_ENCODING);
    if !kind.is_empty() && kind != "text/event-stream" {
        return malformed(format!("with {kind:.80} instead of an event stream"));
    }
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return malformed(format!("in the encoding {encoding:.80}, which it was not asked for"));
    }
    let has_length =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|name| !header(name.clone()).is_empty());
    if !has_length && body.response.version() == awc::http::Version::HTTP_11 {
        // awc takes such a body for an empty one.
        return malformed("without a length and not in chunks, which the hub's HTTP client cannot read".to_owned());
    }
    Ok(body)
}

async fn refused(mut body: Body, call: &Call) -> Failure {
    let status = body.response.status().as_u16();
    let wait = body.response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
    let wait = wait.and_then(|text| asked_wait(text, chrono::Utc::now()));
    let place = body.place.clone();
    let mut bytes = BytesMut::new();
    while let Ok(Some(piece)) = body.next().await {
        bytes.extend_from_slice(&piece[..piece.len().min(ERROR_BODY - bytes.len())]);
        if bytes.len() >= ERROR_BODY {
            break;
        }
    }
    let words = ErrorWords::of_body(&bytes);
    let mut fault = words.fault(&place, Some(status), call.credential.as_ref().map(|(_, secret)| secret));
    fault.status = Some(status);
    let spent = words.code.contains("insufficient_quota");
    Failure { may_retry: may_pass_later(status) && !spent, wait, fault }
}

/// What an API says about its error, as far as it can be made out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ErrorWords {
    /// `error.type` and `error.code`, in lower case, whatever of them is there.
    pub code: String,
    pub message: String,
    /// A status given inside of the object.
    pub status: Option<u16>,
}

impl ErrorWords {
    /// From `{"error":{..}}`, `{"error":".."}`, or the object itself with a `message` or `detail`.
    pub fn of(value: &serde_json::Value) -> Self {
        let error = value.get("error").filter(|e| !e.is_null()).unwrap_or(value);
        let text = |name: &str| error.get(name).and_then(|v| v.as_str()).unwrap_or_default();
        let first = ["message", "detail"].map(text).into_iter().find(|t| !t.is_empty());
        let message = error.as_str().or(first).unwrap_or_default().to_owned();
        let number = error.get("code").or_else(|| error.get("status")).and_then(serde_json::Value::as_u64);
        let code = format!("{} {}", text("type"), text("code")).trim().to_lowercase();
        Self { code, message, status: number.and_then(|n| u16::try_from(n).ok()) }
    }

    fn of_body(body: &[u8]) -> Self {
        serde_json::from_slice(body).map(|value| Self::of(&value)).unwrap_or_default()
    }

    /// The fault that this means. `status` is that of the answer, if the error was its body.
    pub fn fault(&self, place: &str, status: Option<u16>, secret: Option<&SecretString>) -> ProviderFault {
        use ProviderFaultKind::*;
        let code = self.code.as_str();
        let number = status.or(self.status);
        let kind = if self.is_too_long() {
            ContextTooLong
        } else {
            match number {
                Some(401 | 403) => Credentials,
                Some(408 | 504) => Timeout,
                Some(429 | 529) => Overloaded,
                Some(300..=499) => Rejected,
                _ if code.contains("overloaded") || code.contains("rate_limit") => Overloaded,
                _ if code.contains("authentication") || code.contains("permission") => Credentials,
                _ if code.contains("invalid_request") || code.contains("not_found") => Rejected,
                _ => Server,
            }
        };
        let status = number.map(|n| format!(" ({n})")).unwrap_or_default();
        let did = match kind {
            // Its own words repeat parts of the key.
            Credentials => return ProviderFault::new(kind, format!("{place} refused the API key{status}")),
            ContextTooLong => "says that the prompt is too long for the model",
            Overloaded => "is overloaded or limits our rate",
            Rejected => "rejected the request",
            Timeout => "took too long",
            _ => "failed",
        };
        let words = scrub(&self.message, secret);
        let words = if words.is_empty() { words } else { format!(": {words}") };
        ProviderFault::new(kind, format!("{place} {did}{status}{words}"))
    }

    fn is_too_long(&self) -> bool {
        let message = self.message.to_lowercase();
        let codes = ["context_length_exceeded", "exceed_context_size", "request_too_large"];
        let texts =
            ["prompt is too long", "maximum context length", "exceed context limit", "context window", "context size"];
        codes.iter().any(|c| self.code.contains(c)) || texts.iter().any(|t| message.contains(t))
    }
}

/// A provider's words made fit for a user: one line, bounded, without our key or anything that looks like one.
fn scrub(words: &str, secret: Option<&SecretString>) -> String {
    let mut words = words.to_owned();
    if let Some(secret) = secret.map(ExposeSecret::expose_secret) {
        let bare = secret.strip_prefix("Bearer ").unwrap_or(secret);
        if !bare.is_empty() {
            words = words.replace(bare, "***");
        }
    }
    let is_key = |word: &str| word.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with("sk-");
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line: Vec<&str> = plain.split_whitespace().map(|word| if is_key(word) { "***" } else { word }).collect();
    line.join(" ").chars().take(ERROR_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_base_address_is_checked_and_joined() {
        let joined = |base: &str| join(&base_url(base).unwrap(), &["chat", "completions"]).to_string();
        assert_eq!(joined("http://h:1/v1"), "http://h:1/v1/chat/completions");
        assert_eq!(joined("http://h:1/v1/"), "http://h:1/v1/chat/completions");
        assert_eq!(joined("https://h"), "https://h/chat/completions");
        assert_eq!(joined("https://h/d?api-version=1"), "https://h/d/chat/completions?api-version=1");
        for bad in ["", "h:1", "ftp://h", "http://user@h", "https://:x@h", "file:///etc"] {
            let fault = base_url(bad).unwrap_err();
            assert!(fault.message.starts_with("base_url: "), "{bad}: {fault}");
        }
    }

    #[test]
    fn error_objects_of_many_shapes_are_understood() {
        let kind = |status, value: serde_json::Value| ErrorWords::of(&value).fault("p", status, None).kind;
        use ProviderFaultKind::*;
        assert_eq!(kind(Some(429), json!({"error":{"message":"slow down","type":"rate_limit_error"}})), Overloaded);
        assert_eq!(
            kind(None, json!({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})),
            Overloaded
        );
        assert_eq!(kind(None, json!({"error":{"code":429,"message":"x"}})), Overloaded);
        assert_eq!(kind(None, json!({"error":"it broke"})), Server);
        assert_eq!(kind(Some(400), json!({"error":{"code":"context_length_exceeded","message":"x"}})), ContextTooLong);
        assert_eq!(
            kind(Some(400), json!({"error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2"}})),
            ContextTooLong
        );
        assert_eq!(
            kind(Some(400), json!({"error":{"type":"exceed_context_size_error","message":"x"}})),
            ContextTooLong
        );
        assert_eq!(kind(Some(400), json!({"object":"error","message":"no"})), Rejected);
        assert_eq!(kind(Some(302), json!(null)), Rejected);
        assert_eq!(kind(Some(503), json!(null)), Server);
        assert_eq!(ErrorWords::of(&json!({"detail":"nope"})).message, "nope");
    }

    #[test]
    fn no_key_comes_back_in_a_fault() {
        let secret = SecretString::from("Bearer sesame-123");
        let words = ErrorWords::of(&json!({"error":{"message":"bad\nsesame-123, 'sk-proj-abc' \u{7} and more"}}));
        assert_eq!(
            words.fault("p", Some(400), Some(&secret)).message,
            "p rejected the request (400): bad ***, *** and more"
        );
        assert_eq!(words.fault("p", Some(401), None).message, "p refused the API key (401)");
        assert!(scrub(&"x ".repeat(9999), None).len() <= ERROR_WORDS);
    }
}
