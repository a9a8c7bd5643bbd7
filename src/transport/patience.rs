//! How long a connection that speaks HTTP may keep the hub waiting between two requests.
//!
//! actix-http knows a deadline for the first head alone. A later head, a body that nobody reads any more, and a reader
//! that takes nothing of its answer may take for ever: here they are cut.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

/// Most that is read of a body that nobody wants any more, in bytes. The next request's head and what comes with it fit:
/// actix-http takes no more than this before it looks at them.
const UNWANTED: usize = 1 << 20;

/// Requests of a connection; the service that answers them counts.
#[derive(Default)]
pub(super) struct Busy {
    answering: Cell<u32>,
    /// Answers whose bodies are on their way.
    sending: Cell<u32>,
    begun: Cell<u32>,
}

/// One request that is being answered: until there is an answer.
pub(super) struct Answering(Rc<Busy>);

/// One answer that is being sent.
struct Sending(Rc<Busy>);

impl Busy {
    pub(super) fn begin(self: Rc<Busy>) -> Answering {
        self.answering.set(self.answering.get() + 1);
        self.begun.set(self.begun.get().wrapping_add(1));
        Answering(self)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get().saturating_sub(1));
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.sending.set(self.0.sending.get().saturating_sub(1));
    }
}

/// The body of an answer. Until the last of it has gone its connection is not idle, however long a stream takes.
pub(super) struct Answer<B> {
    body: Pin<Box<B>>,
    _sending: Option<Sending>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, answering: Option<Answering>) -> Self {
        let sending = answering.map(|answering| {
            let busy = answering.0.clone();
            busy.sending.set(busy.sending.get() + 1);
            Sending(busy)
        });
        Self { body: Box::pin(body), _sending: sending }
    }
}

impl<B: MessageBody> MessageBody for Answer<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(cx)
    }
}

/// A deadline that runs while one waits for something.
#[derive(Default)]
struct Patience {
    running: bool,
    /// Kept for the next time.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// From now on there are `limit` left.
    fn start(&mut self, limit: Duration) {
        self.running = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + limit),
            None => self.sleep = Some(Box::pin(sleep(limit))),
        }
    }

    /// Fails when the time is up; wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(sleep) = self.sleep.as_mut().filter(|_| self.running)
            && sleep.as_mut().poll(cx).is_ready()
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// How long a connection is waited for.
#[derive(Clone, Copy)]
pub(super) struct Patiences {
    /// For the rest of a head, or of a body that nobody wants.
    pub(super) head: Duration,
    /// For the next request.
    pub(super) keep_alive: Duration,
    /// For a client that takes nothing of an answer.
    pub(super) stall: Duration,
}

/// What one connection is waited for.
pub(super) struct Waiting {
    pub(super) busy: Rc<Busy>,
    limits: Patiences,
    request: Patience,
    /// The request has begun: its bytes come.
    begun: bool,
    /// Bytes read since the last answer that began no request.
    unwanted: usize,
    /// Requests seen so far: until the first one the deadline is actix-http's.
    seen: u32,
    reader: Patience,
}

impl Waiting {
    pub(super) fn new(limits: Patiences) -> Waiting {
        let (request, reader) = (Patience::default(), Patience::default());
        Waiting { busy: Rc::default(), limits, request, begun: false, unwanted: 0, seen: 0, reader }
    }

    /// Whether more of a refused body was read than is good: the connection is at its end then.
    pub(super) fn has_enough(&self) -> bool {
        self.unwanted > UNWANTED && self.seen == self.busy.begun.get()
    }

    /// After an attempt to read: `read` bytes, or nothing yet.
    pub(super) fn after_read(&mut self, cx: &mut Context<'_>, read: Poll<usize>) -> io::Result<()> {
        let seen = self.busy.begun.get();
        if self.seen != seen {
            (self.request.running, self.begun, self.unwanted, self.seen) = (false, false, 0, seen);
        }
        if self.busy.answering.get() > 0 || seen == 0 {
            return Ok(());
        }
        if let Poll::Ready(bytes) = read {
            self.unwanted += bytes;
        }
        if matches!(read, Poll::Ready(1..)) && !self.begun {
            self.begun = true;
            self.request.start(self.limits.head);
        } else if !self.request.running && self.busy.sending.get() == 0 {
            // The first part of a head may have come together with the last request.
            self.request.start(self.limits.keep_alive);
        }
        self.request.poll(cx)
    }

    /// After an attempt to write.
    pub(super) fn after_write(&mut self, cx: &mut Context<'_>, is_taken: bool) -> io::Result<()> {
        if is_taken {
            self.reader.running = false;
        } else if !self.reader.running {
            self.reader.start(self.limits.stall);
        }
        self.reader.poll(cx)
    }
}
