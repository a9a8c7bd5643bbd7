//! Channels: listed, looked into, published to; and what is told to whole organizations.

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Answer, Query, ask, shown};
use crate::domain::admin::{AdminCommand, Notice};
use crate::domain::channel::Channel;
use crate::error::Fault;
use crate::http::api::written;
use crate::http::endpoint::{Asking, HubHandle};
use crate::http::identity::body::need;
use crate::http::request::Body;
use crate::http::{Edge, Refusal};

/// An event for an application channel.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Publication {
    /// Such as `app:deploys`.
    channel: Option<String>,
    /// 1 to 128 bytes; none of the hub's own names.
    event: Option<String>,
    /// `null` where it is left out; passed on letter for letter.
    #[serde(default)]
    #[schemars(with = "Value")]
    data: Option<Box<RawValue>>,
}

/// What is to be told.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Announcement {
    /// For people: 1 to 4,096 bytes.
    message: Option<String>,
    /// For programs: up to 64 KiB.
    data: Option<Value>,
}

impl Announcement {
    fn notice(self) -> Result<Notice, Fault> {
        Ok(Notice { message: need("message", self.message)?, data: self.data })
    }
}

pub(super) async fn list(Asking(caller): Asking, hub: HubHandle, edge: web::Data<Edge>, asked: Query) -> Answer {
    let prefix = asked.prefix.clone().unwrap_or_default();
    let command = AdminCommand::Channels { prefix, page: asked.page()? };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

/// A name that no channel can have names none.
fn channel(name: &str) -> Result<Channel, Fault> {
    Channel::parse(name).map_err(|_| Fault::not_found("channel"))
}

pub(super) async fn subscribers(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    asked: Query,
    name: web::Path<String>,
) -> Answer {
    let command = AdminCommand::Subscribers { channel: channel(&name)?, page: asked.page()? };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

pub(super) async fn history(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, name, request): (Query, web::Path<String>, HttpRequest),
) -> Result<HttpResponse, Refusal> {
    let command = AdminCommand::History { channel: channel(&name)?, limit: asked.page()?.limit };
    Ok(written(200, &request, &ask(caller, (&hub, &edge), &asked, command).await?))
}

pub(super) async fn publish(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, Body(wish)): (Query, Body<Publication>),
) -> Answer {
    let (channel, event) = (need("channel", wish.channel)?, need("event", wish.event)?);
    let data = wish.data.map_or_else(|| "null".into(), |data| data.get().into());
    let command = AdminCommand::Publish { channel, event, data };
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

pub(super) async fn broadcast(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, Body(wish)): (Query, Body<Announcement>),
) -> Answer {
    let command = AdminCommand::Broadcast(wish.notice()?);
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}

pub(super) async fn broadcast_all(
    Asking(caller): Asking,
    hub: HubHandle,
    edge: web::Data<Edge>,
    (asked, Body(wish)): (Query, Body<Announcement>),
) -> Answer {
    let command = AdminCommand::BroadcastAll(wish.notice()?);
    shown(ask(caller, (&hub, &edge), &asked, command).await?)
}
