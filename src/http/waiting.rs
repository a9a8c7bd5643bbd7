//! A request that waits for its turn: it listens to the conversation before it sends, so that nothing is lost.
//!
//! It is a connection like a socket, with the same bounded queue; an HTTP body takes the place of the socket. A client
//! that leaves ends the listening and not the turn.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::Stream;
use protocol::frames as wf;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use super::Edge;
use super::endpoint::HubHandle;
use crate::auth::Authenticator;
use crate::domain::channel::Channel;
use crate::domain::command::{Caller, Command, NewMessage, Reply, SessionCommand};
use crate::domain::hub::{DialectId, Listen, Stay};
use crate::domain::ids::{ConversationId, MessageId, Source, SystemSource, TurnId};
use crate::domain::message::Message;
use crate::domain::turn::{Turn, TurnState};
use crate::doors::{ENDS, STREAMED, rest};
use crate::error::{Code, Fault};
use crate::framing::sse;
use crate::transport::{Heard, Reader, SocketLimits};

/// A stream that says nothing for so long says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a connection without a socket may hold; made once for each worker.
#[derive(Clone)]
pub struct ReaderLimits(pub Rc<SocketLimits>);

/// Who waits, and where.
pub(super) struct Waiter {
    pub caller: Caller,
    pub hub: HubHandle,
    auth: Arc<Authenticator>,
    peer: SocketAddr,
    limits: Rc<SocketLimits>,
    patience: Duration,
}

impl Waiter {
    pub(super) fn new(caller: Caller, hub: HubHandle, edge: &Edge, request: &HttpRequest) -> Result<Self, Fault> {
        let limits = request.app_data::<ReaderLimits>().ok_or_else(|| Fault::internal("the app has no limits"))?;
        let peer = request.peer_addr().ok_or_else(|| Fault::internal("the connection has no peer"))?;
        let patience = Duration::from_secs(edge.config.get().limits.wait_seconds);
        Ok(Self { caller, hub, auth: edge.auth.clone(), peer, limits: limits.0.clone(), patience })
    }

    async fn call(&self, id: ConversationId, command: SessionCommand) -> Result<Reply, Fault> {
        self.hub.0.call(self.caller.clone(), Command::Session(id.into(), command)).await
    }

    /// Sends the message, and waits until its turn has ended or the time is up: then it goes on without this request.
    ///
    /// # Errors
    /// What refuses the message; `unavailable` with the turn's id where the turn failed or was cut off; `conflict` where
    /// it was taken out of the queue.
    pub(super) async fn answer(&self, id: ConversationId, new: NewMessage) -> Result<Answered, Fault> {
        let ear = Ear::open(self, id, ENDS).await?;
        let repeated = new.once.is_some();
        let sent = self.send(id, new).await?;
        let stored = if repeated { Some(self.stored(id, sent.turn).await?) } else { None };
        let (turn, answer) = match stored {
            Some(ended) if ended.0.state.has_ended() => ended,
            _ => {
                ear.end_or_patience(sent.turn, self.patience).await.map_err(|fault| goes_on(fault, sent))?;
                self.stored(id, sent.turn).await?
            }
        };
        match turn.state {
            TurnState::Cancelled => {
                let fault = Fault::new(Code::Conflict, "the turn was taken out of the queue");
                Err(fault.with_details(json!({ "turnId": turn.id.to_string(), "state": turn.state.name() })))
            }
            TurnState::Failed | TurnState::Interrupted => {
                let why = turn.error.clone().unwrap_or_else(|| "the turn was interrupted".to_owned());
                let mut details = json!({ "turnId": turn.id.to_string(), "state": turn.state.name() });
                if let Some(refusal) = &turn.refusal {
                    let mut fault = refusal.fault(SystemSource.now());
                    if let (Some(Value::Object(more)), Some(all)) = (&mut fault.details, details.as_object_mut()) {
                        more.append(all);
                    }
                    return Err(fault);
                }
                Err(Fault::unavailable(why).with_details(details))
            }
            _ => Ok(Answered { message: sent.message, turn, answer }),
        }
    }

    /// Sends the message, and streams what its turn says until it ends.
    pub(super) async fn stream(&self, id: ConversationId, new: NewMessage) -> Result<HttpResponse, Fault> {
        let ear = Ear::open(self, id, STREAMED).await?;
        let repeated = new.once.is_some();
        let sent = self.send(id, new).await?;
        let mut first = Vec::new();
        if repeated {
            let (turn, answer) = self.stored(id, sent.turn).await?;
            // It is over: what was said comes at once.
            if let Some(end) = rest::streamed_end(id, &turn).filter(|_| turn.state.has_ended()) {
                let (session_id, turn_id) = (id.to_string(), turn.id.to_string());
                if let Some(delta) = answer.map(|answer| answer.text()).filter(|text| !text.is_empty()) {
                    first.push(wf::ServerFrame::TextDelta(wf::TextDelta { delta, session_id, turn_id }));
                }
                first.push(end);
            }
        }
        let over = !first.is_empty();
        let mut body = Streamed {
            ear: Some(ear),
            turn: sent.turn.to_string(),
            first: first.iter().map(written).collect(),
            quiet: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
            deadline: Box::pin(tokio::time::sleep(self.patience)),
            sent,
        };
        body.first.reverse();
        if over {
            body.ear = None;
        }
        Ok(HttpResponse::Ok()
            .content_type(sse::MEDIA_TYPE)
            .insert_header((header::CACHE_CONTROL, "no-store"))
            // A proxy that collects would make the stream useless.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(body))
    }

    async fn send(&self, id: ConversationId, new: NewMessage) -> Result<Sent, Fault> {
        match self.call(id, SessionCommand::Send(new)).await? {
            Reply::Sent { message, turn, .. } => Ok(Sent { message, turn }),
            _ => Err(Fault::plain(Code::Internal)),
        }
    }

    async fn stored(&self, id: ConversationId, turn: TurnId) -> Result<(Turn, Option<Message>), Fault> {
        match self.call(id, SessionCommand::Turn(turn)).await? {
            Reply::Turn(_, turn, answer) => Ok((*turn, answer.map(|answer| *answer))),
            _ => Err(Fault::plain(Code::Internal)),
        }
    }
}

/// A message that is on its way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    message: MessageId,
    turn: TurnId,
}

/// A turn that ended, well or because somebody stopped it, or that goes on: the time to wait for it was up.
pub(super) struct Answered {
    pub message: MessageId,
    pub turn: Turn,
    /// What was said so far.
    pub answer: Option<Message>,
}

impl Answered {
    /// 200; 202 where the turn goes on. Not an error: it would have the client send the message once more.
    pub fn status(&self) -> StatusCode {
        if self.turn.state.has_ended() { StatusCode::OK } else { StatusCode::ACCEPTED }
    }
}

/// The request ends here; its turn does not.
fn goes_on(fault: Fault, sent: Sent) -> Fault {
    if !matches!(fault.code, Code::Unavailable | Code::Unauthorized) {
        return fault;
    }
    fault.with_details(json!({ "messageId": sent.message.to_string(), "turnId": sent.turn.to_string() }))
}

/// Listens to one conversation until it is dropped.
struct Ear {
    reader: Reader,
    /// Until it is over, the end of the credential ends it.
    _stay: Stay,
    hub: HubHandle,
    caller: Caller,
    channel: Channel,
    dialect: DialectId,
}

impl Ear {
    async fn open(waiter: &Waiter, id: ConversationId, dialect: DialectId) -> Result<Self, Fault> {
        let reader = Reader::open(waiter.peer, waiter.limits.clone());
        let reader = reader.ok_or_else(|| Fault::unavailable("the hub is stopping"))?;
        let (hub, mut caller, channel) = (waiter.hub.clone(), waiter.caller.clone(), Channel::Session(id));
        let stay = hub.0.stay(&caller, reader.id().0);
        // What was taken back between the request's head and here was told to those who were there.
        caller.principal = Arc::new(waiter.auth.renew(&caller.principal).await?);
        let listen = Listen { channel: channel.clone(), since: None, greeted: false, dialect };
        let ear = Self { reader, _stay: stay, hub, caller, channel, dialect };
        ear.hub.0.listen(ear.caller.clone(), ear.reader.id().0, listen).await?;
        Ok(ear)
    }

    /// Waits for the end of that turn, as long as the patience lasts.
    async fn end_or_patience(&self, turn: TurnId, patience: Duration) -> Result<(), Fault> {
        let turn = turn.to_string();
        let heard = async {
            loop {
                match poll_fn(|context| self.reader.poll_next(context)).await {
                    Heard::Closed(code) => return Err(closed(code)),
                    Heard::Message(frame) => match about(&frame) {
                        About { turn_id: Some(of), .. } if of == turn => return Ok(()),
                        About { turn_id: Some(_), .. } => {}
                        lost => return Err(lost.fault()),
                    },
                }
            }
        };
        tokio::time::timeout(patience, heard).await.unwrap_or(Ok(()))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.hub.0.unlisten(self.reader.id().0, &self.caller, &self.channel, self.dialect);
    }
}

fn too_long() -> Fault {
    Fault::unavailable("the turn has not ended yet; it goes on: look for it later")
}

fn closed(code: u16) -> Fault {
    use crate::error::close;
    match code {
        close::RESTARTING => Fault::unavailable("the hub restarts"),
        close::TOO_SLOW => Fault::unavailable("the stream was read too slowly"),
        close::EXPIRED => Fault::new(Code::Unauthorized, "the credential expired"),
        close::REVOKED => Fault::new(Code::Unauthorized, "the credential was revoked"),
        _ => Fault::unavailable("the hub ended the stream"),
    }
}

/// What a frame is about, whichever it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    r#type: Option<String>,
    turn_id: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

fn about(frame: &[u8]) -> About {
    let nothing = About { r#type: None, turn_id: None, code: None, message: None };
    serde_json::from_slice(frame).unwrap_or(nothing)
}

impl About {
    /// An error that is about no turn: the hub ended the listening.
    fn fault(self) -> Fault {
        let row = crate::error::ERRORS.iter().find(|row| Some(row.name) == self.code.as_deref());
        let code = row.map_or(Code::Unavailable, |row| row.code);
        Fault::new(code, self.message.unwrap_or_else(|| code.row().text.to_owned()))
    }

    fn is_end(&self) -> bool {
        matches!(self.r#type.as_deref(), Some("message_complete" | "error"))
    }
}

fn written(frame: &wf::ServerFrame) -> Bytes {
    let text = serde_json::to_vec(frame).unwrap_or_default();
    sse::event(about(&text).r#type.as_deref().unwrap_or("message"), &text)
}

/// The body of a streamed answer.
struct Streamed {
    /// Gone once the stream is over.
    ear: Option<Ear>,
    turn: String,
    /// What comes before anything that is heard, the last one first.
    first: Vec<Bytes>,
    quiet: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
    sent: Sent,
}

impl Streamed {
    /// The last event: why there are no more.
    fn end(&mut self, fault: Fault) -> Bytes {
        self.ear = None;
        let fault = goes_on(fault, self.sent);
        written(&wf::ServerFrame::Error(wf::ErrorFrame {
            code: Some(fault.code.name().to_owned()),
            message: fault.message,
            channel: None,
            id: None,
            details: fault.details,
            session_id: None,
            turn_id: Some(self.turn.clone()),
        }))
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(event) = self.first.pop() {
                return Poll::Ready(Some(event));
            }
            let Some(ear) = &self.ear else { return Poll::Ready(None) };
            let frame = match ear.reader.poll_next(context) {
                Poll::Ready(Heard::Message(frame)) => frame,
                Poll::Ready(Heard::Closed(code)) => return Poll::Ready(Some(self.end(closed(code)))),
                Poll::Pending if self.deadline.as_mut().poll(context).is_ready() => {
                    return Poll::Ready(Some(self.end(too_long())));
                }
                Poll::Pending if self.quiet.as_mut().poll(context).is_ready() => {
                    self.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
                    return Poll::Ready(Some(sse::KEEP_ALIVE));
                }
                Poll::Pending => return Poll::Pending,
            };
            let about = about(&frame);
            let event = sse::event(about.r#type.as_deref().unwrap_or("message"), &frame);
            match &about.turn_id {
                Some(turn) if *turn == self.turn => {
                    if about.is_end() {
                        self.ear = None;
                    }
                    return Poll::Ready(Some(event));
                }
                // Another turn of the same conversation: not what was asked for.
                Some(_) => {}
                None => return Poll::Ready(Some(self.end(about.fault()))),
            }
        }
    }
}

impl Stream for Streamed {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_event(context);
        if let Poll::Ready(Some(_)) = polled {
            self.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
        }
        polled.map(|event| event.map(Ok))
    }
}

/// Whether the client would rather have a stream.
pub(super) fn wants_stream(request: &HttpRequest) -> bool {
    let names = |accept: &header::HeaderValue| {
        accept.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(sse::MEDIA_TYPE))
    };
    request.headers().get_all(header::ACCEPT).any(names)
}
