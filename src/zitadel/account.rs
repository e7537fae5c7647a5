//! Whether others use our service account: the event store shows its writes, and we know what we have sent.
//!
//! Only for certain: an event of our own user, newer than the beginning of this process and of anything that the process
//! before it may have left under way, about a target that no call of this process has named. What others do to targets
//! that we have written to stays unnoticed.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

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

/// How many names and ids are kept; then the account is watched from that time on, like after a start.
const MOST: usize = 50_000;

/// What this process has sent, by whatever connection: several may lead to one instance with one account.
#[derive(Debug, Default)]
struct Sent {
    /// Names that were posted, in lower case. An answer may be lost, so the name is what is known of every create.
    names: HashSet<String>,
    ids: HashSet<TargetId>,
    /// When the rest was forgotten, in our own clock.
    forgotten: Option<Timestamp>,
}

impl Sent {
    fn make_room(&mut self) {
        if self.names.len() + self.ids.len() >= MOST {
            *self = Self { forgotten: Some(Timestamp::now()), ..Self::default() };
        }
    }
}

/// What was sent, and who was seen to send what was not.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Our own user, and from when on its events must be ours; in the clock of ZITADEL's database.
    owner: Option<(String, Timestamp)>,
    sent: Arc<Mutex<Sent>>,
    stranger: Option<Stranger>,
}

impl Default for Ledger {
    fn default() -> Self {
        static OF_THIS_PROCESS: LazyLock<Arc<Mutex<Sent>>> = LazyLock::new(Arc::default);
        Self { owner: None, sent: Arc::clone(&OF_THIS_PROCESS), stranger: None }
    }
}

impl Ledger {
    /// Begins with the account of this user; `now` is the server's. Another user is another account.
    pub(super) fn open(&mut self, user: Option<&str>, now: Timestamp) {
        // Not told this time: still the same one, as far as is known.
        let Some(user) = user else { return };
        if self.owner.as_ref().is_none_or(|(owner, _)| owner != user) {
            let from = now.checked_add(PREDECESSOR).unwrap_or(now);
            (self.owner, self.stranger) = (Some((user.to_owned(), from)), None);
        }
    }

    /// Notes a create before it is sent.
    pub(super) fn post(&self, name: &TargetName) {
        let mut sent = self.sent();
        sent.make_room();
        sent.names.insert(name.as_str().to_lowercase());
    }

    /// Notes a change or a deletion before it is sent, and the id that a create was answered with.
    pub(super) fn touch(&self, id: &TargetId) {
        let mut sent = self.sent();
        sent.make_room();
        sent.ids.insert(id.clone());
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks through what the event store shows.
    pub(super) fn audit(&mut self, events: &[TargetEvent]) {
        let Some((user, begin)) = self.owner.as_ref().filter(|_| self.stranger.is_none()) else { return };
        let sent = self.sent();
        let from = sent.forgotten.and_then(|at| at.checked_add(PREDECESSOR).ok()).map_or(*begin, |at| at.max(*begin));
        let ours = |event: &&TargetEvent| event.editor.as_deref() == Some(user.as_str()) && event.date > from;
        let foreign = |event: &TargetEvent| {
            let deed = match &event.kind {
                EventKind::Added(posting) if sent.names.contains(&posting.name.to_lowercase()) => return None,
                EventKind::Added(_) => Deed::Created,
                EventKind::Changed => Deed::Changed,
                EventKind::Removed => Deed::Deleted,
                EventKind::Other => return None,
            };
            (!sent.ids.contains(&event.id)).then(|| Stranger { id: event.id.clone(), deed })
        };
        let found = events.iter().filter(ours).find_map(foreign);
        drop(sent);
        if let Some(stranger) = &found {
            tracing::warn!(
                user,
                target_id = %stranger.id,
                deed = stranger.what(),
                "others use the service account: give the operator an account of its own"
            );
        }
        self.stranger = found;
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
        let mut ledger = Ledger { owner: None, sent: Arc::default(), stranger: None };
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

    /// Two connections of one process may have one account.
    #[test]
    fn what_another_connection_has_sent_is_ours_too() {
        let mut ledger = ledger();
        let other = Ledger { owner: None, sent: Arc::clone(&ledger.sent), stranger: None };
        other.touch(&"77".parse().unwrap());
        ledger.audit(&[event("77", EventKind::Changed, "me", 9)]);
        assert_eq!(ledger.stranger(), None);
    }

    #[test]
    fn what_was_forgotten_to_make_room_is_held_against_nobody() {
        let mut ledger = ledger();
        for number in 0..MOST {
            ledger.touch(&number.to_string().parse().unwrap());
        }
        assert!(ledger.sent().ids.len() < MOST && ledger.sent().forgotten.is_some());
        let soon = TargetEvent { date: Timestamp::now(), ..event("999999", EventKind::Changed, "me", 9) };
        ledger.audit(&[soon]);
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
