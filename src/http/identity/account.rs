//! One's own account.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::body::need;
use crate::http::endpoint::Asking;
use crate::http::request::Body;
use crate::http::{Edge, Refusal};

#[derive(Debug, Deserialize, JsonSchema)]
pub struct PasswordWish {
    /// The password until now; left out where there is none yet.
    #[schemars(with = "Option<String>")]
    pub current: Option<SecretString>,
    /// At least 12 characters.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
}

/// Sets the caller's own password, and signs its other browsers out.
pub async fn set_password(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    Body(wish): Body<PasswordWish>,
) -> Result<HttpResponse, Refusal> {
    let password = need("password", wish.password)?;
    edge.limits.password(&caller.principal)?;
    edge.accounts.set_own_password(&caller, wish.current, password).await?;
    Ok(HttpResponse::NoContent().finish())
}
