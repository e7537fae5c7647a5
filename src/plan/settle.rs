//! Settling a claim whose create has no known answer: was it carried out, and may it still be?
//!
//! The event store is asked where the credential may read it: it knows an acknowledged create at once, unless it hides
//! it for a while (see [`super::name_holder`]). Elsewhere the read side is asked, and given time. Nothing is concluded from absence
//! before the request itself must be dead.
//!
//! A find is ours only if it is newer than the newest event before the claim, by our account, created with what the
//! claim posts, and held by nobody else. It may have been made for another Target that asks for the same name, at the
//! same time or with another case, so the API server is asked what the others hold and claim (see
//! [`Recovery::custody`]) first.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Adoption, Candidate, Connection, Facts, Other};
use super::{Object, Step};
use crate::api::claim::Claim;
use crate::zitadel::{Error, TargetId, TargetName};

/// How long after the client's time-out a server may still commit (ZITADEL's push time-out, with room).
pub const LATE_COMMIT: Duration = Duration::from_secs(15);
/// How far the clocks of ZITADEL and of its database may be apart: events this much older than the claim still count.
pub const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// How far a database's own clock may step back when a standby takes over (NTP keeps them within seconds).
pub const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(5);
/// How long the read side may lag (`Projections.RequeueEvery`, 60 s, on every generation).
pub const PROJECTION_LAG: Duration = Duration::from_mins(1);
/// How long another Target's claim counts for what is found: its own recovery is over by then, or it is forged.
const CLAIM_LIFETIME: Duration = Duration::from_hours(1);

/// What is known of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Something has to be done first to know.
    Do(Step),
    /// It was carried out: this is the target.
    Ours(Candidate),
    /// It was, before this object existed: the object is a restored one, and may not take over targets here.
    NeedsAdoption(TargetId),
    /// It was not, and cannot be any more.
    Nothing,
    /// That is not certain yet.
    Open(Awaited),
    /// It cannot be told now.
    Unknown(Error),
}

/// What a claim waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The request may be carried out until then.
    Request(Timestamp),
    /// What was found may be recorded by another Target until then.
    Rival(Timestamp),
    /// The name is taken, and it is not known whether by this very create; with the target that shows under it.
    Holder(Option<TargetId>),
}

/// A claim in its situation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery<'a> {
    pub object: &'a Object<'a>,
    pub claim: &'a Claim,
    pub name: &'a TargetName,
    pub connection: &'a Connection,
    pub facts: &'a Facts,
    /// In the server's clock.
    pub now: Timestamp,
}

/// Whose a find is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Custody {
    /// Nobody else's.
    Ours,
    /// Another Target's, or it will be.
    Theirs,
    /// Perhaps another Target's, which learns of it until then or never.
    Either(Timestamp),
}

impl Recovery<'_> {
    /// Settles the claim as far as the facts allow.
    pub fn settle(&self) -> Settlement {
        if self.claim.time > later(self.now, CLOCK_MARGIN) {
            // One answer with a wrong `Date`, or a forgery; waiting for that day would be waiting for ever.
            let since = self.claim.since.min(self.now);
            return Settlement::Do(Step::Redate(Claim { since, time: self.now, ..self.claim.clone() }));
        }
        match &self.facts.searched {
            None => Settlement::Do(Step::Search { name: self.name.clone(), since: self.certainly_before() }),
            Some(Ok(found)) => self.choose(found).unwrap_or_else(|| self.absent(request_dead_after(self.connection))),
            Some(Err(error)) if self.waits_for_events(error) => Settlement::Unknown(error.clone()),
            Some(Err(_)) => self.by_name(),
        }
    }

    /// Whether an event store that fails is asked again rather than done without: it may answer soon, and it alone tells
    /// who created a target. A refusal stays one.
    fn waits_for_events(&self, error: &Error) -> bool {
        !error.is_lasting() && !self.is_old()
    }

    /// The way without the event store. A look-up finds whatever has the name, so what it shows must speak for it.
    fn by_name(&self) -> Settlement {
        let found = match &self.facts.looked_up {
            None => return Settlement::Do(Step::LookUp(self.name.clone())),
            Some(Ok(found)) => found.as_slice(),
            Some(Err(error)) => return Settlement::Unknown(error.clone()),
        };
        // A refusal has met somebody else: nothing here can tell a stranger from ourselves, so nothing is taken.
        let refused = self.is_refused();
        let fresh =
            found.iter().filter(|shown| !refused && shown.date().is_some_and(|date| date > beginning(self.claim)));
        // The latest moment at which it is carried out, and then the longest time until that is shown.
        self.choose(fresh).unwrap_or_else(|| self.absent(request_dead_after(self.connection) + PROJECTION_LAG))
    }

    /// What is ours of what was found. `None`: nothing is.
    fn choose<'c>(&self, found: impl IntoIterator<Item = &'c Candidate>) -> Option<Settlement> {
        let found: Vec<_> = found.into_iter().filter(|candidate| self.may_be_posted(candidate)).collect();
        if found.is_empty() {
            return None;
        }
        let Some(others) = &self.facts.others else { return Some(Settlement::Do(Step::AskOthers)) };
        let mut open = None;
        for candidate in found {
            let custody = self.custody(candidate, others);
            if custody == Custody::Theirs {
                continue;
            }
            if self.is_known(&candidate.id) {
                continue;
            }
            if candidate.date().is_some_and(|date| date <= beginning(self.claim)) {
                // Made before the claim, or by it on a database whose clock has stepped back. A refusal excludes the latter.
                open = open.or_else(|| self.step().map(|_| Awaited::Holder(Some(candidate.id.clone()))));
                continue;
            }
            match custody {
                Custody::Either(until) => open = Some(Awaited::Rival(until)),
                _ if self.is_restored(candidate) => return Some(Settlement::NeedsAdoption(candidate.id.clone())),
                _ => return Some(Settlement::Ours(candidate.clone())),
            }
        }
        open.map(Settlement::Open)
    }

    /// Whether what was found may have been made by a create of this claim. The read side shows what was posted only of a
    /// target that nobody changed.
    pub(super) fn may_be_posted(&self, candidate: &Candidate) -> bool {
        self.claim.may_have_posted(candidate.posted.as_ref())
    }

    /// Whether it was made before the object existed, and may not be taken over: annotations are the user's to write, so
    /// a claim from elsewhere gives no more right to a target than naming its id does.
    fn is_restored(&self, candidate: &Candidate) -> bool {
        let before = candidate.date().is_some_and(|date| later(date, CLOCK_MARGIN) < self.object.born);
        before && self.connection.adoption == Adoption::NotAllowed
    }

    /// Tells whose a find is. Two Targets with open claims on its name may both have made it, and its maker may still be
    /// waiting for its answer. The younger of the two leaves it alone: the older one looks for it as well. The older one
    /// gives the younger the time in which that answer can come, and takes what nobody has recorded by then.
    fn custody(&self, candidate: &Candidate, others: &[Other]) -> Custody {
        if others.iter().any(|other| other.holds.as_ref() == Some(&candidate.id)) {
            return Custody::Theirs;
        }
        let rivals = others.iter().filter_map(|other| Some((other.older, other.claim.as_ref()?)));
        let rivals: Vec<_> = rivals.filter(|(_, claim)| self.may_have_made(claim, candidate)).collect();
        let lives = |claim: &Claim| age(claim, self.now) < CLAIM_LIFETIME;
        if rivals.iter().any(|(older, claim)| *older && lives(claim)) {
            return Custody::Theirs;
        }
        let younger = rivals.iter().filter(|(older, _)| !older);
        let ends = younger.map(|(_, claim)| dead_at(claim, request_dead_after(self.connection)));
        match ends.max() {
            Some(end) if end > self.now => Custody::Either(end),
            _ => Custody::Ours,
        }
    }

    /// Whether another Target's claim may have made what was found. One from the future was not written by an operator.
    fn may_have_made(&self, claim: &Claim, candidate: &Candidate) -> bool {
        let own = &self.connection.instance;
        let here = claim.instance.is_none() || own.is_none() || claim.instance == *own;
        here && claim.time <= later(self.now, CLOCK_MARGIN)
            && self.name.same_as(&claim.name)
            && claim.may_have_posted(candidate.posted.as_ref())
            && candidate.date().is_none_or(|date| date > beginning(claim))
    }

    fn absent(&self, settled_after: Duration) -> Settlement {
        if self.remaining(settled_after).is_zero() {
            Settlement::Nothing
        } else {
            Settlement::Open(Awaited::Request(dead_at(self.claim, settled_after)))
        }
    }

    /// What is left of this time since the newest create under the claim. A clock that ran backwards makes the claim's
    /// age negative: then all of it is.
    fn remaining(&self, whole: Duration) -> Duration {
        whole.saturating_sub(age(self.claim, self.now))
    }

    /// Whether the claim is so old that whatever it made is shown by now, and asking every few seconds is not worth it.
    pub fn is_old(&self) -> bool {
        self.remaining(request_dead_after(self.connection) + PROJECTION_LAG).is_zero()
    }

    /// When the claim will be old.
    pub fn shown_by(&self) -> Timestamp {
        dead_at(self.claim, request_dead_after(self.connection) + PROJECTION_LAG)
    }

    /// What is not newer than this was certainly there before the first create under the claim.
    pub(super) fn certainly_before(&self) -> Timestamp {
        let beginning = beginning(self.claim);
        self.step().map_or(beginning, |step| earlier(beginning, step))
    }

    /// How far the database's clock may have stepped back between the claim and its create. Where a refusal says that the
    /// create was not carried out, there is nothing that it could have misdated.
    fn step(&self) -> Option<SignedDuration> {
        (self.claim.known.is_some() && !self.is_refused()).then_some(CLOCK_STEP)
    }

    /// Whether the only create under the claim was refused in this reconcile.
    fn is_refused(&self) -> bool {
        self.facts.create_failed.is_some() && self.claim.is_first()
    }

    /// Whether the target had events before the claim.
    pub(super) fn is_known(&self, id: &TargetId) -> bool {
        self.claim.known.iter().flatten().any(|known| known == id.as_str())
    }
}

/// Nothing that is not newer was made under this claim. The database's own clock, where it was known, excludes exactly
/// what was there before; else two clocks have to be compared, with room for their difference.
pub(super) fn beginning(claim: &Claim) -> Timestamp {
    claim.after.unwrap_or_else(|| earlier(claim.since, CLOCK_MARGIN))
}

/// A create is sent soon after its claim or not at all, ends within its time-out, and commits late by a margin.
pub(super) fn request_dead_after(connection: &Connection) -> Duration {
    connection.sent_within + connection.timeout + LATE_COMMIT
}

/// The moment from which on the newest create under a claim is settled for good.
pub(super) fn dead_at(claim: &Claim, settled_after: Duration) -> Timestamp {
    later(claim.time, SignedDuration::try_from(settled_after).unwrap_or(SignedDuration::MAX))
}

fn age(claim: &Claim, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(claim.time)).unwrap_or(Duration::ZERO)
}

pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(time)
}

impl Candidate {
    /// When it was created. Where that is not shown (v3alpha), only a target that was never changed tells it: by its
    /// change date.
    pub(super) fn date(&self) -> Option<Timestamp> {
        let first = self.version.sequence == Some(1);
        self.created.or(self.version.changed.filter(|_| first))
    }
}
