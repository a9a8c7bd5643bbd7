//! The hub's own tokens: HS256 and nothing else, and what their claims mean.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::config::Auth;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::error::{Code, Fault};

/// Signs and verifies.
pub struct Jwt {
    verify: DecodingKey,
    sign: EncodingKey,
    validation: Validation,
    rules: Rules,
}

/// Which claims count, and how.
#[derive(Debug, Clone)]
pub struct Rules {
    user: Vec<String>,
    organization: Vec<String>,
    role: Vec<String>,
    permissions: Vec<String>,
    roles: std::collections::BTreeMap<String, String>,
    issuer: String,
    audience: String,
    leeway_ms: i64,
    default_organization: String,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    pub organization: OrganizationId,
    pub user: UserId,
    pub role: Role,
    pub permissions: Vec<String>,
    pub expires_at: Timestamp,
}

/// Longer texts are no tokens of ours.
const LONGEST: usize = 16 * 1024;

/// The end of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;

fn refused(message: impl Into<String>) -> Fault {
    Fault::new(Code::Unauthorized, message)
}

impl Jwt {
    pub fn new(secret: &SecretString, auth: &Auth) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let mut validation = Validation::new(Algorithm::HS256);
        // The times, issuer and audience are checked below, with a sentence for each.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            verify: DecodingKey::from_secret(secret),
            sign: EncodingKey::from_secret(secret),
            validation,
            rules: Rules::new(auth),
        }
    }

    /// The claims of a token, or a sentence why it does not count. `chosen`: one of the token's organizations.
    pub fn verify(&self, token: &str, chosen: Option<&str>, now: Timestamp) -> Result<Claims, Fault> {
        if token.len() > LONGEST {
            return Err(refused("the token is longer than 16 KiB"));
        }
        let data = decode::<Map<String, Value>>(token, &self.verify, &self.validation).map_err(|error| {
            refused(match error.kind() {
                ErrorKind::InvalidSignature => "the token's signature is not valid here",
                ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "the token's algorithm must be HS256",
                _ => "the token is malformed",
            })
        })?;
        if data.header.crit.is_some() {
            return Err(refused("the token demands extensions (crit) that the hub does not have"));
        }
        self.rules.read(&data.claims, chosen, now)
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
        let mut claims = json!({
            "sub": user.as_str(),
            "org": organization.as_str(),
            "role": role.name(),
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

impl Rules {
    fn new(auth: &Auth) -> Self {
        Self {
            user: auth.user_claims.clone(),
            organization: auth.organization_claims.clone(),
            role: auth.role_claims.clone(),
            permissions: auth.permission_claims.clone(),
            roles: auth.roles.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway_ms: i64::try_from(auth.leeway_seconds).unwrap_or(0).saturating_mul(1000),
            default_organization: auth.default_organization.clone(),
        }
    }

    fn read(&self, claims: &Map<String, Value>, chosen: Option<&str>, now: Timestamp) -> Result<Claims, Fault> {
        let expires_at = time(claims, "exp")?.ok_or_else(|| refused("the token has no exp: it would never end"))?;
        if now.0 >= expires_at.0.saturating_add(self.leeway_ms) {
            return Err(refused("the token has expired"));
        }
        if time(claims, "nbf")?.is_some_and(|from| now.0 < from.0.saturating_sub(self.leeway_ms)) {
            return Err(refused("the token is not valid yet (nbf)"));
        }
        if !self.issuer.is_empty() && claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(refused("the token comes from another issuer (iss)"));
        }
        if !self.audience.is_empty() && !texts(claims.get("aud")).contains(&self.audience.as_str()) {
            return Err(refused("the token is for another audience (aud)"));
        }
        let user = first(claims, &self.user)
            .ok_or_else(|| refused(format!("the token names no user ({})", self.user.join(" or "))))?;
        let user = user.as_str().and_then(|text| UserId::parse(text).ok());
        let user = user.ok_or_else(|| refused("the token's user must be a text of 1 to 200 bytes"))?;
        let role = first(claims, &self.role).and_then(Value::as_str).map_or(Role::Member, |word| self.role(word));
        let permissions = match first(claims, &self.permissions) {
            Some(Value::String(scope)) => scope.split_whitespace().map(str::to_owned).collect(),
            other => texts(other).into_iter().map(str::to_owned).collect(),
        };
        let organization = self.organization(claims, chosen)?;
        Ok(Claims { organization, user, role, permissions, expires_at })
    }

    /// Unmapped is `member`.
    fn role(&self, word: &str) -> Role {
        let mapped = self.roles.get(&word.to_ascii_lowercase()).and_then(|role| Role::parse(role));
        mapped.unwrap_or_else(|| Role::from_claim(word))
    }

    fn organization(&self, claims: &Map<String, Value>, chosen: Option<&str>) -> Result<OrganizationId, Fault> {
        let mut named: Vec<&str> = Vec::new();
        for claim in self.organization.iter().filter_map(|name| claims.get(name)).filter(|value| !value.is_null()) {
            match claim {
                Value::String(text) => named.push(text),
                Value::Array(_) => named.extend(texts(Some(claim))),
                _ => return Err(refused("the token's organization must be a text or a list of texts")),
            }
        }
        if named.is_empty() && !self.default_organization.is_empty() {
            named.push(&self.default_organization);
        }
        let name = match chosen {
            Some(chosen) => named
                .iter()
                .find(|name| **name == chosen)
                .ok_or_else(|| Fault::forbidden("organizationId: the token is not for that organization"))?,
            None => named.first().ok_or_else(|| {
                let names = self.organization.join(" or ");
                refused(format!("the token names no organization ({names}), and auth.default_organization is not set"))
            })?,
        };
        OrganizationId::parse(name).map_err(|_| refused("the token's organization must be a text of 1 to 200 bytes"))
    }
}

fn first<'a>(claims: &'a Map<String, Value>, names: &[String]) -> Option<&'a Value> {
    names.iter().filter_map(|name| claims.get(name)).find(|value| !value.is_null())
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A NumericDate as RFC 7519 has it: a number of seconds; anything else is refused, not skipped.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Fault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let seconds = number.as_f64().unwrap_or(f64::NAN);
            if !seconds.is_finite() {
                return Err(refused(format!("the token's {name} must be a number of seconds")));
            }
            // What ends after the year 9999 ends with it: later days have no name.
            Ok(Some(Timestamp((seconds.clamp(-LAST_SECOND, LAST_SECOND) * 1000.0) as i64)))
        }
        Some(_) => Err(refused(format!("the token's {name} must be a number of seconds"))),
    }
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

    fn read(claims: Value) -> Result<Claims, String> {
        jwt(|_| {}).verify(&hs256(&claims), None, NOW).map_err(|fault| fault.message)
    }

    #[test]
    fn claims_are_understood_as_they_come() {
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
            let claims = read(claims).unwrap();
            assert_eq!((claims.user.as_str(), claims.organization.as_str(), claims.role), ("u", "o", role));
        }
        let scoped = read(json!({"sub": "u", "org": "o", "exp": exp, "scope": "a:read  b"})).unwrap();
        assert_eq!(scoped.permissions, ["a:read", "b"]);
        let endless = read(json!({"sub": "u", "org": "o", "exp": 1e300})).unwrap();
        assert_eq!(endless.expires_at.to_rfc3339(), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn what_is_missing_or_of_the_wrong_kind_is_refused() {
        for (claims, word) in [
            (json!({"sub": "u", "org": "o"}), "no exp"),
            (json!({"sub": "u", "org": "o", "exp": "1900000000"}), "exp must be a number"),
            (json!({"sub": "u", "org": "o", "exp": null}), "exp must be a number"),
            (json!({"sub": "u", "org": "o", "exp": 1_799_999_000}), "expired"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "nbf": 1_800_000_100}), "not valid yet"),
            (json!({"sub": "u", "org": "o", "exp": 1_900_000_000, "nbf": "0"}), "nbf must be a number"),
            (json!({"sub": "u", "exp": 1_900_000_000}), "no organization"),
            (json!({"sub": "u", "organizationIds": [], "exp": 1_900_000_000}), "no organization"),
            (json!({"sub": "u", "org": 7, "exp": 1_900_000_000}), "organization must be"),
            (json!({"sub": "u", "org": "", "exp": 1_900_000_000}), "organization must be"),
            (json!({"org": "o", "exp": 1_900_000_000}), "no user"),
            (json!({"sub": 7, "org": "o", "exp": 1_900_000_000}), "user must be"),
            (json!({"sub": "a\nb", "org": "o", "exp": 1_900_000_000}), "user must be"),
        ] {
            let refusal = read(claims.clone()).unwrap_err();
            assert!(refusal.contains(word), "{claims}: {refusal}");
        }
    }

    #[test]
    fn one_algorithm_and_one_secret() {
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
            let refusal = jwt(|_| {}).verify(&token, None, NOW).unwrap_err();
            assert_eq!(refusal.code, Code::Unauthorized);
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
    }

    #[test]
    fn one_of_the_tokens_organizations_may_be_chosen() {
        let token = hs256(&json!({"sub": "u", "organizationIds": ["o", "p"], "exp": 1_900_000_000}));
        let jwt = jwt(|_| {});
        assert_eq!(jwt.verify(&token, Some("p"), NOW).unwrap().organization.as_str(), "p");
        assert_eq!(jwt.verify(&token, Some("q"), NOW).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn configuration_decides_issuer_audience_and_the_organization_of_who_names_none() {
        let token = hs256(&json!({"sub": "u", "exp": 1_900_000_000, "iss": "me", "aud": ["x", "hub"]}));
        let with = |issuer: &str, audience: &str| {
            let jwt = jwt(|auth| {
                auth.issuer = issuer.into();
                auth.audience = audience.into();
                auth.default_organization = "home".into();
            });
            jwt.verify(&token, None, NOW).map(|claims| claims.organization.to_string()).map_err(|f| f.message)
        };
        assert_eq!(with("me", "hub").as_deref(), Ok("home"));
        assert!(with("you", "hub").unwrap_err().contains("issuer"));
        assert!(with("", "other").unwrap_err().contains("audience"));
    }

    #[test]
    fn a_minted_token_is_understood() {
        let jwt = jwt(|auth| auth.issuer = "hub".into());
        let (organization, user) = (OrganizationId::parse("o").unwrap(), UserId::parse("u").unwrap());
        let token = jwt.mint(&organization, &user, Role::Owner, NOW, 60).unwrap();
        let claims = jwt.verify(&token, None, NOW).unwrap();
        assert_eq!((claims.organization, claims.user, claims.role), (organization, user, Role::Owner));
        assert_eq!(claims.expires_at, NOW.plus_millis(60_000));
        assert!(jwt.verify(&token, None, NOW.plus_millis(66_000)).is_err());
    }
}
