//! `Idempotency-Key` where a handler does not see to it itself: the key is taken before the handler begins, and its
//! answer is kept with the key. No POST passes over a key in silence.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::endpoint::Asking;
use super::request::key_of;
use super::{Edge, Refusal};
use crate::domain::command::{Caller, Once};
use crate::doors::rpc;
use crate::error::{Code, Fault};

/// What an address makes of a request's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyed {
    /// It can make nothing of it: a POST with one is refused.
    Refused,
    /// Its handler has the key in the transaction of its effect.
    ByHandler,
    /// Its answer is kept, and given again.
    Kept,
    /// Its answer shows a secret once: of it only the `id` is kept.
    ShownOnce,
}

/// What is kept of an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Whole { status: u16, body: String },
    Made { id: Value },
}

/// Requests with the same key go one after the other, so that the second finds the answer to the first. Keys share
/// these turns.
static TURNS: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn turn(caller: &Caller, once: &Once) -> &'static Mutex<()> {
    let principal = &caller.principal;
    let hash = HASHER.hash_one((principal.organization.as_str(), principal.user.as_str(), &once.key));
    &TURNS[hash as usize % TURNS.len()]
}

fn refused(request: ServiceRequest, fault: Fault) -> ServiceResponse<BoxBody> {
    request.into_response(Refusal(fault).error_response())
}

/// Lets a request through to its handler, once for each key.
pub(super) async fn once(
    keyed: Keyed,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let has_key = request.method() == Method::POST && matches!(key_of(request.headers()), Ok(Some(_)) | Err(_));
    if !has_key || keyed == Keyed::ByHandler {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let asking = request.extensions().get::<Asking>().cloned();
    let Some(Asking(caller)) = asking.filter(|_| keyed != Keyed::Refused) else {
        return Ok(refused(request, Fault::field("idempotency-key", "this address cannot honour a key: leave it out")));
    };
    // By itself: whoever hangs up in the middle and asks again gets the answer.
    let done = actix_web::rt::spawn(first_or_again(keyed, caller, request, next));
    done.await.unwrap_or_else(|_| Err(Refusal(Fault::plain(Code::Internal)).into()))
}

async fn first_or_again(
    keyed: Keyed,
    caller: Caller,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let once = match read(&mut request).await {
        Ok(once) => once,
        Err(error) => return Ok(request.into_response(HttpResponse::from_error(error))),
    };
    let Some(edge) = request.app_data::<web::Data<Edge>>().cloned() else {
        return Ok(refused(request, Fault::internal("the app has no edge")));
    };
    let _turn = turn(&caller, &once).lock().await;
    match edge.accounts.take_key(&caller, &once).await {
        Ok(None) => {}
        Ok(Some(answer)) => return Ok(request.into_response(again(&answer))),
        Err(fault) => return Ok(refused(request, fault)),
    }
    let done = next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    let (done, answer) = match done {
        Ok(response) if response.status().is_success() => whole(keyed, response).await,
        done => (done, None),
    };
    if let Err(fault) = edge.accounts.settle_key(&caller, &once, answer.as_deref()).await {
        tracing::error!(%fault, "what came of a request with a key is not known to the next one");
    }
    done
}

/// The key, and what the request is. The body goes back to where the handler reads it.
async fn read(request: &mut ServiceRequest) -> Result<Once, Error> {
    let body = request.extract::<web::Bytes>().await?;
    request.set_payload(body.clone().into());
    Ok(once_of(request, &body).map_err(Refusal)?)
}

fn once_of(request: &ServiceRequest, body: &[u8]) -> Result<Once, Fault> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let holds_password = serde_json::from_str::<Value>(text).is_ok_and(|body| body.get("password").is_some());
    if holds_password {
        // Its hash would lie in the store for a day, and could be guessed from.
        return Err(Fault::field("idempotency-key", "a request that holds a password cannot have a key: leave it out"));
    }
    let key = key_of(request.headers())?.map(str::to_owned);
    let address = request.uri().path_and_query().map_or("/", |address| address.as_str());
    let once = rpc::once(key, &format!("POST {address}"), Some(text))?;
    once.ok_or_else(|| Fault::internal("the key is gone"))
}

/// An answer read whole: as it goes out, and as it is kept.
async fn whole(
    keyed: Keyed,
    response: ServiceResponse<BoxBody>,
) -> (Result<ServiceResponse<BoxBody>, Error>, Option<String>) {
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let Ok(body) = to_bytes(body).await else {
        return (Err(Refusal(Fault::internal("an answer cannot be read")).into()), Some(String::new()));
    };
    let answer = match keyed {
        Keyed::ShownOnce => {
            let shown = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            Answer::Made { id: shown["id"].clone() }
        }
        _ => Answer::Whole { status: response.status().as_u16(), body: String::from_utf8_lossy(&body).into_owned() },
    };
    let response = ServiceResponse::new(request, response.set_body(BoxBody::new(body)));
    // Numbers and texts: writing them cannot fail.
    (Ok(response), Some(serde_json::to_string(&answer).unwrap_or_default()))
}

/// What the same request was answered before.
fn again(answer: &str) -> HttpResponse {
    let fault = match serde_json::from_str(answer) {
        Ok(Answer::Whole { status, body }) => {
            let mut again = HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default());
            if !body.is_empty() {
                again.content_type(header::ContentType::json());
            }
            return again.body(body);
        }
        Ok(Answer::Made { id }) => {
            let fault = Fault::new(Code::Conflict, "this request was carried out, and its answer is shown only once");
            fault.with_details(json!({ "id": id }))
        }
        Err(_) => Fault::new(Code::Conflict, "this request was begun before, and it is not known what came of it"),
    };
    Refusal(fault).error_response()
}
