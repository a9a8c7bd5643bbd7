//! Signed tokens: the hub's own (HS256 and nothing else), and those of the configured issuers (public keys).
//!
//! Who is asked about a token is decided by the issuer it names, before anything about it is verified: therefore only
//! by exact match among the issuers of the configuration, and whatever else it says - addresses of keys, keys - is not
//! listened to. A token that names none of them is the hub's own or nobody's.

mod issuer;
mod key_set;
mod rules;

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::outward::Outward;
use crate::config::Auth;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::error::{Code, Fault};
use issuer::Issuer;

pub use rules::{Claims, Person, Rules};

/// Signs and verifies.
pub struct Jwt {
    verify: DecodingKey,
    sign: EncodingKey,
    rules: Rules,
    /// By the `iss` of their tokens.
    issuers: HashMap<String, Issuer>,
}

/// Longer texts are no tokens of ours.
const LONGEST: usize = 16 * 1024;

fn refused(message: impl Into<String>) -> Fault {
    Fault::new(Code::Unauthorized, message)
}

impl Jwt {
    pub fn new(secret: &SecretString, auth: &Auth) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let issuer = |(name, issuer): (&String, &crate::config::Issuer)| {
            (issuer.issuer.clone(), Issuer::new(auth, name, issuer))
        };
        Self {
            verify: DecodingKey::from_secret(secret),
            sign: EncodingKey::from_secret(secret),
            rules: Rules::own(auth),
            issuers: auth.issuers.iter().map(issuer).collect(),
        }
    }

    /// The claims of a token, or a sentence why it does not count. `chosen`: one of the token's organizations.
    /// `outward`: the way to the keys of the configured issuers.
    pub async fn verify(
        &self,
        token: &str,
        chosen: Option<&str>,
        now: Timestamp,
        outward: &Outward,
    ) -> Result<Claims, Fault> {
        if token.len() > LONGEST {
            return Err(refused("the token is longer than 16 KiB"));
        }
        let issuer = unverified(token).and_then(|claims| self.issuers.get(claims.get("iss")?.as_str()?));
        let Some(issuer) = issuer else {
            let claims = signed_claims(token, &self.verify, Algorithm::HS256)?;
            return self.rules.read(&claims, chosen, now);
        };
        let header = decode_header(token).map_err(|_| malformed())?;
        if !issuer.algorithms.contains(&header.alg) {
            return Err(refused("the token's algorithm is not one that its issuer may use here"));
        }
        let key = issuer.key(&header, outward).await?;
        let claims = signed_claims(token, &key, header.alg)?;
        issuer.rules.read(&claims, chosen, now)
    }

    /// A token of the hub. `role` is for others who read it; the stored role counts here.
    pub fn mint(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        role: Role,
        now: Timestamp,
        ttl_seconds: i64,
    ) -> Result<String, Fault> {
        let issued = now.0 / 1000;
        let mut id = [0u8; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| Fault::internal("the system gives no random bytes"))?;
        let mut claims = json!({
            "sub": user.as_str(),
            "org": organization.as_str(),
            "role": role.name(),
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": issued,
            "exp": issued.saturating_add(ttl_seconds),
        });
        for (key, value) in [("iss", &self.rules.issuer), ("aud", &self.rules.audience)] {
            if !value.is_empty() {
                claims[key] = Value::from(value.as_str());
            }
        }
        encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .map_err(|_| Fault::internal("the token could not be signed"))
    }
}

/// Whether a text is built like a signed token, good or not: such a text is nobody else's credential.
pub fn looks_signed(token: &str) -> bool {
    token.len() <= LONGEST && unverified(token).is_some()
}

fn malformed() -> Fault {
    refused("the token is malformed")
}

/// What a token says before anybody has verified it.
fn unverified(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// The claims of a token that this very key signed by this very algorithm.
fn signed_claims(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Map<String, Value>, Fault> {
    let mut validation = Validation::new(algorithm);
    // The times, issuer and audience are checked by the rules, with a sentence for each.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data = decode::<Map<String, Value>>(token, key, &validation).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => refused("the token's signature is not valid here"),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            refused(format!("the token's algorithm must be {algorithm:?}"))
        }
        _ => malformed(),
    })?;
    if data.header.crit.is_some() {
        return Err(refused("the token demands extensions (crit) that the hub does not have"));
    }
    Ok(data.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const SECRET: &str = "a secret for tests that has 32 bytes and more";

    fn jwt(change: impl FnOnce(&mut Auth)) -> Jwt {
        let flags = crate::config::Flags { data: Some("/nowhere/at/all".into()), ..Default::default() };
        let mut auth = crate::config::load(&flags, []).unwrap().config.auth;
        change(&mut auth);
        Jwt::new(&SECRET.into(), &auth)
    }

    fn signed(header: Header, claims: &Value, secret: &str) -> String {
        encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn hs256(claims: &Value) -> String {
        signed(Header::new(Algorithm::HS256), claims, SECRET)
    }

    async fn read(claims: Value) -> Result<Claims, String> {
        verify(&jwt(|_| {}), &hs256(&claims), None).await.map_err(|fault| fault.message)
    }

    async fn verify(jwt: &Jwt, token: &str, chosen: Option<&str>) -> Result<Claims, Fault> {
        jwt.verify(token, chosen, NOW, &Outward::default()).await
    }

    #[actix_web::test]
    async fn claims_are_understood_as_they_come() {
        let exp = 1_800_000_060;
        for (claims, role) in [
            (json!({"sub": "u", "org": "o", "exp": exp}), Role::Member),
            (json!({"userId": "u", "organizationId": "o", "userRole": "EMPLOYEE", "exp": exp}), Role::Member),
            (
                json!({"sub": null, "userId": "u", "organizationIds": ["o", "p"], "role": "Admin", "exp": exp}),
                Role::Admin,
            ),
            (json!({"sub": "u", "org": "o", "role": "viewer", "exp": 1_800_000_060.5}), Role::Viewer),
            (json!({"sub": "u", "org": "o", "role": "emperor", "exp": exp}), Role::Member),
        ] {
            let claims = read(claims).await.unwrap();
            assert_eq!(
                (claims.person.user.as_str(), claims.person.organization.as_str(), claims.person.role),
                ("u", "o", role)
            );
        }
        let scoped = read(json!({"sub": "u", "org": "o", "exp": exp, "scope": "a:read  b"})).await.unwrap();
        assert_eq!(scoped.person.permissions, ["a:read", "b"]);
        let endless = read(json!({"sub": "u", "org": "o", "exp": 1e300})).await.unwrap();
        assert_eq!(endless.expires_at.to_rfc3339(), "9999-12-31T23:59:59.000Z");
    }

    #[actix_web::test]
    async fn what_is_missing_or_of_the_wrong_kind_is_refused() {
        for (claims, word) in [
            (json!({"sub": "u", "org": "o"}), "no exp"),
            (json!({"sub": "u", "org": "o", "exp": "1900000000"}), "exp must be a number"),
            (json!({"sub": "u", "org": "o", "exp": null}), "exp must be a number"),
            (json!({"sub": "u", "org": "o", "exp": 1_799_999_000}), "expired"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "nbf": 1_800_000_100}), "not valid yet"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "nbf": "0"}), "nbf must be a number"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "iat": "0"}), "iat must be a number"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "iat": 1_800_000_100}), "in the future"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "jti": 7}), "jti must be"),
            (json!({"sub": "u", "exp": 1_900_000_000}), "no organization"),
            (json!({"sub": "u", "organizationIds": [], "exp": 1_900_000_000}), "no organization"),
            (json!({"sub": "u", "org": 7, "exp": 1_900_000_000}), "organization must be"),
            (json!({"sub": "u", "org": "", "exp": 1_900_000_000}), "organization must be"),
            (json!({"org": "o", "exp": 1_900_000_000}), "no user"),
            (json!({"sub": 7, "org": "o", "exp": 1_900_000_000}), "user must be"),
            (json!({"sub": "a\nb", "org": "o", "exp": 1_900_000_000}), "user must be"),
        ] {
            let refusal = read(claims.clone()).await.unwrap_err();
            assert!(refusal.contains(word), "{claims}: {refusal}");
        }
    }

    #[actix_web::test]
    async fn one_algorithm_and_one_secret() {
        let claims = json!({"sub": "u", "org": "o", "exp": 1_900_000_000});
        let body = hs256(&claims).split('.').nth(1).unwrap().to_owned();
        let none = format!("eyJhbGciOiJub25lIn0.{body}.");
        for (token, word) in [
            (none, "malformed"),
            (signed(Header::new(Algorithm::HS512), &claims, SECRET), "must be HS256"),
            (signed(Header::new(Algorithm::HS256), &claims, "another secret that has 32 bytes and more"), "signature"),
            (hs256(&claims).trim_end_matches(char::is_alphanumeric).to_owned(), ""),
            ("x".repeat(20_000), "longer"),
            ("..".into(), "malformed"),
        ] {
            let refusal = verify(&jwt(|_| {}), &token, None).await.unwrap_err();
            assert_eq!(refusal.code, Code::Unauthorized);
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
    }

    #[actix_web::test]
    async fn one_of_the_tokens_organizations_may_be_chosen() {
        let token = hs256(&json!({"sub": "u", "organizationIds": ["o", "p"], "exp": 1_900_000_000}));
        let jwt = jwt(|_| {});
        assert_eq!(verify(&jwt, &token, Some("p")).await.unwrap().person.organization.as_str(), "p");
        assert_eq!(verify(&jwt, &token, Some("q")).await.unwrap_err().code, Code::Forbidden);
    }

    #[actix_web::test]
    async fn configuration_decides_issuer_audience_and_the_organization_of_who_names_none() {
        let token = hs256(&json!({"sub": "u", "exp": 1_900_000_000, "iss": "me", "aud": ["x", "hub"]}));
        let with = async |issuer: &str, audience: &str| {
            let jwt = jwt(|auth| {
                auth.issuer = issuer.into();
                auth.audience = audience.into();
                auth.default_organization = "home".into();
            });
            verify(&jwt, &token, None).await.map(|claims| claims.person.organization.to_string()).map_err(|f| f.message)
        };
        assert_eq!(with("me", "hub").await.as_deref(), Ok("home"));
        assert!(with("you", "hub").await.unwrap_err().contains("issuer"));
        assert!(with("", "other").await.unwrap_err().contains("audience"));
    }

    #[actix_web::test]
    async fn a_minted_token_is_understood() {
        let jwt = jwt(|auth| auth.issuer = "hub".into());
        let (organization, user) = (OrganizationId::parse("o").unwrap(), UserId::parse("u").unwrap());
        let other = jwt.mint(&organization, &user, Role::Owner, NOW, 60).unwrap();
        let token = jwt.mint(&organization, &user, Role::Owner, NOW, 60).unwrap();
        let claims = verify(&jwt, &token, None).await.unwrap();
        assert_eq!(
            (claims.person.organization, claims.person.user, claims.person.role),
            (organization, user, Role::Owner)
        );
        assert_eq!(claims.expires_at, NOW.plus_millis(65_000));
        assert_eq!(claims.issued_at, Some(NOW));
        let (id, other) = (claims.token_id, verify(&jwt, &other, None).await.unwrap().token_id);
        assert!(id.as_ref().is_some_and(|id| id.len() == 22) && id != other, "{id:?} {other:?}");
        assert!(jwt.verify(&token, None, NOW.plus_millis(66_000), &Outward::default()).await.is_err());
    }
}
