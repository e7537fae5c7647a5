//! The Events of Targets, and the lines of the log that go with them: on a transition, never on every retry.

use std::time::Duration;

use kube::Resource;
use kube::runtime::events::EventType;
use tracing::{info, warn};

use crate::api::target::{Target, TargetStatus};
use crate::controller::runtime::events::differs;
use crate::controller::target::Guarded;
use crate::controller::target::context::Context;
use crate::ops::traces;
use crate::plan::{Deed, Note, NoteKind, Release};

/// Whether the outcome differs from the last recorded one in a way that is worth an Event.
#[must_use]
pub fn is_news(previous: &TargetStatus, next: &TargetStatus) -> bool {
    differs(&previous.conditions, &next.conditions)
}

/// Tells a note: a line in the log, and an Event.
pub fn publish_note(context: &Context, object: &Target, note: &Note, deed: Deed, took: Duration) {
    let (outcome, op) = (note.kind.reason(), deed.as_str());
    let (external_id, duration_ms) = (id_of(object), millis(took));
    let kind = if matches!(note.kind, NoteKind::Failed(_)) {
        warn!(outcome, op, external_id, duration_ms, note = note.text, "not ready");
        EventType::Warning
    } else {
        info!(outcome, op, external_id, duration_ms, note = note.text, "done");
        EventType::Normal
    };
    publish(context, object, kind, outcome, "Reconcile", &note.text);
}

/// Tells that an object was let go.
pub fn publish_release(context: &Context, object: &Target, release: Release, took: Duration) {
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
        publish(context, object, EventType::Normal, outcome, "Delete", &text);
    }
}

fn id_of(object: &Target) -> &str {
    object.status.as_ref().and_then(|status| status.id.as_deref()).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Tells that a remote target was deleted by somebody else.
pub fn publish_loss(context: &Context, object: &Target, id: &str) {
    let text = format!("the target {id} was deleted in ZITADEL by somebody else; creating it anew");
    publish(context, object, EventType::Warning, "ExternallyDeleted", "Reconcile", &text);
}

/// Tells what an object that went without being let go has left in ZITADEL.
pub fn publish_left_behind(context: &Context, object: &Target, text: &str) {
    // Each names something else that is left.
    context.events().warn_once(object.object_ref(&()), "LeftBehind", "Delete", text);
}

/// Warns that an object cannot be read as a Target; nothing is done for it until it changes.
pub fn publish_unreadable(context: &Context, object: &Guarded, error: &str) {
    let meta = object.meta();
    warn!(name = meta.name, namespace = meta.namespace, error, "unreadable Target");
    let text =
        format!("the object cannot be read as a Target, and nothing is done for it until it is changed: {error}");
    context.events().publish(object.object_ref(&()), EventType::Warning, "InvalidSpec", "Reconcile", &text);
}

/// Warns of a name that may stay taken after its target is deleted.
pub fn publish_name_warning(context: &Context, object: &Target, name: &str) {
    let text = format!(
        "the name {name:?} has capital letters beyond ASCII: on a ZITADEL database with the locale C it stays taken for ever \
         once its target is deleted or renamed; lower-case letters avoid that"
    );
    publish(context, object, EventType::Warning, "NameMayStayTaken", "Reconcile", &text);
}

fn publish(context: &Context, object: &Target, kind: EventType, reason: &str, action: &str, text: &str) {
    context.events().publish(object.object_ref(&()), kind, reason, action, text);
}
