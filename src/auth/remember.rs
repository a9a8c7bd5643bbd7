//! What was asked of the store a moment ago: bounded in number and in age.

use std::hash::Hash;
use std::time::{Duration, Instant};

use dashmap::DashMap;

/// Answers that may be a little old.
pub struct Remember<K, V> {
    answers: DashMap<K, (Instant, V), ahash::RandomState>,
    age: Duration,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Remember<K, V> {
    pub fn new(age: Duration, most: usize) -> Self {
        Self { answers: DashMap::default(), age, most }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.answers.get(key)?;
        (found.0.elapsed() < self.age).then(|| found.1.clone())
    }

    pub fn put(&self, key: K, value: V) {
        if self.age.is_zero() {
            return;
        }
        if self.answers.len() >= self.most {
            self.answers.retain(|_, (since, _)| since.elapsed() < self.age);
            if self.answers.len() >= self.most {
                self.answers.clear();
            }
        }
        self.answers.insert(key, (Instant::now(), value));
    }

    pub fn forget(&self, key: &K) {
        self.answers.remove(key);
    }

    pub fn forget_where(&self, old: impl Fn(&V) -> bool) {
        self.answers.retain(|_, (_, answer)| !old(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_bound_and_never_too_old() {
        let remember = Remember::new(Duration::from_secs(3600), 10);
        for n in 0..1000 {
            remember.put(n, n);
            assert!(remember.answers.len() <= 10);
        }
        assert_eq!(remember.get(&999), Some(999));
        remember.forget(&999);
        assert_eq!(remember.get(&999), None);
        let none = Remember::new(Duration::ZERO, 10);
        none.put(1, 1);
        assert_eq!(none.get(&1), None);
    }
}
