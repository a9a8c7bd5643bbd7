//! Signing in with a link, signing out, and asking who one is.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Edge, Refusal};
use crate::auth::head::same_origin;
use crate::auth::{COOKIE, Head, Route, keys};
use crate::error::{Code, Fault};
use crate::telemetry;

/// The page a link opens. It only asks: what reads links ahead of people must not use them up.
pub(super) async fn page(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    match head.query_value("code")? {
        Some(code) => Ok(html(200, &form(&code))),
        None => Ok(html(400, &sentence("This link is not complete: it has no code. Copy all of it."))),
    }
}

/// Uses the code: `code=...` as a form or `{"code"}` as JSON. A browser is sent on to the console.
pub(super) async fn sign_in(
    request: HttpRequest,
    body: web::Bytes,
    edge: web::Data<Edge>,
) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    own_page(&head, &edge)?;
    let wants_page = head.header(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let code = code(&body)?;
    match edge.auth.sign_in(&code).await {
        Ok(session) => {
            metrics::counter!(telemetry::SIGN_INS).increment(1);
            let cookie = cookie(&edge, &head, session.secret.expose_secret(), edge.config.auth.session_seconds);
            tracing::info!(organization = %session.organization, user = %session.user, "signed in by link");
            Ok(HttpResponse::SeeOther().cookie(cookie).insert_header((header::LOCATION, "/")).finish())
        }
        Err(fault) if wants_page && fault.code == Code::Unauthorized => Ok(html(401, &sentence(&fault.message))),
        Err(fault) => Err(fault.into()),
    }
}

/// Ends the browser's session, here and in the browser.
pub(super) async fn sign_out(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    if let Some(session) = edge.auth.cookie(&head, Route::Rest)? {
        edge.auth.sign_out(session).await?;
    }
    let gone = cookie(&edge, &head, "", 0);
    Ok(HttpResponse::NoContent().cookie(gone).finish())
}

/// Who am I.
pub(super) async fn session(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let principal = edge.principal(&request).await?;
    Ok(HttpResponse::Ok().json(json!({
        "organization": principal.organization.as_str(),
        "user": principal.user.as_str(),
        "role": principal.role.name(),
        "hubAdmin": principal.hub_admin,
        "permissions": principal.permissions,
        "credential": principal.credential.name(),
        "expiresAt": principal.expires_at.map(|at| at.to_rfc3339()),
    })))
}

fn head<'a>(request: &'a HttpRequest, edge: &Edge) -> Result<Head<'a>, Fault> {
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    Ok(edge.auth.head(request.head(), peer))
}

/// A foreign page must not sign a browser in as somebody else. Programs send no Origin.
fn own_page(head: &Head<'_>, edge: &Edge) -> Result<(), Fault> {
    match head.header(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if edge.config.server.origins.iter().any(|friend| same_origin(origin, friend)) => Ok(()),
        Some(_) => head.check_origin(&edge.config.server.public_url, &[], false),
    }
}

fn code(body: &[u8]) -> Result<String, Fault> {
    let code = if body.first() == Some(&b'{') {
        let json: serde_json::Value =
            serde_json::from_slice(body).map_err(|error| Fault::new(Code::BadRequest, format!("body: {error}")))?;
        json.get("code").and_then(|code| code.as_str()).map(str::to_owned)
    } else {
        url::form_urlencoded::parse(body).find(|(key, _)| key == "code").map(|(_, code)| code.into_owned())
    };
    code.filter(|code| !code.is_empty()).ok_or_else(|| Fault::field("code", "is missing"))
}

fn cookie<'a>(edge: &Edge, head: &Head<'_>, value: &'a str, seconds: u64) -> Cookie<'a> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Cookie::build(COOKIE, value)
        .path("/")
        .http_only(true)
        // Lax: a link to the console from elsewhere finds the reader signed in. What changes anything checks Origin.
        .same_site(SameSite::Lax)
        .secure(head.secure || edge.config.server.public_url.starts_with("https:"))
        .max_age(Duration::seconds(seconds))
        .finish()
}

fn html(status: u16, inner: &str) -> HttpResponse {
    let nonce = keys::generate("").map(|nonce| nonce.expose_secret().to_owned()).unwrap_or_default();
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Switchboard</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style nonce=\"{nonce}\">body{{font:16px system-ui,sans-serif;max-width:28rem;margin:20vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.5rem 1.2rem}}</style></head><body>{}</body></html>",
        inner.replace("{nonce}", &nonce)
    );
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status)
        .content_type(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(page)
}

fn sentence(text: &str) -> String {
    format!("<h1>Switchboard</h1><p>{}</p>", escaped(text))
}

/// Sends itself off once somebody looks at it; the button is for browsers without scripts.
fn form(code: &str) -> String {
    format!(
        "<h1>Switchboard</h1><form method=\"post\" action=\"/sign-in\">\
         <input type=\"hidden\" name=\"code\" value=\"{}\"><button>Sign in</button></form>\
         <script nonce=\"{{nonce}}\">history.replaceState(null,'','/sign-in');\
         const go=()=>{{if(!document.prerendering&&document.visibilityState==='visible'){{\
         document.removeEventListener('visibilitychange',go);document.forms[0].submit()}}}};\
         document.addEventListener('visibilitychange',go);document.addEventListener('prerenderingchange',go);go()</script>",
        escaped(code)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
