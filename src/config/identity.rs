//! Whether what is said about issuers of tokens and foreign sessions makes sense.

use std::path::Path;

use url::{Host, Url};

use super::checks::{is_name, refuse};
use super::{Auth, ConfigError, Issuer};
use crate::domain::ids::OrganizationId;

/// What an issuer's key set may be pinned to. Nothing symmetric: a public key is no secret.
const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// The issuer in the defaults, which others take from what they leave out. It counts once it has a name (`issuer`).
pub(super) const TEMPLATE: &str = "example";

/// An address that keys or sessions may be asked of: `https`, or `http` on this machine, and without a password.
pub fn safe_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is no address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a password");
    }
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("has no host"),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err("must begin with https:// (http:// counts for this machine alone)"),
    }
}

/// Where an issuer's keys are: a file, unless it looks like an address.
pub fn is_url(jwks: &str) -> bool {
    jwks.contains("://")
}

/// Refuses issuers that would be believed by mistake, and addresses that give secrets away.
pub(super) fn check(auth: &Auth) -> Result<(), ConfigError> {
    let mut seen: Vec<&str> = vec![&auth.issuer];
    for (name, issuer) in &auth.issuers {
        one(name, issuer)?;
        // Two sources under one name: nobody could say whose keys count.
        if seen.contains(&issuer.issuer.as_str()) {
            return refuse(format!("auth.issuers.{name}.issuer: {:?} is named twice", issuer.issuer));
        }
        seen.push(&issuer.issuer);
    }
    if !auth.session_url.is_empty() {
        safe_url(&auth.session_url).or_else(|why| refuse(format!("auth.session_url: {:?} {why}", auth.session_url)))?;
    }
    organizations("auth.session", &auth.session.organizations, "")?;
    if !(0..=3600).contains(&auth.session.seconds) {
        return refuse(format!("auth.session.seconds: {} is not between 0 and 3600", auth.session.seconds));
    }
    if auth.session.user.is_empty() {
        return refuse("auth.session.user must name where the user's id stands".into());
    }
    Ok(())
}

fn one(name: &str, issuer: &Issuer) -> Result<(), ConfigError> {
    if !is_name(name) {
        return refuse(format!("auth.issuers.{name}: a name is 1 to 64 letters, digits, _ and -"));
    }
    let key = |key: &str| format!("auth.issuers.{name}.{key}");
    for (what, value) in [("issuer", &issuer.issuer), ("audience", &issuer.audience), ("jwks", &issuer.jwks)] {
        if value.is_empty() {
            return refuse(format!("{} must be set: keys count for one issuer and one audience alone", key(what)));
        }
    }
    if is_url(&issuer.jwks) {
        safe_url(&issuer.jwks).or_else(|why| refuse(format!("{}: {:?} {why}", key("jwks"), issuer.jwks)))?;
    }
    if issuer.algorithms.is_empty() || !issuer.algorithms.iter().all(|word| ALGORITHMS.contains(&word.as_str())) {
        let allowed = ALGORITHMS.join(", ");
        return refuse(format!("{}: {:?} is not a choice of {allowed}", key("algorithms"), issuer.algorithms));
    }
    if !(1..=86_400).contains(&issuer.refresh_seconds) {
        return refuse(format!("{}: {} is not between 1 and 86400", key("refresh_seconds"), issuer.refresh_seconds));
    }
    organizations(&format!("auth.issuers.{name}"), &issuer.organizations, &issuer.default_organization)
}

fn organizations(section: &str, all: &[String], default: &str) -> Result<(), ConfigError> {
    for name in all.iter().map(String::as_str).chain(Some(default).filter(|name| !name.is_empty())) {
        if OrganizationId::parse(name).is_err() {
            return refuse(format!("{section}: the organization {name:?} is not 1 to 200 bytes of printable text"));
        }
    }
    if !default.is_empty() && !all.is_empty() && !all.iter().any(|name| name == default) {
        return refuse(format!("{section}.default_organization: {default:?} is not in {section}.organizations"));
    }
    Ok(())
}

/// Refuses files of keys that are not there.
pub(super) fn files(auth: &Auth) -> Result<(), ConfigError> {
    for (name, issuer) in &auth.issuers {
        if !is_url(&issuer.jwks) && !Path::new(&issuer.jwks).is_file() {
            return refuse(format!("auth.issuers.{name}.jwks: there is no file {}", issuer.jwks));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::safe_url;

    #[test]
    fn only_encrypted_ways_lead_off_this_machine() {
        for fine in ["https://id.example.org/keys", "http://127.0.0.1:9/k", "http://[::1]:9/k", "http://localhost/k"] {
            assert!(safe_url(fine).is_ok(), "{fine}");
        }
        for bad in [
            "http://id.example.org/keys",
            "http://127.0.0.1.example.org/",
            "http://localhost.example.org/",
            "http://10.0.0.1/",
            "https://me:secret@id.example.org/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "keys.json",
        ] {
            assert!(safe_url(bad).is_err(), "{bad}");
        }
    }
}
