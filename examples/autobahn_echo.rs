//! Echoes every message over the hub's own transport: the target of the Autobahn cases.
//!
//! `autobahn_echo [--tls] [--listen 127.0.0.1:0]` prints its URL on one line of standard output. With
//! `--tls` it makes a certificate for `localhost` and 127.0.0.1 and writes it to `--certificate FILE`.

use std::{error::Error, io::Write, net::TcpListener, rc::Rc, sync::Arc};

use actix::{Actor, ActorContext, Context, StreamHandler};
use actix_web::{App, HttpResponse, web};
use futures_util::future::{FutureExt, LocalBoxFuture};
use switchboard::{
    framing::Frame,
    transport::{
        Admitted, Doorkeeper, Inbound, Opener, Outbound, Refusal, ServerSettings, Socket, SocketLimits, UpgradeRequest,
        serve,
    },
};

struct Echo {
    outbound: Rc<Outbound>,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl StreamHandler<Inbound> for Echo {
    fn handle(&mut self, item: Inbound, context: &mut Self::Context) {
        match item {
            Inbound::Text(text) => {
                self.outbound.push(&Frame::text(text.as_bytes()));
            }
            Inbound::Binary(bytes) => {
                self.outbound.push(&Frame::binary(&bytes));
            }
            Inbound::Control => {}
            Inbound::Closed { .. } => context.stop(),
        }
    }
}

struct Everybody {
    limits: Rc<SocketLimits>,
}

impl Doorkeeper for Everybody {
    fn admit(&self, _: UpgradeRequest) -> LocalBoxFuture<'static, Result<Admitted, Refusal>> {
        let limits = self.limits.clone();
        async move {
            Ok(Admitted {
                limits,
                headers: Vec::new(),
                open: Opener::here(|Socket { outbound, inbound }| {
                    Echo::create(|context| {
                        Echo::add_stream(inbound, context);
                        Echo { outbound }
                    });
                }),
            })
        }
        .boxed_local()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut listen = String::from("127.0.0.1:0");
    let mut certificate = None;
    let mut tls = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--tls" => tls = true,
            "--listen" => listen = arguments.next().ok_or("--listen needs an address")?,
            "--certificate" => certificate = Some(arguments.next().ok_or("--certificate needs a file")?),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let listener = TcpListener::bind(&listen)?;
    let address = listener.local_addr()?;
    let mut settings = ServerSettings::new(vec![listener]);
    if tls {
        settings.tls = Some(Arc::new(make_tls(certificate.as_deref())?));
    }
    actix::System::new().block_on(async move {
        // Autobahn's largest message has 16 MiB, its most fragmented one 65,536 pieces.
        let limits =
            SocketLimits { frame_bytes: 32 << 20, fragments: 1 << 17, hard_bytes: 64 << 20, ..SocketLimits::default() };
        let server = serve(
            settings,
            |_| {},
            move || Rc::new(Everybody { limits: Rc::new(limits.clone()) }),
            || App::new().route("/", web::get().to(|| async { HttpResponse::Ok().body("echo") })),
        )?;
        println!("{}://{address}", if tls { "wss" } else { "ws" });
        std::io::stdout().flush()?;
        server.wait().await
    })?;
    Ok(())
}

fn make_tls(certificate: Option<&str>) -> Result<rustls::ServerConfig, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])?;
    if let Some(file) = certificate {
        std::fs::write(file, made.cert.pem())?;
    }
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?)
}
