//! Settling a claim whose create has no known answer: was it carried out, and may it still be?
//!
//! The event store is asked where the credential may read it: strongly consistent, it knows an acknowledged create
//! at once. Elsewhere the read side is asked, and given time. Nothing is concluded from absence before the request
//! itself must be dead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Candidate, Connection, Facts};
use super::{Step, Verdict};
use crate::api::claim::Claim;
use crate::api::reason::Reason;
use crate::zitadel::{Error, TargetName};

/// How long after the client's time-out a server may still commit (ZITADEL's push time-out, with room).
pub const LATE_COMMIT: Duration = Duration::from_secs(15);
/// How far the clocks of ZITADEL and of its database may be apart: events this much older than the claim still count.
pub const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// How long the read side may lag (`Projections.RequeueEvery`, 60 s, on every generation).
pub const PROJECTION_LAG: Duration = Duration::from_mins(1);

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Something has to be done first to know.
    Do(Step),
    /// It was carried out: this is the target.
    Ours(Candidate),
    /// It was not, and cannot be any more.
    Nothing,
    /// It may still be: ask again after this time.
    Open(Duration),
    /// It cannot be told now.
    Unknown(Error),
}

/// Settles `claim` as far as `facts` allow. `now` is in the server's clock.
#[must_use]
pub fn settle(claim: &Claim, name: &TargetName, connection: &Connection, facts: &Facts, now: Timestamp) -> Settlement {
    // The database's own clock, where it was known, excludes exactly what was there before. Else two clocks have to be
    // compared, with room for their difference.
    let since = claim.after.unwrap_or_else(|| claim.since.checked_sub(CLOCK_MARGIN).unwrap_or(claim.since));
    match &facts.searched {
        None => Settlement::Do(Step::Search { name: name.clone(), since }),
        Some(Ok(found)) => match found.iter().find(|candidate| !candidate.held_elsewhere) {
            Some(candidate) => Settlement::Ours(candidate.clone()),
            None => absent(claim, request_dead_after(connection), now),
        },
        Some(Err(error)) if cannot_read_events(error) => by_name(claim, name, since, connection, facts, now),
        Some(Err(error)) => Settlement::Unknown(error.clone()),
    }
}

/// The way without the event store. A look-up finds whatever has the name, so its date must speak for it.
fn by_name(
    claim: &Claim,
    name: &TargetName,
    since: Timestamp,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Settlement {
    match &facts.looked_up {
        None => Settlement::Do(Step::LookUp(name.clone())),
        Some(Ok(Some(found))) if !found.held_elsewhere && created_after(found, since) => {
            Settlement::Ours(found.clone())
        }
        Some(Ok(_)) => absent(claim, PROJECTION_LAG.max(request_dead_after(connection)), now),
        Some(Err(error)) => Settlement::Unknown(error.clone()),
    }
}

/// A create starts within one time-out after its claim or not at all, ends within another, and commits late by a
/// margin.
fn request_dead_after(connection: &Connection) -> Duration {
    2 * connection.timeout + LATE_COMMIT
}

fn absent(claim: &Claim, settled_after: Duration, now: Timestamp) -> Settlement {
    let age = now.duration_since(claim.time);
    // A clock that ran backwards makes the age negative: then the whole time is waited for.
    let age = Duration::try_from(age).unwrap_or(Duration::ZERO);
    match settled_after.checked_sub(age) {
        Some(rest) if !rest.is_zero() => Settlement::Open(rest),
        _ => Settlement::Nothing,
    }
}

/// Where no creation date is shown (v3alpha), only a target that was never changed tells its own: its change date.
fn created_after(candidate: &Candidate, since: Timestamp) -> bool {
    let first = candidate.version.sequence == Some(1);
    let date = candidate.created.or(candidate.version.changed.filter(|_| first));
    date.is_some_and(|date| date > since)
}

fn cannot_read_events(error: &Error) -> bool {
    matches!(error.reason(), Reason::PermissionDenied | Reason::ApiUnsupported)
}

/// The verdict while a claim is open.
#[must_use]
pub fn outcome_unknown(retry_after: Duration) -> Verdict {
    Verdict::waiting(
        Reason::CreateOutcomeUnknown,
        "a create call was sent and no answer was read; waiting until it is certain whether ZITADEL carried it out, so \
         that no second target is made",
        retry_after,
    )
}
