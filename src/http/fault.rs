//! Errors as HTTP answers: `{"error":{"code","message","details"?,"requestId"}}`.

use std::fmt;

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use serde_json::{Value, json};

use crate::error::{Code, Fault};

/// A fault on its way out of a handler. Its body is written where the request's id is known: see [`super::around`].
#[derive(Debug, Clone)]
pub struct Refusal(pub Fault);

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.row().http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.0.clone());
        response
    }
}

/// A fault whose HTTP status says more than its code.
#[derive(Debug, Clone)]
pub(super) struct Status(pub u16, pub Fault);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.1, f)
    }
}

impl ResponseError for Status {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        response.extensions_mut().insert(self.1.clone());
        response
    }
}

/// The first steps of the gateway's own addresses, at the root.
const GATEWAY: [&str; 5] = ["sessions", "tools", "config", "pairing", "devices"];

/// Whether an address is the gateway's own: its errors have a form of their own.
pub(super) fn is_gateway(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    GATEWAY.contains(&first) || path == "/health/detailed"
}

/// The body of an error at that address.
pub(super) fn fault_body(path: &str, fault: &Fault, request_id: &str) -> Value {
    match is_gateway(path) {
        true => gateway_json(fault, request_id),
        false => fault_json(fault, request_id),
    }
}

/// `{"error","code","details"?,"requestId"}`, in the words of that wire.
fn gateway_json(fault: &Fault, request_id: &str) -> Value {
    let words = match fault.missing() {
        Some(what) => {
            let mut letters = what.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            format!("{}{} not found", first.map(String::from).unwrap_or_default(), letters.as_str())
        }
        // A field that is wrong can be mended: its sentence stays.
        None if fault.code == Code::Forbidden && fault.details.is_none() => "Forbidden".to_owned(),
        None => fault.message.clone(),
    };
    let mut body = json!({ "error": words, "code": fault.code.name(), "requestId": request_id });
    if let Some(details) = &fault.details {
        body["details"] = details.clone();
    }
    body
}

/// The body of an error.
pub fn fault_json(fault: &Fault, request_id: &str) -> Value {
    let mut error = json!({ "code": fault.code.name(), "message": fault.message, "requestId": request_id });
    if let Some(details) = &fault.details {
        error["details"] = details.clone();
    }
    json!({ "error": error })
}

/// What a status means where nobody said more.
pub(super) fn fault_of(status: StatusCode) -> Fault {
    match status.as_u16() {
        405 => Fault::new(Code::UnknownMethod, "this method is not possible here"),
        408 => Fault::new(Code::BadRequest, "the request came too slowly"),
        415 => Fault::new(Code::BadRequest, "the content type must be application/json"),
        known => {
            let row = crate::error::ERRORS.iter().find(|row| row.http_status == known);
            Fault::plain(row.map_or(if known >= 500 { Code::Internal } else { Code::BadRequest }, |row| row.code))
        }
    }
}

pub(super) fn json_errors() -> web::JsonConfig {
    web::JsonConfig::default().error_handler(|error, _| {
        let fault = match &error {
            JsonPayloadError::Overflow { limit } | JsonPayloadError::OverflowKnownLength { limit, .. } => {
                Fault::new(Code::TooLarge, format!("the body is longer than {limit} bytes"))
            }
            JsonPayloadError::ContentType => Fault::field("content-type", "must be application/json"),
            JsonPayloadError::Deserialize(error) => Fault::new(Code::BadRequest, format!("body: {error}")),
            JsonPayloadError::Payload(PayloadError::Incomplete(_)) => return error.into(),
            _ => Fault::new(Code::BadRequest, "body: not readable"),
        };
        Refusal(fault).into()
    })
}

pub(super) fn query_errors() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let QueryPayloadError::Deserialize(error) = error else {
            return Refusal(Fault::new(Code::BadRequest, "query: not readable")).into();
        };
        Refusal(Fault::new(Code::BadRequest, format!("query: {error}"))).into()
    })
}

pub(super) fn path_errors() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| match error {
        PathError::Deserialize(error) => Refusal(Fault::new(Code::BadRequest, format!("address: {error}"))).into(),
        _ => Refusal(Fault::plain(Code::BadRequest)).into(),
    })
}
