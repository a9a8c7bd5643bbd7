//! What comes in: fields that must be there, and queries, refused with the field at fault.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::command::{Caller, PageRequest};
use crate::domain::hub::LocalFuture;
use crate::domain::ids::OrganizationId;
use crate::domain::policy::Operation;
use crate::error::Fault;
use crate::http::Refusal;
use crate::http::endpoint::{Asking, edge};
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

/// Who asks, and which organization it is about: the one that the query names, or else the caller's own.
pub struct Within {
    pub caller: Caller,
    pub organization: OrganizationId,
}

impl FromRequest for Within {
    type Error = actix_web::Error;
    type Future = LocalFuture<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let asking = Asking::from_request(request, payload).into_inner();
        let query = web::Query::<Listed>::from_request(request, payload).into_inner();
        let (edge, operation) = (edge(request), request.extensions().get::<Operation>().copied());
        Box::pin(async move {
            let (Asking(caller), query, edge) = (asking?, query?, edge.map_err(Refusal)?);
            let operation = operation.ok_or_else(|| Refusal(Fault::internal("the request has no operation")))?;
            let named = query.organization.as_deref();
            let organization = edge.organization(&caller, operation, named).await.map_err(Refusal)?;
            Ok(Self { caller, organization })
        })
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
