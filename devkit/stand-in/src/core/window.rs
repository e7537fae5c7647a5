//! What the event store search leaves out, silently and with 200, of events that are there.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::store::Stored;

/// Which of the stored events are found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// How many of the oldest are forgotten.
    pub(crate) forgotten: usize,
    /// How many there were when the newer ones were hidden.
    pub(crate) hidden_from: Option<usize>,
    /// Whether the read side does not see the hidden ones either.
    pub(crate) hides_from_reads: bool,
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
        let end = self.end(events);
        let start = self.forgotten.min(end);
        let kept = self.retention.and_then(|age| now.checked_sub(SignedDuration::try_from(age).ok()?).ok());
        events[start..end].iter().filter(move |stored| kept.is_none_or(|kept| stored.event.creation_date > kept))
    }

    /// The events that the read side looks at.
    pub(crate) fn projected<'a>(&self, events: &'a [Stored]) -> &'a [Stored] {
        if self.hides_from_reads { &events[..self.end(events)] } else { events }
    }

    fn end(&self, events: &[Stored]) -> usize {
        self.hidden_from.unwrap_or(events.len()).min(events.len())
    }
}
