//! What one listener's connections meet on one worker: the gate, TLS, HTTP/1 for the App, and the
//! way out of HTTP for upgrades.

use std::{convert::Infallible, fmt, rc::Rc, time::Duration};

use actix_codec::Framed;
use actix_http::{
    HttpService, Request, Response,
    body::{BoxBody, MessageBody},
    error::DispatchError,
    h1,
};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use tokio::net::TcpStream;

use super::{
    accept::{Entrance, HttpIo},
    body,
    patience::{Answer, Busy},
    upgrade::{self, Doorkeeper},
};

/// What all listeners of a server have in common. See [`super::ServerSettings`] for the times.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) entrance: Entrance,
    pub(super) stopping: GracefulShutdownSignal,
    pub(super) head_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) upgrade_timeout: Duration,
    pub(super) keep_alive: Duration,
}

/// The service actix-server calls with every accepted connection.
pub(super) fn connections<I, S, B>(
    plan: Plan,
    doorkeeper: Rc<dyn Doorkeeper>,
    app: I,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Future: 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let Plan { entrance, stopping, body_timeout, upgrade_timeout, .. } = plan;
    let upgrades = fn_service(move |(request, framed): (Request, Framed<HttpIo, h1::Codec>)| {
        let doorkeeper = doorkeeper.clone();
        // Boxed: the task of every connection would have room for it, and leave a hole of that size behind.
        Box::pin(async move {
            upgrade::upgrade(request, framed, doorkeeper, upgrade_timeout).await;
            Ok::<_, Infallible>(())
        })
    });
    // The H1 service on its own: the one that also knows HTTP/2 would offer it over TLS.
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(plan.keep_alive)
        .client_request_timeout(plan.head_timeout)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_allow_half_closed(false)
        .on_connect_ext(|io: &HttpIo, data| {
            data.insert(io.busy());
            data.insert(io.local());
        })
        .upgrade(upgrades)
        .h1(apply_fn_factory(map_config(app, |()| AppConfig::default()), move |request: Request, app: &S::Service| {
            let answering = request.conn_data::<Rc<Busy>>().cloned().map(Busy::begin);
            let answer = app.call(body::timed(request, body_timeout));
            async move {
                let answer: Response<B> = answer.await?.into();
                Ok::<_, S::Error>(answer.map_body(|_, body| Answer::new(body, answering)))
            }
        }));
    fn_service(move |tcp: TcpStream| {
        let entrance = entrance.clone();
        async move {
            let accepted = entrance.accept(tcp).await;
            let io = accepted.map_err(|error| {
                tracing::debug!(%error, "a connection did not come in");
                DispatchError::Io(error)
            })?;
            let peer = io.peer();
            Ok::<_, DispatchError>((io, Some(peer)))
        }
    })
    .and_then(http)
}
