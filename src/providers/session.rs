//! One generation over HTTP: tries until the first token, then the stream of what the wire's reader makes of the bytes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};

use super::http::{Body, Call, Failure, Transport};
use super::sse;
use crate::domain::generation::{ProviderFault, ProviderFaultKind, StreamEvent};
use crate::telemetry;

/// How long the rest of a finished answer is read, so that its connection can be used again.
const TAIL: Duration = Duration::from_millis(200);

pub type EventStream = LocalBoxStream<'static, Result<StreamEvent, ProviderFault>>;

/// Makes stream events of the server-sent events of one wire. A pure machine.
pub trait Reader {
    /// Takes one event and appends what it means. After an error it is not called again.
    fn read(&mut self, event: &sse::Event, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault>;

    /// The connection is at its end, in good order or not: completes the answer, where that is whole.
    fn end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), ProviderFault>;

    /// The model has begun to answer: from now on nothing may be tried again.
    fn begun(&self) -> bool;

    /// The answer is whole and `Ended` was given.
    fn ended(&self) -> bool;
}

struct Live<R> {
    body: Body,
    parser: sse::Parser,
    events: VecDeque<sse::Event>,
    reader: R,
    out: VecDeque<StreamEvent>,
    failed: Option<ProviderFault>,
    at_end: bool,
}

/// Tries `call` until the model begins to answer. What `transport.settings.retry` says limits the tries.
pub async fn start<R: Reader + 'static>(
    transport: Rc<Transport>,
    call: Call,
    reader: impl Fn() -> R,
) -> Result<EventStream, ProviderFault> {
    let mut tried = 0;
    loop {
        tried += 1;
        let failure = match attempt(&transport, &call, reader()).await {
            Ok(live) => return Ok(live.into_stream()),
            Err(failure) => failure,
        };
        let retry = &transport.settings.retry;
        if !failure.may_retry || tried >= retry.attempts {
            return Err(failure.fault);
        }
        metrics::counter!(telemetry::PROVIDER_RETRIES, "provider" => transport.name.clone()).increment(1);
        let wait = retry.wait(tried, failure.wait, uuid::Uuid::now_v7().as_u128() as u32);
        tracing::warn!(
            provider = transport.name,
            request_id = call.request_id,
            tried,
            wait_ms = wait.as_millis() as u64,
            fault = failure.fault.message,
            "the provider failed before its first token and is tried again"
        );
        tokio::time::sleep(wait).await;
    }
}

async fn attempt<R: Reader>(transport: &Transport, call: &Call, reader: R) -> Result<Live<R>, Failure> {
    let mut live = Live {
        body: transport.open(call).await?,
        parser: sse::Parser::new(transport.settings.event_bytes),
        events: VecDeque::new(),
        reader,
        out: VecDeque::new(),
        failed: None,
        at_end: false,
    };
    while !live.reader.begun() && !live.reader.ended() {
        live.advance().await;
        if let Some(fault) = live.failed.take_if(|_| !live.reader.begun()) {
            return Err(fault.into());
        }
    }
    Ok(live)
}

impl<R: Reader> Live<R> {
    /// Reads once and appends what it brought. Sets `failed` once nothing more can come.
    async fn advance(&mut self) {
        let result = match self.body.next().await {
            Ok(Some(bytes)) => self.take(&bytes),
            end => {
                self.at_end = true;
                let whole = self.reader.end(&mut self.out);
                end.and(whole)
            }
        };
        // An answer that said it is whole is whole, however its connection ended.
        if !self.reader.ended() {
            self.failed = result.err();
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ProviderFault> {
        let pushed = self.parser.push(bytes, &mut self.events);
        while let Some(event) = self.events.pop_front() {
            if self.reader.ended() {
                return Ok(());
            }
            self.reader.read(&event, &mut self.out)?;
        }
        pushed.map_err(|e| ProviderFault::new(ProviderFaultKind::Malformed, e.to_string()))
    }

    async fn next(&mut self) -> Option<Result<StreamEvent, ProviderFault>> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Some(Ok(event));
            }
            if let Some(fault) = self.failed.take() {
                self.at_end = true;
                return Some(Err(fault));
            }
            if self.at_end {
                return None;
            }
            if self.reader.ended() {
                self.read_tail().await;
                return None;
            }
            self.advance().await;
        }
    }

    /// Reads to the end of the body: only then is the connection kept for the next request.
    async fn read_tail(&mut self) {
        self.at_end = true;
        let rest = async { while let Ok(Some(_)) = self.body.next().await {} };
        let _ = tokio::time::timeout(TAIL, rest).await;
    }

    fn into_stream(self) -> EventStream
    where
        R: 'static,
    {
        // The connection goes with the last event; a reader that stops earlier drops it by dropping the stream.
        stream::unfold(self, |mut live| async move { live.next().await.map(|event| (event, live)) }).boxed_local()
    }
}
