//! Conditions of a resource, after the Kubernetes API conventions and kstatus.
//!
//! Three types: `Ready` is always present; `Reconciling` and `Stalled` are present only while true and never both.
//! Pure functions over a list; the clock is an argument.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::reason::Reason;

/// Type of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// The summary: the remote target equals this generation of the spec.
    Ready,
    /// Work goes on and is expected to succeed by itself (kstatus: in progress).
    Reconciling,
    /// Only a person can help, or progress took too long (kstatus: failed).
    Stalled,
    /// Of connections: others use the service account, too.
    AccountShared,
}

impl ConditionType {
    /// Those of Targets, in the order in which they are written.
    pub const OF_TARGETS: [Self; 3] = [Self::Ready, Self::Reconciling, Self::Stalled];
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Reconciling, Self::Stalled, Self::AccountShared];

    /// The word in `conditions[].type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::AccountShared => "AccountShared",
        }
    }
}

/// How a resource stands; each is one fixed set of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Ready=True.
    Ready,
    /// Ready=False and nothing else: at rest, on request of the user.
    Idle,
    /// Ready=False and Reconciling=True.
    Reconciling,
    /// Ready=False and Stalled=True.
    Stalled,
    /// The same for too long: Ready keeps the cause, and Stalled says that the deadline for progress is exceeded. The
    /// operator goes on trying.
    Overdue,
}

/// The conditions that say `health`, keeping the transition times of `previous` where a status did not flip.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    health: Health,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let one = |kind: ConditionType, status: &str, reason: Reason, message: &str| Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: since(previous, kind, status, now),
    };
    let ready = one(ConditionType::Ready, if health == Health::Ready { "True" } else { "False" }, reason, message);
    match health {
        Health::Ready | Health::Idle => vec![ready],
        Health::Reconciling => vec![ready, one(ConditionType::Reconciling, "True", reason, message)],
        Health::Stalled => vec![ready, one(ConditionType::Stalled, "True", reason, message)],
        Health::Overdue => {
            // Tools that show one condition show this one of a failed object: it has to name the cause, too.
            let text = format!("no success for ten minutes, still trying. {reason}: {message}");
            vec![ready, one(ConditionType::Stalled, "True", Reason::ProgressDeadlineExceeded, &text)]
        }
    }
}

/// The conditions that this operator writes: others may add types of their own, which are not its business.
#[must_use]
pub fn own(conditions: &[Condition]) -> Vec<Condition> {
    let known = |condition: &&Condition| ConditionType::ALL.iter().any(|kind| kind.as_str() == condition.type_);
    conditions.iter().filter(known).cloned().collect()
}

/// A condition that is true, beside those of [`conditions`].
#[must_use]
pub fn also(
    previous: &[Condition],
    kind: ConditionType,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: kind.as_str().to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: since(previous, kind, "True", now),
    }
}

/// The condition of this type, if present.
#[must_use]
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Since when a condition has this status: the time of `previous`, where it did not flip.
fn since(previous: &[Condition], kind: ConditionType, status: &str, now: Timestamp) -> Time {
    let kept = find(previous, kind).filter(|old| old.status == status);
    kept.map_or_else(|| Time(seconds(now)), |old| old.last_transition_time.clone())
}

/// metav1.Time has whole seconds; more would not survive the round trip through the API server.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("the seconds of a timestamp are in range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn transition_time_moves_only_when_the_status_flips() {
        let (first, later) = (at("2026-11-24T10:00:00Z"), at("2026-11-24T11:00:00.9Z"));
        let down = conditions(&[], Health::Reconciling, Reason::ZitadelUnavailable, "a", 1, first);
        let still = conditions(&down, Health::Reconciling, Reason::RateLimited, "b", 2, later);
        assert_eq!(still[0].last_transition_time, down[0].last_transition_time);
        assert_eq!(still[0].observed_generation, Some(2));
        let up = conditions(&still, Health::Ready, Reason::Available, "c", 2, later);
        assert_eq!(up[0].last_transition_time, Time(at("2026-11-24T11:00:00Z")));
        assert_eq!(up.len(), 1, "abnormal conditions are absent when all is well");
    }

    #[test]
    fn stalled_and_reconciling_exclude_each_other() {
        let now = at("2026-11-24T10:00:00Z");
        let stalled = conditions(&[], Health::Stalled, Reason::NameTaken, "a", 1, now);
        assert!(find(&stalled, ConditionType::Reconciling).is_none());
        assert_eq!(find(&stalled, ConditionType::Ready).unwrap().status, "False");
        assert_eq!(find(&stalled, ConditionType::Stalled).unwrap().status, "True");
    }

    #[test]
    fn what_takes_too_long_keeps_its_cause() {
        let now = at("2026-11-24T10:00:00Z");
        let late = conditions(&[], Health::Overdue, Reason::ZitadelUnavailable, "connection refused", 1, now);
        let (ready, stalled) = (&late[0], &late[1]);
        assert_eq!((ready.reason.as_str(), ready.message.as_str()), ("ZitadelUnavailable", "connection refused"));
        assert_eq!((stalled.type_.as_str(), stalled.reason.as_str()), ("Stalled", "ProgressDeadlineExceeded"));
        assert!(stalled.message.ends_with("ZitadelUnavailable: connection refused"), "{}", stalled.message);
        assert_eq!(late.len(), 2, "never Reconciling beside Stalled");
    }
}
