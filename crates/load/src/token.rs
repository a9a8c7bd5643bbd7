//! HS256 tokens for the peers: minted by the benchmark, checked by the stock peer (the others check them in JavaScript).
use crate::fault::{Result, fault};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn mac(secret: &str, text: &str) -> Hmac<Sha256> {
    // HMAC takes a key of any length; an empty one is what remains if that ever failed
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(text.as_bytes());
    mac
}

/// A token for `user` of `organization`, good for `ttl` seconds.
pub fn mint(secret: &str, user: &str, organization: &str, ttl: u64) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = format!(r#"{{"sub":"{user}","org":"{organization}","exp":{}}}"#, unix_seconds() + ttl);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = mac(secret, &signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a token whose signature and `exp` hold.
/// Errors: malformed, another algorithm, a wrong signature, expired.
pub fn verify(secret: &str, token: &str) -> Result<serde_json::Value> {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return fault("no token");
    };
    let Some(signature) = decode(signature) else {
        return fault("malformed signature");
    };
    if mac(secret, signed).verify_slice(&signature).is_err() {
        return fault("wrong signature");
    }
    let mut parts = signed.split('.').map(|p| decode(p).and_then(|b| serde_json::from_slice(&b).ok()));
    let (Some(Some(head)), Some(Some(claims))) = (parts.next(), parts.next()) else {
        return fault("malformed token");
    };
    let head: serde_json::Value = head;
    let claims: serde_json::Value = claims;
    if head["alg"] != "HS256" {
        return fault("another algorithm than HS256");
    }
    if claims["exp"].as_u64().is_none_or(|exp| exp <= unix_seconds()) {
        return fault("expired");
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_verifies_and_a_changed_one_does_not() {
        let t = mint("secret", "u", "o", 60);
        assert_eq!(verify("secret", &t).unwrap()["org"], "o");
        assert!(verify("other", &t).is_err());
        assert!(verify("secret", &mint("secret", "u", "o", 0)).is_err(), "expired");
        assert!(verify("secret", "a.b").is_err());
    }
}
