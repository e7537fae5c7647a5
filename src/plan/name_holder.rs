//! Whose target has the name that a create was refused for, or that an object leaves behind.
//!
//! A 409 says that somebody has the name. That the event store shows no create of ours is no proof that it is somebody
//! else: 2.x servers leave out of a search what is newer than the oldest open push transaction
//! (`AwaitOpenTransactions`, internal/eventstore/repository/sql/crdb.go, v2.58 and v2.71), and audit-log retention hides
//! what is old (run on v2.58.7 and v4.13.1). So the claim is dropped only for a holder that is provably not its create.

use super::Step;
use super::custody::Origin;
use super::facts::{Candidate, Other};
use super::settle::Recovery;
use crate::zitadel::{Error, TargetId};

/// Who has the name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is matched on where it is made")]
pub(super) enum Holder {
    /// Something has to be asked first.
    Ask(Step),
    /// The read side shows nobody.
    Unseen,
    /// Somebody else.
    Foreign,
    /// Perhaps our own create.
    Unproven(TargetId),
    /// It cannot be told now.
    Unknown(Error),
}

impl Recovery<'_> {
    /// Finds out who has the claimed name, once the search has shown nothing of ours.
    pub(super) fn holder(&self) -> Holder {
        let shown = match &self.facts.looked_up {
            None => return Holder::Ask(Step::LookUp(self.name.clone())),
            Some(Ok(Some(shown))) => shown,
            Some(Ok(None)) => return Holder::Unseen,
            Some(Err(error)) => return Holder::Unknown(error.clone()),
        };
        if self.is_older(shown) || !self.may_be_posted(shown) {
            return Holder::Foreign;
        }
        let Some(others) = &self.facts.others else { return Holder::Ask(Step::AskOthers) };
        let recorded = |other: &Other| other.holds.as_ref() == Some(&shown.id);
        if others.iter().any(recorded) {
            return Holder::Foreign;
        }
        // Where events cannot be read, what the look-up shows is all that there is: made since the claim, and of our very
        // settings, it may be our create, repeated by something on the way.
        if matches!(self.facts.searched, Some(Err(_))) {
            let like_ours = shown.date().is_some() && shown.posted.is_some();
            return if like_ours { Holder::Unproven(shown.id.clone()) } else { Holder::Foreign };
        }
        match &self.facts.origin {
            None => Holder::Ask(Step::Trace(shown.id.clone())),
            Some(Ok(Some(origin))) if self.is_foreign(origin) => Holder::Foreign,
            Some(Ok(_) | Err(_)) => Holder::Unproven(shown.id.clone()),
        }
    }

    /// Whether the target was certainly there before the claim.
    fn is_older(&self, shown: &Candidate) -> bool {
        self.is_known(&shown.id) || shown.date().is_some_and(|date| date <= self.certainly_before())
    }

    fn is_foreign(&self, origin: &Origin) -> bool {
        let other_payload = !self.claim.may_have_posted(origin.posted.as_ref());
        !origin.ours || origin.date <= self.certainly_before() || other_payload
    }
}
