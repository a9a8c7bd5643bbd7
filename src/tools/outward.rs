//! Out of the hub: which hosts may be asked, by which of their addresses, and with which client.
//!
//! A name is resolved once, all its addresses are checked, and the connection goes to one of those very addresses: a
//! name that changes its mind in between gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode, Version};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use url::{Host, Url};

use super::address::is_public;
use crate::error::Fault;

/// For a connection to one address, and once more for its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

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
pub(super) fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What holds for every address, also one that a redirect names.
pub(super) fn acceptable(url: &Url) -> Result<(), String> {
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

/// The way to the hosts that may be asked.
pub(super) struct Outward {
    hosts: Vec<Rule>,
    private: Vec<Rule>,
    resolver: Rc<dyn Resolver>,
    tls: Arc<rustls::ClientConfig>,
    /// The setting that lists them, for sentences.
    setting: String,
}

impl Outward {
    /// Fails on an entry that is no host.
    pub fn new(
        (hosts, private): (&[String], &[String]),
        setting: String,
        tls: Arc<rustls::ClientConfig>,
        resolver: Rc<dyn Resolver>,
    ) -> Result<Self, Fault> {
        let rules = |field: &str, list: &[String]| {
            list.iter().map(|text| Rule::parse(field, text)).collect::<Result<Vec<_>, _>>()
        };
        let private = rules("allow_private", private)?;
        if let Some(rule) = private.iter().find(|rule| rule.below || rule.port.is_none()) {
            return Err(Fault::field("allow_private", format!("{} needs to be exactly one host:port", rule.host)));
        }
        Ok(Self { hosts: rules("allow_hosts", hosts)?, private, resolver, tls, setting })
    }

    /// Checks the address against the lists, resolves its host, and gives the addresses to connect to; at least one.
    pub async fn admit(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        acceptable(url)?;
        let host = plain(url.host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or(443);
        let is_private_friend = self.private.iter().any(|rule| rule.fits(&host, port));
        if !is_private_friend && !self.hosts.iter().any(|rule| rule.fits(&host, port)) {
            let setting = &self.setting;
            return Err(match self.hosts.is_empty() {
                true => format!("no host may be read: the setting {setting} is empty"),
                false => format!("{host}:{port} may not be read: it is not in the setting {setting}"),
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

    /// A client of its own for each request: a connection that is kept would outlive the check of its address.
    fn client(&self) -> awc::Client {
        let connector = awc::Connector::new().rustls_0_23(self.tls.clone()).timeout(CONNECT).handshake_timeout(CONNECT);
        awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
    }

    /// Sends the request to the first of the addresses that takes a connection.
    pub async fn send(&self, what: Sending<'_>, addresses: &[SocketAddr]) -> Result<Response, SendFault> {
        let mut refused = String::new();
        for address in addresses {
            let request = self
                .client()
                .request(what.method.clone(), what.url.as_str())
                .address(*address)
                .no_decompress()
                .force_close()
                .insert_header((header::USER_AGENT, "switchboard"))
                .insert_header((header::ACCEPT_ENCODING, "identity"));
            let request = what.headers.iter().fold(request, |request, header| request.insert_header(header.clone()));
            let sent = match what.body.is_empty() {
                true => request.send().await,
                false => request.send_body(what.body.clone()).await,
            };
            match sent {
                Ok(response) => return Ok(response),
                // So awc calls a connection that ends before the answer begins: by then all may have been sent.
                Err(error @ SendRequestError::Connect(ConnectError::Disconnected)) => {
                    return Err(SendFault::Broken(error.to_string()));
                }
                Err(SendRequestError::Connect(error)) => refused = error.to_string(),
                Err(error) => return Err(SendFault::Broken(error.to_string())),
            }
        }
        Err(SendFault::NotSent(refused))
    }
}

pub(super) type Response = awc::ClientResponse;

/// What is to be sent.
pub(super) struct Sending<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub headers: &'a [(HeaderName, HeaderValue)],
    pub body: Bytes,
}

/// Why no response came.
pub(super) enum SendFault {
    /// No connection.
    NotSent(String),
    Broken(String),
}

/// One header of a response; empty where it is not there.
pub(super) fn field(response: &Response, name: &HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The body as a text, and whether it was cut off after so many bytes.
pub(super) async fn body(host: &str, response: &mut Response, max_bytes: usize) -> Result<(String, bool), String> {
    let encoding = field(response, &header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(format!("{host} answered in an encoding that it was not asked for"));
    }
    let has_length = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|n| !field(response, n).is_empty());
    if !has_length && response.version() == Version::HTTP_11 && response.status() != StatusCode::NO_CONTENT {
        // awc takes such a body for an empty one.
        return Err(format!("{host} answered without a length and not in chunks, which cannot be read"));
    }
    let mut body = BytesMut::new();
    while let (true, Some(piece)) = (body.len() <= max_bytes, response.next().await) {
        let piece = piece.map_err(|e| format!("the connection to {host} broke: {e}"))?;
        body.extend_from_slice(&piece[..piece.len().min(max_bytes + 1 - body.len())]);
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(max_bytes)]).into_owned();
    Ok((text, body.len() > max_bytes))
}
