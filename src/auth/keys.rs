//! Random credentials: API keys, sign-in codes, browser sessions. Only their hashes are kept.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::error::Fault;

/// What an API key begins with.
pub const API_KEY: &str = "sb_";
/// What a browser session begins with.
pub const SESSION: &str = "sbs_";

/// A new secret: the prefix and 32 random bytes in base64url.
pub fn generate(prefix: &str) -> Result<SecretString, Fault> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::internal("the system gives no random bytes"))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// SHA-256: enough for what has 256 random bits, and quick.
pub fn hash(secret: &str) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn no_two_keys_are_alike() {
        let (one, other) = (generate(API_KEY).unwrap(), generate(API_KEY).unwrap());
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_eq!(one.expose_secret().len(), API_KEY.len() + 43);
        assert_ne!(hash(one.expose_secret()), hash(other.expose_secret()));
    }
}
