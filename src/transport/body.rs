//! A request body with a deadline: actix-web has none, and a body of one byte a minute holds its handler.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, Payload, Request, error::PayloadError};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

/// A body that fails with `TimedOut` when its time is up.
struct Timed {
    body: Payload<BoxedPayloadStream>,
    deadline: Pin<Box<Sleep>>,
}

/// The same request; its body, if it has one, must be here within `limit`.
pub(super) fn timed(mut request: Request, limit: Duration) -> Request {
    let body = request.take_payload();
    if let Payload::None = body {
        return request;
    }
    *request.payload() =
        Payload::Stream { payload: Box::pin(Timed { body, deadline: Box::pin(tokio::time::sleep(limit)) }) };
    request
}

impl Stream for Timed {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(item) = Pin::new(&mut self.body).poll_next(cx) {
            return Poll::Ready(item);
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(PayloadError::Incomplete(Some(io::ErrorKind::TimedOut.into()))))),
            Poll::Pending => Poll::Pending,
        }
    }
}
