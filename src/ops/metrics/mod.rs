//! Metrics, under the names that dashboards for controllers expect (controller-runtime's), and our own. What each one
//! means stands in docs/metrics.md, and a test compares.
//!
//! Here: passes, calls to ZITADEL, and all of it as one text.

mod api_server;
mod census;
mod exemplar;
mod targets;
#[cfg(test)]
mod tests;
mod workqueue;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use api_server::{ApiServer, WatchKind};
pub use census::{Connection, PerTarget, Sources, Take};
pub use targets::{DriftAction, Targets, Waits};
pub use workqueue::{Queue, Working};

use super::process::Process;
use super::traces;
use crate::api::reason::Reason;
use census::Census;
use exemplar::{Trace, observe};

/// How a pass ended, as controller-runtime counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, missing_docs, reason = "the variants are the label values")]
pub enum PassResult {
    success,
    error,
    requeue,
    requeue_after,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    controller: &'static str,
    result: PassResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    op: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseName {
    name: String,
}

const TARGET: Controller = Controller { controller: "target" };
/// controller-runtime's buckets for a reconcile, in seconds.
const PASS_BUCKETS: [f64; 34] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 30.0,
];
/// The status by which a server says that calls are too many.
const TOO_MANY: &str = "429";
const CALL_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Pass, Counter>,
    errors: Family<Controller, Counter>,
    terminal: Family<Controller, Counter>,
    panics: Family<Controller, Counter>,
    timeouts: Family<Controller, Counter>,
    time: Family<Controller, HistogramWithExemplars<Trace>>,
    active: Family<Controller, Gauge>,
    calls: Family<Call, Counter>,
    call_time: Family<Call, HistogramWithExemplars<Trace>>,
    limited: Counter,
    failures: Family<Failure, Counter>,
    vanished: Counter,
    events_dropped: Counter,
    leader: Family<LeaseName, Gauge>,
    queue: Arc<Queue>,
    api_server: ApiServer,
    targets: Arc<Targets>,
    census: Arc<Census>,
}

impl Metrics {
    /// Registers everything; counters start at 0, so that a rate exists from the first scrape.
    #[must_use]
    pub fn new(concurrency: u16) -> Self {
        let mut registry = Registry::default();
        let targets = Arc::new(Targets::default());
        let metrics = Self {
            passes: Family::default(),
            errors: Family::default(),
            terminal: Family::default(),
            panics: Family::default(),
            timeouts: Family::default(),
            time: Family::new_with_constructor(|| HistogramWithExemplars::new(PASS_BUCKETS.into_iter())),
            active: Family::default(),
            calls: Family::default(),
            call_time: Family::new_with_constructor(|| HistogramWithExemplars::new(CALL_BUCKETS.into_iter())),
            limited: Counter::default(),
            failures: Family::default(),
            vanished: Counter::default(),
            events_dropped: Counter::default(),
            leader: Family::default(),
            queue: Arc::default(),
            api_server: ApiServer::default(),
            census: Arc::new(Census { sources: OnceLock::new(), targets: Arc::clone(&targets) }),
            targets,
            registry: Registry::default(),
        };
        metrics.register(&mut registry, concurrency);
        metrics.initialise();
        Self { registry, ..metrics }
    }

    fn register(&self, registry: &mut Registry, concurrency: u16) {
        let most: Family<Controller, Gauge> = Family::default();
        most.get_or_create(&TARGET).set(i64::from(concurrency));
        let runtime = registry.sub_registry_with_prefix("controller_runtime");
        runtime.register("reconcile", "Total number of reconciliations per controller", self.passes.clone());
        runtime.register("reconcile_errors", "Total number of reconciliation errors", self.errors.clone());
        runtime.register("terminal_reconcile_errors", "Errors that only a person can mend", self.terminal.clone());
        runtime.register("reconcile_panics", "Total number of reconciliation panics", self.panics.clone());
        runtime.register("reconcile_timeouts", "Passes that exceeded their deadline", self.timeouts.clone());
        runtime.register_with_unit(
            "reconcile_time",
            "Length of time per reconciliation",
            Unit::Seconds,
            self.time.clone(),
        );
        runtime.register("active_workers", "Number of passes in flight", self.active.clone());
        runtime.register("max_concurrent_reconciles", "Maximum number of concurrent passes", most);
        let zitadel = registry.sub_registry_with_prefix("zitadel");
        zitadel.register("api_requests", "Calls to ZITADEL by operation and HTTP status", self.calls.clone());
        zitadel.register_with_unit("api_request_duration", "Time of a call", Unit::Seconds, self.call_time.clone());
        zitadel.register("api_rate_limited", "Calls that were answered with 429", self.limited.clone());
        zitadel.register("target_failures", "Passes of a Target that ended in this reason", self.failures.clone());
        let left = "Targets that went without their finalizer and left something in ZITADEL";
        zitadel.register("targets_left_behind", left, self.vanished.clone());
        let dropped =
            "Total number of Kubernetes Events that were dropped because the API server takes them too slowly";
        zitadel.register("events_dropped", dropped, self.events_dropped.clone());
        let leads = "Whether this process leads (1) or stands by (0)";
        registry.register("leader_election_master_status", leads, self.leader.clone());
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("zitadel_actions_operator_build", "Version of the operator", version);
        self.queue.register(registry);
        self.api_server.register(registry);
        self.targets.register(registry);
        registry.register_collector(Box::new(Arc::clone(&self.queue)));
        registry.register_collector(Box::new(Arc::clone(&self.census)));
        registry.register_collector(Box::new(Process));
    }

    fn initialise(&self) {
        for result in [PassResult::success, PassResult::error, PassResult::requeue, PassResult::requeue_after] {
            drop(self.passes.get_or_create(&Pass { controller: TARGET.controller, result }));
        }
        for family in [&self.errors, &self.terminal, &self.panics, &self.timeouts] {
            drop(family.get_or_create(&TARGET));
        }
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Available) {
            drop(self.failures.get_or_create(&Failure { reason: reason.as_str() }));
        }
        self.active.get_or_create(&TARGET).set(0);
        drop(self.time.get_or_create(&TARGET));
    }

    /// Says where Targets and connections can be looked at. The first one counts.
    pub fn look_at(&self, sources: Sources) {
        let _ = self.census.sources.set(sources);
    }

    /// The work queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The API server.
    #[must_use]
    pub const fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    /// What becomes of Targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Notes that a pass begins; it ends when the guard is dropped, which belongs into the span of the pass.
    pub fn pass(&self) -> PassGuard<'_> {
        self.active.get_or_create(&TARGET).inc();
        PassGuard { metrics: self, started: Instant::now() }
    }

    /// Counts the end of a pass.
    pub fn pass_ended(&self, result: PassResult) {
        self.passes.get_or_create(&Pass { controller: TARGET.controller, result }).inc();
        if result == PassResult::error {
            self.errors.get_or_create(&TARGET).inc();
        }
    }

    /// Counts a pass that ended in a failure of this reason.
    pub fn failed(&self, reason: Reason, terminal: bool) {
        self.failures.get_or_create(&Failure { reason: reason.as_str() }).inc();
        if terminal {
            self.terminal.get_or_create(&TARGET).inc();
        }
    }

    /// Counts an object that went without being let go and left something in ZITADEL.
    pub fn vanished(&self) {
        self.vanished.inc();
    }

    /// Counts an Event that found its queue full.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Notes whether this process holds the Lease of this name, under controller-runtime's name for it.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.leader.get_or_create(&LeaseName { name: lease.to_owned() }).set(i64::from(leads));
    }

    /// Counts a panic in a pass.
    pub fn panicked(&self) {
        self.panics.get_or_create(&TARGET).inc();
    }

    /// Counts a pass that ran into its deadline.
    pub fn timed_out(&self) {
        self.timeouts.get_or_create(&TARGET).inc();
    }

    /// Counts a call to ZITADEL, as a part of the trace of what calls.
    pub fn call(&self, op: &'static str, duration: Duration, code: &str) {
        let labels = Call { op, code: code.to_owned() };
        self.calls.get_or_create(&labels).inc();
        observe(&self.call_time.get_or_create(&labels), duration, traces::sampled());
        if code == TOO_MANY {
            self.limited.inc();
        }
    }

    /// Age of the oldest pass in flight.
    #[must_use]
    pub fn oldest_pass(&self) -> Option<Duration> {
        self.queue.longest()
    }

    /// The text of `/metrics`, in the OpenMetrics format. With very many Targets it takes some milliseconds.
    ///
    /// # Errors
    /// When a collector fails to format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A pass in flight.
#[derive(Debug)]
pub struct PassGuard<'a> {
    metrics: &'a Metrics,
    started: Instant,
}

impl Drop for PassGuard<'_> {
    fn drop(&mut self) {
        self.metrics.active.get_or_create(&TARGET).dec();
        observe(&self.metrics.time.get_or_create(&TARGET), self.started.elapsed(), traces::sampled());
    }
}
