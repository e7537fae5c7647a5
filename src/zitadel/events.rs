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
use crate::api::claim::{Posted, PostedKind};

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
    /// So many of the newest events of all targets, newest first.
    Recent(usize),
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
    /// `target.added`.
    Added(Posting),
    /// `target.changed`.
    Changed,
    /// `target.removed`.
    Removed,
    /// One that this version does not know.
    Other,
}

/// What a create posted, as `target.added` repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posting {
    /// The name.
    pub name: String,
    /// The rest; none where the server shows it in a way that this version does not know.
    pub rest: Option<Posted>,
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
    /// What was posted beside the name.
    pub posted: Option<Posted>,
}

/// The creates under `name` by `user` that no removal follows, oldest first.
#[must_use]
pub fn surviving_creates(events: &[TargetEvent], name: &TargetName, user: &str) -> Vec<Added> {
    let removed = |id: &TargetId| events.iter().any(|event| event.id == *id && event.kind == EventKind::Removed);
    let ours = |event: &&TargetEvent| {
        let named = matches!(&event.kind, EventKind::Added(posted) if name.same_as(&posted.name));
        named && event.editor.as_deref() == Some(user) && !removed(&event.id)
    };
    let added = |event: &TargetEvent| Added {
        id: event.id.clone(),
        sequence: event.sequence,
        date: event.date,
        owner: event.owner.clone(),
        posted: match &event.kind {
            EventKind::Added(posting) => posting.rest.clone(),
            EventKind::Changed | EventKind::Removed | EventKind::Other => None,
        },
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
        EventQuery::Recent(limit) => json!({"aggregateTypes": ["target"], "limit": limit}),
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
            Self::Newest(_) | Self::Creation(_) | Self::Last | Self::Recent(_) => None,
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

/// The payload of `target.added` (`AddedEvent` in internal/repository/target/target.go, v2.58 to v4.13).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    name: Option<String>,
    target_type: Option<u8>,
    endpoint: Option<String>,
    /// Nanoseconds.
    timeout: Option<u64>,
    #[serde(default)]
    interrupt_on_error: bool,
}

impl Payload {
    fn into_posting(self) -> Posting {
        Posting { rest: self.rest(), name: self.name.unwrap_or_default() }
    }

    fn rest(&self) -> Option<Posted> {
        let kind = match self.target_type.unwrap_or_default() {
            0 => PostedKind::RestWebhook,
            1 => PostedKind::RestCall,
            2 => PostedKind::RestAsync,
            _ => return None,
        };
        Some(Posted {
            kind,
            interrupt_on_error: self.interrupt_on_error && kind != PostedKind::RestAsync,
            timeout_nanos: self.timeout?,
            endpoint: self.endpoint.clone()?,
        })
    }
}

#[derive(Debug, Deserialize)]
struct TypeOut {
    r#type: String,
}

impl EventOut {
    fn into_event(self) -> Result<TargetEvent, String> {
        let kind = match self.r#type.r#type.as_str() {
            "target.added" => EventKind::Added(self.payload.into_posting()),
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

    fn added(name: &str) -> EventKind {
        EventKind::Added(Posting { name: name.into(), rest: None })
    }

    #[test]
    fn a_creation_repeats_what_was_posted() {
        // As v4.13.1 answers (docs/zitadel/observed.md section 13).
        let body = json!({"events": [{
            "editor": {"userId": "u"}, "aggregate": {"id": "7", "resourceOwner": "i"}, "sequence": "1",
            "creationDate": "2026-11-23T20:05:42.829514Z", "type": {"type": "target.added"},
            "payload": {"endpoint": "https://h/x", "interruptOnError": true, "name": "hook", "targetType": 1,
                "timeout": 500_000_000, "payloadType": 0},
        }]});
        let EventKind::Added(posting) = found(body).unwrap().remove(0).kind else { panic!("a creation") };
        assert_eq!(posting.name, "hook");
        assert_eq!(
            posting.rest,
            Some(Posted {
                kind: PostedKind::RestCall,
                interrupt_on_error: true,
                timeout_nanos: 500_000_000,
                endpoint: "https://h/x".into(),
            })
        );
    }

    #[test]
    fn only_our_own_surviving_creates_of_the_name_count() {
        let events = [
            event("1", added("Hook"), "me"),
            event("1", EventKind::Removed, "somebody"),
            event("2", added("hook"), "somebody"),
            event("3", added("other"), "me"),
            event("4", added("HOOK"), "me"),
        ];
        let found = surviving_creates(&events, &"hook".parse().unwrap(), "me");
        assert_eq!(found.iter().map(|added| added.id.as_str()).collect::<Vec<_>>(), ["4"]);
    }

    #[test]
    fn an_empty_store_answers_an_empty_object() {
        assert_eq!(found(json!({})), Ok(vec![]));
    }
}
