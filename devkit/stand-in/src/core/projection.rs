//! The read side: rows folded from events as they become visible. It trails the store by a settable lag and never
//! sees events that are marked as never to be projected.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::store::{Stored, Visibility};
use crate::{EventKind, PayloadType, TargetKind};

/// A target as reads show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: TargetKind,
    /// Unlike the write model's: the one of `target.added` counts here.
    pub(crate) interrupt_on_error: bool,
    pub(crate) timeout: i64,
    pub(crate) endpoint: String,
    pub(crate) payload_type: PayloadType,
    pub(crate) signing_key: String,
    pub(crate) sequence: u64,
    pub(crate) creation_date: Timestamp,
    pub(crate) change_date: Timestamp,
}

/// Rows in order of creation, up to the event that was seen last.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    rows: Vec<Row>,
    applied: usize,
    last_date: Option<Timestamp>,
    /// Shows nothing before.
    empty_until: Option<Instant>,
}

impl Projection {
    /// Built anew from the first event, which takes until the given time: empty, then whole at once.
    pub(crate) fn rebuilding(until: Instant) -> Self {
        Self { empty_until: Some(until), ..Self::default() }
    }

    /// Applies what has become visible by now.
    pub(crate) fn catch_up(&mut self, events: &[Stored], lag: Duration, now: Instant) {
        if self.empty_until.is_some_and(|until| now < until) {
            return;
        }
        for stored in &events[self.applied..] {
            if now.saturating_duration_since(stored.written) < lag {
                break;
            }
            self.applied += 1;
            self.last_date = Some(stored.event.creation_date);
            if stored.visibility == Visibility::Projected {
                self.apply(stored);
            }
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Date of the last event seen; the oldest one possible before the first.
    pub(crate) fn last_date(&self) -> Option<Timestamp> {
        self.last_date
    }

    fn apply(&mut self, stored: &Stored) {
        let (event, fields) = (&stored.event, &stored.fields);
        match event.kind {
            EventKind::Added => self.rows.push(Row {
                id: event.target_id.clone(),
                name: fields.name.clone().unwrap_or_default(),
                kind: fields.kind.unwrap_or(TargetKind::Webhook),
                interrupt_on_error: fields.interrupt_on_error.unwrap_or_default(),
                timeout: fields.timeout.unwrap_or_default(),
                endpoint: fields.endpoint.clone().unwrap_or_default(),
                payload_type: fields.payload_type.unwrap_or(PayloadType::UNSPECIFIED),
                signing_key: fields.signing_key.clone().unwrap_or_default(),
                sequence: event.sequence,
                creation_date: event.creation_date,
                change_date: event.creation_date,
            }),
            EventKind::Changed => {
                let Some(row) = self.rows.iter_mut().find(|row| row.id == event.target_id) else { return };
                row.name.clone_from(fields.name.as_ref().unwrap_or(&row.name.clone()));
                row.kind = fields.kind.unwrap_or(row.kind);
                row.interrupt_on_error = fields.interrupt_on_error.unwrap_or(row.interrupt_on_error);
                row.timeout = fields.timeout.unwrap_or(row.timeout);
                row.endpoint.clone_from(fields.endpoint.as_ref().unwrap_or(&row.endpoint.clone()));
                row.payload_type = fields.payload_type.unwrap_or(row.payload_type);
                row.signing_key.clone_from(fields.signing_key.as_ref().unwrap_or(&row.signing_key.clone()));
                row.sequence = event.sequence;
                row.change_date = event.creation_date;
            }
            EventKind::Removed => self.rows.retain(|row| row.id != event.target_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Clock;
    use crate::core::store::{EventStore, Fields};

    fn named(name: &str) -> Fields {
        Fields { name: Some(name.to_owned()), ..Fields::default() }
    }

    #[test]
    fn reads_trail_by_the_lag_and_keep_the_order() {
        let (mut store, mut clock, mut reads) = (EventStore::default(), Clock::default(), Projection::default());
        store.add(&mut clock, "u", "1", named("a"), Visibility::Projected).unwrap();
        let lag = Duration::from_mins(1);
        reads.catch_up(&store.events, lag, Instant::now());
        assert!(reads.rows().is_empty());
        reads.catch_up(&store.events, lag, Instant::now() + lag);
        assert_eq!(reads.rows().len(), 1);
        store.remove(&mut clock, "u", "1");
        reads.catch_up(&store.events, lag, Instant::now());
        assert_eq!(reads.rows().len(), 1, "a deleted target is still shown");
        reads.catch_up(&store.events, Duration::ZERO, Instant::now());
        assert!(reads.rows().is_empty());
    }

    #[test]
    fn a_rebuild_is_empty_until_it_is_done() {
        let (mut store, mut clock) = (EventStore::default(), Clock::default());
        store.add(&mut clock, "u", "1", named("a"), Visibility::Ghost).unwrap();
        store.project_ghosts();
        let until = Instant::now() + Duration::from_mins(1);
        let mut reads = Projection::rebuilding(until);
        reads.catch_up(&store.events, Duration::ZERO, Instant::now());
        assert!(reads.rows().is_empty() && reads.last_date().is_none());
        reads.catch_up(&store.events, Duration::ZERO, until);
        assert!(reads.row("1").is_some(), "a rebuild skips nothing");
    }

    #[test]
    fn a_ghost_is_never_shown_not_even_after_a_change() {
        let (mut store, mut clock, mut reads) = (EventStore::default(), Clock::default(), Projection::default());
        store.add(&mut clock, "u", "1", named("a"), Visibility::Ghost).unwrap();
        store.change(&mut clock, "u", "1", named("b")).unwrap();
        reads.catch_up(&store.events, Duration::ZERO, Instant::now());
        assert!(reads.row("1").is_none());
        assert!(store.existing("1").is_some());
    }
}
