//! The built hub in a folder of its own, and clients that speak its wire.

mod client;
mod counter;
mod http;
mod hub;
mod identity;
#[path = "../../support/ledger.rs"]
mod ledger;
pub mod mcp;
mod mirror;
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
pub use http::{Answer, Http, Kept, streamed_text};
pub use hub::{Hub, HubOptions};
pub use identity::Identity;
pub use ledger::Ledger;
pub use mirror::Mirror;
pub use watcher::{Watcher, assert_converged, text_of};

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

/// Numbers that look random and are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to `sides` - 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Sends bytes on a connection of their own, and gives all that comes back until the other side ends it.
pub async fn exchange(address: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}
