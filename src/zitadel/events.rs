//! The event store, asked through `POST /admin/v1/events/_search`.
//!
//! Strongly consistent where lists and gets are projections: an acknowledged create is here at once, also one that
//! the read side will never show. Same shape on every generation (run on v2.58.7 and v4.13.1). Needs `events.read`,
//! which IAM_OWNER has.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::generation::{PAGE, Request};
use super::wire::{parse, target_id};
use super::{TargetId, TargetName};

/// What to look for in the event store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventQuery {
    /// Creations and removals of targets after this moment (exclusive), oldest first.
    Since(Timestamp),
    /// Everything that happened to targets after this moment (exclusive), oldest first.
    Story(Timestamp),
    /// The newest event of one target.
    Newest(TargetId),
    /// The creation of one target.
    Creation(TargetId),
    /// The newest event of all targets.
    Last,
}

/// One event of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEvent {
    /// Id of the target.
    pub id: TargetId,
    /// What happened.
    pub kind: EventKind,
    /// Position in the target's own history, from 1.
    pub sequence: u64,
    /// When, in the clock of ZITADEL's database.
    pub date: Timestamp,
    /// Id of the user who did it.
    pub editor: Option<String>,
    /// Id of the instance.
    pub owner: Option<String>,
}

/// The kinds of events that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// `target.added`, with the posted name.
    Added(String),
    /// `target.changed`.
    Changed,
    /// `target.removed`.
    Removed,
    /// One that this version does not know.
    Other,
}

/// A create that the event store knows and that has not been undone: a candidate for a lost answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Id that ZITADEL assigned.
    pub id: TargetId,
    /// Sequence of the creation.
    pub sequence: u64,
    /// When.
    pub date: Timestamp,
    /// Id of the instance.
    pub owner: Option<String>,
}

/// The creates under `name` by `user` that no removal follows, oldest first.
#[must_use]
pub fn surviving_creates(events: &[TargetEvent], name: &TargetName, user: &str) -> Vec<Added> {
    let removed = |id: &TargetId| events.iter().any(|event| event.id == *id && event.kind == EventKind::Removed);
    let ours = |event: &&TargetEvent| {
        let named = matches!(&event.kind, EventKind::Added(posted) if name.same_as(posted));
        named && event.editor.as_deref() == Some(user) && !removed(&event.id)
    };
    let added = |event: &TargetEvent| Added {
        id: event.id.clone(),
        sequence: event.sequence,
        date: event.date,
        owner: event.owner.clone(),
    };
    events.iter().filter(ours).map(added).collect()
}

pub(super) fn search(query: &EventQuery) -> Request {
    let body = match query {
        EventQuery::Since(from) => json!({
            "aggregateTypes": ["target"], "eventTypes": ["target.added", "target.removed"],
            "asc": true, "from": from.to_string(), "limit": PAGE,
        }),
        EventQuery::Story(from) => json!({
            "aggregateTypes": ["target"], "asc": true, "from": from.to_string(), "limit": PAGE,
        }),
        EventQuery::Creation(id) => json!({
            "aggregateTypes": ["target"], "eventTypes": ["target.added"], "aggregateId": id.as_str(), "limit": 1,
        }),
        EventQuery::Last => json!({"aggregateTypes": ["target"], "limit": 1}),
        EventQuery::Newest(id) => json!({"aggregateTypes": ["target"], "aggregateId": id.as_str(), "limit": 1}),
    };
    Request::new(Method::POST, "/admin/v1/events/_search").with_body(body)
}

impl EventQuery {
    /// The same question, from the last event of a full page on; `None` for one that has a single answer.
    pub(super) fn after(&self, last: Timestamp) -> Option<Self> {
        // One microsecond back: two events may carry the same date, and doubles do no harm.
        let from = last.checked_sub(SignedDuration::from_micros(1)).unwrap_or(last);
        match self {
            Self::Since(_) => Some(Self::Since(from)),
            Self::Story(_) => Some(Self::Story(from)),
            Self::Newest(_) | Self::Creation(_) | Self::Last => None,
        }
    }
}

pub(super) fn found(body: Value) -> Result<Vec<TargetEvent>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        events: Vec<EventOut>,
    }
    parse::<Out>(body)?.events.into_iter().map(EventOut::into_event).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventOut {
    #[serde(default)]
    editor: Editor,
    aggregate: Aggregate,
    sequence: String,
    creation_date: Timestamp,
    #[serde(default)]
    payload: Payload,
    r#type: TypeOut,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Editor {
    user_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Aggregate {
    id: String,
    resource_owner: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Payload {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TypeOut {
    r#type: String,
}

impl EventOut {
    fn into_event(self) -> Result<TargetEvent, String> {
        let kind = match self.r#type.r#type.as_str() {
            "target.added" => EventKind::Added(self.payload.name.unwrap_or_default()),
            "target.changed" => EventKind::Changed,
            "target.removed" => EventKind::Removed,
            _ => EventKind::Other,
        };
        Ok(TargetEvent {
            id: target_id(&self.aggregate.id)?,
            kind,
            sequence: self.sequence.parse().map_err(|_| "an event has no usable sequence".to_owned())?,
            date: self.creation_date,
            editor: self.editor.user_id,
            owner: self.aggregate.resource_owner,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, kind: EventKind, editor: &str) -> TargetEvent {
        let date = "2026-11-24T10:00:00Z".parse().unwrap();
        TargetEvent { id: id.parse().unwrap(), kind, sequence: 1, date, editor: Some(editor.into()), owner: None }
    }

    #[test]
    fn only_our_own_surviving_creates_of_the_name_count() {
        let events = [
            event("1", EventKind::Added("Hook".into()), "me"),
            event("1", EventKind::Removed, "somebody"),
            event("2", EventKind::Added("hook".into()), "somebody"),
            event("3", EventKind::Added("other".into()), "me"),
            event("4", EventKind::Added("HOOK".into()), "me"),
        ];
        let found = surviving_creates(&events, &"hook".parse().unwrap(), "me");
        assert_eq!(found.iter().map(|added| added.id.as_str()).collect::<Vec<_>>(), ["4"]);
    }

    #[test]
    fn an_empty_store_answers_an_empty_object() {
        assert_eq!(found(json!({})), Ok(vec![]));
    }
}
