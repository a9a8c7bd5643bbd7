//! `http_fetch`: reads a page from a host of the allow-list, and from no private address.
//!
//! A name is resolved once, all its addresses are checked, and the connection goes to one of those very addresses: a
//! name that changes its mind in between gains nothing. Redirects are followed by hand, and each one is checked anew.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::error::SendRequestError;
use awc::http::{StatusCode, Version, header};
use bytes::BytesMut;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use url::{Host, Url};

use super::address::is_public;
use super::input::Input;
use super::{Tool, ToolContext, ToolOutcome};
use crate::domain::generation::ToolSpec;
use crate::domain::tool_call::ToolPolicy;
use crate::error::Fault;

/// Characters of an address.
const LONGEST_URL: usize = 2048;
const REDIRECTS: u32 = 5;
/// For a connection to one address, and once more for its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

type Response = awc::ClientResponse;

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

/// Where the addresses of a name come from.
pub trait Resolver {
    fn resolve(&self, host: &str, port: u16) -> LocalBoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;
}

/// The operating system's.
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> LocalBoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed_local()
    }
}

/// One entry of an allow-list.
#[derive(Debug)]
struct Rule {
    host: String,
    /// Only what is below `host`.
    below: bool,
    port: Option<u16>,
}

impl Rule {
    fn parse(field: &str, text: &str) -> Result<Self, Fault> {
        let refuse = || {
            Fault::field(
                field,
                format!("{text:?} is not a host such as example.org, *.example.org or example.org:8080"),
            )
        };
        let (below, rest) = text.trim().strip_prefix("*.").map_or((false, text.trim()), |rest| (true, rest));
        let url = Url::parse(&format!("ws://{rest}")).map_err(|_| refuse())?;
        let bare = url.username().is_empty() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|h| bare && !h.contains('*')).ok_or_else(refuse)?;
        // 80 is the default of `ws` and therefore not reported.
        let port = url.port().or_else(|| rest.ends_with(":80").then_some(80));
        Ok(Self { host: plain(host), below, port })
    }

    fn fits(&self, host: &str, port: u16) -> bool {
        let port_fits = self.port.map_or(matches!(port, 80 | 443), |own| own == port);
        let host_fits = match self.below {
            false => host == self.host,
            true => host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        };
        port_fits && host_fits
    }
}

/// A host's name without the dot that may stand at its end.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

struct Fetcher {
    hosts: Vec<Rule>,
    private: Vec<Rule>,
    resolver: Rc<dyn Resolver>,
    tls: Arc<rustls::ClientConfig>,
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
        let rules = |field: &str, list: &[String]| {
            list.iter().map(|text| Rule::parse(field, text)).collect::<Result<Vec<_>, _>>()
        };
        let private = rules("allow_private", &settings.allow_private)?;
        if let Some(rule) = private.iter().find(|rule| rule.below || rule.port.is_none()) {
            return Err(Fault::field("allow_private", format!("{} needs to be exactly one host:port", rule.host)));
        }
        Ok(Self(Rc::new(Fetcher {
            hosts: rules("allow_hosts", &settings.hosts)?,
            private,
            resolver,
            tls,
            max_bytes: settings.max_bytes,
            time_limit: settings.time_limit,
        })))
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

/// What holds for every address, also one that a redirect names.
fn acceptable(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https addresses can be read".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with credentials is not read".to_owned());
    }
    if url.host_str().is_none_or(|host| plain(host).is_empty()) {
        return Err("the address has no host".to_owned());
    }
    Ok(())
}

/// One step: a page, or where it went.
enum Step {
    Page(ToolOutcome),
    Redirect(Url),
}

impl Fetcher {
    async fn fetch(&self, mut url: Url) -> Result<ToolOutcome, String> {
        for _ in 0..=REDIRECTS {
            let addresses = self.admit(&url).await?;
            match self.get(&url, &addresses).await? {
                Step::Page(outcome) => return Ok(outcome),
                Step::Redirect(next) => url = next,
            }
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }

    /// Checks the address against the lists, resolves its host, and gives the addresses to connect to; at least one.
    async fn admit(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        acceptable(url)?;
        let host = plain(url.host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or(443);
        let is_private_friend = self.private.iter().any(|rule| rule.fits(&host, port));
        if !is_private_friend && !self.hosts.iter().any(|rule| rule.fits(&host, port)) {
            return Err(match self.hosts.is_empty() {
                true => "no host may be read: the setting tools.http_fetch.allow_hosts is empty".to_owned(),
                false => {
                    format!("{host}:{port} may not be read: it is not in the setting tools.http_fetch.allow_hosts")
                }
            });
        }
        let addresses = match url.host() {
            Some(Host::Ipv4(ip)) => vec![SocketAddr::new(IpAddr::V4(ip), port)],
            Some(Host::Ipv6(ip)) => vec![SocketAddr::new(IpAddr::V6(ip), port)],
            _ => {
                let resolved = self.resolver.resolve(&host, port).await;
                resolved.map_err(|e| format!("{host} has no address: {e}"))?
            }
        };
        if !is_private_friend && addresses.iter().any(|address| !is_public(address.ip())) {
            return Err(format!("{host} may not be read: it leads to a private or special address"));
        }
        if addresses.is_empty() {
            return Err(format!("{host} has no address"));
        }
        Ok(addresses)
    }

    /// A client of its own for each step: a connection that is kept would outlive the check of its address.
    fn client(&self) -> awc::Client {
        let connector = awc::Connector::new().rustls_0_23(self.tls.clone()).timeout(CONNECT).handshake_timeout(CONNECT);
        awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
    }

    /// Sends the request to the first of the addresses that takes a connection.
    async fn send(&self, url: &Url, addresses: &[SocketAddr]) -> Result<Response, String> {
        let mut refused = String::new();
        for address in addresses {
            let request = self
                .client()
                .get(url.as_str())
                .address(*address)
                .no_decompress()
                .force_close()
                .insert_header((header::USER_AGENT, "switchboard"))
                .insert_header((header::ACCEPT, "text/*, application/json, application/xml;q=0.9, */*;q=0.1"))
                .insert_header((header::ACCEPT_ENCODING, "identity"));
            match request.send().await {
                Ok(response) => return Ok(response),
                Err(SendRequestError::Connect(error)) => refused = error.to_string(),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(refused)
    }

    async fn get(&self, url: &Url, addresses: &[SocketAddr]) -> Result<Step, String> {
        let host = url.host_str().unwrap_or_default();
        let mut response = self.send(url, addresses).await.map_err(|e| format!("{host} cannot be read: {e}"))?;
        let status = response.status();
        let field = |name: header::HeaderName| {
            response.headers().get(&name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        if is_redirect(status) {
            let next = Some(field(header::LOCATION)).filter(|l| !l.is_empty()).and_then(|l| url.join(&l).ok());
            return next.map(Step::Redirect).ok_or_else(|| format!("{host} redirects to what is no address"));
        }
        let (kind, encoding) = (field(header::CONTENT_TYPE), field(header::CONTENT_ENCODING));
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Err(format!("{host} answered in an encoding that it was not asked for"));
        }
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let has_length = !field(header::CONTENT_LENGTH).is_empty() || !field(header::TRANSFER_ENCODING).is_empty();
        let head = format!("HTTP {}, {kind:.80}, {url}\n\n", status.as_u16());
        if !has_length && response.version() == Version::HTTP_11 && status != StatusCode::NO_CONTENT {
            // awc takes such a body for an empty one.
            return Err(format!("{host} answered without a length and not in chunks, which cannot be read"));
        }
        if status.is_success() && !is_text(&kind) && !matches!(field(header::CONTENT_LENGTH).as_str(), "0") {
            let kind = if kind.is_empty() { "content of no declared type".to_owned() } else { format!("{kind:.80}") };
            return Err(format!("{host} answered with {kind}; only text can be read"));
        }
        let mut body = BytesMut::new();
        while let (true, Some(piece)) = (body.len() <= self.max_bytes, response.next().await) {
            let piece = piece.map_err(|e| format!("the connection to {host} broke: {e}"))?;
            body.extend_from_slice(&piece[..piece.len().min(self.max_bytes + 1 - body.len())]);
        }
        let mut output = head + &String::from_utf8_lossy(&body[..body.len().min(self.max_bytes)]);
        if body.len() > self.max_bytes {
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
