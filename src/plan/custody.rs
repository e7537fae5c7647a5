//! Whether the id in a status is one that the object can have come by, before anything is changed or deleted under it.
//!
//! Status is ours to write, and yet others may: a controller with too many rights, a restored backup. The claim on the
//! object tells when its target was created; `spec.externalId` says that a foreign one is meant. Where neither vouches
//! for the id, the event store is asked who created the target. What cannot be told: see docs/connections.md.

use jiff::Timestamp;

use super::facts::{Connection, Facts};
use super::settle::{CLOCK_MARGIN, beginning, dead_at, later, request_dead_after};
use super::{Object, Step, Verdict};
use crate::api::claim::{ClaimState, Posted};
use crate::zitadel::{TargetId, TargetName};

/// Who created a target, as the event store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name that was posted.
    pub name: String,
    /// When.
    pub date: Timestamp,
    /// Whether it was our own user.
    pub ours: bool,
    /// What was posted beside the name, where it is known.
    pub posted: Option<Posted>,
}

/// What to do before the target is changed or deleted; nothing, if it is vouched for. `created` is when it was created,
/// where that is known.
pub(super) fn vouch(
    object: &Object<'_>,
    id: &TargetId,
    created: Option<Timestamp>,
    connection: &Connection,
    facts: &Facts,
) -> Option<Step> {
    let recorded = object.status.creation_date.as_deref().and_then(|text| text.parse().ok());
    let known_here = facts.created || facts.recovered.is_some();
    let announced = created.or(recorded).is_some_and(|date| is_announced(object.claim, date, connection));
    if known_here || announced || object.external_id().as_ref() == Some(id) {
        return None;
    }
    match &facts.origin {
        None => Some(Step::Trace(id.clone())),
        Some(Ok(Some(origin))) if is_own(object.claim, origin, connection) => None,
        Some(Ok(Some(_))) => Some(Step::Finish(Verdict::untitled(id))),
        // What was never created cannot be harmed. But audit-log retention hides creations of targets that are there (run on
        // v2.58.7 and v4.13.1), and so an empty answer vouches for nothing that the read side shows.
        Some(Ok(None)) => match &facts.view {
            None => Some(Step::Read(id.clone())),
            Some(Ok(None)) => None,
            Some(Ok(Some(_))) => Some(Step::Finish(Verdict::untraceable(id))),
            Some(Err(error)) => Some(Step::Finish(Verdict::failed(error))),
        },
        // Where events may not be read, status has to be believed.
        Some(Err(error)) if error.is_lasting() => None,
        Some(Err(error)) => Some(Step::Finish(Verdict::failed(error))),
    }
}

/// Whether the object may have created it. Our account may have created it for another object, or elsewhere: a claim
/// tells under which name this one did. And the account may have been replaced since: then the claim alone speaks for
/// what its predecessor created.
fn is_own(claim: &ClaimState, origin: &Origin, connection: &Connection) -> bool {
    let ClaimState::Held(held) = claim else { return origin.ours };
    let named = held.name.parse::<TargetName>().is_ok_and(|name| name.same_as(&origin.name));
    named && (origin.ours || is_announced(claim, origin.date, connection))
}

/// Whether the claim announced a create at about this time.
fn is_announced(claim: &ClaimState, date: Timestamp, connection: &Connection) -> bool {
    let ClaimState::Held(claim) = claim else { return false };
    beginning(claim) < date && date <= later(dead_at(claim, request_dead_after(connection)), CLOCK_MARGIN)
}
