//! Settling a claim whose create has no known answer: was it carried out, and may it still be?
//!
//! The event store is asked where the credential may read it: strongly consistent, it knows an acknowledged create
//! at once. Elsewhere the read side is asked, and given time. Nothing is concluded from absence before the request
//! itself must be dead.
//!
//! What is found may have been made for another Target that asks for the same name, at the same time or with another
//! case: neither its event nor its look tells for whom. So the API server is asked what the others hold and claim
//! (see [`custody`]), before anything found is taken for ours.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Candidate, Connection, Facts, Other};
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
    /// Something was carried out, and it may be another Target's: ask again after this time.
    Contested(Duration),
    /// It cannot be told now.
    Unknown(Error),
}

/// Settles `claim` as far as `facts` allow. `now` is in the server's clock.
#[must_use]
pub fn settle(claim: &Claim, name: &TargetName, connection: &Connection, facts: &Facts, now: Timestamp) -> Settlement {
    match &facts.searched {
        None => Settlement::Do(Step::Search { name: name.clone(), since: beginning(claim) }),
        Some(Ok(found)) => choose(found, name, connection, facts, now)
            .unwrap_or_else(|| absent(claim, request_dead_after(connection), now)),
        Some(Err(error)) if cannot_read_events(error) => by_name(claim, name, connection, facts, now),
        Some(Err(error)) => Settlement::Unknown(error.clone()),
    }
}

/// Nothing that is not newer was made under this claim. The database's own clock, where it was known, excludes exactly
/// what was there before; else two clocks have to be compared, with room for their difference.
fn beginning(claim: &Claim) -> Timestamp {
    claim.after.unwrap_or_else(|| claim.since.checked_sub(CLOCK_MARGIN).unwrap_or(claim.since))
}

/// The way without the event store. A look-up finds whatever has the name, so its date must speak for it.
fn by_name(claim: &Claim, name: &TargetName, connection: &Connection, facts: &Facts, now: Timestamp) -> Settlement {
    let found = match &facts.looked_up {
        None => return Settlement::Do(Step::LookUp(name.clone())),
        Some(Ok(found)) => found.as_slice(),
        Some(Err(error)) => return Settlement::Unknown(error.clone()),
    };
    let fresh = found.iter().filter(|candidate| created(candidate).is_some_and(|date| date > beginning(claim)));
    choose(fresh, name, connection, facts, now)
        // The latest moment at which it is carried out, and then the longest time until that is shown.
        .unwrap_or_else(|| absent(claim, request_dead_after(connection) + PROJECTION_LAG, now))
}

/// Whose a find is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Custody {
    /// Nobody else's.
    Ours,
    /// Another Target's, or it will be.
    Theirs,
    /// Perhaps another Target's, which learns of it within this time or never.
    Either(Duration),
}

/// What is ours of what was found. `None`: nothing is.
fn choose<'a>(
    found: impl IntoIterator<Item = &'a Candidate>,
    name: &TargetName,
    connection: &Connection,
    facts: &Facts,
    now: Timestamp,
) -> Option<Settlement> {
    let mut found = found.into_iter().peekable();
    found.peek()?;
    let Some(others) = &facts.others else { return Some(Settlement::Do(Step::AskOthers)) };
    let mut contested = None;
    for candidate in found {
        match custody(candidate, name, others, connection, now) {
            Custody::Ours => return Some(Settlement::Ours(candidate.clone())),
            Custody::Either(rest) => contested = Some(Settlement::Contested(rest)),
            Custody::Theirs => {}
        }
    }
    contested
}

/// Tells whose a find is. Two Targets with open claims on its name may both have made it, and its maker may still be
/// waiting for its answer. The younger of the two leaves it alone: the older one looks for it as well. The older one
/// gives the younger the time in which that answer can come, and takes what nobody has recorded by then.
fn custody(
    candidate: &Candidate,
    name: &TargetName,
    others: &[Other],
    connection: &Connection,
    now: Timestamp,
) -> Custody {
    if others.iter().any(|other| other.holds.as_ref() == Some(&candidate.id)) {
        return Custody::Theirs;
    }
    let may_have_made = |claim: &Claim| {
        let here = claim.instance.is_none() || connection.instance.is_none() || claim.instance == connection.instance;
        here && name.same_as(&claim.name) && created(candidate).is_none_or(|date| date > beginning(claim))
    };
    let rivals = others.iter().filter_map(|other| Some((other.older, other.claim.as_ref()?)));
    let rivals: Vec<_> = rivals.filter(|(_, claim)| may_have_made(claim)).collect();
    if rivals.iter().any(|(older, _)| *older) {
        return Custody::Theirs;
    }
    let rests = rivals.iter().map(|(_, claim)| remaining(claim, request_dead_after(connection), now));
    match rests.max() {
        Some(rest) if !rest.is_zero() => Custody::Either(rest),
        _ => Custody::Ours,
    }
}

/// A create starts within one time-out after its claim or not at all, ends within another, and commits late by a
/// margin.
fn request_dead_after(connection: &Connection) -> Duration {
    2 * connection.timeout + LATE_COMMIT
}

fn absent(claim: &Claim, settled_after: Duration, now: Timestamp) -> Settlement {
    let rest = remaining(claim, settled_after, now);
    if rest.is_zero() { Settlement::Nothing } else { Settlement::Open(rest) }
}

/// What is left of this time since the newest create under the claim. A clock that ran backwards makes the claim's age
/// negative: then all of it is.
fn remaining(claim: &Claim, whole: Duration, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(claim.time)).unwrap_or(Duration::ZERO);
    whole.saturating_sub(age)
}

/// Where no creation date is shown (v3alpha), only a target that was never changed tells its own: its change date.
fn created(candidate: &Candidate) -> Option<Timestamp> {
    let first = candidate.version.sequence == Some(1);
    candidate.created.or(candidate.version.changed.filter(|_| first))
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
