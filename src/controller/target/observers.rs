//! The observer of each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::observer::Observer;
use crate::controller::connections::connection::{ConnectionKey, LiveConnection};

/// All of them.
#[derive(Debug, Default)]
pub struct Observers(Mutex<HashMap<ConnectionKey, Entry>>);

#[derive(Debug)]
struct Entry {
    /// What it observes; a connection that is built anew has another observer.
    live: Weak<LiveConnection>,
    observer: Arc<Observer>,
    /// Whether it runs.
    begun: bool,
}

impl Observers {
    /// The observer of a connection; one that does not run yet has seen nothing.
    pub fn of(&self, live: &Arc<LiveConnection>) -> Arc<Observer> {
        Arc::clone(&Self::entry(&mut self.all(), live).observer)
    }

    /// Whether the observer of a connection is to be run now: it does not run yet.
    pub fn begin(&self, live: &Arc<LiveConnection>) -> bool {
        !std::mem::replace(&mut Self::entry(&mut self.all(), live).begun, true)
    }

    /// Forgets those of connections that are gone.
    pub fn forget_gone(&self) {
        self.all().retain(|_, entry| entry.live.strong_count() > 0);
    }

    fn entry<'a>(all: &'a mut HashMap<ConnectionKey, Entry>, live: &Arc<LiveConnection>) -> &'a mut Entry {
        let new = || Entry { live: Arc::downgrade(live), observer: Arc::default(), begun: false };
        let entry = all.entry(live.key.clone()).or_insert_with(new);
        if !std::ptr::eq(entry.live.as_ptr(), Arc::as_ptr(live)) {
            *entry = new();
        }
        entry
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
