//! One question, however many ask it at the same time.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

/// The answer on its way; nothing where the thread that asked is gone.
pub type Asked<V> = Shared<BoxFuture<'static, Option<V>>>;

/// What is being asked at the moment, by key.
pub struct Single<K, V: Clone>(Arc<DashMap<K, Asked<V>, ahash::RandomState>>);

impl<K, V> Single<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the question under way, or begins it as a task of this thread: it goes on when the asker has left.
    pub fn ask<F>(&self, key: K, begin: impl FnOnce() -> F) -> Asked<V>
    where
        F: Future<Output = V> + 'static,
    {
        let (tell, told) = oneshot::channel();
        let asked = told.map(Result::ok).boxed().shared();
        match self.0.entry(key.clone()) {
            // One that has been answered was left by a thread that ended.
            Entry::Occupied(found) if found.get().peek().is_none() => return found.get().clone(),
            Entry::Occupied(mut found) => drop(found.insert(asked.clone())),
            Entry::Vacant(place) => drop(place.insert(asked.clone())),
        }
        let (question, all) = (begin(), self.0.clone());
        actix_rt::spawn(async move {
            let answer = question.await;
            all.remove(&key);
            let _ = tell.send(answer);
        });
        asked
    }

    /// The question under way, if it is.
    pub fn under_way(&self, key: &K) -> Option<Asked<V>> {
        self.0.get(key).map(|asked| asked.clone())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[actix_web::test]
    async fn many_askers_are_one_question_and_later_ones_a_new_one() {
        let (single, asked) = (Single::<u8, u32>::new(), Rc::new(Cell::new(0)));
        let (open, gate) = oneshot::channel::<()>();
        let gate = gate.map(drop).boxed().shared();
        let question = || {
            asked.set(asked.get() + 1);
            let (gate, number) = (gate.clone(), asked.get());
            async move {
                gate.await;
                number
            }
        };
        let all: Vec<_> = (0..50).map(|_| single.ask(7, question)).collect();
        let other = single.ask(8, question);
        open.send(()).unwrap();
        for answer in all {
            assert_eq!(answer.await, Some(1));
        }
        assert_eq!(other.await, Some(2));
        assert_eq!(single.ask(7, question).await, Some(3));
        assert_eq!(single.len(), 0);
    }

    #[test]
    fn a_question_whose_thread_ended_is_asked_anew() {
        let single = Arc::new(Single::<u8, u32>::new());
        let (there, (give, left)) = (single.clone(), std::sync::mpsc::channel());
        let begun = std::thread::spawn(move || {
            let system = actix_rt::System::new();
            system.block_on(async move { give.send(there.ask(7, std::future::pending::<u32>)).unwrap() });
        });
        begun.join().unwrap();
        let left = left.recv().unwrap();
        actix_rt::System::new().block_on(async move {
            assert_eq!(left.await, None);
            assert_eq!(single.ask(7, || async { 5 }).await, Some(5));
        });
    }
}
