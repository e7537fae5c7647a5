//! Whether others use our service account: the event store shows its writes, and we know what we have sent.
//!
//! Only for certain: an event of our own user, newer than the beginning of this process and of anything that the process
//! before it may have left under way, about a target that no call of this process has named. What others do to targets
//! that we have written to stays unnoticed.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::events::{EventKind, TargetEvent};
use super::{TargetId, TargetName};

/// How long after our beginning a call of the process before us may still be carried out: the longest time of a create,
/// the time within which it is sent, and room for a late commit and for the difference of two clocks.
const PREDECESSOR: SignedDuration = SignedDuration::from_mins(5);

/// What shows that others use the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The target.
    pub id: TargetId,
    /// What was done to it.
    pub deed: Deed,
}

/// What somebody did to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was created.
    Created,
    /// It was changed.
    Changed,
    /// It was deleted.
    Deleted,
}

impl Stranger {
    /// What was done, as a word.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self.deed {
            Deed::Created => "created",
            Deed::Changed => "changed",
            Deed::Deleted => "deleted",
        }
    }
}

/// What this process has sent with the account, and what it has seen that it has not.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Our own user, and from when on its events must be ours; in the clock of ZITADEL's database.
    owner: Option<(String, Timestamp)>,
    /// Names that were posted, in lower case. An answer may be lost, so the name is what is known of every create.
    names: HashSet<String>,
    ids: HashSet<TargetId>,
    stranger: Option<Stranger>,
}

impl Ledger {
    /// Begins with the account of this user; `now` is the server's. Another user is another account.
    pub(super) fn open(&mut self, user: Option<&str>, now: Timestamp) {
        let same = self.owner.as_ref().map(|(owner, _)| owner.as_str()) == user;
        if !same {
            let from = now.checked_add(PREDECESSOR).unwrap_or(now);
            (self.owner, self.stranger) = (user.map(|user| (user.to_owned(), from)), None);
        }
    }

    /// Notes a create before it is sent.
    pub(super) fn post(&mut self, name: &TargetName) {
        self.names.insert(name.as_str().to_lowercase());
    }

    /// Notes a change or a deletion before it is sent, and the id that a create was answered with.
    pub(super) fn touch(&mut self, id: &TargetId) {
        self.ids.insert(id.clone());
    }

    /// Looks through what the event store shows.
    pub(super) fn audit(&mut self, events: &[TargetEvent]) {
        let Some((user, from)) = &self.owner else { return };
        let ours = |event: &&TargetEvent| event.editor.as_deref() == Some(user.as_str()) && event.date > *from;
        for event in events.iter().filter(ours).filter(|event| !self.ids.contains(&event.id)) {
            let deed = match &event.kind {
                EventKind::Added(posting) if self.names.contains(&posting.name.to_lowercase()) => continue,
                EventKind::Added(_) => Deed::Created,
                EventKind::Changed => Deed::Changed,
                EventKind::Removed => Deed::Deleted,
                EventKind::Other => continue,
            };
            if self.stranger.is_none() {
                let stranger = Stranger { id: event.id.clone(), deed };
                tracing::warn!(
                    user, target = %stranger.id, deed = stranger.what(), date = %event.date,
                    "others use the service account: give the operator an account of its own"
                );
                self.stranger = Some(stranger);
            }
        }
    }

    pub(super) fn stranger(&self) -> Option<Stranger> {
        self.stranger.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Posting;
    use super::*;
    use rstest::rstest;

    fn at(minutes: i64) -> Timestamp {
        let begin: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        begin.checked_add(SignedDuration::from_mins(minutes)).unwrap()
    }

    fn added(name: &str) -> EventKind {
        EventKind::Added(Posting { name: name.into(), rest: None })
    }

    fn event(id: &str, kind: EventKind, editor: &str, minutes: i64) -> TargetEvent {
        let editor = Some(editor.to_owned());
        TargetEvent { id: id.parse().unwrap(), kind, sequence: 1, date: at(minutes), editor, owner: None }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(Some("me"), at(0));
        ledger.post(&"Hook".parse().unwrap());
        ledger.touch(&"1".parse().unwrap());
        ledger
    }

    #[rstest]
    #[case::of_somebody_else(event("9", added("x"), "another", 9))]
    #[case::of_a_create_whose_answer_was_lost(event("9", added("hook"), "me", 9))]
    #[case::of_our_target(event("1", EventKind::Removed, "me", 9))]
    #[case::of_the_process_before(event("9", added("x"), "me", 4))]
    #[case::unknown(event("9", EventKind::Other, "me", 9))]
    fn what_may_be_ours_makes_nobody_a_stranger(#[case] event: TargetEvent) {
        let mut ledger = ledger();
        ledger.audit(&[event]);
        assert_eq!(ledger.stranger(), None);
    }

    #[rstest]
    #[case(added("x"), Deed::Created)]
    #[case(EventKind::Changed, Deed::Changed)]
    #[case(EventKind::Removed, Deed::Deleted)]
    fn what_was_never_sent_from_here_is_somebody_elses(#[case] kind: EventKind, #[case] deed: Deed) {
        let mut ledger = ledger();
        ledger.audit(&[event("9", kind, "me", 9)]);
        assert_eq!(ledger.stranger(), Some(Stranger { id: "9".parse().unwrap(), deed }));
        ledger.open(Some("me"), at(20));
        assert!(ledger.stranger().is_some(), "the same account, proved again");
        ledger.open(Some("another"), at(30));
        assert_eq!(ledger.stranger(), None);
    }
}
