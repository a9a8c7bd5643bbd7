//! Administration: organizations, users, keys, devices, tokens.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::body::{Listed, Within, need};
use super::views::{DeviceView, KeyView, ListView, NewDeviceView, NewKeyView, OrganizationView, UserView};
use crate::auth::accounts::{NewKey, NewUser, UserChange, WhichToken, organization_id, role, user_id};
use crate::domain::ids::{Timestamp, UserId};
use crate::domain::principal::Role;
use crate::error::Fault;
use crate::http::endpoint::Asking;
use crate::http::request::Body;
use crate::http::{Edge, Refusal};

type Query = web::Query<Listed>;
type Answer = Result<HttpResponse, Refusal>;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct OrganizationWish {
    #[schemars(required)]
    pub id: Option<String>,
    /// 1 to 100 characters; the id where it is left out.
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct OrganizationChange {
    #[schemars(required)]
    pub disabled: Option<bool>,
}

/// All organizations of the hub.
pub async fn organizations(Asking(caller): Asking, edge: web::Data<Edge>, query: Query) -> Answer {
    let page = edge.accounts.organizations(&caller, &query.page()?).await?;
    Ok(HttpResponse::Ok().json(ListView::<OrganizationView>::of(page)))
}

/// Makes an organization.
pub async fn create_organization(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    Body(wish): Body<OrganizationWish>,
) -> Answer {
    let id = organization_id("id", &need("id", wish.id)?)?;
    let made = edge.accounts.create_organization(&caller, id, wish.name.as_deref()).await?;
    Ok(HttpResponse::Created().json(OrganizationView::from(&made)))
}

/// Disables or enables an organization: of a disabled one nobody comes in, and who is in is put out.
pub async fn update_organization(
    Asking(caller): Asking,
    edge: web::Data<Edge>,
    id: web::Path<String>,
    Body(change): Body<OrganizationChange>,
) -> Answer {
    let disabled = need("disabled", change.disabled)?;
    let id = organization_id("id", &id).map_err(|_| Fault::not_found("organization"))?;
    let changed = edge.accounts.set_organization_disabled(&caller, &id, disabled).await?;
    Ok(HttpResponse::Ok().json(OrganizationView::from(&changed)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserWish {
    #[schemars(required)]
    pub id: Option<String>,
    /// `member` where it is left out; never above the caller's own.
    pub role: Option<String>,
    /// Only an administrator of the hub gives this.
    pub hub_admin: Option<bool>,
    /// At least 12 characters. An API key gives none.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPatch {
    pub role: Option<String>,
    pub hub_admin: Option<bool>,
    pub disabled: Option<bool>,
    /// A new password, which an API key may not set; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    pub password: Option<Option<SecretString>>,
    /// Ends the user's browser sessions, tickets, and all tokens issued until now.
    #[serde(default)]
    pub sign_out: bool,
}

/// `null` is said, and is not the same as saying nothing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<SecretString>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Users of the organization by id; `q`: only those whose id holds it.
pub async fn users(Within { caller, organization }: Within, edge: web::Data<Edge>, query: Query) -> Answer {
    let text = query.q.clone().filter(|text| !text.is_empty());
    let page = edge.accounts.users(&caller, &organization, text, &query.page()?).await?;
    Ok(HttpResponse::Ok().json(ListView::<UserView>::of(page)))
}

/// Makes a user.
pub async fn create_user(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    Body(wish): Body<UserWish>,
) -> Answer {
    let new = NewUser {
        id: user_id("id", &need("id", wish.id)?)?,
        role: wish.role.as_deref().map_or(Ok(Role::Member), |word| role("role", word))?,
        hub_admin: wish.hub_admin.unwrap_or(false),
        password: wish.password,
    };
    let made = edge.accounts.create_user(&caller, &organization, new).await?;
    Ok(HttpResponse::Created().json(UserView::from(&made)))
}

/// Changes a user: role, rights over the hub, disabled or not, password, signed out everywhere.
pub async fn update_user(
    within: Within,
    edge: web::Data<Edge>,
    id: web::Path<String>,
    Body(patch): Body<UserPatch>,
) -> Answer {
    let change = UserChange {
        role: patch.role.as_deref().map(|word| role("role", word)).transpose()?,
        hub_admin: patch.hub_admin,
        disabled: patch.disabled,
        password: patch.password,
        sign_out: patch.sign_out,
    };
    change_user((within, &edge, &id), change).await
}

/// From now on the user does not come in, and is put out where it is in.
pub async fn disable_user(within: Within, edge: web::Data<Edge>, id: web::Path<String>) -> Answer {
    change_user((within, &edge, &id), UserChange { disabled: Some(true), ..UserChange::default() }).await
}

/// The user comes in again. What was revoked stays revoked.
pub async fn enable_user(within: Within, edge: web::Data<Edge>, id: web::Path<String>) -> Answer {
    change_user((within, &edge, &id), UserChange { disabled: Some(false), ..UserChange::default() }).await
}

async fn change_user((Within { caller, organization }, edge, id): (Within, &Edge, &str), change: UserChange) -> Answer {
    let user = UserId::parse(id).map_err(|_| Fault::not_found("user"))?;
    let changed = edge.accounts.update_user(&caller, &organization, &user, change).await?;
    Ok(HttpResponse::Ok().json(UserView::from(&changed)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyWish {
    /// Whom it acts as; the caller where it is left out.
    pub user: Option<String>,
    /// 1 to 100 characters.
    #[schemars(required)]
    pub name: Option<String>,
    /// Such as `2027-01-01T00:00:00Z`; without it the key counts until it is revoked.
    pub expires_at: Option<String>,
}

/// API keys of the organization, the revoked ones too; `user`: only that user's.
pub async fn keys(Within { caller, organization }: Within, edge: web::Data<Edge>, query: Query) -> Answer {
    let user = query.user.as_deref().map(|user| user_id("user", user)).transpose()?;
    let page = edge.accounts.keys(&caller, &organization, user.as_ref(), &query.page()?).await?;
    Ok(HttpResponse::Ok().json(ListView::<KeyView>::of(page)))
}

/// Makes an API key. The key itself is in this answer and nowhere else.
pub async fn create_key(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    Body(wish): Body<KeyWish>,
) -> Answer {
    let expires_at = wish.expires_at.as_deref().map(|text| {
        let read = chrono::DateTime::parse_from_rfc3339(text);
        read.map(|at| Timestamp(at.timestamp_millis()))
            .map_err(|_| Fault::field("expiresAt", "must be a time such as 2027-01-01T00:00:00Z"))
    });
    let new = NewKey {
        user: wish.user.as_deref().map_or(Ok(caller.principal.user.clone()), |user| user_id("user", user))?,
        name: need("name", wish.name)?,
        expires_at: expires_at.transpose()?,
    };
    let (row, key) = edge.accounts.create_key(&caller, &organization, new).await?;
    let key = key.expose_secret().to_owned();
    Ok(HttpResponse::Created().json(NewKeyView { row: KeyView::from(&row), key }))
}

/// Revokes an API key.
pub async fn revoke_key(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    id: web::Path<String>,
) -> Answer {
    edge.accounts.revoke_key(&caller, &organization, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Paired devices of the organization, the removed ones too; `user`: only that user's.
pub async fn devices(Within { caller, organization }: Within, edge: web::Data<Edge>, query: Query) -> Answer {
    let user = query.user.as_deref().map(|user| user_id("user", user)).transpose()?;
    let page = edge.accounts.devices(&caller, &organization, user.as_ref(), &query.page()?).await?;
    Ok(HttpResponse::Ok().json(ListView::<DeviceView>::of(page)))
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DeviceWish {
    /// Whom it acts as; the caller where it is left out.
    pub user: Option<String>,
    /// 1 to 100 characters.
    #[schemars(required)]
    pub name: Option<String>,
}

/// Makes a device without a pairing code. Its token is in this answer and nowhere else.
pub async fn create_device(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    Body(wish): Body<DeviceWish>,
) -> Answer {
    let user = wish.user.as_deref().map_or(Ok(caller.principal.user.clone()), |user| user_id("user", user))?;
    let name = need("name", wish.name)?;
    let (device, token) = edge.accounts.create_device(&caller, &organization, &user, &name).await?;
    let token = token.expose_secret().to_owned();
    Ok(HttpResponse::Created().json(NewDeviceView { id: device.id.to_string(), token }))
}

/// Removes anybody's device.
pub async fn revoke_device(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    id: web::Path<String>,
) -> Answer {
    edge.accounts.revoke_device(&caller, &organization, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// One of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenWish {
    /// The token's `jti`; for owners, where no user of the organization administers the hub.
    pub token_id: Option<String>,
    /// The token itself.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
}

/// Takes one JWT back.
pub async fn revoke_token(
    Within { caller, organization }: Within,
    edge: web::Data<Edge>,
    Body(wish): Body<TokenWish>,
) -> Answer {
    let which = match (wish.token_id, wish.token) {
        (Some(id), None) => WhichToken::Id(id),
        (None, Some(token)) => WhichToken::Token(token.expose_secret().to_owned()),
        _ => return Err(Fault::field("tokenId", "either tokenId or token must be there").into()),
    };
    edge.accounts.revoke_token(&caller, &organization, which).await?;
    Ok(HttpResponse::NoContent().finish())
}
