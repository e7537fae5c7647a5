//! Targets that wait for a name of another one.

use crate::api::names::TargetName;
use crate::api::target::Target;
use crate::controller::target::context::Context;
use crate::plan::ownership::Place;

/// Wakes the Targets that want this name, which `by` has just freed in ZITADEL: their next try may be minutes away. Also
/// those that do not say so yet, whose create or rename may be on its way back with "taken".
pub(crate) fn wake_waiting_for_name(context: &Context, by: &Target, name: &str) {
    let Ok(name) = name.parse::<TargetName>() else { return };
    let place = context.place(by);
    context.requeue(|target| {
        target.metadata.uid != by.metadata.uid
            && waits_for_name(target, &name)
            && Place::is_one(place.as_ref(), context.place(target).as_ref())
    });
}

/// Whether a Target wants this name and does not have it.
fn waits_for_name(target: &Target, name: &TargetName) -> bool {
    let held = target.status.as_ref().and_then(|status| status.name.as_deref());
    name.same_as(&wanted_name(target)) && !held.is_some_and(|held| name.same_as(held))
}

/// The name that a Target is to have in ZITADEL.
pub(crate) fn wanted_name(target: &Target) -> String {
    target.spec.name.clone().or_else(|| target.metadata.name.clone()).unwrap_or_default()
}
