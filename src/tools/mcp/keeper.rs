//! Keeps one server connected: connects, lists its tools, waits for what ends that, and begins anew, each time later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::server::{Open, Server};
use super::{Fault, Link, wire};

/// Before the second try, and at most before any.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that held so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// Others' calls on a connection that is retired get this long to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// A server that is told to cancel gets a moment to hear it.
const LAST_WORDS: Duration = Duration::from_millis(250);

enum Ended {
    Closed,
    Retired,
    Stopped,
}

/// Runs until `stop`.
pub(super) async fn keep(server: Arc<Server>, stop: CancellationToken) {
    let mut wait = FIRST_WAIT;
    loop {
        let limit = server.settings.connect_time;
        let connected = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            connected = tokio::time::timeout(limit, connect(&server)) => connected,
        };
        match connected {
            Ok(Ok(open)) => {
                let since = Instant::now();
                match hold(&server, &open, &stop).await {
                    Ended::Stopped => return,
                    // Somebody may be waiting for the next call.
                    Ended::Retired => {
                        wait = FIRST_WAIT;
                        continue;
                    }
                    Ended::Closed => {}
                }
                tracing::warn!(server = server.name(), "the connection to an MCP server is gone");
                if since.elapsed() > GOOD {
                    wait = FIRST_WAIT;
                }
            }
            Ok(Err(why)) => tracing::warn!(server = server.name(), why, "an MCP server cannot be reached"),
            Err(_) => tracing::warn!(server = server.name(), "an MCP server does not answer in time"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn connect(server: &Server) -> Result<Open, String> {
    let link = wire::connect(&server.settings).await?;
    // Ended where this future is dropped, or fails, before the connection is of use.
    let unused = EndOnDrop(Some(link.clone()));
    server.put_offered(link.list().await.map_err(Fault::sentence)?);
    unused.keep();
    Ok(Open::new(link))
}

struct EndOnDrop(Option<Arc<dyn Link>>);

impl EndOnDrop {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            link.end();
        }
    }
}

/// Lets the connection be used until something ends that.
async fn hold(server: &Server, open: &Open, stop: &CancellationToken) -> Ended {
    server.put_open(Some(open.clone()));
    let link = &open.link;
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ended::Stopped,
            () = link.closed() => break Ended::Closed,
            () = server.retired() => break Ended::Retired,
            () = link.changed() => match link.list().await {
                Ok(listed) => server.put_offered(listed),
                Err(fault) => {
                    let why = fault.sentence();
                    tracing::warn!(server = server.name(), why, "an MCP server's tools cannot be listed again");
                }
            },
        }
    };
    server.put_open(None);
    match ended {
        Ended::Retired => drop(tokio::spawn(see_off(open.clone(), stop.clone()))),
        _ => link.end(),
    }
    ended
}

/// Ends a connection that nobody begins anything on any more.
async fn see_off(open: Open, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = async {
            tokio::time::sleep(LAST_WORDS).await;
            let _ = tokio::time::timeout(FAREWELL, open.idle()).await;
        } => {}
    }
    open.link.end();
}
