//! What a request's head says: who sent it, from which page, and with which credential. Pure.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::config::Network;
use crate::error::{Code, Fault};

/// The head of a request, whoever parsed it, and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// Without the question mark; may hold a token: never log it.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The client, behind trusted proxies too.
    pub peer: IpAddr,
    /// It came from this machine and through no proxy.
    pub local: bool,
    /// The client's side of the connection is encrypted.
    pub secure: bool,
}

/// What kind of door is knocked at: it decides where a credential may stand and which pages are friends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A raw WebSocket: `?token=` counts.
    Socket,
    /// `/socket.io/`, polling or not: `?token=` counts, and its own list of origins.
    SocketIo,
    /// Everything else.
    Rest,
}

/// A credential as it stood in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    Bearer(&'a str),
    Query(&'a str),
    Cookie(&'a str),
}

impl<'a> Head<'a> {
    /// `tls`: whether this very connection is encrypted. Forwarded headers count only from `trusted` proxies.
    pub fn new(
        method: &'a Method,
        uri: &'a actix_web::http::Uri,
        headers: &'a HeaderMap,
        peer: SocketAddr,
        tls: bool,
        trusted: &[Network],
    ) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let direct = peer.ip().to_canonical();
        let mut client = direct;
        let mut secure = tls;
        if is_trusted(direct) {
            for hop in forwarded_for(headers).into_iter().rev() {
                if !is_trusted(client) {
                    break;
                }
                let Some(address) = hop else { break };
                client = address;
            }
            let proto = headers.get("x-forwarded-proto").and_then(|v| v.to_str().ok());
            secure = tls || proto.is_some_and(|p| p.trim().eq_ignore_ascii_case("https"));
        }
        let relayed = headers.keys().any(says_relayed);
        Self {
            method,
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
            peer: client,
            local: direct.is_loopback() && !relayed,
            secure,
        }
    }

    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a query parameter; twice is refused, because two readers would take two of them.
    pub fn query_value(&self, name: &str) -> Result<Option<String>, Fault> {
        let mut values = url::form_urlencoded::parse(self.query.as_bytes()).filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.into_owned());
        match values.next() {
            Some(_) => Err(Fault::field(name, "must stand in the address once")),
            None => Ok(first),
        }
    }

    /// The token behind `Authorization: Bearer`. Other schemes are somebody else's, such as a proxy's.
    pub fn bearer(&self) -> Result<Option<&'a str>, Fault> {
        let mut values = self.headers.get_all(header::AUTHORIZATION);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Fault::new(Code::Unauthorized, "there is more than one Authorization header"));
        }
        let text = value.to_str().map_err(|_| Fault::new(Code::Unauthorized, "the Authorization header is no text"))?;
        let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        Ok(Some(token.trim()))
    }

    /// The first of the named cookies, in the order of the names: its name and its value.
    pub fn cookie<'n>(&self, names: &'n [String]) -> Option<(&'n str, &'a str)> {
        let pairs = || {
            let lines = self.headers.get_all(header::COOKIE).filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
        };
        names
            .iter()
            .find_map(|name| Some((name, pairs().find(|(key, value)| key == name && !value.is_empty())?.1)))
            .map(|(name, value)| (name.as_str(), value.trim_matches('"')))
    }

    /// Refuses a page that is neither the hub's own nor a friend. Asked where the credential is a cookie, and where a
    /// page would change something without any.
    ///
    /// Browsers name the page in `Origin` on every WebSocket and on every request that changes something; its absence
    /// there is refused, because then nobody knows which page the cookie was sent for.
    pub fn check_origin(&self, public_url: &str, friends: &[String], websocket: bool) -> Result<(), Fault> {
        let mut origins = self.headers.get_all(header::ORIGIN);
        let Some(origin) = origins.next() else {
            let site = self.headers.get("sec-fetch-site").and_then(|v| v.to_str().ok());
            let reads = !websocket && (*self.method == Method::GET || *self.method == Method::HEAD);
            return match site {
                Some("same-origin" | "none") if !websocket => Ok(()),
                None if reads => Ok(()),
                _ => Err(Fault::forbidden("a cookie counts only together with an Origin header; a token needs none")),
            };
        };
        let foreign = || Fault::forbidden("this page is not the hub's own, and its origin is not in server.origins");
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return Err(foreign()) };
        let own = if public_url.is_empty() {
            let scheme = if self.secure { "https" } else { "http" };
            format!("{scheme}://{}", self.header(header::HOST).unwrap_or_default())
        } else {
            public_url.to_owned()
        };
        if same_origin(origin, &own) || friends.iter().any(|friend| same_origin(origin, friend)) {
            return Ok(());
        }
        Err(foreign())
    }
}

/// Whether a header of this name is a proxy's: who sends one does not sit at this machine itself.
fn says_relayed(name: &HeaderName) -> bool {
    matches!(name.as_str(), "via" | "forwarded" | "x-real-ip") || name.as_str().starts_with("x-forwarded-")
}

/// Scheme, host and port are the same; `null` is like nothing.
fn same_origin(one: &str, other: &str) -> bool {
    match (url::Url::parse(one), url::Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin().is_tuple() && one.origin() == other.origin(),
        _ => false,
    }
}

/// The addresses of `X-Forwarded-For`, in order; `None` for what is no address.
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    headers
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|hop| {
            let hop = hop.trim();
            let hop = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
            hop.map(|address: IpAddr| address.to_canonical())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use actix_web::http::Uri;
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn seen(peer: &str, trusted: &[&str], forwarded: &[(&'static str, &'static str)]) -> (String, bool, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in forwarded {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| Network::parse(text).unwrap()).collect();
        let (uri, peer) = (Uri::from_static("/"), SocketAddr::new(peer.parse().unwrap(), 1));
        let head = Head::new(&Method::GET, &uri, &headers, peer, false, &trusted);
        (head.peer.to_string(), head.local, head.secure)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        const FOR: &str = "x-forwarded-for";
        const PROTO: &str = "x-forwarded-proto";
        let is = |address: &str, local, secure| (address.to_owned(), local, secure);
        assert_eq!(seen("127.0.0.1", &[], &[]), is("127.0.0.1", true, false));
        assert_eq!(seen("::ffff:127.0.0.1", &[], &[]), is("127.0.0.1", true, false));
        assert_eq!(seen("192.0.2.1", &[], &[(FOR, "198.51.100.7"), (PROTO, "https")]), is("192.0.2.1", false, false));
        for name in [FOR, PROTO, "x-forwarded-host", "x-real-ip", "via", "forwarded"] {
            assert_eq!(seen("127.0.0.1", &[], &[(name, "198.51.100.7")]), is("127.0.0.1", false, false), "{name}");
        }
        assert_eq!(seen("127.0.0.1", &[], &[("x-request-id", "1")]), is("127.0.0.1", true, false));
        let proxy = ["10.0.0.0/8"];
        assert_eq!(
            seen("10.1.1.1", &proxy, &[(FOR, "198.51.100.7"), (PROTO, "https")]),
            is("198.51.100.7", false, true)
        );
        // What stands before the last stranger was written by the stranger.
        assert_eq!(
            seen("10.1.1.1", &proxy, &[(FOR, "127.0.0.1, 198.51.100.7, 10.2.2.2")]),
            is("198.51.100.7", false, false)
        );
        assert_eq!(
            seen("10.1.1.1", &proxy, &[(FOR, "198.51.100.7"), (FOR, "10.2.2.2")]),
            is("198.51.100.7", false, false)
        );
        assert_eq!(seen("10.1.1.1", &proxy, &[(FOR, "198.51.100.7, nonsense")]), is("10.1.1.1", false, false));
    }

    #[test]
    fn networks_hold_what_they_hold() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1") && holds("::/0", "2001:db8::1"));
        for bad in ["10.0.0.0/33", "10.0.0/8", "::/129", "proxy", "10.0.0.1/", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
