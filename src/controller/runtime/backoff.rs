//! Exponential delays with jitter, one per object: kube-rs has none of its own.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Delay after the first failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Counts consecutive failures by key.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Notes a failure and tells how long to wait.
    pub fn next(&self, key: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.to_owned()).or_insert(0);
        let delay = delay(*count, FIRST, LONGEST);
        *count = count.saturating_add(1);
        jittered(delay)
    }

    /// Whether the newest try of this key failed.
    pub(crate) fn is_failing(&self, key: &str) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Notes a success, or that the object is gone.
    pub fn reset(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets all other keys.
    pub fn keep_only(&self, keys: &HashSet<String>) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
    }
}

/// `first`, doubled per earlier failure, at most `longest`.
#[must_use]
pub fn delay(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(longest)
}

/// Up to a fifth longer, so that what failed together does not return together.
#[must_use]
pub fn jittered(delay: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // RandomState draws fresh keys per instance: enough randomness for spreading, without a random number crate.
    let draw = RandomState::new().hash_one(0_u8) % 1000;
    delay + delay.mul_f64(0.2 * f64::from(u32::try_from(draw).unwrap_or(0)) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_anew_after_success() {
        let backoff = Backoff::default();
        let mut previous = Duration::ZERO;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let delay = backoff.next("a");
            let base = Duration::from_secs(expected);
            assert!(delay >= base && delay <= base.mul_f64(1.2), "{delay:?} for {base:?}");
            assert!(delay > previous.mul_f64(0.8));
            previous = delay;
        }
        assert!(backoff.next("b") < Duration::from_secs(2), "keys are independent");
        backoff.reset("a");
        assert!(backoff.next("a") < Duration::from_secs(2));
        backoff.keep_only(&HashSet::from(["b".to_owned()]));
        assert_eq!(backoff.failures.lock().unwrap().len(), 1, "nothing is kept of what is gone");
    }
}
