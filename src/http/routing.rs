//! Who would answer a message, and why: asked without sending it.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use protocol::rest as r;

use super::Refusal;
use super::api::written;
use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::request::Body;
use crate::domain::command::{Command, RoutingQuestion};
use crate::domain::policy::Operation;
use crate::doors::rpc;
use crate::error::Fault;

/// The longest message that is looked at, in bytes.
const CONTENT: usize = 1 << 20;
/// The longest name.
const NAME: usize = 512;

pub(super) const ENDPOINTS: [Endpoint; 1] =
    [row(Method::POST, "/api/v1/routing/explain", Operation::RoutingExplain, || web::to(explain)).described(|| {
        Described::new("Who would answer a message, and what each routing rule says of it; nothing is sent")
            .body::<r::RoutingQuestion>()
            .gives::<r::RoutingExplanation>(200)
            .kept()
    })];

async fn explain(
    Asking(caller): Asking,
    hub: HubHandle,
    request: HttpRequest,
    Body(wish): Body<r::RoutingQuestion>,
) -> Result<HttpResponse, Refusal> {
    if wish.content.len() > CONTENT {
        return Err(Fault::field("content", format!("at most {CONTENT} bytes")).into());
    }
    for (field, text) in [("agent", &wish.agent), ("model", &wish.model)] {
        if text.as_ref().is_some_and(|text| text.len() > NAME) {
            return Err(Fault::field(field, format!("at most {NAME} bytes")).into());
        }
    }
    let question = RoutingQuestion {
        content: wish.content,
        attachments: wish.attachments.unwrap_or(0) as usize,
        model: wish.model,
        session: wish.session_id.as_deref().map(rpc::session).transpose()?,
        agent: wish.agent,
        tags: rpc::tags(wish.tags)?,
    };
    let reply = hub.0.call(caller, Command::RoutingExplain(question)).await?;
    Ok(written(200, &request, &reply))
}
