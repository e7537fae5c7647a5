//! The chronicle: sequences and owners of targets, followed in the event store.
//!
//! Reads of resources/v3alpha, v2beta and v2 carry no sequence. The event store does, and answers for all targets in
//! one call: whoever needs the sequence of one follows all events since the last time, and those who asked meanwhile
//! find theirs there. Where the credential may not read events every question fails, and everything else works.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::plan::facts::Newest;
use crate::zitadel::events::{EventKind, EventQuery, TargetEvent};
use crate::zitadel::{Client, Error, TargetId};

/// How much of the last reading is read once more; late events were seen up to 12 ms before the newest one.
const OVERLAP: SignedDuration = SignedDuration::from_secs(5);

/// What the event store has told so far of the targets of one instance.
#[derive(Debug, Default)]
pub(crate) struct EventFeed {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    instance: Option<String>,
    /// From here on all events are known.
    since: Option<Timestamp>,
    /// Date of the newest of them.
    until: Option<Timestamp>,
    /// When the newest question was asked: what happened before is known.
    asked: Option<Instant>,
    newest: HashMap<TargetId, Newest>,
}

impl EventFeed {
    /// The newest event of one target that was seen in the state of `changed`: that event, or a newer one; or an older
    /// one, where the event store hides what made this state.
    ///
    /// # Errors
    /// As [`Client::events`].
    pub(crate) async fn newest(
        &self,
        client: &Client,
        instance: Option<&str>,
        id: &TargetId,
        changed: Option<Timestamp>,
    ) -> Result<Option<Newest>, Error> {
        let wanted = Instant::now();
        let mut told = self.told.lock().await;
        told.belong_to(instance);
        if let Some(newest) = told.of(id, changed) {
            return Ok(Some(newest));
        }
        if told.asked.is_none_or(|asked| asked < wanted) {
            told.follow(client).await?;
            if let Some(newest) = told.of(id, changed) {
                return Ok(Some(newest));
            }
        }
        // Its newest event is older than where the chronicle begins; or its date is older than that of another one that
        // was committed before it, and so it was passed over.
        let events = client.events(&EventQuery::Newest(id.clone())).await?;
        told.take_in(&events);
        Ok(told.newest.get(id).cloned())
    }

    /// Reads all events since `from`, so that no target whose newest one is not older has to be asked about alone.
    /// Returns which of `states`, each the date of what a target was seen in, are known then: where the event store hides
    /// what made a state, asking about that target alone would tell no more.
    ///
    /// # Errors
    /// As [`Client::events`].
    pub(crate) async fn cover(
        &self,
        client: &Client,
        instance: Option<&str>,
        from: Timestamp,
        states: &HashMap<TargetId, Timestamp>,
    ) -> Result<HashSet<TargetId>, Error> {
        let mut told = self.told.lock().await;
        told.belong_to(instance);
        if told.since.is_none_or(|since| since > from) {
            told.read_from(client, from).await?;
        } else {
            told.follow(client).await?;
        }
        let known = |(id, changed): &(&TargetId, &Timestamp)| told.of(id, Some(**changed)).is_some();
        Ok(states.iter().filter(known).map(|(id, _)| id.clone()).collect())
    }
}

impl Told {
    /// What is known of a target that was seen in the state of `changed`, if that is at least as new.
    fn of(&self, id: &TargetId, changed: Option<Timestamp>) -> Option<Newest> {
        self.newest.get(id).filter(|known| changed.is_some_and(|changed| known.date >= changed)).cloned()
    }

    /// Forgets what was told of another instance.
    fn belong_to(&mut self, instance: Option<&str>) {
        if self.instance.as_deref() != instance {
            *self = Self { instance: instance.map(str::to_owned), ..Self::default() };
        }
    }

    async fn follow(&mut self, client: &Client) -> Result<(), Error> {
        match self.until.or_else(|| client.latest()) {
            Some(until) => self.read_from(client, until).await,
            // No event of any target is known: whatever there is came after the beginning of time.
            None => self.read_from(client, Timestamp::UNIX_EPOCH).await,
        }
    }

    /// Concurrent writes become visible out of order: on v4 a reader that goes on from the newest date it has seen loses
    /// about one in two hundred (docs/zitadel/observed.md section 14). So each reading begins a little before the last one ended.
    async fn read_from(&mut self, client: &Client, from: Timestamp) -> Result<(), Error> {
        let begun = Instant::now();
        let bound = from.checked_sub(OVERLAP).unwrap_or(from);
        let events = client.events(&EventQuery::Story(bound)).await?;
        self.since = Some(self.since.map_or(from, |since| since.min(from)));
        self.until =
            Some(events.iter().map(|event| event.date).fold(self.until.unwrap_or(from).max(from), Timestamp::max));
        self.asked = Some(begun);
        self.take_in(&events);
        Ok(())
    }

    fn take_in(&mut self, events: &[TargetEvent]) {
        for event in events {
            let newest = Newest { sequence: event.sequence, date: event.date, owner: event.owner.clone() };
            let known = self.newest.get(&event.id).is_some_and(|known| known.sequence > event.sequence);
            if event.kind == EventKind::Removed {
                self.newest.remove(&event.id);
            } else if !known {
                self.newest.insert(event.id.clone(), newest);
            }
        }
    }
}
