//! What comes in: bodies and queries, refused with the field at fault. Fields that are not known change nothing.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::command::PageRequest;
use crate::error::{Code, Fault};
use crate::http::request::{Kind, Parameter, parameter};

/// The longest page, and the one of who says nothing.
const LONGEST: usize = 200;
const USUAL: usize = 50;

const LIMIT: Parameter = parameter("limit", Kind::Whole);
const CURSOR: Parameter = parameter("cursor", Kind::Text);
const NAMED: Parameter = parameter("organization", Kind::Text);

/// What these lists take, for their description.
pub static PAGE: [Parameter; 2] = [CURSOR, LIMIT];
pub static OF_USER: [Parameter; 4] = [CURSOR, LIMIT, NAMED, parameter("user", Kind::Text)];
pub static USERS: [Parameter; 4] = [CURSOR, LIMIT, NAMED, parameter("q", Kind::Text)];
/// What concerns one organization takes.
pub static ORGANIZATION: [Parameter; 1] = [NAMED];

/// A JSON object; no body at all is an empty one.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::new(Code::BadRequest, "body: must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => Fault::new(Code::BadRequest, format!("body: {}", error.inner())),
            field => Fault::field(field, error.inner()),
        }
    })?;
    json.end().map_err(|_| Fault::new(Code::BadRequest, "body: something stands behind the JSON object"))?;
    Ok(value)
}

/// The field must be there.
pub fn need<T>(field: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::field(field, "must be there"))
}

/// What every list takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Listed {
    /// Where the page begins, as the one before it said.
    pub cursor: Option<String>,
    // As text: a wrong one is told with its name.
    #[schemars(with = "Option<u16>", range(min = 1, max = 200))]
    pub limit: Option<String>,
    /// For administrators of the hub: another organization than their own.
    pub organization: Option<String>,
    /// Users: only those whose id holds this.
    pub q: Option<String>,
    /// Keys and devices: only this user's.
    pub user: Option<String>,
}

impl Listed {
    pub fn page(&self) -> Result<PageRequest, Fault> {
        page(self.cursor.clone(), self.limit.as_deref())
    }
}

pub fn page(cursor: Option<String>, limit: Option<&str>) -> Result<PageRequest, Fault> {
    let limit = match limit {
        None => USUAL,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=LONGEST).contains(limit));
            limit.ok_or_else(|| Fault::field("limit", format!("must be a number from 1 to {LONGEST}")))?
        }
    };
    Ok(PageRequest { cursor: cursor.filter(|cursor| !cursor.is_empty()), limit })
}
