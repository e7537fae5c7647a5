//! The work queue, under the names and by the rules of client-go's.
//!
//! kube has no queue that could be asked: what waits is in its scheduler. So entries are noted where they come from (the
//! watch, whoever wakes, a pass that wants to look again) and taken out where a pass begins. As there, an object has one
//! entry, and the earlier time wins. Knows objects by their names alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::ops::process::seconds;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

const TARGET: Name = Name { name: "target" };
/// controller-runtime's buckets: a nanosecond times 10, twelve times over.
const BUCKETS: [f64; 12] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0];

/// The work queue of Targets.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    waited: Family<Name, Histogram>,
    worked: Family<Name, Histogram>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<String, Entry>,
    /// When each piece of work in progress began.
    running: Vec<Instant>,
}

/// An object that waits for a pass.
#[derive(Debug, Clone, Copy)]
enum Entry {
    /// Since then, and counted.
    Due(Instant),
    /// From then on, and counted when its pass begins: nobody looks when its time comes.
    Timed(Instant),
}

impl Entry {
    const fn due(self) -> Instant {
        match self {
            Self::Due(at) | Self::Timed(at) => at,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            worked: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl Queue {
    pub(super) fn register(&self, registry: &mut Registry) {
        for family in [&self.adds, &self.retries] {
            drop(family.get_or_create(&TARGET));
        }
        for family in [&self.waited, &self.worked] {
            drop(family.get_or_create(&TARGET));
        }
        let queue = registry.sub_registry_with_prefix("workqueue");
        queue.register("adds", "Total number of entries", self.adds.clone());
        queue.register("retries", "Total number of entries for a later time", self.retries.clone());
        let waited = "How long an object waited for its pass after it was due";
        queue.register_with_unit("queue_duration", waited, Unit::Seconds, self.waited.clone());
        queue.register_with_unit("work_duration", "How long a pass took", Unit::Seconds, self.worked.clone());
    }

    /// Notes that an object was asked for: one that waits already waits no longer for it.
    pub fn asked(&self, object: String) {
        let now = Instant::now();
        let mut state = self.state();
        if state.waiting.get(&object).is_none_or(|entry| entry.due() > now) {
            state.waiting.insert(object, Entry::Due(now));
            self.adds.get_or_create(&TARGET).inc();
        }
    }

    /// Notes that an object is to be looked at again after this time, whether for a back-off or for a fixed pause. As in
    /// client-go each is a retry; unlike there it becomes an add only when its pass begins.
    pub fn asked_after(&self, object: String, delay: Duration) {
        self.retries.get_or_create(&TARGET).inc();
        let mut state = self.state();
        let due = Instant::now() + delay;
        if state.waiting.get(&object).is_none_or(|entry| entry.due() > due) {
            state.waiting.insert(object, Entry::Timed(due));
        }
    }

    /// Takes out the entry of an object whose work begins; the work ends when the guard is dropped.
    pub fn begin(&self, object: &str) -> Working<'_> {
        let mut state = self.state();
        let now = Instant::now();
        let entry = state.waiting.remove(object);
        if !matches!(entry, Some(Entry::Due(_))) {
            self.adds.get_or_create(&TARGET).inc();
        }
        let waited = entry.map_or(Duration::ZERO, |entry| now.saturating_duration_since(entry.due()));
        state.running.push(now);
        drop(state);
        self.waited.get_or_create(&TARGET).observe(seconds(waited));
        Working { queue: self, began: now }
    }

    /// Takes out the entry of an object that is gone.
    pub fn forget(&self, object: &str) {
        self.state().waiting.remove(object);
    }

    /// Age of the oldest work in progress.
    pub(super) fn longest(&self) -> Option<Duration> {
        self.state().running.iter().map(Instant::elapsed).max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole whatever a panicking holder did: nothing here is changed in two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is only known at the moment of a scrape.
impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (depth, unfinished, longest) = {
            let (state, now) = (self.state(), Instant::now());
            let depth = state.waiting.values().filter(|entry| entry.due() <= now).count();
            let ages = || state.running.iter().map(|began| now.saturating_duration_since(*began));
            (depth, ages().sum(), ages().max().unwrap_or_default())
        };
        let depth = u32::try_from(depth).map_or(f64::INFINITY, f64::from);
        let gauges = [
            ("workqueue_depth", "Number of objects that wait for a pass", depth),
            ("workqueue_unfinished_work_seconds", "Sum of the ages of the work in progress", seconds(unfinished)),
            ("workqueue_longest_running_processor_seconds", "Age of the oldest work in progress", seconds(longest)),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_family(&TARGET)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// Work in progress.
#[derive(Debug)]
pub struct Working<'a> {
    queue: &'a Queue,
    began: Instant,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.queue.worked.get_or_create(&TARGET).observe(seconds(self.began.elapsed()));
        let mut state = self.queue.state();
        if let Some(index) = state.running.iter().position(|began| *began == self.began) {
            state.running.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const HOUR: Duration = Duration::from_hours(1);

    /// Depth, adds, retries.
    fn figures(queue: &Arc<Queue>) -> (String, u64, u64) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(queue)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let depth = text.lines().find_map(|line| line.strip_prefix("workqueue_depth{name=\"target\"} ")).unwrap();
        (depth.to_owned(), queue.adds.get_or_create(&TARGET).get(), queue.retries.get_or_create(&TARGET).get())
    }

    #[test]
    fn an_object_waits_once_however_often_it_is_asked_for() {
        let queue = Arc::new(Queue::default());
        queue.asked("a/x".into());
        queue.asked("a/x".into());
        queue.asked("a/y".into());
        assert_eq!(figures(&queue), ("2.0".into(), 2, 0));
        let work = queue.begin("a/x");
        assert_eq!(figures(&queue), ("1.0".into(), 2, 0));
        queue.asked("a/x".into());
        assert_eq!(figures(&queue), ("2.0".into(), 3, 0), "it waits for its pass to end");
        drop(work);
        drop(queue.begin("a/x"));
        drop(queue.begin("a/y"));
        assert_eq!(figures(&queue), ("0.0".into(), 3, 0));
        assert!(queue.longest().is_none());
    }

    #[test]
    fn a_later_time_is_a_retry_and_no_depth_before_it_comes() {
        let queue = Arc::new(Queue::default());
        queue.asked_after("a/x".into(), HOUR);
        assert_eq!(figures(&queue), ("0.0".into(), 0, 1));
        queue.asked("a/x".into());
        assert_eq!(figures(&queue), ("1.0".into(), 1, 1), "the earlier time wins");
        queue.asked_after("a/x".into(), HOUR);
        assert_eq!(figures(&queue), ("1.0".into(), 1, 2));
        drop(queue.begin("a/x"));
        queue.asked_after("a/x".into(), Duration::ZERO);
        assert_eq!(figures(&queue), ("1.0".into(), 1, 3), "its time has come");
        queue.asked("a/x".into());
        assert_eq!(figures(&queue), ("1.0".into(), 1, 3));
        drop(queue.begin("a/x"));
        assert_eq!(figures(&queue), ("0.0".into(), 2, 3));
    }

    #[test]
    fn an_object_that_is_gone_waits_no_longer() {
        let queue = Arc::new(Queue::default());
        queue.asked("a/x".into());
        queue.forget("a/x");
        assert_eq!(figures(&queue).0, "0.0");
    }
}
