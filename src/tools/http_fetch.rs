//! `http_fetch`: reads a page from a host of the allow-list, and from no private address.
//!
//! Redirects are followed by hand, and each one is checked anew.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{self, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use url::Url;

use super::input::Input;
use super::outward::{Outward, SendFault, Sending, acceptable, body, field};
pub use super::outward::{Resolver, SystemResolver};
use super::{Tool, ToolContext, ToolOutcome};
use crate::domain::generation::ToolSpec;
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;

/// Characters of an address.
const LONGEST_URL: usize = 2048;
const REDIRECTS: u32 = 5;

#[derive(Debug, Clone)]
pub struct HttpFetchSettings {
    /// Hosts that may be read: `example.org`, `*.example.org` (what is below it), each also with a `:port`.
    /// Without a port 80 and 443 are meant. Empty: nothing may be read.
    pub hosts: Vec<String>,
    /// `host:port` of the intranet that may be read although its address is private.
    pub allow_private: Vec<String>,
    /// Bytes of a page; the rest is cut off.
    pub max_bytes: usize,
    /// For a page with all its redirects.
    pub time_limit: Duration,
}

impl Default for HttpFetchSettings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            allow_private: Vec::new(),
            max_bytes: 256 * 1024,
            time_limit: Duration::from_secs(20),
        }
    }
}

struct Fetcher {
    outward: Outward,
    max_bytes: usize,
    time_limit: Duration,
}

pub struct HttpFetch(Rc<Fetcher>);

impl HttpFetch {
    /// Fails on an entry that is no host.
    pub fn new(settings: &HttpFetchSettings, tls: Arc<rustls::ClientConfig>) -> Result<Self, Fault> {
        Self::with_resolver(settings, tls, Rc::new(SystemResolver))
    }

    pub fn with_resolver(
        settings: &HttpFetchSettings,
        tls: Arc<rustls::ClientConfig>,
        resolver: Rc<dyn Resolver>,
    ) -> Result<Self, Fault> {
        let lists = (settings.hosts.as_slice(), settings.allow_private.as_slice());
        let outward = Outward::new(lists, "tools.http_fetch.allow_hosts".to_owned(), tls, resolver)?;
        Ok(Self(Rc::new(Fetcher { outward, max_bytes: settings.max_bytes, time_limit: settings.time_limit })))
    }
}

fn url_of(input: &Value) -> Result<Url, String> {
    let input = Input::of(input, "", &["url"])?;
    let text = input.text("url")?;
    if text.len() > LONGEST_URL {
        return Err(input.fault("url", format_args!("at most {LONGEST_URL} characters")));
    }
    let url = Url::parse(text).map_err(|e| input.fault("url", format_args!("not an address: {e}")))?;
    acceptable(&url).map_err(|why| input.fault("url", why))?;
    Ok(url)
}

/// One step: a page, or where it went.
enum Step {
    Page(ToolOutcome),
    Redirect(Url),
}

impl Fetcher {
    async fn fetch(&self, mut url: Url) -> Result<ToolOutcome, String> {
        for _ in 0..=REDIRECTS {
            let addresses = self.outward.admit(&url).await?;
            match self.get(&url, &addresses).await? {
                Step::Page(outcome) => return Ok(outcome),
                Step::Redirect(next) => url = next,
            }
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }

    async fn get(&self, url: &Url, addresses: &[SocketAddr]) -> Result<Step, String> {
        let host = url.host_str().unwrap_or_default();
        let accept = "text/*, application/json, application/xml;q=0.9, */*;q=0.1";
        let headers = [(header::ACCEPT, HeaderValue::from_static(accept))];
        let asking = Sending { method: Method::GET, url, headers: &headers, body: Bytes::new() };
        let mut response = self.outward.send(asking, addresses).await.map_err(|fault| {
            let (SendFault::NotSent(why) | SendFault::Broken(why)) = fault;
            format!("{host} cannot be read: {why}")
        })?;
        let status = response.status();
        if is_redirect(status) {
            let next = Some(field(&response, &header::LOCATION)).filter(|l| !l.is_empty());
            let next = next.and_then(|l| url.join(&l).ok());
            return next.map(Step::Redirect).ok_or_else(|| format!("{host} redirects to what is no address"));
        }
        let kind = field(&response, &header::CONTENT_TYPE);
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let empty = field(&response, &header::CONTENT_LENGTH) == "0";
        let head = format!("HTTP {}, {kind:.80}, {url}\n\n", status.as_u16());
        if status.is_success() && !is_text(&kind) && !empty {
            let kind = if kind.is_empty() { "content of no declared type".to_owned() } else { format!("{kind:.80}") };
            return Err(format!("{host} answered with {kind}; only text can be read"));
        }
        let (text, cut) = body(host, &mut response, self.max_bytes).await?;
        let mut output = head + &text;
        if cut {
            output.push_str(&format!("\n\n[cut off after {} bytes]", self.max_bytes));
        }
        Ok(Step::Page(ToolOutcome { output, is_error: !status.is_success(), todos: None }))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn is_text(kind: &str) -> bool {
    const KINDS: [&str; 7] = ["json", "xml", "javascript", "x-javascript", "yaml", "x-yaml", "x-ndjson"];
    let application = kind.strip_prefix("application/");
    let structured = kind.ends_with("+json") || kind.ends_with("+xml");
    kind.starts_with("text/") || structured || application.is_some_and(|rest| KINDS.contains(&rest))
}

impl Tool for HttpFetch {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "http_fetch".to_owned(),
            description: "Reads a text, HTML or JSON document with GET from one of the hosts that are allowed."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "required": ["url"],
                "properties": {
                    "url": { "type": "string", "maxLength": LONGEST_URL, "description": "http or https, without credentials" },
                },
                "additionalProperties": false,
            }),
        }
    }

    fn default_policy(&self) -> ToolPolicy {
        ToolPolicy::Ask
    }

    fn concurrent(&self) -> bool {
        true
    }

    fn summary(&self, input: &Value) -> String {
        match url_of(input) {
            Ok(url) => format!("read {url}"),
            Err(_) => "read an address that is not valid".to_owned(),
        }
    }

    fn risks(&self, input: &Value) -> Vec<String> {
        let Ok(url) = url_of(input) else { return Vec::new() };
        let host = url.host_str().unwrap_or_default();
        let mut risks = vec![
            format!("{host} sees the request and all that its address says"),
            "the page's text reaches the model and may try to instruct it".to_owned(),
        ];
        if url.scheme() == "http" {
            risks.push("the page is sent unencrypted".to_owned());
        }
        risks
    }

    fn check(&self, input: &Value) -> Result<(), String> {
        url_of(input).map(|_| ())
    }

    fn run(&self, input: Value, context: ToolContext) -> LocalBoxFuture<'static, ToolOutcome> {
        let fetcher = self.0.clone();
        async move {
            let url = match url_of(&input) {
                Ok(url) => url,
                Err(why) => return ToolOutcome::failed(why),
            };
            let limit = fetcher.time_limit;
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => ToolOutcome::failed("cancelled"),
                fetched = tokio::time::timeout(limit, fetcher.fetch(url)) => match fetched {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(why)) => ToolOutcome::failed(why),
                    Err(_) => ToolOutcome::failed(format!("not read within {} s", limit.as_secs_f64())),
                },
            }
        }
        .boxed_local()
    }
}
