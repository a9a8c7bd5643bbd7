//! Prints the effective configuration with the source of each value and without secrets.

use figment::value::{Dict, Value};

use super::{Loaded, identity};

/// What stands for a secret: it tells nothing of it, not even its length.
const MASK: &str = "********";

/// Keys whose value is never shown.
const SECRET: [&str; 5] = ["jwt_secret", "agent_jwt_secret", "api_key", "bearer", "environment"];

/// TOML: a section after the other, each value with its source behind it.
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::new();
    if let Ok(root) = loaded.layers.extract::<Dict>() {
        section(loaded, &root, "", &mut out);
    }
    out
}

fn section(loaded: &Loaded, dict: &Dict, path: &str, out: &mut String) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let leaves: Vec<_> = dict.iter().filter(|(_, value)| value.as_dict().is_none()).collect();
    if !leaves.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("[{path}]\n"));
    }
    for (key, value) in leaves {
        let source = loaded.layers.find_metadata(&inner(key)).map_or("default", |m| m.name.as_ref());
        let line = format!("{key} = {}", shown(key, value));
        out.push_str(&format!("{line:<48} # {source}\n"));
    }
    for (key, value) in dict {
        if let Some(members) = value.as_dict() {
            section(loaded, members, &inner(key), out);
        }
    }
}

fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::String(_, text) if SECRET.contains(&key) && !text.is_empty() => quoted(MASK),
        Value::String(_, text) => quoted(&without_password(text)),
        Value::Num(_, number) => number.to_u128_lossy().unwrap_or_default().to_string(),
        Value::Bool(_, yes) => yes.to_string(),
        Value::Array(_, items) if SECRET.contains(&key) => {
            format!("[{}]", vec![quoted(MASK); items.len()].join(", "))
        }
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(|item| shown("", item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Dict(_, members) => {
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("{key} = {}", shown(key, value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        _ => "\"\"".into(),
    }
}

/// A basic TOML string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `scheme://user:password@host` and `?password=...` with the password hidden.
fn without_password(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    let mut touched = false;
    if url.password().is_some() {
        touched = url.set_password(Some(MASK)).is_ok();
    }
    let secret_in_query = |key: &str| key.contains("pass") || key.contains("key") || key.contains("token");
    if url.query_pairs().any(|(key, _)| secret_in_query(&key)) {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(k, v)| if secret_in_query(&k) { (k.into(), MASK.into()) } else { (k.into(), v.into()) })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
        touched = true;
    }
    if touched { url.into() } else { text.to_owned() }
}

impl Loaded {
    /// The effective configuration as JSON, section by section: without secrets, and of addresses only what cannot hold
    /// one.
    pub fn shown(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut root = self.layers.extract::<Dict>().unwrap_or_default();
        // The template of the others is nobody's issuer.
        if let Some(Value::Dict(_, auth)) = root.get_mut("auth")
            && let Some(Value::Dict(_, issuers)) = auth.get_mut("issuers")
            && !self.config.auth.issuers.contains_key(identity::TEMPLATE)
        {
            issuers.remove(identity::TEMPLATE);
        }
        root.iter().map(|(key, value)| (key.clone(), json(key, value))).collect()
    }
}

fn json(path: &str, value: &Value) -> serde_json::Value {
    let key = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Dict(_, members) => {
            members.iter().map(|(key, value)| (key.clone(), json(&format!("{path}.{key}"), value))).collect()
        }
        Value::String(_, text) if text.is_empty() => "".into(),
        Value::String(..) if SECRET.contains(&key) || path == "database.url" => MASK.into(),
        Value::Array(_, items) if SECRET.contains(&key) => vec![MASK; items.len()].into(),
        Value::String(_, text) if key.ends_with("url") || key == "jwks" => bare(text).into(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

/// An address without the user, password and query that it may have.
fn bare(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none() {
        return text.to_owned();
    }
    if !url.username().is_empty() || url.password().is_some() {
        let _ = url.set_password(None);
        let _ = url.set_username(MASK);
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    url.set_fragment(None);
    url.into()
}
