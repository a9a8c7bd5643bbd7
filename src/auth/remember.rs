//! What was asked of the store a moment ago: bounded in number and in age.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

/// Answers that may be a little old.
pub struct Remember<K, V> {
    answers: DashMap<K, (Instant, V), ahash::RandomState>,
    age: Duration,
    most: usize,
    /// Rises with everything that is forgotten.
    forgotten: AtomicU64,
}

/// The moment before the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(u64);

impl<K: Eq + Hash, V: Clone> Remember<K, V> {
    pub fn new(age: Duration, most: usize) -> Self {
        Self { answers: DashMap::default(), age, most, forgotten: AtomicU64::new(0) }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.answers.get(key)?;
        (found.0.elapsed() < self.age).then(|| found.1.clone())
    }

    /// To be called before the store is asked.
    pub fn asking(&self) -> Asked {
        Asked(self.forgotten.load(Ordering::SeqCst))
    }

    /// Remembers an answer, unless something was forgotten since the store was `asked`: it may be older than that.
    pub fn put(&self, asked: Asked, key: K, value: V)
    where
        K: Clone,
    {
        if self.age.is_zero() {
            return;
        }
        if self.answers.len() >= self.most {
            self.answers.retain(|_, (since, _)| since.elapsed() < self.age);
            if self.answers.len() >= self.most {
                self.answers.clear();
            }
        }
        self.answers.insert(key.clone(), (Instant::now(), value));
        // Who forgets counts first and removes then: one of the two sees the other.
        if self.asking() != asked {
            self.answers.remove(&key);
        }
    }

    pub fn forget(&self, key: &K) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.answers.remove(key);
    }

    pub fn forget_where(&self, old: impl Fn(&K, &V) -> bool) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.answers.retain(|key, (_, value)| !old(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_bound_and_never_too_old() {
        let remember = Remember::new(Duration::from_secs(3600), 10);
        for n in 0..1000 {
            remember.put(remember.asking(), n, n);
            assert!(remember.answers.len() <= 10);
        }
        assert_eq!(remember.get(&999), Some(999));
        remember.forget(&999);
        assert_eq!(remember.get(&999), None);
        let none = Remember::new(Duration::ZERO, 10);
        none.put(none.asking(), 1, 1);
        assert_eq!(none.get(&1), None);
    }

    #[test]
    fn an_answer_from_before_something_was_forgotten_is_not_remembered() {
        let remember = Remember::new(Duration::from_secs(3600), 10);
        let asked = remember.asking();
        remember.forget(&1);
        remember.put(asked, 1, "old");
        assert_eq!(remember.get(&1), None);
        remember.put(remember.asking(), 1, "new");
        remember.put(remember.asking(), 2, "other");
        remember.forget_where(|key, _| *key == 1);
        assert_eq!((remember.get(&1), remember.get(&2)), (None, Some("other")));
    }
}
