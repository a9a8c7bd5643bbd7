//! What comes in with a request: its body and its query, field by field. Every field that is wrong is named.

use std::collections::BTreeMap;
use std::fmt;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::fault::{Refusal, Status};
use crate::domain::hub::LocalFuture;
use crate::doors::rpc;
use crate::error::{Code, Fault};

/// The path as the router reads it: `/sign%2Din` is `/sign-in` to it. Whatever is decided by an address is decided by
/// this one.
pub(super) fn routed(request: &HttpRequest) -> &str {
    request.match_info().as_str()
}

/// The address as it stands in the table of endpoints, if it stands there.
pub(super) fn pattern(request: &HttpRequest) -> Option<String> {
    request.resource_map().match_pattern(routed(request))
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The fields of a request, each as the JSON text that it came in.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// The body, which is a JSON object; no body at all is an empty one. How long it may be was looked at before: see
    /// [`super::endpoint`].
    ///
    /// # Errors
    /// 415 where it is not JSON, 400 where it is no object, a field stands there twice, or a value is one that not
    /// every reader can take.
    pub(super) async fn of_body(request: &HttpRequest, payload: web::Payload) -> Result<Self, actix_web::Error> {
        let body = web::Bytes::from_request(request, &mut payload.into_inner()).await?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        let patches = request.method() == Method::PATCH;
        let json = |kind: &HeaderValue| {
            let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            essence.eq_ignore_ascii_case(b"application/json")
                || patches && essence.eq_ignore_ascii_case(b"application/merge-patch+json")
        };
        if !request.headers().get(header::CONTENT_TYPE).is_some_and(json) {
            return Err(Status(415, Fault::field("content-type", "must be application/json")).into());
        }
        Ok(Self::read(&body).map_err(Refusal)?)
    }

    fn read(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| Fault::new(Code::BadRequest, "body: not UTF-8"))?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Fault::new(Code::BadRequest, "body: not a JSON object"));
        }
        let mut from = serde_json::Deserializer::from_str(text);
        let Object(fields) = serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)?;
        from.end().map_err(|_| Fault::new(Code::BadRequest, "body: something stands behind the JSON object"))?;
        for (name, value) in &fields {
            rpc::sound(name, value.get())?;
        }
        Ok(Self(fields))
    }

    /// What the query says of the parameters that are known here; others are ignored. The names come with what they
    /// are called inside.
    pub(super) fn of_query(request: &HttpRequest, known: &[Parameter]) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else { continue };
            if fields.0.contains_key(parameter.field) {
                return Err(Fault::field(parameter.name, "stands there twice"));
            }
            match parameter.kind {
                Kind::Text => fields.set(parameter.field, &value)?,
                Kind::Whole => match value.parse::<i64>() {
                    Ok(number) => fields.set(parameter.field, &number)?,
                    Err(_) => return Err(Fault::field(parameter.name, "not a whole number")),
                },
                Kind::Flag => match &*value {
                    "true" | "false" => fields.set(parameter.field, &(value == "true"))?,
                    _ => return Err(Fault::field(parameter.name, "true or false")),
                },
            }
        }
        Ok(fields)
    }

    /// Sets a field, whatever the client said of it.
    pub(super) fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Fault> {
        let raw = to_raw_value(value).map_err(|_| Fault::field(name, "not readable"))?;
        self.0.insert(name.to_owned(), raw);
        Ok(())
    }

    /// Takes a field out.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Fault> {
        let Some(raw) = self.0.remove(name) else { return Ok(None) };
        let value = serde_json::from_str(raw.get());
        value.map_err(|error| Fault::field(name, error.to_string().split(" at line ").next().unwrap_or_default()))
    }

    /// The header `Idempotency-Key` is the field `idempotencyKey`; where both are there they say the same.
    pub(super) fn keyed(mut self, request: &HttpRequest) -> Result<Self, Fault> {
        let Some(key) = key_of(request.headers())? else { return Ok(self) };
        let said: Option<String> = self.take("idempotencyKey")?;
        if said.is_some_and(|said| said != key) {
            return Err(Fault::field("idempotency-key", "the body names another one"));
        }
        self.set("idempotencyKey", key)?;
        Ok(self)
    }

    /// All fields as one JSON text, in the order of their names.
    pub(super) fn text(&self) -> String {
        // Keys are texts and values are JSON already: writing them cannot fail.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// All fields as a value of the protocol.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let text = self.text();
        let mut from = serde_json::Deserializer::from_str(&text);
        serde_path_to_error::deserialize(&mut from).map_err(rpc::field_error)
    }
}

/// The header `Idempotency-Key`.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut given = headers.get_all(&IDEMPOTENCY_KEY);
    let Some(key) = given.next() else { return Ok(None) };
    let wrong = |what| Fault::field("idempotency-key", what);
    let key = key.to_str().map_err(|_| wrong("1 to 128 visible ASCII characters"))?;
    if key.is_empty() || key.len() > 128 {
        return Err(wrong("1 to 128 visible ASCII characters"));
    }
    if given.next().is_some() {
        return Err(wrong("stands there twice"));
    }
    Ok(Some(key))
}

/// The body of a request as a value, read and refused like all bodies: see [`Fields::of_body`]. Fields that are not known
/// change nothing.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = actix_web::Error;
    type Future = LocalFuture<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), web::Payload::from_request(request, payload));
        Box::pin(async move {
            let fields = Fields::of_body(&request, payload.await?).await?;
            Ok(Self(fields.parse().map_err(Refusal)?))
        })
    }
}

/// A parameter of a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub name: &'static str,
    /// What it is called among the fields.
    pub field: &'static str,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Flag,
}

/// A parameter that is called the same on both sides.
pub(super) const fn parameter(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, field: name, kind }
}

/// An object whose keys stand there once.
struct Object(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Look).map(Self)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = BTreeMap<String, Box<RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "duplicate field `{}`",
                    name.chars().take(64).collect::<String>()
                )));
            }
            fields.insert(name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_not_every_reader_can_take_is_refused_by_name() {
        for (body, field) in [
            (r#"{"a":1,"a":2}"#.to_owned(), "duplicate field `a`"),
            (format!(r#"{{"a":{}}}"#, "[".repeat(100_000)), "a: "),
            (format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), "a: "),
            (r#"{"a":"\ud800"}"#.to_owned(), "a: "),
            (r#"{"a":1e999}"#.to_owned(), "a: "),
            (r#"["a"]"#.to_owned(), "body"),
            (r#"{} {}"#.to_owned(), "body"),
            ("{".to_owned(), ""),
        ] {
            let fault = Fields::read(body.as_bytes()).expect_err("refused");
            assert_eq!(fault.code, Code::BadRequest);
            let start: String = body.chars().take(20).collect();
            assert!(fault.message.contains(field), "{start}: {}", fault.message);
        }
        assert!(Fields::read(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(Fields::read(br#" {"b":[1], "a":null} "#).expect("fields").text(), r#"{"a":null,"b":[1]}"#);
    }
}
