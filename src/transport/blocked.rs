//! Sockets in a rare state: the kernel takes no more, or the socket is being closed. Each has a task
//! for as long as that lasts; its actor is not needed (it may itself be waiting).

use std::{future::poll_fn, rc::Rc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    outbound::{Outbound, Wrote},
    worker::{drained, singleton},
};

/// How often a blocked socket's deadlines are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Takes the socket over until its queue is written, and to its end if it is closing.
pub(super) fn drive(outbound: Rc<Outbound>) {
    outbound.set_driven(true);
    singleton("blocked socket", async move {
        if !write_out(&outbound).await {
            return outbound.abort();
        }
        if outbound.is_closing() {
            return finish(&outbound).await;
        }
        outbound.set_driven(false);
        drained(&outbound);
    });
}

/// Writes until the queue is empty. `false` if the socket failed, or ran out of time while closing.
async fn write_out(outbound: &Rc<Outbound>) -> bool {
    let limits = outbound.limits().clone();
    let mut progress = outbound.progress();
    let mut since = Instant::now();
    let mut closing_since = None;
    loop {
        match outbound.write_queue() {
            Wrote::Everything => return true,
            Wrote::Failed => return false,
            Wrote::Blocked => {}
        }
        let now = Instant::now();
        if outbound.is_closing() && closing_since.is_none() {
            (closing_since, since) = (Some(now), now);
        }
        if outbound.progress() != progress {
            (progress, since) = (outbound.progress(), now);
        }
        match closing_since {
            Some(began) if now - since >= limits.close_timeout || now - began >= limits.write_stall => return false,
            None if now - since >= limits.write_stall => outbound.cut(),
            _ => {}
        }
        // Time-outs are looked at above.
        let _ = timeout(LOOK, poll_fn(|cx| outbound.poll_writable(cx))).await;
        if outbound.is_gone() {
            return false;
        }
    }
}

/// Everything is written, the Close frame last: shuts the write side, waits for the peer's end, drops.
async fn finish(outbound: &Rc<Outbound>) {
    outbound.shutdown_write();
    let patience = outbound.limits().close_timeout;
    let _ = timeout(patience, poll_fn(|cx| outbound.poll_drain(cx))).await;
    outbound.abort();
}
