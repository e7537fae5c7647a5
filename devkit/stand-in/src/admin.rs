//! The calls outside the Actions API that an operator needs: event store search, own user, own instance. Their shapes
//! are the same on v2.58.7 and v4.13.1 (docs/zitadel/observed.md sections 1 and 13).

use serde_json::{Map, Value, json};

use crate::EventKind;
use crate::core::store::Stored;
use crate::core::users::Caller;
use crate::generation::Invocation;
use crate::wire::error::{ApiError, Code};
use crate::wire::format::timestamp;
use crate::wire::proto::{Decoded, Field, Kind, Message};
use crate::world::State;

const RANGE: Message = Message {
    full_name: "zitadel.admin.v1.ListEventsRequest.creation_date_range",
    fields: &[Field::new("since", "since", Kind::Timestamp), Field::new("until", "until", Kind::Timestamp)],
};

/// The request of the event store search.
pub(crate) static SEARCH_EVENTS: Message = Message {
    full_name: "zitadel.admin.v1.ListEventsRequest",
    fields: &[
        Field::new("sequence", "sequence", Kind::Uint64),
        Field::new("limit", "limit", Kind::Uint32),
        Field::new("asc", "asc", Kind::Bool),
        Field::new("editorUserId", "editor_user_id", Kind::String),
        Field::new("eventTypes", "event_types", Kind::String).repeated(),
        Field::new("aggregateId", "aggregate_id", Kind::String),
        Field::new("aggregateTypes", "aggregate_types", Kind::String).repeated(),
        Field::new("resourceOwner", "resource_owner", Kind::String),
        Field::new("from", "from", Kind::Timestamp).oneof("creation_date_filter"),
        Field::new("range", "range", Kind::Message(&RANGE)).oneof("creation_date_filter"),
        Field::new("creationDate", "creation_date", Kind::Timestamp),
    ],
};

/// The page size when none is given, and the most there is per answer.
const MAX_EVENTS: usize = 1000;

fn type_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "target.added",
        EventKind::Changed => "target.changed",
        EventKind::Removed => "target.removed",
    }
}

/// Reads the event store, not a projection: strongly consistent, ghosts included, but for what the window leaves out.
pub(crate) fn events(state: &State, call: &Invocation<'_>) -> Value {
    let fits = |stored: &&Stored| wanted(call.body, stored, &call.world.instance_id);
    let limit = match usize::try_from(call.body.uint("limit")).unwrap_or(MAX_EVENTS) {
        0 => MAX_EVENTS,
        limit => limit.min(MAX_EVENTS),
    };
    let show = |stored: &Stored| event(stored, call);
    let found = state.window.searched(&state.store.events, state.clock.now()).filter(fits);
    let page: Vec<Value> = if call.body.bool("asc") {
        found.take(limit).map(show).collect()
    } else {
        found.rev().take(limit).map(show).collect()
    };
    if page.is_empty() { json!({}) } else { json!({ "events": page }) }
}

fn wanted(body: &Decoded, stored: &Stored, instance: &str) -> bool {
    let event = &stored.event;
    let listed = |name: &str, value: &str| {
        let wanted = body.strings(name);
        wanted.is_empty() || wanted.contains(&value)
    };
    let same = |name: &str, value: &str| body.string(name).is_none_or(|wanted| wanted.is_empty() || wanted == value);
    // Exclusive on both sides; `from` is the lower bound when ascending, else the upper one; a range overrides it
    // (internal/api/grpc/admin/event.go).
    let from = body.timestamp("from").or_else(|| body.timestamp("creationDate"));
    let (after, before) = match (body.message("range"), body.bool("asc")) {
        (Some(range), _) => (range.timestamp("since"), range.timestamp("until")),
        (None, true) => (from, None),
        (None, false) => (None, from),
    };
    listed("aggregateTypes", "target")
        && listed("eventTypes", type_name(event.kind))
        && same("aggregateId", &event.target_id)
        && same("editorUserId", &event.editor)
        && same("resourceOwner", instance)
        && after.is_none_or(|after| event.creation_date > after)
        && before.is_none_or(|before| event.creation_date < before)
        && event.sequence > body.uint("sequence")
}

fn event(stored: &Stored, call: &Invocation<'_>) -> Value {
    let event = &stored.event;
    let kind = type_name(event.kind);
    let localized = |key: String| json!({ "key": key, "localizedMessage": key });
    let mut shown = Map::new();
    shown.insert(
        "editor".to_owned(),
        json!({ "userId": event.editor, "displayName": event.editor, "service": "zitadel" }),
    );
    shown.insert(
        "aggregate".to_owned(),
        json!({
            "id": event.target_id,
            "type": { "type": "target", "localized": localized("AggregateTypes.target".to_owned()) },
            "resourceOwner": call.world.instance_id,
        }),
    );
    shown.insert("sequence".to_owned(), json!(event.sequence.to_string()));
    shown.insert("creationDate".to_owned(), json!(timestamp(event.creation_date)));
    shown.insert("payload".to_owned(), event.payload.clone());
    shown.insert("type".to_owned(), json!({ "type": kind, "localized": localized(format!("EventTypes.{kind}")) }));
    Value::Object(shown)
}

/// The user behind the token; only what an operator reads of it. System users are in no projection.
pub(crate) fn my_user(call: &Invocation<'_>, caller: &Caller) -> Result<Value, ApiError> {
    if caller.is_system_user() {
        return Err(ApiError::zitadel(Code::NotFound, "QUERY-Dfbg2", "User could not be found"));
    }
    let user = json!({ "user": { "id": call.user, "state": "USER_STATE_ACTIVE", "userName": call.user, "machine": { "name": call.user } } });
    Ok(user)
}

/// The instance behind the host. The sequences are those of a fresh server, observed.
pub(crate) fn my_instance(call: &Invocation<'_>, version: &str) -> Value {
    let world = call.world;
    let details = |sequence: &str| {
        json!({
            "sequence": sequence,
            "creationDate": timestamp(world.created),
            "changeDate": timestamp(world.created),
            "resourceOwner": world.instance_id,
        })
    };
    json!({ "instance": {
        "id": world.instance_id,
        "details": details("29"),
        "state": "STATE_RUNNING",
        "name": "ZITADEL",
        "version": version,
        "domains": [
            { "details": details("33"), "domain": world.generated_domain, "generated": true },
            { "details": details("33"), "domain": world.domain, "primary": true },
        ],
    } })
}
