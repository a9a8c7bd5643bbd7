//! The built hub in a folder of its own, and clients that speak its wire.

mod client;
mod hub;
mod mirror;

pub use client::Client;
pub use hub::{Hub, HubOptions};
pub use mirror::Mirror;

/// Runs an async test on one thread.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(120);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(limit, test).await.expect("the test took longer than its limit") })
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
