//! The names the hub answers to. A page can point a name of its own at any address, this machine's too, and then the
//! browser takes the hub for that page's own server (DNS rebinding). The name in `Host` gives it away.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Uri, Version};

use crate::config::Server;
use crate::error::{Code, Fault};

/// The status of a request that asks for another server.
pub const MISDIRECTED: u16 = 421;

/// The names that were configured: those of `server.hosts`, and that of `server.public_url`.
#[derive(Debug)]
pub struct Hosts(Vec<String>);

impl Hosts {
    pub fn new(server: &Server) -> Self {
        let public = url::Url::parse(&server.public_url).ok().and_then(|url| url.host_str().map(plain));
        Self(server.hosts.iter().map(|name| plain(name)).chain(public).collect())
    }

    /// Refuses a request for a server that this one is not. `local` is the hub's side of the connection: its address
    /// is always a good name, since no page can choose where an address leads; where that is loopback, `localhost` and
    /// all loopback addresses are.
    ///
    /// # Errors
    /// `forbidden`, to be sent with [`MISDIRECTED`]; `bad_request` where there is no name, or more than one.
    pub fn check(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        version: Version,
        local: Option<SocketAddr>,
    ) -> Result<(), Fault> {
        let mut given = headers.get_all(header::HOST);
        let host = match (given.next(), given.next()) {
            (Some(host), None) => Some(host.to_str().map_err(|_| Fault::field("host", "must be text"))?),
            // Programs of old ask without; browsers never do.
            (None, _) if version < Version::HTTP_11 => None,
            _ => return Err(Fault::field("host", "must stand in the head once")),
        };
        let local = local.map(|address| address.ip().to_canonical());
        // A target may name its server too.
        match host.into_iter().chain(uri.host()).find(|host| !self.is_good(&name_of(host), local)) {
            Some(_) => Err(Fault {
                code: Code::Forbidden,
                message: "the hub does not answer to this host name: add it to server.hosts, or set server.public_url"
                    .into(),
                details: Some(serde_json::json!({ "field": "host" })),
            }),
            None => Ok(()),
        }
    }

    fn is_good(&self, name: &str, local: Option<IpAddr>) -> bool {
        let address = name.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let on_loopback = local.is_some_and(|local| local.is_loopback());
        let near = on_loopback && (name == "localhost" || address.is_some_and(|address| address.is_loopback()));
        near || (address.is_some() && address == local) || self.0.iter().any(|good| good == name)
    }
}

/// The name or address in a `Host`: without the port and the brackets, in small letters.
pub fn name_of(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => plain(name),
        _ => plain(host),
    }
}

/// One spelling for each name: small letters, no brackets, no dot at the end.
fn plain(name: &str) -> String {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    inner.strip_suffix('.').unwrap_or(inner).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn check(names: &[&str], host: Option<&'static str>, local: &str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, HeaderValue::from_static(host));
        }
        let hosts = Hosts(names.iter().map(|name| plain(name)).collect());
        let local = SocketAddr::new(local.parse().expect("an address"), 4096);
        hosts.check(&headers, &Uri::from_static("/"), Version::HTTP_11, Some(local)).is_ok()
    }

    #[test]
    fn on_loopback_its_names_are_good_and_no_others() {
        for good in ["localhost", "LOCALHOST:1", "localhost.:4096", "127.0.0.1", "127.1.2.3:80", "[::1]:4096", "[::1]"]
        {
            assert!(check(&[], Some(good), "127.0.0.1"), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.evil.example",
            "evil.example:4096",
            "localhost@evil.example",
            "localhost:80:80",
            "0.0.0.0",
            "192.168.1.5",
            "2130706433",
            "0x7f.1",
            "[::1].evil.example",
            "[::1",
            "[::2]",
        ] {
            assert!(!check(&[], Some(bad), "127.0.0.1"), "{bad}");
        }
        assert!(!check(&[], None, "127.0.0.1"), "browsers always name the server");
    }

    #[test]
    fn elsewhere_it_is_the_address_that_was_asked_or_a_configured_name() {
        for good in ["192.0.2.7", "192.0.2.7:4096", "hub.internal", "HUB.internal:99", "[2001:db8::1]"] {
            assert!(check(&["hub.internal", "2001:db8::1"], Some(good), "::ffff:192.0.2.7"), "{good}");
        }
        for bad in ["localhost", "127.0.0.1", "192.0.2.8", "a.hub.internal", "hub.internal.evil.example"] {
            assert!(!check(&["hub.internal"], Some(bad), "192.0.2.7"), "{bad}");
        }
    }
}
