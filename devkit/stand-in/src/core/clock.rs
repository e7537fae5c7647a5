//! Time, ids and secrets: dates in microseconds that never repeat, ids that grow, random strings.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The server's clock: real time plus an offset that tests set, or a time at which they stopped it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: SignedDuration,
    frozen: Option<Timestamp>,
    last: i64,
}

impl Clock {
    pub(crate) fn set_offset(&mut self, seconds: i64) {
        self.offset = SignedDuration::from_secs(seconds);
    }

    pub(crate) fn freeze(&mut self, at: Option<Timestamp>) {
        self.frozen = at;
    }

    pub(crate) fn now(&self) -> Timestamp {
        let running = || Timestamp::now().checked_add(self.offset).unwrap_or(Timestamp::MAX);
        self.frozen.unwrap_or_else(running)
    }

    /// A date for an event: microseconds, later than every one before.
    pub(crate) fn event_date(&mut self) -> Timestamp {
        self.last = self.now().as_microsecond().max(self.last + 1);
        Timestamp::from_microsecond(self.last).unwrap_or(Timestamp::MAX)
    }
}

/// A new id: 18 decimal digits, growing, unique over all stand-ins of this process (real ones are sonyflakes).
pub(crate) fn new_id() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let micros = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
    let floor = 400_000_000_000_000_000 + micros % 10_000_000_000_000_000;
    let next = |last: u64| Some(floor.max(last + 1));
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).unwrap_or_default();
    floor.max(last + 1).to_string()
}

/// Random letters and digits. Not for cryptography: the secrets of a stand-in protect nothing.
pub(crate) fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        // Each RandomState carries fresh keys, so hashing a constant yields a fresh number.
        let mut number = RandomState::new().hash_one(text.len());
        for _ in 0..8 {
            text.push(char::from(ALPHABET[usize::try_from(number % 62).unwrap_or_default()]));
            number /= 62;
        }
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_dates_grow_even_when_the_clock_is_turned_back() {
        let mut clock = Clock::default();
        let first = clock.event_date();
        clock.set_offset(-3600);
        assert!(clock.event_date() > first);
    }

    #[test]
    fn a_frozen_clock_stands_still_and_event_dates_grow_all_the_same() {
        let mut clock = Clock::default();
        let at = "2026-11-23T20:00:00Z".parse().unwrap();
        clock.freeze(Some(at));
        assert_eq!((clock.now(), clock.now()), (at, at));
        assert!(clock.event_date() < clock.event_date());
        clock.freeze(None);
        assert_ne!(clock.now(), at);
    }

    #[test]
    fn ids_grow() {
        let (a, b) = (new_id(), new_id());
        assert_eq!(a.len(), 18);
        assert!(b > a);
    }
}
