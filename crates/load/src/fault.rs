//! The one error of this crate: a sentence that says what went wrong and where.
use std::fmt;

#[derive(Debug)]
pub struct Fault(String);

pub type Result<T> = std::result::Result<T, Fault>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// An error with this text.
pub fn fault<T>(text: impl Into<String>) -> Result<T> {
    Err(Fault(text.into()))
}

/// Says what was being done when an error came.
pub trait While<T> {
    fn doing(self, what: &str) -> Result<T>;
}

impl<T, E: fmt::Display> While<T> for std::result::Result<T, E> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|e| Fault(format!("{what}: {e}")))
    }
}
