//! Events, and the lines of the log that go with them: told on a transition, never on every retry.
//!
//! Failing to emit one never fails a pass. The note carries ZITADEL's own words, which conditions must not.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};

use tracing::{info, warn};

use crate::api::condition::{ConditionType, find};
use crate::api::target::{Target, TargetStatus};
use crate::controller::target::context::Context;
use crate::ops::traces;
use crate::plan::{Deed, Note, NoteKind, Release};

/// Longest note of an Event (Kubernetes: 1 kB).
const LONGEST: usize = 1000;

/// Whether the outcome differs from the last recorded one in a way that is worth an Event.
#[must_use]
pub fn is_news(previous: &TargetStatus, next: &TargetStatus) -> bool {
    differs(&previous.conditions, &next.conditions)
}

/// Whether Ready says something else, or Stalled says for the first time that it takes too long.
pub(crate) fn differs(previous: &[Condition], next: &[Condition]) -> bool {
    let said = |conditions: &[Condition]| {
        let ready = find(conditions, ConditionType::Ready)?;
        let stalled = find(conditions, ConditionType::Stalled).map(|stalled| stalled.reason.clone());
        Some((ready.status.clone(), ready.reason.clone(), ready.message.clone(), ready.observed_generation, stalled))
    };
    said(previous) != said(next)
}

/// Tells a note: a line in the log, and an Event.
pub async fn tell(context: &Context, object: &Target, note: &Note, deed: Deed, took: Duration) {
    let (outcome, op) = (note.kind.reason(), deed.as_str());
    let (external_id, duration_ms) = (id_of(object), millis(took));
    let kind = if matches!(note.kind, NoteKind::Failed(_)) {
        warn!(outcome, op, external_id, duration_ms, note = note.text, "not ready");
        EventType::Warning
    } else {
        info!(outcome, op, external_id, duration_ms, note = note.text, "done");
        EventType::Normal
    };
    publish(context, object, kind, outcome, "Reconcile", &note.text).await;
}

/// Tells that an object was let go.
pub async fn publish_release(context: &Context, object: &Target, release: Release, took: Duration) {
    let id = id_of(object);
    let (outcome, text) = match release {
        Release::Deleted => ("Deleted", format!("the target {id} is deleted in ZITADEL")),
        Release::Retained => ("Retained", format!("the target {id} stays in ZITADEL (deletionPolicy Retain)")),
        Release::NothingRemote => ("NothingRemote", "there is nothing in ZITADEL".to_owned()),
    };
    let op = Deed::from(release).as_str();
    traces::outcome(op, outcome);
    info!(outcome, op, external_id = id, duration_ms = millis(took), note = text, "let go");
    if release != Release::NothingRemote {
        publish(context, object, EventType::Normal, outcome, "Delete", &text).await;
    }
}

fn id_of(object: &Target) -> &str {
    object.status.as_ref().and_then(|status| status.id.as_deref()).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Tells that a remote target was deleted by somebody else.
pub async fn publish_loss(context: &Context, object: &Target, id: &str) {
    let text = format!("the target {id} was deleted in ZITADEL by somebody else; creating it anew");
    publish(context, object, EventType::Warning, "ExternallyDeleted", "Reconcile", &text).await;
}

/// Tells what an object that went without being let go has left in ZITADEL.
pub async fn publish_left_behind(context: &Context, object: &Target, text: &str) {
    // Each names something else that is left, so they are no series: a series keeps its first note.
    let recorder = context.recorder(EventType::Normal);
    let event = event(EventType::Warning, "LeftBehind", "Delete", text);
    emit(&recorder, &event, &object.object_ref(&())).await;
}

/// Warns of a name that may stay taken after its target is deleted.
pub async fn publish_name_warning(context: &Context, object: &Target, name: &str) {
    let text = format!(
        "the name {name:?} has capital letters beyond ASCII: on a ZITADEL database with the locale C it stays taken for ever \
         once its target is deleted or renamed; lower-case letters avoid that"
    );
    publish(context, object, EventType::Warning, "NameMayStayTaken", "Reconcile", &text).await;
}

async fn publish(context: &Context, object: &Target, type_: EventType, reason: &str, action: &str, text: &str) {
    let reference: ObjectReference = object.object_ref(&());
    publish_on(context, &reference, type_, reason, action, text).await;
}

/// Emits an Event on any object.
pub(crate) async fn publish_on(
    context: &Context,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    action: &str,
    text: &str,
) {
    emit(&context.recorder(type_), &event(type_, reason, action, text), reference).await;
}

fn event(type_: EventType, reason: &str, action: &str, text: &str) -> Event {
    Event { type_, reason: reason.to_owned(), note: Some(shorten(text)), action: action.to_owned(), secondary: None }
}

async fn emit(recorder: &Recorder, event: &Event, reference: &ObjectReference) {
    if let Err(error) = recorder.publish(event, reference).await {
        tracing::debug!(%error, reason = event.reason, "an Event was not emitted");
    }
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
