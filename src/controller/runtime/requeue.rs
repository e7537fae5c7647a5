//! Objects that are to be reconciled at once, whatever they were waiting for: a set in the order of asking, so that
//! asking twice costs nothing and nobody is overtaken.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, stream};
use tokio::sync::Notify;

/// The set.
#[derive(Debug)]
pub struct Requeue<T> {
    waiting: Mutex<Waiting<T>>,
    added: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    order: VecDeque<T>,
    members: HashSet<T>,
}

impl<T> Default for Requeue<T> {
    fn default() -> Self {
        let waiting = Waiting { order: VecDeque::new(), members: HashSet::new() };
        Self { waiting: Mutex::new(waiting), added: Notify::new() }
    }
}

impl<T: Clone + Eq + Hash> Requeue<T> {
    /// Asks for a reconcile.
    pub fn add(&self, object: T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.members.insert(object.clone()) {
            waiting.order.push_back(object);
            self.added.notify_one();
        }
    }

    fn take(&self) -> Option<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.order.pop_front()?;
        waiting.members.remove(&first);
        Some(first)
    }

    /// What is asked for, for ever. One stream takes from a set.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = T> {
        stream::unfold(self, |set| async move {
            loop {
                if let Some(first) = set.take() {
                    return Some((first, set));
                }
                set.added.notified().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn each_is_handed_out_once_in_the_order_of_asking() {
        let set = Arc::new(Requeue::default());
        for object in ["b", "a", "b", "c", "a"] {
            set.add(object);
        }
        let mut stream = Box::pin(Arc::clone(&set).stream());
        assert_eq!([stream.next().await, stream.next().await, stream.next().await], [Some("b"), Some("a"), Some("c")]);
        set.add("b");
        assert_eq!(stream.next().await, Some("b"));
        assert!(set.take().is_none());
    }
}
