//! Deletion of the object, in every state that its target can be in.

use jiff::Timestamp;

use super::adopt::forbidden;
use super::connection::is_hearsay;
use super::custody::vouch;
use super::facts::{Connection, Facts, Finalizer};
use super::name_holder::Holder;
use super::settle::{Awaited, Recovery, Settlement};
use super::{Crd, Object, Release, Step, Verdict, refusal};
use crate::api::claim::Claim;
use crate::zitadel::{TargetId, TargetName};

/// The way out: nothing of ours may stay behind, and nothing of others may be touched.
pub(super) fn delete(object: &Object<'_>, facts: &Facts, now: Timestamp) -> Step {
    if !object.finalized {
        return Step::Ignore;
    }
    if object.retained() {
        return Step::Release(Release::Retained);
    }
    if object.suspended() {
        return Step::Finish(Verdict::suspended("spec.suspend is true: deletion waits until it is false"));
    }
    match &facts.deleted {
        Some(Ok(())) => return Step::Release(Release::Deleted),
        Some(Err(error)) => return Step::Finish(Verdict::failed(error).while_deleting()),
        None => {}
    }
    let (claim, id) = (object.open_claim(), object.id());
    if claim.is_none() && id.is_none() {
        return Step::Release(Release::NothingRemote);
    }
    if object.crd == Crd::Unreadable {
        return Step::Finish(refusal::crd_unreadable());
    }
    if let Some(obstacle) = &facts.obstacle {
        return Step::Finish(Verdict::unconnected(obstacle).while_deleting());
    }
    let connection = match &facts.connection {
        None => return Step::Connect,
        Some(Err(error)) => return Step::Finish(Verdict::failed(error).while_deleting()),
        Some(Ok(connection)) => connection,
    };
    if id.is_some() && is_hearsay(object.status.connection.as_ref(), connection) {
        return Step::Finish(Verdict::hearsay().while_deleting());
    }
    let recorded = object.status.connection.as_ref().and_then(|recorded| recorded.instance.clone());
    let home = claim.map_or(recorded, |claim| claim.instance.clone());
    if home.is_some() && connection.instance.is_some() && home != connection.instance {
        return Step::Finish(Verdict::instance_changed().while_deleting());
    }
    // What this object made itself goes with it, whatever it asks for now.
    if id.is_some()
        && id == object.external_id()
        && let Some(obstacle) = forbidden(object, connection)
    {
        return Step::Finish(Verdict::unconnected(&obstacle).while_deleting());
    }
    match (claim, id) {
        (Some(claim), _) => abandon(object, claim, connection, facts, now),
        (None, Some(id)) => match vouch(object, &id, None, connection, facts) {
            Some(Step::Finish(verdict)) => Step::Finish(verdict.while_deleting()),
            Some(step) => step,
            None => delete_target(id, facts),
        },
        (None, None) => Step::Release(Release::NothingRemote),
    }
}

/// Nothing is deleted in ZITADEL for an object that could not go afterwards: it would say Ready of what is gone.
fn delete_target(id: TargetId, facts: &Facts) -> Step {
    match facts.finalizer {
        Finalizer::Unproven => Step::TryRelease,
        Finalizer::Removable => Step::Delete(id),
    }
}

/// Deletion while a create may have happened: find out, then delete what it made.
fn abandon(object: &Object<'_>, claim: &Claim, connection: &Connection, facts: &Facts, now: Timestamp) -> Step {
    let Ok(name) = claim.name.parse::<TargetName>() else { return Step::Release(Release::NothingRemote) };
    let recovery = Recovery { object, claim, name: &name, connection, facts, now };
    match recovery.settle() {
        Settlement::Do(step) => step,
        Settlement::Ours(candidate) => delete_target(candidate.id, facts),
        // What another object's create made, before this one was, stays.
        Settlement::NeedsAdoption(_) => Step::Release(Release::Retained),
        Settlement::Nothing => match recovery.holder() {
            Holder::Ask(step) => step,
            // An open transaction may hide the create from searches, and the projection may lag.
            Holder::Unseen if !recovery.is_old() => wait(&recovery, &Awaited::Request(recovery.shown_by())),
            Holder::Unseen | Holder::Foreign => Step::Release(Release::NothingRemote),
            Holder::Unproven(id) => wait(&recovery, &Awaited::Holder(Some(id))),
            Holder::Unknown(error) => Step::Finish(Verdict::failed(&error).while_deleting()),
        },
        Settlement::Open(awaited) => wait(&recovery, &awaited),
        Settlement::Unknown(error) => Step::Finish(Verdict::failed(&error).while_deleting()),
    }
}

fn wait(recovery: &Recovery<'_>, awaited: &Awaited) -> Step {
    Step::Finish(Verdict::outcome_unknown(awaited, recovery).while_deleting())
}
