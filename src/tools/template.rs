//! Texts with places for values, such as `{{input.city}}` and `{{env.WEATHER_KEY}}`. A value is written as its place
//! demands: no value of an input ends the place it stands in.
//!
//! What may be named: `input` (what was asked for), `entity.type`, `entity.id`, `organization`, `user`, `execution`,
//! `result` (when something is undone), each with fields below it, and `env.NAME`, a secret of the environment.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::error::Fault;

const ROOTS: [&str; 6] = ["input", "entity", "organization", "user", "execution", "result"];
/// What is shown of a secret.
pub const HIDDEN: &str = "***";
/// What fills the places when a template is looked at for itself.
const SAMPLE: &str = "x";

/// Where secrets come from: the name of a variable to its value.
pub type Secrets<'a> = &'a dyn Fn(&str) -> Option<SecretString>;

/// What surrounds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A piece of an address's path.
    Path,
    /// A value of a query or a form.
    Query,
    /// A header's value.
    Header,
    /// A JSON value.
    Json,
    /// Within the quotes of a JSON text.
    JsonText,
    /// Nothing that a value could end.
    Text,
}

enum Named {
    Value(Vec<String>),
    Secret(SecretString),
}

enum Piece {
    Text(String),
    Slot { named: Named, place: Place, name: String },
}

/// What stands in for the values.
#[derive(Clone, Copy)]
pub enum Fill<'a> {
    /// To be sent.
    Real(&'a Value),
    /// To be shown: without secrets.
    Shown(&'a Value),
    /// To see whether the text around them makes sense.
    Sample,
}

/// A text that was read, with its secrets.
pub struct Template(Vec<Piece>);

impl Template {
    /// `place` says, from the text before a value, what surrounds it.
    ///
    /// # Errors
    /// `bad_request`: a place that is not closed, a name that there is not, a secret that is not set.
    pub fn parse(field: &str, text: &str, place: fn(&str) -> Place, secrets: Secrets<'_>) -> Result<Self, Fault> {
        let mut pieces = Vec::new();
        let mut before = String::new();
        let mut rest = text;
        while let Some((fixed, behind)) = rest.split_once("{{") {
            let Some((name, behind)) = behind.split_once("}}") else {
                return Err(Fault::field(field, "has a {{ without }}"));
            };
            before.push_str(fixed);
            pieces.push(Piece::Text(fixed.to_owned()));
            let name = name.trim().to_owned();
            let named = named(field, &name, secrets)?;
            pieces.push(Piece::Slot { named, place: place(&before), name });
            before.push_str(SAMPLE);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    pub fn has_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Slot { named: Named::Secret(_), .. }))
    }

    /// The secrets in it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Slot { named: Named::Secret(secret), .. } => Some(secret),
            _ => None,
        })
    }

    /// The text with its values.
    ///
    /// # Errors
    /// A sentence: a value that cannot stand in its place.
    pub fn fill(&self, with: Fill<'_>) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Slot { named, place, name } => {
                    let sample = Value::from(SAMPLE);
                    let (real, hidden);
                    let value = match (named, with) {
                        (_, Fill::Sample) => &sample,
                        (Named::Value(path), Fill::Real(scope) | Fill::Shown(scope)) => find(scope, path),
                        (Named::Secret(secret), Fill::Real(_)) => {
                            real = Value::from(secret.expose_secret());
                            &real
                        }
                        (Named::Secret(_), Fill::Shown(_)) => {
                            hidden = Value::from(HIDDEN);
                            &hidden
                        }
                    };
                    write(&mut text, *place, value).map_err(|why| format!("{name} {why}"))?;
                }
            }
        }
        Ok(text)
    }
}

fn named(field: &str, name: &str, secrets: Secrets<'_>) -> Result<Named, Fault> {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    if let [root, variable] = path.as_slice()
        && root == "env"
    {
        let own = ["SWITCHBOARD_", "AGENT_JWT_SECRET", "OPENAI_", "ANTHROPIC_"];
        if own.iter().any(|own| variable.starts_with(own)) {
            return Err(Fault::field(field, format!("{variable} is the hub's own and is sent nowhere else")));
        }
        let secret = secrets(variable).filter(|secret| !secret.expose_secret().is_empty());
        let missing = || Fault::field(field, format!("the environment variable {variable} is not set"));
        return secret.map(Named::Secret).ok_or_else(missing);
    }
    match path.first() {
        Some(root) if ROOTS.contains(&root.as_str()) && path.iter().all(|key| !key.is_empty()) => {
            Ok(Named::Value(path))
        }
        _ => {
            let roots = ROOTS.join(", ");
            Err(Fault::field(field, format!("{{{{{name}}}}} is none of {roots}, env.NAME, or a field of them")))
        }
    }
}

fn find<'a>(scope: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(scope, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// A value as a text; what is not there is an empty one.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write(out: &mut String, place: Place, value: &Value) -> Result<(), String> {
    match place {
        Place::Path => match plain(value) {
            empty if empty.is_empty() => return Err("is empty, and stands in an address's path".to_owned()),
            text => percent(out, &text),
        },
        Place::Query => percent(out, &plain(value)),
        Place::Header => {
            let text = plain(value);
            if !text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
                return Err("holds what cannot stand in a header".to_owned());
            }
            out.push_str(&text);
        }
        Place::Json => out.push_str(&value.to_string()),
        Place::JsonText => {
            let quoted = Value::from(plain(value)).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Place::Text => out.push_str(&plain(value)),
    }
    Ok(())
}

/// All but the characters that mean nothing in an address.
fn percent(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// What surrounds a value of an address. Values stand behind its host.
pub fn in_url(before: &str) -> Place {
    if before.contains('?') { Place::Query } else { Place::Path }
}

/// What surrounds a value of a JSON body.
pub fn in_json(before: &str) -> Place {
    let (mut quoted, mut escaped) = (false, false);
    for c in before.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    if quoted { Place::JsonText } else { Place::Json }
}

/// An address with values. Scheme, host and port are fixed.
pub struct UrlTemplate {
    template: Template,
    /// Scheme, host and port, with the slash behind them.
    origin: String,
}

impl UrlTemplate {
    /// # Errors
    /// `bad_request`: no http address as it would go out, or a value where none may stand.
    pub fn parse(field: &str, text: &str, secrets: Secrets<'_>) -> Result<Self, Fault> {
        let wrong = |why: &str| Err(Fault::field(field, why));
        let Some((scheme, rest)) = text.split_once("://") else { return wrong("is no http or https address") };
        if !["http", "https"].contains(&scheme) {
            return wrong("is no http or https address");
        }
        let Some(slash) = rest.find('/') else { return wrong("has no path: end it with / at least") };
        if rest[..slash].contains("{{") {
            return wrong("has a value in its host: scheme, host and port are fixed");
        }
        if rest.contains('#') || rest[..slash].contains(['@', '?']) {
            return wrong("has a fragment or credentials");
        }
        let origin = text[..scheme.len() + 3 + slash + 1].to_owned();
        let template = Template::parse(field, text, in_url, secrets)?;
        let all = Self { template, origin };
        match all.fill(Fill::Sample) {
            Ok(_) => Ok(all),
            Err(why) => wrong(&why),
        }
    }

    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.template.secrets()
    }

    /// # Errors
    /// A sentence: a value that would lead elsewhere.
    pub fn fill(&self, with: Fill<'_>) -> Result<Url, String> {
        let text = self.template.fill(with)?;
        let url = Url::parse(&text).map_err(|error| format!("the address cannot be: {error}"))?;
        // Read as it was written: no value has become a step up, and what is sent is what is shown.
        if url.as_str() != text && !matches!(with, Fill::Shown(_)) || !url.as_str().starts_with(&self.origin) {
            return Err(match with {
                Fill::Sample => format!("has to be written as it goes out: {url}"),
                _ => "a value would lead to another address".to_owned(),
            });
        }
        Ok(url)
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        let url = Url::parse(&self.origin).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        format!("{host}:{}", url.and_then(|url| url.port_or_known_default()).unwrap_or(443))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn none(_: &str) -> Option<SecretString> {
        None
    }

    fn key(name: &str) -> Option<SecretString> {
        (name == "THE_KEY").then(|| "s3cr\"t&".into())
    }

    fn filled(text: &str, place: fn(&str) -> Place, input: Value) -> Result<String, String> {
        let scope = json!({ "input": input, "user": "ann" });
        Template::parse("f", text, place, &key).expect("a template").fill(Fill::Real(&scope))
    }

    #[test]
    fn json_values_and_texts_are_written_as_their_place_demands() {
        let body =
            r#"{"a":{{input.a}},"b":"say \"{{ input.a }}\" and {{input.n}}","c":{{input.list}},"d":{{input.none}}}"#;
        let hostile = "x\",\"admin\":true,\"y\":\"\\";
        let text = filled(body, in_json, json!({"a": hostile, "n": 7, "list": [1, "z"]})).expect("filled");
        let value: Value = serde_json::from_str(&text).expect("still JSON");
        let said = format!("say \"{hostile}\" and 7");
        assert_eq!(value, json!({"a": hostile, "b": said, "c": [1, "z"], "d": null}));
    }

    #[test]
    fn addresses_keep_their_shape_whatever_the_values_are() {
        let url =
            UrlTemplate::parse("url", "https://h.example/v1/{{input.id}}/x?q={{input.q}}&k={{env.THE_KEY}}", &key)
                .expect("an address");
        let fill = |input: Value| url.fill(Fill::Real(&json!({ "input": input }))).map(String::from);
        assert_eq!(
            fill(json!({"id": "a/b?c#d", "q": "1&k=2 ü"})).as_deref(),
            Ok("https://h.example/v1/a%2Fb%3Fc%23d/x?q=1%26k%3D2%20%C3%BC&k=s3cr%22t%26")
        );
        for step in ["..", ".", ""] {
            assert!(fill(json!({"id": step})).is_err(), "{step:?}");
        }
        assert_eq!(fill(json!({"id": 7})).as_deref(), Ok("https://h.example/v1/7/x?q=&k=s3cr%22t%26"));
        let shown = url.fill(Fill::Shown(&json!({"input": {"id": "7", "q": "1"}}))).map(String::from);
        assert!(shown.is_ok_and(|text| !text.contains("s3cr") && text.contains("/v1/7/x?q=1&k=")));
        assert_eq!(url.authority(), "h.example:443");
    }

    #[test]
    fn half_steps_up_are_seen_too() {
        let url = UrlTemplate::parse("url", "http://h.example/a/.{{input.id}}", &none).expect("an address");
        let fill = |id: &str| url.fill(Fill::Real(&json!({ "input": { "id": id } }))).is_ok();
        assert!(fill("x") && !fill("."));
    }

    #[test]
    fn what_cannot_be_is_refused_when_it_is_read() {
        for (text, place) in [
            ("{{input.a", in_url as fn(&str) -> Place),
            ("{{}}", in_url),
            ("{{password}}", in_url),
            ("{{input..a}}", in_url),
            ("{{env.MISSING}}", in_url),
            ("{{env.SWITCHBOARD_JWT_SECRET}}", in_url),
            ("{{env.OPENAI_API_KEY}}", in_url),
        ] {
            assert!(Template::parse("f", text, place, &key).is_err(), "{text}");
        }
        for text in [
            "ftp://h.example/",
            "h.example/x",
            "http://h.example",
            "http://{{input.host}}/",
            "http://h.example:{{input.port}}/",
            "http://u:p@h.example/",
            "http://H.example/",
            "http://h.example/a b",
            "http://h.example/../a",
            "http://h.example/#a",
        ] {
            assert!(UrlTemplate::parse("url", text, &none).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_takes_no_line_ends() {
        let header = |value: &str| filled("Bearer {{input.a}}", |_| Place::Header, json!({ "a": value }));
        assert_eq!(header("abc 1").as_deref(), Ok("Bearer abc 1"));
        for bad in ["a\r\nx: y", "a\nb", "\u{e4}", "\0"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }
}
