//! The lifecycle of one Target: claim, create, commit, recover, keep equal, delete.
//!
//! [`plan`] reads like the protocol (docs/decisions/0002-claims.md). The rules that carry the weight:
//! - A create is sent only in the pass that wrote its claim, and a claim is written conditionally on
//!   resourceVersion: two replicas, or two lives of one, never send the same create twice.
//! - An open claim of an earlier pass is settled (see [`super::settle`]) before anything else is begun.
//! - A read-side "not found" is a suspicion; only the write side's empty update proves that a target is gone.
//! - Ready=True is said only of what a create answered or what was read back, never of what was merely sent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::adopt::{adopt, forbidden};
use super::connection::is_hearsay;
use super::create::{begin, fulfil};
use super::custody::vouch;
use super::difference::{fields, next_edit};
use super::facts::{Connection, Facts};
use super::leave::delete;
use super::{Note, NoteKind, Object, RemoteFacts, Step, Verdict, names, recorded, spec};
use crate::api::claim::ClaimState;
use crate::api::reason::Reason;
use crate::zitadel::{Class, Error, PayloadType, RemoteTarget, Support, TargetConfig, TargetId, Version};

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
    if let Some(obstacle) = &facts.obstacle {
        return Step::Finish(Verdict::unconnected(obstacle));
    }
    let connection = match &facts.connection {
        None => return Step::Connect,
        Some(Err(error)) => return Step::Finish(Verdict::failed(error)),
        Some(Ok(connection)) => connection,
    };
    if let Some(refusal) = refuse(object, &wanted, connection) {
        return Step::Finish(refusal);
    }
    match (object.open_claim(), object.id(), object.external_id()) {
        (Some(claim), _, _) => fulfil(object, claim, &wanted, connection, facts, now),
        (None, Some(id), Some(external)) if id != external => Step::Finish(Verdict::other_target(&id, &external)),
        (None, Some(id), _) => keep(object, &id, &wanted, connection, facts, now),
        (None, None, Some(external)) => adopt(object, &external, connection, facts),
        (None, None, None) => begin(object, None, &wanted, connection, facts, now),
    }
}

/// What can be said without a call.
fn refuse(object: &Object<'_>, wanted: &TargetConfig, connection: &Connection) -> Option<Verdict> {
    if let Some(obstacle) = forbidden(object, connection) {
        return Some(Verdict::unconnected(&obstacle));
    }
    if let Some(longest) = connection.api.longest_timeout()
        && wanted.timeout.duration() > Duration::from_secs(longest)
    {
        let text = format!("spec.timeout must be at most {longest}s for the {} API of this server", connection.api);
        return Some(Verdict::invalid(&text));
    }
    if wanted.payload_type != PayloadType::Json && connection.payload_types == Support::No {
        return Some(without_payload_types(object, connection));
    }
    if object.id().is_some() && is_hearsay(object.status.connection.as_ref(), connection) {
        return Some(Verdict::hearsay());
    }
    let recorded = object.status.connection.as_ref().and_then(|recorded| recorded.instance.as_deref());
    let claimed = object.open_claim().and_then(|claim| claim.instance.as_deref());
    let elsewhere = |known: Option<&str>| match (known, connection.instance.as_deref()) {
        (Some(known), Some(current)) => known != current,
        _ => false,
    };
    ((object.id().is_some() && elsewhere(recorded)) || elsewhere(claimed)).then(Verdict::instance_changed)
}

fn without_payload_types(object: &Object<'_>, connection: &Connection) -> Verdict {
    let wanted = object.spec.payload_type.unwrap_or_default().as_str();
    Verdict::unsupported(&format!("spec.payloadType {wanted}"), "ZITADEL v4.8 or newer and its API v2", connection)
}

/// A server whose version nobody can tell was asked for a payload type, acknowledged it, and shows none.
fn ignores_payload_type(wanted: &TargetConfig, remote: &RemoteTarget, facts: &Facts) -> bool {
    let asked = facts.changes.iter().any(|change| change.payload_type.is_some());
    asked && wanted.payload_type != PayloadType::Json && remote.payload_type == Some(PayloadType::Json)
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
    if let Some(rival) = object.rival {
        return Step::Finish(Verdict::contested(rival));
    }
    if let Some(other) = object.co_holder
        && object.is_copy()
        && object.external_id().as_ref() != Some(id)
    {
        return Step::Finish(Verdict::co_held(other));
    }
    if !object.finalized && !object.observed_only() {
        return Step::Hold;
    }
    if let Some(error) = &facts.update_failed {
        return refused(error, object, id, wanted, connection, facts, now);
    }
    match &facts.view {
        None => Step::Read(id.clone()),
        Some(Err(error)) => Step::Finish(Verdict::failed(error)),
        Some(Ok(None)) => missing(object, id, wanted, connection, facts, now),
        // What may only be looked at is told as it is seen: there is no other side to ask.
        Some(Ok(Some(remote)))
            if !object.observed_only() && remote.version.is_before(&known_version(object, facts)) =>
        {
            if facts.proven() {
                lagging(object, facts)
            } else {
                prove(object, id, wanted, connection, facts, now)
            }
        }
        Some(Ok(Some(remote))) => {
            let edit = next_edit(wanted, remote, facts.raised);
            let differs = edit.is_some();
            match edit.and_then(|edit| edit.without(&facts.refused)) {
                None if is_unproven(object, facts) => prove(object, id, wanted, connection, facts, now),
                None if differs => partly_refused(object, remote, wanted, connection, facts),
                None => equal(object, remote, wanted, connection, facts),
                Some(edit) if object.observed_only() => {
                    let known = RemoteFacts::unjudged(remote, connection);
                    Step::Finish(Verdict::drifted(known, &fields(&edit.change)))
                }
                Some(_) if ignores_payload_type(wanted, remote, facts) => {
                    Step::Finish(without_payload_types(object, connection))
                }
                Some(_) if facts.changes.len() > 4 => Step::Finish(Verdict::verifying()),
                Some(edit) => vouch(object, id, remote.created, connection, facts).unwrap_or_else(|| Step::Update {
                    id: id.clone(),
                    change: edit.change,
                    raise: edit.raise,
                }),
            }
        }
    }
}

/// Everything is as spec says but for what the write side refused: that alone is reported, and waited for.
fn partly_refused(
    object: &Object<'_>,
    remote: &RemoteTarget,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
) -> Step {
    let known = RemoteFacts::unjudged(remote, connection);
    match &facts.refused.endpoint {
        Some(error) => Step::Finish(Verdict { remote: Some(known), ..Verdict::failed(error) }),
        None => names::taken(object, &wanted.name, Some((&remote.id, known)), facts),
    }
}

/// Whether the server has another version than the one that accepted the endpoint: newer ones deny more (v4.15.2 widened
/// its deny list), and say so only when they are asked to store it.
fn is_unjudged(object: &Object<'_>, connection: &Connection, facts: &Facts) -> bool {
    let accepted = object.status.connection.as_ref().and_then(|recorded| recorded.server_version.as_ref());
    let sent = facts.created || facts.changes.iter().any(|change| change.endpoint.is_some());
    let moved = match (accepted, &connection.server_version) {
        (Some(then), Some(now)) => then != now,
        // Somebody else has made it, perhaps on an older server.
        (None, Some(_)) => object.external_id().is_some(),
        (_, None) => false,
    };
    moved && !sent && !object.observed_only()
}

/// The remote target equals the spec; a server that has changed its version says whether it still accepts it.
fn equal(
    object: &Object<'_>,
    remote: &RemoteTarget,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
) -> Step {
    if !is_unjudged(object, connection, facts) {
        return in_sync(object, remote, wanted, connection, facts);
    }
    match &facts.judged {
        Some(Ok(_)) => in_sync(object, remote, wanted, connection, facts),
        None => vouch(object, &remote.id, remote.created, connection, facts)
            .unwrap_or_else(|| Step::Judge(remote.id.clone(), wanted.endpoint.clone())),
        Some(Err(error)) => Step::Finish(Verdict::failed(error)),
    }
}

/// The write side refused an update or a probe: what it says is gone is created anew, everything else is told.
fn refused(
    error: &Error,
    object: &Object<'_>,
    id: &TargetId,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    match error.class() {
        Class::TargetGone => begin(object, Some(id), wanted, connection, facts, now),
        _ => Step::Finish(Verdict::failed(error)),
    }
}

/// The newest state that is known of. What is read may be older because the read side is late, or because ZITADEL's
/// database was put back; the write side, which is never late, decides ([`prove`]).
fn known_version(object: &Object<'_>, facts: &Facts) -> Version {
    facts.written().cloned().unwrap_or_else(|| recorded(object.status))
}

/// Whether a view that equals a new spec may be older than what an earlier life of ours wrote for the spec before: nothing
/// that is known now excludes it. So the write side is asked once per generation that changes nothing in ZITADEL.
fn is_unproven(object: &Object<'_>, facts: &Facts) -> bool {
    let first_look = object.status.observed_generation != Some(object.generation);
    first_look && !facts.proven() && !object.observed_only()
}

/// Asks the write side what it holds.
fn prove(
    object: &Object<'_>,
    id: &TargetId,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    match &facts.probed {
        Some(Err(error)) => refused(error, object, id, wanted, connection, facts, now),
        None | Some(Ok(_)) => Step::Probe(id.clone()),
    }
}

/// The read side shows an older state than the write side has.
fn lagging(object: &Object<'_>, facts: &Facts) -> Step {
    if facts.changes.is_empty() && object.ready_now() {
        return Step::Finish(Verdict::unchanged(object));
    }
    match READ_BACK.get(facts.waits as usize) {
        Some(pause) => Step::Wait(Duration::from_millis(*pause)),
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
    if object.observed_only() {
        return Step::Finish(Verdict::unseen(id));
    }
    match &facts.probed {
        None => Step::Probe(id.clone()),
        Some(Err(error)) => refused(error, object, id, wanted, connection, facts, now),
        Some(Ok(version)) => {
            let born = object.status.creation_date.as_deref().and_then(|text| text.parse().ok());
            let newest = [born, version.changed].into_iter().flatten().max();
            // Our reading of the server's clock may be a second behind its own dates: then the age is negative, and young.
            let young = |date: Timestamp| {
                now.duration_since(date) < SignedDuration::try_from(connection.grace).unwrap_or(SignedDuration::MAX)
            };
            if newest.is_some_and(young) {
                lagging(object, facts)
            } else {
                replace_ghost(object, id, newest, wanted, connection, facts, now)
            }
        }
    }
}

/// A ghost (seen on v2.58.7 and v2.71.19) is told first, and replaced when the read side is known to work: it shows
/// something newer. Without that proof a rebuilt projection, which shows nothing old for a while, would make every
/// target look like one.
fn replace_ghost(
    object: &Object<'_>,
    id: &TargetId,
    newest: Option<Timestamp>,
    wanted: &TargetConfig,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Step {
    if !object.was(Reason::NotProjected) {
        return Step::Finish(Verdict::ghost(connection));
    }
    if matches!(object.claim, ClaimState::Held(claim) if claim.repairs > 0) {
        return Step::Finish(Verdict::ghost_again());
    }
    match (facts.surveyed, &facts.deleted) {
        (None, _) => Step::Survey,
        (Some(shown), None) if shown > newest.unwrap_or(Timestamp::MIN) && object.co_holder.is_none() => {
            vouch(object, id, None, connection, facts).unwrap_or_else(|| Step::Delete(id.clone()))
        }
        (Some(_), None) => Step::Finish(Verdict::ghost(connection)),
        (Some(_), Some(Err(error))) => Step::Finish(Verdict::failed(error)),
        (Some(_), Some(Ok(()))) => begin(object, Some(id), wanted, connection, facts, now),
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
    let mut known = if object.observed_only() {
        RemoteFacts::unjudged(remote, connection)
    } else {
        RemoteFacts::of(remote, connection)
    };
    if known.sequence.is_none() {
        let changed = known.changed.map(|date| date.to_string());
        let recorded = object.status.sequence.as_ref().filter(|_| object.status.change_date == changed);
        match (recorded, &facts.history) {
            (Some(sequence), _) => known.sequence = sequence.parse().ok(),
            (None, None) => return Step::History(remote.id.clone()),
            // An event that is older than the state is not of this state: the one that made it is hidden, by an open
            // transaction (2.x) or by audit-log retention.
            (None, Some(Ok(Some(newest)))) => {
                let of_this_state = known.changed.is_none_or(|changed| newest.date >= changed);
                known.sequence = of_this_state.then_some(newest.sequence);
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
    let mut changed: Vec<_> = facts.changes.iter().flat_map(fields).collect();
    changed.sort_unstable();
    changed.dedup();
    let changed = changed.join(", ");
    if facts.recovered.is_some() {
        let (kind, how) = match object.spec.external_id {
            Some(_) => (NoteKind::Adopted, "taken over as spec.externalId asks"),
            None => (NoteKind::Recovered, "found again: created by an earlier call whose answer was lost"),
        };
        let also = if changed.is_empty() { String::new() } else { format!("; changed: {changed}") };
        return Some(Note { kind, text: format!("target {id} ({}) {how}{also}", wanted.name) });
    }
    if changed.is_empty() {
        return None;
    }
    if is_drift(object, facts) {
        let text = format!("target {id} differed from spec and was changed back: {changed}");
        return Some(Note { kind: NoteKind::DriftCorrected, text });
    }
    Some(Note { kind: NoteKind::Updated, text: format!("changed target {id}: {changed}") })
}

/// Whether this pass changed back what somebody else did, rather than carried out a new spec. Status may speak of this
/// generation because a try failed: then only a state newer than any known one is somebody else's.
fn is_drift(object: &Object<'_>, facts: &Facts) -> bool {
    let known = recorded(object.status);
    let newer = |found: &Version| {
        known.is_before(found) && facts.resumed.as_ref().is_none_or(|written| written.is_before(found))
    };
    let tried = object.status.observed_generation == Some(object.generation);
    tried && (object.ready_now() || facts.found.as_ref().is_some_and(newer))
}

/// The status that a create's answer is committed with. On generations whose answer has no sequence, Ready waits for
/// it: a user who waits for Ready finds the column filled.
#[must_use]
pub fn committed(remote: &RemoteTarget, connection: &Connection) -> Verdict {
    let known = RemoteFacts::of(remote, connection);
    if known.sequence.is_some() && remote.payload_type == Some(PayloadType::Json) {
        Verdict::available(known)
    } else {
        Verdict { remote: Some(known), ..Verdict::verifying() }
    }
}
