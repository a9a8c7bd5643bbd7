//! Agents at work: what runs and waits, read, stopped, aborted; and the questions they ask.

use actix_web::{HttpRequest, web};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Answer, Query, ask, shown};
use crate::domain::admin::{AdminCommand, LiveState};
use crate::domain::conversation::StopKind;
use crate::domain::ids::{ApprovalId, ConversationId, MessageId, TurnId};
use crate::error::Fault;
use crate::http::Edge;
use crate::http::api::written;
use crate::http::endpoint::{Asking, HubHandle};
use crate::http::identity::body::need;
use crate::http::request::Body;

/// Which turn is to end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ending {
    /// The one at work where it is left out.
    turn_id: Option<String>,
}

/// The answer to a question.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Decision {
    approved: Option<bool>,
    reason: Option<String>,
}

fn session(id: &str) -> Result<ConversationId, Fault> {
    ConversationId::parse(id).map_err(|_| Fault::not_found("session"))
}

pub(super) async fn list(Asking(caller): Asking, hub: HubHandle, edge: web::Data<Edge>, asked: Query) -> Answer {
    let which = asked.state.as_deref().map(|word| {
        let names = LiveState::ALL.map(LiveState::name).join(", ");
        LiveState::parse(word).ok_or_else(|| Fault::field("state", format!("must be one of {names}")))
    });
    let command = AdminCommand::Turns { which: which.transpose()?, user: asked.user()?, page: asked.page()? };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

pub(super) async fn read(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, id, request): (Query, web::Path<String>, HttpRequest),
) -> Answer {
    let page = asked.page()?;
    let before = page.after(|cursor| MessageId::parse(cursor).ok())?;
    let command = AdminCommand::Messages { session: session(&id)?, before, limit: page.limit };
    Ok(written(200, &request, &ask(caller, (&hub, &edge), &asked, command).await?))
}

type Target<T> = (Query, web::Path<String>, HttpRequest, Body<T>);

pub(super) async fn stop(asking: Asking, hub: HubHandle, edge: web::Data<Edge>, target: Target<Ending>) -> Answer {
    end(asking, hub, edge, target, StopKind::Stop).await
}

pub(super) async fn abort(asking: Asking, hub: HubHandle, edge: web::Data<Edge>, target: Target<Ending>) -> Answer {
    end(asking, hub, edge, target, StopKind::Abort).await
}

async fn end(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, id, request, Body(wish)): Target<Ending>,
    kind: StopKind,
) -> Answer {
    let turn = wish.turn_id.map(|id| TurnId::parse(&id).map_err(|_| Fault::not_found("turn"))).transpose()?;
    let command = AdminCommand::Stop { session: session(&id)?, turn, kind };
    Ok(written(200, &request, &ask(caller, (&hub, &edge), &asked, command).await?))
}

pub(super) async fn approvals(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, request): (Query, HttpRequest),
) -> Answer {
    let command = AdminCommand::Approvals(asked.page()?);
    Ok(written(200, &request, &ask(caller, (&hub, &edge), &asked, command).await?))
}

pub(super) async fn decide(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, id, request, Body(wish)): Target<Decision>,
) -> Answer {
    let approved = need("approved", wish.approved)?;
    let request_id = ApprovalId::parse(&id).map_err(|_| Fault::not_found("approval"))?;
    let command = AdminCommand::Decide { request: request_id, approved, reason: wish.reason };
    Ok(written(200, &request, &ask(caller, (&hub, &edge), &asked, command).await?))
}
