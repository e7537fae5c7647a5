//! The lifecycle of one Target: claim, create, commit, recover, keep equal, delete.
//!
//! [`plan`] reads like the protocol (design, section 4). The rules that carry the weight:
//! - A create is sent only in the pass that wrote its claim, and a claim is written conditionally on
//!   resourceVersion: two replicas, or two lives of one, never send the same create twice.
//! - An open claim of an earlier pass is settled (see [`super::settle`]) before anything else is begun.
//! - A read-side "not found" is a suspicion; only the write side's empty update proves that a target is gone.
//! - Ready=True is said only of what a create answered or what was read back, never of what was merely sent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::difference::{fields, next_edit};
use super::facts::{Connection, Facts};
use super::settle::{Settlement, outcome_unknown, settle};
use super::{Note, NoteKind, Object, Release, RemoteFacts, Step, Verdict, spec};
use crate::api::claim::Claim;
use crate::api::reason::Reason;
use crate::zitadel::{Class, RemoteTarget, TargetConfig, TargetId, TargetName, Version};

/// How long a target may be missing on the read side before that is reported (projection lag is milliseconds, a
/// rebuild after an upgrade can take a minute).
pub const GHOST_GRACE: SignedDuration = SignedDuration::from_mins(2);
/// How soon a create without an answer is asked about for the first time: mostly only the answer was lost.
const ASK_FIRST: Duration = Duration::from_secs(1);
/// Pauses before a read is repeated within a pass, in milliseconds; the lag seen on real servers is 15 to 500 ms.
const READ_BACK: [u64; 6] = [20, 50, 100, 250, 500, 1000];

/// The next step. `now` is in the server's clock.
#[must_use]
pub fn plan(object: &Object<'_>, facts: &Facts, now: Timestamp) -> Step {
    if object.deleting {
        return delete(object, facts, now);
    }
    if object.suspended() {
        return Step::Finish(Verdict::suspended("spec.suspend is true: ZITADEL is not called for this object"));
    }
    let wanted = match spec::config(object.spec, object.name) {
        Ok(wanted) => wanted,
        Err(invalid) => return Step::Finish(Verdict::invalid(&format!("spec.{invalid}"))),
    };
    let connection = match &facts.connection {
        None => return Step::Connect,
        Some(Err(error)) => return Step::Finish(Verdict::failed(error)),
        Some(Ok(connection)) => connection,
    };
    if let Some(refusal) = refuse(object, &wanted, connection) {
        return Step::Finish(refusal);
    }
    match (object.open_claim(), object.id()) {
        (Some(claim), _) => fulfil(object, claim, &wanted, connection, facts, now),
        (None, Some(id)) => keep(object, &id, &wanted, connection, facts, now),
        (None, None) => begin(object, None, &wanted, connection, facts, now),
    }
}

/// What can be said without a call.
fn refuse(object: &Object<'_>, wanted: &TargetConfig, connection: &Connection) -> Option<Verdict> {
    if let Some(longest) = connection.api.longest_timeout()
        && wanted.timeout.duration() > Duration::from_secs(longest)
    {
        let text = format!("spec.timeout must be at most {longest}s for the {} API of this server", connection.api);
        return Some(Verdict::invalid(&text));
    }
    let recorded = object.status.connection.as_ref().and_then(|recorded| recorded.instance.as_deref());
    let claimed = object.open_claim().and_then(|claim| claim.instance.as_deref());
    let elsewhere = |known: Option<&str>| match (known, connection.instance.as_deref()) {
        (Some(known), Some(current)) => known != current,
        _ => false,
    };
    ((object.id().is_some() && elsewhere(recorded)) || elsewhere(claimed)).then(Verdict::instance_changed)
}

/// No target and no claim: say what is about to happen, then do it.
fn begin(
    object: &Object<'_>,
    replaces: Option<&TargetId>,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    // The claim of a refused create has just been dropped.
    if let Some(error) = &facts.create_failed {
        return Step::Finish(Verdict::failed(error));
    }
    if object.was_taken() {
        // A taken name is looked up before it is claimed again, so that waiting for it writes nothing.
        match &facts.looked_up {
            None => return Step::LookUp(wanted.name.clone()),
            Some(Ok(Some(_))) => return Step::Finish(Verdict::name_taken()),
            Some(_) => {}
        }
    }
    Step::Claim(Claim {
        name: wanted.name.to_string(),
        instance: connection.instance.clone(),
        since: now,
        time: now,
        replaces: replaces.map(ToString::to_string),
    })
}

/// An open claim: either it is ours, of this pass, or it has to be settled.
fn fulfil(
    object: &Object<'_>,
    claim: &Claim,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    let Ok(name) = claim.name.parse::<TargetName>() else { return Step::DropClaim };
    match (&facts.create_failed, facts.claimed) {
        (None, true) => return Step::Create(wanted.clone()),
        (Some(error), true) if error.may_have_committed() => {
            return Step::Finish(outcome_unknown(ASK_FIRST).because(error));
        }
        // A first create that met a taken name met somebody else's target. A repeated one may have met its own
        // predecessor, and is settled below.
        (Some(error), true) if error.reason() != Reason::NameTaken || claim.since == claim.time => {
            return Step::DropClaim;
        }
        _ => {}
    }
    match settle(claim, &name, connection, facts, now) {
        Settlement::Do(step) => step,
        Settlement::Ours(candidate) => Step::Commit(candidate),
        Settlement::Nothing | Settlement::Open(_) if facts.create_failed.is_some() && facts.searched_well() => {
            Step::DropClaim
        }
        Settlement::Nothing => Step::Claim(Claim {
            name: wanted.name.to_string(),
            instance: connection.instance.clone(),
            // Another name has another history; the same one keeps its start, or a late answer would be missed.
            since: if wanted.name == name { claim.since } else { now },
            time: now,
            replaces: object.id().map(|id| id.to_string()),
        }),
        Settlement::Open(rest) => Step::Finish(outcome_unknown(rest)),
        Settlement::Unknown(error) => Step::Finish(Verdict::failed(&error)),
    }
}

/// A known target: read, compare, change, read back.
fn keep(
    object: &Object<'_>,
    id: &TargetId,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    if !object.finalized {
        return Step::Hold;
    }
    if let Some(error) = &facts.update_failed {
        return match error.class() {
            Class::TargetGone => begin(object, Some(id), wanted, connection, facts, now),
            _ => Step::Finish(Verdict::failed(error)),
        };
    }
    match &facts.view {
        None => Step::Read(id.clone()),
        Some(Err(error)) => Step::Finish(Verdict::failed(error)),
        Some(Ok(None)) => missing(object, id, wanted, connection, facts, now),
        Some(Ok(Some(remote))) if remote.version.is_before(&known_version(object, facts)) => lagging(object, facts),
        Some(Ok(Some(remote))) => match next_edit(wanted, remote, facts.raised) {
            None => in_sync(object, remote, wanted, connection, facts),
            Some(_) if facts.changes.len() > 4 => Step::Finish(Verdict::verifying()),
            Some(edit) => Step::Update { id: id.clone(), change: edit.change, raise: edit.raise },
        },
    }
}

/// The newest state that is certain to exist: reads of an older one prove nothing.
fn known_version(object: &Object<'_>, facts: &Facts) -> Version {
    facts.written.clone().unwrap_or_else(|| Version {
        sequence: object.status.sequence.as_deref().and_then(|text| text.parse().ok()),
        changed: object.status.change_date.as_deref().and_then(|text| text.parse().ok()),
    })
}

/// The read side shows an older state than the one we wrote.
fn lagging(object: &Object<'_>, facts: &Facts) -> Step {
    match READ_BACK.get(facts.waits as usize) {
        Some(pause) => Step::Wait(Duration::from_millis(*pause)),
        None if facts.changes.is_empty() && object.ready_now() => Step::Finish(Verdict::unchanged(object)),
        None => Step::Finish(Verdict::verifying()),
    }
}

/// The read side does not show the target at all.
fn missing(
    object: &Object<'_>,
    id: &TargetId,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    match &facts.probed {
        None => Step::Probe(id.clone()),
        Some(Err(error)) if error.class() == Class::TargetGone => {
            begin(object, Some(id), wanted, connection, facts, now)
        }
        Some(Err(error)) => Step::Finish(Verdict::failed(error)),
        Some(Ok(version)) => {
            let born = object.status.creation_date.as_deref().and_then(|text| text.parse().ok());
            let newest = [born, version.changed].into_iter().flatten().max();
            // Our reading of the server's clock may be a second behind its own dates: then the age is negative, and young.
            let young = |date: Timestamp| now.duration_since(date) < GHOST_GRACE;
            if newest.is_some_and(young) { lagging(object, facts) } else { Step::Finish(Verdict::ghost()) }
        }
    }
}

/// The remote target equals the spec. Where reads carry no sequence, the event store is asked once per change.
fn in_sync(
    object: &Object<'_>,
    remote: &RemoteTarget,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
) -> Step {
    let mut known = RemoteFacts::of(remote, connection);
    if known.sequence.is_none() {
        let changed = known.changed.map(|date| date.to_string());
        let recorded = object.status.sequence.as_ref().filter(|_| object.status.change_date == changed);
        match (recorded, &facts.history) {
            (Some(sequence), _) => known.sequence = sequence.parse().ok(),
            (None, None) => return Step::History(remote.id.clone()),
            (None, Some(Ok(Some(newest)))) => {
                known.sequence = Some(newest.sequence);
                known.owner = known.owner.or_else(|| newest.owner.clone());
            }
            // Without the right to read events everything else works; the column stays empty.
            (None, Some(_)) => {}
        }
    }
    let mut verdict = Verdict::available(known);
    verdict.note = news(object, remote, wanted, facts);
    Step::Finish(verdict)
}

/// What this pass did, for the Event.
fn news(object: &Object<'_>, remote: &RemoteTarget, wanted: &TargetConfig, facts: &Facts) -> Option<Note> {
    let id = &remote.id;
    if facts.created {
        return Some(Note { kind: NoteKind::Created, text: format!("created target {id} ({})", wanted.name) });
    }
    if facts.changes.is_empty() {
        let text = format!("found target {id} ({}), created by an earlier call whose answer was lost", wanted.name);
        return facts.recovered.as_ref().map(|_| Note { kind: NoteKind::Recovered, text });
    }
    let mut changed: Vec<_> = facts.changes.iter().flat_map(fields).collect();
    changed.sort_unstable();
    changed.dedup();
    let changed = changed.join(", ");
    if object.status.observed_generation == Some(object.generation) && facts.recovered.is_none() {
        let text = format!("target {id} differed from spec and was changed back: {changed}");
        return Some(Note { kind: NoteKind::DriftCorrected, text });
    }
    Some(Note { kind: NoteKind::Updated, text: format!("changed target {id}: {changed}") })
}

/// The way out: nothing of ours may stay behind, and nothing of others may be touched.
fn delete(object: &Object<'_>, facts: &Facts, now: Timestamp) -> Step {
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
    let connection = match &facts.connection {
        None => return Step::Connect,
        Some(Err(error)) => return Step::Finish(Verdict::failed(error).while_deleting()),
        Some(Ok(connection)) => connection,
    };
    let recorded = object.status.connection.as_ref().and_then(|recorded| recorded.instance.clone());
    let home = claim.map_or(recorded, |claim| claim.instance.clone());
    if home.is_some() && connection.instance.is_some() && home != connection.instance {
        return Step::Finish(Verdict::instance_changed().while_deleting());
    }
    match (claim, id) {
        (Some(claim), _) => abandon(claim, connection, facts, now),
        (None, Some(id)) => Step::Delete(id),
        (None, None) => Step::Release(Release::NothingRemote),
    }
}

/// Deletion while a create may have happened: find out, then delete what it made.
fn abandon(claim: &Claim, connection: &Connection, facts: &Facts, now: Timestamp) -> Step {
    let Ok(name) = claim.name.parse::<TargetName>() else { return Step::Release(Release::NothingRemote) };
    match settle(claim, &name, connection, facts, now) {
        Settlement::Do(step) => step,
        Settlement::Ours(candidate) => Step::Delete(candidate.id),
        Settlement::Nothing => Step::Release(Release::NothingRemote),
        Settlement::Open(rest) => Step::Finish(outcome_unknown(rest).while_deleting()),
        Settlement::Unknown(error) => Step::Finish(Verdict::failed(&error).while_deleting()),
    }
}

/// The status that a create's answer is committed with. On generations whose answer has no sequence, Ready waits for
/// it: a user who waits for Ready finds the column filled.
#[must_use]
pub fn committed(remote: &RemoteTarget, connection: &Connection) -> Verdict {
    let known = RemoteFacts::of(remote, connection);
    if known.sequence.is_some() {
        Verdict::available(known)
    } else {
        Verdict { remote: Some(known), ..Verdict::verifying() }
    }
}
