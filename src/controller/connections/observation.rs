//! Whether what a connection shows is observed: a list that keeps failing leaves changes in ZITADEL unseen.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::plan::known::Unobserved;
use crate::zitadel::Error;

/// From how many failed lists in a row on the connection says that it is not observed: one may be a restart of ZITADEL.
const UNOBSERVED: u32 = 2;

/// How the lists of one connection end.
#[derive(Debug, Default)]
pub struct Observation(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    /// When the last one came to its end, or there was nothing to list for; in our own clock.
    last: Option<Timestamp>,
    /// Those that failed since then.
    failures: u32,
    /// When the first of them failed, and how the newest one did.
    failure: Option<(Timestamp, Error)>,
}

impl Observation {
    /// When all objects were last listed, or there was nothing to list them for.
    #[must_use]
    pub fn last(&self) -> Option<Timestamp> {
        self.lists().last
    }

    /// Since when the list fails, if it does again and again.
    #[must_use]
    pub fn missing(&self) -> Option<Unobserved> {
        let lists = self.lists();
        let (first, error) = lists.failure.clone().filter(|_| lists.failures >= UNOBSERVED)?;
        Some(Unobserved { since: lists.last.unwrap_or(first), error })
    }

    /// Notes that a list came to its end, or that none is needed.
    pub fn succeeded(&self) {
        *self.lists() = Lists { last: Some(Timestamp::now()), failures: 0, failure: None };
    }

    /// Notes that a list failed.
    pub fn failed(&self, error: Error) {
        let mut lists = self.lists();
        let first = lists.failure.as_ref().map_or_else(Timestamp::now, |(first, _)| *first);
        lists.failure = Some((first, error));
        lists.failures = lists.failures.saturating_add(1);
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
