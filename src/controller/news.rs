//! Events: told on a transition, never on every retry.
//!
//! Failing to emit one never fails a pass. The note carries ZITADEL's own words, which conditions must not.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

use super::context::Context;
use crate::api::condition::{ConditionType, find};
use crate::api::target::{Target, TargetStatus};
use crate::plan::{Note, NoteKind, Release};

/// Longest note of an Event (Kubernetes: 1 kB).
const LONGEST: usize = 1000;

/// Whether the outcome differs from the last recorded one in a way that is worth an Event.
#[must_use]
pub fn is_news(previous: &TargetStatus, next: &TargetStatus) -> bool {
    differs(&previous.conditions, &next.conditions)
}

/// Whether Ready says something else.
pub(super) fn differs(previous: &[Condition], next: &[Condition]) -> bool {
    let said = |conditions: &[Condition]| {
        let ready = find(conditions, ConditionType::Ready)?;
        Some((ready.status.clone(), ready.reason.clone(), ready.message.clone(), ready.observed_generation))
    };
    said(previous) != said(next)
}

/// Emits a note.
pub async fn tell(context: &Context, object: &Target, note: &Note) {
    let (kind, reason) = match note.kind {
        NoteKind::Created => (EventType::Normal, "Created"),
        NoteKind::Recovered => (EventType::Normal, "Recovered"),
        NoteKind::Adopted => (EventType::Normal, "Adopted"),
        NoteKind::Updated => (EventType::Normal, "Updated"),
        NoteKind::DriftCorrected => (EventType::Normal, "DriftCorrected"),
        NoteKind::Failed(reason) => (EventType::Warning, reason.as_str()),
    };
    publish(context, object, kind, reason, "Reconcile", &note.text).await;
}

/// Tells that an object was let go.
pub async fn tell_release(context: &Context, object: &Target, release: Release) {
    let id = object.status.as_ref().and_then(|status| status.id.clone()).unwrap_or_default();
    let (reason, text) = match release {
        Release::Deleted => ("Deleted", format!("the target {id} is deleted in ZITADEL")),
        Release::Retained => ("Retained", format!("the target {id} stays in ZITADEL (deletionPolicy Retain)")),
        Release::NothingRemote => return,
    };
    publish(context, object, EventType::Normal, reason, "Delete", &text).await;
}

/// Tells that a remote target was deleted by somebody else.
pub async fn tell_loss(context: &Context, object: &Target, id: &str) {
    let text = format!("the target {id} was deleted in ZITADEL by somebody else; creating it anew");
    publish(context, object, EventType::Warning, "ExternallyDeleted", "Reconcile", &text).await;
}

/// Tells what an object that went without being let go has left in ZITADEL.
pub async fn tell_left(context: &Context, object: &Target, text: &str) {
    publish(context, object, EventType::Warning, "LeftBehind", "Delete", text).await;
}

/// Warns of a name that may stay taken after its target is deleted.
pub async fn tell_name(context: &Context, object: &Target, name: &str) {
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
pub(super) async fn publish_on(
    context: &Context,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    action: &str,
    text: &str,
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(shorten(text)),
        action: action.to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder(type_).publish(&event, reference).await {
        tracing::debug!(%error, reason, "an Event was not emitted");
    }
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
