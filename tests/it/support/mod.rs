//! The built hub in a folder of its own, and clients that speak its wire.

mod client;
mod counter;
mod hub;
#[path = "../../support/mock_http.rs"]
pub mod mock_http;
#[path = "../../support/peer.rs"]
pub mod peer;
#[path = "../../support/postgres.rs"]
pub mod postgres;
pub mod upstream;
mod watcher;

pub use client::Client;
pub use counter::Counter;
pub use hub::{Hub, HubOptions};
pub use watcher::{Picture, Watcher, assert_converged, text_of};

/// Runs an async test on one thread.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    run_for(120, test)
}

/// The same with a limit of its own, in seconds.
pub fn run_for<T>(limit: u64, test: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(limit);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(limit, test).await.expect("the test took longer than its limit")
    })
}
