//! Who leads: what a process may conclude from a Lease that it looks at, without trusting anybody's clock.
//!
//! Pure: no I/O, and time comes in as an argument. A lease counts as given up when it has not changed for as long as its
//! holder promised to renew it, measured from the moment when this process first saw it so (client-go's rule; the dates
//! in the Lease are for people). `election` carries it out. Safety never rests on any of this: claims alone keep two
//! operators from making two targets (docs/decisions/0002-claims.md). May import nothing of the crate.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

/// How a lease is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a renewal before they take the lease over.
    pub duration: Duration,
    /// How long after its last renewal a leader still leads. Shorter than `duration`, so that it stops before another
    /// one begins.
    pub renew_deadline: Duration,
    /// How often a leader renews, and how often everybody else looks even if no change is seen.
    pub retry: Duration,
}

impl Timing {
    /// The three, if they fit each other.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn new(duration: Duration, renew_deadline: Duration, retry: Duration) -> Result<Self, String> {
        if renew_deadline >= duration {
            return Err("the renew deadline must be shorter than the lease duration".to_owned());
        }
        if retry >= renew_deadline {
            return Err("the retry period must be shorter than the renew deadline".to_owned());
        }
        Ok(Self { duration, renew_deadline, retry })
    }
}

/// What a Lease shows that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its resourceVersion: every change of it is a sign of life.
    pub version: String,
    /// Who holds it; none, if it was released.
    pub holder: Option<String>,
    /// How long its holder promised to renew it within.
    pub duration: Duration,
}

impl Record {
    /// Reads a Lease; one without a duration is held to `default`.
    #[must_use]
    pub fn of(lease: &Lease, default: Duration) -> Self {
        let spec = lease.spec.as_ref();
        let promised = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|text| u64::try_from(text).ok());
        Self {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
            duration: promised.filter(|seconds| *seconds > 0).map_or(default, Duration::from_secs),
        }
    }
}

/// What a process may do after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Try to take the lease, as it was seen: nobody has it, or its holder has gone silent.
    Take,
    /// Somebody else leads; it may be taken from this moment on, if nothing changes.
    Wait(Instant),
}

/// A candidate's memory of what it has seen.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    /// The newest record, and when it was first seen so.
    seen: Option<(Record, Instant)>,
}

impl Candidate {
    /// One that has seen nothing yet.
    #[must_use]
    pub const fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None }
    }

    /// Its name in the Lease.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How it keeps a lease.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        self.timing
    }

    /// What to do about the Lease as it is now (none, if there is none).
    ///
    /// A lease that bears this process's own name is taken at once: names are those of pods, so its holder was an earlier
    /// process of this very pod.
    pub fn look(&mut self, record: Option<Record>, now: Instant) -> Step {
        let Some(record) = record else {
            self.seen = None;
            return Step::Take;
        };
        let since = match &self.seen {
            Some((known, since)) if known.version == record.version => *since,
            _ => now,
        };
        let free = record.holder.as_ref().is_none_or(|holder| *holder == self.identity);
        let until = since + record.duration;
        self.seen = Some((record, since));
        if free || until <= now { Step::Take } else { Step::Wait(until) }
    }
}

/// How long a leader may still act after a renewal that was sent at `sent`: from the sending, not from the answer, since
/// others may count from the moment when the API server took it.
#[must_use]
pub fn leads_until(sent: Instant, timing: Timing) -> Instant {
    sent + timing.renew_deadline
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use rstest::rstest;

    const SECOND: Duration = Duration::from_secs(1);

    fn timing() -> Timing {
        Timing::new(15 * SECOND, 10 * SECOND, 2 * SECOND).unwrap()
    }

    fn record(version: u32, holder: Option<&str>) -> Record {
        Record { version: version.to_string(), holder: holder.map(str::to_owned), duration: 15 * SECOND }
    }

    #[rstest]
    #[case(15, 15, 2, "renew deadline")]
    #[case(15, 10, 10, "retry period")]
    fn timings_that_do_not_fit(#[case] duration: u32, #[case] renew: u32, #[case] retry: u32, #[case] named: &str) {
        let refused = Timing::new(duration * SECOND, renew * SECOND, retry * SECOND).unwrap_err();
        assert!(refused.contains(named), "{refused}");
    }

    #[test]
    fn nobody_has_it() {
        let mut candidate = Candidate::new("a".into(), timing());
        let now = Instant::now();
        assert_eq!(candidate.look(None, now), Step::Take);
        assert_eq!(candidate.look(Some(record(4, None)), now), Step::Take);
    }

    #[test]
    fn a_holder_is_believed_for_as_long_as_it_promised_from_the_first_sight() {
        let mut candidate = Candidate::new("a".into(), timing());
        let start = Instant::now();
        // Whatever the dates in the lease say: it was never seen before.
        assert_eq!(candidate.look(Some(record(4, Some("b"))), start), Step::Wait(start + 15 * SECOND));
        assert_eq!(candidate.look(Some(record(4, Some("b"))), start + 14 * SECOND), Step::Wait(start + 15 * SECOND));
        assert_eq!(candidate.look(Some(record(4, Some("b"))), start + 15 * SECOND), Step::Take);
    }

    #[test]
    fn every_renewal_begins_the_wait_anew() {
        let mut candidate = Candidate::new("a".into(), timing());
        let start = Instant::now();
        candidate.look(Some(record(4, Some("b"))), start);
        let renewed = start + 14 * SECOND;
        assert_eq!(candidate.look(Some(record(5, Some("b"))), renewed), Step::Wait(renewed + 15 * SECOND));
        // A list that is behind shows the older one again: that is no sign of life to wait for less, but for more.
        let behind = renewed + SECOND;
        assert_eq!(candidate.look(Some(record(4, Some("b"))), behind), Step::Wait(behind + 15 * SECOND));
    }

    #[test]
    fn the_lease_of_an_earlier_process_of_this_pod_is_taken_at_once() {
        let mut candidate = Candidate::new("a".into(), timing());
        assert_eq!(candidate.look(Some(record(4, Some("a"))), Instant::now()), Step::Take);
    }

    #[test]
    fn a_lease_that_went_is_begun_anew() {
        let mut candidate = Candidate::new("a".into(), timing());
        let start = Instant::now();
        candidate.look(Some(record(4, Some("b"))), start);
        assert_eq!(candidate.look(None, start + SECOND), Step::Take);
    }

    #[rstest]
    #[case(Some("b"), Some(30), Some("b"), 30)]
    #[case(Some(""), Some(1), None, 1)]
    #[case(None, None, None, 15)]
    #[case(Some("b"), Some(0), Some("b"), 15)]
    #[case(Some("b"), Some(-3), Some("b"), 15)]
    fn what_a_lease_shows(
        #[case] holder: Option<&str>,
        #[case] seconds: Option<i32>,
        #[case] held: Option<&str>,
        #[case] promised: u32,
    ) {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        let record = Record::of(&Lease { spec: Some(spec), ..Lease::default() }, 15 * SECOND);
        assert_eq!((record.holder.as_deref(), record.duration), (held, promised * SECOND));
    }

    #[test]
    fn a_leader_stops_before_another_may_begin() {
        let timing = timing();
        let sent = Instant::now();
        assert!(leads_until(sent, timing) < sent + timing.duration);
    }
}
