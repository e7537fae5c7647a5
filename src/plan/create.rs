//! Creating the remote target: the bound, the claim, the create, and what its refusal or its silence mean.
//!
//! The rules that carry the weight:
//! - A claim is written after the date of the newest event was read, in the same reconcile: what was there before can
//!   never be taken for what the claim announces.
//! - A create is sent only in the reconcile that wrote its claim; an open claim of an earlier one is settled (see
//!   [`super::settle`]) before anything else is begun.
//! - A claim is dropped only for a create that was provably refused, or for a name that somebody else provably has.

use jiff::Timestamp;

use super::facts::{Account, Connection, Facts};
use super::name_holder::Holder;
use super::settle::{Awaited, Recovery, Settlement, dead_at, request_dead_after};
use super::status::ASK_FIRST;
use super::{Object, Retry, Step, Verdict, names};
use crate::api::claim::{Claim, ClaimState};
use crate::api::reason::Reason;
use crate::zitadel::{TargetConfig, TargetId, TargetName};

/// No target and no claim: say what is about to happen, then do it.
pub(super) fn begin(
    object: &Object<'_>,
    replaces: Option<&TargetId>,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    if let Some(external) = object.external_id() {
        return Step::Finish(Verdict::no_such_target(&external));
    }
    // The claim of a refused create has just been dropped.
    if let Some(error) = &facts.create_failed {
        return match error.reason() {
            Reason::NameTaken => names::taken(object, &wanted.name, None, facts),
            _ => Step::Finish(Verdict::failed(error)),
        };
    }
    // Waiting for a taken name writes nothing. And without the event store a look-up alone tells what was there before.
    let unbounded = matches!(facts.bound, Some(Err(_)));
    if object.was(Reason::NameTaken) || unbounded {
        match &facts.looked_up {
            None => return Step::LookUp(wanted.name.clone()),
            Some(Ok(Some(_))) => return names::taken(object, &wanted.name, None, facts),
            Some(Err(error)) if unbounded => return Step::Finish(Verdict::failed(error)),
            Some(_) => {}
        }
    }
    let mut claim = Claim {
        instance: connection.instance.clone(),
        replaces: replaces.map(ToString::to_string),
        repairs: repairs(object, facts),
        object: Some(object.uid.to_owned()),
        ..Claim::new(wanted.name.as_str(), now)
    };
    claim.post(wanted.posted());
    with_bound(claim, facts)
}

/// Claims, once it is known how new the newest event is: what the create makes is newer than that. A database without
/// any event has shown nothing older.
fn with_bound(claim: Claim, facts: &Facts) -> Step {
    match &facts.bound {
        None => Step::Bound,
        Some(Ok(bound)) => {
            let known = bound.recent.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect());
            Step::Claim(Claim { after: Some(bound.newest), known, ..claim })
        }
        Some(Err(_)) => Step::Claim(claim),
    }
}

/// A ghost that this pass has deleted is being replaced; an ordinary create starts to count anew.
fn repairs(object: &Object<'_>, facts: &Facts) -> u32 {
    match object.claim {
        ClaimState::Held(claim) if facts.deleted.is_some() => claim.repairs.saturating_add(1),
        _ => u32::from(facts.deleted.is_some()),
    }
}

/// An open claim: either it is ours, of this pass, or it has to be settled.
pub(super) fn fulfil(
    object: &Object<'_>,
    claim: &Claim,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    let Ok(name) = claim.name.parse::<TargetName>() else { return Step::DropClaim };
    let recovery = Recovery { object, claim, name: &name, connection, facts, now };
    let wait = |awaited: &Awaited| Verdict::outcome_unknown(awaited, &recovery);
    match (&facts.create_failed, facts.claimed) {
        (None, true) => return Step::Create(wanted.clone()),
        (Some(error), true) if error.may_have_committed() => {
            let until = Awaited::Request(dead_at(claim, request_dead_after(connection)));
            return Step::Finish(Verdict { retry: Retry::After(ASK_FIRST), ..wait(&until) }.because(error));
        }
        // A create that met a taken name may have met itself, repeated by a proxy on the way, or its own predecessor: that
        // is settled below. But where others create with our account too, what it met may as well be theirs.
        (Some(error), true) => {
            let shared = connection.account == Account::Shared && claim.is_first();
            match error.reason() {
                Reason::NameTaken if !shared => {}
                // An earlier create under the claim may have been carried out all the same, and be hidden still.
                _ if !claim.is_first() => return Step::Finish(Verdict::failed(error)),
                _ => return Step::DropClaim,
            }
        }
        _ => {}
    }
    // A person may say whose the target is that cannot be told: then it is taken over by its id.
    let named =
        |awaited: &Awaited| matches!(awaited, Awaited::Holder(Some(id)) if object.external_id().as_ref() == Some(id));
    let rest = |awaited: Awaited| if named(&awaited) { Step::DropClaim } else { Step::Finish(wait(&awaited)) };
    let taken = facts.create_failed.is_some();
    match recovery.settle() {
        Settlement::Do(step) => step,
        Settlement::Ours(candidate) => Step::Commit(candidate),
        Settlement::NeedsAdoption(id) => Step::Finish(Verdict::needs_adoption(&id)),
        Settlement::Nothing if !taken && object.external_id().is_some() => Step::DropClaim,
        Settlement::Open(awaited @ Awaited::Request(_)) if !taken => rest(awaited),
        Settlement::Open(Awaited::Request(_)) | Settlement::Nothing => match recovery.holder() {
            Holder::Ask(step) => step,
            Holder::Foreign => Step::DropClaim,
            Holder::Unseen if taken => rest(Awaited::Holder(None)),
            // A create under another name would not meet this one: it must have been shown by then.
            Holder::Unseen if wanted.name != name && !recovery.is_old() => rest(Awaited::Request(recovery.shown_by())),
            Holder::Unseen => again(&recovery, wanted),
            Holder::Unproven(id) => rest(Awaited::Holder(Some(id))),
            Holder::Unknown(error) => Step::Finish(Verdict::failed(&error)),
        },
        Settlement::Open(awaited) => rest(awaited),
        Settlement::Unknown(error) => Step::Finish(Verdict::failed(&error)),
    }
}

/// Claims once more: the create was not carried out and cannot be any more. Another name has another history; the same
/// one keeps its beginning and what was posted, or a late answer would be missed.
fn again(recovery: &Recovery<'_>, wanted: &TargetConfig) -> Step {
    let Recovery { object, claim, now, .. } = recovery;
    let mut next = Claim {
        instance: recovery.connection.instance.clone(),
        replaces: object.id().map(|id| id.to_string()),
        repairs: claim.repairs,
        object: Some(object.uid.to_owned()),
        ..Claim::new(wanted.name.as_str(), *now)
    };
    if wanted.name != *recovery.name {
        next.post(wanted.posted());
        return with_bound(next, recovery.facts);
    }
    (next.since, next.after, next.known, next.posted) =
        (claim.since, claim.after, claim.known.clone(), claim.posted.clone());
    // A claim that does not list its payloads (of an older version, or too many) must not begin to exclude some.
    if !next.posted.is_empty() {
        next.post(wanted.posted());
    }
    Step::Claim(next)
}
