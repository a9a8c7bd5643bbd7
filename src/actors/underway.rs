//! Requests under way, connection by connection: how many, and in which order they change what it hears. Most
//! connections only listen; one without a request takes no room here.

use std::cell::RefCell;
use std::rc::Rc;

use ahash::AHashMap;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::domain::hub::ConnectionNumber;

thread_local! {
    /// Of this worker's connections, those that have requests under way.
    static BUSY: RefCell<AHashMap<ConnectionNumber, Rc<Shared>>> = RefCell::default();
}

struct Shared {
    places: Semaphore,
    order: Mutex<()>,
}

/// A hold on what the requests of one connection share; it is forgotten with the last hold.
pub struct Underway {
    connection: ConnectionNumber,
    shared: Rc<Shared>,
}

impl Underway {
    /// Of a connection of this worker. `limit` requests have a place at once; the first hold decides.
    pub fn of(connection: ConnectionNumber, limit: usize) -> Self {
        let make = || Rc::new(Shared { places: Semaphore::new(limit), order: Mutex::new(()) });
        let shared = BUSY.with_borrow_mut(|busy| busy.entry(connection).or_insert_with(make).clone());
        Self { connection, shared }
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        self.shared.places.available_permits() == 0
    }

    /// Waits until a place is free, behind all who wait for one.
    pub async fn room(&self) {
        drop(self.shared.places.acquire().await);
    }

    /// A place, if one is free and nobody waits for it.
    pub fn try_enter(&self) -> Option<Entered> {
        self.shared.places.try_acquire().ok()?.forget();
        Some(Entered(self.again()))
    }

    /// A place, as soon as it is this one's turn.
    pub async fn enter(&self) -> Entered {
        // Nobody closes the semaphore.
        if let Ok(permit) = self.shared.places.acquire().await {
            permit.forget();
        }
        Entered(self.again())
    }

    /// The right to change what the connection hears: first come, first served.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.shared.order.lock().await
    }

    fn again(&self) -> Self {
        Self { connection: self.connection, shared: self.shared.clone() }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        // One is the table's and one is this; at the thread's end there is no table any more.
        if Rc::strong_count(&self.shared) == 2 {
            let _ = BUSY.try_with(|busy| {
                let Ok(mut busy) = busy.try_borrow_mut() else { return };
                busy.remove(&self.connection);
                if busy.is_empty() && busy.capacity() > 64 {
                    busy.shrink_to_fit();
                }
            });
        }
    }
}

/// A place among the requests under way, given back when it is dropped.
pub struct Entered(Underway);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.shared.places.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn busy() -> usize {
        BUSY.with_borrow(|busy| busy.len())
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[test]
    fn places_are_given_in_the_order_of_asking() {
        let (first, second, third) = (Underway::of(1, 1), Underway::of(1, 1), Underway::of(1, 1));
        let place = first.try_enter();
        assert!(place.is_some() && second.is_full() && second.try_enter().is_none());
        let (mut next, mut last) = (pin!(second.enter()), pin!(third.room()));
        assert!(poll(next.as_mut()).is_none() && poll(last.as_mut()).is_none());
        drop(place);
        assert!(first.try_enter().is_none(), "somebody waits for it");
        let place = poll(next.as_mut());
        assert!(place.is_some() && poll(last.as_mut()).is_none());
        drop(place);
        assert!(poll(last.as_mut()).is_some() && !first.is_full());
    }

    #[test]
    fn turns_come_one_after_the_other_and_nothing_is_left_behind() {
        let (first, second, other) = (Underway::of(7, 4), Underway::of(7, 4), Underway::of(8, 4));
        {
            let turn = poll(pin!(first.turn()));
            let mut next = pin!(second.turn());
            assert!(turn.is_some() && poll(next.as_mut()).is_none());
            assert!(poll(pin!(other.turn())).is_some(), "another connection's");
            drop(turn);
            assert!(poll(next.as_mut()).is_some());
        }
        let place = first.try_enter();
        assert_eq!(busy(), 2);
        drop((first, second, other));
        assert_eq!(busy(), 1, "a place is held still");
        drop(place);
        assert_eq!(busy(), 0);
    }
}
