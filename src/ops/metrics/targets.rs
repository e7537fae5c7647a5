//! What became of Targets: differences, creates in doubt, and how long people wait.
//!
//! The controller reports; what the cache alone can tell is in [`super::census`].

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::api::condition::ConditionType;
use crate::api::target::Target;

/// From a tenth of a second, which is what a create takes, to an hour.
const BUCKETS: [f64; 14] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// What was done about a difference that somebody made in ZITADEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, missing_docs, reason = "the variants are the label values")]
pub enum DriftAction {
    corrected,
    observed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Drift {
    action: DriftAction,
}

/// What became of Targets.
#[derive(Debug)]
pub struct Targets {
    drift: Family<Drift, Counter>,
    unknown: Counter,
    orphans: Counter,
    applied: Histogram,
    waits: Waits,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            drift: Family::default(),
            unknown: Counter::default(),
            orphans: Counter::default(),
            applied: Histogram::new(BUCKETS),
            waits: Waits::default(),
        }
    }
}

impl Targets {
    pub(super) fn register(&self, registry: &mut Registry) {
        for action in [DriftAction::corrected, DriftAction::observed] {
            drop(self.drift.get_or_create(&Drift { action }));
        }
        let target = registry.sub_registry_with_prefix("zitadel_target");
        target.register("drift", "Differences that somebody made in ZITADEL", self.drift.clone());
        target.register("create_outcome_unknown", "Creates whose answer did not come", self.unknown.clone());
        target.register("orphans_found", "Targets found that no object had recorded", self.orphans.clone());
        let applied = "Time from the creation or change of a Target until it is Ready";
        target.register_with_unit("apply_to_ready", applied, Unit::Seconds, self.applied.clone());
    }

    /// Counts a difference that somebody made in ZITADEL.
    pub fn drifted(&self, action: DriftAction) {
        self.drift.get_or_create(&Drift { action }).inc();
    }

    /// Counts a create that was sent and whose answer did not come.
    pub fn outcome_unknown(&self) {
        self.unknown.inc();
    }

    /// Counts a target that was made in ZITADEL and that no object had recorded.
    pub fn orphan_found(&self) {
        self.orphans.inc();
    }

    /// Counts a Target that became Ready for a generation whose wait began then.
    pub fn ready(&self, begun: Timestamp) {
        self.applied.observe(since(begun, Timestamp::now()));
    }

    /// Who waits for a verdict.
    pub const fn waits(&self) -> &Waits {
        &self.waits
    }
}

/// The Targets that wait for a verdict on their newest generation, by uid.
#[derive(Debug, Default)]
pub struct Waits(Mutex<HashMap<String, Wait>>);

/// One that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    generation: i64,
    /// Since when.
    pub(super) since: Timestamp,
    /// When this generation was applied, where that is known.
    applied: Option<Timestamp>,
}

impl Waits {
    /// Takes in an object as the watch shows it, before anything is done about it.
    pub fn see(&self, target: &Target, now: Timestamp) {
        let Some(uid) = &target.metadata.uid else { return };
        let generation = target.metadata.generation.unwrap_or_default();
        let mut waits = self.lock();
        if target.is_settled() {
            waits.remove(uid);
            return;
        }
        let known = waits.get(uid).map(|wait| wait.generation);
        match known {
            Some(known) if known >= generation => {}
            Some(_) => drop(waits.insert(uid.clone(), Wait { generation, since: now, applied: Some(now) })),
            None => drop(waits.insert(uid.clone(), first_seen(target, generation, now))),
        }
    }

    /// Forgets an object that is gone.
    pub fn gone(&self, target: &Target) {
        if let Some(uid) = &target.metadata.uid {
            self.lock().remove(uid);
        }
    }

    /// Forgets every object but these.
    pub fn keep_only(&self, living: &HashSet<String>) {
        self.lock().retain(|uid, _| living.contains(uid));
    }

    /// When the newest generation of a Target that is not Ready for it was applied, where that is known.
    pub fn applied(&self, target: &Target) -> Option<Timestamp> {
        let waits = self.lock();
        let wait = waits.get(target.metadata.uid.as_deref()?)?;
        wait.applied.filter(|_| Some(wait.generation) == target.metadata.generation)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be told of a wait whose beginning this process has not seen.
fn first_seen(target: &Target, generation: i64, now: Timestamp) -> Wait {
    let created = target.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let (since, applied) = match target.condition(ConditionType::Ready) {
        // Nobody has ever looked at it.
        None => (created, Some(created)),
        // A newer generation than the one that was looked at.
        Some(ready) if ready.observed_generation != Some(generation) => (now, Some(now)),
        // It was looked at, without success. If it was ever made it may have been ready before.
        Some(ready) => {
            let made = target.status.as_ref().is_some_and(|status| status.id.is_some());
            (ready.last_transition_time.0, Some(created).filter(|_| generation == 1 && !made))
        }
    };
    Wait { generation, since, applied }
}

/// Seconds from `begun` until `now`. Clocks of two machines are compared: never less than nothing.
pub(super) fn since(begun: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(begun).as_secs_f64().max(0.0)
}
