//! Pairing and one's own devices, as the gateway's clients know them.

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::body::{Listed, need};
use super::views::{DeviceView, ListView};
use crate::domain::policy::Operation;
use crate::error::Fault;
use crate::http::endpoint::Asking;
use crate::http::request::Body;
use crate::http::{Edge, Refusal, RequestId};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeWish {
    /// 1 to 100 characters.
    #[schemars(required)]
    pub device_name: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeView {
    /// `[A-Z0-9]`, six characters if the configuration says nothing else.
    pub code: String,
    pub expires_at: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct CodeShown {
    /// Case does not count.
    #[schemars(required)]
    pub code: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceToken {
    /// The device's own credential. It is shown this once.
    pub token: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DeviceChange {
    /// 1 to 100 characters.
    #[schemars(required)]
    pub name: Option<String>,
}

/// Makes a code that pairs one device with the caller.
pub async fn create_code(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    Body(wish): Body<CodeWish>,
) -> Result<HttpResponse, Refusal> {
    let made = edge.accounts.create_pairing_code(&caller, &need("deviceName", wish.device_name)?).await?;
    let code = made.code.expose_secret().to_owned();
    Ok(HttpResponse::Created().json(CodeView { code, expires_at: made.expires_at.to_rfc3339() }))
}

/// Uses a code up: the device gets its token. Nobody is signed in here.
pub async fn verify_code(
    request: HttpRequest,
    id: RequestId,
    edge: web::Data<Edge>,
    Body(shown): Body<CodeShown>,
) -> Result<HttpResponse, Refusal> {
    let code = need("code", shown.code)?;
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    let address = edge.auth.head(request.head(), peer).peer;
    let operation = Operation::PairingVerify.name();
    let origin = format!("{operation} from {address}");
    let token = edge.accounts.verify_pairing_code(&code, address, &origin, id.as_str()).await;
    let token = token.inspect_err(|fault| edge.auth.refused(address, operation, fault, None, id.as_str()))?;
    Ok(HttpResponse::Ok().json(DeviceToken { token: token.expose_secret().to_owned() }))
}

/// The caller's own devices.
pub async fn list(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    query: web::Query<Listed>,
) -> Result<HttpResponse, Refusal> {
    let page = edge.accounts.own_devices(&caller, &query.page()?).await?;
    Ok(HttpResponse::Ok().json(ListView::<DeviceView>::of(page)))
}

/// Gives one of the caller's own devices another name.
pub async fn rename(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    id: web::Path<String>,
    Body(change): Body<DeviceChange>,
) -> Result<HttpResponse, Refusal> {
    let device = edge.accounts.rename_device(&caller, &id, &need("name", change.name)?).await?;
    Ok(HttpResponse::Ok().json(DeviceView::from(&device)))
}

/// Removes one of the caller's own devices: its token, its sockets and its tickets end.
pub async fn revoke(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    id: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    edge.accounts.revoke_own_device(&caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
