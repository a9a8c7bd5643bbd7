//! Signing in with a link, a token or a password, signing out, and asking who one is.

use std::collections::BTreeMap;

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::Method;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::rest as w;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::described::Described;
use super::endpoint::{Asking, Endpoint, row};
use super::{Edge, Refusal, RequestId};
use crate::auth::{COOKIE, Head, Route, keys};
use crate::domain::ids::{Source, SystemSource};
use crate::domain::policy::Operation;
use crate::domain::principal::Credential;
use crate::error::{Code, Fault};
use crate::telemetry;

pub(super) const ENDPOINTS: [Endpoint; 4] = [
    row(Method::GET, "/sign-in", Operation::SignIn, || web::to(page))
        .described(|| Described::new("A page to sign in on").gives_text(200, "text/html")),
    row(Method::POST, "/sign-in", Operation::SignIn, || web::to(sign_in)).described(|| {
        Described::new("Sign in: a link's code, a token or a password becomes a cookie").gives_nothing(303)
    }),
    row(Method::POST, "/sign-out", Operation::SignOut, || web::to(sign_out))
        .described(|| Described::new("Sign this browser out").gives_nothing(204)),
    row(Method::GET, "/api/v1/session", Operation::WhoAmI, || web::to(session))
        .described(|| Described::new("Who is asking").gives::<w::WhoAmI>(200)),
];

/// The page a link opens. It only asks: what reads links ahead of people must not use them up. Without a code it asks
/// for a password or a token.
pub(super) async fn page(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    Ok(match head.query_value("code")? {
        Some(code) => html(200, &form(&code)),
        None => html(200, &asking_form("")),
    })
}

/// Uses a link's code (`code`), a JWT (`token`) or a password (`user`, `password`, and `organization` where it is not the
/// default), as a form or as JSON. A browser is sent on to the console. A foreign page, which could sign somebody in as
/// somebody else, does not get here: see [`super::browsers`].
pub(super) async fn sign_in(
    request: HttpRequest,
    body: web::Bytes,
    edge: web::Data<Edge>,
) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    let wants_page = head.header(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let mut fields = fields(&body)?;
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_empty());
    let cookie = match (take("code"), take("token"), take("password")) {
        (Some(code), None, None) => by_link(&edge, &head, &code).await,
        (None, Some(token), None) => by_token(&edge, &head, token.trim()).await,
        (None, None, Some(password)) => {
            by_password(&edge, &head, (take("organization"), take("user")), password.into()).await
        }
        _ => Err(Fault::field("code", "either code, token or password must be there, as a form or as JSON")),
    };
    match cookie {
        Ok(cookie) => {
            metrics::counter!(telemetry::SIGN_INS).increment(1);
            Ok(HttpResponse::SeeOther().cookie(cookie).insert_header((header::LOCATION, "/")).finish())
        }
        Err(fault) => {
            metrics::counter!(telemetry::REFUSALS, "code" => fault.code.name()).increment(1);
            written(&edge, &request, &head, Operation::SignIn, &fault);
            match wants_page && fault.code == Code::Unauthorized {
                true => Ok(html(401, &asking_form(&fault.message))),
                false => Err(fault.into()),
            }
        }
    }
}

async fn by_link(edge: &Edge, head: &Head<'_>, code: &str) -> Result<Cookie<'static>, Fault> {
    let session = edge.auth.sign_in(code).await?;
    tracing::info!(organization = %session.organization, user = %session.user, "signed in by link");
    Ok(cookie(edge, head, session.secret.expose_secret(), edge.config.get().auth.session_seconds))
}

/// The token itself becomes the cookie, for as long as it counts.
async fn by_token(edge: &Edge, head: &Head<'_>, token: &str) -> Result<Cookie<'static>, Fault> {
    let principal = edge.auth.token(token, None).await?;
    let (Credential::Jwt { .. }, Some(end)) = (&principal.credential, principal.expires_at) else {
        return Err(Fault::field("token", "a browser is signed in by a JWT; keys are for programs"));
    };
    edge.auth.begin_token_session(&principal, end).await?;
    tracing::info!(organization = %principal.organization, user = %principal.user, "signed in by token");
    let left = end.since(SystemSource.now()) / 1000;
    Ok(cookie(edge, head, token, u64::try_from(left).unwrap_or(0)))
}

async fn by_password(
    edge: &Edge,
    head: &Head<'_>,
    (organization, user): (Option<String>, Option<String>),
    password: SecretString,
) -> Result<Cookie<'static>, Fault> {
    let user = user.ok_or_else(|| Fault::field("user", "must be there beside the password"))?;
    let session = edge.auth.sign_in_with_password(organization.as_deref(), &user, password).await?;
    tracing::info!(organization = %session.organization, user = %session.user, "signed in by password");
    Ok(cookie(edge, head, session.secret.expose_secret(), edge.config.get().auth.session_seconds))
}

/// Ends the browser's session, here and in the browser.
pub(super) async fn sign_out(request: HttpRequest, edge: web::Data<Edge>) -> Result<HttpResponse, Refusal> {
    let head = head(&request, &edge)?;
    let refused = |fault: &Fault| written(&edge, &request, &head, Operation::SignOut, fault);
    if let Some(session) = edge.auth.cookie(&head, Route::Rest).inspect_err(refused)? {
        edge.auth.sign_out(session).await?;
    }
    let gone = cookie(&edge, &head, "", 0);
    Ok(HttpResponse::NoContent().cookie(gone).finish())
}

/// Who am I.
pub(super) async fn session(Asking(caller): Asking) -> HttpResponse {
    let principal = &caller.principal;
    HttpResponse::Ok().json(w::WhoAmI {
        organization: principal.organization.to_string(),
        user: principal.user.to_string(),
        role: principal.role.name().to_owned(),
        hub_admin: principal.hub_admin,
        permissions: principal.permissions.clone(),
        credential: principal.credential.name().to_owned(),
        expires_at: principal.expires_at.map(|at| at.to_rfc3339()),
    })
}

/// Writes a refusal down.
fn written(edge: &Edge, request: &HttpRequest, head: &Head<'_>, operation: Operation, fault: &Fault) {
    edge.auth.refused(head.peer, operation.name(), fault, None, RequestId::of_request(request).as_str());
}

fn head<'a>(request: &'a HttpRequest, edge: &Edge) -> Result<Head<'a>, Fault> {
    let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
    Ok(edge.auth.head(request.head(), peer))
}

/// The texts of a JSON object, or of a form, where the first of a name counts.
fn fields(body: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    if body.first() == Some(&b'{') {
        let json: BTreeMap<String, Value> =
            serde_json::from_slice(body).map_err(|error| Fault::new(Code::BadRequest, format!("body: {error}")))?;
        let text = |(name, value)| if let Value::String(text) = value { Some((name, text)) } else { None };
        return Ok(json.into_iter().filter_map(text).collect());
    }
    let mut fields = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    Ok(fields)
}

fn cookie(edge: &Edge, head: &Head<'_>, value: &str, seconds: u64) -> Cookie<'static> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Cookie::build(COOKIE, value.to_owned())
        .path("/")
        .http_only(true)
        // Lax: a link to the console from elsewhere finds the reader signed in. What changes anything checks Origin.
        .same_site(SameSite::Lax)
        .secure(head.secure || edge.config.get().server.public_url.starts_with("https:"))
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

/// Asks for a password or a token; `sentence` says why the last one, or the link, did not do.
fn asking_form(sentence: &str) -> String {
    format!(
        "<h1>Switchboard</h1><p>{}</p><form method=\"post\" action=\"/sign-in\">\
         <p><label>User<br><input name=\"user\" autocomplete=\"username\" required></label></p>\
         <p><label>Password<br><input type=\"password\" name=\"password\" autocomplete=\"current-password\" required>\
         </label></p>\
         <p><label>Organization, if not the default<br><input name=\"organization\" autocomplete=\"organization\">\
         </label></p><button>Sign in</button></form><hr>\
         <form method=\"post\" action=\"/sign-in\">\
         <p><label>Or a token, as <code>switchboard token --user NAME</code> prints it<br>\
         <input type=\"password\" name=\"token\" autocomplete=\"off\" required></label></p>\
         <button>Sign in with the token</button></form>",
        escaped(sentence)
    )
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
