//! The event store: the only truth. Events are appended under unique constraints; write models are folded from them
//! as ZITADEL folds them, with its bug.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::clock::Clock;
use crate::{Event, EventKind, PayloadType, Target, TargetKind};

/// The fields of an event that are set: all for an added target, the changed ones for a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<TargetKind>,
    pub(crate) interrupt_on_error: Option<bool>,
    /// Nanoseconds.
    pub(crate) timeout: Option<i64>,
    pub(crate) endpoint: Option<String>,
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) signing_key: Option<String>,
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the event store search shows it; the signing key is encrypted at rest.
    fn payload(&self) -> Value {
        let mut payload = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                payload.insert(key.to_owned(), value);
            }
        };
        put("name", self.name.clone().map(Value::from));
        put("targetType", self.kind.map(|kind| Value::from(kind as u8)));
        put("endpoint", self.endpoint.clone().map(Value::from));
        put("timeout", self.timeout.map(Value::from));
        put("interruptOnError", self.interrupt_on_error.map(Value::from));
        put("payloadType", self.payload_type.map(|payload_type| Value::from(payload_type.0)));
        let encrypted =
            |_| json!({"Algorithm": "aes", "Crypted": "c3RhbmQtaW4=", "CryptoType": 0, "KeyID": "targetKey"});
        put("signingKey", self.signing_key.as_ref().map(encrypted));
        Value::Object(payload)
    }
}

/// Whether the read side ever sees an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    Projected,
    /// Not by this projection, as if it had skipped it: a target whose first event is skipped is a ghost until an upgrade
    /// builds another projection.
    Ghost,
}

/// A stored event, with what only the stand-in knows about it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) event: Event,
    pub(crate) fields: Fields,
    /// When it was written, in real time: the projection lag counts from here.
    pub(crate) written: Instant,
    pub(crate) visibility: Visibility,
}

/// What a command knows of a target.
#[derive(Clone, Debug)]
pub(crate) struct WriteModel {
    pub(crate) name: String,
    pub(crate) kind: TargetKind,
    /// Not what the target was created with: the real write model ignores that of `target.added` (docs/zitadel/observed.md 0.4).
    pub(crate) interrupt_on_error: bool,
    /// What a settled read shows.
    pub(crate) shown_interrupt_on_error: bool,
    pub(crate) timeout: i64,
    pub(crate) endpoint: String,
    pub(crate) payload_type: PayloadType,
    pub(crate) removed: bool,
    /// Whether its first event is ever projected.
    pub(crate) visibility: Visibility,
    pub(crate) sequence: u64,
    pub(crate) creation_date: Timestamp,
    pub(crate) change_date: Timestamp,
    pub(crate) creator: String,
}

impl WriteModel {
    fn target(&self, id: &str) -> Target {
        Target {
            id: id.to_owned(),
            name: self.name.clone(),
            kind: self.kind,
            interrupt_on_error: self.shown_interrupt_on_error,
            timeout: Duration::from_nanos(u64::try_from(self.timeout).unwrap_or_default()),
            endpoint: self.endpoint.clone(),
            payload_type: self.payload_type,
            sequence: self.sequence,
            creation_date: self.creation_date,
            change_date: self.change_date,
            creator: self.creator.clone(),
            ghost: self.visibility == Visibility::Ghost,
        }
    }
}

/// A unique constraint stands in the way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NameTaken;

/// Events in order, the write model of each target, and the names in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventStore {
    pub(crate) events: Vec<Stored>,
    models: HashMap<String, WriteModel>,
    /// Lower-cased name to target id.
    names: HashMap<String, String>,
}

impl EventStore {
    pub(crate) fn model(&self, id: &str) -> Option<&WriteModel> {
        self.models.get(id)
    }

    /// The model of a target that exists.
    pub(crate) fn existing(&self, id: &str) -> Option<&WriteModel> {
        self.model(id).filter(|model| !model.removed)
    }

    /// The targets that exist, in order of creation.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let existing = self.models.iter().filter(|(_, model)| !model.removed);
        let mut targets: Vec<Target> = existing.map(|(id, model)| model.target(id)).collect();
        targets.sort_by_key(|target| target.creation_date);
        targets
    }

    pub(crate) fn add(
        &mut self,
        clock: &mut Clock,
        editor: &str,
        id: &str,
        fields: Fields,
        visibility: Visibility,
    ) -> Result<(), NameTaken> {
        let name = fields.name.clone().unwrap_or_default();
        self.claim(id, &name)?;
        let date = clock.event_date();
        let model = WriteModel {
            name,
            kind: fields.kind.unwrap_or(TargetKind::Webhook),
            interrupt_on_error: false,
            shown_interrupt_on_error: fields.interrupt_on_error.unwrap_or_default(),
            timeout: fields.timeout.unwrap_or_default(),
            endpoint: fields.endpoint.clone().unwrap_or_default(),
            payload_type: fields.payload_type.unwrap_or(PayloadType::UNSPECIFIED),
            removed: false,
            visibility,
            sequence: 0,
            creation_date: date,
            change_date: date,
            creator: editor.to_owned(),
        };
        self.models.insert(id.to_owned(), model);
        self.append(EventKind::Added, date, editor, id, fields, visibility);
        Ok(())
    }

    /// Callers made sure that the target exists.
    pub(crate) fn change(
        &mut self,
        clock: &mut Clock,
        editor: &str,
        id: &str,
        fields: Fields,
    ) -> Result<(), NameTaken> {
        if let Some(name) = &fields.name {
            self.claim(id, name)?;
        }
        let date = clock.event_date();
        let mut freed = None;
        if let Some(model) = self.models.get_mut(id) {
            if let Some(name) = &fields.name {
                freed =
                    Some(lower(&std::mem::replace(&mut model.name, name.clone()))).filter(|old| *old != lower(name));
            }
            model.kind = fields.kind.unwrap_or(model.kind);
            model.interrupt_on_error = fields.interrupt_on_error.unwrap_or(model.interrupt_on_error);
            model.shown_interrupt_on_error = fields.interrupt_on_error.unwrap_or(model.shown_interrupt_on_error);
            model.timeout = fields.timeout.unwrap_or(model.timeout);
            model.payload_type = fields.payload_type.unwrap_or(model.payload_type);
            if let Some(endpoint) = &fields.endpoint {
                model.endpoint.clone_from(endpoint);
            }
        }
        if let Some(name) = freed {
            self.names.remove(&name);
        }
        self.append(EventKind::Changed, date, editor, id, fields, Visibility::Projected);
        Ok(())
    }

    /// Callers made sure that the target exists.
    pub(crate) fn remove(&mut self, clock: &mut Clock, editor: &str, id: &str) {
        let date = clock.event_date();
        if let Some(model) = self.models.get_mut(id) {
            model.removed = true;
            self.names.remove(&lower(&model.name));
        }
        self.append(EventKind::Removed, date, editor, id, Fields::default(), Visibility::Projected);
    }

    /// The next projection sees every event, also those that the last one skipped.
    pub(crate) fn project_ghosts(&mut self) {
        self.events.iter_mut().for_each(|stored| stored.visibility = Visibility::Projected);
        self.models.values_mut().for_each(|model| model.visibility = Visibility::Projected);
    }

    fn claim(&mut self, id: &str, name: &str) -> Result<(), NameTaken> {
        match self.names.get(&lower(name)) {
            Some(holder) if holder != id => Err(NameTaken),
            _ => {
                self.names.insert(lower(name), id.to_owned());
                Ok(())
            }
        }
    }

    fn append(
        &mut self,
        kind: EventKind,
        date: Timestamp,
        editor: &str,
        id: &str,
        fields: Fields,
        visibility: Visibility,
    ) {
        let mut sequence = 1;
        if let Some(model) = self.models.get_mut(id) {
            model.sequence += 1;
            model.change_date = date;
            sequence = model.sequence;
        }
        let payload = fields.payload();
        let event =
            Event { target_id: id.to_owned(), sequence, kind, creation_date: date, editor: editor.to_owned(), payload };
        self.events.push(Stored { event, fields, written: Instant::now(), visibility });
    }
}

/// Names are unique when lower-cased as Go does it: the simple mapping, character by character.
fn lower(name: &str) -> String {
    name.chars().map(|character| character.to_lowercase().next().unwrap_or(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Fields {
        Fields { name: Some(name.to_owned()), ..Fields::default() }
    }

    #[test]
    fn names_are_unique_whatever_their_case_and_freed_by_removal() {
        let (mut store, mut clock) = (EventStore::default(), Clock::default());
        store.add(&mut clock, "u", "1", named("Über"), Visibility::Projected).unwrap();
        assert_eq!(store.add(&mut clock, "u", "2", named("über"), Visibility::Projected), Err(NameTaken));
        store.change(&mut clock, "u", "1", named("ÜBER")).unwrap();
        store.change(&mut clock, "u", "1", named("other")).unwrap();
        store.add(&mut clock, "u", "2", named("über"), Visibility::Projected).unwrap();
        store.remove(&mut clock, "u", "2");
        store.add(&mut clock, "u", "3", named("über"), Visibility::Projected).unwrap();
        assert_eq!(store.existing("1").unwrap().sequence, 3);
        assert!(store.existing("2").is_none());
    }

    #[test]
    fn dates_grow_and_sequences_count_per_target() {
        let (mut store, mut clock) = (EventStore::default(), Clock::default());
        store.add(&mut clock, "u", "1", named("a"), Visibility::Projected).unwrap();
        store.add(&mut clock, "u", "2", named("b"), Visibility::Projected).unwrap();
        store.remove(&mut clock, "u", "1");
        let events: Vec<_> = store.events.iter().map(|stored| &stored.event).collect();
        assert!(events.windows(2).all(|pair| pair[0].creation_date < pair[1].creation_date));
        assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 1, 2]);
    }
}
