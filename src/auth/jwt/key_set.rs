//! A set of public keys (RFC 7517), and which of its keys may verify what. Pure.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde_json::Value;

/// Keys one set may have.
const MOST_KEYS: usize = 100;

/// The algorithms a key set may be pinned to. HS256 is not among them: a public key is no secret.
pub const ALGORITHMS: [(&str, Algorithm); 3] =
    [("RS256", Algorithm::RS256), ("ES256", Algorithm::ES256), ("EdDSA", Algorithm::EdDSA)];

/// The keys of one issuer that may verify its tokens.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// The keys that are for signatures by one of `algorithms`; all others are passed over. Fails with a sentence where
    /// the text is no key set.
    pub fn parse(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no list of keys")?;
        if keys.len() > MOST_KEYS {
            return Err(format!("it has {} keys and may have {MOST_KEYS}", keys.len()));
        }
        let read = |key: &Value| Key::read(serde_json::from_value(key.clone()).ok()?);
        Ok(Self(keys.iter().filter_map(read).filter(|key| algorithms.contains(&key.algorithm)).collect()))
    }

    /// The key a token names; where it names none, the only one there is for its algorithm.
    pub fn find(&self, header: &Header) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == header.alg);
        match &header.kid {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)).map(|key| &key.key),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.key),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    /// `None` where the key is of another kind, or for something else than verifying signatures.
    fn read(jwk: Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        let common = &jwk.common;
        if common.key_algorithm.is_some_and(|declared| declared != KeyAlgorithm::from(algorithm)) {
            return None;
        }
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
}
