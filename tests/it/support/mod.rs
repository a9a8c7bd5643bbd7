//! The built hub in a folder of its own, and clients that speak its wire.

mod client;
mod hub;
#[path = "../../support/mock_http.rs"]
pub mod mock_http;
#[path = "../../support/peer.rs"]
pub mod peer;
pub mod upstream;

pub use client::Client;
pub use hub::{Hub, HubOptions};

/// Runs an async test on one thread.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(120);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(limit, test).await.expect("the test took longer than its limit")
    })
}
