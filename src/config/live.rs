//! A value that one place replaces while everybody reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What counts now. Clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<Arc<T>>,
    version: AtomicU64,
}

impl<T> Live<T> {
    pub fn new(value: Arc<T>) -> Self {
        Self(Arc::new(Shared { value: RwLock::new(value), version: AtomicU64::new(0) }))
    }

    /// What counts now. It stays as it is for as long as it is held.
    pub fn get(&self) -> Arc<T> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rises with every change: who remembers what follows from a value asks this first.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    pub fn set(&self, value: Arc<T>) {
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        // After the value: who sees the new number finds the new value.
        self.0.version.fetch_add(1, Ordering::Release);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> From<Arc<T>> for Live<T> {
    fn from(value: Arc<T>) -> Self {
        Self::new(value)
    }
}
