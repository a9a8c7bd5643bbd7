//! What claims mean: whose they are, from when to when, and for which organization. Pure.

use serde_json::{Map, Value};

use super::refused;
use crate::config::{Auth, Issuer};
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::error::Fault;

/// Which claims count, and how. Each source of claims has its own.
#[derive(Debug, Clone)]
pub struct Rules {
    user: Vec<String>,
    organization: Vec<String>,
    role: Vec<String>,
    permissions: Vec<String>,
    roles: std::collections::BTreeMap<String, String>,
    /// Checked where it is not empty.
    pub(super) issuer: String,
    pub(super) audience: String,
    leeway_ms: i64,
    default_organization: String,
    /// Whom the source may speak for. Empty: for all.
    organizations: Vec<String>,
    create_organizations: bool,
    /// Whether a hub administrator is one with claims of this source too.
    hub_admins: bool,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    pub person: Person,
    /// From when on it is refused: its `exp` and the seconds by which clocks may differ. A socket lives as long.
    pub expires_at: Timestamp,
    /// `jti`: the token's own name, by which it can be revoked.
    pub token_id: Option<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
}

/// Whose claims they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub organization: OrganizationId,
    pub user: UserId,
    pub role: Role,
    pub permissions: Vec<String>,
    /// The source may bring an organization that the hub does not know.
    pub may_create_organization: bool,
    /// A stored hub administrator keeps that right with these claims.
    pub may_be_hub_admin: bool,
}

/// The end of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;

impl Rules {
    /// Of the hub's own secret.
    pub fn own(auth: &Auth) -> Self {
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
            organizations: Vec::new(),
            create_organizations: auth.create_organizations,
            hub_admins: true,
        }
    }

    /// Of an issuer with a key set. What it leaves out is as the hub's own tokens have it.
    pub fn of_issuer(auth: &Auth, issuer: &Issuer) -> Self {
        let or = |own: &Vec<String>, else_: &Vec<String>| if own.is_empty() { else_.clone() } else { own.clone() };
        let default = &issuer.default_organization;
        Self {
            user: or(&issuer.user_claims, &auth.user_claims),
            organization: or(&issuer.organization_claims, &auth.organization_claims),
            role: or(&issuer.role_claims, &auth.role_claims),
            permissions: or(&issuer.permission_claims, &auth.permission_claims),
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            default_organization: if default.is_empty() { &auth.default_organization } else { default }.clone(),
            organizations: issuer.organizations.clone(),
            create_organizations: issuer.create_organizations,
            // Who may speak for everybody is not believed about the hub's own administrators.
            hub_admins: !issuer.organizations.is_empty(),
            ..Self::own(auth)
        }
    }

    /// Of the answers of `auth.session_url`.
    pub fn of_session(auth: &Auth) -> Self {
        let session = &auth.session;
        Self {
            user: session.user.clone(),
            organization: session.organization.clone(),
            role: session.role.clone(),
            permissions: Vec::new(),
            organizations: session.organizations.clone(),
            create_organizations: session.create_organizations,
            hub_admins: !session.organizations.is_empty(),
            ..Self::own(auth)
        }
    }

    /// All of a token's claims; its signature has been verified. `chosen`: one of its organizations.
    pub fn read(&self, claims: &Map<String, Value>, chosen: Option<&str>, now: Timestamp) -> Result<Claims, Fault> {
        let exp = time(claims, "exp")?.ok_or_else(|| refused("the token has no exp: it would never end"))?;
        let expires_at = exp.plus_millis(self.leeway_ms).min(Timestamp((LAST_SECOND * 1000.0) as i64));
        if now >= expires_at {
            return Err(refused("the token has expired"));
        }
        let soon = now.0.saturating_add(self.leeway_ms);
        if time(claims, "nbf")?.is_some_and(|from| soon < from.0) {
            return Err(refused("the token is not valid yet (nbf)"));
        }
        let issued_at = time(claims, "iat")?;
        // Whoever could date a token forward would be out of reach of "all tokens until now are revoked".
        if issued_at.is_some_and(|at| soon < at.0) {
            return Err(refused("the token was issued in the future (iat)"));
        }
        if !self.issuer.is_empty() && claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(refused("the token comes from another issuer (iss)"));
        }
        if !self.audience.is_empty() && !texts(claims.get("aud")).contains(&self.audience.as_str()) {
            return Err(refused("the token is for another audience (aud)"));
        }
        let token_id = match claims.get("jti") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if !id.is_empty() && id.len() <= 200 => Some(id.clone()),
            Some(_) => return Err(refused("the token's jti must be a text of 1 to 200 bytes")),
        };
        Ok(Claims { person: self.person(claims, chosen)?, expires_at, token_id, issued_at })
    }

    /// Whose claims they are. `chosen`: one of several organizations.
    pub fn person(&self, claims: &Map<String, Value>, chosen: Option<&str>) -> Result<Person, Fault> {
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
        // What the configuration names is as good as created.
        let named = self.default_organization == organization.as_str()
            || self.organizations.iter().any(|name| name == organization.as_str());
        Ok(Person {
            organization,
            user,
            role,
            permissions,
            may_create_organization: self.create_organizations || named,
            may_be_hub_admin: self.hub_admins,
        })
    }

    /// Unmapped is `member`.
    fn role(&self, word: &str) -> Role {
        let mapped = self.roles.get(&word.to_ascii_lowercase()).and_then(|role| Role::parse(role));
        mapped.unwrap_or_else(|| Role::from_claim(word))
    }

    fn organization(&self, claims: &Map<String, Value>, chosen: Option<&str>) -> Result<OrganizationId, Fault> {
        let mut named: Vec<&str> = Vec::new();
        for claim in self.organization.iter().filter_map(|name| at(claims, name)).filter(|value| !value.is_null()) {
            match claim {
                Value::String(text) => named.push(text),
                Value::Array(_) => named.extend(texts(Some(claim))),
                _ => return Err(refused("the token's organization must be a text or a list of texts")),
            }
        }
        if named.is_empty() && !self.default_organization.is_empty() {
            named.push(&self.default_organization);
        }
        if named.is_empty() {
            let names = self.organization.join(" or ");
            return Err(refused(format!(
                "the token names no organization ({names}), and auth.default_organization is not set"
            )));
        }
        if !self.organizations.is_empty() {
            named.retain(|name| self.organizations.iter().any(|own| own == name));
        }
        let foreign = || Fault::forbidden("the token's issuer may not speak for that organization");
        let name = match chosen {
            Some(chosen) => named
                .iter()
                .find(|name| **name == chosen)
                .ok_or_else(|| Fault::forbidden("organizationId: the token is not for that organization"))?,
            None => named.first().ok_or_else(foreign)?,
        };
        OrganizationId::parse(name).map_err(|_| refused("the token's organization must be a text of 1 to 200 bytes"))
    }
}

/// A claim by its name, else by the path that the name is: `user.id`.
fn at<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut keys = name.split('.');
    let mut value = claims.get(keys.next()?)?;
    for key in keys {
        value = value.as_object()?.get(key)?;
    }
    Some(value)
}

fn first<'a>(claims: &'a Map<String, Value>, names: &[String]) -> Option<&'a Value> {
    names.iter().filter_map(|name| at(claims, name)).find(|value| !value.is_null())
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
