//! Credentials that end while their sockets are open: one clock for all sockets of a worker, not a timer for each.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::hub::ConnectionNumber;
use crate::domain::ids::{Source, SystemSource, Timestamp};
use crate::error::close;
use crate::transport::{Close, ConnectionId, with_connection};

/// How late a socket may be closed.
const STEP: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Ends {
    sockets: BTreeSet<(Timestamp, ConnectionNumber)>,
    /// The clock of this worker runs.
    ticking: bool,
}

thread_local! {
    static ENDS: RefCell<Ends> = RefCell::default();
}

/// Closes a socket of this worker with 4401 at that time.
pub fn watch(at: Timestamp, connection: ConnectionNumber) {
    let start = ENDS.with_borrow_mut(|ends| {
        ends.sockets.insert((at, connection));
        !std::mem::replace(&mut ends.ticking, true)
    });
    if start {
        actix_rt::spawn(tick());
    }
}

/// The socket is gone before its time.
pub fn forget(at: Timestamp, connection: ConnectionNumber) {
    ENDS.with_borrow_mut(|ends| ends.sockets.remove(&(at, connection)));
}

async fn tick() {
    loop {
        actix_rt::time::sleep(STEP).await;
        let now = SystemSource.now();
        let due: Vec<ConnectionNumber> = ENDS.with_borrow_mut(|ends| {
            let later = ends.sockets.split_off(&(now.plus_millis(1), 0));
            std::mem::replace(&mut ends.sockets, later).into_iter().map(|(_, connection)| connection).collect()
        });
        for connection in due {
            let close = Close::new(close::EXPIRED, "the credential has expired");
            with_connection(ConnectionId(connection), |outbound| outbound.close(close));
        }
    }
}
