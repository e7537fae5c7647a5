//! What the event store search leaves out, silently and with 200, of events that are there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::store::Stored;

/// Which of the stored events are found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// How many of the oldest are forgotten.
    pub(crate) forgotten: usize,
    /// How many there were when the newer ones were hidden from the search.
    pub(crate) searchable: Option<usize>,
    /// How many there were when the newer ones were hidden from the read side: at least as many as it has seen.
    pub(crate) projectable: Option<usize>,
    /// How old an event may be.
    pub(crate) retention: Option<Duration>,
}

impl Window {
    /// The events that the search looks at.
    pub(crate) fn searched<'a>(
        &self,
        events: &'a [Stored],
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'a Stored> + use<'a> {
        let end = self.searchable.unwrap_or(events.len()).min(events.len());
        let start = self.forgotten.min(end);
        let kept = self.retention.and_then(|age| now.checked_sub(SignedDuration::try_from(age).ok()?).ok());
        events[start..end].iter().filter(move |stored| kept.is_none_or(|kept| stored.event.creation_date > kept))
    }

    /// The events that the read side looks at.
    pub(crate) fn projected<'a>(&self, events: &'a [Stored]) -> &'a [Stored] {
        &events[..self.projectable.unwrap_or(events.len()).min(events.len())]
    }

    /// Everything that is there may be seen.
    pub(crate) fn open(&mut self) {
        (self.searchable, self.projectable) = (None, None);
    }
}
