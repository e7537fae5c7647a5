//! Taking over an existing target, which a user names by its id. It never ends in a create.

use super::connection::Obstacle;
use super::facts::{Adoption, Candidate, Connection, Facts};
use super::{Object, Step, Verdict};
use crate::zitadel::{Class, TargetId};

/// What stands between the object and the target that it names in `spec.externalId`. Also with managementPolicy Observe:
/// status would show what another namespace's target is called, and whether it equals a guess.
pub(super) fn forbidden(object: &Object<'_>, connection: &Connection) -> Option<Obstacle> {
    let asked = object.external_id().is_some() && connection.adoption == Adoption::NotAllowed;
    asked.then(|| Obstacle::NotAdopting(connection.reference.clone()))
}

/// `spec.externalId`: take over exactly this target, and never create one.
pub(super) fn adopt(object: &Object<'_>, id: &TargetId, connection: &Connection, facts: &Facts) -> Step {
    if let Some(rival) = object.rival {
        return Step::Finish(Verdict::contested(rival));
    }
    if !object.finalized && !object.observed_only() {
        return Step::Hold;
    }
    match (&facts.view, &facts.probed) {
        (None, _) => Step::Read(id.clone()),
        (Some(Ok(Some(remote))), _) => Step::Commit(Candidate {
            id: remote.id.clone(),
            name: remote.name.clone(),
            version: remote.version.clone(),
            created: remote.created,
            owner: remote.owner.clone(),
            posted: remote.as_if_posted(),
        }),
        (Some(Ok(None)), _) if object.observed_only() => Step::Finish(Verdict::unseen(id)),
        (Some(Ok(None)), None) => Step::Probe(id.clone()),
        (Some(Ok(None)), Some(Ok(_))) => Step::Finish(Verdict::ghost(connection)),
        (Some(Ok(None)), Some(Err(error))) if error.class() == Class::TargetGone => {
            Step::Finish(Verdict::no_such_target(id))
        }
        (Some(Err(error)), _) | (Some(Ok(None)), Some(Err(error))) => Step::Finish(Verdict::failed(error)),
    }
}
