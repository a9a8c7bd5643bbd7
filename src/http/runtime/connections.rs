//! Open sockets: who is connected, and closing one.

use actix_web::web;

use super::{Answer, Query, ask, shown};
use crate::domain::admin::AdminCommand;
use crate::http::Edge;
use crate::http::endpoint::{Asking, HubHandle};

pub(super) async fn list(Asking(caller): Asking, hub: HubHandle, edge: web::Data<Edge>, asked: Query) -> Answer {
    let command = AdminCommand::Connections { user: asked.user()?, page: asked.page()? };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

pub(super) async fn close(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    asked: Query,
    connection: web::Path<String>,
) -> Answer {
    let reason = asked.reason.clone().filter(|reason| !reason.is_empty());
    let command = AdminCommand::Disconnect { connection: connection.into_inner(), reason };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}
