//! The event store, asked through `POST /admin/v1/events/_search`.
//!
//! Not a projection, as lists and gets are: an acknowledged create is here as soon as no older transaction is open (2.x),
//! also one that the read side will never show. Same shape on every generation (run on v2.58.7 and v4.13.1). Needs `events.read`,
//! which IAM_OWNER has.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::generation::{PAGE, Patience, Request};
use super::shape::{Body, Rows};
use super::wire::target_id;
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
    let patience = if query.is_needed() { Patience::Read } else { Patience::Optional };
    Request::new(Method::POST, "/admin/v1/events/_search").with_body(body).with_patience(patience)
}

/// What a full page has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Events that no page before it had.
    News,
    /// None of those.
    Repetition,
}

/// By how much pages overlap. Events are stored in the order of their positions and bounded by their dates, and the dates
/// of concurrent writes may be out of order by milliseconds (12 seen on v4, docs/zitadel/observed.md section 14).
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

impl EventQuery {
    /// Whether somebody has to know the answer before anything is written; the rest fills columns of status.
    pub(super) const fn is_needed(&self) -> bool {
        match self {
            Self::Since(_) | Self::Creation(_) => true,
            Self::Story(_) | Self::Newest(_) | Self::Last | Self::Recent(_) => false,
        }
    }

    /// The same question after a full page, whose newest event is of `last`; `None` for one that has a single answer,
    /// or when there is no way forward. A page that brought nothing new is passed without an overlap, or a second with
    /// more events than a page holds would be read for ever.
    pub(super) fn after(&self, last: Timestamp, progress: Progress) -> Option<Self> {
        let (Self::Since(from) | Self::Story(from)) = self else { return None };
        let next = match progress {
            Progress::News => last.checked_sub(OVERLAP).unwrap_or(last).max(*from),
            Progress::Repetition if last > *from => last,
            Progress::Repetition => return None,
        };
        Some(if matches!(self, Self::Since(_)) { Self::Since(next) } else { Self::Story(next) })
    }
}

pub(super) fn found(body: &Body) -> Result<Vec<TargetEvent>, String> {
    #[derive(Deserialize)]
    struct Out {
        #[serde(default)]
        events: Rows<EventOut>,
    }
    body.parse::<Out>()?.events.0.into_iter().map(EventOut::into_event).collect()
}

/// About what an event needs in memory.
pub(super) fn size_of_event(event: &TargetEvent) -> usize {
    let texts = match &event.kind {
        EventKind::Added(posting) => posting.name.len() + posting.rest.as_ref().map_or(0, |rest| rest.endpoint.len()),
        EventKind::Changed | EventKind::Removed | EventKind::Other => 0,
    };
    size_of::<TargetEvent>() + 2 * event.id.as_str().len() + texts
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
        let EventKind::Added(posting) = found(&body.into()).unwrap().remove(0).kind else { panic!("a creation") };
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

    /// 2500 events within half a second, by a store that shows a thousand: as ZITADEL does, from a date on, exclusively.
    #[test]
    fn a_burst_of_events_is_read_to_its_end_and_a_store_that_repeats_itself_is_left() {
        let begin: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let date = |number: i64| begin.checked_add(SignedDuration::from_micros(200 * number)).unwrap();
        let (mut query, mut read, mut calls) = (EventQuery::Story(begin), std::collections::BTreeSet::new(), 0);
        loop {
            let EventQuery::Story(from) = query else { panic!("another question") };
            let page: Vec<_> = (1..=2500).filter(|number| date(*number) > from).take(PAGE).collect();
            calls += 1;
            let before = read.len();
            let last = date(*page.last().unwrap());
            let full = page.len() == PAGE;
            read.extend(page);
            let progress = if read.len() > before { Progress::News } else { Progress::Repetition };
            match Some(()).filter(|()| full).and_then(|()| query.after(last, progress)) {
                Some(next) => query = next,
                None => break,
            }
        }
        assert_eq!((read.len(), calls), (2500, 5));
        assert_eq!(EventQuery::Since(begin).after(begin, Progress::Repetition), None);
    }

    #[test]
    fn an_empty_store_answers_an_empty_object() {
        assert_eq!(found(&json!({}).into()), Ok(vec![]));
    }
}
