//! The administration of what runs, over HTTP: connections, channels, turns, questions, usage, reload.

mod channels;
mod connections;
mod sessions;
mod usage;
mod views;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use protocol::{methods as m, model as w};
use serde::Deserialize;

use super::described::Described;
use super::endpoint::{Asking, Endpoint, HubHandle, row};
use super::identity::body::page;
use super::identity::views::ListView;
use super::request::{Kind, Parameter, parameter};
use super::{Edge, Refusal};
use crate::domain::admin::{AdminCommand, AdminReply};
use crate::domain::command::{Caller, Command, PageRequest, Reply};
use crate::domain::ids::UserId;
use crate::domain::policy::Operation;
use crate::error::{Code, Fault};
use channels::{Announcement, Publication};
use sessions::{Decision, Ending};
use usage::UsageView;
use views::{
    ChannelView, ConnectionView, LiveTurnView, LooksLike, PublishedView, ReloadedView, SubscriptionView, ToldView,
};

const GET: Method = Method::GET;
const POST: Method = Method::POST;

const ORGANIZATION: Parameter = parameter("organization", Kind::Text);
const CURSOR: Parameter = parameter("cursor", Kind::Text);
const LIMIT: Parameter = parameter("limit", Kind::Whole);
const USER: Parameter = parameter("user", Kind::Text);

const WHERE: &[Parameter] = &[ORGANIZATION];
const PAGE: &[Parameter] = &[CURSOR, LIMIT, ORGANIZATION];
const CONNECTIONS: &[Parameter] = &[USER, CURSOR, LIMIT, ORGANIZATION];
const CLOSING: &[Parameter] = &[parameter("reason", Kind::Text), ORGANIZATION];
const CHANNELS: &[Parameter] = &[parameter("prefix", Kind::Text), CURSOR, LIMIT, ORGANIZATION];
const NEWEST: &[Parameter] = &[LIMIT, ORGANIZATION];
const TURNS: &[Parameter] = &[parameter("state", Kind::Text), USER, CURSOR, LIMIT, ORGANIZATION];
const PERIOD: &[Parameter] = &[parameter("period", Kind::Text), ORGANIZATION];

/// The part of the query that all have in common, and what some have besides.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    cursor: Option<String>,
    limit: Option<String>,
    organization: Option<String>,
    user: Option<String>,
    prefix: Option<String>,
    reason: Option<String>,
    state: Option<String>,
    period: Option<String>,
}

type Query = web::Query<Asked>;
type Answer = Result<HttpResponse, Refusal>;

impl Asked {
    fn page(&self) -> Result<PageRequest, Fault> {
        page(self.cursor.clone(), self.limit.as_deref())
    }

    fn user(&self) -> Result<Option<UserId>, Fault> {
        let user = self.user.as_deref();
        user.map(|user| crate::auth::accounts::user_id("user", user)).transpose()
    }
}

/// Asks the hub about the organization that the query names, which is the caller's own where it names none.
async fn ask(
    caller: Caller,
    (hub, edge): (&HubHandle, &Edge),
    asked: &Asked,
    command: AdminCommand,
) -> Result<Reply, Fault> {
    let organization = edge.organization(&caller, command.operation(), asked.organization.as_deref()).await?;
    hub.0.call(caller, Command::Admin(organization, Box::new(command))).await
}

/// The answer of an administrator's command as the body that belongs to it.
fn shown(reply: Reply) -> Answer {
    let Reply::Admin(reply) = reply else { return Err(Fault::plain(Code::Internal).into()) };
    Ok(match reply {
        AdminReply::Connections(page) => HttpResponse::Ok().json(ListView::<ConnectionView>::of(page)),
        AdminReply::Disconnected => HttpResponse::NoContent().finish(),
        AdminReply::Channels(page) => HttpResponse::Ok().json(ListView::<ChannelView>::of(page)),
        AdminReply::Subscribers(page) => HttpResponse::Ok().json(ListView::<SubscriptionView>::of(page)),
        AdminReply::Published(position) => HttpResponse::Ok().json(PublishedView::from(&position)),
        AdminReply::Told(told) => HttpResponse::Ok().json(ToldView::from(&told)),
        AdminReply::Turns(page) => HttpResponse::Ok().json(ListView::<LiveTurnView>::of(page)),
        AdminReply::Usage(usage) => HttpResponse::Ok().json(UsageView::from(&usage)),
        AdminReply::Reloaded(reloaded) => HttpResponse::Ok().json(ReloadedView::from(&reloaded)),
    })
}

async fn reload(Asking(caller): Asking, hub: HubHandle, edge: web::Data<Edge>) -> Answer {
    shown(ask(caller, (&hub, &edge), &Asked::default(), AdminCommand::Reload).await?)
}

pub(super) const ENDPOINTS: [Endpoint; 16] = [
    row(GET, "/api/v1/admin/connections", Operation::AdminConnectionList, || web::to(connections::list)).described(
        || {
            Described::new("Lists the open sockets of the organization.")
                .query::<LooksLike>(CONNECTIONS)
                .gives::<ListView<ConnectionView>>(200)
        },
    ),
    row(Method::DELETE, "/api/v1/admin/connections/{connectionId}", Operation::AdminConnectionClose, || {
        web::to(connections::close)
    })
    .described(|| Described::new("Closes one socket, with 4403.").query::<LooksLike>(CLOSING).gives_nothing(204)),
    row(GET, "/api/v1/admin/channels", Operation::AdminChannelList, || web::to(channels::list)).described(|| {
        Described::new("Lists the channels that somebody listens to or that keep events, by name.")
            .query::<LooksLike>(CHANNELS)
            .gives::<ListView<ChannelView>>(200)
    }),
    row(GET, "/api/v1/admin/channels/{channel}/subscribers", Operation::AdminChannelGet, || {
        web::to(channels::subscribers)
    })
    .described(|| {
        Described::new("Lists who listens to a channel.")
            .query::<LooksLike>(PAGE)
            .gives::<ListView<SubscriptionView>>(200)
    }),
    row(GET, "/api/v1/admin/channels/{channel}/history", Operation::AdminChannelHistory, || web::to(channels::history))
        .described(|| {
            Described::new("The newest events that a channel keeps. Audited.")
                .query::<LooksLike>(NEWEST)
                .gives::<m::ChannelEvents>(200)
        }),
    row(POST, "/api/v1/admin/publish", Operation::AdminPublish, || web::to(channels::publish)).described(|| {
        Described::new("Publishes to an application channel.")
            .query::<LooksLike>(WHERE)
            .body::<Publication>()
            .gives::<PublishedView>(200)
            .kept()
    }),
    row(POST, "/api/v1/admin/broadcast", Operation::AdminBroadcast, || web::to(channels::broadcast)).described(|| {
        Described::new("Tells all who listen to the organization's channel.")
            .query::<LooksLike>(WHERE)
            .body::<Announcement>()
            .gives::<ToldView>(200)
            .kept()
    }),
    row(POST, "/api/v1/admin/broadcast/all", Operation::AdminBroadcastAll, || web::to(channels::broadcast_all))
        .described(|| {
            Described::new("Tells all who listen to any organization's channel.")
                .body::<Announcement>()
                .gives::<ToldView>(200)
                .kept()
        }),
    row(GET, "/api/v1/admin/sessions", Operation::AdminSessionList, || web::to(sessions::list)).described(|| {
        Described::new("Lists the turns that run or wait, the newest first.")
            .query::<LooksLike>(TURNS)
            .gives::<ListView<LiveTurnView>>(200)
    }),
    row(GET, "/api/v1/admin/sessions/{sessionId}/messages", Operation::AdminSessionRead, || web::to(sessions::read))
        .described(|| {
            Described::new("Reads a session, whosever it is. Audited.")
                .query::<LooksLike>(PAGE)
                .gives::<w::Page<w::Message>>(200)
                .paged()
        }),
    row(POST, "/api/v1/admin/sessions/{sessionId}/stop", Operation::AdminSessionStop, || web::to(sessions::stop))
        .described(|| {
            Described::new("Stops the turn at work, or the one named.")
                .query::<LooksLike>(WHERE)
                .body::<Ending>()
                .gives::<m::TurnOutcome>(200)
                .kept()
        }),
    row(POST, "/api/v1/admin/sessions/{sessionId}/abort", Operation::AdminSessionAbort, || web::to(sessions::abort))
        .described(|| {
            Described::new("Stops the turn at work, or the one named, and its tools.")
                .query::<LooksLike>(WHERE)
                .body::<Ending>()
                .gives::<m::TurnOutcome>(200)
                .kept()
        }),
    row(GET, "/api/v1/admin/approvals", Operation::AdminApprovalList, || web::to(sessions::approvals)).described(
        || {
            Described::new("Lists the questions that wait in all sessions, the oldest first. Audited.")
                .query::<LooksLike>(PAGE)
                .gives::<w::Page<w::ApprovalRequest>>(200)
                .paged()
        },
    ),
    row(POST, "/api/v1/admin/approvals/{requestId}", Operation::AdminApprovalDecide, || web::to(sessions::decide))
        .described(|| {
            Described::new("Answers a question: the first answer counts.")
                .query::<LooksLike>(WHERE)
                .body::<Decision>()
                .gives::<m::ToolDecided>(200)
                .kept()
        }),
    row(GET, "/api/v1/admin/usage", Operation::AdminUsage, || web::to(usage::report)).described(|| {
        Described::new("What the organization has used, by user, agent and model.")
            .query::<LooksLike>(PERIOD)
            .gives::<UsageView>(200)
    }),
    row(POST, "/api/v1/admin/reload", Operation::AdminReload, || web::to(reload)).described(|| {
        Described::new("Reads the configuration once more; says what holds now and what from the next start on.")
            .gives::<ReloadedView>(200)
            .kept()
    }),
];
