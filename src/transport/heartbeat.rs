//! Pings and pong deadlines of a worker's sockets: one timer wheel, not a timer per socket.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    settings::ConnectionId,
    worker::{self, Worker},
};

/// Deadlines are rounded up to this, so that one wake-up serves many sockets.
const SPOKE: Duration = Duration::from_millis(250);

/// Sockets by the time at which they want a pulse.
#[derive(Default)]
pub(super) struct Heartbeat {
    start: Cell<Option<Instant>>,
    /// Spoke number (since `start`) to the ids that are due then. Ids of sockets that are gone stay
    /// until their spoke comes.
    spokes: RefCell<BTreeMap<u64, Vec<u64>>>,
    earlier: Notify,
}

impl Heartbeat {
    /// Asks for a pulse of `id` after `wait`; zero is the next spoke.
    pub(super) fn schedule(&self, id: ConnectionId, wait: Duration) {
        let due = self.start().elapsed() + wait;
        let spoke = due.as_millis() as u64 / SPOKE.as_millis() as u64 + 1;
        let mut spokes = self.spokes.borrow_mut();
        let first = spokes.first_key_value().map(|(spoke, _)| *spoke);
        spokes.entry(spoke).or_default().push(id.0);
        if first.is_none_or(|first| spoke < first) {
            self.earlier.notify_one();
        }
    }

    fn start(&self) -> Instant {
        match self.start.get() {
            Some(start) => start,
            None => {
                let now = Instant::now();
                self.start.set(Some(now));
                now
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let spoke = *self.spokes.borrow().first_key_value()?.0;
        Some(self.start() + SPOKE * u32::try_from(spoke).unwrap_or(u32::MAX))
    }

    fn take_due(&self) -> Vec<u64> {
        let now = self.start().elapsed();
        let mut spokes = self.spokes.borrow_mut();
        match spokes.first_entry() {
            Some(first) if SPOKE * u32::try_from(*first.key()).unwrap_or(u32::MAX) <= now => first.remove(),
            _ => Vec::new(),
        }
    }
}

/// Runs a worker's wheel for ever.
pub(super) async fn beat(worker: Rc<Worker>) {
    loop {
        match worker.heartbeat.next() {
            None => worker.heartbeat.earlier.notified().await,
            Some(due) => {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = worker.heartbeat.earlier.notified() => {}
                }
            }
        }
        for id in worker.heartbeat.take_due() {
            let Some(outbound) = worker::find(id) else { continue };
            if let Some(wait) = outbound.pulse() {
                worker.heartbeat.schedule(outbound.id(), wait);
            }
        }
    }
}
